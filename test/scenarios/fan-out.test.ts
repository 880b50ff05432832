import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { RunReport } from '../../src/report.ts';
import { bundled } from '../bundle.ts';
import { type FcApi, startFcApi } from '../sandbox/fc-api.ts';
import { type FunctionConfig, type Host, startFcHost } from '../sandbox/fc-host.ts';
import { ordersAt, treeOf } from '../sandbox/footprint.ts';
import { injected } from '../sandbox/injections.ts';
import { CREDENTIALS, parseLine, startWorld, type World } from '../sandbox/world.ts';

const ZONES = Array.from({ length: 8 }, (_, number) => `zone-${number}.com`);
const CERTIFICATES = 48;
/** Seconds: six rounds of eight orders of twenty seconds each do not fit. */
const TIMEOUT = 130;

let world: World;
let folder: string;
beforeAll(async () => {
  world = await startWorld({ zones: ZONES, pebble: { env: { PEBBLE_WFE_NONCEREJECT: '0' } } });
  folder = await mkdtemp(join(tmpdir(), 'autocert-fan-out-'));
});
afterAll(async () => {
  await world.close();
  await rm(folder, { recursive: true, force: true });
});

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

interface Deployed {
  readonly host: Host;
  readonly domains: readonly string[];
  readonly storePath: string;
  renew(): Promise<RunReport>;
  /** Log lines of all functions so far, as objects. */
  readonly lines: readonly Record<string, unknown>[];
}

/** The built zip on the FC host, with the functions under these names, and a fleet that nobody has certificates for. */
async function deploy(
  suffix: string,
  { renew, work, told = work }: { readonly renew: string; readonly work: string; readonly told?: string },
  onLine: (line: Record<string, unknown>, functionName: string, host: Host) => void = () => undefined,
): Promise<Deployed> {
  const domains = Array.from({ length: CERTIFICATES }, (_, n) => `n${n}-${suffix}.${ZONES[n % ZONES.length]}`);
  for (const domain of domains) world.cdn.set(domain);
  const storePath = join(world.storePath, suffix);
  const functions: Record<string, FunctionConfig> = {};
  const lines: Record<string, unknown>[] = [];
  const host = await startFcHost({
    zip: bundled('autocert.zip'),
    functions,
    credentials: () => CREDENTIALS,
    onLine(text, functionName) {
      for (const line of parseLine(text)) {
        lines.push(line);
        onLine(line, functionName, host);
      }
    },
  });
  const api: FcApi = await startFcApi({ accounts: world.accounts, host });
  open.push(host, api);
  const caPath = join(folder, `${suffix}.pem`);
  await writeFile(caPath, api.caBundle);
  const plain = world.config({});
  const config = world.config({
    acme: { ...(plain['acme'] as object), concurrency: 8 },
    certificates: domains.map((domain) => ({ name: domain, identifiers: [domain], keyType: 'ec256' })),
    cdn: { callsPerSecond: 9 },
    store: pathToFileURL(storePath).href,
    endpoints: { cdn: world.rpc.url, alidns: world.rpc.url, fc: api.url },
  });
  const environmentVariables = {
    AUTOCERT_CONFIG: JSON.stringify(config),
    AUTOCERT_WORK_FUNCTION: told,
    AUTOCERT_WORKERS: '4',
    NODE_EXTRA_CA_CERTS: caPath,
  };
  const shared = { memorySize: 256, timeout: TIMEOUT, environmentVariables };
  functions[renew] = { ...shared, handler: 'renew.handler', concurrencyConfig: { reservedConcurrency: 1 } };
  functions[work] = {
    ...shared,
    handler: 'work.handler',
    concurrencyConfig: { reservedConcurrency: 4 },
    asyncInvokeConfig: { maxAsyncRetryAttempts: 0 },
  };
  return {
    host,
    domains,
    storePath,
    lines,
    async renew() {
      const { result, error } = await host.invoke(renew, '{}');
      expect(error).toBeUndefined();
      await host.settled();
      return result as RunReport;
    },
  };
}

