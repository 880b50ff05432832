import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type CertificateRecord, writeIndex, writeRecord } from '../../src/record.ts';
import type { RunReport } from '../../src/report.ts';
import { createFileStore } from '../../src/store/file.ts';
import { makeCertificate } from '../sandbox/certificates.ts';
import { ordersAt, statusesOf } from '../sandbox/footprint.ts';
import { freePorts } from '../sandbox/ports.ts';
import { type Renewal, startWorld, type World } from '../sandbox/world.ts';

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
  const config = configIn('short', { certificates });
  // Each order takes longer than there is time to begin another one.
  world.dns.lag('ns2', 7_000);
  const orders = ordersAt(world);
  const namesOf = ({ report }: Renewal, wanted: string) =>
    report.outcomes.flatMap(({ name, status }) => (status === wanted ? [name] : [])).sort();

  const first = await world.renew(config, { timeout: 29 });
  expect(first.error).toBeUndefined();
  expect(namesOf(first, 'renewed')).toEqual(domains.slice(4).sort());
  expect(namesOf(first, 'deferred')).toEqual(domains.slice(0, 4).sort());
  for (const { error, status } of first.report.outcomes)
    if (status === 'deferred') expect(error?.code).toBe('DEADLINE_REACHED');

  const second = await world.renew(config, { timeout: 29 });
  expect(namesOf(second, 'renewed')).toEqual(domains.slice(0, 4).sort());
  expect(namesOf(second, 'kept')).toEqual(domains.slice(4).sort());
  expect(ordersAt(world) - orders).toBe(domains.length);
}, 120_000);

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

test('F60 three hundred certificates with nothing to do fit into 48 MB of heap and one read of the store', async () => {
  const domains = Array.from({ length: 300 }, (_, index) => `full${index}.example.com`);
  const now = Date.now();
  const [notBefore, notAfter] = [new Date(now - DAY), new Date(now + 80 * DAY)];
  const records = domains.map((domain) => [domain, remembered(domain, notBefore, notAfter)] as const);
  const store = createFileStore({ path: `${world.storePath}/many` });
  await writeIndex(store, { working: [], records: new Map(records) });

  const certificates = domains.map((domain) => ({ name: domain, identifiers: [domain], keyType: 'ec256' }));
  const calls = world.rpc.calls.length;
  const environment = { NODE_OPTIONS: '--max-old-space-size=48' };
  const connect = [world.edges[0].address];
  const config = configIn('many', { certificates, verify: { patience: '1s', connect } });
  const { result } = await world.renew(config, { environment });
  // The log line is cut; what the handler returns is not.
  const { outcomes } = result as RunReport;
  expect(outcomes.filter(({ status }) => status === 'kept')).toHaveLength(300);
  expect(world.rpc.calls.length - calls, 'pages of lists alone').toBeLessThanOrEqual(8);
  expect(await store.list('')).toEqual(['index.json']);
});

/** X.509 has no milliseconds. */
function wholeSecond(instant: Date): string {
  return new Date(Math.floor(instant.getTime() / 1000) * 1000).toISOString();
}
