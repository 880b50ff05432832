import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Admission,
  admit,
  LIMITS,
  type NewOrder,
  type OrderKind,
  outlasts,
  type Spending,
  withFailedValidation,
  withIssued,
  withRefund,
  withWait,
} from '../src/limits.ts';
import { registrableDomain } from '../src/suffix.ts';

const NOON = new Date('2026-01-02T12:00:00Z');
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const NOTHING: Spending = { used: {}, waits: {} };
const LETS_ENCRYPT = LIMITS['https://acme-v02.api.letsencrypt.org/directory'];

function later(milliseconds: number): Date {
  return new Date(NOON.getTime() + milliseconds);
}

const domainsOf = (identifiers: readonly string[]) => [
  ...new Set(identifiers.map((name) => registrableDomain(name) ?? name)),
];

function orderFor(identifiers: readonly string[], kind: OrderKind = 'new'): NewOrder {
  return { identifiers, domains: domainsOf(identifiers), kind };
}

function spendingOf(admission: Admission): Spending {
  if (admission.notBefore) throw new Error(`refused until ${admission.notBefore.toISOString()}: ${admission.limit}`);
  return admission.spending;
}

/** Opens the orders one after the other at noon; all of them must be admitted. */
function opened(orders: readonly NewOrder[], spending: Spending = NOTHING): Spending {
  return orders.reduce((state, order) => spendingOf(admit(state, order, LETS_ENCRYPT, NOON)), spending);
}

function times(count: number, order: (index: number) => NewOrder): NewOrder[] {
  return Array.from({ length: count }, (_, index) => order(index));
}

describe('an order waits when the CA would refuse it', () => {
  test.each([
    ['new orders per account', 298, (index: number) => orderFor([`www.domain-${index}.com`]), 24_000],
    ['new certificates per registered domain', 49, (index: number) => orderFor([`n${index}.example.co.uk`]), MINUTE],
    ['new certificates per exact set of identifiers', 4, () => orderFor(['example.com', '*.example.com']), MINUTE],
  ])('%s: %i at once, and the last after a minute', (title, count, order, wait) => {
    const full = opened(times(count, order));
    const next = admit(full, order(count), LETS_ENCRYPT, NOON);
    expect(next).toEqual({ notBefore: later(wait), limit: expect.stringContaining(title) });
    expect(admit(full, order(count), LETS_ENCRYPT, later(wait))).toHaveProperty('spending');
    expect(admit(full, order(count), LETS_ENCRYPT, later(wait - 1))).toHaveProperty('notBefore');
  });

  test('five failed validations of one name, and another name is free', () => {
    const failed = times(5, () => orderFor([])).reduce(
      (state) => withFailedValidation(state, ['*.example.com'], LETS_ENCRYPT, NOON),
      NOTHING,
    );
    expect(admit(failed, orderFor(['example.com']), LETS_ENCRYPT, NOON)).toMatchObject({
      notBefore: later(13 * MINUTE),
    });
    expect(admit(failed, orderFor(['www.example.com']), LETS_ENCRYPT, NOON)).toHaveProperty('spending');
  });

  test('1152 failures in a row that no success interrupts', () => {
    let state = NOTHING;
    let now = NOON;
    let answer: Admission;
    let failures = 0;
    do {
      state = withFailedValidation(state, ['example.com'], LETS_ENCRYPT, now);
      failures += 1;
      now = later(failures * 12 * MINUTE);
      answer = admit(state, orderFor(['*.example.com']), LETS_ENCRYPT, now);
    } while (!answer.notBefore);
    expect(answer.limit).toContain('1152 consecutive authorization failures');
    // One is forgiven a day, and there were ten days.
    expect(failures).toBe(1161);
    const over = withIssued(state, ['*.example.com']);
    expect(admit(over, orderFor(['example.com']), LETS_ENCRYPT, now)).toHaveProperty('spending');
  });

  test('the last of several limits decides', () => {
    let state = opened(times(49, (n) => orderFor([`${n}.example.com`])));
    for (let count = 0; count < 5; count += 1)
      state = withFailedValidation(state, ['0.example.com'], LETS_ENCRYPT, NOON);
    expect(admit(state, orderFor(['x.example.com']), LETS_ENCRYPT, NOON)).toMatchObject({ notBefore: later(MINUTE) });
    expect(admit(state, orderFor(['0.example.com']), LETS_ENCRYPT, NOON)).toMatchObject({
      notBefore: later(13 * MINUTE),
      limit: expect.stringContaining('authorization failures'),
    });
  });
});

