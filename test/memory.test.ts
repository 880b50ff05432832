import { afterEach, expect, test } from 'vitest';
import { createAuthorities } from '../src/authorities.ts';
import { parseConfig } from '../src/config.ts';
import type { Deps } from '../src/deps.ts';
import type { Solver } from '../src/issue.ts';
import type { Ports } from '../src/plan.ts';
import { reconcileAll } from '../src/reconcile.ts';
import type { RunReport } from '../src/report.ts';
import { bytesHeld, garbageCollected } from './garbage.ts';
import { createSimulatedCa } from './sandbox/simulation/ca.ts';
import { createSimulatedCdn } from './sandbox/simulation/cdn.ts';
import { createSimulatedStore } from './sandbox/simulation/store.ts';

const DAY = 86_400_000;
/** Milliseconds: only a run that hangs takes as long. */
const WAIT = { timeout: 30_000 };

/** Something that is waited for until the test lets it go on. */
function createGate() {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  let waiting = 0;
  return {
    open,
    /** How many wait, or waited. */
    get waiting() {
      return waiting;
    },
    passed() {
      waiting += 1;
      return opened;
    },
  };
}

interface Gates {
  /** Before the order for this domain is opened. */
  readonly order?: (domain: string) => Promise<void> | undefined;
  /** Before the edges of a domain answer that was pushed to in this run. */
  readonly edges?: () => Promise<void>;
  /** When a certificate has come to its end. */
  readonly finished?: () => void;
}

async function createFleet(certificates: number) {
  let now = Date.parse('2026-01-02T00:00:00Z');
  const domains = Array.from({ length: certificates }, (_, nth) => `www.domain-${nth}.com`);
  const up = { now: () => now, isDown: () => false };
  const store = createSimulatedStore(() => false);
  const ca = createSimulatedCa({ ...up, fails: () => false, lifetimeOf: () => 90 * DAY, offersRenewalInfo: true });
  const cdn = createSimulatedCdn({ ...up, domains, lag: () => 0 });
  const solver: Solver = { type: 'dns-01', present: async () => undefined, cleanUp: async () => undefined };
  const config = await parseConfig(
    JSON.stringify({
      acme: { directoryUrl: 'letsencrypt', contact: ['mailto:ops@example.com'], concurrency: 2 },
      store: 'file:///simulated',
      certificates: domains.map((domain) => ({ name: domain, identifiers: [domain], keyType: 'ec256' })),
    }),
    { env: {} },
  );

  return {
    domains,
    pass(milliseconds: number) {
      now += milliseconds;
    },
    /** Begins a run, and tells what it is doing. */
    run({ order, edges, finished: onFinished }: Gates = {}) {
      const keys: WeakRef<object>[] = [];
      const advice: WeakRef<object>[] = [];
      const pushed = new Set<string>();
      let finished = 0;
      const ignore = () => undefined;
      const info = (event: string) => {
        if (event !== 'certificate_finished') return;
        finished += 1;
        onFinished?.();
      };
      const deps: Deps = {
        now: () => new Date(now),
        random: () => 0.5,
        sleep: async () => undefined,
        deadline: new Date(now + DAY),
        log: { debug: ignore, info, warn: ignore, error: ignore },
      };
      const open = () => {
        const session = ca.open();
        const account: typeof session.account = async (...args) => {
          const opened = await session.account(...args);
          return {
            ...opened,
            async newOrder(request) {
              await order?.(request.identifiers[0] ?? '');
              return opened.newOrder(request);
            },
          };
        };
        return { ...session, account };
      };
      const { acme, renewal } = config;
      const authorities = createAuthorities({
        authorities: [acme],
        interval: renewal.interval,
        store,
        solver,
        deps,
        open,
      });
      const ports: Ports = {
        store,
        target: {
          ...cdn.target,
          async deploy(domain, certificate) {
            keys.push(new WeakRef(certificate.privateKey));
            pushed.add(domain);
            return cdn.target.deploy(domain, certificate);
          },
        },
        edges: {
          async read(domain, cname) {
            if (pushed.has(domain)) await edges?.();
            return cdn.edges.read(domain, cname);
          },
        },
        authorities: {
          ...authorities,
          async renewalAdvice(...question) {
            const given = await authorities.renewalAdvice(...question);
            if (given && keys.length === 0) advice.push(new WeakRef(given));
            return given;
          },
        },
      };
      const report = reconcileAll(config, ports, { runId: 'run', force: false }, deps);
      return {
        report,
        /** The private keys that were handed to the CDN. */
        keys,
        /** What the CA advised before anything was pushed: only what is to be done about a certificate knows of it. */
        advice,
        get finished() {
          return finished;
        },
      };
    },
  };
}

function alive(references: readonly WeakRef<object>[]): number {
  return references.filter((reference) => reference.deref() !== undefined).length;
}

function expectAllRenewed({ outcomes }: RunReport, certificates: number): void {
  expect(outcomes.map(({ status }) => status)).toEqual(Array.from({ length: certificates }, () => 'renewed'));
}

let openAll = () => {};
afterEach(() => openAll());

test('a certificate that waits for its edges has no key in memory any more', async () => {
  const fleet = await createFleet(20);
  const edges = createGate();
  openAll = edges.open;
  const run = fleet.run({ edges: edges.passed });
  await expect.poll(() => edges.waiting, WAIT).toBe(20);
  expect(run.keys).toHaveLength(20);
  await garbageCollected();
  expect(alive(run.keys)).toBe(0);
  edges.open();
  expectAllRenewed(await run.report, 20);
});

test('of a certificate that is done only its outcome is left, while the run goes on', async () => {
  const fleet = await createFleet(20);
  expectAllRenewed(await fleet.run().report, 20);
  fleet.pass(70 * DAY);
  const last = createGate();
  openAll = last.open;
  const run = fleet.run({ order: (domain) => (domain === fleet.domains.at(-1) ? last.passed() : undefined) });
  await expect.poll(() => run.finished, WAIT).toBe(19);
  expect(run.advice).toHaveLength(20);
  await garbageCollected();
  expect(alive(run.advice), 'that of the certificate under way').toBe(1);
  last.open();
  expectAllRenewed(await run.report, 20);
});

test('a certificate that waits for its turn is what is to be done about it, and no more', async () => {
  const held: number[] = [];
  for (const certificates of [200, 2_200]) {
    const before = await bytesHeld();
    const fleet = await createFleet(certificates);
    const orders = createGate();
    openAll = orders.open;
    const run = fleet.run({ order: orders.passed });
    await expect.poll(() => orders.waiting, WAIT).toBe(2);
    held.push((await bytesHeld()) - before);
    expect(run.finished).toBe(0);
  }
  const [few = 0, many = 0] = held;
  expect((many - few) / 2_000, 'bytes, the configuration and the account with it').toBeLessThan(3_000);
});

test('a defect at the end of one certificate is the error of the run when all have ended, and ends no process', async () => {
  const fleet = await createFleet(3);
  const last = createGate();
  openAll = last.open;
  const run = fleet.run({
    order: (domain) => (domain === fleet.domains.at(-1) ? last.passed() : undefined),
    finished() {
      throw new Error('a defect');
    },
  });
  await expect.poll(() => [run.finished, last.waiting], WAIT).toEqual([2, 1]);
  last.open();
  const { outcomes } = await run.report;
  expect(outcomes.map(({ status, error }) => [status, error?.code])).toEqual(Array(3).fill(['failed', 'INTERNAL']));
});
