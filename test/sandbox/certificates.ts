/**
 * Certificates for tests: a CA with a root and an intermediate, and leaves that it issues. The X.509 structure
 * (RFC 5280 §4.1) is written here and signed by node:crypto, so that RSA and EC keys cost no extra dependency.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto';
import { isIP, isIPv4 } from 'node:net';
import forge from 'node-forge';

export type KeyType = 'rsa2048' | 'ec256';

export interface Ca {
  readonly commonName: string;
  /** The root, PEM: what a client trusts. */
  readonly root: string;
  /** The intermediate that signs the leaves, PEM. */
  readonly intermediate: string;
  readonly intermediateKey: KeyObject;
}

export interface CertificateOptions {
  /** The subject alternative names: DNS names, wildcards as `*.example.com`, or IP addresses. The first is the CN. */
  readonly names: readonly string[];
  /** Default: 2026-01-01T00:00:00Z. */
  readonly notBefore?: Date;
  /** Default: 90 days after `notBefore`. */
  readonly notAfter?: Date;
  /** Default: ec256, which costs next to nothing. */
  readonly keyType?: KeyType;
  /** A key to use again, PEM. Without it, two certificates made one after the other never share a key. */
  readonly privateKey?: string;
  /** A key of which only this half is known, as a CA has it: the answer's `privateKey` is then empty. */
  readonly publicKey?: KeyObject;
  /** Default: one CA for the whole process, `defaultCa()`. */
  readonly issuer?: Ca;
  /** Hexadecimal, without a leading 00. Default: random. */
  readonly serialNumber?: string;
  /** False leaves the subject empty, as CAs do today for profiles like `tlsserver`. Default: true. */
  readonly commonName?: boolean;
}

export interface TestCertificate {
  /** The leaf and the intermediate, PEM, with nothing between the blocks. */
  readonly chain: string;
  /** The leaf alone, PEM. */
  readonly leaf: string;
  /** PKCS#1 (RSA) or SEC1 (EC), PEM. */
  readonly privateKey: string;
  /** SHA-256 of the leaf's DER, lower-case hexadecimal. */
  readonly fingerprint: string;
  /** Lower-case hexadecimal. */
  readonly serialNumber: string;
}

const DAY = 86_400_000;
/** Keys in turn for each type: enough that neighbours differ, few enough that RSA costs little. */
const KEYS_IN_TURN = 3;

const { asn1 } = forge;
type Node = forge.asn1.Asn1;

/** Makes a CA: a self-signed root and the intermediate it signed, EC P-256, valid from 2020 on. */
export function makeCa(commonName: string, notAfter = new Date('2049-01-01T00:00:00Z')): Ca {
  const rootKey = newKey('ec256');
  const intermediateKey = newKey('ec256');
  const validity = { notBefore: new Date('2020-01-01T00:00:00Z'), notAfter };
  const rootName = `${commonName} Root`;
  const root = encodeCertificate({
    ...validity,
    serialNumber: randomSerial(),
    subject: rootName,
    issuer: rootName,
    publicKey: rootKey,
    signingKey: rootKey,
    extensions: caExtensions(rootKey, rootKey),
  });
  const intermediate = encodeCertificate({
    ...validity,
    serialNumber: randomSerial(),
    subject: commonName,
    issuer: rootName,
    publicKey: intermediateKey,
    signingKey: rootKey,
    extensions: caExtensions(intermediateKey, rootKey),
  });
  return { commonName, root: pem(root), intermediate: pem(intermediate), intermediateKey };
}

let processCa: Ca | undefined;

/** The CA that signs when no `issuer` is named. */
export function defaultCa(): Ca {
  processCa ??= makeCa('Sandbox CA');
  return processCa;
}

