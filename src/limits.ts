import { expiryFloor } from './certificate.ts';
import { digest, type StoredCertificate } from './record.ts';

/** A token bucket: `count` at once, refilled evenly in `period` milliseconds. */
interface Limit {
  readonly count: number;
  readonly period: number;
  /** As the CA's documentation calls it. */
  readonly title: string;
  /** How many share it: each has that part of the bucket, and of what it is refilled by. Default: one. */
  readonly shares?: number;
}

/** What a CA is known to limit. */
export interface Limits {
  readonly orders: Limit;
  readonly domain: Limit | undefined;
  readonly set: Limit;
  readonly failures: Limit;
  /** In a row: a success begins anew. */
  readonly consecutive: Limit | undefined;
}

/**
 * `coordinated`: it replaces a certificate within the window that ARI suggests. `renewal`: for the very names of a recent
 * certificate. `late-renewal`: such a one whose certificate ends soon.
 */
export type OrderKind = 'new' | 'renewal' | 'late-renewal' | 'coordinated';

export interface NewOrder {
  readonly identifiers: readonly string[];
  /** The registrable domains of the identifiers, each once. */
  readonly domains: readonly string[];
  readonly kind: OrderKind;
}

/**
 * What was used of the limits, as the generic cell rate algorithm has it: for each bucket the instant (ISO 8601) at which
 * it will be full again. A bucket that is full is left out.
 */
export interface Spending {
  readonly used: Readonly<Record<string, string>>;
  /** For each bucket the instant before which the CA said not to come back. */
  readonly waits: Readonly<Record<string, string>>;
}

export type Admission =
  | { readonly notBefore?: undefined; readonly spending: Spending }
  | { readonly notBefore: Date; readonly limit: string };

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** The CA counts an order when it arrives, we when it leaves; and its clock is another one. So the last token waits a little. */
const MARGIN = 60_000;

const LETS_ENCRYPT: Limits = {
  orders: { count: 300, period: 3 * HOUR, title: 'new orders per account' },
  domain: { count: 50, period: 7 * DAY, title: 'new certificates per registered domain' },
  set: { count: 5, period: 7 * DAY, title: 'new certificates per exact set of identifiers' },
  failures: { count: 5, period: HOUR, title: 'authorization failures per identifier per account' },
  consecutive: {
    count: 1152,
    period: 1152 * DAY,
    title: 'consecutive authorization failures per identifier per account',
  },
};

/** https://letsencrypt.org/docs/staging-environment/#rate-limits: the certificates of a domain are as good as unlimited. */
const LETS_ENCRYPT_STAGING: Limits = {
  orders: { ...LETS_ENCRYPT.orders, count: 1500 },
  domain: undefined,
  set: { ...LETS_ENCRYPT.set, count: 30_000 },
  failures: { ...LETS_ENCRYPT.failures, count: 200 },
  consecutive: undefined,
};

/** By directory URL: https://letsencrypt.org/docs/rate-limits/. Of any other CA only what it says itself is known. */
export const LIMITS: Readonly<Record<string, Limits>> = {
  'https://acme-v02.api.letsencrypt.org/directory': LETS_ENCRYPT,
  'https://acme-staging-v02.api.letsencrypt.org/directory': LETS_ENCRYPT_STAGING,
};

/**
 * What one of `shares` workers may use of what concerns the whole account: that bucket's `shares`th part. What concerns a
 * registered domain, a set or a name concerns one of the workers alone.
 */
export function shared(limits: Limits, shares: number): Limits {
  return { ...limits, orders: { ...limits.orders, shares } };
}

/**
 * What is used when `parts`, those of `shares` workers that began with `before`, are one again. A part of a bucket is full
 * again as late as its share of what was spent takes to be refilled at its share of the rate, so the whole is as late as
 * its parts are on average. Of the other buckets one worker's word counts: that of whoever changed it. Pure.
 */
