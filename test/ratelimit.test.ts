import { describe, expect, test } from 'vitest';
import { createCallLimiter } from '../src/ratelimit.ts';
import { listen, realDeps, steppedDeps } from './aliyun/loopback.ts';

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

  test('a refusal narrows the rate, and within five seconds it is whole again', async () => {
    const deps = steppedDeps();
    const limiter = createCallLimiter({ callsPerSecond: 10, deps });
    await limiter.take();
    limiter.throttled();
    const refusedAt = deps.now().getTime();
    const started: number[] = [];
    for (let nth = 0; nth < 80; nth += 1) {
      await limiter.take();
      started.push(deps.now().getTime() - refusedAt);
    }
    const within = (from: number, to: number) => started.filter((at) => at >= from && at < to).length;
    expect(within(0, 1_000)).toBeLessThanOrEqual(6);
    expect(within(0, 1_000)).toBeGreaterThan(0);
    expect(within(5_200, 6_200)).toBeGreaterThanOrEqual(9);
  });

  test('the refusals of one second count once', async () => {
    const deps = steppedDeps();
    const limiter = createCallLimiter({ callsPerSecond: 10, deps });
    await limiter.take();
    for (let nth = 0; nth < 10; nth += 1) limiter.throttled();
    const before = deps.now().getTime();
    await limiter.take();
    expect(deps.now().getTime() - before).toBeLessThanOrEqual(210);
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

  test('by the real clock a server counts no more than 20 arrivals in any second', async () => {
    const arrived: number[] = [];
    const server = await listen((_, response) => {
      arrived.push(performance.now());
      response.end();
    });
    const limiter = createCallLimiter({ callsPerSecond: 20, deps: realDeps() });
    await Promise.all(
      Array.from({ length: 45 }, async () => {
        await limiter.take();
        await fetch(server.url);
      }),
    );
    await server.close();
    expect(arrived).toHaveLength(45);
    expect(mostInAnySecond(arrived)).toBeLessThanOrEqual(20);
  });
});
