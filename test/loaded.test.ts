/** What code each function loads, as V8 itself records it: at a start nothing takes as long as code. */
import { once } from 'node:events';
import { cp, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { stringify } from 'yaml';
import { build } from '../build.ts';
import { invoke } from './sandbox/fc.ts';
import { type LargeAccount, startLargeAccount } from './sandbox/large-account.ts';
import { startOss } from './sandbox/oss.ts';
import { CREDENTIALS } from './sandbox/world.ts';

const DIST = new URL('../dist/', import.meta.url);
const TIMER = { triggerTime: '2026-01-02T03:04:05Z', triggerName: 'every-6h', payload: '' };
/** What the first call of the cloud needs, and what reads configuration and records. */
const ALWAYS = [
  '@alicloud/pop-core',
  'fastest-levenshtein',
  'httpx',
  'json-bigint',
  'kitx',
  'p-limit',
  'valibot',
  'yocto-queue',
];
/** Bytes of code: before the first request, and in all. */
const FIRST = 160_000;
const SMALL = 290_000;
/** The lists of names by which the one file finds what is in the other. */
const LIST = /^chunks\/(?:connect|oss|reconcile)-[A-Z0-9]{8}\.mjs$/;

let account: LargeAccount;
let sources: ReadonlyMap<string, readonly string[]>;

beforeAll(async () => {
  ({ sources } = await build());
  account = await startLargeAccount({ domains: 1, withEdge: false });
});
afterAll(() => account.close());

interface Loaded {
  readonly result: unknown;
  /** Below `dist/`, sorted. */
  readonly files: readonly string[];
  readonly bytes: number;
  /** Sorted. */
  readonly packages: readonly string[];
}

async function load(name: string, event: unknown, text: string): Promise<Loaded> {
  const folder = await mkdtemp(join(tmpdir(), 'autocert-loaded-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const { result } = await invoke({
    file: new URL(`${name}.mjs`, DIST).href,
    event: JSON.stringify(event),
    environment: { AUTOCERT_CONFIG: text, NODE_V8_COVERAGE: folder },
    credentials: CREDENTIALS,
  });
  const files = new Set<string>();
  for (const report of await readdir(folder)) {
    const { result: scripts } = JSON.parse(await readFile(join(folder, report), 'utf8')) as {
      result: { url: string }[];
    };
    for (const { url } of scripts) if (url.startsWith(DIST.href)) files.add(url.slice(DIST.href.length));
  }
  const sizes = await Promise.all(
    [...files].map(async (file) => (await stat(fileURLToPath(new URL(file, DIST)))).size),
  );
  const packages = [...files].flatMap((file) => sources.get(file) ?? []).flatMap(packageOf);
  return {
    result,
    files: [...files].sort(),
    bytes: sizes.reduce((sum, size) => sum + size, 0),
    packages: [...new Set(packages)].sort(),
  };
}

function packageOf(source: string): string[] {
  const name = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(source)?.[1];
  return name === undefined ? [] : [name];
}

test('a run with nothing to do loads two files, and of packages none that ACME, FC, OSS, YAML or the suffix list needs', async () => {
  const { result, files, bytes, packages } = await load('renew', TIMER, JSON.stringify(account.config));
  expect(result).toMatchObject({ outcomes: [{ status: 'kept', decision: { reason: 'Current' } }] });
  expect(files.filter((file) => !LIST.test(file))).toEqual(['functions.mjs', 'renew.mjs', 'start.mjs']);
  expect(packages).toEqual(ALWAYS);
  expect(bytes).toBeLessThan(SMALL);
});

test('the second of them is waited for while the cloud answers, not before it is asked', async () => {
  const dist = await mkdtemp(join(tmpdir(), 'autocert-dist-'));
  onTestFinished(() => rm(dist, { recursive: true, force: true }));
  await cp(DIST, dist, { recursive: true });
  const asked = new Set<string>();
  let bothAsked = () => {};
  const isAsked = new Promise<void>((resolve) => {
    bothAsked = resolve;
  });
  const stop = account.rpc.intercept(({ action }) => {
    asked.add(action);
    if (asked.has('DescribeUserDomains') && asked.has('DescribeCdnHttpsDomainList')) bothAsked();
    return undefined;
  });
  onTestFinished(stop);
  // A file that is not there before the cloud has been asked.
  const gate = createServer((_, response) => void isAsked.then(() => response.end()));
  onTestFinished(() => void gate.close());
  gate.listen(0, '127.0.0.1');
  await once(gate, 'listening');
  const url = `http://127.0.0.1:${(gate.address() as AddressInfo).port}`;
  await rename(join(dist, 'functions.mjs'), join(dist, 'whole.mjs'));
  await writeFile(join(dist, 'functions.mjs'), `await fetch('${url}');\nexport * from './whole.mjs';\n`);

  const { result } = await invoke({
    file: pathToFileURL(join(dist, 'renew.mjs')).href,
    event: JSON.stringify(TIMER),
    environment: { AUTOCERT_CONFIG: JSON.stringify(account.config) },
    credentials: CREDENTIALS,
  });

  expect(result).toMatchObject({ outcomes: [{ status: 'kept' }] });
  expect((await stat(join(dist, 'start.mjs'))).size).toBeLessThan(FIRST);
});

test('so it does with certificates that the configuration names', async () => {
  const certificates = [{ identifiers: ['www.example.com', 'example.com'], targets: [{ domains: [] }] }];
  const { result, packages } = await load('renew', TIMER, JSON.stringify({ ...account.config, certificates }));
  expect(result).toMatchObject({ version: 1 });
  expect(packages).toEqual(ALWAYS);
});

test('a name that may be a public suffix is looked up, and the list is loaded for it', async () => {
  const certificates = [{ identifiers: ['example.jp'], targets: [{ domains: [] }] }];
  const { packages } = await load('renew', TIMER, JSON.stringify({ ...account.config, certificates }));
  expect(packages).toEqual([...ALWAYS, 'tldts'].sort());
});

test('a configuration in YAML has its parser loaded and nothing else', async () => {
  const { result, bytes, packages } = await load('renew', TIMER, stringify(account.config));
  expect(result).toMatchObject({ outcomes: [{ status: 'kept' }] });
  expect(packages).toEqual([...ALWAYS, 'yaml'].sort());
  expect(bytes).toBeLessThan(SMALL + 180_000);
});

test('a store in a bucket has the SDK of OSS loaded, and none of another', async () => {
  const oss = await startOss({ accounts: [CREDENTIALS], buckets: { certificates: {} } });
  onTestFinished(() => oss.close());
  oss.write('certificates', 'autocert/index.json', account.index);
  const endpoints = { ...(account.config['endpoints'] as object), oss: oss.url };
  const config = { ...account.config, store: 'oss://certificates/autocert', endpoints };
  const { result, bytes, packages } = await load('renew', TIMER, JSON.stringify(config));
  expect(result).toMatchObject({ outcomes: [{ status: 'kept', decision: { reason: 'Current' } }] });
  expect(packages).toContain('ali-oss');
  for (const unused of ['acme-client', 'axios', 'node-forge', '@alicloud/fc2', '@alicloud/fc20230330', 'yaml', 'tldts'])
    expect(packages).not.toContain(unused);
  expect(bytes).toBeLessThan(SMALL + 600_000);
});

test.each([
  ['watch', TIMER],
  ['redeploy', { domains: ['elsewhere.example.org'] }],
  ['status', {}],
])('%s loads the same two files', async (name, event) => {
  const { files, bytes, packages } = await load(name, event, JSON.stringify(account.config));
  expect(files.filter((file) => !LIST.test(file))).toEqual(['functions.mjs', 'start.mjs', `${name}.mjs`].sort());
  expect(packages).toEqual(ALWAYS);
  expect(bytes).toBeLessThan(SMALL);
});

test('alert loads what tells people, and no package more', async () => {
  const event = {
    timestamp: 1_767_323_045_000,
    requestContext: { requestId: '5e1f9b0c-3b51', functionArn: 'f', condition: 'c', approximateInvokeCount: 1 },
    requestPayload: '',
    responseContext: { statusCode: 200, functionError: 'UnhandledInvocationError' },
    responsePayload: JSON.stringify({ errorMessage: 'Function timed out after 60 seconds' }),
  };
  const { files, bytes, packages } = await load('alert', event, JSON.stringify(account.config));
  expect(files.length).toBeGreaterThan(2);
  expect(packages).toEqual(ALWAYS);
  expect(bytes).toBeLessThan(SMALL + 100_000);
});