const counts = () => ({
  issued: world.pebble.log.filter((line) => line.startsWith('Issued certificate serial')).length,
  accounts: world.pebble.log.filter((line) => /There are now \d+ accounts/.test(line)).length,
  orders: ordersAt(world),
});

const pushesOf = (domains: readonly string[]) =>
  world.rpc.callsOf('SetDomainServerCertificate').flatMap(({ parameters, code }) => {
    const domain = parameters['DomainName'] ?? '';
    return domains.includes(domain) && code === 'OK' ? [domain] : [];
  });

const statusesOf = ({ outcomes }: RunReport) => [...new Set(outcomes.map(({ status }) => status))];

describe.each([
  ['FC 3.0', { renew: 'autocert-renew', work: 'autocert-work' }],
  ['a service of FC 2.0', { renew: 'autocert/renew', work: 'autocert/work' }],
])('what one function of %s has no time for', (title, names) => {
  const suffix = title.replaceAll(/\W+/g, '').toLowerCase();

  test('is done by four others: an order, a push and an outcome for each certificate, one account, one report', async () => {
    const { host, domains, storePath, renew, lines } = await deploy(`all-${suffix}`, names);
    const before = counts();
    const report = await renew();
    expect(statusesOf(report)).toEqual(['renewed']);
    expect(report.outcomes).toHaveLength(CERTIFICATES);
    const after = counts();
    expect({ orders: after.orders - before.orders, issued: after.issued - before.issued }).toEqual({
      orders: CERTIFICATES,
      issued: CERTIFICATES,
    });
    expect(after.accounts - before.accounts).toBe(1);
    expect(pushesOf(domains).sort()).toEqual([...domains].sort());
    const workers = host.invocations.filter(({ functionName }) => functionName === names.work);
    expect(workers.map(({ error, result }) => [error, result])).toEqual(
      workers.map(() => [undefined, { runId: report.runId, shard: expect.any(Number), attempt: 1, settled: 12 }]),
    );
    expect(workers).toHaveLength(4);
    expect(new Set(lines.map(({ runId }) => runId))).toEqual(new Set([report.runId]));
    expect(lines.filter(({ event }) => event === 'run_finished')).toHaveLength(1);
    const files = Object.keys(await treeOf(storePath));
    expect(files.filter((file) => file.startsWith('work/') || file.startsWith('lease/'))).toEqual([
      'lease/000000000001.json',
    ]);
    expect(world.rpc.violations).toEqual([]);
  }, 150_000);

  test('is done once, too, when one of them is killed on its way', async () => {
    let killed = false;
    const { host, domains, renew, lines } = await deploy(`killed-${suffix}`, names, (line, functionName, on) => {
      if (killed || functionName !== names.work || line['event'] !== 'issued') return;
      killed = on.kill(names.work);
      injected();
    });
    const before = counts();
    const report = await renew();
    expect(host.invocations.filter(({ isKilled }) => isKilled).map(({ functionName }) => functionName)).toEqual([
      names.work,
    ]);
    expect(lines.filter(({ event }) => event === 'worker_lost')).toHaveLength(1);
    expect(statusesOf(report)).toEqual(['renewed']);
    expect(counts().issued - before.issued).toBe(CERTIFICATES);
    expect(pushesOf(domains).sort()).toEqual([...domains].sort());
  }, 180_000);
});

test('a worker function that is not deployed costs nothing but a warning, which says what to do', async () => {
  const names = { renew: 'autocert-renew', work: 'autocert-work', told: 'elsewhere' };
  const { host, domains, renew, lines } = await deploy('nowhere', names);
  injected();
  const report = await renew();
  expect(statusesOf(report)).toEqual(['renewed']);
  expect(host.invocations).toHaveLength(1);
  expect(pushesOf(domains).sort()).toEqual([...domains].sort());
  const warnings = lines.filter(({ event }) => event === 'worker_not_started');
  expect(warnings.map(({ level, error }) => [level, error])).toEqual(
    Array(4).fill([
      'warn',
      expect.objectContaining({
        code: 'REQUEST_REFUSED',
        message: 'InvokeFunction: elsewhere: FunctionNotFound',
        remedy: expect.stringContaining('deploy it'),
      }),
    ]),
  );
}, 150_000);
