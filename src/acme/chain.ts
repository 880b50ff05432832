import { X509Certificate } from 'node:crypto';
import { invalidAnswer } from './answer.ts';
import type { Answer } from './https.ts';

const BEGIN = '-----BEGIN CERTIFICATE-----';
const END = '-----END CERTIFICATE-----';
/** Real chains have two to four. */
const MOST_CERTIFICATES = 10;

/**
 * The body of a certificate resource (RFC 8555 sections 7.4.2 and 9.1): certificates in PEM, the leaf first, and nothing
 * else. Throws ACME_RESPONSE_INVALID, retryable: it may be half of an answer, or a portal's page.
 */
export function parseCertificates(answer: Answer): string {
  const pem = answer.body.toString('latin1').replaceAll('\r\n', '\n');
  const certificates: string[] = [];
  let at = 0;
  for (;;) {
    const begin = pem.indexOf(BEGIN, at);
    const end = begin === -1 ? -1 : pem.indexOf(END, begin);
    if (pem.slice(at, begin === -1 ? undefined : begin).trim() !== '')
      throw invalid(answer, 'text that is no certificate');
    if (begin === -1) break;
    if (end === -1) throw invalid(answer, 'a certificate that is cut off');
    const certificate = pem.slice(begin, end + END.length);
    if (!isCertificate(certificate)) throw invalid(answer, 'a certificate that cannot be read');
    certificates.push(certificate);
    at = end + END.length;
  }
  if (certificates.length === 0) throw invalid(answer, 'nothing');
  if (certificates.length > MOST_CERTIFICATES) throw invalid(answer, `${certificates.length} certificates`);
  return `${certificates.join('\n')}\n`;
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}

function invalid(answer: Answer, what: string): Error {
  return invalidAnswer(answer.url, `sent ${what} as the certificate chain`, true);
}

/**
 * How near to the root of this chain an issuer with the common name stands: 0 is the issuer of the last certificate.
 * Undefined when no certificate of the chain was issued by it.
 */
export function distanceFromRoot(chain: string, commonName: string): number | undefined {
  const issuers = chain
    .split(END)
    .filter((text) => text.includes(BEGIN))
    .map((text) => new X509Certificate(text + END).issuer.split('\n'));
  const index = issuers.findLastIndex((lines) => lines.includes(`CN=${commonName}`));
  return index === -1 ? undefined : issuers.length - 1 - index;
}
