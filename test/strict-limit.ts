/** A server that counts calls strictly and clients of one account at it, all in virtual time and from a seed. */
import type { Deps } from '../src/deps.ts';
import { createCallLimiter } from '../src/ratelimit.ts';

export interface Client {
  readonly calls: number;
  /** Milliseconds at which it begins. Default 0. */
  readonly from?: number;
  /** What its limiter is told. Default: the server's limit. */
  readonly callsPerSecond?: number;
  /** From when to when (ms) its event loop stands still. */
  readonly stalls?: readonly (readonly [number, number])[];
}

/** Somebody who heeds no refusal: a call every so many milliseconds. */
export interface Foreign {
  readonly from: number;
  readonly to: number;
  readonly every: number;
}

export interface Situation {
  readonly seed: number;
  readonly limit?: number;
  readonly clients: readonly Client[];
  readonly foreign?: readonly Foreign[];
  /** Whether a refused call takes up room in the second, too. The documentation does not say. */
  readonly countsRefused?: boolean;
  /** Milliseconds of one way: the least, the most, and what one in thirty takes more at the most. */
  readonly latency?: readonly [number, number, number];
}

export interface Arrival {
  readonly at: number;
  /** The place of the client in the list; -1 for a foreign call. */
  readonly client: number;
  readonly isThrough: boolean;
}

export interface Outcome {
  /** The clients' calls as they arrived. */
  readonly arrivals: readonly Arrival[];
  /** From the first call to the last that was let through, against what the limit allows at best. */
  readonly ratio: number;
  /** The share of refused calls. */
  readonly throttled: number;
  /** How many calls of each client were let through in these milliseconds. */
  through(from: number, to: number): number[];
}

/** Runs until every client has done its calls. Each tries a refused call again after a wait, as `rpc.ts` does. */
export async function strictLimit(situation: Situation): Promise<Outcome> {
  const { seed, limit = 10, clients, foreign = [], countsRefused = false, latency = [2, 6, 45] } = situation;
  const random = seeded(seed);
  const agenda: { readonly at: number; readonly what: () => void }[] = [];
  const arrivals: Arrival[] = [];
  let counted: number[] = [];
  let now = 0;
  let left = clients.reduce((sum, { calls }) => sum + calls, 0);

  function plan(at: number, what: () => void): void {
    const place = agenda.findIndex((entry) => entry.at > at);
    agenda.splice(place < 0 ? agenda.length : place, 0, { at, what });
  }

  function oneWay(): number {
    const [least, most, more] = latency;
    return least + random() * (most - least) + (random() < 1 / 30 ? random() * more : 0);
  }

  function arrive(client: number): boolean {
    counted = counted.filter((at) => at > now - 1_000);
    const isThrough = counted.length < limit;
    if (isThrough || countsRefused) counted.push(now);
    if (client >= 0) arrivals.push({ at: now, client, isThrough });
    return isThrough;
  }

  function begin({ calls, callsPerSecond = limit, stalls = [] }: Client, client: number): void {
    const awake = (at: number, what: () => void): void => {
      const stall = stalls.find(([from, to]) => at >= from && at < to);
      plan(stall?.[1] ?? at, what);
    };
    const deps: Pick<Deps, 'now' | 'random' | 'sleep' | 'deadline'> = {
      now: () => new Date(now),
      random,
      sleep: (milliseconds) => new Promise((resolve) => awake(now + milliseconds, resolve)),
      deadline: new Date(86_400_000),
    };
    const limiter = createCallLimiter({ callsPerSecond, deps });
    const call = async (attempt: number): Promise<void> => {
      const turn = await limiter.take();
      plan(now + oneWay(), () => {
        const isThrough = arrive(client);
        if (isThrough) left -= 1;
        else
          awake(now + oneWay(), () => {
            turn.throttled();
            awake(now + random() * Math.min(4_000, 250 * 2 ** attempt), () => void call(attempt + 1));
          });
      });
    };
    for (let nth = 0; nth < calls; nth += 1) void call(0);
  }

  for (const [nth, client] of clients.entries()) plan(client.from ?? 0, () => begin(client, nth));
  for (const { from, to, every } of foreign) {
    for (let at = from; at < to; at += every) plan(at, () => arrive(-1));
  }
  for (let next = agenda.shift(); next !== undefined && left > 0; next = agenda.shift()) {
    now = next.at;
    next.what();
    // Whatever can go on does so before time does.
    await new Promise((resolve) => setImmediate(resolve));
  }

  const through = arrivals.filter(({ isThrough }) => isThrough);
  const took = (through.at(-1)?.at ?? 0) - (arrivals[0]?.at ?? 0);
  return {
    arrivals,
    ratio: took / (((through.length - 1) / limit) * 1_000),
    throttled: (arrivals.length - through.length) / arrivals.length,
    through: (from, to) =>
      clients.map((_, nth) => through.filter(({ at, client }) => client === nth && at >= from && at < to).length),
  };
}

/** Numbers in [0, 1) that only the seed decides (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
