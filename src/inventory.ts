import { claims } from './brought.ts';
import { KEY_TYPES } from './config/schema.ts';
import type { Config, KeyType } from './config.ts';
import type { TargetDomain } from './deploy.ts';
import { AutocertError } from './errors.ts';
import { withoutRedundant } from './identifier.ts';
import type { CertificateRecord } from './record.ts';

/** One certificate that is to exist, and the domains that are to serve it. */
export interface CertificateSpec {
  readonly name: string;
  /** A-labels, lower case; at most 100 (RFC 8555 sets no bound, CAs do). */
  readonly identifiers: readonly string[];
  readonly keyType: KeyType;
  readonly profile: string | undefined;
  readonly domains: readonly string[];
  /**
   * Named by the config, found on the account, or brought by its owner, which no CA is asked for. What was only found is
   * never made worse and never switched on.
   */
  readonly origin: 'configured' | 'discovered' | 'brought';
  /** Brought: all its domains are such that a CA's certificate takes its place before it ends. */
  readonly succeeded?: boolean;
}

/** A domain of the account that is nobody's work, and why. */
export interface IgnoredDomain {
  readonly domain: string;
  readonly reason: string;
}

export interface Inventory {
  readonly specs: readonly CertificateSpec[];
  readonly ignored: readonly IgnoredDomain[];
  /** Filters that match nothing: each is an error of its own, and the rest goes on. */
  readonly problems: readonly AutocertError[];
}

/** CAs accept 100 identifiers in a certificate (Let's Encrypt: "Names per Certificate"). */
const MAX_IDENTIFIERS = 100;

/** What was brought, as the store has it. */
export interface BroughtCertificates {
  readonly records: readonly CertificateRecord[];
  readonly now: Date;
}

/**
 * Which certificates there are: those of the config, those for the domains that discovery takes, and those that were
 * brought, which have their domains from the others. Pure.
 */
export async function inventory(
  config: Config,
  account: readonly TargetDomain[],
  brought?: BroughtCertificates,
): Promise<Inventory> {
  const { specs, ignored, problems } = await renewable(config, account);
  if (!brought?.records.some((record) => record.brought)) return { specs, ignored, problems };
  const managed = new Set(specs.flatMap(({ domains }) => domains));
  const named = new Set(specs.filter(({ origin }) => origin === 'configured').flatMap(({ domains }) => domains));
  const owners = claims(brought.records, account, { managed, named, now: brought.now });
  const owned = new Map<string, string[]>();
  for (const [domain, owner] of owners) addTo(owned, owner, domain);
  const theirs = brought.records.flatMap((record): CertificateSpec[] => {
    const { name, certificate } = record;
    const domains = owned.get(name)?.sort() ?? [];
    if (!certificate || domains.length === 0) return [];
    const keyType = KEY_TYPES.find((one) => one === certificate.keyType) ?? 'rsa2048';
    const succeeded = domains.every((domain) => managed.has(domain));
    return [
      {
        name,
        identifiers: certificate.identifiers,
        keyType,
        profile: undefined,
        domains,
        origin: 'brought',
        succeeded,
      },
    ];
  });
  return {
    specs: [
      ...specs.map((spec) => ({ ...spec, domains: spec.domains.filter((domain) => !owners.has(domain)) })),
      ...theirs,
    ],
    ignored: ignored.filter(({ domain }) => !owners.has(domain)),
    problems,
  };
}

