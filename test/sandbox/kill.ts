/**
 * Runs of the built `renew` that are ended at a chosen point, and what must hold afterwards. `kill-preload.mjs` sits in
 * the process and knows the points; time is let pass by moving the clocks of the process and of the cloud API alike, so
 * that the next run comes hours later, as the timer's does, and finds a lease that has ended.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { RunReport } from '../../src/report.ts';
import { type InvocationResult, invoke } from './fc.ts';
import { injected } from './injections.ts';
import { type Oss, startOss } from './oss.ts';
import { CREDENTIALS, KMS_KEY, parseLine, startWorld, type World } from './world.ts';

/** One account's world for many cases; each case has names and a store of its own. */
export interface KillWorld extends World {
  /** Where the cases keep what they remember: each a folder of its own, or a prefix of one bucket, encrypted by KMS. */
  readonly storeType: 'file' | 'oss';
  readonly oss: Oss;
  /** Lets time pass for the cloud API and for the runs that begin from now on. It never goes back. */
  pass(milliseconds: number): void;
  /** Milliseconds that have passed so. */
  passed(): number;
}

export interface Case {
  readonly config: Record<string, unknown>;
  /** The folder that is the store; empty where the store is in a bucket. */
  readonly storePath: string;
  /** The same in the bucket: what its keys begin with. */
  readonly prefix: string;
  /** Certificate name to the domains it is for, as the edges are asked. */
  readonly certificates: Readonly<Record<string, readonly string[]>>;
  readonly credentials: typeof CREDENTIALS;
  /** Ends the names of all its domains. */
  readonly suffix: string;
}

export interface Interference {
  /** A point as `points` of an undisturbed run names it. */
  readonly at?: string;
  /** `full`: the disk is. */
  readonly act?: 'kill' | 'term' | 'stop' | 'full';
  /** Default: 1. */
  readonly seed?: number;
  /** Milliseconds that pass on its own clock while the process is stopped. */
  readonly stopped?: number;
  /** Seconds that FC gives the function, and tells it of. */
  readonly timeout?: number;
  /** Seconds until FC ends the instance, of which the function knows nothing. */
  readonly endsAfter?: number;
  /** Told of the process that has stopped itself; it waits for SIGCONT. */
  readonly onStopped?: (pid: number) => void;
}

export interface Interrupted extends InvocationResult {
  /** Every point that was reached, in order. */
  readonly points: readonly string[];
  /** Undefined when the run was ended before it had one. */
  readonly report: RunReport | undefined;
  /** Milliseconds from the start of the process to its end. */
  readonly lasted: number;
}

export const SIX_HOURS = 6 * 3_600_000;
export const BUCKET = 'certificates';
export const ZONES = ['example.com', 'acme.example.net', 'example.org'];
/** Served by another DNS provider: the challenge leads here by CNAME. */
const FOREIGN_ZONE = 'example.org';
const RENEW = pathToFileURL(fileURLToPath(new URL('../../dist/renew.mjs', import.meta.url))).href;
const PRELOAD = new URL('./kill-preload.mjs', import.meta.url).href;

export async function startKillWorld(storeType: 'file' | 'oss' = 'file'): Promise<KillWorld> {
  let ahead = 0;
  const now = () => new Date(Date.now() + ahead);
  const world = await startWorld({ zones: ZONES, now });
  const oss = await startOss({ accounts: world.accounts, buckets: { [BUCKET]: {} }, now });
  world.alidns.setDomain(FOREIGN_ZONE, { owner: 'other' });
  return {
    ...world,
    storeType,
    oss,
    async close() {
      await oss.close();
      await world.close();
    },
    pass: (milliseconds) => {
      ahead += milliseconds;
    },
    passed: () => ahead,
  };
}

let cases = 0;

/** Certificate name to identifiers. A name of `foreign` is in a zone that the account cannot write to. */
export type Identifiers = (at: { readonly suffix: string; readonly foreign: string }) => Record<string, string[]>;

/**
 * Five certificates for seven domains: one name, two names, a wildcard and its apex (two values at one TXT name), one whose
 * challenge is delegated, and another single one.
 */
const FIVE: Identifiers = ({ suffix, foreign }) => ({
  one: [`a-${suffix}`],
  two: [`b-${suffix}`, `c-${suffix}`],
  wild: [`w-${suffix}`, `*.w-${suffix}`],
  delegated: [`d-${foreign}`],
  last: [`e-${suffix}`],
});

/** One certificate for one domain: nothing of it goes on at once. */
export const SINGLE: Identifiers = ({ suffix }) => ({ one: [`a-${suffix}`] });

