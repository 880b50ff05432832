/**
 * Names against the Public Suffix List (https://publicsuffix.org). The list is half as much as all else that a run loads at its
 * start, and of most names their form tells that they are no suffix: this module is imported when one is to be looked up.
 */
import { parse } from 'tldts';
import { withoutWildcard } from './identifier.ts';

/** Is the name, or what its wildcard stands below, a suffix of the list's first part, such as com.cn? A-labels, lower case. */
export function isPublicSuffix(name: string): boolean {
  const bare = withoutWildcard(name);
  // Private suffixes (github.io) are left out: their owners do get certificates for them.
  const parsed = parse(bare, { allowPrivateDomains: false, validateHostname: false });
  return parsed.publicSuffix === bare && parsed.isIcann === true;
}

/** The name one label below the public suffix, private suffixes counted, as the CAs' limits count; undefined for a suffix. */
export function registrableDomain(name: string): string | undefined {
  return parse(withoutWildcard(name), { allowPrivateDomains: true, validateHostname: false }).domain ?? undefined;
}
