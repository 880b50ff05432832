import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import type { KeyType } from './config.ts';
import { type Element, elements, oidOf } from './der.ts';
import { AutocertError } from './errors.ts';
import { covers } from './identifier.ts';
import type { Secret } from './secret.ts';

/** What a certificate says about itself. */
export interface CertificateFacts {
  /** The DNS names of the subjectAltName extension, lower case, in their order. */
  readonly identifiers: readonly string[];
  /** Lower-case hex, without leading zeros. */
  readonly serial: string;
  /** SHA-256 of the DER, lower-case hex. */
  readonly fingerprint: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** The distinguished name, as `C=US, O=Let's Encrypt, CN=R10`. */
  readonly issuer: string;
  /** As `issuer`; empty for profiles that leave the subject empty. */
  readonly subject: string;
  readonly selfSigned: boolean;
  /** Undefined for a kind of key that this program does not make. */
  readonly keyType: KeyType | undefined;
  /** RFC 9773 section 4.1; undefined when the certificate names no authority key. */
  readonly certId: string | undefined;
}

const BEGIN = '-----BEGIN CERTIFICATE-----';
const END = '-----END CERTIFICATE-----';
const MAX_CERTIFICATES = 10;
const MAX_BYTES = 100 * 1024;
/** How far in the future a certificate may begin: this machine's clock may be slow, the CA's is right. */
const CLOCK_TOLERANCE = 3_600_000;
const DAY = 86_400_000;

/** The certificates in `pem`, in their order; text around the blocks is left out. Throws CERTIFICATE_INVALID. */
export function parseCertificates(pem: string): X509Certificate[] {
  if (pem.length > MAX_BYTES) throw invalid(`is ${pem.length} bytes long, more than ${MAX_BYTES}`);
  const certificates: X509Certificate[] = [];
  for (let at = pem.indexOf(BEGIN); at !== -1; at = pem.indexOf(BEGIN, at)) {
    const end = pem.indexOf(END, at);
    if (end === -1) throw invalid('ends in the middle of a certificate');
    if (certificates.length === MAX_CERTIFICATES) throw invalid(`has more than ${MAX_CERTIFICATES} certificates`);
    certificates.push(readCertificate(pem.slice(at + BEGIN.length, end), certificates.length + 1));
    at = end + END.length;
  }
  if (certificates.length === 0) throw invalid(pem.trim() === '' ? 'is empty' : 'holds no PEM certificate');
  return certificates;
}

function readCertificate(base64: string, position: number): X509Certificate {
  if (!/^[A-Za-z0-9+/=\s]+$/.test(base64)) throw invalid(`has a certificate that is no base64 (number ${position})`);
  try {
    return new X509Certificate(Buffer.from(base64, 'base64'));
  } catch (error) {
    throw invalid(`has a certificate that cannot be read (number ${position})`, error);
  }
}

/** The facts of the first certificate in `pem`. Throws CERTIFICATE_INVALID. */
export function certificateFacts(pem: string): CertificateFacts {
  const [leaf] = parseCertificates(pem);
  if (leaf === undefined) throw invalid('is empty');
  return {
    identifiers: dnsNames(leaf),
    serial: leaf.serialNumber.toLowerCase(),
    fingerprint: leaf.fingerprint256.replaceAll(':', '').toLowerCase(),
    notBefore: new Date(leaf.validFrom),
    notAfter: new Date(leaf.validTo),
    issuer: oneLine(leaf.issuer),
    subject: oneLine(leaf.subject),
    selfSigned: isSelfSigned(leaf),
    keyType: keyTypeOf(leaf),
    certId: certIdOf(leaf.raw),
  };
}

/** The types say string; an empty name is undefined all the same. */
function oneLine(name: string | undefined): string {
  return (name ?? '').split('\n').join(', ');
}

function dnsNames(certificate: X509Certificate): string[] {
  // A name that could be mistaken for the separators is printed as a JSON string.
  const entries = (certificate.subjectAltName ?? '').matchAll(/(?:^|, )([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,]*)/g);
  const names: string[] = [];
  for (const [, kind, value] of entries) {
    if (kind !== 'DNS' || value === undefined || value.startsWith('"')) continue;
    names.push(value.toLowerCase());
  }
  return names;
}

function isSelfSigned(certificate: X509Certificate): boolean {
  return certificate.subject === certificate.issuer && isSignedBy(certificate, certificate);
}

function isSignedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  const publicKey = publicKeyOf(issuer);
  return publicKey !== undefined && certificate.verify(publicKey);
}

/** Undefined for a key that OpenSSL cannot read: it says so only now, not when the certificate is read. */
function publicKeyOf(certificate: X509Certificate): KeyObject | undefined {
  try {
    return certificate.publicKey;
  } catch {
    return undefined;
  }
}

function keyTypeOf(certificate: X509Certificate): KeyType | undefined {
  const { asymmetricKeyType, asymmetricKeyDetails } = publicKeyOf(certificate) ?? {};
  if (asymmetricKeyType === 'rsa') {
    const bits = asymmetricKeyDetails?.modulusLength;
    return bits === 2048 ? 'rsa2048' : bits === 3072 ? 'rsa3072' : bits === 4096 ? 'rsa4096' : undefined;
  }
  const curve = asymmetricKeyDetails?.namedCurve;
  return curve === 'prime256v1' ? 'ec256' : curve === 'secp384r1' ? 'ec384' : undefined;
}

/**
 * RFC 9773 section 4.1: the key identifier of the authority and the serial number's DER value, base64url, with a dot
 * between. Read from the DER, for `X509Certificate` gives neither the extension nor the leading zero.
 */
