import { createHash } from 'node:crypto';

/** SSL Certificates Service keeps what CDN is given, and takes names of 64 characters at most (UploadUserCertificate). */
const LONGEST = 64;

/**
 * The CertName of one CDN domain, the same at every renewal, so that `ForceSet=1` replaces the certificate of that name
 * instead of adding one: `autocert-cdn-www_example_com`, `autocert-cdn-_example_com` for `.example.com`. `suffix` makes
 * another name of it. What would be too long is cut and ends in eight hex digits of the domain's SHA-256.
 */
export function certName(domainName: string, suffix?: string): string {
  const end = suffix === undefined ? '' : `-${suffix}`;
  const name = `autocert-cdn-${domainName.replace(/^\*/, '').replaceAll('.', '_')}`;
  if (name.length + end.length <= LONGEST) return `${name}${end}`;
  const hash = createHash('sha256').update(domainName).digest('hex').slice(0, 8);
  return `${name.slice(0, LONGEST - end.length - hash.length - 1)}-${hash}${end}`;
}
