/**
 * Runs of the built `renew` that are ended at a chosen point, and what must hold afterwards. `kill-preload.mjs` sits in
 * the process and knows the points; time is let pass by moving the clocks of the process and of the cloud API alike, so
 * that the next run comes hours later, as the timer's does, and finds a lease that has ended.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { type CertificateRecord, readBundle, readIndex, readRecord } from '../../src/record.ts';
import type { RunReport } from '../../src/report.ts';
import { createFileStore } from '../../src/store/file.ts';
import { type InvocationResult, invoke } from './fc.ts';
import { treeOf } from './footprint.ts';
import { CREDENTIALS, parseLine, startWorld, type World } from './world.ts';

/** One account's world for many cases; each case has names and a store of its own. */
export interface KillWorld extends World {
  /** Lets time pass for the cloud API and for the runs that begin from now on. It never goes back. */
  pass(milliseconds: number): void;
  /** Milliseconds that have passed so. */
  passed(): number;
}

export interface Case {
  readonly config: Record<string, unknown>;
  readonly storePath: string;
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
  /** Seconds until FC ends the instance. */
  readonly timeout?: number;
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
const ZONES = ['example.com', 'acme.example.net', 'example.org'];
/** Served by another DNS provider: the challenge leads here by CNAME. */
const FOREIGN_ZONE = 'example.org';
const RENEW = pathToFileURL(fileURLToPath(new URL('../../dist/renew.mjs', import.meta.url))).href;
const PRELOAD = new URL('./kill-preload.mjs', import.meta.url).href;

export async function startKillWorld(): Promise<KillWorld> {
  let ahead = 0;
  const world = await startWorld({ zones: ZONES, now: () => new Date(Date.now() + ahead) });
  world.alidns.setDomain(FOREIGN_ZONE, { owner: 'other' });
  return {
    ...world,
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
  return {
    config: world.config({ certificates, store: pathToFileURL(storePath).href }),
    storePath,
    certificates: Object.fromEntries(
      Object.entries(identifiers).map(([name, names]) => [name, names.map((one) => one.replace(/^\*/, 'any'))]),
    ),
    credentials,
    suffix,
  };
}

/** Removes its files and its domains, so that those of later cases are not listed among more and more. */
export async function removeCase(world: KillWorld, { certificates, storePath }: Case): Promise<void> {
  for (const domain of Object.values(certificates).flat()) world.cdn.state.domains.delete(domain.replace(/^any/, ''));
  await rm(storePath, { recursive: true, force: true });
}

/** The built `renew` as FC invokes it, with the preload in its process. */
export async function runInterfered(
  world: KillWorld,
  { config, storePath, credentials }: Case,
  { at, act, seed = 1, stopped, timeout, onStopped }: Interference = {},
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
        SANDBOX_KILL: JSON.stringify({ store: storePath, trace, at, act, seed, clock: world.passed(), stopped }),
      },
      credentials,
      ...(timeout !== undefined && { timeout }),
      onLine: (line) => {
        const [parsed] = parseLine(line);
        if (parsed?.['sandbox'] === 'stopped') onStopped?.(Number(parsed['pid']));
      },
    });
    const lasted = performance.now() - startedAt;
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

export interface Standing {
  /** What does not hold, each in words. */
  readonly broken: readonly string[];
  /** Certificates that the CA issued for the case's names. */
  readonly issued: number;
  /** Certificates that the CA issued and whose key is nowhere in the store any more. */
  readonly lost: number;
  readonly txt: number;
}

/** What must hold once a case was run to its end. */
export async function standingOf(world: KillWorld, one: Case, ledger: IssuedLedger): Promise<Standing> {
  const store = createFileStore({ path: one.storePath });
  const broken: string[] = [];
  let issued = 0;
  let lost = 0;
  const index = await readIndex(store).catch((error: Error) => void broken.push(`index: ${error.message}`));
  if (index && index.working.length > 0) broken.push(`the index still says that ${index.working} are worked on`);
  for (const [name, domains] of Object.entries(one.certificates)) {
    const atCa = ledger.get(domains);
    issued += atCa.length;
    if (atCa.length !== 1) broken.push(`${name}: ${atCa.length} certificates issued`);
    let record: CertificateRecord;
    try {
      record = await readRecord(store, name);
      const { fingerprint = '' } = record.certificate ?? {};
      const { chain, privateKey } = await readBundle(store, name, fingerprint);
      const leaf = new X509Certificate(chain);
      lost += atCa.filter((theirs) => theirs !== leaf.serialNumber).length;
      if (!leaf.checkPrivateKey(createPrivateKey(privateKey.reveal()))) broken.push(`${name}: the key does not fit`);
      if (JSON.stringify(index?.records.get(name)) !== JSON.stringify(record))
        broken.push(`${name}: the index differs`);
      for (const edge of world.edges) {
        for (const domain of domains) {
          if (edge.fingerprintOf(domain) !== fingerprint) broken.push(`${name}: ${domain} is behind at ${edge.name}`);
        }
      }
    } catch (error) {
      lost += atCa.length;
      broken.push(`${name}: ${String(error)}`);
    }
  }
  const accounts = (await store.list('accounts/')).length;
  if (accounts !== 1) broken.push(`${accounts} accounts stored`);
  const txt = txtOf(world, one);
  if (txt.length > 0) broken.push(`left in the DNS: ${txt}`);
  return { broken, issued, lost, txt: txt.length };
}

/** The TXT records of the case. */
export function txtOf(world: KillWorld, { suffix }: Case): string[] {
  const label = suffix.split('.')[0];
  return ZONES.flatMap((zone) => world.dns.records(zone))
    .filter(({ name, type }) => type === 'TXT' && (name.endsWith(`-${suffix}`) || name === `${label}.acme.example.net`))
    .map(({ name }) => name);
}

/** One more run, after which nothing in the store may be another. */
export async function writesNothing(world: KillWorld, one: Case): Promise<string[]> {
  const before = await treeOf(one.storePath);
  const run = await runInterfered(world, one);
  const broken = Object.entries(endOf(run))
    .filter(([, end]) => end !== 'kept')
    .map(([name, end]) => `${name} ${end} at last`);
  if (JSON.stringify(await treeOf(one.storePath)) !== JSON.stringify(before)) broken.push('the last run wrote');
  const requests = run.points.filter((point) => point.startsWith('ca '));
  if (requests.length > 0) broken.push(`the last run asked the CA: ${requests}`);
  return broken;
}

/** What the CA has issued, by the names in it. */
export interface IssuedLedger {
  /** Reads every certificate that the CA, in its own log, says to have issued since it was read last. */
  read(): Promise<void>;
  /** Serial numbers, upper-case hexadecimal, of the certificates that hold the first of the names. */
  get(names: readonly string[]): readonly string[];
}

export function createLedger({ pebble }: KillWorld): IssuedLedger {
  const byName = new Map<string, string[]>();
  let line = 0;
  return {
    async read() {
      for (; line < pebble.log.length; line += 1) {
        const serial = /^Issued certificate serial (\w+)/.exec(pebble.log[line] ?? '')?.[1];
        if (serial === undefined) continue;
        const { certificatePem } = await pebble.certificateStatus(serial);
        const { subjectAltName = '', serialNumber } = new X509Certificate(certificatePem);
        for (const name of subjectAltName.split(', ')) {
          const key = name.replace(/^DNS:/, '').replace(/^\*/, 'any');
          byName.set(key, [...(byName.get(key) ?? []), serialNumber]);
        }
      }
    },
    get: ([first = '']) => byName.get(first) ?? [],
  };
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
