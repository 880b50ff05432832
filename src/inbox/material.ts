import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import type { Secret } from '../secret.ts';
import { openPkcs12 } from './pkcs12.ts';
import { type Refusal, refusals } from './refusal.ts';

/** What the files of one certificate hold, in any order. */
export interface Material {
  readonly certificates: readonly X509Certificate[];
  readonly keys: readonly KeyObject[];
}

/** More than any chain has. */
const MOST_CERTIFICATES = 20;

/** Certificates and keys out of one file: PEM, PKCS#12, or the DER of a certificate. What it is, its content tells. */
export async function readMaterial(
  bytes: Uint8Array,
  file: string,
  passwords: readonly Secret[],
): Promise<Material | Refusal> {
  const content = Buffer.from(bytes);
  if (content.subarray(0, 4).equals(Buffer.from('PK\x03\x04'))) return refusals.archive();
  const text = content.toString('latin1');
  if (text.includes('-----BEGIN ')) return readPem(text, passwords);
  if (content[0] !== 0x30) return refusals.noForm();
  try {
    return { certificates: [new X509Certificate(content)], keys: [] };
  } catch {
    const opened = await openPkcs12(bytes, passwords);
    if (opened === 'unreadable') return refusals.unreadablePkcs12(file.slice(file.lastIndexOf('/') + 1));
    if (opened === 'wrong-password') return locked(passwords);
    return opened;
  }
}

function readPem(text: string, passwords: readonly Secret[]): Material | Refusal {
  const certificates: X509Certificate[] = [];
  const keys: KeyObject[] = [];
  for (const { label, block } of blocksOf(text)) {
    if (/^(?:X509 |TRUSTED )?CERTIFICATE$/.test(label)) {
      if (certificates.length === MOST_CERTIFICATES) return refusals.tooMany(MOST_CERTIFICATES);
      const certificate = readCertificate(block);
      if (!certificate) return refusals.damaged('certificate');
      certificates.push(certificate);
    } else if (label.endsWith('PRIVATE KEY')) {
      const key = readKey(block, passwords);
      if (!key) return isEncrypted(block) ? locked(passwords) : refusals.damaged('key');
      keys.push(key);
    }
  }
  // A block that never ends is none.
  if (certificates.length === 0 && keys.length === 0) {
    if (/-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/.test(text)) return refusals.damaged('key');
    return text.includes('CERTIFICATE-----') ? refusals.damaged('certificate') : refusals.noForm();
  }
  return { certificates, keys };
}

/** RFC 7468: what stands around the blocks is left out. */
function blocksOf(text: string): { readonly label: string; readonly block: string }[] {
  const blocks: { label: string; block: string }[] = [];
  const begin = /-----BEGIN ([A-Z0-9 ]{1,40})-----/g;
  for (let found = begin.exec(text); found; found = begin.exec(text)) {
    const [line, label = ''] = found;
    const end = `-----END ${label}-----`;
    const at = text.indexOf(end, found.index + line.length);
    if (at === -1) continue;
    blocks.push({ label, block: `${text.slice(found.index, at + end.length)}\n` });
    begin.lastIndex = at + end.length;
  }
  return blocks;
}

function readCertificate(block: string): X509Certificate | undefined {
  try {
    return new X509Certificate(block.replace(/(BEGIN|END) (?:X509|TRUSTED) /g, '$1 '));
  } catch {
    return undefined;
  }
}

/** What OpenSSL says of a key that it cannot read helps nobody, and may quote it. */
function readKey(block: string, passwords: readonly Secret[]): KeyObject | undefined {
  const tried = isEncrypted(block) ? passwords.map((secret) => ({ passphrase: secret.reveal() })) : [{}];
  for (const passphrase of tried) {
    try {
      return createPrivateKey({ key: block, format: 'pem', ...passphrase });
    } catch {}
  }
  return undefined;
}

/** RFC 5958 by its label, the older form of OpenSSL by its header. */
function isEncrypted(block: string): boolean {
  return block.startsWith('-----BEGIN ENCRYPTED ') || /^Proc-Type: *4,ENCRYPTED/m.test(block);
}

function locked(passwords: readonly Secret[]): Refusal {
  return passwords.length === 0 ? refusals.noPassword() : refusals.wrongPassword();
}
