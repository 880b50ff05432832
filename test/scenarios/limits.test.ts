import { describe, expect, test } from 'vitest';
import { AcmeProblem, PROBLEM_NAMESPACE } from '../../src/acme/problem.ts';
import type { AcmeSession } from '../../src/acme.ts';
import { createAuthorities } from '../../src/authorities.ts';
import { parseConfig } from '../../src/config.ts';
import type { Solver } from '../../src/issue.ts';
import { reconcileAll } from '../../src/reconcile.ts';
import { type CertificateRecord, readRecord } from '../../src/record.ts';
import type { Outcome } from '../../src/report.ts';
import { createSimulatedCa } from '../sandbox/simulation/ca.ts';
import { createSimulatedCdn } from '../sandbox/simulation/cdn.ts';
import { createSimulatedStore } from '../sandbox/simulation/store.ts';

const ISSUED = new Date('2026-01-02T12:00:00Z');
const ENDS = new Date('2026-01-08T10:59:59Z');
const DUE = new Date('2026-01-06T12:00:00Z');
/** Its floor: the last tenth of its life. */
const FLOOR = new Date('2026-01-07T20:35:59.9Z');
const FALLBACK = 'https://fallback.example/directory';
const SIX_DAYS = 6 * 86_400_000;
const ignore = () => undefined;

interface DueWorld {
  /** The CA takes no order before this instant. */
  until: Date | undefined;
  now: Date;
  fallback: boolean;
  /** Orders that the first CA was asked for since `until` was set. */
  asked: number;
  renew(force?: boolean): Promise<{ readonly outcome: Outcome | undefined; readonly record: CertificateRecord }>;
}

/** A certificate of six days that was issued and is served, and is due; or none at all. */
async function startDueWorld({ fallback = false, issued = true } = {}): Promise<DueWorld> {
  const store = createSimulatedStore(() => false);
  const ca = createSimulatedCa({
    now: () => world.now.getTime(),
    isDown: () => false,
    fails: () => false,
    lifetimeOf: () => SIX_DAYS,
    offersRenewalInfo: false,
  });
  const cdn = createSimulatedCdn({
    domains: ['www.example.com'],
    now: () => world.now.getTime(),
    isDown: () => false,
    lag: () => 0,
  });
  const config = await parseConfig(
    JSON.stringify({
      acme: { contact: ['mailto:ops@example.com'], fallback: [{ directoryUrl: FALLBACK }] },
      store: 'file:///simulated',
      certificates: [{ name: 'www', identifiers: ['www.example.com'], keyType: 'ec256' }],
    }),
    { env: {} },
  );
  const solver: Solver = { type: 'dns-01', present: async () => undefined, cleanUp: async () => undefined };

  const limited = (session: AcmeSession): AcmeSession => ({
    ...session,
    async account(key, options) {
      const account = await session.account(key, options);
      return {
        ...account,
        async newOrder(request) {
          if (!world.until) return account.newOrder(request);
          world.asked += 1;
          const detail = 'too many certificates (5) already issued for this exact set of identifiers';
          const type = `${PROBLEM_NAMESPACE}rateLimited`;
          throw new AcmeProblem(
            { type, status: 429, detail, subproblems: [], instance: undefined },
            { url: 'https://ca.example/order', purpose: 'open the order', retryAfter: world.until },
          );
        },
      };
    },
  });

  /** The same CA, where the account is another one: nothing is limited. */
  const another = (session: AcmeSession): AcmeSession => ({
    ...session,
    account: async (key, options) => ({ ...(await session.account(key, options)), url: `${FALLBACK}/account` }),
  });

  const world: DueWorld = {
    until: undefined,
    now: ISSUED,
    fallback,
    asked: 0,
    async renew(force = false) {
      const log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
      const deadline = new Date(world.now.getTime() + 540_000);
      const deps = { now: () => world.now, random: () => 0, sleep: async () => undefined, deadline, log };
      const { interval } = config.renewal;
      const authorities = createAuthorities({
        authorities: [config.acme, ...(world.fallback ? config.acme.fallback : [])],
        store,
        solver,
        interval,
        deps,
        open: ({ directoryUrl }) => (directoryUrl === FALLBACK ? another(ca.open()) : limited(ca.open())),
      });
      const { outcomes } = await reconcileAll(config, { ...cdn, store, authorities }, { runId: 'a run', force }, deps);
      return { outcome: outcomes[0], record: await readRecord(store, 'www') };
    },
  };
  if (!issued) return world;
  const first = await world.renew();
  expect(first.outcome?.status).toBe('renewed');
  expect(first.record.certificate?.notAfter).toBe(ENDS.toISOString());
  world.now = DUE;
  return world;
}

