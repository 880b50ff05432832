import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CertificateRecord, writeIndex } from '../../src/record.ts';
import { createFileStore } from '../../src/store/file.ts';
import type { WatchReport } from '../../src/watch.ts';
import { makeCertificate, type TestCertificate } from '../sandbox/certificates.ts';
import type { InvocationResult } from '../sandbox/fc.ts';
import { treeOf } from '../sandbox/footprint.ts';
import { parseLine, startWorld, type World } from '../sandbox/world.ts';

let world: World;
beforeAll(async () => {
  world = await startWorld({ zones: ['example.com'] });
});
afterAll(() => world.close());

const DAY = 86_400_000;
const TIMER = { triggerTime: '2026-01-02T03:04:05Z', triggerName: 'every-day', payload: '' };

function configFor(domain: string) {
  const verify = { patience: '1s', connect: world.edges.map(({ address }) => address) };
  return world.config({ certificates: [{ name: domain, identifiers: [domain], keyType: 'ec256' }], verify });
}

async function issued(domain: string): Promise<Record<string, unknown>> {
  world.cdn.set(domain);
  const config = configFor(domain);
  const { error } = await world.renew(config);
  expect(error).toBeUndefined();
  return config;
}

/** What the handler returned, or what the error that it threw carried: the last log line has it in either case. */
function reportOf({ lines }: InvocationResult): WatchReport {
  const finished = lines.flatMap(parseLine).find(({ event }) => event === 'watch_finished');
  expect(finished, lines.join('\n')).toBeDefined();
  return finished?.['report'] as WatchReport;
}

/** `status at edge` of each reading. */
function readingsOf(invocation: InvocationResult): string[] {
  const names = new Map(world.edges.map(({ address, name }) => [address, name]));
  return reportOf(invocation).certificates.map(
    ({ status, edge = '' }) => `${status} at ${names.get(edge) ?? 'the API'}`,
  );
}

test('a certificate that is well is found well, by calls that only read, and the store stays as it is', async () => {
  const domain = 'well.example.com';
  const config = await issued(domain);
  const tree = await treeOf(world.storePath);
  const [calls, requests] = [world.rpc.calls.length, world.pebble.log.length];

  const invocation = await world.invoke('watch', TIMER, config);
  expect(invocation.error).toBeUndefined();
  expect(invocation.result).toEqual(reportOf(invocation));
  expect(readingsOf(invocation)).toEqual(['ok at edge-a', 'ok at edge-b']);
  expect(reportOf(invocation).certificates[0]).toMatchObject({
    name: domain,
    domain,
    fingerprint: world.cdn.served(domain)?.fingerprint,
    daysLeft: 89,
  });
  const actions = new Set(world.rpc.calls.slice(calls).map(({ action }) => action));
  expect([...actions].sort()).toEqual([
    'DescribeCdnHttpsDomainList',
    'DescribeDomainCertificateInfo',
    'DescribeUserDomains',
  ]);
  expect(world.pebble.log.length, 'requests to the CA').toBe(requests);
  expect(await treeOf(world.storePath), 'the store').toEqual(tree);
});

test('an edge that serves something else is told with its address, and the invocation fails', async () => {
  const domain = 'stale.example.com';
  const config = await issued(domain);
  world.edges[1].override(domain, makeCertificate({ names: [domain], notAfter: new Date('2036-01-01T00:00:00Z') }));
  const invocation = await world.invoke('watch', TIMER, config);
  world.edges[1].override(domain, undefined);
  expect(readingsOf(invocation)).toEqual(['ok at edge-a', 'stale at edge-b']);
  expect(invocation.error).toMatchObject({
    errorType: 'WatchFailed',
    errorMessage: `${domain} at ${world.edges[1].address} is stale (It serves another certificate than the stored one.)`,
  });
});

test('a certificate that was overwritten in the console is told of the API and of the edges', async () => {
  const domain = 'overwritten.example.com';
  const config = await issued(domain);
  const byHand = makeCertificate({ names: [domain], notAfter: new Date('2036-01-01T00:00:00Z') });
  world.cdn.purchase(domain, { ...byHand, certType: 'upload', certName: 'by-hand' });
  const invocation = await world.invoke('watch', TIMER, config);
  expect(readingsOf(invocation)).toEqual(['mismatch at the API', 'stale at edge-a', 'stale at edge-b']);
});

test('an edge that nobody answers at is unreachable', async () => {
  const domain = 'unreachable.example.com';
  const config = await issued(domain);
  const [edge] = world.edges;
  const verify = { patience: '1s', connect: [edge.address, '127.0.0.1:1'] };
  const invocation = await world.invoke('watch', TIMER, { ...config, verify });
  expect(reportOf(invocation).certificates.map(({ status, edge }) => `${status} ${edge}`)).toEqual([
    `ok ${edge.address}`,
    'unreachable 127.0.0.1:1',
  ]);
});

test('a timer that has stopped is noticed by the certificate that nobody renewed', async () => {
  const domain = 'forgotten.example.com';
  world.cdn.set(domain);
  const folder = await mkdtemp(join(tmpdir(), 'autocert-forgotten-'));
  const config = { ...configFor(domain), store: pathToFileURL(folder).href };
  try {
    // 90 days of life: its renewal was due 20 days ago, which is many intervals of 6 hours.
    const certificate = await storeCertificate(folder, domain, new Date(Date.now() + 10 * DAY));
    world.cdn.purchase(domain, { ...certificate, certType: 'upload' });
    const invocation = await world.invoke('watch', TIMER, config);
    expect(readingsOf(invocation)).toEqual(['overdue at edge-a', 'overdue at edge-b']);
    expect(invocation.error?.errorMessage).toContain('look whether the timer of renew still fires');
    expect(world.cdn.served(domain)?.fingerprint, 'the look repairs nothing').toBe(certificate.fingerprint);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

/** What an earlier run of `renew` left in a store of its own. */
async function storeCertificate(folder: string, domain: string, notAfter: Date): Promise<TestCertificate> {
  const notBefore = new Date(notAfter.getTime() - 90 * DAY);
  const certificate = makeCertificate({ names: [domain], notBefore, notAfter });
  const record: CertificateRecord = {
    version: 1,
    name: domain,
    certificate: {
      fingerprint: certificate.fingerprint,
      serial: certificate.serialNumber,
      identifiers: [domain],
      keyType: 'ec256',
      directoryUrl: world.pebble.directoryUrl,
      notBefore: notBefore.toISOString(),
      notAfter: notAfter.toISOString(),
    },
    deployed: {},
  };
  await writeIndex(createFileStore({ path: folder }), { working: new Set(), records: new Map([[domain, record]]) });
  return certificate;
}

test('a store that is gone, and a configuration that is wrong, are failures of the look', async () => {
  const domain = 'well2.example.com';
  const config = await issued(domain);
  await rm(join(world.storePath, 'index.json'));
  await rm(join(world.storePath, 'certificates', domain), { recursive: true });
  expect(readingsOf(await world.invoke('watch', TIMER, config))).toEqual(['overdue at edge-a', 'overdue at edge-b']);

  const { error } = await world.invoke('watch', TIMER, { certificates: 'all' });
  expect(error).toMatchObject({ errorType: 'WatchFailed', errorMessage: expect.stringMatching(/^CONFIG_INVALID: /) });
});