describe('renewals', () => {
  const busy = opened(
    times(49, (n) => orderFor([`${n}.example.com`])),
    opened(times(249, (n) => orderFor([`${n}-domain.com`]))),
  );

  test('within the window of ARI are exempt and not counted', () => {
    expect(admit(busy, orderFor(['0.example.com'], 'coordinated'), LETS_ENCRYPT, NOON)).toEqual({ spending: busy });
  });

  test('of the same names are exempt from the limit of the registered domain', () => {
    const room = { ...busy, used: { ...busy.used, orders: NOON.toISOString() } };
    expect(admit(room, orderFor(['0.example.com'], 'renewal'), LETS_ENCRYPT, NOON)).toHaveProperty('spending');
    expect(admit(room, orderFor(['x.example.com'], 'new'), LETS_ENCRYPT, NOON)).toHaveProperty('notBefore');
  });

  test('spread over the hours, unless their certificates end soon', () => {
    expect(admit(busy, orderFor(['0.example.com'], 'renewal'), LETS_ENCRYPT, NOON)).toHaveProperty('notBefore');
    expect(admit(busy, orderFor(['0.example.com'], 'late-renewal'), LETS_ENCRYPT, NOON)).toHaveProperty('spending');
  });

  test('count for the exact set of identifiers', () => {
    const renewed = opened(times(4, () => orderFor(['example.com'], 'late-renewal')));
    expect(admit(renewed, orderFor(['example.com'], 'late-renewal'), LETS_ENCRYPT, NOON)).toHaveProperty('notBefore');
  });
});

describe('what the CA said', () => {
  const until = later(6 * HOUR);
  const names = ['www.example.com', 'example.com'];
  const other = orderFor(['www.example.org']);
  const neighbour = orderFor(['api.example.com']);

  test.each([
    ['too many new orders (300) from this account in the last 3h0m0s', true, true],
    ['Slow down', true, true],
    ['too many certificates (50) already issued for "example.com" in the last 168h0m0s', false, true],
    ['too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s', false, false],
    ['too many failed authorizations (5) for "www.example.com" in the last 1h0m0s', false, false],
    [
      'Your account is temporarily prevented from requesting certificates for www.example.com and possibly others.',
      false,
      false,
    ],
  ])('%s: holds the others back %j, those of the same domain %j', (detail, account, domain) => {
    for (const limits of [LETS_ENCRYPT, undefined]) {
      const told = withWait(NOTHING, orderFor(names), detail, until);
      const waits = (order: NewOrder) =>
        admit(told, order, limits, later(6 * HOUR - 1)).notBefore?.getTime() === until.getTime();
      expect([waits(orderFor(names)), waits(other), waits(neighbour)]).toEqual([true, account, domain]);
      expect(admit(told, orderFor(names), limits, until)).toHaveProperty('spending');
    }
  });

  test('of a CA whose limits are not known nothing is counted', () => {
    expect(admit(NOTHING, orderFor(names), undefined, NOON)).toEqual({ spending: NOTHING });
    expect(withFailedValidation(NOTHING, names, undefined, NOON)).toBe(NOTHING);
  });
});

test('what came to nothing is given back, but for the order itself', () => {
  const before = opened(times(4, () => orderFor(['example.com'])));
  const given = withRefund(before, orderFor(['example.com']), LETS_ENCRYPT, NOON);
  expect(admit(given, orderFor(['example.com']), LETS_ENCRYPT, NOON)).toHaveProperty('spending');
  expect(given.used['orders']).toBe(before.used['orders']);
});

