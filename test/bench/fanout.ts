import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { createCdn } from '../sandbox/cdn.ts';
import { startFcApi } from '../sandbox/fc-api.ts';
import { type FunctionConfig, startFcHost } from '../sandbox/fc-host.ts';
import { startOss } from '../sandbox/oss.ts';
import type { Product } from '../sandbox/product.ts';
import { startRelay } from '../sandbox/relay.ts';
import { startRpcServer } from '../sandbox/rpc-server.ts';
import { CREDENTIALS, startWorld } from '../sandbox/world.ts';
import { type Figure, OURS, type Scale } from './figures.ts';

const ZIP = fileURLToPath(new URL('../../dist/autocert.zip', import.meta.url));
const WORKERS = 4;
/** Milliseconds that the CA's answers take longer. */
const LATENCY = 100;
/** The issue's bound: four workers' time as a part of one's. */
const BOUND = 0.35;
/** Seconds for which an order is reckoned, eight at once: what a run of that many has no time for is handed out. */
const RECKONED = 20 / 8;

/**
 * Certificates by http-01 on one worker, which is held to eight at once, and on four: in the time of one function with the
 * same timeout. The CA answers late and believes everything, the APIs limit nothing.
 */
export async function fanout({ runs, isSmall }: Scale): Promise<Figure[]> {
  const certificates = isSmall ? 32 : 2_000;
  const [alone, together]: number[][] = [[], []];
  for (let run = 0; run < (isSmall ? 1 : runs); run += 1) {
    alone?.push(await inOneWorld(certificates, 1));
    together?.push(await inOneWorld(certificates, WORKERS));
  }
  const ratios = (together ?? []).map((seconds, run) => seconds / (alone?.[run] ?? Number.NaN));
  const section = 'fanout';
  return [
    {
      section,
      what: `${certificates} certificates, ${LATENCY} ms at the CA`,
      unit: 's',
      rows: [
        { who: `${OURS}, one worker`, values: alone ?? [] },
        { who: `${OURS}, ${WORKERS} workers`, values: together ?? [] },
      ],
    },
    {
      section,
      what: `Time of ${WORKERS} workers by that of one`,
      unit: 'ratio',
      rows: [
        { who: OURS, values: ratios },
        { who: 'bound', values: [BOUND], isBound: true },
        { who: 'one by the number of workers', values: [1 / WORKERS], isBound: true },
      ],
    },
  ];
}

/** Seconds of the run of `renew`, that of its workers included. */
async function inOneWorld(certificates: number, workers: number): Promise<number> {
  const world = await startWorld({
    zones: ['example.com'],
    pebble: { env: { PEBBLE_VA_ALWAYS_VALID: '1', PEBBLE_WFE_NONCEREJECT: '0', PEBBLE_AUTHZREUSE: '0' } },
  });
  const cdn = createCdn();
  const rpc = await startRpcServer({ products: [unlimited(cdn)], accounts: world.accounts });
  const oss = await startOss({ accounts: world.accounts, buckets: { origin: {} } });
  const ca = await startRelay(world.pebble.directoryUrl, { delay: LATENCY });
  const functions: Record<string, FunctionConfig> = {};
  const host = await startFcHost({ zip: ZIP, functions, credentials: () => CREDENTIALS });
  const api = await startFcApi({ accounts: world.accounts, host });
  const folder = await mkdtemp(join(tmpdir(), 'autocert-bench-'));
  const [caPath, configPath] = [join(folder, 'ca.pem'), join(folder, 'config.json')];
  try {
    const domains = Array.from({ length: certificates }, (_, nth) => `www.domain-${nth}.com`);
    for (const domain of domains) cdn.set(domain);
    const plain = world.config({});
    const config = {
      ...plain,
      acme: { ...(plain['acme'] as object), directoryUrl: `https://127.0.0.1:${ca.port}/dir`, concurrency: 8 },
      challenge: { type: 'http-01', solver: 'oss', bucket: 'origin' },
      certificates: domains.map((domain) => ({ name: domain, identifiers: [domain], keyType: 'ec256' })),
      cdn: { callsPerSecond: 100 },
      // Edges that nobody reaches say nothing: what is measured is the way to the CA and to the CDN.
      verify: { patience: '0s', connect: '127.0.0.1:1' },
      store: pathToFileURL(world.storePath).href,
      region: 'cn-hangzhou',
      endpoints: { cdn: rpc.url, alidns: rpc.url, oss: oss.url, fc: api.url },
    };
    await Promise.all([writeFile(caPath, api.caBundle), writeFile(configPath, JSON.stringify(config))]);
    const environmentVariables = {
      AUTOCERT_CONFIG: configPath,
      AUTOCERT_WORK_FUNCTION: 'work',
      AUTOCERT_WORKERS: String(workers),
      NODE_EXTRA_CA_CERTS: caPath,
    };
    const shared = { memorySize: 512, timeout: Math.floor(certificates * RECKONED), environmentVariables };
    functions['renew'] = { ...shared, handler: 'renew.handler' };
    functions['work'] = { ...shared, handler: 'work.handler', asyncInvokeConfig: { maxAsyncRetryAttempts: 0 } };
    const startedAt = performance.now();
    const { lines } = await host.invoke('renew', '{}');
    const seconds = (performance.now() - startedAt) / 1000;
    const pushed = rpc.callsOf('SetDomainServerCertificate').length;
    const lost = lines.filter((line) => line.includes('"worker_'));
    if (pushed !== certificates || lost.length > 0) {
      throw new Error(
        `${pushed} of ${certificates} were pushed: ${[...lost, lines.at(-1)?.slice(0, 2_000)].join(', ')}`,
      );
    }
    return seconds;
  } finally {
    await Promise.all([api.close(), host.close(), ca.close(), oss.close(), rpc.close()]);
    await world.close();
    await rm(folder, { recursive: true, force: true });
  }
}

function unlimited(product: Product): Product {
  const actions = Object.entries(product.actions).map(([name, action]) => [
    name,
    { ...action, callsPerSecond: Number.POSITIVE_INFINITY },
  ]);
  return { ...product, actions: Object.fromEntries(actions) };
}
