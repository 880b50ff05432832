import type { CaaRecord } from 'node:dns';
import { Resolver } from 'node:dns/promises';
import { AutocertError } from '../errors.ts';
import { registrableDomain } from '../suffix.ts';

/** Who is to issue what, and how it is proved. */
export interface Issuance {
  /** `*.example.com` for a wildcard. */
  readonly identifier: string;
  /** The CA's own names for CAA: `caaIdentities` of its directory (RFC 8555 section 7.1.1). */
  readonly caaIdentities: readonly string[];
  readonly challengeType: 'dns-01' | 'http-01';
}

export interface CaaVerdict {
  readonly allowed: boolean;
  /** The name whose records count, or undefined when no name up to the root has any. */
  readonly at: string | undefined;
  /** What the records that count say. */
  readonly records: readonly string[];
  /** RFC 8657: the accounts that alone may issue; empty when any may. */
  readonly accountUris: readonly string[];
}

/** Milliseconds for one query. */
const QUERY_TIMEOUT = 3_000;
const NO_RECORD = new Set(['ENOTFOUND', 'ENODATA']);

/**
 * May the CA issue? By RFC 8659: the records of the closest name that has any count; of those, issuewild for a wildcard if
 * there is one, else issue; the parameters by RFC 8657. `resolvers` as `dns.Resolver.setServers` takes them. Throws
 * DNS_LOOKUP_FAILED: a CA does not issue either when the lookup fails.
 */
export async function checkCaa(issuance: Issuance, resolvers: readonly string[]): Promise<CaaVerdict> {
  const resolver = new Resolver({ timeout: QUERY_TIMEOUT, tries: 3 });
  if (resolvers.length > 0) resolver.setServers(resolvers);
  const isWildcard = issuance.identifier.startsWith('*.');
  const name = isWildcard ? issuance.identifier.slice(2) : issuance.identifier;
  const found = await climb(name, resolver);
  if (!found) return { allowed: true, at: undefined, records: [], accountUris: [] };
  const properties = found.records.map(toProperty);
  const records = properties.map(({ critical, tag, value }) => `${critical ? 128 : 0} ${tag} "${value}"`);
  return { ...judge(properties, issuance, isWildcard), at: found.at, records };
}

/** RFC 8659 section 3. A CNAME is followed by the resolver; the climb goes on at the name that was asked for. */
async function climb(name: string, resolver: Resolver): Promise<{ at: string; records: CaaRecord[] } | undefined> {
  const labels = name.split('.');
  const registrable = registrableDomain(name) ?? name;
  for (let skip = 0; skip < labels.length; skip += 1) {
    const at = labels.slice(skip).join('.');
    try {
      const records = await resolver.resolveCaa(at);
      if (records.length > 0) return { at, records };
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
      if (NO_RECORD.has(code)) continue;
      // What the registries above say is nobody's to correct, and not every resolver is asked about them.
      if (at.length < registrable.length) return undefined;
      throw lookupFailed(at, code);
    }
  }
  return undefined;
}

const KNOWN = new Set(['issue', 'issuewild', 'iodef', 'contactemail', 'contactphone', 'issuemail', 'issuevmc']);

interface Property {
  readonly critical: boolean;
  /** Lower case: tags are compared without regard to it. */
  readonly tag: string;
  readonly value: string;
}

function judge(
  properties: readonly Property[],
  { caaIdentities, challengeType }: Issuance,
  isWildcard: boolean,
): Pick<CaaVerdict, 'allowed' | 'accountUris'> {
  // RFC 8659 section 4.1: a critical property that is not understood forbids.
  if (properties.some(({ critical, tag }) => critical && !KNOWN.has(tag))) return { allowed: false, accountUris: [] };
  const of = (wanted: string) => properties.filter(({ tag }) => tag === wanted).map(({ value }) => value);
  const wild = isWildcard ? of('issuewild') : [];
  const relevant = wild.length > 0 ? wild : of('issue');
  if (relevant.length === 0) return { allowed: true, accountUris: [] };
  const identities = caaIdentities.map((identity) => identity.toLowerCase());
  const matching = relevant.map(readValue).filter(({ issuer, parameters }) => {
    const methods = parameters.get('validationmethods');
    return identities.includes(issuer) && (methods === undefined || methods.split(',').includes(challengeType));
  });
  const accounts = matching.map(({ parameters }) => parameters.get('accounturi'));
  return {
    allowed: matching.length > 0,
    accountUris: accounts.includes(undefined) ? [] : accounts.filter((uri) => uri !== undefined),
  };
}

/** RFC 8659 section 4.2: `issuer-domain-name; tag=value; ...`. */
function readValue(value: string): { issuer: string; parameters: Map<string, string> } {
  const [issuer = '', ...rest] = value.split(';').map((part) => part.trim());
  const parameters = rest.flatMap((part) => {
    const at = part.indexOf('=');
    return at < 0 ? [] : [[part.slice(0, at).trim().toLowerCase(), part.slice(at + 1).trim()] as const];
  });
  return { issuer: issuer.toLowerCase(), parameters: new Map(parameters) };
}

/** Node gives the tag as a key of its own. */
function toProperty({ critical, ...rest }: CaaRecord): Property {
  const [[tag, value] = ['', '']] = Object.entries(rest);
  return { critical: critical !== 0, tag: tag.toLowerCase(), value: String(value) };
}

function lookupFailed(name: string, errno: string): AutocertError {
  return new AutocertError({
    code: 'DNS_LOOKUP_FAILED',
    message: `the CAA lookup of ${name} failed (${errno})`,
    retryable: true,
    remedy: `Check \`dig CAA ${name}\`: a CA that gets no answer does not issue.`,
  });
}
