import { describe, expect, test } from 'vitest';
import { createCallLimiter, type Turn } from '../src/ratelimit.ts';
import { realDeps, steppedDeps } from './aliyun/loopback.ts';
import { type Outcome, type Situation, strictLimit } from './strict-limit.ts';

/** The most of these instants (ms) that any window of one second holds. */
function mostInAnySecond(instants: readonly number[]): number {
  return Math.max(...instants.map((from) => instants.filter((at) => at >= from && at < from + 1_000).length));
}

async function starts(
  count: number,
  callsPerSecond: number,
  late: (nth: number) => number = () => 0,
): Promise<number[]> {
  let at = 0;
  let nth = 0;
  const deps = {
    now: () => new Date(at),
    random: () => 0.5,
    sleep: async (milliseconds: number) => {
      // As with a timer: whoever may start now does so before time goes on.
      await new Promise((resolve) => setImmediate(resolve));
      nth += 1;
      at += milliseconds + late(nth);
    },
    deadline: new Date(3_600_000),
  };
  const limiter = createCallLimiter({ callsPerSecond, deps });
  const started: number[] = [];
  await Promise.all(
    Array.from({ length: count }, async () => {
      await limiter.take();
      started.push(at);
    }),
  );
  return started;
}

describe('the call limiter', () => {
  test('300 calls at 10 a second: no second holds more than 10, and they take no more than 1.05 of the least time', async () => {
    const started = await starts(300, 10);
    expect(mostInAnySecond(started)).toBe(10);
    expect(Math.max(...started)).toBeLessThanOrEqual((299 / 10) * 1_000 * 1.05);
  });

  test('arrivals that the network shifts by up to 30 ms still fit the limit', async () => {
    const started = await starts(300, 10);
    const arrived = started.map((at, nth) => at + ((nth * 17) % 31)).sort((one, other) => one - other);
    expect(mostInAnySecond(arrived)).toBe(10);
  });

  test('timers that fire late do not add up', async () => {
    const started = await starts(300, 10, () => 4);
    expect(Math.max(...started)).toBeLessThanOrEqual((299 / 10) * 1_000 * 1.05);
  });

  test('after the process stood still for two seconds nothing is caught up in a burst', async () => {
    const started = await starts(100, 10, (nth) => (nth === 30 ? 2_000 : 0));
    expect(mostInAnySecond(started)).toBe(10);
  });

  test('after the process was blocked again and again for less than a spacing the limit holds', async () => {
    const started = await starts(200, 10, (nth) => (nth % 3) * 45);
    expect(mostInAnySecond(started)).toBeLessThanOrEqual(10);
  });

  test.each([1, 3, 30, 100])('%i calls a second hold as well', async (callsPerSecond) => {
    const started = await starts(callsPerSecond * 4, callsPerSecond);
    expect(mostInAnySecond(started)).toBeLessThanOrEqual(callsPerSecond);
    expect(Math.max(...started)).toBeLessThanOrEqual(4_000 * 1.05 + 200);
  });

  test('calls start in the order of asking', async () => {
    const limiter = createCallLimiter({ callsPerSecond: 10, deps: steppedDeps() });
    const order: number[] = [];
    await Promise.all(Array.from({ length: 20 }, (_, nth) => limiter.take().then(() => order.push(nth))));
    expect(order).toEqual(Array.from({ length: 20 }, (_, nth) => nth));
  });

  test('a call after an idle time starts at once', async () => {
    const deps = steppedDeps();
    const limiter = createCallLimiter({ callsPerSecond: 10, deps });
    await limiter.take();
    await deps.sleep(5_000);
    const waits = deps.waits.length;
    await limiter.take();
    expect(deps.waits).toHaveLength(waits);
  });

  test('what an idle time has left unused is not made up for: the calls after it are as far apart as ever', async () => {
    const deps = steppedDeps();
    const limiter = createCallLimiter({ callsPerSecond: 10, deps });
    await limiter.take();
    await deps.sleep(10_000);
    const started: number[] = [];
    for (let nth = 0; nth < 5; nth += 1) {
      await limiter.take();
      started.push(deps.now().getTime());
    }
    const gaps = started.slice(1).map((at, nth) => at - (started[nth] ?? 0));
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(100);
  });

  /** As many calls as are asked for, at full rate, over connections that are open. */
  async function calls(count: number) {
    const deps = steppedDeps();
    const limiter = createCallLimiter({ callsPerSecond: 10, deps });
    await limiter.take();
    await deps.sleep(3_000);
    const turns: Turn[] = [];
    for (let nth = 0; nth < count; nth += 1) turns.push(await limiter.take());
    const since = deps.now().getTime();
    /** How long after the last of them the next ones start. */
    const next = async (more: number): Promise<number[]> => {
      const started: number[] = [];
      for (let nth = 0; nth < more; nth += 1) {
        await limiter.take();
        started.push(deps.now().getTime() - since);
      }
      return started;
    };
    return { turns, next };
  }

  test('a refusal narrows the rate to what was let through, and within five seconds it is whole again', async () => {
    const { turns, next } = await calls(6);
    turns[5]?.throttled();
    const started = await next(80);
    const within = (from: number, to: number) => started.filter((at) => at >= from && at < to).length;
    // The second that was full ends when the first of our five leaves it.
    expect(within(0, 500)).toBe(0);
    expect(within(500, 1_500)).toBe(5);
    expect(within(4_000, 5_035)).toBe(10);
  });

  test('who has more than half of the limit keeps half', async () => {
    const { turns, next } = await calls(9);
    turns[8]?.throttled();
    const [, ...started] = await next(5);
    expect(started.map((at, nth) => Math.round((at - (started[nth - 1] ?? 0)) / 10)).slice(1)).toEqual([21, 21, 21]);
  });

  test('who had nothing let through waits for about a second', async () => {
    const deps = steppedDeps();
    const limiter = createCallLimiter({ callsPerSecond: 10, deps });
    (await limiter.take()).throttled();
    const refusedAt = deps.now().getTime();
    await limiter.take();
    expect(deps.now().getTime() - refusedAt).toBeGreaterThan(500);
    expect(deps.now().getTime() - refusedAt).toBeLessThanOrEqual(1_100);
  });

  test.each([10, 11, 25])(
    'a refusal of call %i when the whole second before was ours narrows nothing',
    async (count) => {
      const { turns, next } = await calls(count + 1);
      turns[count]?.throttled();
      expect((await next(10)).at(-1)).toBeLessThanOrEqual(1_040);
    },
  );

  test('a refusal when the whole second before was ours is no attempt in vain: others who come then are given way no longer than the first', async () => {
    const deps = steppedDeps();
    const limiter = createCallLimiter({ callsPerSecond: 10, deps });
    const take = async (count: number): Promise<{ readonly at: number; readonly turn: Turn }[]> => {
      const taken: { at: number; turn: Turn }[] = [];
      for (let nth = 0; nth < count; nth += 1) {
        const turn = await limiter.take();
        taken.push({ at: deps.now().getTime(), turn });
      }
      return taken;
    };
    (await take(21)).at(-1)?.turn.throttled();
    await deps.sleep(2_500);
    const refused = (await take(6)).at(-1);
    refused?.turn.throttled();
    const started = (await take(80)).map(({ at }) => at - (refused?.at ?? 0));
    expect(started.filter((at) => at >= 500 && at < 1_500)).toHaveLength(5);
    expect(started.filter((at) => at >= 4_000 && at < 5_035)).toHaveLength(10);
  });

  test('a refused call of our own that is missing from the second is no reason to give half of it away', async () => {
    const { turns, next } = await calls(20);
    turns[13]?.throttled();
    turns[19]?.throttled();
    const started = await next(4);
    const gaps = started.slice(1).map((at, nth) => at - (started[nth] ?? 0));
    // Nine calls a second.
    expect(Math.max(...gaps)).toBeLessThanOrEqual(116);
  });

  test('that connections had to be opened is not taken for somebody else’s calls', async () => {
    const deps = steppedDeps();
    const limiter = createCallLimiter({ callsPerSecond: 10, deps });
    for (let nth = 0; nth < 10; nth += 1) await limiter.take();
    (await limiter.take()).throttled();
    const before = deps.now().getTime();
    for (let nth = 0; nth < 10; nth += 1) await limiter.take();
    expect(deps.now().getTime() - before).toBeLessThanOrEqual(1_040);
  });

  test('the refusals of calls that were under way together count once', async () => {
    const together = await calls(7);
    for (const turn of together.turns.slice(4)) turn.throttled();
    const started = await together.next(4);
    const gaps = started.slice(1).map((at, nth) => at - (started[nth] ?? 0));
    // Four calls a second.
    expect(Math.max(...gaps)).toBeLessThanOrEqual(260);
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(258);
  });

  test('a call whose turn comes after the deadline is refused, one that cleans up is not', async () => {
    const deps = steppedDeps({ seconds: 2 });
    const limiter = createCallLimiter({ callsPerSecond: 10, deps });
    const outcomes = await Promise.allSettled(Array.from({ length: 50 }, () => limiter.take()));
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(outcomes.filter((outcome) => outcome.status === 'fulfilled')).toHaveLength(18);
    expect(refused.map((outcome) => outcome.reason.code)).toEqual(Array.from({ length: 32 }, () => 'DEADLINE_REACHED'));
    await limiter.take({ pastDeadline: true });
  });

  test('by the real clock and its timers no more than 20 start in any second', async () => {
    const limiter = createCallLimiter({ callsPerSecond: 20, deps: realDeps() });
    const started: number[] = [];
    await Promise.all(Array.from({ length: 45 }, () => limiter.take().then(() => started.push(performance.now()))));
    expect(started).toHaveLength(45);
    expect(mostInAnySecond(started)).toBeLessThanOrEqual(20);
  });
});

