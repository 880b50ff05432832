import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { statusesOf, treeOf } from '../sandbox/footprint.ts';
import { startWorld, type World } from '../sandbox/world.ts';

let world: World;
beforeAll(async () => {
  world = await startWorld({ zones: ['example.com'] });
});
afterAll(() => world.close());

const CONFIG = {
  certificates: [
    { name: 'www', identifiers: ['www.example.com'] },
    { name: 'api', identifiers: ['api.example.com', 'api2.example.com'], keyType: 'ec256' },
  ],
};

test('a second run on an unchanged account writes nothing, opens no order and loads no ACME code', async () => {
  for (const domain of ['www.example.com', 'api.example.com', 'api2.example.com']) world.cdn.set(domain);
  const coverage = await mkdtemp(join(tmpdir(), 'autocert-loaded-'));
  const config = world.config(CONFIG);
  try {
    const first = await world.renew(config, { environment: { NODE_V8_COVERAGE: join(coverage, 'first') } });
    expect(statusesOf(first)).toEqual({ www: 'renewed', api: 'renewed' });
    const orders = world.pebble.log.length;
    const calls = world.rpc.calls.length;
    const tree = await treeOf(world.storePath);

    const second = await world.renew(config, { environment: { NODE_V8_COVERAGE: join(coverage, 'second') } });
    expect(statusesOf(second)).toEqual({ www: 'kept', api: 'kept' });
    expect(world.pebble.log.slice(orders), 'requests to the CA').toEqual([]);
    const actions = new Set(world.rpc.calls.slice(calls).map(({ action }) => action));
    expect(actions, 'calls to the cloud').toEqual(new Set(['DescribeUserDomains', 'DescribeCdnHttpsDomainList']));
    expect(await treeOf(world.storePath), 'the store').toEqual(tree);

    expect(await loadsAcmeClient(join(coverage, 'first')), 'the first run, so that this test can see it').toBe(true);
    expect(await loadsAcmeClient(join(coverage, 'second')), 'the second run').toBe(false);
  } finally {
    await rm(coverage, { recursive: true, force: true });
  }
});

/** Was the code of acme-client among what the process loaded, as V8 itself recorded it? */
async function loadsAcmeClient(folder: string): Promise<boolean> {
  const urls = new Set<string>();
  for (const file of await readdir(folder)) {
    const { result } = JSON.parse(await readFile(join(folder, file), 'utf8')) as { result: { url: string }[] };
    for (const { url } of result) if (url.includes('/dist/')) urls.add(url);
  }
  const sources = await Promise.all([...urls].map((url) => readFile(new URL(url), 'utf8')));
  return sources.some((source) => source.includes('node_modules/acme-client/'));
}
