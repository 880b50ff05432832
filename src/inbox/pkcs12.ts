import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { type Element, elements } from '../der.ts';
import type { Secret } from '../secret.ts';

/** What a PKCS#12 file holds (RFC 7292), or why it cannot be had. */
export type Pkcs12 =
  | { readonly certificates: readonly X509Certificate[]; readonly keys: readonly KeyObject[] }
  | 'wrong-password'
  | 'unreadable';

/** OpenSSL writes 2048, Java 10000, Windows 2000. A file that asks for more than this wants to keep the function busy. */
const MOST_ITERATIONS = 600_000;
/** Deeper than any PKCS#12 file. */
const DEEPEST = 16;

/**
 * Opens a PKCS#12 file with the first of the passwords that fits; the empty one is tried first. Read are the old
 * encryptions (RC2, 3DES) and PBES2 with AES, under a MAC by HMAC; not PBMAC1 (RFC 9579). Keys and certificates of any
 * kind that Node reads: node-forge, which knows RSA alone, only decrypts and gives their DER.
 */
export async function openPkcs12(bytes: Uint8Array, passwords: readonly Secret[]): Promise<Pkcs12> {
  if (mostIterations(Buffer.from(bytes)) > MOST_ITERATIONS) return 'unreadable';
  const { default: forge } = await import('node-forge');
  const { asn1, pki, pkcs12, util } = forge;
  const der = (node: Parameters<typeof asn1.toDer>[0]) => Buffer.from(asn1.toDer(node).getBytes(), 'binary');
  let answer: Pkcs12 = 'wrong-password';
  for (const password of ['', ...passwords.map((secret) => secret.reveal())]) {
    try {
      const file = asn1.fromDer(util.createBuffer(Buffer.from(bytes).toString('binary')));
      const bags = pkcs12.pkcs12FromAsn1(file, password).safeContents.flatMap(({ safeBags }) => safeBags);
      const certificates = bags
        .filter(({ type }) => type === pki.oids['certBag'])
        .map(({ cert, asn1: other }) => new X509Certificate(der(cert ? pki.certificateToAsn1(cert) : other)));
      const keys = bags
        .filter(({ type }) => type === pki.oids['keyBag'] || type === pki.oids['pkcs8ShroudedKeyBag'])
        .map(({ key, asn1: other }) =>
          createPrivateKey(
            key
              ? { key: der(pki.privateKeyToAsn1(key)), format: 'der', type: 'pkcs1' }
              : { key: der(other), format: 'der', type: 'pkcs8' },
          ),
        );
      return { certificates, keys };
    } catch (thrown) {
      // Its messages are no secrets, but only this one is of use: everything else is a file that it does not read.
      if (!(thrown instanceof Error && /MAC could not be verified/.test(thrown.message))) answer = 'unreadable';
    }
  }
  return answer;
}

/**
 * The largest count of iterations that stands in the clear: in MacData, PBES1 and PBKDF2 alike it is the INTEGER after an
 * OCTET STRING, the salt (RFC 7292 section 4, RFC 8018 appendix A).
 */
function mostIterations(der: Buffer, depth = 0): number {
  let most = 0;
  let last: Element | undefined;
  for (const element of tolerantElements(der)) {
    const { tag, content } = element;
    if (tag === 0x02 && last?.tag === 0x04) most = Math.max(most, content.length > 4 ? Infinity : numberOf(content));
    const holdsOthers = (tag & 0x20) !== 0 || tag === 0x04;
    if (holdsOthers && depth < DEEPEST) most = Math.max(most, mostIterations(content, depth + 1));
    last = element;
  }
  return most;
}

function numberOf(content: Buffer): number {
  return content.length === 0 ? 0 : content.readUIntBE(0, content.length);
}

/** Most OCTET STRINGs hold no DER. */
function tolerantElements(der: Buffer): Element[] {
  try {
    return elements(der);
  } catch {
    return [];
  }
}
