import { describe, expect, test } from 'vitest';
import { AutocertError } from '../src/errors.ts';
import { backsOff, withDeployFailure, withFailure } from '../src/failures.ts';
import { type CertificateRecord, emptyRecord } from '../src/record.ts';

const NOON = new Date('2026-01-02T12:00:00Z');

function failure(retryAfter?: Date): AutocertError {
  return new AutocertError({
    code: 'ACME_DNS',
    message: 'no TXT record',
    retryable: false,
    remedy: 'Look.',
    retryAfter,
  });
}

function minutesAfterNoon({ failures }: CertificateRecord): number {
  return (Date.parse(failures?.nextAttemptAt ?? '') - NOON.getTime()) / 60_000;
}

describe('after a failed attempt', () => {
  const deps = { now: () => NOON, random: () => 0 };

  test.each([
    [1, 15],
    [2, 60],
    [3, 240],
    [4, 960],
    [5, 1440],
    [50, 1440],
  ])('number %i the next one waits %i minutes', (count, minutes) => {
    let record = emptyRecord('www');
    for (let attempt = 1; attempt <= count; attempt += 1) record = withFailure(record, failure(), deps);
    expect(record.failures?.count).toBe(count);
    expect(minutesAfterNoon(record)).toBe(minutes);
  });

  test('F32 that a CAA record was the cause of, the next one waits an hour at least', () => {
    const forbidden = new AutocertError({ code: 'ACME_CAA', message: 'CAA', retryable: false, remedy: 'Look.' });
    let record = withFailure(emptyRecord('www'), forbidden, deps);
    expect(minutesAfterNoon(record)).toBe(60);
    record = withFailure(record, forbidden, deps);
    expect(minutesAfterNoon(record)).toBe(60);
    record = withFailure(record, forbidden, deps);
    expect(minutesAfterNoon(record)).toBe(240);
  });

  test('a CA that is down for days makes nothing wait longer, and counts for itself', () => {
    const down = (code: 'ACME_UNREACHABLE' | 'ACME_UNAVAILABLE') =>
      new AutocertError({ code, message: 'no answer', retryable: true, remedy: 'Wait.' });
    let record = withFailure(emptyRecord('www'), failure(), deps);
    record = withFailure(record, failure(), deps);
    for (const code of ['ACME_UNREACHABLE', 'ACME_UNAVAILABLE', 'ACME_UNREACHABLE'] as const) {
      record = withFailure(record, down(code), deps);
      expect(minutesAfterNoon(record)).toBe(15);
    }
    expect(record.failures?.count).toBe(3);
    record = withFailure(record, failure(), deps);
    expect(minutesAfterNoon(record), 'the first one that the CA counts').toBe(15);
    expect(minutesAfterNoon(withFailure(record, failure(), deps))).toBe(60);
  });

  test('certificates that failed together do not come back together', () => {
    const waits = [0, 0.5, 0.999].map((random) =>
      minutesAfterNoon(withFailure(emptyRecord('www'), failure(), { ...deps, random: () => random })),
    );
    expect(waits[0]).toBe(15);
    expect(waits[1]).toBe(16.875);
    expect(waits[2]).toBeLessThan(18.75);
  });

  test('the next one does not come before the instant that the server named', () => {
    const record = withFailure(emptyRecord('www'), failure(new Date('2026-01-03T00:00:00Z')), deps);
    expect(record.failures?.nextAttemptAt).toBe('2026-01-03T00:00:00.000Z');
  });

  test('the first failure is remembered', () => {
    const first = withFailure(emptyRecord('www'), failure(), deps);
    const later = withFailure(first, failure(), { ...deps, now: () => new Date('2026-01-02T18:00:00Z') });
    expect(later.failures?.since).toBe('2026-01-02T12:00:00.000Z');
  });
});

describe('after a failed deployment', () => {
  const deps = { now: () => NOON, random: () => 0 };
  const notServed = {
    code: 'NOT_SERVED',
    step: 'verify',
    message: 'stale',
    remedy: 'Wait.',
    requestId: 'R-1',
  } as const;
  const SIX_HOURS = 6 * 3_600_000;

  test('nothing waits: the next run of the timer tries again', () => {
    const { failures } = withDeployFailure(emptyRecord('www'), notServed, SIX_HOURS, deps);
    expect(failures).toEqual({
      count: 1,
      since: '2026-01-02T12:00:00.000Z',
      nextAttemptAt: '2026-01-02T18:00:00.000Z',
      code: 'NOT_SERVED',
      message: 'stale',
      step: 'verify',
      remedy: 'Wait.',
      requestId: 'R-1',
    });
    expect(failures && backsOff(failures)).toBe(false);
  });

  test('a failed order waits as a first one does, and remembers since when the certificate is not well', () => {
    const first = withDeployFailure(emptyRecord('www'), notServed, SIX_HOURS, deps);
    const later = withFailure(first, failure(), { ...deps, now: () => new Date('2026-01-02T18:00:00Z') });
    expect(later.failures).toMatchObject({
      count: 1,
      since: '2026-01-02T12:00:00.000Z',
      nextAttemptAt: '2026-01-02T18:15:00.000Z',
    });
    expect(later.failures && backsOff(later.failures)).toBe(true);
    expect(later.failures?.step).toBeUndefined();
  });

  test('a failure that an older version recorded is one of an order', () => {
    expect(
      backsOff({
        count: 1,
        since: '2026-01-02T12:00:00Z',
        nextAttemptAt: '2026-01-02T12:15:00Z',
        code: 'ACME_DNS',
        message: '',
      }),
    ).toBe(true);
  });
});
