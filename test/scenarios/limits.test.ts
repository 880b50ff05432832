import { describe, expect, test } from 'vitest';
import { type Authorities, createAuthorities } from '../../src/authorities.ts';
import { parseConfig } from '../../src/config.ts';
import { AutocertError, type ErrorCode } from '../../src/errors.ts';
import type { Solver } from '../../src/issue.ts';
import { reconcileAll } from '../../src/reconcile.ts';
import { readRecord } from '../../src/record.ts';
import { createSimulatedCa } from '../sandbox/simulation/ca.ts';
import { createSimulatedCdn } from '../sandbox/simulation/cdn.ts';
import { createSimulatedStore } from '../sandbox/simulation/store.ts';

const ISSUED = new Date('2026-01-02T12:00:00Z');
const ENDS = new Date('2026-01-08T10:59:59Z');
const DUE = new Date('2026-01-06T12:00:00Z');
const SIX_DAYS = 6 * 86_400_000;
const ignore = () => undefined;

/** A certificate of six days that was issued and is served; `renew` runs when it is due. */
async function startDueWorld() {
  let now = ISSUED;
  const store = createSimulatedStore(() => false);
  const ca = createSimulatedCa({
    now: () => now.getTime(),
    isDown: () => false,
    fails: () => false,
    lifetimeOf: () => SIX_DAYS,
    offersRenewalInfo: false,
  });
  const cdn = createSimulatedCdn({
    domains: ['www.example.com'],
    now: () => now.getTime(),
    isDown: () => false,
    lag: () => 0,
  });
  const config = parseConfig(
    JSON.stringify({
      acme: { contact: ['mailto:ops@example.com'] },
      store: 'file:///simulated',
      certificates: [{ name: 'www', identifiers: ['www.example.com'], keyType: 'ec256' }],
    }),
    { env: {} },
  );
  const solver: Solver = { type: 'dns-01', present: async () => undefined, cleanUp: async () => undefined };

  const run = async (replaced?: Authorities['issue']) => {
    const log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
    const deadline = new Date(now.getTime() + 540_000);
    const deps = { now: () => now, random: () => 0, sleep: async () => undefined, deadline, log };
    const authorities = createAuthorities({ authorities: [config.acme], store, solver, deps, open: ca.open });
    const ports = { ...cdn, store, authorities: replaced ? { ...authorities, issue: replaced } : authorities };
    const { outcomes } = await reconcileAll(config, ports, { runId: 'a run', force: false }, deps);
    return { outcome: outcomes[0], record: await readRecord(store, 'www') };
  };

  const first = await run();
  expect(first.outcome?.status).toBe('renewed');
  expect(first.record.certificate?.notAfter).toBe(ENDS.toISOString());
  now = DUE;
  return {
    /** The CA, or the ledger, says when to come back. */
    renew: (code: ErrorCode, retryAfter: Date) =>
      run(async () => {
        throw new AutocertError({ code, message: 'Later.', retryable: true, remedy: 'Wait.', retryAfter });
      }),
  };
}

describe('9: a limit of the CA', () => {
  test.each(['ACME_RATE_LIMITED', 'ACME_LIMIT_REACHED'] as const)(
    '%s that gives way in time defers the renewal, and the run is a good one',
    async (code) => {
      const world = await startDueWorld();
      const { outcome } = await world.renew(code, new Date('2026-01-08T10:00:00Z'));
      expect(outcome).toMatchObject({ status: 'deferred', error: { code, step: 'issue' } });
    },
  );

  test.each(['ACME_RATE_LIMITED', 'ACME_LIMIT_REACHED'] as const)(
    '%s that outlasts the certificate is a failure',
    async (code) => {
      const world = await startDueWorld();
      const { outcome } = await world.renew(code, ENDS);
      expect(outcome).toMatchObject({ status: 'failed', error: { code, step: 'issue' } });
    },
  );

  test('that the CA named is waited for; one that the ledger knew of counts as no attempt', async () => {
    const until = new Date('2026-01-07T18:00:00Z');
    const named = await (await startDueWorld()).renew('ACME_RATE_LIMITED', until);
    expect(named.record.failures).toMatchObject({ count: 1, nextAttemptAt: until.toISOString() });
    const known = await (await startDueWorld()).renew('ACME_LIMIT_REACHED', until);
    expect(known.record.failures).toBeUndefined();
  });
});
