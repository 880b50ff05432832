/** A coordinator and its workers in one process, at a simulated CA, CDN and store, by a clock that goes ten times as fast. */
import { setTimeout as pause } from 'node:timers/promises';
import { createAuthorities } from '../../src/authorities.ts';
import { parseConfig } from '../../src/config.ts';
import type { Deps } from '../../src/deps.ts';
import type { WorkOrder } from '../../src/fanout.ts';
import type { Solver } from '../../src/issue.ts';
import type { LedgerPart } from '../../src/ledger.ts';
import type { Ports, RunRequest } from '../../src/plan.ts';
import { reconcileAll } from '../../src/reconcile.ts';
import type { Store } from '../../src/record.ts';
import type { RunReport } from '../../src/report.ts';
import { doShard } from '../../src/work.ts';
import { createSimulatedCa } from '../sandbox/simulation/ca.ts';
import { createSimulatedCdn } from '../sandbox/simulation/cdn.ts';
import { createSimulatedStore } from '../sandbox/simulation/store.ts';

const DAY = 86_400_000;
/** Of the clock that the flow sees: a second is a tenth of one. */
const HASTE = 10;
export const CERTIFICATES = 48;
/** Seconds: six rounds of eight orders do not fit. */
export const SHORT = 100;
export const NEVER = new Promise<never>(() => undefined);

/** What a port does by itself. */
const INSIDE: readonly unknown[] = ['keyAuthorization', 'dnsKeyAuthorization'];

/** A process: whatever it is about to do outside when it is killed, it does not do, and nothing after. */
export interface Process {
  /** How many operations outside it has left. Default: as many as it likes, and its end is waited for. */
  left?: number;
  /** What it waits for before this operation. */
  readonly before?: (operation: string, on: unknown) => Promise<void> | undefined;
  /** What becomes of an object on its way to the store. */
  readonly written?: (key: string, bytes: Uint8Array) => Uint8Array;
  /** How it waits for its next sign of life. */
  readonly rest?: (signal: AbortSignal) => Promise<void>;
  readonly log?: (event: string) => void;
}

export async function createFleet(fails: (identifier: string) => boolean = () => false) {
  const beganAt = Date.now();
  const start = Date.parse('2026-01-02T00:00:00Z');
  let skipped = 0;
  const now = () => start + skipped + (Date.now() - beganAt) * HASTE;
  const domains = Array.from({ length: CERTIFICATES }, (_, number) => `www.domain-${number}.com`);
  const store = createSimulatedStore(() => false);
  const up = { now, isDown: () => false };
  const ca = createSimulatedCa({
    ...up,
    fails,
    lifetimeOf: () => 90 * DAY,
    offersRenewalInfo: false,
  });
  const cdn = createSimulatedCdn({ ...up, domains, lag: () => 0 });
  const pushed: string[] = [];
  const events: string[] = [];
  const config = await parseConfig(
    JSON.stringify({
      acme: { directoryUrl: 'letsencrypt', contact: ['mailto:ops@example.com'], concurrency: 8 },
      store: 'file:///simulated',
      certificates: domains.map((domain) => ({ name: domain, identifiers: [domain], keyType: 'ec256' })),
    }),
    { env: {} },
  );

  function depsFor(seconds: number): Deps {
    const log = (event: string) => void events.push(event);
    return {
      now: () => new Date(now()),
      random: () => 0.5,
      sleep: async (milliseconds, signal) => void (await pause(milliseconds / HASTE, undefined, signal && { signal })),
      deadline: new Date(now() + seconds * 1000),
      log: { debug: log, info: log, warn: log, error: log },
    };
  }

  /** Everything outside as the process reaches it. */
  function portsOf(process: Process, deps: Deps, part?: LedgerPart): Ports {
    const outside = <T extends object>(port: T): T =>
      new Proxy(port, {
        get(target, name) {
          const value: unknown = Reflect.get(target, name);
          if (typeof value !== 'function' || INSIDE.includes(name)) return value;
          return async (...args: unknown[]) => {
            if (process.left !== undefined) process.left -= 1;
            if ((process.left ?? 0) < 0) return NEVER;
            await process.before?.(String(name), args[0]);
            return Reflect.apply(value, target, args);
          };
        },
      });
    const solver: Solver = { type: 'dns-01', present: async () => undefined, cleanUp: async () => undefined };
    const mine: Store = { ...store };
    for (const name of ['get', 'put', 'delete', 'list'] as const) Object.assign(mine, { [name]: outside(store)[name] });
    const { put } = mine;
    mine.put = (key, bytes, options) => put(key, process.written?.(key, bytes) ?? bytes, options);
    const target: Ports['target'] = {
      ...outside(cdn.target),
      type: 'cdn',
      list: outside(cdn.target).list,
      current: outside(cdn.target).current,
      async deploy(domain, certificate) {
        const result = await outside(cdn.target).deploy(domain, certificate);
        pushed.push(domain);
        return result;
      },
    };
    const open = () => {
      const session = ca.open();
      return {
        ...session,
        directory: outside(session).directory,
        account: async (...args: Parameters<typeof session.account>) => outside(await session.account(...args)),
      };
    };
    const shared = { authorities: [config.acme], store: mine, interval: config.renewal.interval, part };
    return {
      target,
      edges: cdn.edges,
      store: mine,
      authorities: createAuthorities({ ...shared, solver, deps, open }),
    };
  }

  const working: Promise<unknown>[] = [];
  const orders: WorkOrder[] = [];

  return {
    ca,
    store,
    events,
    pushed,
    orders,
    portsOf,
    depsFor,
    /** The clock goes on by as much at once. */
    skip(milliseconds: number) {
      skipped += milliseconds;
    },
    /** The worker as `functions/work.ts` would run it, in the process given. */
    work(order: WorkOrder, process: Process = {}): void {
      const own = { ...depsFor(SHORT), deadline: new Date(order.deadline) };
      const { rest, log } = process;
      const deps: Deps = {
        ...own,
        sleep: async (milliseconds, signal) => (rest && signal ? rest(signal) : own.sleep(milliseconds, signal)),
        ...(log && { log: { debug: log, info: log, warn: log, error: log } }),
      };
      const folder = `work/${String(order.fence).padStart(12, '0')}/${order.shard}/`;
      const ports = portsOf(process, deps, { folder, shares: order.shares });
      const ended = doShard(order, { config, ports, deps });
      if (process.left === undefined) working.push(ended);
    },
    run(
      start: ((order: WorkOrder) => void | Promise<void>) | undefined,
      more: Partial<RunRequest> & { readonly process?: Process; readonly seconds?: number } = {},
    ): Promise<RunReport> {
      const { process = {}, seconds = SHORT, ...request } = more;
      const deps = depsFor(seconds);
      const workers = start && {
        count: 4,
        async start(order: WorkOrder) {
          orders.push(order);
          await start(order);
        },
      };
      return reconcileAll(
        config,
        { ...portsOf(process, deps), workers },
        { runId: 'run', force: false, ...request },
        deps,
      );
    },
    settled: () => Promise.all(working),
  };
}

export type Fleet = Awaited<ReturnType<typeof createFleet>>;
