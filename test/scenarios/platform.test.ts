import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type CertificateRecord, writeIndex, writeRecord } from '../../src/record.ts';
import type { RunReport } from '../../src/report.ts';
import { createFileStore } from '../../src/store/file.ts';
import { bundled } from '../bundle.ts';
import { makeCertificate } from '../sandbox/certificates.ts';
import { type FunctionConfig, type Host, type HostOptions, type Invoked, startFcHost } from '../sandbox/fc-host.ts';
import { ordersAt, statusesOf } from '../sandbox/footprint.ts';
import { startOss } from '../sandbox/oss.ts';
import { freePorts } from '../sandbox/ports.ts';
import { ApiError } from '../sandbox/product.ts';
import { startRelay } from '../sandbox/relay.ts';
import { CREDENTIALS, parseLine, type Renewal, startWorld, type World } from '../sandbox/world.ts';

const DAY = 86_400_000;

let world: World;
beforeAll(async () => {
  world = await startWorld({ zones: ['example.com'] });
});
afterEach(() => {
  world.dns.release('ns2');
});
afterAll(() => world.close());

function certificate(domain: string) {
  world.cdn.set(domain);
  return { name: domain, identifiers: [domain], keyType: 'ec256' };
}

function configIn(store: string, more: Record<string, unknown>) {
  return world.config({ store: `${pathToFileURL(world.storePath).href}/${store}`, ...more });
}

/** Issued, stored and deployed: what a run finds that was well until now. */
function remembered(domain: string, notBefore: Date, notAfter: Date): CertificateRecord {
  const made = makeCertificate({ names: [domain], notBefore, notAfter });
  const certName = `autocert-cdn-${domain.replaceAll('.', '_')}`;
  world.cdn.set(domain);
  world.cdn.purchase(domain, { ...made, certType: 'upload', certName });
  const { fingerprint, serialNumber: serial } = made;
  const issued = { fingerprint, serial, identifiers: [domain], keyType: 'ec256', profile: 'default' };
  const lasting = { notBefore: wholeSecond(notBefore), notAfter: wholeSecond(notAfter) };
  const stored = { ...issued, ...lasting, directoryUrl: world.pebble.directoryUrl };
  return { version: 1, name: domain, certificate: stored, deployed: { [domain]: certName } };
}

test('F56 a function that is too short for all of them goes on in its next run: what ends first goes first, none is ordered twice', async () => {
  const now = Date.now();
  const domains = Array.from({ length: 12 }, (_, index) => `short${index}.example.com`);
  const store = createFileStore({ path: `${world.storePath}/short` });
  for (const [index, domain] of domains.entries()) {
    // Of ninety days the last few: due at once, the first in the list the last to end.
    const notAfter = new Date(now + (8 - index / 2) * DAY);
    await writeRecord(store, remembered(domain, new Date(notAfter.getTime() - 90 * DAY), notAfter));
  }
  const certificates = domains.map((domain) => ({ name: domain, identifiers: [domain], keyType: 'ec256' }));
  const all = configIn('short', { certificates });
  const config = { ...all, acme: { ...(all['acme'] as object), concurrency: 8 } };
  // An order is begun with twenty seconds left at least: here in the first nineteen, and each takes as long.
  world.dns.lag('ns2', 18_500);
  const orders = ordersAt(world);
  const namesOf = ({ report }: Renewal, wanted: string) =>
    report.outcomes.flatMap(({ name, status }) => (status === wanted ? [name] : [])).sort();

  const first = await world.renew(config, { timeout: 44 });
  expect(first.error).toBeUndefined();
  expect(namesOf(first, 'renewed')).toEqual(domains.slice(4).sort());
  expect(namesOf(first, 'deferred')).toEqual(domains.slice(0, 4).sort());
  for (const { error, status } of first.report.outcomes)
    if (status === 'deferred') expect(error?.code).toBe('DEADLINE_REACHED');

  const second = await world.renew(config, { timeout: 44 });
  expect(namesOf(second, 'renewed')).toEqual(domains.slice(0, 4).sort());
  expect(namesOf(second, 'kept')).toEqual(domains.slice(4).sort());
  expect(ordersAt(world) - orders).toBe(domains.length);
}, 180_000);

