import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseRetryAfter, retryAfterInText } from '../../src/acme/retryafter.ts';

const now = new Date('2026-03-01T00:00:00Z');

test.each([
  ['seconds', '120', '2026-03-01T00:02:00.000Z'],
  ['seconds with white space', ' 7 ', '2026-03-01T00:00:07.000Z'],
  ['an HTTP-date', 'Sun, 01 Mar 2026 01:00:00 GMT', '2026-03-01T01:00:00.000Z'],
  ['the obsolete date of RFC 850', 'Sunday, 01-Mar-26 01:00:00 GMT', '2026-03-01T01:00:00.000Z'],
  ['more than a week', '864000', '2026-03-08T00:00:00.000Z'],
  ['more than setTimeout can hold', '2147484', '2026-03-08T00:00:00.000Z'],
  ['a date in 2099', 'Thu, 01 Jan 2099 00:00:00 GMT', '2026-03-08T00:00:00.000Z'],
])('F8 %s', (_, header, instant) => {
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
])('F8 %j names no instant', (header) => {
  expect(parseRetryAfter(header, now)).toBeUndefined();
});

test.each([
  [
    'too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, retry after 2026-03-01 02:03:04 UTC: see https://letsencrypt.org/docs/rate-limits/',
    '2026-03-01T02:03:04.000Z',
  ],
  ['Retry after 2026-03-01T02:03:04Z', '2026-03-01T02:03:04.000Z'],
  ['retry after 2099-01-01 00:00:00 UTC', '2026-03-08T00:00:00.000Z'],
  ['retry after 2026-02-01 00:00:00 UTC', undefined],
  ['retry after 2026-13-45 99:00:00 UTC', undefined],
  ['try again later', undefined],
  ['', undefined],
])('F9 the text %j names %s', (detail, instant) => {
  expect(retryAfterInText(detail, now)?.toISOString()).toBe(instant);
});

test('F8 whatever the header, the instant is later than now and at most a week away', () => {
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
