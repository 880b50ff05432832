import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { RunReport } from '../../src/report.ts';
import { type LargeAccountOptions, startLargeAccount } from '../sandbox/large-account.ts';
import { startOss } from '../sandbox/oss.ts';
import { CREDENTIALS } from '../sandbox/world.ts';

async function account(options: LargeAccountOptions) {
  const started = await startLargeAccount(options);
  onTestFinished(() => started.close());
  return started;
}

/** How many of the outcomes are of which status and for which reason. */
function tally({ outcomes }: RunReport): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { status, decision } of outcomes) {
    const word = `${status} ${decision?.reason}`;
    counts[word] = (counts[word] ?? 0) + 1;
  }
  return counts;
}

test.each([500, 5_000])(
  'a healthy account of %i HTTPS domains costs two lists of the CDN API and no call for a domain, and writes nothing',
  async (domains) => {
    const { rpc, storePath, renew, index } = await account({ domains, withEdge: false });
    const { result } = await renew();
    expect(tally(result as RunReport)).toEqual({ 'kept Current': domains });
    const actions = rpc.calls.map(({ action }) => action);
    expect(new Set(actions)).toEqual(new Set(['DescribeUserDomains', 'DescribeCdnHttpsDomainList']));
    expect(actions.length).toBe((2 * domains) / 500);
    expect(actions.length).toBeLessThanOrEqual(domains / 100 + 5);
    expect(await readdir(storePath)).toEqual(['index.json']);
    expect((await readFile(join(storePath, 'index.json'), 'utf8')).trim()).toBe(index);
  },
);

test('certificates that somebody else put on their domains cost no call each, as long as the edges serve what the list says', async () => {
  const { rpc, renew } = await account({ domains: 200, foreign: 150, withEdge: true });
  const { result } = await renew();
  expect(tally(result as RunReport)).toEqual({ 'kept Current': 200 });
  expect(rpc.calls.map(({ action }) => action).sort()).toEqual(['DescribeCdnHttpsDomainList', 'DescribeUserDomains']);
});

test('where the edges are out of reach, the API is asked about the certificates that are not ours', async () => {
  const { rpc, renew } = await account({ domains: 20, foreign: 5, withEdge: false });
  const { result } = await renew();
  expect(tally(result as RunReport)).toEqual({ 'kept Current': 20 });
  expect(rpc.callsOf('DescribeDomainCertificateInfo')).toHaveLength(5);
});

test('the store in a bucket is read once, however many certificates there are', async () => {
  const { renew, index, config } = await account({ domains: 500, withEdge: false });
  const oss = await startOss({ accounts: [CREDENTIALS], buckets: { certificates: {} } });
  onTestFinished(() => oss.close());
  oss.write('certificates', 'autocert/index.json', index);
  const endpoints = { ...(config['endpoints'] as object), oss: oss.url };
  const { result } = await renew({}, { ...config, store: 'oss://certificates/autocert', endpoints });
  expect(tally(result as RunReport)).toEqual({ 'kept Current': 500 });
  expect(
    oss.requests.map(({ method, key }) => `${method} ${key}`),
    'the index, and a look into the inbox',
  ).toEqual(['GET autocert/index.json', 'GET ']);
});

test('a run with nothing to do loads neither ACME nor FC nor OSS code', async () => {
  const { renew } = await account({ domains: 1, withEdge: false });
  const folder = await mkdtemp(join(tmpdir(), 'autocert-loaded-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await renew({ NODE_V8_COVERAGE: folder });
  const packages = await loadedPackages(folder);
  expect(packages, 'so that this test can see it').toContain('@alicloud/pop-core');
  for (const unused of ['acme-client', 'axios', 'node-forge', 'ali-oss', '@alicloud/fc2', '@alicloud/fc20230330'])
    expect(packages).not.toContain(unused);
});

/** The packages of which the process loaded code, as V8 itself recorded it. */
async function loadedPackages(folder: string): Promise<string[]> {
  const packages = new Set<string>();
  for (const file of await readdir(folder)) {
    const { result } = JSON.parse(await readFile(join(folder, file), 'utf8')) as { result: { url: string }[] };
    for (const { url } of result.filter((script) => script.url.includes('/dist/'))) {
      const source = await readFile(new URL(url), 'utf8');
      for (const [, name = ''] of source.matchAll(/^\/\/ node_modules\/((?:@[^/\n]+\/)?[^/\n]+)\//gm))
        packages.add(name);
    }
  }
  return [...packages];
}
