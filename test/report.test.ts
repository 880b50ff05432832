import { expect, test } from 'vitest';
import { asLogged, type Outcome, type RunReport } from '../src/report.ts';

const STATUSES = ['kept', 'renewed', 'redeployed', 'deferred', 'failed'] as const;

function reportOf(outcomes: number): RunReport {
  return {
    version: 1,
    runId: 'run-1',
    startedAt: '2026-01-02T03:04:05.000Z',
    finishedAt: '2026-01-02T03:05:05.000Z',
    outcomes: Array.from({ length: outcomes }, (_, nth): Outcome => {
      return { name: `www-${nth}`, status: STATUSES[nth % STATUSES.length] ?? 'kept' };
    }),
  };
}

test('the log has the whole report of up to fifty certificates', () => {
  expect(asLogged(reportOf(50))).toEqual(reportOf(50));
});

test('and of more only what is not well: whatever was renewed by the thousand is a number', () => {
  const { outcomes, ...rest } = asLogged(reportOf(51));
  expect(rest).toEqual({ version: 1, runId: 'run-1', startedAt: expect.any(String), finishedAt: expect.any(String) });
  expect(outcomes.map(({ name }) => name)).toEqual(
    reportOf(51)
      .outcomes.filter(({ status }) => status === 'deferred' || status === 'failed')
      .map(({ name }) => name),
  );
  expect(outcomes).toHaveLength(20);
});
