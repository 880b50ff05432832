/**
 * The server's side of the two signatures of the RPC style, written from their documentation:
 * v1 (HMAC-SHA1, parameters) https://www.alibabacloud.com/help/en/sdk/product-overview/rpc-mechanism
 * v3 (ACS3-HMAC-SHA256, headers) https://www.alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { ApiError } from './product.ts';

/** One HTTP request as it arrived. */
export interface ReceivedRequest {
  readonly method: string;
  /** Default: `/`, as in every RPC API. */
  readonly path?: string;
  readonly query: ReadonlyMap<string, string>;
  /** The form body's parameters; empty for any other content type. */
  readonly form: ReadonlyMap<string, string>;
  readonly body: Buffer;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** What both signatures say about a call, under one name. */
export interface SignedCall {
  readonly action: string;
  readonly version: string;
  readonly accessKeyId: string;
  readonly securityToken: string | undefined;
  readonly timestamp: string;
  readonly nonce: string;
  /** The API's own parameters. */
  readonly parameters: Readonly<Record<string, string>>;
  /** Throws SignatureDoesNotMatch unless the request was signed with this secret. */
  verify(accessKeySecret: string): void;
}

const COMMON_PARAMETERS = new Set([
  'Action',
  'Version',
  'Format',
  'AccessKeyId',
  'SecurityToken',
  'Signature',
  'SignatureMethod',
  'SignatureVersion',
  'SignatureNonce',
  'SignatureType',
  'Timestamp',
]);

/** Reads the signature a request carries; throws the gateway's error when a part of it is missing. */
export function readSignedCall(request: ReceivedRequest): SignedCall {
  const all = new Map([...request.query, ...request.form]);
  for (const name of request.form.keys()) {
    if (request.query.has(name)) throw invalid('InvalidParameter', `Specified parameter ${name} is not valid.`);
  }
  return header(request, 'authorization') === '' ? readVersion1(request, all) : readVersion3(request, all);
}

function readVersion1(request: ReceivedRequest, all: ReadonlyMap<string, string>): SignedCall {
  const get = (name: string): string => {
    const value = all.get(name);
    if (value === undefined || value === '') throw invalid(`Missing${name}`, `${name} is mandatory for this action.`);
    return value;
  };
  const call = { action: get('Action'), version: get('Version') };
  // Without Format the real gateway answers in XML, which no caller here could read.
  if ((all.get('Format') ?? '').toUpperCase() !== 'JSON') {
    throw invalid('InvalidParameter.Format', 'Specified response format is not supported.');
  }
  if (get('SignatureMethod') !== 'HMAC-SHA1' || get('SignatureVersion') !== '1.0') {
    throw invalid('InvalidSignatureMethod', 'Specified signature method is not valid.');
  }
  const signature = get('Signature');
  return {
    ...call,
    accessKeyId: get('AccessKeyId'),
    securityToken: all.get('SecurityToken'),
    timestamp: get('Timestamp'),
    nonce: get('SignatureNonce'),
    parameters: apiParameters(all),
    verify: (secret) => {
      const signed = [...all].filter(([name]) => name !== 'Signature');
      const stringToSign = `${request.method}&${encode('/')}&${encode(canonicalQuery(signed))}`;
      const expected = createHmac('sha1', `${secret}&`).update(stringToSign).digest('base64');
      if (!same(expected, signature)) throw mismatch(stringToSign);
    },
  };
}

function readVersion3(request: ReceivedRequest, all: ReadonlyMap<string, string>): SignedCall {
  const get = (name: string): string => {
    const value = header(request, name);
    if (value === '') throw invalid('MissingParameter', `The header ${name} is needed but not provided.`);
    return value;
  };
  const match = /^ACS3-HMAC-SHA256 Credential=([^,]+),\s*SignedHeaders=([^,]+),\s*Signature=([0-9a-f]{64})$/.exec(
    get('authorization'),
  );
  const [, accessKeyId, signedHeaders, signature] = match ?? [];
  if (accessKeyId === undefined || signedHeaders === undefined || signature === undefined) {
    throw invalid('IncompleteSignature', 'The request signature does not conform to Aliyun standards.');
  }
  return {
    action: get('x-acs-action'),
    version: get('x-acs-version'),
    accessKeyId,
    securityToken: header(request, 'x-acs-security-token') || undefined,
    timestamp: get('x-acs-date'),
    nonce: get('x-acs-signature-nonce'),
    parameters: apiParameters(all),
    verify: (secret) => {
      const names = signedHeaders.split(';');
      const mustBeSigned = Object.keys(request.headers).filter((name) => name === 'host' || name.startsWith('x-acs-'));
      const hash = sha256(request.body);
      if (mustBeSigned.some((name) => !names.includes(name)) || get('x-acs-content-sha256') !== hash) {
        throw invalid('IncompleteSignature', 'The request signature does not conform to Aliyun standards.');
      }
      const canonicalRequest = [
        request.method,
        request.path ?? '/',
        canonicalQuery([...request.query]),
        ...names.map((name) => `${name}:${header(request, name)}`),
        '',
        signedHeaders,
        hash,
      ].join('\n');
      const stringToSign = `ACS3-HMAC-SHA256\n${sha256(canonicalRequest)}`;
      const expected = createHmac('sha256', secret).update(stringToSign).digest('hex');
      if (!same(expected, signature)) throw mismatch(stringToSign);
    },
  };
}

function apiParameters(all: ReadonlyMap<string, string>): Record<string, string> {
  return Object.fromEntries([...all].filter(([name]) => !COMMON_PARAMETERS.has(name)));
}

/** Sorted by name in code-unit order, percent-encoded as RFC 3986 §2.3 says. */
function canonicalQuery(parameters: (readonly [string, string])[]): string {
  return parameters
    .toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .join('&');
}

function encode(text: string): string {
  let encoded = '';
  for (const byte of Buffer.from(text)) {
    const character = String.fromCharCode(byte);
    encoded += /[A-Za-z0-9\-._~]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}

function header(request: ReceivedRequest, name: string): string {
  const value = request.headers[name];
  return (Array.isArray(value) ? value.join(',') : (value ?? '')).trim();
}

function sha256(data: Buffer | string): string {
  return createHash('sha256').update(data).digest('hex');
}

function same(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
}

function invalid(code: string, message: string): ApiError {
  return new ApiError(400, code, message);
}

/** The real message quotes what the server signed: every parameter of the call, the private key among them. */
function mismatch(stringToSign: string): ApiError {
  const reason = 'Specified signature is not matched with our calculation.';
  return invalid('SignatureDoesNotMatch', `${reason} server string to sign is:${stringToSign}`);
}