describe('at a server that counts strictly', () => {
  const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8, 9];
  const median = (values: readonly number[]): number =>
    [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

  async function outcomes(situation: Omit<Situation, 'seed'>): Promise<Outcome[]> {
    return Promise.all(SEEDS.map((seed) => strictLimit({ ...situation, seed })));
  }

  function judge(all: readonly Outcome[]): { readonly ratio: number; readonly throttled: number } {
    return {
      ratio: median(all.map(({ ratio }) => ratio)),
      throttled: median(all.map(({ throttled }) => throttled)),
    };
  }

  test('one client: 1.05 times the ideal and 1 % refused at the most', async () => {
    const { ratio, throttled } = judge(await outcomes({ clients: [{ calls: 300 }] }));
    expect(ratio).toBeLessThanOrEqual(1.05);
    expect(throttled).toBeLessThanOrEqual(0.01);
  });

  test.each([
    ['at once', 0, undefined],
    ['one after the other', 400, undefined],
    ['in step and without any jitter', 0, [5, 5, 0] as const],
  ])(
    'two clients that begin %s: 1.15 times the ideal and 5 % refused at the most, shared by halves',
    async (_, from, latency) => {
      const all = await outcomes({ clients: [{ calls: 150 }, { calls: 150, from }], ...(latency && { latency }) });
      const { ratio, throttled } = judge(all);
      expect(ratio).toBeLessThanOrEqual(1.15);
      expect(throttled).toBeLessThanOrEqual(0.05);
      for (const { through } of all)
        for (const count of through(5_000, 25_000)) expect(count).toBeGreaterThanOrEqual(60);
    },
  );

  test('three clients: 10 % refused at the most, and none goes short', async () => {
    const all = await outcomes({ clients: [{ calls: 150 }, { calls: 150 }, { calls: 150 }] });
    const { ratio, throttled } = judge(all);
    expect(ratio).toBeLessThanOrEqual(1.2);
    expect(throttled).toBeLessThanOrEqual(0.1);
    for (const { through } of all) for (const count of through(5_000, 35_000)) expect(count).toBeGreaterThanOrEqual(30);
  });

  test('one that joins another has about half after ten seconds', async () => {
    const all = await outcomes({ clients: [{ calls: 300 }, { calls: 300, from: 10_000 }] });
    expect(median(all.map(({ through }) => through(20_000, 30_000)[1] ?? 0))).toBeGreaterThanOrEqual(40);
    expect(judge(all).ratio).toBeLessThanOrEqual(1.15);
  });

  test('what one leaves the other takes', async () => {
    const { ratio } = judge(await outcomes({ clients: [{ calls: 300 }, { calls: 60 }] }));
    expect(ratio).toBeLessThanOrEqual(1.15);
  });

  test.each([
    [500, 50],
    [3_000, 10],
    [3_000, 50],
    [3_000, 100],
    [10_000, 20],
  ])('after foreign calls of %i ms, one in %i ms, the whole rate is used again within 5 s', async (lasting, every) => {
    const ends = 5_000 + lasting;
    const foreign = [{ from: 5_000, to: ends, every }];
    for (const { through } of await outcomes({ clients: [{ calls: 400 }], foreign, latency: [2, 6, 0] })) {
      expect(through(ends + 5_000, ends + 8_000)[0]).toBeGreaterThanOrEqual(28);
    }
  });

  test('during foreign calls that leave no room, two calls a second are refused at the most', async () => {
    const foreign = [{ from: 5_000, to: 15_000, every: 10 }];
    for (const { arrivals } of await outcomes({ clients: [{ calls: 200 }], foreign })) {
      const refused = arrivals.filter(({ at, isThrough }) => !isThrough && at >= 5_000 && at < 15_000);
      expect(refused.length).toBeLessThanOrEqual(20);
    }
  });

  test('a client whose event loop stands still again and again loses that time and hardly more', async () => {
    const stalls = [
      [5_000, 7_000],
      [12_000, 12_300],
      [15_000, 15_080],
    ] as const;
    const { ratio, throttled } = judge(await outcomes({ clients: [{ calls: 300, stalls }] }));
    expect(ratio).toBeLessThanOrEqual(1.05 + 2_380 / 29_900);
    expect(throttled).toBeLessThanOrEqual(0.01);
  });

  test('30 calls a second shared by two', async () => {
    const { ratio, throttled } = judge(await outcomes({ limit: 30, clients: [{ calls: 450 }, { calls: 450 }] }));
    expect(ratio).toBeLessThanOrEqual(1.1);
    expect(throttled).toBeLessThanOrEqual(0.025);
  });

  test.each([2.5, 0.5])('%f calls a second are so many and none is refused', async (callsPerSecond) => {
    for (const { ratio, throttled } of await outcomes({ clients: [{ calls: 30, callsPerSecond }] })) {
      expect(throttled).toBe(0);
      expect(ratio).toBeLessThanOrEqual((10 / callsPerSecond) * 1.06);
    }
  });

  test('one call a second shared by two: both get on', async () => {
    for (const { ratio, through } of await outcomes({ limit: 1, clients: [{ calls: 15 }, { calls: 15 }] })) {
      expect(ratio).toBeLessThanOrEqual(1.5);
      expect(through(0, 600_000)).toEqual([15, 15]);
    }
  });

  test.each([
    [1, 1.1, 0.02],
    [2, 1.6, 0.12],
  ])(
    'where a refused call counts as well, %i clients do not keep the limit full of refusals',
    async (count, most, refused) => {
      const clients = Array.from({ length: count }, () => ({ calls: 300 / count }));
      const { ratio, throttled } = judge(await outcomes({ clients, countsRefused: true }));
      expect(ratio).toBeLessThanOrEqual(most);
      expect(throttled).toBeLessThanOrEqual(refused);
    },
  );
});