function certIdOf(der: Buffer): string | undefined {
  try {
    const [certificate] = elements(der);
    const tbs = elements(elements(certificate?.content)[0]?.content);
    const serial = tbs.find((element) => element.tag === 0x02);
    const keyIdentifier = authorityKeyIdentifier(tbs);
    if (serial === undefined || keyIdentifier === undefined) return undefined;
    return `${keyIdentifier.toString('base64url')}.${serial.content.toString('base64url')}`;
  } catch {
    return undefined;
  }
}

/** RFC 5280 section 4.2.1.1. */
function authorityKeyIdentifier(tbs: readonly Element[]): Buffer | undefined {
  const extensions = elements(elements(tbs.find((element) => element.tag === 0xa3)?.content)[0]?.content);
  for (const extension of extensions) {
    const parts = elements(extension.content);
    if (parts[0] === undefined || oidOf(parts[0]) !== '2.5.29.35') continue;
    const [sequence] = elements(parts.at(-1)?.content);
    return elements(sequence?.content).find((element) => element.tag === 0x80)?.content;
  }
  return undefined;
}

/**
 * What a CA gave, made fit for a CDN: the leaf, then each certificate's issuer, without the self-signed root, 64
 * characters a line, LF, nothing between the blocks. Throws CERTIFICATE_INVALID for anything that browsers would refuse:
 * a leaf for another key or without one of the identifiers, a certificate out of its time, a chain that is incomplete
 * or out of order.
 */
export function checkIssued(
  chain: string,
  privateKey: Secret,
  expected: { readonly identifiers: readonly string[]; readonly now: Date },
): string {
  const certificates = parseCertificates(chain);
  const [leaf] = certificates;
  if (leaf === undefined) throw invalid('is empty');
  if (!publicKeyOf(leaf) || !leaf.checkPrivateKey(readPrivateKey(privateKey)))
    throw invalid('is for another private key');
  const names = dnsNames(leaf);
  const missing = expected.identifiers.filter((identifier) => !covers(names, identifier));
  if (missing.length > 0) throw invalid(`does not name ${missing.join(', ')}`);
  for (const certificate of certificates) checkTime(certificate, certificate === leaf, expected.now);
  if (isSelfSigned(leaf)) throw invalid('is self-signed');
  if (certificates.length === 1) throw invalid('comes without the intermediate certificate that signed it');
  certificates.slice(1).forEach((issuer, index) => {
    const subject = certificates[index];
    if (subject && issuer.ca && subject.checkIssued(issuer) && isSignedBy(subject, issuer)) return;
    throw invalid(`has a chain out of order: certificate ${index + 2} did not sign certificate ${index + 1}`);
  });
  return certificates
    .filter((certificate) => !isSelfSigned(certificate))
    .map(toPem)
    .join('');
}

/** Is it the private key of the first certificate in `chain`? Throws CERTIFICATE_INVALID for what is no PEM. */
export function isKeyOf(privateKey: Secret, chain: string): boolean {
  return parseCertificates(chain)[0]?.checkPrivateKey(readPrivateKey(privateKey)) ?? false;
}

function checkTime(certificate: X509Certificate, isLeaf: boolean, now: Date): void {
  const what = isLeaf ? '' : `has an intermediate certificate (${oneLine(certificate.subject)}) that `;
  const notAfter = new Date(certificate.validTo);
  const notBefore = new Date(certificate.validFrom);
  if (now >= notAfter) throw invalid(`${what}expired at ${notAfter.toISOString()}`);
  if (notBefore.getTime() > now.getTime() + CLOCK_TOLERANCE) {
    throw invalid(`${what}is not valid before ${notBefore.toISOString()}`);
  }
}

function toPem(certificate: X509Certificate): string {
  const lines = certificate.raw.toString('base64').match(/.{1,64}/g) ?? [];
  return `${BEGIN}\n${lines.join('\n')}\n${END}\n`;
}

function readPrivateKey(privateKey: Secret): KeyObject {
  try {
    return createPrivateKey(privateKey.reveal());
  } catch {
    // The cause is left out: a parser's message may quote what it could not parse.
    throw invalid('cannot be compared with its private key, which is no PEM key');
  }
}

/** The key in the PEM that Alibaba Cloud CDN documents: PKCS#1 for RSA, SEC1 for EC. */
export function keyPem(privateKey: KeyObject): string {
  const type = privateKey.asymmetricKeyType === 'rsa' ? 'pkcs1' : 'sec1';
  return privateKey.export({ type, format: 'pem' }).toString();
}

/**
 * When a certificate is due without advice of the CA: the last third of its life, or the last half when it lives 10 days
 * or less.
 */
export function renewalTime({ notBefore, notAfter }: Pick<CertificateFacts, 'notBefore' | 'notAfter'>): Date {
  const lifetime = notAfter.getTime() - notBefore.getTime();
  return new Date(notAfter.getTime() - lifetime / (lifetime <= 10 * DAY ? 2 : 3));
}

/**
 * The floor under every advice and every wait: the last tenth of the life, and never less than the two next runs, which come
 * `interval` milliseconds apart.
 */
export function expiryFloor(
  { notBefore, notAfter }: Pick<CertificateFacts, 'notBefore' | 'notAfter'>,
  interval: number,
): Date {
  const lifetime = notAfter.getTime() - notBefore.getTime();
  return new Date(notAfter.getTime() - Math.min(Math.max(lifetime / 10, 2 * interval), lifetime / 2));
}

function invalid(what: string, cause?: unknown): AutocertError {
  return new AutocertError({
    code: 'CERTIFICATE_INVALID',
    message: `The certificate ${what}.`,
    retryable: false,
    remedy: 'Let the next run issue it again; if this repeats, ask the CA what it sends.',
    cause,
  });
}
