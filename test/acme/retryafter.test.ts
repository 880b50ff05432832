import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseRetryAfter } from '../../src/acme/retryafter.ts';

const now = new Date('2026-03-01T00:00:00Z');

test.each([
  ['seconds', '120', '2026-03-01T00:02:00.000Z'],
  ['seconds with white space', ' 7 ', '2026-03-01T00:00:07.000Z'],
  ['an HTTP-date', 'Sun, 01 Mar 2026 01:00:00 GMT', '2026-03-01T01:00:00.000Z'],
  ['the obsolete date of RFC 850', 'Sunday, 01-Mar-26 01:00:00 GMT', '2026-03-01T01:00:00.000Z'],
  ['more than a week', '864000', '2026-03-08T00:00:00.000Z'],
  ['more than setTimeout can hold', '2147484', '2026-03-08T00:00:00.000Z'],
  ['a date in 2099', 'Thu, 01 Jan 2099 00:00:00 GMT', '2026-03-08T00:00:00.000Z'],
])('8 %s', (_, header, instant) => {
  expect(parseRetryAfter(header, now)?.toISOString()).toBe(instant);
});

test.each([
  undefined,
  '',
  '0',
  '-1',
  '+5',
  '1.5',
  '1e3',
  '0x10',
  'abc',
  'Sun, 01 Mar 2020 00:00:00 GMT',
  'Sun, 99 Foo 2026 00:00:00 GMT',
  '2026-03-02T00:00:00Z',
  '9'.repeat(65),
])('8 %j names no instant', (header) => {
  expect(parseRetryAfter(header, now)).toBeUndefined();
});

test('8 whatever the header, the instant is later than now and at most a week away', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.integer().map(String),
        fc.bigInt().map(String),
        fc.date({ noInvalidDate: true }).map((date) => date.toUTCString()),
      ),
      (header) => {
        const wait = (parseRetryAfter(header, now)?.getTime() ?? now.getTime() + 1) - now.getTime();
        expect(wait).toBeGreaterThan(0);
        expect(wait).toBeLessThanOrEqual(604_800_000);
      },
    ),
  );
});
