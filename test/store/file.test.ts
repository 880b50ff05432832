import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createFileStore } from '../../src/store/file.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'file-store-'));
});
afterEach(() => rm(folder, { recursive: true }));

const bytes = new TextEncoder().encode('secret');
const modeOf = async (path: string) => ((await stat(path)).mode & 0o777).toString(8);

describe('a folder as a store', () => {
  test('is for its owner alone: folders 0700, files 0600', async () => {
    const root = join(folder, 'a', 'store');
    await createFileStore({ path: root }).put('certificates/www/record.json', bytes);
    await createFileStore({ path: root }).put('lease/1', bytes, { ifAbsent: true });
    for (const path of ['a', 'a/store', 'a/store/certificates', 'a/store/certificates/www'])
      expect(await modeOf(join(folder, path))).toBe('700');
    expect(await modeOf(join(root, 'certificates/www/record.json'))).toBe('600');
    expect(await modeOf(join(root, 'lease/1'))).toBe('600');
  });

  test('has nothing but the objects in it when all is done, refused creations included', async () => {
    const store = createFileStore({ path: folder });
    await store.put('lease/1', bytes, { ifAbsent: true });
    await store.put('lease/1', bytes, { ifAbsent: true });
    await store.put('lease/1', bytes);
    expect(await readdir(join(folder, 'lease'))).toEqual(['1']);
  });

  test('F45 does not take what a killed run left half written for an object', async () => {
    const store = createFileStore({ path: folder });
    await store.put('lease/1', bytes);
    await writeFile(join(folder, 'lease', ',writing-0b8f'), 'sec');
    expect(await store.list('')).toEqual(['lease/1']);
  });

  test('F45 is rid of what killed runs left half written once no run can be writing it any more', async () => {
    const store = createFileStore({ path: folder });
    await store.put('lease/1', bytes);
    const { mtimeMs } = await stat(join(folder, 'lease', '1'));
    const leftAgo = async (name: string, hours: number) => {
      const path = join(folder, 'lease', name);
      await writeFile(path, 'sec');
      const at = new Date(mtimeMs - hours * 3_600_000);
      await utimes(path, at, at);
    };
    await leftAgo(',writing-dead', 25);
    await leftAgo(',writing-alive', 23);
    await leftAgo('object-of-long-ago', 1000);
    await store.put('accounts/1', bytes);
    expect(await readdir(join(folder, 'lease')), 'nothing was written here').toHaveLength(4);
    await store.put('lease/2', bytes, { ifAbsent: true });
    expect((await readdir(join(folder, 'lease'))).sort()).toEqual([',writing-alive', '1', '2', 'object-of-long-ago']);
  });

  test('leaves the old object whole when the new one cannot take its place', async () => {
    const store = createFileStore({ path: folder });
    await store.put('a/b', bytes);
    await expect(store.put('a', new TextEncoder().encode('new'))).rejects.toMatchObject({ code: 'STORE_UNWRITABLE' });
    expect(await readFile(join(folder, 'a', 'b'), 'utf8')).toBe('secret');
    expect(await readdir(folder)).toEqual(['a']);
  });
});

describe('F46 F47 a path that cannot be a store', () => {
  test('is not taken for an empty one when it is a file', async () => {
    const root = join(folder, 'file');
    await writeFile(root, 'x');
    const store = createFileStore({ path: root });
    await expect(store.get('a')).rejects.toMatchObject({
      code: 'STORE_UNREADABLE',
      retryable: false,
      remedy: expect.stringContaining(root),
    });
    await expect(store.list('')).rejects.toMatchObject({ code: 'STORE_UNREADABLE' });
    await expect(store.put('a', bytes)).rejects.toMatchObject({
      code: 'STORE_UNWRITABLE',
      remedy: expect.stringContaining(root),
    });
    await expect(store.delete('a')).rejects.toMatchObject({ code: 'STORE_UNWRITABLE' });
  });

  test('is not written when it is on a file system that takes no files', async () => {
    await expect(createFileStore({ path: '/proc/autocert' }).put('a', bytes)).rejects.toMatchObject({
      code: 'STORE_UNWRITABLE',
      message: expect.stringContaining('/proc/autocert/a cannot be written'),
      remedy: expect.stringContaining('/proc/autocert'),
    });
  });
});
