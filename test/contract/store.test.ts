import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createOss, type Oss } from '../../src/aliyun/oss.ts';
import type { Store } from '../../src/record.ts';
import { Secret } from '../../src/secret.ts';
import { createEncryptedStore } from '../../src/store/encrypted.ts';
import { createFileStore } from '../../src/store/file.ts';
import { createOssStore } from '../../src/store/oss.ts';
import { realDeps, steppedDeps } from '../aliyun/loopback.ts';
import { type Oss as OssServer, startOss } from '../sandbox/oss.ts';

/** What every Store promises, whatever it is made of. */
const BUCKET = 'autocert-state';
const KEY = new Secret(Buffer.alloc(32, 9).toString('base64'));
const account = { accessKeyId: 'LTAIsandbox', accessKeySecret: 'sandbox-secret' };

let server: OssServer;
const open: Oss[] = [];
const folders: string[] = [];

beforeAll(async () => {
  server = await startOss({ accounts: [account], buckets: { [BUCKET]: {} } });
});
afterEach(async () => {
  for (const oss of open.splice(0)) oss.close();
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
});
afterAll(() => server.close());

async function fileStore(): Promise<Store> {
  const folder = await mkdtemp(join(tmpdir(), 'store-'));
  folders.push(folder);
  return createFileStore({ path: join(folder, 'not', 'there', 'yet') });
}

let count = 0;

/** Each store has a prefix of its own in the one bucket. */
async function ossStore(): Promise<Store> {
  const credentials = async () => ({
    accessKeyId: account.accessKeyId,
    accessKeySecret: new Secret(account.accessKeySecret),
  });
  const oss = createOss({ endpoint: server.url, bucket: BUCKET, credentials, deps: realDeps() });
  open.push(oss);
  count += 1;
  return createOssStore({ oss, prefix: `stores/${count}` });
}

function encrypted(store: Store): Store {
  return createEncryptedStore({ store, encryption: { key: KEY, previousKeys: [] }, log: steppedDeps().log });
}

const text = (bytes: Uint8Array | undefined) => (bytes === undefined ? undefined : Buffer.from(bytes).toString());
const bytes = (value: string) => new TextEncoder().encode(value);

describe.each([
  { kind: 'a folder', create: fileStore },
  { kind: 'an OSS bucket', create: ossStore },
  { kind: 'an encrypted folder', create: async () => encrypted(await fileStore()) },
  { kind: 'an encrypted OSS bucket', create: async () => encrypted(await ossStore()) },
])('$kind', ({ create }) => {
  test('has nothing at first, and says so without an error', async () => {
    const store = await create();
    expect(await store.get('certificates/www/record.json')).toBeUndefined();
    expect(await store.list('')).toEqual([]);
    await store.delete('certificates/www/record.json');
  });

  test('gives back the bytes that were put, whatever they are', async () => {
    const store = await create();
    const all = Uint8Array.from({ length: 70_000 }, (_, index) => index % 256);
    expect(await store.put('a/all', all)).toBe(true);
    expect(await store.put('a/empty', new Uint8Array())).toBe(true);
    expect(Buffer.from((await store.get('a/all')) ?? []).equals(all)).toBe(true);
    expect(await store.get('a/empty')).toHaveLength(0);
  });

  test('replaces an object as a whole, also by a shorter one', async () => {
    const store = await create();
    await store.put('a', bytes('the first and longer text'));
    expect(await store.put('a', bytes('second'))).toBe(true);
    expect(text(await store.get('a'))).toBe('second');
  });

  test('forgets what is deleted, and only that', async () => {
    const store = await create();
    await store.put('a/1', bytes('one'));
    await store.put('a/2', bytes('two'));
    await store.delete('a/1');
    await store.delete('a/1');
    expect(await store.get('a/1')).toBeUndefined();
    expect(await store.list('')).toEqual(['a/2']);
  });

  test('lists by prefix, sorted, whole keys and no folders', async () => {
    const store = await create();
    for (const key of ['lease/2', 'lease/10', 'lease/1', 'leases', 'certificates/_discovered.a.example/record.json'])
      await store.put(key, bytes(key));
    expect(await store.list('lease/')).toEqual(['lease/1', 'lease/10', 'lease/2']);
    expect(await store.list('lease')).toEqual(['lease/1', 'lease/10', 'lease/2', 'leases']);
    expect(await store.list('certificates/')).toEqual(['certificates/_discovered.a.example/record.json']);
    expect(await store.list('none')).toEqual([]);
    expect(await store.list('')).toHaveLength(5);
  });

  test('of an object that is bigger than asked for gives more than that, and of another one all', async () => {
    const store = await create();
    await store.put('big', bytes('0123456789'));
    await store.put('empty', bytes(''));
    expect(text(await store.get('big', { most: 4 }))).toMatch(/^01234/);
    expect(text(await store.get('big', { most: 10 }))).toBe('0123456789');
    expect(text(await store.get('big', { most: 1000 }))).toBe('0123456789');
    expect(text(await store.get('empty', { most: 4 }))).toBe('');
    expect(await store.get('none', { most: 4 })).toBeUndefined();
  });

  test('with ifAbsent leaves what is there as it is, and says so', async () => {
    const store = await create();
    expect(await store.put('a', bytes('first'), { ifAbsent: true })).toBe(true);
    expect(await store.put('a', bytes('second'), { ifAbsent: true })).toBe(false);
    expect(text(await store.get('a'))).toBe('first');
    await store.delete('a');
    expect(await store.put('a', bytes('third'), { ifAbsent: true })).toBe(true);
  });

  test('F49 of 50 that create the same object at once, exactly one does', async () => {
    const store = await create();
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, index) => store.put('lease/1', bytes(`run ${index}`), { ifAbsent: true })),
    );
    expect(answers.filter(Boolean)).toHaveLength(1);
    expect(text(await store.get('lease/1'))).toBe(`run ${answers.indexOf(true)}`);
    expect(await store.list('')).toEqual(['lease/1']);
  });

  test('never shows half of an object to who reads while it is written', async () => {
    const store = await create();
    const versions = ['a', 'b'].map((letter) => bytes(letter.repeat(200_000)));
    await store.put('big', versions[0] ?? new Uint8Array());
    let writing = true;
    const writes = (async () => {
      for (let turn = 0; turn < 20; turn += 1) await store.put('big', versions[turn % 2] ?? new Uint8Array());
      writing = false;
    })();
    const read: string[] = [];
    while (writing) read.push(text(await store.get('big')) ?? '');
    await writes;
    expect(read.every((value) => /^(a{200000}|b{200000})$/.test(value))).toBe(true);
  });

  test.each([
    '',
    '/',
    '/a',
    'a/',
    'a//b',
    '..',
    '../a',
    'a/../../b',
    './a',
    'a\\b',
    'a\0b',
    'a b',
    'é',
    'x'.repeat(600),
  ])('refuses %j as a key, which could lead out of it', async (key) => {
    const store = await create();
    await expect((async () => store.get(key))()).rejects.toMatchObject({ code: 'STORE_UNREADABLE', retryable: false });
    await expect((async () => store.put(key, bytes('x')))()).rejects.toMatchObject({ code: 'STORE_UNWRITABLE' });
    await expect((async () => store.delete(key))()).rejects.toMatchObject({ code: 'STORE_UNWRITABLE' });
  });
});
