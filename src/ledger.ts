import pLimit from 'p-limit';
import * as v from 'valibot';
import { AcmeProblem } from './acme/problem.ts';
import type { Deps } from './deps.ts';
import { AutocertError, toAutocertError } from './errors.ts';
import type { CertificateSpec } from './inventory.ts';
import type { Lease } from './lease.ts';
import {
  admit,
  LIMITS,
  type Limits,
  type NewOrder,
  type OrderKind,
  type Spending,
  shared,
  united,
  withFailedValidation,
  withIssued,
  withRefund,
  withWait,
} from './limits.ts';
import type { Quarantine } from './quarantine.ts';
import { type CertificateRecord, digest, readOrSetAside, type Store, writeJson } from './record.ts';

/** What one account has used of its CA's limits, kept in the store so that no run goes beyond them. */
export interface Ledger {
  /**
   * Asked right before an order is opened, and written down before it answers. Throws ACME_LIMIT_REACHED, with the instant
   * from which the CA will take the order, STORE_UNREADABLE, STORE_UNWRITABLE or LEASE_LOST.
   */
  admit(order: OrderToCome, lease: Pick<Lease, 'check'>): Promise<void>;
  /** The order led to a certificate. Never throws. */
  issued(spec: CertificateSpec): Promise<void>;
  /** The order, or the attempt to open it, ended in `error`. Never throws. */
  failed(spec: CertificateSpec, error: unknown): Promise<void>;
}

export interface OrderToCome {
  readonly spec: CertificateSpec;
  readonly record: CertificateRecord;
  /** The certID that the order will carry (RFC 9773 section 5). */
  readonly replaces: string | undefined;
}

export interface LedgerOptions {
  readonly directoryUrl: string;
  readonly accountUrl: string;
  readonly store: Store;
  /** A ledger that is damaged goes there: it costs a refusal of the CA at worst, and no certificate is to expire for it. */
  readonly quarantine: Quarantine;
  /** Of a worker: where its part is kept, and how many share the account. */
  readonly part?: LedgerPart | undefined;
  readonly deps: Pick<Deps, 'now' | 'log'>;
}

export interface LedgerPart {
  /** Ends in a slash. Nobody else writes there. */
  readonly folder: string;
  readonly shares: number;
}

const Instants = v.record(v.string(), v.pipe(v.string(), v.isoTimestamp()));
const LedgerSchema = v.object({
  version: v.literal(1),
  used: Instants,
  waits: Instants,
  /** The last fan-out whose parts are in it: a run that is killed before it has removed them must not count them twice. */
  united: v.optional(v.number()),
});

const DAY = 86_400_000;
/** Boulder takes an order for the same names as a certificate of the last 120 days for its renewal. */
const RENEWAL_WINDOW = 120 * DAY;
/** With less than this part of its life left, a renewal waits for no other. */
const LAST_PART = 1 / 5;

/**
 * Nothing is read before an order is to be opened. One run holds it at a time: the one with the lease, whose workers each
 * begin with what it says and go on with a part of their own, until `uniteLedgers`.
 */
export function openLedger({ directoryUrl, accountUrl, store, quarantine, part, deps }: LedgerOptions): Ledger {
  const whole = ledgerKey(digest(`${directoryUrl}\n${accountUrl}`));
  const key = part ? `${part.folder}${whole}` : whole;
  const documented: Limits | undefined = Object.hasOwn(LIMITS, directoryUrl) ? LIMITS[directoryUrl] : undefined;
  const limits = documented && part ? shared(documented, part.shares) : documented;
  const inTurn = pLimit(1);
  /** Orders that were counted in this run, by the certificate's name. */
  const counted = new Map<string, NewOrder>();
  let known: Spending | undefined;

  async function load(): Promise<Spending> {
    if (known) return known;
    const own = part && (await readOrSetAside(store, key, LedgerSchema, quarantine));
    const ledger = own ?? (await readOrSetAside(store, whole, LedgerSchema, quarantine));
    known = { used: ledger?.used ?? {}, waits: ledger?.waits ?? {} };
    return known;
  }

  async function save(spending: Spending): Promise<void> {
    if (spending === known) return;
    await writeJson(store, key, { version: 1, ...spending });
    known = spending;
  }

  /** What happened has happened: that it cannot be written down must not hide it. */
  function note(name: string, change: (spending: Spending) => Spending | Promise<Spending>): Promise<void> {
    return inTurn(async () => {
      try {
        await save(await change(await load()));
      } catch (thrown) {
        deps.log.error('ledger_not_written', { name, error: toAutocertError(thrown) });
      }
    });
  }

  return {
    admit: ({ spec, record, replaces }, lease) => {
      return inTurn(async () => {
        // The same order once more, without `replaces`.
        if (counted.has(spec.name)) return;
        const kind = kindOf(spec, record, { directoryUrl, replaces, now: deps.now() });
        const order = { identifiers: spec.identifiers, domains: await domainsOf(spec), kind };
        const answer = admit(await load(), order, limits, deps.now());
        if (answer.notBefore) throw limitReached(answer.limit, answer.notBefore);
        if (answer.spending === known) return;
        await lease.check();
        await save(answer.spending);
        counted.set(spec.name, order);
      });
    },

    issued: (spec) => {
      counted.delete(spec.name);
      return note(spec.name, (spending) => withIssued(spending, spec.identifiers));
    },

    failed: async (spec, error) => {
      const order = counted.get(spec.name);
      counted.delete(spec.name);
      if (!(error instanceof AcmeProblem)) return;
      await note(spec.name, async (before) => {
        // After any other answer the order may still lead to a certificate.
        const spending = order && !error.retryable ? withRefund(before, order, limits, deps.now()) : before;
        if (error.code === 'ACME_RATE_LIMITED') {
          if (!error.retryAfter) return spending;
          const { identifiers } = spec;
          return withWait(spending, { identifiers, domains: await domainsOf(spec) }, error.detail, error.retryAfter);
        }
        const failed = [error.identifier, ...error.subproblems.map(({ identifier }) => identifier)];
        const identifiers = failed.filter((identifier) => identifier !== undefined);
        return withFailedValidation(spending, identifiers, limits, deps.now());
      });
    },
  };
}