describe('F9 a limit of the CA', () => {
  test('that gives way in time defers the renewal, and no order is asked for before', async () => {
    const world = await startDueWorld({ fallback: true });
    world.until = new Date('2026-01-07T18:00:00Z');
    const named = await world.renew();
    expect(named.outcome).toMatchObject({ status: 'deferred', error: { code: 'ACME_RATE_LIMITED', step: 'issue' } });
    expect(named.record.failures).toMatchObject({ count: 1, nextAttemptAt: '2026-01-07T18:00:00.000Z' });
    world.now = new Date('2026-01-07T17:59:59Z');
    expect((await world.renew()).outcome).toMatchObject({ status: 'deferred', decision: { reason: 'BackingOff' } });
    // Whoever does not wait is kept by the ledger, and that counts as no attempt.
    const known = await world.renew(true);
    expect(known.outcome).toMatchObject({ status: 'deferred', error: { code: 'ACME_LIMIT_REACHED', step: 'issue' } });
    expect(known.record.failures?.count).toBe(1);
    expect(world.asked).toBe(1);
    world.now = world.until;
    world.until = undefined;
    expect((await world.renew()).outcome?.status).toBe('renewed');
  });

  test('that the certificate cannot wait for makes the fallback issue in the same run', async () => {
    const world = await startDueWorld({ fallback: true });
    world.until = new Date(FLOOR.getTime() + 1000);
    const first = await world.renew();
    expect(first.outcome).toMatchObject({ status: 'renewed' });
    expect(first.record).toMatchObject({ certificate: { directoryUrl: FALLBACK } });
    expect(first.record.failures).toBeUndefined();
    const forced = await world.renew(true);
    expect(forced.outcome?.error?.code, 'the new certificate has time').toBe('ACME_LIMIT_REACHED');
    expect(world.asked).toBe(1);
  });

  test.each([
    ['shortly before the certificate ends', new Date('2026-01-08T10:00:00Z')],
    ['ends before', ENDS],
    ['ends before', new Date('2026-01-13T00:00:00Z')],
  ])(
    'that the certificate cannot wait for is a failure without a fallback, and says what will happen: %s',
    async (words, until) => {
      const world = await startDueWorld();
      world.until = until;
      const { outcome, record } = await world.renew();
      expect(outcome).toMatchObject({
        status: 'failed',
        error: {
          code: 'ACME_LIMIT_OUTLASTS_CERTIFICATE',
          step: 'issue',
          message: expect.stringContaining(words),
          remedy: expect.stringContaining('acme.fallback'),
        },
      });
      expect(outcome?.error?.message).toContain(until.toISOString());
      expect(outcome?.error?.message).toContain(ENDS.toISOString());
      expect(record.failures).toMatchObject({ count: 1, nextAttemptAt: until.toISOString() });
      // In its last hours it is tried again, and the ledger still keeps the order from being asked for.
      world.now = new Date(FLOOR.getTime() + 60_000);
      expect((await world.renew()).outcome?.error?.code).toBe('ACME_LIMIT_OUTLASTS_CERTIFICATE');
      world.fallback = true;
      const followed = await world.renew();
      expect(followed.outcome?.status, 'who follows the advice is helped').toBe('renewed');
      expect(followed.record).toMatchObject({ certificate: { directoryUrl: FALLBACK } });
      expect(world.asked).toBe(1);
    },
  );

  test('keeps a domain that has no certificate waiting for a day at most when there is another CA', async () => {
    const until = new Date(ISSUED.getTime() + 86_400_000);
    for (const [fallback, more, status] of [
      [true, 0, 'deferred'],
      [true, 1, 'renewed'],
      [false, 1, 'deferred'],
    ] as const) {
      const world = await startDueWorld({ fallback, issued: false });
      world.until = new Date(until.getTime() + more);
      expect((await world.renew()).outcome?.status, `${fallback} ${more}`).toBe(status);
    }
  });
});