/** Issues a leaf for `names`. Synchronous; throws when there is no name. */
export function makeCertificate(options: CertificateOptions): TestCertificate {
  const { names, keyType = 'ec256', issuer = defaultCa() } = options;
  const [first] = names;
  if (first === undefined) throw new TypeError('a certificate needs a name');
  const notBefore = options.notBefore ?? new Date('2026-01-01T00:00:00Z');
  const notAfter = options.notAfter ?? new Date(notBefore.getTime() + 90 * DAY);
  const key =
    options.publicKey ?? (options.privateKey === undefined ? keyInTurn(keyType) : createPrivateKey(options.privateKey));
  const serialNumber = (options.serialNumber ?? randomSerial()).toLowerCase();
  const der = encodeCertificate({
    serialNumber,
    notBefore,
    notAfter,
    // RFC 5280 ub-common-name: a longer name has no place in the subject.
    subject: options.commonName === false || isIP(first) !== 0 || first.length > 64 ? undefined : first,
    issuer: issuer.commonName,
    publicKey: key,
    signingKey: issuer.intermediateKey,
    extensions: leafExtensions(key, issuer.intermediateKey, names),
  });
  const leaf = pem(der);
  return {
    leaf,
    chain: leaf + issuer.intermediate,
    privateKey: key.type === 'public' ? '' : exportKey(key),
    fingerprint: createHash('sha256').update(der).digest('hex'),
    serialNumber,
  };
}

/** A new key pair's private key. */
function newKey(keyType: KeyType): KeyObject {
  return keyType === 'rsa2048'
    ? generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
    : generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

const turns: Record<KeyType, { keys: KeyObject[]; next: number }> = {
  rsa2048: { keys: [], next: 0 },
  ec256: { keys: [], next: 0 },
};

function keyInTurn(keyType: KeyType): KeyObject {
  const turn = turns[keyType];
  const key = turn.keys[turn.next] ?? newKey(keyType);
  turn.keys[turn.next] = key;
  turn.next = (turn.next + 1) % KEYS_IN_TURN;
  return key;
}

function exportKey(key: KeyObject): string {
  const type = key.asymmetricKeyType === 'rsa' ? 'pkcs1' : 'sec1';
  return key.export({ type, format: 'pem' }).toString();
}

/** 16 octets whose first bit is 0 and whose first octet is not 0: positive and of one length. */
function randomSerial(): string {
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  return serial.toString('hex');
}

function pem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

interface Fields {
  readonly serialNumber: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly subject: string | undefined;
  readonly issuer: string;
  readonly publicKey: KeyObject;
  readonly signingKey: KeyObject;
  readonly extensions: Node[];
}

function encodeCertificate(fields: Fields): Buffer {
  const spki = publicHalf(fields.publicKey).export({ type: 'spki', format: 'der' });
  const signatureAlgorithm = sequence([
    fields.signingKey.asymmetricKeyType === 'rsa' ? oid('1.2.840.113549.1.1.11') : oid('1.2.840.10045.4.3.2'),
    ...(fields.signingKey.asymmetricKeyType === 'rsa' ? [primitive(asn1.Type.NULL, '')] : []),
  ]);
  const tbs = sequence([
    tagged(0, [primitive(asn1.Type.INTEGER, '\x02')]),
    primitive(asn1.Type.INTEGER, Buffer.from(fields.serialNumber, 'hex').toString('latin1')),
    signatureAlgorithm,
    name(fields.issuer),
    sequence([time(fields.notBefore), time(fields.notAfter)]),
    name(fields.subject),
    asn1.fromDer(spki.toString('latin1')),
    tagged(3, [sequence(fields.extensions)]),
  ]);
  const signature = sign('sha256', der(tbs), fields.signingKey);
  return der(sequence([tbs, signatureAlgorithm, bitString(signature)]));
}

function caExtensions(key: KeyObject, signingKey: KeyObject): Node[] {
  return [
    extension('2.5.29.19', true, sequence([primitive(asn1.Type.BOOLEAN, '\xff')])),
    // keyCertSign and cRLSign.
    extension('2.5.29.15', true, primitive(asn1.Type.BITSTRING, '\x01\x06')),
    ...keyIdentifiers(key, signingKey),
  ];
}

function leafExtensions(key: KeyObject, signingKey: KeyObject, names: readonly string[]): Node[] {
  return [
    extension('2.5.29.19', true, sequence([])),
    // digitalSignature, and keyEncipherment for RSA.
    extension(
      '2.5.29.15',
      true,
      primitive(asn1.Type.BITSTRING, key.asymmetricKeyType === 'rsa' ? '\x05\xa0' : '\x07\x80'),
    ),
    extension('2.5.29.37', false, sequence([oid('1.3.6.1.5.5.7.3.1')])),
    ...keyIdentifiers(key, signingKey),
    extension('2.5.29.17', false, sequence(names.map(generalName))),
  ];
}

/** Subject and authority key identifier; the second is half of the RFC 9773 §4.1 certID. */
function keyIdentifiers(key: KeyObject, signingKey: KeyObject): Node[] {
  const authority = asn1.create(asn1.Class.CONTEXT_SPECIFIC, forgeType(0), false, keyId(signingKey));
  return [
    extension('2.5.29.14', false, primitive(asn1.Type.OCTETSTRING, keyId(key))),
    extension('2.5.29.35', false, sequence([authority])),
  ];
}

function publicHalf(key: KeyObject): KeyObject {
  return key.type === 'public' ? key : createPublicKey(key);
}

function keyId(key: KeyObject): string {
  const spki = publicHalf(key).export({ type: 'spki', format: 'der' });
  return createHash('sha1').update(spki).digest().toString('latin1');
}

function extension(id: string, critical: boolean, value: Node): Node {
  const flag = critical ? [primitive(asn1.Type.BOOLEAN, '\xff')] : [];
  return sequence([oid(id), ...flag, primitive(asn1.Type.OCTETSTRING, der(value).toString('latin1'))]);
}

/** RFC 5280 §4.2.1.6: dNSName is [2], iPAddress is [7]. */
function generalName(value: string): Node {
  if (isIP(value) === 0) return asn1.create(asn1.Class.CONTEXT_SPECIFIC, forgeType(2), false, value);
  if (!isIPv4(value)) throw new TypeError('only IPv4 addresses are supported in test certificates');
  const octets = Buffer.from(value.split('.').map(Number)).toString('latin1');
  return asn1.create(asn1.Class.CONTEXT_SPECIFIC, forgeType(7), false, octets);
}

function name(commonName: string | undefined): Node {
  if (commonName === undefined) return sequence([]);
  const attribute = sequence([oid('2.5.4.3'), primitive(asn1.Type.UTF8, Buffer.from(commonName).toString('latin1'))]);
  return sequence([asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SET, true, [attribute])]);
}

/** RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050. */
function time(date: Date): Node {
  const digits = date
    .toISOString()
    .replace(/\.\d{3}Z$/, 'Z')
    .replace(/[-:T]/g, '');
  return date.getUTCFullYear() < 2050
    ? primitive(asn1.Type.UTCTIME, digits.slice(2))
    : primitive(asn1.Type.GENERALIZEDTIME, digits);
}

function sequence(children: Node[]): Node {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SEQUENCE, true, children);
}

function tagged(tag: number, children: Node[]): Node {
  return asn1.create(asn1.Class.CONTEXT_SPECIFIC, forgeType(tag), true, children);
}

function primitive(type: forge.asn1.Type, bytes: string): Node {
  return asn1.create(asn1.Class.UNIVERSAL, type, false, bytes);
}

function bitString(bytes: Buffer): Node {
  return primitive(asn1.Type.BITSTRING, `\x00${bytes.toString('latin1')}`);
}

function oid(dotted: string): Node {
  return primitive(asn1.Type.OID, asn1.oidToDer(dotted).getBytes());
}

/** The declarations name the universal types only; a context tag is any number. */
function forgeType(tag: number): forge.asn1.Type {
  return tag;
}

function der(node: Node): Buffer {
  return Buffer.from(asn1.toDer(node).getBytes(), 'latin1');
}
