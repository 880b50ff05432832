import { readdir, readFile } from 'node:fs/promises';
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
