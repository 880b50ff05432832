import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';

/** Why a text is no identifier a public CA would take. */
export type IdentifierReason =
  | 'empty'
  | 'whitespace'
  | 'ip-address'
  | 'wildcard-position'
  | 'label-empty'
  | 'label-too-long'
  | 'label-characters'
  | 'punycode'
  | 'name-too-long'
  | 'public-suffix'
  | 'single-label';

export type NormalisedIdentifier =
  | { readonly name: string; readonly reason?: undefined }
  | { readonly name?: undefined; readonly reason: IdentifierReason };

/** What is allowed instead, one line for each reason. */
export const IDENTIFIER_RULES: Readonly<Record<IdentifierReason, string>> = {
  empty: 'a DNS name',
  whitespace: 'a DNS name without spaces or control characters',
  'ip-address': 'a DNS name, no IP address: a CDN domain is always a name',
  'wildcard-position': 'a wildcard that is the whole first label, and no other: *.example.com',
  'label-empty': 'a DNS name without empty labels',
  'label-too-long': 'labels of at most 63 characters in their A-label form',
  'label-characters': 'letters, digits and hyphens, no hyphen at the edge of a label',
  punycode: 'valid internationalised labels (RFC 5891)',
  'name-too-long': 'a name of at most 253 characters in its A-label form',
  'public-suffix': 'a name below a public suffix, not the suffix itself',
  'single-label': 'a public name of at least two labels',
};

/** Longer texts are no names in any encoding, and no work is spent on them. */
const MAX_TEXT = 1024;

/**
 * One DNS identifier in the form that orders, certificates and comparisons use: A-labels (RFC 5890), lower case, no
 * trailing dot, `*.` only in front. Otherwise the reason why no public CA would issue for it; that it is a public suffix
 * of several labels, such as com.cn, is found by `isPublicSuffix` alone.
 */
export function normaliseIdentifier(text: string): NormalisedIdentifier {
  const named = normaliseName(text);
  if (named.name === undefined) return named;
  const bare = withoutWildcard(named.name);
  if (bare.includes('.')) return named;
  // Whether the list has it or not, a name of one label is a suffix: of those no CA issues a wildcard.
  return { reason: bare === named.name ? 'single-label' : 'public-suffix' };
}

function normaliseName(text: string): NormalisedIdentifier {
  if (text === '' || text === '.') return { reason: 'empty' };
  if (text.length > MAX_TEXT) return { reason: 'name-too-long' };
  if (/[\s\p{Cc}]/u.test(text)) return { reason: 'whitespace' };
  const isWildcard = text.startsWith('*.');
  const bare = isWildcard ? text.slice(2) : text;
  if (bare.includes('*')) return { reason: 'wildcard-position' };
  if (isIP(bare.replace(/^\[(.*)\]$/, '$1')) !== 0) return { reason: 'ip-address' };
  // UTS 46 maps the ideographic and half-width stops to a full stop, so the labels are counted after the mapping.
  if (/[^\p{L}\p{M}\p{N}\p{Join_Control}.\-。．｡·]/u.test(bare)) return { reason: 'label-characters' };
  const dotted = bare.replace(/[。．｡]/g, '.').replace(/\.$/, '');
  if (dotted === '') return { reason: 'empty' };
  if (dotted.split('.').includes('')) return { reason: 'label-empty' };
  const ascii = domainToASCII(dotted);
  if (ascii === '') return { reason: hasLongLabel(dotted) ? 'label-too-long' : 'punycode' };
  // The WHATWG parser reads 0x7f.1 and 127.1 as addresses: what it gives back then is no name any more.
  if (isIP(ascii) !== 0) return { reason: 'ip-address' };
  const labels = ascii.split('.');
  if (labels.includes('')) return { reason: 'label-empty' };
  if (labels.some((label) => label.length > 63)) return { reason: 'label-too-long' };
  if (!labels.every((label) => /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/.test(label))) return { reason: 'label-characters' };
  // Positions 3 and 4 are reserved for prefixes such as xn-- (RFC 5891 section 4.2.3.1): CAs refuse unknown ones.
  if (labels.some((label) => label.slice(2, 4) === '--' && !label.startsWith('xn--'))) return { reason: 'punycode' };
  if (/^[0-9]+$/.test(labels.at(-1) ?? '')) return { reason: 'ip-address' };
  const name = isWildcard ? `*.${ascii}` : ascii;
  return name.length > 253 ? { reason: 'name-too-long' } : { name };
}

function hasLongLabel(name: string): boolean {
  return name.split('.').some((label) => label.length > 63);
}

/** CDN writes a wildcard domain `.example.com`; as a DNS name it is `*.example.com`. */
export function normaliseDomain(text: string): NormalisedIdentifier {
  return normaliseIdentifier(text.startsWith('.') && text.length > 1 ? `*${text}` : text);
}

/**
 * Does a certificate for `names` serve `domain`? A wildcard stands for exactly one label (RFC 9525 section 6.3), and a
 * wildcard domain needs the wildcard itself. All names normalised.
 */
export function covers(names: readonly string[], domain: string): boolean {
  if (names.includes(domain)) return true;
  const dot = domain.indexOf('.');
  return dot > 0 && names.includes(`*${domain.slice(dot)}`);
}

export function withoutWildcard(name: string): string {
  return name.startsWith('*.') ? name.slice(2) : name;
}

/**
 * The names without those that a wildcard among them covers: the certificate serves the same domains, and Let's Encrypt
 * refuses an order that names both ("is redundant with a wildcard domain in the same request").
 */
export function withoutRedundant(names: readonly string[]): string[] {
  const wildcards = names.filter((name) => name.startsWith('*.'));
  return names.filter((name) => name.startsWith('*.') || !covers(wildcards, name));
}
