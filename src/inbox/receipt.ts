import { handOverAt } from '../brought.ts';
import type { CertificateRecord } from '../record.ts';

/** What lies in the inbox in place of the files that were taken. */
export function receiptText({ name, certificate, brought }: CertificateRecord): string {
  const { identifiers = [], notAfter = '', fingerprint = '' } = certificate ?? {};
  const { file = '', takenAt = '', issuer = '' } = brought ?? {};
  const stem = name.replace('_inbox.', '');
  const handOver = certificate ? handOverAt(certificate).toISOString() : '';
  return (
    `${file} was taken at ${takenAt}.\n\n` +
    `Certificate: ${name}\nNames: ${identifiers.join(', ')}\nIssuer: ${issuer}\nSHA-256: ${fingerprint}\nEnds: ${notAfter}\n\n` +
    `It is served on the CDN domains that it covers. Nobody renews it: put its successor into the inbox before it ends.\n` +
    `A domain that is in the configuration gets a certificate of the CA at ${handOver} if there is none by then.\n` +
    `To take it back, put an empty file ${stem}.remove here.\n\n` +
    `已采用 ${file}，部署到它所覆盖的 CDN 域名。它不会自动续期，请在到期前将新证书放入 inbox。\n` +
    `已写入配置的域名，到 ${handOver} 仍无新证书时，将改用自动申请的证书。\n` +
    `如需撤回，请在此处放入空文件 ${stem}.remove。\n`
  );
}

const SINCE = /^Seen first at (\S+Z)/;

/** What lies beside one half of a pair. */
export function waitingText(lacks: 'key' | 'certificate', now: Date): string {
  const [en, zh] = lacks === 'key' ? ['private key', '私钥'] : ['certificate', '证书'];
  return (
    `Seen first at ${now.toISOString()}, without its ${en}: upload that under the same name.\n` +
    `缺少${zh}，请以相同的文件名上传。\n`
  );
}

/** When the half was first seen. */
export function waitingSince(note: Uint8Array | undefined): Date | undefined {
  const text = SINCE.exec(Buffer.from(note ?? []).toString())?.[1] ?? '';
  return Number.isNaN(Date.parse(text)) ? undefined : new Date(text);
}