/**
 * Brings together what the workers of one fan-out spent. `keys` are all that it left in the store, `fence` is its lease's.
 * Throws STORE_UNREADABLE, STORE_UNWRITABLE or LEASE_LOST.
 */
export async function uniteLedgers(
  keys: readonly string[],
  { fence, shares }: { readonly fence: number; readonly shares: number },
  { store, quarantine, deps }: Pick<LedgerOptions, 'store' | 'quarantine' | 'deps'>,
): Promise<void> {
  const ids = new Set(keys.flatMap((key) => LEDGER.exec(key)?.[1] ?? []));
  for (const id of ids) {
    const key = ledgerKey(id);
    const before = await readOrSetAside(store, key, LedgerSchema, quarantine);
    if ((before?.united ?? 0) >= fence) continue;
    const parts = keys.filter((one) => one.endsWith(`/${key}`));
    const read = await Promise.all(parts.map((part) => readOrSetAside(store, part, LedgerSchema, quarantine)));
    const spent = read.filter((part) => part !== undefined);
    const whole = united(before ?? { used: {}, waits: {} }, spent, shares, deps.now());
    await writeJson(store, key, { version: 1, ...whole, united: fence });
  }
}

const LEDGER = /\/ledger\/([0-9a-f]+)\.json$/;

function ledgerKey(id: string): string {
  return `ledger/${id}.json`;
}

/**
 * Which limits count for the order: https://letsencrypt.org/docs/rate-limits/#limit-exemptions-for-renewals. An order that
 * carries `replaces` is exempt only within the suggested window, as Boulder checks it.
 */
function kindOf(
  { identifiers }: CertificateSpec,
  { certificate, advice }: CertificateRecord,
  { directoryUrl, replaces, now }: { directoryUrl: string; replaces: string | undefined; now: Date },
): OrderKind {
  const inWindow = advice && Date.parse(advice.start) <= now.getTime() && now.getTime() < Date.parse(advice.end);
  if (replaces !== undefined && inWindow) return 'coordinated';
  const sameNames = certificate && [...certificate.identifiers].sort().join() === [...identifiers].sort().join();
  if (!sameNames || certificate.directoryUrl !== directoryUrl) return 'new';
  const [notBefore, notAfter] = [Date.parse(certificate.notBefore), Date.parse(certificate.notAfter)];
  if (now.getTime() - notBefore >= RENEWAL_WINDOW) return 'new';
  const isLate = notAfter - now.getTime() < (notAfter - notBefore) * LAST_PART;
  return isLate ? 'late-renewal' : 'renewal';
}

async function domainsOf({ identifiers }: CertificateSpec): Promise<string[]> {
  const { registrableDomain } = await import('./suffix.ts');
  return [...new Set(identifiers.map((identifier) => registrableDomain(identifier) ?? identifier))];
}

function limitReached(limit: string, notBefore: Date): AutocertError {
  return new AutocertError({
    code: 'ACME_LIMIT_REACHED',
    message: `The order waits until ${notBefore.toISOString()}: ${limit}.`,
    retryable: true,
    remedy:
      'Nothing: the first run after that instant opens it. If it happens often, put more names into one certificate.',
    retryAfter: notBefore,
  });
}
