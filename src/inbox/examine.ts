import type { KeyObject, X509Certificate } from 'node:crypto';
import { type CertificateFacts, certificateFacts, checkIssued, keyPem } from '../certificate.ts';
import { isStagingIssuer } from '../decide.ts';
import { elements, oidOf } from '../der.ts';
import { AutocertError } from '../errors.ts';
import type { Bundle } from '../record.ts';
import { Secret } from '../secret.ts';
import { trustedRoots } from '../verify.ts';
import type { Material } from './material.ts';
import { type Refusal, refusals } from './refusal.ts';

/** A certificate that browsers accept, with its key. */
export interface Brought {
  readonly facts: CertificateFacts & { readonly keyType: NonNullable<CertificateFacts['keyType']> };
  /** In the form in which CDN takes it. */
  readonly bundle: Bundle;
}

/** RFC 8017, RFC 5758: md5 and sha1 with RSA, ecdsa with SHA-1. */
const WEAK_SIGNATURES = ['1.2.840.113549.1.1.4', '1.2.840.113549.1.1.5', '1.2.840.10045.4.1'];
/** How far in the future a certificate may begin: this machine's clock may be slow. */
const CLOCK_TOLERANCE = 3_600_000;

/**
 * Is it a certificate that a CDN can serve to browsers: its key is there, it is valid now, and its chain leads without a
 * gap to a root that is trusted, or that is in the files themselves? Pure but for the roots that Node brings.
 */
export function examine({ certificates, keys }: Material, now: Date): Brought | Refusal {
  if (certificates.length === 0) return refusals.noCertificate();
  const [key] = keys;
  if (!key) return refusals.noKey();
  const pair = pairOf(certificates, keys);
  if (!pair) return refusals.otherKey();
  const { leaf } = pair;
  const facts = certificateFacts(leaf.toString());
  const { keyType } = facts;
  if (keyType === undefined) return refusals.weakKey(keyText(pair.key));
  if (facts.selfSigned) return refusals.selfSigned();
  if (isStagingIssuer(facts.issuer)) return refusals.staging(facts.issuer);
  // A person is told first of what no longer chain would mend.
  const over = timeRefusal(leaf, now);
  if (over) return over;
  const chain = chainOf(leaf, certificates, now);
  if (!Array.isArray(chain)) return chain;
  for (const certificate of chain) {
    const refused = timeRefusal(certificate, now) ?? signatureRefusal(certificate);
    if (refused) return refused;
  }
  if (facts.identifiers.length === 0) return refusals.noNames();
  const privateKey = new Secret(keyPem(pair.key));
  try {
    const pem = chain.map((certificate) => certificate.toString()).join('');
    const checked = checkIssued(pem, privateKey, { identifiers: [], now });
    return { facts: { ...facts, keyType }, bundle: { chain: checked, privateKey } };
  } catch (thrown) {
    if (thrown instanceof AutocertError) return refusals.unfit(thrown.message);
    throw thrown;
  }
}

/** Of several certificates for one key, as after a renewal with the same one, that which ends last. */
function pairOf(
  certificates: readonly X509Certificate[],
  keys: readonly KeyObject[],
): { readonly leaf: X509Certificate; readonly key: KeyObject } | undefined {
  const pairs = certificates.flatMap((leaf) => {
    const key = keys.find((one) => isKeyOf(one, leaf));
    return key ? [{ leaf, key }] : [];
  });
  return pairs.sort((a, b) => Date.parse(b.leaf.validTo) - Date.parse(a.leaf.validTo))[0];
}

/** OpenSSL cannot read every key of a certificate, and says so only when it is to use it. */
function isKeyOf(key: KeyObject, certificate: X509Certificate): boolean {
  try {
    return certificate.checkPrivateKey(key);
  } catch {
    return false;
  }
}

function keyText({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): string {
  const { modulusLength, namedCurve } = asymmetricKeyDetails ?? {};
  return `${(asymmetricKeyType ?? 'unknown').toUpperCase()}${modulusLength ? ` with ${modulusLength} bits` : ''}${namedCurve ? ` on ${namedCurve}` : ''}`;
}

/** The leaf and its issuers, each once, whatever order they came in; a certificate that is no part of it is left out. */
function chainOf(leaf: X509Certificate, pool: readonly X509Certificate[], now: Date): X509Certificate[] | Refusal {
  const chain = [leaf];
  for (let top = leaf; ; ) {
    const issuers = pool.filter((one) => !chain.includes(one) && isIssuerOf(one, top));
    const issuer = issuers.find((one) => timeRefusal(one, now) === undefined) ?? issuers[0];
    if (!issuer) {
      const isAnchored =
        chain.length > 1 && (isIssuerOf(top, top) || trustedRoots().some((root) => isIssuerOf(root, top)));
      return isAnchored ? chain : refusals.chainIncomplete(commonName(top.issuer), issuerUrl(top));
    }
    chain.push(issuer);
    top = issuer;
  }
}

function isIssuerOf(issuer: X509Certificate, subject: X509Certificate): boolean {
  try {
    return issuer.ca && subject.checkIssued(issuer) && subject.verify(issuer.publicKey);
  } catch {
    return false;
  }
}

/** RFC 5280 section 4.2.2.1. */
function issuerUrl({ infoAccess }: X509Certificate): string | undefined {
  return /CA Issuers - URI:(https?:\/\/[\w./~%-]{1,200})/.exec(infoAccess ?? '')?.[1];
}

function timeRefusal(certificate: X509Certificate, now: Date): Refusal | undefined {
  const subject = commonName(certificate.subject);
  const [notBefore, notAfter] = [new Date(certificate.validFrom), new Date(certificate.validTo)];
  if (notAfter <= now) return refusals.ended(subject, notAfter.toISOString());
  if (notBefore.getTime() > now.getTime() + CLOCK_TOLERANCE) return refusals.notYet(subject, notBefore.toISOString());
  return undefined;
}

/** RFC 5280 section 4.1.1.2. A root's own signature proves nothing and does not matter. */
function signatureRefusal(certificate: X509Certificate): Refusal | undefined {
  if (isIssuerOf(certificate, certificate)) return undefined;
  const [, algorithm] = elements(elements(certificate.raw)[0]?.content);
  const [oid] = elements(algorithm?.content);
  const isWeak = oid !== undefined && WEAK_SIGNATURES.includes(oidOf(oid) ?? '');
  return isWeak ? refusals.weakSignature(commonName(certificate.subject)) : undefined;
}

/** What a person calls it: the common name, else all of the name. The subject may be empty, and is then undefined. */
function commonName(name: string | undefined): string {
  const text = name ?? '';
  return (
    (/(?:^|\n)CN=([^\n]{1,100})/.exec(text)?.[1] ?? text.replaceAll('\n', ', ').slice(0, 200)) || 'the certificate'
  );
}
