import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createQuarantine } from '../src/quarantine.ts';
import {
  emptyRecord,
  readBundle,
  readIndex,
  readRecord,
  type Store,
  writeBundle,
  writeIndex,
  writeRecord,
} from '../src/record.ts';
import { Secret } from '../src/secret.ts';
import { createFileStore } from '../src/store/file.ts';
import { makeCertificate } from './sandbox/certificates.ts';

let folder: string;
let store: Store;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'autocert-record-'));
  store = createFileStore({ path: folder });
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** And what it logged. */
function quarantine() {
  const logged: string[] = [];
  const log = { debug() {}, info() {}, warn() {}, error: (event: string) => logged.push(event) };
  const now = () => new Date('2026-01-02T03:04:05.678Z');
  return { logged, ...createQuarantine(store, { now, log }) };
}

async function withRecords(...names: string[]) {
  for (const name of names) await writeRecord(store, emptyRecord(name));
}

describe('F46 the index', () => {
  test('that is damaged goes into the quarantine as it is, and the records are read in its place', async () => {
    await withRecords('a', 'b');
    await store.put('index.json', bytes('{"version":1,'));
    const aside = quarantine();
    const index = await readIndex(store, aside);
    expect([...index.records.keys()]).toEqual(['a', 'b']);
    expect([...index.working]).toEqual(['a', 'b']);
    expect(aside.objects).toEqual([
      { key: 'index.json', to: 'corrupt/20260102T030405Z/index.json', reason: expect.stringContaining('index.json') },
    ]);
    expect(aside.logged).toEqual(['set_aside']);
    expect(await store.get('index.json')).toBeUndefined();
    expect(String(Buffer.from((await store.get('corrupt/20260102T030405Z/index.json')) ?? []))).toBe('{"version":1,');
  });

  test('that is damaged stays where it is for who may change nothing', async () => {
    await withRecords('a');
    await store.put('index.json', bytes(''));
    expect([...(await readIndex(store)).records.keys()]).toEqual(['a']);
    expect(await store.list('')).toEqual(['certificates/a/record.json', 'index.json']);
  });

  test('of a newer version is neither read nor moved', async () => {
    await store.put('index.json', bytes('{"version":2}'));
    await expect(readIndex(store, quarantine())).rejects.toMatchObject({ code: 'STORE_NEWER_VERSION' });
    expect(await store.list('')).toEqual(['index.json']);
  });

  test('made anew leaves a damaged record to whoever needs it', async () => {
    await withRecords('a', 'b');
    await store.put('certificates/b/record.json', bytes('{"version":1,"name":'));
    const { working, records } = await readIndex(store);
    expect([...records.keys()]).toEqual(['a']);
    expect([...working]).toEqual(['a', 'b']);
    await expect(readRecord(store, 'b')).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
  });

  test('that is good is one read', async () => {
    await writeIndex(store, { working: new Set(), records: new Map([['a', emptyRecord('a')]]) });
    const asked: string[] = [];
    const counting: Store = {
      ...store,
      get: (key) => {
        asked.push(key);
        return store.get(key);
      },
    };
    expect([...(await readIndex(counting)).records.keys()]).toEqual(['a']);
    expect(asked).toEqual(['index.json']);
  });
});

describe('F50 a bundle', () => {
  const mine = makeCertificate({ names: ['a.example.com'] });
  const other = makeCertificate({ names: ['a.example.com'] });

  test('whose chain and key belong together is read', async () => {
    await writeBundle(store, 'a', mine.fingerprint, { chain: mine.chain, privateKey: new Secret(mine.privateKey) });
    expect((await readBundle(store, 'a', mine.fingerprint)).privateKey.reveal()).toBe(mine.privateKey);
  });

  test.each<[string, string, string]>([
    ['with another key', mine.chain, other.privateKey],
    ['with another chain', other.chain, other.privateKey],
    ['with no key', mine.chain, ''],
    ['with no chain', '', mine.privateKey],
    ['with half a chain', mine.chain.slice(0, 200), mine.privateKey],
  ])('%s is refused, says how to go on, and shows nothing of the key', async (_, chain, privateKey) => {
    await writeBundle(store, 'a', mine.fingerprint, { chain, privateKey: new Secret(privateKey) });
    const error = await readBundle(store, 'a', mine.fingerprint).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: 'STORE_CORRUPT',
      message: expect.stringContaining(mine.fingerprint),
      remedy: expect.stringContaining('"force": true'),
    });
    expect(String(error)).not.toMatch(/PRIVATE|MII/);
  });
});