export function united(before: Spending, parts: readonly Spending[], shares: number, now: Date): Spending {
  const changed = (kind: keyof Spending): [string, string][] => {
    const buckets = new Set([before, ...parts].flatMap((spending) => Object.keys(spending[kind])));
    return [...buckets].flatMap((bucket) => {
      const told = parts.map((part) => part[kind][bucket]).filter((instant) => instant !== before[kind][bucket]);
      const known = told.length > 0 ? told.filter((instant) => instant !== undefined) : [before[kind][bucket] ?? ''];
      const [latest] = known.sort((a, b) => timeOf(b) - timeOf(a));
      return latest ? [[bucket, latest]] : [];
    });
  };
  const left = (instant: string | undefined) => Math.max(0, timeOf(instant) - now.getTime());
  const absent = Math.max(0, shares - parts.length) * left(before.used[ACCOUNT]);
  const sum = parts.reduce((total, { used }) => total + left(used[ACCOUNT]), absent);
  const { [ACCOUNT]: _, ...used } = Object.fromEntries(changed('used'));
  const account = sum > 0 ? { [ACCOUNT]: new Date(now.getTime() + Math.ceil(sum / shares)).toISOString() } : {};
  return { used: { ...used, ...account }, waits: Object.fromEntries(changed('waits')) };
}

/** One bucket that an order needs. */
interface Need {
  readonly bucket: string;
  readonly subject: string;
  readonly limit: Limit | undefined;
  /** Failures are counted when they happen. */
  readonly counts: boolean;
}

/** May the order be opened now? Then with what is used once it is; else from when on it may. Pure. */
export function admit(spending: Spending, order: NewOrder, limits: Limits | undefined, now: Date): Admission {
  const needs = needsOf(order, limits);
  const refusals = needs.flatMap((need) => {
    const full = { until: freeAt(spending, need), limit: explain(need) };
    const told = {
      until: timeOf(spending.waits[need.bucket]),
      limit: `the CA takes no order for ${need.subject} before`,
    };
    return [full, told].filter(({ until }) => until > now.getTime());
  });
  const [last] = refusals.sort((a, b) => b.until - a.until);
  if (last) return { notBefore: new Date(last.until), limit: last.limit };
  const spent = needs.filter(({ counts, limit }) => counts && limit);
  if (spent.length === 0) return { spending };
  const { used, waits } = pruned(spending, now);
  const more = spent.map(({ bucket, limit }) => [bucket, spend(used[bucket], limit, now)] as const);
  return { spending: { used: { ...used, ...Object.fromEntries(more) }, waits } };
}

/** The order came to nothing: no certificate is counted. */
export function withRefund(spending: Spending, order: NewOrder, limits: Limits | undefined, now: Date): Spending {
  const used = { ...spending.used };
  for (const { bucket, limit, counts } of needsOf(order, limits)) {
    if (!counts || !limit || bucket === ACCOUNT) continue;
    const full = timeOf(used[bucket]) - interval(limit);
    if (full > now.getTime()) used[bucket] = new Date(full).toISOString();
    else delete used[bucket];
  }
  return { ...spending, used };
}

/** The CA could not validate these identifiers. */
export function withFailedValidation(
  spending: Spending,
  identifiers: readonly string[],
  limits: Limits | undefined,
  now: Date,
): Spending {
  if (!limits || identifiers.length === 0) return spending;
  const before = pruned(spending, now);
  const used = { ...before.used };
  for (const { bucket, limit } of failureNeeds(identifiers, limits)) used[bucket] = spend(used[bucket], limit, now);
  return { ...before, used };
}

/** All identifiers were validated: failures in a row are over. */
export function withIssued(spending: Spending, identifiers: readonly string[]): Spending {
  const over = new Set(bareNames(identifiers).map(inARow));
  const left = Object.entries(spending.used).filter(([bucket]) => !over.has(bucket));
  return left.length === Object.keys(spending.used).length ? spending : { ...spending, used: Object.fromEntries(left) };
}

/**
 * The CA refused an order by `rateLimited` until `until` (RFC 8555 section 6.6). Whom that concerns only its text tells:
 * the set of identifiers, one name or registered domain that it quotes, or else the whole account.
 */
export function withWait(
  spending: Spending,
  { identifiers, domains: all }: Pick<NewOrder, 'identifiers' | 'domains'>,
  detail: string,
  until: Date,
): Spending {
  const domains = all.filter((domain) => detail.includes(`"${domain}"`));
  const concernsSet =
    /exact (same )?set|duplicate|failed (authorizations|validations)|temporarily prevented/i.test(detail) ||
    identifiers.some((identifier) => detail.includes(`"${identifier}"`) && !domains.includes(identifier));
  const buckets = concernsSet ? [setBucket(identifiers)] : domains.length > 0 ? domains.map(domainBucket) : [ACCOUNT];
  const waits = Object.fromEntries(buckets.map((bucket) => [bucket, until.toISOString()]));
  return { ...spending, waits: { ...spending.waits, ...waits } };
}

