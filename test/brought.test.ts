import { expect, test } from 'vitest';
import { handOverAt } from '../src/brought.ts';

test.each([
  ['three days before the end of ninety', '2026-04-01T00:00:00Z', '2026-03-29T00:00:00.000Z'],
  ['the last tenth of a life of six days', '2026-01-07T00:00:00Z', '2026-01-06T09:36:00.000Z'],
])('a certificate that was brought gives way: %s', (_, notAfter, expected) => {
  expect(handOverAt({ notBefore: '2026-01-01T00:00:00Z', notAfter }).toISOString()).toBe(expected);
});
