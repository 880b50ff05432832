import * as v from 'valibot';
import type { Deps } from './deps.ts';
import { AutocertError } from './errors.ts';
import { encode, readJson, type Store } from './record.ts';

/** The right to change things, held by one run at a time. */
export interface Lease {
  /** Grows with every lease ever taken on this store. */
  readonly fence: number;
  /** Throws LEASE_LOST when another run holds the lease by now: asked before each side effect. */
  check(): Promise<void>;
  /**
   * The store for the holder's own writes and deletions: each of them asks `check` first. Between that answer and the
   * write another run may still take over, for stores have no write that depends on another object; what is written in
   * that moment is what the holder knew, and the next run compares it with what the CA, the CDN and the edges say.
   */
  readonly store: Store;
  /** Does nothing when another run holds the lease by now. */
  release(): Promise<void>;
}

/** The right to one part of a lease's work, as the lease's holder gives it away: to one worker at a time. */
export interface Share {
  readonly fence: number;
  readonly shard: number;
  /** From 1 on. A later attempt ends the right of those before it. */
  readonly attempt: number;
}

const LeaseSchema = v.object({
  version: v.literal(1),
  holder: v.string(),
  expiresAt: v.pipe(v.string(), v.isoTimestamp()),
  released: v.boolean(),
});

const PREFIX = 'lease/';
/** Two machines' clocks may differ by this much. A lease is only broken this long after it ended. */
const CLOCK_TOLERANCE = 60_000;

/**
 * Takes the lease, or throws LEASE_HELD. Each lease is an object of its own, `lease/<number>`, made by a create that
 * fails when it exists: so of any number of runs that find the last one ended, exactly one gets the next, without the
 * compare-and-swap that OSS does not offer. It ends at `expiresAt`, when its run is certainly over, and needs no renewal.
 *
 * On a bucket with versioning OSS ignores `x-oss-forbid-overwrite`, and two runs may then both believe they hold the
 * lease: the bucket of the template is not versioned, and its function runs with a reserved concurrency of 1.
 */
export async function takeLease(
  store: Store,
  holder: string,
  expiresAt: Date,
  deps: Pick<Deps, 'now'>,
): Promise<Lease> {
  const last = await lastLease(store);
  if (last) {
    const state = await readJson(store, leaseKey(last), LeaseSchema);
    const endsAt = state ? new Date(state.expiresAt).getTime() + CLOCK_TOLERANCE : 0;
    if (state && !state.released && deps.now().getTime() < endsAt) throw held(state.holder, state.expiresAt);
  }
  const fence = last + 1;
  const state = { version: 1, holder, expiresAt: expiresAt.toISOString(), released: false };
  const taken = await store.put(leaseKey(fence), encode(state), { ifAbsent: true });
  if (!taken) throw held('another run', expiresAt.toISOString());
  for (const key of await store.list(PREFIX)) if (fenceOf(key) < fence) await store.delete(key);
  const isHeld = async () => (await lastLease(store)) === fence;
  const check = async () => {
    if (!(await isHeld())) throw lost();
  };
  return {
    fence,
    check,
    store: guarded(store, check),
    async release() {
      if (!(await isHeld())) return;
      for (const key of await store.list(sharesOf(fence))) await store.delete(key);
      await store.put(leaseKey(fence), encode({ ...state, released: true }));
    },
  };
}

/**
 * Takes a share of the lease, or throws LEASE_HELD. It lies below its lease, `lease/<number>/<shard>-<attempt>`, made by a
 * create that fails when it exists: an invocation that is delivered twice gets it once. It is good as long as it is there,
 * its lease is the newest one, and no later attempt at the same shard has come: one listing tells all three. Whoever gave
 * it away takes it back by an attempt of his own, or with the lease.
 */
export async function takeShare(store: Store, share: Share, holder: string): Promise<Omit<Lease, 'release'>> {
  const { fence, shard, attempt } = share;
  const own = shareKey(share);
  const newest = async () => {
    const keys = await store.list(PREFIX);
    const attempts = keys.filter((key) => key.startsWith(`${sharesOf(fence)}${shard}-`)).map(attemptOf);
    return { lease: Math.max(0, ...keys.map(fenceOf)), attempt: Math.max(0, ...attempts) };
  };
  const before = await newest();
  const isFree = before.lease === fence && before.attempt < attempt;
  const taken = isFree && (await store.put(own, encode({ version: 1, holder }), { ifAbsent: true }));
  if (!taken) throw shareGone(share);
  const check = async () => {
    const now = await newest();
    if (now.lease !== fence || now.attempt !== attempt) throw lost();
  };
  await check();
  return { fence, check, store: guarded(store, check) };
}

/** The store for whoever must still hold something to write. */
function guarded(store: Store, check: Lease['check']): Store {
  return {
    ...store,
    async put(key, bytes, options) {
      await check();
      return store.put(key, bytes, options);
    },
    async delete(key) {
      await check();
      await store.delete(key);
    },
  };
}

/** The number of the newest lease, 0 when there never was one. */
async function lastLease(store: Store): Promise<number> {
  return Math.max(0, ...(await store.list(PREFIX)).map(fenceOf));
}

function leaseKey(fence: number): string {
  return `${PREFIX}${String(fence).padStart(12, '0')}.json`;
}

function sharesOf(fence: number): string {
  return leaseKey(fence).replace(/\.json$/, '/');
}

function shareKey({ fence, shard, attempt }: Share): string {
  return `${sharesOf(fence)}${shard}-${attempt}.json`;
}

function attemptOf(key: string): number {
  return Number.parseInt(key.slice(key.lastIndexOf('-') + 1), 10) || 0;
}

/** Of a lease, and of the shares of it. */
function fenceOf(key: string): number {
  return Number.parseInt(key.slice(PREFIX.length), 10) || 0;
}

function lost(): AutocertError {
  return new AutocertError({
    code: 'LEASE_LOST',
    message: 'Another run took over while this one was stopped; this one changes nothing any more.',
    retryable: false,
    remedy: 'Nothing: the other run does the work. If it happens again, give the function a reserved concurrency of 1.',
  });
}

function shareGone({ shard, attempt }: Share): AutocertError {
  return new AutocertError({
    code: 'LEASE_HELD',
    message: `Shard ${shard} is no longer to be done by attempt ${attempt}: it is somebody else's by now, or its run is over.`,
    retryable: false,
    remedy: 'Nothing: whoever has it does the work.',
  });
}

function held(holder: string, expiresAt: string): AutocertError {
  return new AutocertError({
    code: 'LEASE_HELD',
    message: `Another run (${holder}) is at work until ${expiresAt} at the latest.`,
    retryable: true,
    remedy: 'Nothing: the other run, or the next one, does the work.',
  });
}
