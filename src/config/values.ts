import { createHash } from 'node:crypto';
import { isIP, isIPv6 } from 'node:net';
import { domainToASCII } from 'node:url';
import { normaliseIdentifier } from '../identifier.ts';

/** Where records, keys and certificates are kept. */
export type StoreLocation =
  | { readonly type: 'oss'; readonly bucket: string; readonly prefix: string }
  | { readonly type: 'file'; readonly path: string };

export interface KnownDirectory {
  readonly url: string;
  /** The CA opens an account only for a customer of its own. */
  readonly needsExternalAccountBinding: boolean;
}

/** Short names of directories, as the CAs publish them. */
export const DIRECTORIES: Readonly<Record<string, KnownDirectory>> = {
  letsencrypt: { url: 'https://acme-v02.api.letsencrypt.org/directory', needsExternalAccountBinding: false },
  'letsencrypt-staging': {
    url: 'https://acme-staging-v02.api.letsencrypt.org/directory',
    needsExternalAccountBinding: false,
  },
  zerossl: { url: 'https://acme.zerossl.com/v2/DV90', needsExternalAccountBinding: true },
  google: { url: 'https://dv.acme-v02.api.pki.goog/directory', needsExternalAccountBinding: true },
  'google-staging': { url: 'https://dv.acme-v02.test-api.pki.goog/directory', needsExternalAccountBinding: true },
  sslcom: { url: 'https://acme.ssl.com/sslcom-dv-rsa', needsExternalAccountBinding: true },
  'sslcom-ecc': { url: 'https://acme.ssl.com/sslcom-dv-ecc', needsExternalAccountBinding: true },
  litessl: { url: 'https://acme.litessl.com/acme/v2/directory', needsExternalAccountBinding: true },
};

/** The CA's own staging directory, where one can go there without another binding. */
export function rehearsalOf(directoryUrl: string): string | undefined {
  return directoryUrl === DIRECTORIES['letsencrypt']?.url ? DIRECTORIES['letsencrypt-staging']?.url : undefined;
}

/** A short name or an https URL, as the URL; undefined for anything else. */
export function parseDirectoryUrl(text: string): string | undefined {
  if (Object.hasOwn(DIRECTORIES, text)) return DIRECTORIES[text]?.url;
  const url = parseUrl(text);
  return url?.protocol === 'https:' && url.hash === '' ? url.href : undefined;
}

/** A URL without user name and password. */
function parseUrl(text: string): URL | undefined {
  if (text.length > 2048 || !URL.canParse(text)) return undefined;
  const url = new URL(text);
  return url.username === '' && url.password === '' ? url : undefined;
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `500ms`, `30s`, `10m`, `6h`, `2d` as milliseconds. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text);
  const unit = UNITS[match?.[2] ?? ''];
  return match === null || unit === undefined ? undefined : Number(match[1]) * unit;
}

export function parseStore(text: string): StoreLocation | undefined {
  const oss = /^oss:\/\/([^/]+)(?:\/(.*))?$/.exec(text);
  if (oss) {
    const [, bucket = '', rest = ''] = oss;
    const prefix = rest.replace(/^\/+|(?<!\/)\/+$/g, '');
    return isBucket(bucket) && isKeyPrefix(prefix) ? { type: 'oss', bucket, prefix } : undefined;
  }
  const url = parseUrl(text);
  if (url?.protocol !== 'file:' || url.host !== '' || !text.startsWith('file:///')) return undefined;
  const path = decodePath(url.pathname);
  return path === undefined || path === '/' ? undefined : { type: 'file', path: path.replace(/(?<!\/)\/+$/, '') };
}

/** The key of one object: `oss://bucket/key`. */
export function parseObjectUrl(text: string): { readonly bucket: string; readonly key: string } | undefined {
  const location = text.startsWith('oss://') ? parseStore(text) : undefined;
  return location?.type === 'oss' && location.prefix !== ''
    ? { bucket: location.bucket, key: location.prefix }
    : undefined;
}

function decodePath(path: string): string | undefined {
  try {
    const decoded = decodeURIComponent(path);
    return decoded.includes('\0') ? undefined : decoded;
  } catch {
    return undefined;
  }
}

/** OSS: 3 to 63 lower-case letters, digits and hyphens, no hyphen at the edges. */
export function isBucket(text: string): boolean {
  return /^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/.test(text);
}

/** Printable ASCII without empty and dotted segments; also the empty prefix. */
export function isKeyPrefix(text: string): boolean {
  if (text === '') return true;
  return (
    text.length <= 512 &&
    text.split('/').every((part) => /^[A-Za-z0-9!()_.*~ -]+$/.test(part) && part !== '.' && part !== '..')
  );
}

