import { describe, expect, test } from 'vitest';
import { type Life, live } from '../sandbox/simulation/world.ts';

const { AUTOCERT_SEED, AUTOCERT_SEEDS = '1000', AUTOCERT_SOAK } = process.env;
const isSoak = AUTOCERT_SOAK !== undefined;

/** One seed is one life: AUTOCERT_SEED=n lives it again, AUTOCERT_SOAK=1 lives many; AUTOCERT_SEEDS says how many. */
function seeds(few: readonly number[], many: number): readonly number[] {
  if (AUTOCERT_SEED !== undefined) return [Number(AUTOCERT_SEED)];
  return isSoak ? Array.from({ length: many }, (_, index) => index + 1) : few;
}

async function lifeWithoutFault(life: Life): Promise<void> {
  const told = await live(life);
  const replay = `AUTOCERT_SEED=${life.seed}`;
  expect(told.broken, replay).toEqual([]);
  expect(told.tally.orders, replay).toBeLessThanOrEqual(told.ideal * 1.1);
  expect(told.tally.worstDay, replay).toBeLessThanOrEqual(4);
  expect(told.tally.peak, replay).toBeLessThanOrEqual(300);
}

describe('F54 a fleet of 90, 64, 45 and 6 days, one tick in ten missing, everything out of order now and then', () => {
  const whole = isSoak ? { certificates: 500, days: 730 } : { certificates: 8, days: 730 };
  const parts = isSoak ? { certificates: 20, days: 180 } : { certificates: 10, days: 120 };

  test.each(seeds([1], 2))(
    'two years of seed %i: none ends that could have been renewed, each failure is told once',
    async (seed) => {
      await lifeWithoutFault({ seed, ...whole });
    },
    10_800_000,
  );

  test.each(seeds([2, 11, 16, 17], Number(AUTOCERT_SEEDS)))(
    'some months of seed %i: none ends that could have been renewed, each failure is told once',
    async (seed) => {
      await lifeWithoutFault({ seed, ...parts });
    },
    10_800_000,
  );

  const fleet = isSoak ? { certificates: 300, days: 400 } : { certificates: 5, days: 100 };

  test.each([
    { lifetime: 6, away: { what: 'timer', from: 20, to: 22 } },
    { lifetime: 45, away: { what: 'everything', from: 40, to: 47 } },
    { lifetime: 64, away: { what: 'everything', from: 40, to: 47 } },
    { lifetime: 90, away: { what: 'everything', from: 55, to: 62 } },
  ] as const)(
    'F53 $lifetime days, and $away.what is away from day $away.from to day $away.to: nothing ends',
    async ({ lifetime, away }) => {
      const told = await live({ seed: 6, ...fleet, lifetime, away, calm: true });
      expect(told.broken).toEqual([]);
      expect(told.lost).toBe(0);
      expect(told.served).toBe(fleet.certificates);
    },
    10_800_000,
  );

  test('a seed is the same life each time', async () => {
    const life = { seed: 3, certificates: 6, days: 40 };
    const [one, other] = [await live(life), await live(life)];
    expect(other.history).toEqual(one.history);
    expect(other.tally).toEqual(one.tally);
  }, 600_000);
});

describe('F55 the limits of the CA are kept, not hit', () => {
  test('a fleet that was issued at one time and has no ARI is spread: at most 300 orders in three hours', async () => {
    const life = { seed: 4, certificates: 340, days: 6, lifetime: 6, offersRenewalInfo: false, calm: true };
    const told = await live({ ...life, registeredDomain: (number) => `domain-${number}.com` });
    expect(told.broken).toEqual([]);
    expect(told.served).toBe(340);
    expect(told.tally.peak).toBeLessThanOrEqual(300);
    expect(told.history[0]).toContain('deferred ACME_LIMIT_REACHED');
  }, 600_000);

  test('more certificates of one registered domain than a week allows come one after the other', async () => {
    const life = { seed: 5, certificates: 60, days: 4, lifetime: 90, offersRenewalInfo: true, calm: true };
    const told = await live({ ...life, registeredDomain: () => 'example.com' });
    expect(told.broken).toEqual([]);
    expect(told.tally.issued).toBe(60);
    expect(told.history[0]?.match(/deferred ACME_LIMIT_REACHED/g)).toHaveLength(11);
  }, 600_000);
});