describe('F59 at a cold start', () => {
  test('a resolver, the DNS API or the edges cannot be reached, or never answer: each is said, and the next run is well', async () => {
    const [closed] = await freePorts(1);
    const silent = createSocket('udp4').bind(0, '127.0.0.1');
    await once(silent, 'listening');
    const nowhere = `http://127.0.0.1:${closed}`;
    const starts = {
      alidns: [{ endpoints: { cdn: world.rpc.url, alidns: nowhere } }, 'issue SERVICE_UNREACHABLE'],
      resolver: [{ dns: { resolvers: [`127.0.0.1:${closed}`] } }, 'issue DNS_LOOKUP_FAILED'],
      silence: [{ dns: { resolvers: [`127.0.0.1:${silent.address().port}`] } }, 'issue DNS_LOOKUP_FAILED'],
      edges: [{ verify: { patience: '1s', connect: [`127.0.0.1:${closed}`] } }, 'verify NOT_SERVED'],
    } as const;
    const found = Object.entries(starts).map(async ([name, [broken]]) => {
      const domain = `${name}.cold.example.com`;
      const shared = { certificates: [certificate(domain)] };
      const renewal = await world.renew(configIn(name, { ...shared, ...broken }));
      const [{ error } = {}] = renewal.report.outcomes;
      expect(error?.remedy, name).toMatch(/\S/);
      expect(renewal.error?.errorType, name).toBe('RunFailed');
      const next = await world.renew(configIn(name, shared), { payload: { force: true } });
      expect(statusesOf(next), name).toEqual({ [domain]: 'renewed' });
      return [name, `${error?.step} ${error?.code}`];
    });
    expect(Object.fromEntries(await Promise.all(found))).toEqual(
      Object.fromEntries(Object.entries(starts).map(([name, [, error]]) => [name, error])),
    );
    silent.close();
  }, 120_000);
});

