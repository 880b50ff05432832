import { createHash, type KeyObject, createPrivateKey as readPrivateKey } from 'node:crypto';
import { isIP } from 'node:net';
import { AutocertError } from '../errors.ts';
import type { Secret } from '../secret.ts';

// The only file that knows acme-client: what it signs (JWS, external account binding, CSR) is right and taken from it.
// It is loaded when something must be signed: a run with nothing to do never pays for it.

/** Signs with one account key. */
export interface Signer {
  /** The request body of RFC 8555 section 6.2: a flattened JWS. `payload` null is a POST-as-GET. Without `kid` it carries the JWK. */
  sign(url: string, payload: object | null, header: { readonly nonce?: string; readonly kid?: string }): object;
  /** RFC 8555 section 7.3.4: the account's public key, signed with the key that the CA gave out of band. */
  bind(newAccountUrl: string, kid: string, hmacKey: Secret): object;
  /** The public key (RFC 7517). */
  readonly jwk: object;
  /** RFC 8555 section 8.1: the token and the key's thumbprint (RFC 7638). */
  keyAuthorization(token: string): string;
}

/** What acme-client's HTTP client offers beyond its published types. */
interface LibrarySigner {
  /** A PEM that it reads anew for each signature, which costs ten times what the signature does. A KeyObject serves as well. */
  accountKey: unknown;
  /** Of the PEM; remembered. */
  getJwk(): object;
  createSignedBody(url: string, payload: object | null, options: { nonce: string | null; kid: string | null }): object;
  createSignedHmacBody(hmacKey: string, url: string, payload: object, options: { kid: string }): object;
}

/** A bundled CommonJS module has its exports on `default` alone; Node gives them there, too. */
async function loadLibrary(): Promise<typeof import('acme-client')> {
  const library = await import('acme-client');
  return library.default;
}

/** Throws STORE_CORRUPT for a key that is no RSA or EC private key. */
export async function loadSigner(accountKey: Secret): Promise<Signer> {
  const key = readKey(accountKey, 'account key');
  const { Client } = await loadLibrary();
  // The URL is never used: the transport is ours.
  const client: object = new Client({ directoryUrl: 'https://acme.invalid/', accountKey: pkcs8(key) });
  if (!('http' in client) || !isLibrarySigner(client.http)) throw libraryChanged();
  const http = client.http;
  const jwk = http.getJwk();
  http.accountKey = key;
  const thumbprint = createHash('sha256').update(JSON.stringify(jwk)).digest('base64url');
  return {
    jwk,
    sign: (url, payload, { nonce, kid }) =>
      http.createSignedBody(url, payload, { nonce: nonce ?? null, kid: kid ?? null }),
    bind: (newAccountUrl, kid, hmacKey) => http.createSignedHmacBody(hmacKey.reveal(), newAccountUrl, jwk, { kid }),
    keyAuthorization: (token) => `${token}.${thumbprint}`,
  };
}

function isLibrarySigner(value: unknown): value is LibrarySigner {
  return (
    typeof value === 'object' &&
    value !== null &&
    'accountKey' in value &&
    'getJwk' in value &&
    typeof value.getJwk === 'function' &&
    'createSignedBody' in value &&
    typeof value.createSignedBody === 'function' &&
    'createSignedHmacBody' in value &&
    typeof value.createSignedHmacBody === 'function'
  );
}

export interface Csr {
  readonly der: Buffer;
  readonly pem: string;
}

/**
 * A certificate signing request (RFC 2986, RFC 8555 section 7.4) for exactly these identifiers, as DER and PEM.
 *
 * It has no common name: CAs take the names from subjectAltName alone, a CN is limited to 64 characters (RFC 5280
 * appendix A.1), and CAs that still want one in the certificate promote a name by themselves.
 *
 * @param identifiers A-labels, `*.` wildcards and IP addresses. Anything else throws CONFIG_INVALID: acme-client would cut
 *   other characters to eight bits, and the certificate would be for another name.
 */
export async function createCsr(request: {
  readonly identifiers: readonly string[];
  readonly privateKey: Secret;
}): Promise<Csr> {
  checkIdentifiers(request.identifiers);
  const key = pkcs8(readKey(request.privateKey, 'private key of the certificate'));
  const { crypto } = await loadLibrary();
  const [, csr] = await crypto.createCsr({ altNames: [...request.identifiers] }, key);
  const pem = csr.toString('ascii');
  return { pem, der: Buffer.from(crypto.getPemBodyAsB64u(pem), 'base64url') };
}

/** RFC 5890: letters, digits, hyphens and dots; `*` as the whole first label; 253 characters. */
const DNS_NAME = /^(?:\*\.)?(?!-)[\w-]{1,63}(?:\.(?!-)[\w-]{1,63})*$/;

/** Throws CONFIG_INVALID unless every identifier is an A-label name or an IP address, and there is at least one. */
export function checkIdentifiers(identifiers: readonly string[]): void {
  const wrong = identifiers.find((each) => each.length > 253 || (isIP(each) === 0 && !DNS_NAME.test(each)));
  if (wrong === undefined && identifiers.length > 0) return;
  throw new AutocertError({
    code: 'CONFIG_INVALID',
    message:
      wrong === undefined ? 'A certificate needs at least one identifier' : `Not an identifier in A-labels: ${wrong}`,
    retryable: false,
    remedy: 'Write the identifiers of the certificate as domain names, with international ones in their xn-- form.',
  });
}

/** RFC 8738 section 3 and RFC 8555 section 9.7.7. */
export function identifierOf(value: string): { readonly type: 'dns' | 'ip'; readonly value: string } {
  return { type: isIP(value) === 0 ? 'dns' : 'ip', value };
}

/** acme-client reads EC keys from PKCS#8 alone. */
function pkcs8(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function readKey(key: Secret, what: string): KeyObject {
  let object: KeyObject;
  try {
    object = readPrivateKey(key.reveal());
  } catch {
    // No cause: nothing that has seen a private key goes into an error.
    throw unusable(what);
  }
  if (object.asymmetricKeyType !== 'rsa' && object.asymmetricKeyType !== 'ec') throw unusable(what);
  return object;
}

function unusable(what: string): AutocertError {
  return new AutocertError({
    code: 'STORE_CORRUPT',
    message: `The ${what} is not a readable RSA or EC private key`,
    retryable: false,
    remedy: 'Restore the previous version of the record from the store.',
  });
}

function libraryChanged(): AutocertError {
  return new AutocertError({
    code: 'INTERNAL',
    message: 'The installed acme-client does not offer the signing functions of version 5.4.0',
    retryable: false,
    remedy: 'Install the exact version of acme-client that package-lock.json names.',
  });
}