/** Each case is a user of its own, with calls a second of its own. */
export async function createCase(world: KillWorld, of: Identifiers = FIVE): Promise<Case> {
  cases += 1;
  const prefix = `case-${cases}`;
  const suffix = `${cases}.example.com`;
  const foreign = `${cases}.${FOREIGN_ZONE}`;
  const target = `${cases}.acme.example.net`;
  world.dns.addRecord(FOREIGN_ZONE, { name: `_acme-challenge.d-${foreign}`, type: 'CNAME', value: target });
  const identifiers = of({ suffix, foreign });
  for (const name of Object.values(identifiers).flat()) world.cdn.set(name.replace(/^\*/, ''));
  const credentials = { ...CREDENTIALS, accessKeyId: `STS.Case${cases}`, securityToken: `token-of-case-${cases}` };
  world.accounts.push({ ...credentials, userId: `case-${cases}` });
  const storePath = await mkdtemp(join(tmpdir(), 'autocert-case-'));
  const certificates = Object.entries(identifiers).map(([name, names]) => ({
    name,
    identifiers: names,
    keyType: 'ec256',
  }));
  const config = world.config({ certificates, store: pathToFileURL(storePath).href });
  const endpoints = { ...(config['endpoints'] as object), oss: world.oss.url };
  const inBucket = { endpoints, store: `oss://${BUCKET}/${prefix}`, encryption: { kmsKeyId: KMS_KEY } };
  return {
    config: world.storeType === 'oss' ? { ...config, ...inBucket } : config,
    storePath,
    prefix,
    certificates: Object.fromEntries(
      Object.entries(identifiers).map(([name, names]) => [name, names.map((one) => one.replace(/^\*/, 'any'))]),
    ),
    credentials,
    suffix,
  };
}

/** Removes its files and its domains, so that those of later cases are not listed among more and more. */
export async function removeCase(world: KillWorld, { certificates, storePath, prefix }: Case): Promise<void> {
  for (const domain of Object.values(certificates).flat()) world.cdn.state.domains.delete(domain.replace(/^any/, ''));
  await rm(storePath, { recursive: true, force: true });
  for (const key of keysOf(world, { prefix })) world.oss.bucket(BUCKET).delete(key);
}

/** The keys of a case's objects in the bucket. */
export function keysOf({ oss }: KillWorld, { prefix }: Pick<Case, 'prefix'>): string[] {
  return oss
    .bucket(BUCKET)
    .keys()
    .filter((key) => key.startsWith(`${prefix}/`));
}

/** The built `renew` as FC invokes it, with the preload in its process. */
export async function runInterfered(
  world: KillWorld,
  { config, storePath, prefix, credentials }: Case,
  { at, act, seed = 1, stopped, timeout, endsAfter, onStopped }: Interference = {},
): Promise<Interrupted> {
  const folder = await mkdtemp(join(tmpdir(), 'autocert-points-'));
  const trace = join(folder, 'trace');
  const startedAt = performance.now();
  try {
    const result = await invoke({
      file: RENEW,
      event: JSON.stringify({ triggerTime: '2026-01-02T03:04:05Z', triggerName: 'every-6h', payload: '' }),
      environment: {
        AUTOCERT_CONFIG: JSON.stringify(config),
        NODE_OPTIONS: `--import=${PRELOAD}`,
        SANDBOX_KILL: JSON.stringify({
          store: storePath,
          bucket: BUCKET,
          prefix,
          trace,
          at,
          act,
          seed,
          clock: world.passed(),
          stopped,
        }),
      },
      credentials,
      ...(timeout !== undefined && { timeout }),
      ...(endsAfter !== undefined && { endsAfter }),
      onLine: (line) => {
        const [parsed] = parseLine(line);
        if (parsed?.['sandbox'] === 'stopped') onStopped?.(Number(parsed['pid']));
      },
    });
    const lasted = performance.now() - startedAt;
    if (wasKilled(result) || act === 'stop' || act === 'full') injected();
    const points = (await readFile(trace, 'utf8').catch(() => '')).split('\n').filter((line) => line !== '');
    const finished = result.lines.flatMap(parseLine).find((line) => line['event'] === 'run_finished');
    return { ...result, lasted, points, report: finished?.['report'] as RunReport | undefined };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Whether the instance ended without an answer of the function. */
export function wasKilled({ error }: InvocationResult): boolean {
  return error?.errorType === 'FunctionResourceExhausted';
}

/** Certificate names of a run's report with `status error-code`, sorted by name; the run's own error as `run`. */
export function endOf({ report, error }: Interrupted): Record<string, string> {
  if (!report) return { run: error?.errorMessage ?? 'no report' };
  if (report.error) return { run: report.error.code };
  const ends = report.outcomes.map(({ name, status, error: failure }) => [
    name,
    failure ? `${status} ${failure.code}` : status,
  ]);
  return Object.fromEntries(ends);
}

/** Runs `work` on every item, `size` at a time. */
export async function inPool<T, R>(items: readonly T[], size: number, work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let at = 0;
  const worker = async () => {
    for (let index = at++; index < items.length; index = at++) {
      const item = items[index];
      if (item !== undefined) results[index] = await work(item);
    }
  };
  await Promise.all(Array.from({ length: size }, worker));
  return results;
}