test('a bucket that is full again is not kept', () => {
  const spent = opened([orderFor(['example.com'])]);
  const week = spendingOf(admit(spent, orderFor(['example.org']), LETS_ENCRYPT, later(7 * DAY)));
  expect(Object.keys(week.used).filter((bucket) => bucket.includes('example.com'))).toEqual([]);
  expect(Object.keys(week.used)).toHaveLength(3);
});

/** The CA's view: tokens that come back evenly, counted one by one. */
function createBucket(count: number, period: number) {
  let tokens = count;
  let at = NOON.getTime();
  return (now: number): boolean => {
    tokens = Math.min(count, tokens + ((now - at) * count) / period);
    at = now;
    if (tokens < 1) return false;
    tokens -= 1;
    return true;
  };
}

test('whatever the times, the CA takes every order that the ledger lets pass', () => {
  const arrival = fc.record({
    pause: fc.oneof(fc.integer({ min: 0, max: 60_000 }), fc.integer({ min: 0, max: 2 * DAY })),
    latency: fc.integer({ min: 0, max: 50_000 }),
    name: fc.integer({ min: 0, max: 60 }),
  });
  fc.assert(
    fc.property(fc.array(arrival, { minLength: 20, maxLength: 120 }), (arrivals) => {
      const account = createBucket(300, 3 * HOUR);
      const domain = createBucket(50, 7 * DAY);
      const sets = new Map<number, ReturnType<typeof createBucket>>();
      let state = NOTHING;
      let now = NOON.getTime();
      let reached = now;
      for (const { pause, latency, name } of arrivals) {
        now += pause;
        const answer = admit(state, orderFor([`n${name % 12}.example.com`]), LETS_ENCRYPT, new Date(now));
        if (answer.notBefore) {
          expect(answer.notBefore.getTime()).toBeGreaterThan(now);
          continue;
        }
        state = answer.spending;
        reached = Math.max(reached, now + latency);
        const set = sets.get(name % 12) ?? createBucket(5, 7 * DAY);
        sets.set(name % 12, set);
        expect([account(reached), domain(reached), set(reached)]).toEqual([true, true, true]);
      }
    }),
    { numRuns: 300 },
  );
});

test('an order that is told to wait may go at that very instant', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 12 * HOUR }), { minLength: 5, maxLength: 80 }), (pauses) => {
      let state = NOTHING;
      let now = NOON.getTime();
      for (const pause of pauses) {
        now += pause;
        const order = orderFor(['www.example.com']);
        const answer = admit(state, order, LETS_ENCRYPT, new Date(now));
        if (answer.notBefore) now = answer.notBefore.getTime();
        state = spendingOf(admit(state, order, LETS_ENCRYPT, new Date(now)));
      }
    }),
  );
});

describe('F9 a certificate of 90 days, with a run every six hours, cannot wait for a limit', () => {
  const certificate = { notBefore: '2026-01-01T00:00:00Z', notAfter: '2026-04-01T00:00:00Z' };
  const interval = 6 * 3_600_000;
  test.each([
    ['that ends before its last tenth', '2026-03-20T00:00:00Z', '2026-03-22T23:59:59Z', false],
    ['that reaches into its last tenth', '2026-03-20T00:00:00Z', '2026-03-23T00:00:01Z', true],
    ['of minutes, in its last tenth', '2026-03-30T00:00:00Z', '2026-03-30T00:12:00Z', false],
    ['beyond the next run, in its last tenth', '2026-03-30T00:00:00Z', '2026-03-30T06:00:01Z', true],
    ['of minutes, when the next run comes too late', '2026-03-31T18:00:00Z', '2026-03-31T18:12:00Z', true],
    ['of minutes, when the next run is the last', '2026-03-31T17:59:59Z', '2026-03-31T18:12:00Z', false],
    ['of minutes, when it has ended already', '2026-04-02T00:00:00Z', '2026-04-02T00:12:00Z', true],
  ])('%s', (_, now, until, expected) => {
    expect(outlasts(new Date(until), certificate, { now: new Date(now), interval })).toBe(expected);
  });
});
