import pLimit from 'p-limit';
import { type Deps, timeLeft } from './deps.ts';
import { toAutocertError } from './errors.ts';
import {
  type Errand,
  readPulse,
  readResultsBefore,
  type Settled,
  type Shard,
  shardsAmong,
  WORK,
  writeShard,
} from './fanout/paper.ts';
import { shardsOf } from './fanout/shards.ts';
import { type Lease, type Share, takeShare } from './lease.ts';
import { uniteLedgers } from './ledger.ts';
import type { Quarantine } from './quarantine.ts';
import type { Store } from './record.ts';

/** Other invocations that do a part of a run's work. */
export interface Workers {
  /** How many may be at work at once. */
  readonly count: number;
  /** Starts one; what it does it tells by the store. Throws when none was started, as far as is known. */
  start(order: WorkOrder): Promise<void>;
}

/** What a worker is started with: small, for an asynchronous invocation carries little. The rest is in the store. */
export interface WorkOrder extends Share {
  /** Of the coordinator's run: the log lines of all are found by it. */
  readonly runId: string;
  /** How many share the call limits and the account of the CA. */
  readonly shares: number;
  /** When the worker must have come to its end, ISO 8601. */
  readonly deadline: string;
}

export interface FanOutContext {
  readonly workers: Workers;
  readonly lease: Lease;
  readonly runId: string;
  readonly request: Shard['request'];
  readonly quarantine: Quarantine;
  readonly deps: Deps;
}

/** Milliseconds between two looks at what the workers have come to. */
const LOOK_EVERY = 2_000;
/**
 * Looks without a sign of life after which a worker counts as dead: four of its beats, or a slow cold start. Looks and not
 * seconds, for who stood still himself has not listened.
 */
const SILENT_LOOKS = 10;
/** Milliseconds before the coordinator's deadline at which its workers end. */
const GATHERING = 15_000;
/** Workers that try one shard, one after the other. After them it is the coordinator's. */
const ATTEMPTS = 2;
/** A worker that is to do less than this is not worth its start. */
const LEAST_SHARD = 8;
/** Deletions at once. */
const DELETIONS = 8;

/**
 * Has the work done by others, each with its shard of it, and waits for them. Gives what is done; what is not is the
 * caller's to do, and nobody else's any more: the workers' shares of the lease are taken back. Not less is done than
 * without workers: where none can be started, all is left to the caller. Throws LEASE_LOST, STORE_UNREADABLE,
 * STORE_UNWRITABLE.
 */
export async function fanOut(
  errands: readonly Errand[],
  context: FanOutContext,
): Promise<ReadonlyMap<string, Settled>> {
  const { workers, lease, request, quarantine, deps } = context;
  const { fence, store } = lease;
  const shards = shardsOf(errands, Math.min(workers.count, Math.floor(errands.length / LEAST_SHARD)));
  if (shards.length < 2) return new Map();
  deps.log.info('fanned_out', { shards: shards.map(({ length }) => length) });
  await Promise.all(
    shards.map((shard, index) => writeShard(store, { fence, shard: index }, { errands: shard, request })),
  );
  const results = await Promise.all(shards.map((_, index) => follow(index, shards.length, context)));
  for (const { setAside } of results) quarantine.adopt(setAside);
  await clearWork(store, { quarantine, deps });
  const settled = results.flatMap((one) => one.settled);
  deps.log.info('gathered', { settled: settled.length, left: errands.length - settled.length });
  return new Map(settled.map((one) => [one.record.name, one]));
}

/**
 * What fan-outs left in the store: the ledgers of their workers are brought together, then all of it is removed. Also for
 * a run that finds what a killed one left; it has the newer lease, and whoever still works for the other does nothing more.
 */
export async function clearWork(
  store: Store,
  { quarantine, deps }: { readonly quarantine: Quarantine; readonly deps: Pick<Deps, 'now' | 'log'> },
): Promise<void> {
  const keys = await store.list(WORK);
  const fences = new Set(keys.map((key) => Number.parseInt(key.slice(WORK.length), 10)));
  const slots = pLimit(DELETIONS);
  for (const fence of [...fences].sort((a, b) => a - b)) {
    const theirs = keys.filter((key) => Number.parseInt(key.slice(WORK.length), 10) === fence);
    await uniteLedgers(theirs, { fence, shares: shardsAmong(theirs) }, { store, quarantine, deps });
    await Promise.all(theirs.map((key) => slots(() => store.delete(key))));
  }
}

/** One shard, until a worker has done it or it is taken back. */
async function follow(shard: number, shares: number, { workers, lease, runId, quarantine, deps }: FanOutContext) {
  const { fence, store } = lease;
  const deadline = new Date(deps.deadline.getTime() - GATHERING).toISOString();
  let attempt = 1;
  for (; attempt <= ATTEMPTS && timeLeft(deps) > GATHERING; attempt += 1) {
    try {
      await workers.start({ runId, fence, shard, attempt, shares, deadline });
    } catch (thrown) {
      deps.log.warn('worker_not_started', { shard, attempt, error: toAutocertError(thrown) });
      break;
    }
    const share = { fence, shard, attempt };
    if (await ends(share, store, deps)) return readResultsBefore(store, { ...share, attempt: attempt + 1 }, quarantine);
    deps.log.warn('worker_lost', { shard, attempt });
  }
  // Whatever became of the one before: from here on it may change nothing.
  const own = { fence, shard, attempt: ATTEMPTS + 1 };
  await lease.check();
  await takeShare(store, own, runId);
  return readResultsBefore(store, own, quarantine);
}

/** Waits for the worker's end. False when it failed, died or the time is over. */
async function ends(share: Share, store: Store, deps: Deps): Promise<boolean> {
  let beats = 0;
  let silent = 0;
  while (timeLeft(deps) > 0 && silent < SILENT_LOOKS) {
    await deps.sleep(Math.min(LOOK_EVERY, timeLeft(deps)));
    const pulse = await readPulse(store, share).catch((thrown: unknown) => {
      deps.log.warn('pulse_unreadable', { ...share, error: toAutocertError(thrown) });
      return undefined;
    });
    if (pulse?.state === 'done') return true;
    if (pulse?.state === 'failed') return false;
    silent += 1;
    if (pulse && pulse.beats !== beats) [beats, silent] = [pulse.beats, 0];
  }
  return false;
}