/**
 * Is a certificate that waits until the CA gives way at `until` in danger: is it beyond its floor by then, and the next run,
 * `interval` milliseconds from now, either too early or too late? A domain that has none yet waits a day at most.
 */
export function outlasts(
  until: Date,
  certificate: Pick<StoredCertificate, 'notBefore' | 'notAfter'> | undefined,
  { now, interval }: { readonly now: Date; readonly interval: number },
): boolean {
  if (!certificate) return until.getTime() > now.getTime() + DAY;
  const [notBefore, notAfter] = [new Date(certificate.notBefore), new Date(certificate.notAfter)];
  const nextRun = new Date(now.getTime() + interval);
  return until > expiryFloor({ notBefore, notAfter }, interval) && (until > nextRun || nextRun >= notAfter);
}

const ACCOUNT = 'orders';
const domainBucket = (domain: string) => `domain ${domain}`;
const setBucket = (identifiers: readonly string[]) => `set ${digest([...identifiers].sort().join())}`;
const inARow = (identifier: string) => `consecutive ${identifier}`;

function needsOf({ identifiers, domains: all, kind }: NewOrder, limits: Limits | undefined): Need[] {
  const account = { bucket: ACCOUNT, subject: 'the account', limit: limits?.orders, counts: true };
  const set = { bucket: setBucket(identifiers), subject: identifiers.join(', '), limit: limits?.set, counts: true };
  const domains = all.map((domain) => {
    return { bucket: domainBucket(domain), subject: domain, limit: limits?.domain, counts: true };
  });
  if (!limits) return [account, set, ...domains];
  const failures = failureNeeds(identifiers, limits).map((need) => ({ ...need, counts: false }));
  switch (kind) {
    case 'new':
      return [account, ...domains, set, ...failures];
    case 'renewal':
      // The CA does not count it for the account, but certificates that are due at one time are to be spread all the same.
      return [account, set, ...failures];
    case 'late-renewal':
      return [set, ...failures];
    case 'coordinated':
      return failures;
  }
}

function failureNeeds(identifiers: readonly string[], { failures, consecutive }: Limits) {
  return bareNames(identifiers).flatMap((subject) => [
    { bucket: `failures ${subject}`, subject, limit: failures },
    ...(consecutive ? [{ bucket: inARow(subject), subject, limit: consecutive }] : []),
  ]);
}

/** A wildcard is validated by the name that it stands under. */
function bareNames(identifiers: readonly string[]): string[] {
  return [...new Set(identifiers.map((identifier) => identifier.replace(/^\*\./, '')))];
}

/** When the bucket has a token: in the past, as a rule. */
function freeAt({ used }: Spending, { bucket, limit }: Pick<Need, 'bucket' | 'limit'>): number {
  const full = used[bucket];
  return limit && full !== undefined ? timeOf(full) + interval(limit) - limit.period + MARGIN : 0;
}

function spend(full: string | undefined, limit: Limit | undefined, now: Date): string {
  return new Date(Math.max(now.getTime(), timeOf(full)) + (limit ? interval(limit) : 0)).toISOString();
}

/** Milliseconds in which one token comes back. */
function interval({ count, period, shares = 1 }: Limit): number {
  return (period / count) * shares;
}

function pruned({ used, waits }: Spending, now: Date): Spending {
  const current = (instants: Readonly<Record<string, string>>) =>
    Object.fromEntries(Object.entries(instants).filter(([, instant]) => timeOf(instant) > now.getTime()));
  return { used: current(used), waits: current(waits) };
}

function timeOf(instant: string | undefined): number {
  return instant === undefined ? 0 : Date.parse(instant);
}

function explain({ limit, subject }: Need): string {
  if (!limit) return '';
  const days = limit.period / DAY;
  const period = days >= 1 ? `${days} days` : `${limit.period / HOUR} hours`;
  return `the CA allows ${limit.count} ${limit.title} in ${period} (${subject})`;
}