/** What a CA is asked for. */
async function renewable(config: Config, account: readonly TargetDomain[]): Promise<Inventory> {
  const configured = config.certificates.map(
    (certificate): CertificateSpec => ({
      name: certificate.name,
      identifiers: certificate.identifiers,
      keyType: certificate.keyType,
      profile: certificate.profile ?? config.acme.profile,
      domains: certificate.targets.flatMap((target) => target.domains),
      origin: 'configured',
    }),
  );
  const { discover } = config;
  if (!discover) return { specs: configured, ignored: [], problems: [] };

  const named = new Set(configured.flatMap((spec) => spec.domains));
  const ignored: IgnoredDomain[] = [];
  const found: string[] = [];
  for (const entry of account) {
    if (named.has(entry.domain)) continue;
    const reason = whyNot(entry, discover);
    if (reason === undefined) found.push(entry.domain);
    else ignored.push({ domain: entry.domain, reason });
  }
  const problems = discover.include
    .filter((pattern) => !account.some((entry) => matches(pattern, entry.domain)))
    .map(matchedNothing);
  const taken = new Set(configured.map((spec) => spec.name));
  const groups = await group(found.sort(), discover.group);
  const specs = groups.map(([key, domains]): CertificateSpec => {
    const name = key.replace('*', '_wildcard');
    return {
      name: taken.has(name) ? `_discovered.${name}` : name,
      identifiers: withoutRedundant(domains),
      keyType: discover.keyType,
      profile: config.acme.profile,
      domains,
      origin: 'discovered',
    };
  });
  return { specs: [...configured, ...specs], ignored, problems };
}

/** The specs that a person or an event asked for, by certificate name or by domain; every word must match something. */
export function select(specs: readonly CertificateSpec[], only: readonly string[]): Inventory {
  const wanted = new Set(only);
  const found = new Set<string>();
  const selected = specs.filter((spec) => {
    const words = [spec.name, ...spec.domains].filter((word) => wanted.has(word));
    for (const word of words) found.add(word);
    return words.length > 0;
  });
  return { specs: selected, ignored: [], problems: only.filter((word) => !found.has(word)).map(matchedNothing) };
}

/** Why discovery leaves a domain alone, or undefined when it takes it. */
function whyNot(entry: TargetDomain, discover: NonNullable<Config['discover']>): string | undefined {
  if (!discover.include.some((pattern) => matches(pattern, entry.domain))) return 'not in discover.include';
  if (discover.exclude.some((pattern) => matches(pattern, entry.domain))) return 'in discover.exclude';
  if (entry.status !== 'online' && entry.status !== 'configuring') return `the domain is ${entry.status}`;
  if (!entry.https) return 'HTTPS is off';
  if (!entry.certificate) return 'HTTPS is on without a certificate of its own';
  if (entry.certificate.type !== 'upload') return `its certificate is of type ${entry.certificate.type}, not uploaded`;
  return undefined;
}

/** `*` stands for any characters, dots too: `*.example.com` takes every domain below example.com, and the wildcard itself. */
function matches(pattern: string, domain: string): boolean {
  const parts = pattern.toLowerCase().split('*');
  const [first = '', last = ''] = [parts[0], parts.at(-1)];
  if (parts.length === 1) return domain === first;
  if (!domain.startsWith(first) || !domain.endsWith(last) || domain.length < first.length + last.length) return false;
  let from = first.length;
  for (const part of parts.slice(1, -1)) {
    const at = domain.indexOf(part, from);
    if (at < 0 || at + part.length > domain.length - last.length) return false;
    from = at + part.length;
  }
  return true;
}

async function group(domains: readonly string[], by: 'domain' | 'zone'): Promise<[string, string[]][]> {
  if (by === 'domain') return domains.map((domain) => [domain, [domain]]);
  const { registrableDomain } = await import('./suffix.ts');
  const zones = new Map<string, string[]>();
  for (const domain of domains) {
    const zone = registrableDomain(domain.replace(/^\*\./, '')) ?? domain;
    addTo(zones, zone, domain);
  }
  return [...zones].flatMap(([zone, members]) =>
    Array.from({ length: Math.ceil(members.length / MAX_IDENTIFIERS) }, (_, part): [string, string[]] => [
      part === 0 ? zone : `${zone}.${part + 1}`,
      members.slice(part * MAX_IDENTIFIERS, (part + 1) * MAX_IDENTIFIERS),
    ]),
  );
}

function addTo(groups: Map<string, string[]>, key: string, member: string): void {
  const members = groups.get(key);
  if (members) members.push(member);
  else groups.set(key, [member]);
}

function matchedNothing(pattern: string): AutocertError {
  return new AutocertError({
    code: 'FILTER_MATCHED_NOTHING',
    message: `"${pattern}" matches no domain and no certificate.`,
    retryable: false,
    remedy: `Correct "${pattern}", or add the domain to the CDN first.`,
  });
}