/** An address with a port, as `host:port` with an IPv6 host in brackets; the port may be left out. */
export function parseAddress(text: string, defaultPort: number): string | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|([^[\]:\s]{1,253}))(?::(\d{1,5}))?$/.exec(text);
  if (!match) return isIPv6(text) ? `[${text.toLowerCase()}]:${defaultPort}` : undefined;
  const [, bracketed, bare = '', digits] = match;
  const port = digits === undefined ? defaultPort : Number(digits);
  if (port < 1 || port > 65_535) return undefined;
  if (bracketed !== undefined) return isIPv6(bracketed) ? `[${bracketed.toLowerCase()}]:${port}` : undefined;
  const host = isIP(bare) !== 0 || bare === 'localhost' ? bare : normaliseIdentifier(bare).name;
  return host === undefined || host.startsWith('*') ? undefined : `${host}:${port}`;
}

/** A name server: an IP address, with a port where it is not 53. */
export function parseResolver(text: string): string | undefined {
  const address = parseAddress(text, 53);
  if (address === undefined || isIP(address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '')) === 0)
    return undefined;
  return address.endsWith(':53') ? address.slice(0, -3).replace(/^\[|\]$/g, '') : address;
}

/**
 * What kind of machine a URL's host is. The WHATWG parser has brought every spelling of an address to one: 0x7f000001
 * and 127.1 are 127.0.0.1, and IPv6 is compressed. A name is not resolved here.
 */
export function kindOfHost(hostname: string): 'loopback' | 'internal' | 'other' {
  const host = hostname
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '')
    .toLowerCase();
  if (host === 'localhost' || host.endsWith('.localhost')) return 'loopback';
  if (isIP(host) === 0) return 'other';
  const address = embeddedIpv4(host) ?? host;
  if (/^(?:127|0)\./.test(address) || address === '::1' || address === '::') return 'loopback';
  // Link-local addresses, and where Alibaba Cloud answers an instance's questions for its credentials.
  return address.startsWith('169.254.') || address === '100.100.100.200' || /^fe[89ab]/.test(address)
    ? 'internal'
    : 'other';
}

/** The IPv4 address in an IPv4-mapped (RFC 4291) or NAT64 (RFC 6052) one. */
function embeddedIpv4(address: string): string | undefined {
  const match = /^(?:::ffff:|64:ff9b::)([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(address);
  const octets = match
    ?.slice(1)
    .flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff]);
  return octets?.join('.');
}

/** An origin to call: https, or http on a loopback host. Without a path. */
export function parseEndpoint(text: string): string | undefined {
  const url = parseUrl(text);
  if (url === undefined || url.pathname !== '/' || url.search !== '' || url.hash !== '') return undefined;
  if (url.protocol === 'https:') return url.origin;
  return url.protocol === 'http:' && kindOfHost(url.hostname) === 'loopback' ? url.origin : undefined;
}

/** May a message be sent there? `sandbox` lets loopback hosts through, also by http. */
export function webhookFault(text: string, sandbox: boolean): 'URL_INVALID' | 'URL_HOST_REFUSED' | undefined {
  const url = parseUrl(text);
  if (url === undefined) return 'URL_INVALID';
  const kind = kindOfHost(url.hostname);
  if (kind === 'internal' || (kind === 'loopback' && !sandbox)) return 'URL_HOST_REFUSED';
  return url.protocol === 'https:' || (url.protocol === 'http:' && kind === 'loopback') ? undefined : 'URL_INVALID';
}

/** 32 bytes in base64 or base64url, else their number; undefined when it is neither. */
export function decodedLength(text: string): number | undefined {
  const compact = text.trim();
  return /^[A-Za-z0-9+/_-]+={0,2}$/.test(compact) ? Buffer.from(compact, 'base64').length : undefined;
}

/** A certificate's name is a key of the store. */
export function isCertificateName(text: string): boolean {
  return /^[a-z0-9][a-z0-9._-]{0,63}$/.test(text) && !text.includes('..');
}

/** The name of a certificate that was given none: its first identifier. */
export function nameFor(identifier: string): string {
  const name = identifier.replace(/^\*\./, 'wildcard.');
  if (isCertificateName(name)) return name;
  return `${name.slice(0, 47)}-${createHash('sha256').update(name).digest('hex').slice(0, 16)}`;
}

/** A pattern of domains: `*` for any characters, labels otherwise as in a DNS name. A-labels, lower case. */
export function parsePattern(text: string): string | undefined {
  if (text.length === 0 || text.length > 253) return undefined;
  const pattern = text.startsWith('.') ? `*${text}` : text;
  const labels = pattern.replace(/\.$/, '').split('.');
  const ascii = labels.map((label) => (label.includes('*') ? label.toLowerCase() : domainToASCII(label)));
  return ascii.every((label) => /^[a-z0-9*-]{1,63}$/.test(label)) ? ascii.join('.') : undefined;
}