describe('on the FC host', () => {
  const open: { close(): Promise<void> }[] = [];
  afterEach(async () => {
    for (const one of open.splice(0).reverse()) await one.close();
  });

  /** `renew` from the built zip, in the words of its API, with what a deployment gives it. */
  function renewFunction(config: unknown, more: Partial<FunctionConfig> = {}): FunctionConfig {
    const environmentVariables = { AUTOCERT_CONFIG: typeof config === 'string' ? config : JSON.stringify(config) };
    return { handler: 'renew.handler', memorySize: 256, timeout: 600, environmentVariables, ...more };
  }

  async function hostOf(renew: FunctionConfig, more: Partial<HostOptions> = {}): Promise<Host> {
    const options = { zip: bundled('autocert.zip'), functions: { renew }, credentials: () => CREDENTIALS, ...more };
    const host = await startFcHost(options);
    open.push(host);
    return host;
  }

  const TIMER = JSON.stringify({ triggerTime: '2026-01-02T03:04:05Z', triggerName: 'every-6h', payload: '' });

  /** Name to status and error code. */
  function endOf({ lines }: Invoked): Record<string, string> {
    const finished = lines.flatMap(parseLine).find(({ event }) => event === 'run_finished');
    expect(finished, lines.join('\n')).toBeDefined();
    const report = finished?.['report'] as RunReport;
    return Object.fromEntries(
      report.outcomes.map(({ name, status, error }) => [name, error ? `${status} ${error.code}` : status]),
    );
  }

  test('F57 an invocation that fails, and that FC repeats three times, orders and deploys what is well once', async () => {
    const [good, lost] = ['good.repeated.example.com', 'lost.repeated.example.com'];
    const certificates = [certificate(good), certificate(lost)];
    const refused = new ApiError(400, 'InvalidSSLPri', 'The private key is malformed.');
    const resume = world.rpc.intercept(({ action, parameters }) =>
      action.startsWith('Set') && parameters['DomainName'] === lost ? refused : undefined,
    );
    const concurrencyConfig = { reservedConcurrency: 1 };
    const host = await hostOf(renewFunction(configIn('repeated', { certificates }), { concurrencyConfig }));
    const orders = ordersAt(world);
    const pushesOf = (domain: string) =>
      world.rpc.callsOf('SetDomainServerCertificate').filter(({ parameters }) => parameters['DomainName'] === domain);
    const requestId = host.invokeAsync('renew', TIMER);
    await host.settled();
    resume();
    const { invocations } = host;
    expect(invocations.map((one) => [one.requestId, one.error?.errorType])).toEqual(
      Array(4).fill([requestId, 'RunFailed']),
    );
    const failed = { [lost]: 'failed PRIVATE_KEY_REFUSED' };
    expect(invocations.map(endOf)).toEqual([
      { [good]: 'renewed', ...failed },
      ...Array(3).fill({ [good]: 'kept', ...failed }),
    ]);
    expect(ordersAt(world) - orders).toBe(2);
    expect(pushesOf(good)).toHaveLength(1);
  });

  test('F58 a timer event that is delivered twice is nothing to do the second time', async () => {
    const domain = 'twice.example.com';
    const config = configIn('twice', { certificates: [certificate(domain)] });
    const host = await hostOf(renewFunction(config, { concurrencyConfig: { reservedConcurrency: 1 } }));
    for (const event of [TIMER, TIMER]) host.invokeAsync('renew', event);
    await host.settled();
    expect(host.invocations.map(endOf)).toEqual([{ [domain]: 'renewed' }, { [domain]: 'kept' }]);
    expect(host.invocations.map(({ isColdStart }) => isColdStart)).toEqual([true, false]);
  });

  describe('F59 every connection is closed by its server', () => {
    const domain = 'frozen.example.com';
    const FORCED = JSON.stringify({ only: [domain], force: true });

    /** A world whose CA, cloud API and OSS are reached by way of relays, that can cut what is open. */
    async function relayed(folder: string) {
      const oss = await startOss({ accounts: world.accounts, buckets: { certificates: {} } });
      const relays = {
        ca: await startRelay(world.pebble.directoryUrl),
        api: await startRelay(world.rpc.url),
        oss: await startRelay(oss.url),
      };
      open.push(oss, ...Object.values(relays));
      const [ca, api, bucket] = [relays.ca, relays.api, relays.oss].map(({ port }) => `//127.0.0.1:${port}`);
      const plain = world.config({ certificates: [certificate(domain)], store: `oss://certificates/${folder}` });
      const config = {
        ...plain,
        acme: { ...(plain['acme'] as object), directoryUrl: `https:${ca}/dir` },
        endpoints: { cdn: `http:${api}`, alidns: `http:${api}`, oss: `http:${bucket}` },
      };
      const pushes = () => world.rpc.callsOf('SetDomainServerCertificate').length;
      const openNow = () => Object.values(relays).filter(({ open: count }) => count > 0).length;
      const cut = () => {
        for (const relay of Object.values(relays)) relay.cut();
      };
      return { config, relays, pushes, openNow, cut };
    }

    test('while the instance is frozen between two invocations: the next run is good, with one order and one push', async () => {
      const { config, relays, pushes, openNow, cut } = await relayed('between');
      const host = await hostOf(renewFunction(config));
      const invoke = async () => {
        const [before, orders] = [pushes(), ordersAt(world)];
        const invoked = await host.invoke('renew', FORCED);
        expect(endOf(invoked)).toEqual({ [domain]: 'renewed' });
        expect(ordersAt(world) - orders).toBe(1);
        expect(pushes() - before).toBe(1);
        return invoked;
      };
      const calm = await invoke();
      await expect.poll(() => stateOf(calm.instance)).toBe('T');
      cut();
      await expect.poll(openNow).toBe(0);
      const made = Object.values(relays).map((relay) => relay.made);
      const thawed = await invoke();
      expect(thawed.isColdStart).toBe(false);
      for (const [index, relay] of Object.values(relays).entries())
        expect(relay.made).toBeGreaterThan(made[index] ?? 0);
    });

    test('while an instance stands still in the middle of an order: the order goes on, and there is no second one', async () => {
      const { config, openNow, cut } = await relayed('within');
      let wake: (() => void) | undefined;
      const host: Host = await hostOf(renewFunction(config), {
        onLine: (line) => {
          if (parseLine(line)[0]?.['event'] === 'validating') wake ??= host.stall('renew');
        },
      });
      const orders = ordersAt(world);
      const running = host.invoke('renew', FORCED);
      await expect.poll(() => wake, { timeout: 30_000, interval: 5 }).toBeDefined();
      cut();
      await expect.poll(openNow).toBe(0);
      wake?.();
      expect(endOf(await running)).toEqual({ [domain]: 'renewed' });
      expect(ordersAt(world) - orders).toBe(1);
    });
  });

  test('F60 a thousand certificates with nothing to do fit into 256 MB and one read of the store', async () => {
    const domains = Array.from({ length: 1000 }, (_, index) => `full${index}.example.com`);
    const now = Date.now();
    const [notBefore, notAfter] = [new Date(now - DAY), new Date(now + 80 * DAY)];
    const records = domains.map((domain) => [domain, remembered(domain, notBefore, notAfter)] as const);
    const store = createFileStore({ path: `${world.storePath}/many` });
    await writeIndex(store, { working: new Set(), records: new Map(records) });

    const certificates = domains.map((domain) => ({ name: domain, identifiers: [domain], keyType: 'ec256' }));
    const connect = [world.edges[0].address];
    const config = configIn('many', { certificates, verify: { patience: '1s', connect } });
    // More than fits into the environment.
    const path = join(world.storePath, 'many.json');
    await writeFile(path, JSON.stringify(config));
    const host = await hostOf(renewFunction(path, { memorySize: 256 }));
    const calls = world.rpc.calls.length;
    for (const isColdStart of [true, false]) {
      const invoked = await host.invoke('renew', TIMER);
      expect(invoked).toMatchObject({ isColdStart, error: undefined });
      // The log line is cut; what the handler returns is not.
      const { outcomes } = invoked.result as RunReport;
      expect(outcomes.filter(({ status }) => status === 'kept')).toHaveLength(1000);
    }
    expect(world.rpc.calls.length - calls, 'pages of lists alone').toBeLessThanOrEqual(2 * 22);
    expect(await store.list('')).toEqual(['index.json']);
  }, 120_000);
});

/** X.509 has no milliseconds. */
function wholeSecond(instant: Date): string {
  return new Date(Math.floor(instant.getTime() / 1000) * 1000).toISOString();
}

/** The state letter of proc(5): T is stopped. */
async function stateOf(pid: number): Promise<string | undefined> {
  return /^\d+ \(.*\) (\w)/.exec(await readFile(`/proc/${pid}/stat`, 'utf8'))?.[1];
}
