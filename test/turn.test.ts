import { describe, expect, test } from 'vitest';
import { inTurn } from '../src/turn.ts';

const INTERVAL = 6 * 3_600_000;
/** More than there are classes by far, so that each class has some. */
const NAMES = Array.from({ length: 120 }, (_, nth) => `site-${nth}.example.com`);

/** Those whose edges are read in interval `n` of an account of so many domains. */
function read(domains: number, n: number, offset = 0): string[] {
  return NAMES.filter(inTurn({ domains, now: new Date(n * INTERVAL + offset), interval: INTERVAL }));
}

test.each([0, 1, 250])('in an account of %i domains it is always the turn of each', (domains) => {
  for (const n of [0, 1, 81_000, 81_001]) expect(read(domains, n)).toEqual(NAMES);
});

describe.each([
  [251, 2],
  [600, 3],
  [5_000, 20],
  [5_001, 20],
  [50_000, 20],
])('in an account of %i domains', (domains, turns) => {
  test(`the turn of each comes once in every round of ${turns}`, () => {
    for (const round of [0, 1, 4_050, 4_051]) {
      const runs = Array.from({ length: turns }, (_, nth) => read(domains, round * turns + nth));
      expect(runs.flat().sort()).toEqual([...NAMES].sort());
      expect(runs.every(({ length }) => length > 0 && length < NAMES.length)).toBe(true);
    }
  });

  test('nobody waits for two rounds', () => {
    const last = new Map(NAMES.map((name) => [name, 0]));
    let longest = 0;
    for (let n = 1; n < 2 * turns ** 2; n += 1) {
      for (const name of read(domains, n)) {
        longest = Math.max(longest, n - (last.get(name) ?? 0));
        last.set(name, n);
      }
    }
    expect(longest).toBeLessThan(2 * turns);
  });

  test.each([2, 3, 4, 5, 8, 20, 28, 40])('a timer that comes only every %i intervals reaches each', (step) => {
    const waiting = new Set(NAMES);
    let runs = 0;
    for (; waiting.size > 0 && runs < 500; runs += 1)
      for (const name of read(domains, 81_000 + runs * step)) waiting.delete(name);
    expect([...waiting]).toEqual([]);
  });

  test('a timer on the whole hour may be a little early or late', () => {
    for (const n of [81_000, 81_001, 81_019]) {
      expect(read(domains, n, -60_000)).toEqual(read(domains, n));
      expect(read(domains, n, 600_000)).toEqual(read(domains, n));
    }
  });
});
