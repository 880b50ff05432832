/**
 * What the CDN takes for a certificate, in the strict form of its documentation
 * (https://www.alibabacloud.com/help/en/alibaba-cloud-cdn/latest/certificate-formats): PEM, the server's certificate
 * first and each next one the issuer of the one before, no empty line or space anywhere, lines of 64 characters but the
 * last, a key under its own algorithm's header (`RSA PRIVATE KEY`, `EC PRIVATE KEY`), not PKCS#8.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { ApiError } from './product.ts';

/** One operation's names for the same refusals: the codes differ between the two calls that set a certificate. */
export interface RefusalCodes {
  readonly malformedCertificate: string;
  readonly malformedKey: string;
}

/** No number is documented behind `InvalidCertificate.TooLong`; this one is far above any real chain. */
const MAX_CERTIFICATE_LENGTH = 65_536;
const MAX_NAME_LENGTH = 128;

export function checkCertificateName(name: string | undefined): void {
  if ((name?.length ?? 0) > MAX_NAME_LENGTH) {
    throw refused('InvalidCertName.TooLong', 'The Certificate name you provided is over the max length 128!');
  }
}

/** Throws the documented error unless `certificate` and `privateKey` are a pair in the documented form. */
export function checkCertificate(certificate: string, privateKey: string, codes: RefusalCodes): X509Certificate {
  if (certificate.length > MAX_CERTIFICATE_LENGTH) {
    throw refused('InvalidCertificate.TooLong', 'The Certificate you provided is over the max length!');
  }
  const blocks = splitCertificates(certificate);
  const chain = blocks.map((block) => {
    try {
      return new X509Certificate(block);
    } catch {
      throw refused(codes.malformedCertificate, 'The Certificate you provided is malformed!');
    }
  });
  const [leaf] = chain;
  if (leaf === undefined || leaf.ca || !chain.every((one, i) => isIssuedBy(one, chain[i + 1]))) {
    throw refused('Certificate.FormatError', 'The certificate format is error.');
  }
  if (!leaf.checkPrivateKey(readKey(privateKey, codes))) {
    throw refused('Certificate.MissMatch', 'The Private Key does not math the specified Certificate!');
  }
  return leaf;
}

const BLOCK =
  '-----BEGIN CERTIFICATE-----\\n(?:[A-Za-z0-9+/]{64}\\n)*[A-Za-z0-9+/]{1,64}={0,2}\\n-----END CERTIFICATE-----';
const CHAIN = new RegExp(`^${BLOCK}(?:\\n${BLOCK})*\\n?$`);
const KEY =
  /^-----BEGIN (RSA|EC) PRIVATE KEY-----\n(?:[A-Za-z0-9+/]{64}\n)*[A-Za-z0-9+/]{1,64}={0,2}\n-----END \1 PRIVATE KEY-----\n?$/;

function splitCertificates(certificate: string): string[] {
  if (!CHAIN.test(certificate)) throw refused('Certificate.FormatError', 'The certificate format is error.');
  return certificate.match(new RegExp(BLOCK, 'g')) ?? [];
}

function isIssuedBy(certificate: X509Certificate, next: X509Certificate | undefined): boolean {
  return next === undefined || (certificate.checkIssued(next) && certificate.verify(next.publicKey));
}

function readKey(privateKey: string, codes: RefusalCodes): KeyObject {
  if (privateKey.trim() === '') throw refused('Certificate.KeyNull', 'The private key is not null.');
  if (!KEY.test(privateKey)) throw refused('Key.Malformed', 'The private key format is error.');
  try {
    return createPrivateKey(privateKey);
  } catch {
    throw refused(codes.malformedKey, 'The Private Key you provided is malformed!');
  }
}

/** The first name of a certificate: its common name, or its first alternative name when the subject is empty. */
export function primaryName(certificate: X509Certificate): string {
  return commonName(certificate.subject) ?? names(certificate)[0] ?? '';
}

export function issuerName(certificate: X509Certificate): string {
  return commonName(certificate.issuer) ?? '';
}

function names(certificate: X509Certificate): string[] {
  return (certificate.subjectAltName ?? '').split(', ').map((entry) => entry.replace(/^(?:DNS|IP Address):/, ''));
}

function commonName(distinguishedName: string | undefined): string | undefined {
  return /^CN=(.*)$/m.exec(distinguishedName ?? '')?.[1];
}

/** Whether a certificate covers an accelerated domain; `.example.com` is the wildcard domain `*.example.com`. */
export function covers(certificate: X509Certificate, domainName: string): boolean {
  const wanted = domainName.startsWith('.') ? `*${domainName}` : domainName;
  return names(certificate).includes(wanted) || certificate.checkHost(wanted) !== undefined;
}

function refused(code: string, message: string): ApiError {
  return new ApiError(400, code, message);
}
