import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createKms } from '../../src/aliyun/kms.ts';
import { createRpc, type Rpc } from '../../src/aliyun/rpc.ts';
import type { Store } from '../../src/record.ts';
import { Secret } from '../../src/secret.ts';
import { createEncryptedStore, type Encryption } from '../../src/store/encrypted.ts';
import { realDeps, steppedDeps } from '../aliyun/loopback.ts';
import { createKms as createKmsProduct, type Kms as KmsProduct } from '../sandbox/kms.ts';
import { type RpcServer, startRpcServer } from '../sandbox/rpc-server.ts';

const PLAIN = '{"privateKey":"-----BEGIN EC PRIVATE KEY-----"}';
const bytes = new TextEncoder().encode(PLAIN);
const text = (value: Uint8Array | undefined) => Buffer.from(value ?? []).toString();
const key = (fill: number) => new Secret(Buffer.alloc(32, fill).toString('base64'));

/** What lies beneath, to be looked at and changed. */
function memory(): Store & { readonly objects: Map<string, Uint8Array> } {
  const objects = new Map<string, Uint8Array>();
  return {
    objects,
    get: async (name) => objects.get(name),
    async put(name, value, options) {
      if (options?.ifAbsent && objects.has(name)) return false;
      objects.set(name, value);
      return true;
    },
    async delete(name) {
      objects.delete(name);
    },
    list: async (prefix) => [...objects.keys()].filter((name) => name.startsWith(prefix)),
  };
}

function local(fill: number, ...previous: readonly number[]): Encryption {
  return { key: key(fill), previousKeys: previous.map(key) };
}

function open(store: Store, encryption: Encryption, deps = steppedDeps()): Store {
  return createEncryptedStore({ store, encryption, log: deps.log });
}

describe('an encrypted store', () => {
  test('keeps nothing of the plain bytes, and never the same bytes twice', async () => {
    const below = memory();
    const store = open(below, local(1));
    await store.put('a', bytes);
    const first = below.objects.get('a');
    await store.put('a', bytes);
    expect(below.objects.get('a')).not.toEqual(first);
    expect(text(first)).not.toContain('PRIVATE');
    expect(text(await store.get('a'))).toBe(PLAIN);
  });

  test('says that the key is wrong when it is, with what to do', async () => {
    const below = memory();
    await open(below, local(1)).put('a', bytes);
    await expect(open(below, local(2)).get('a')).rejects.toMatchObject({
      code: 'STORE_KEY_WRONG',
      retryable: false,
      remedy: expect.stringContaining('encryption.previousKeys'),
    });
  });

  test('reads with a previous key and writes with the new one', async () => {
    const below = memory();
    await open(below, local(1)).put('a', bytes);
    const store = open(below, local(2, 3, 1));
    expect(text(await store.get('a'))).toBe(PLAIN);
    await store.put('a', bytes);
    expect(text(await open(below, local(2)).get('a'))).toBe(PLAIN);
  });

  test('F46 says that an object is corrupt when any one bit of it was flipped', async () => {
    const below = memory();
    const store = open(below, local(1));
    await store.put('a', bytes);
    const good = below.objects.get('a') ?? new Uint8Array();
    const codes = new Map<string, number>();
    for (let bit = 0; bit < good.length * 8; bit += 1) {
      const changed = Uint8Array.from(good);
      changed[bit >> 3] = (good[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      below.objects.set('a', changed);
      const outcome = await store.get('a').then(
        (value) => (text(value) === PLAIN ? 'taken for good' : 'not encrypted'),
        (error: unknown) => String(Reflect.get(Object(error), 'code')),
      );
      codes.set(outcome, (codes.get(outcome) ?? 0) + 1);
    }
    // 24 bits say that it is encrypted at all; 64 say which key it needs; its length and kind lead to other keys or none.
    expect(codes.get('taken for good')).toBeUndefined();
    expect(codes.get('not encrypted')).toBe(24);
    expect(codes.get('STORE_CORRUPT')).toBeGreaterThan(good.length * 8 - 24 - 64 - 24);
    expect([...codes.keys()].sort()).toEqual(['STORE_CORRUPT', 'STORE_KEY_WRONG', 'not encrypted']);
  });

  test('F46 says that an object is corrupt when it was cut off anywhere', async () => {
    const below = memory();
    const store = open(below, local(1));
    await store.put('a', bytes);
    const good = below.objects.get('a') ?? new Uint8Array();
    for (let length = 3; length < good.length; length += 1) {
      below.objects.set('a', good.subarray(0, length));
      await expect(store.get('a')).rejects.toMatchObject({
        code: 'STORE_CORRUPT',
        remedy: expect.stringContaining('Restore a'),
      });
    }
  });

  test('does not take one object for another that was put in its place', async () => {
    const below = memory();
    const store = open(below, local(1));
    await store.put('certificates/a/1.json', bytes);
    below.objects.set('certificates/b/1.json', below.objects.get('certificates/a/1.json') ?? bytes);
    await expect(store.get('certificates/b/1.json')).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
  });

  test('reads what was written before it was encrypted, with a warning, until it is written anew', async () => {
    const below = memory();
    const deps = steppedDeps();
    const store = open(below, local(1), deps);
    await below.put('a', bytes);
    expect(text(await store.get('a'))).toBe(PLAIN);
    expect(deps.lines).toEqual([['warn', 'store_object_not_encrypted', { key: 'a' }]]);
    await store.put('a', bytes);
    await store.get('a');
    expect(deps.lines).toHaveLength(1);
  });
});

describe('an encrypted store with a key of KMS', () => {
  const account = { accessKeyId: 'LTAIsandbox', accessKeySecret: 'sandbox-secret', userId: '1' };
  const accounts = [account];
  let product: KmsProduct;
  let server: RpcServer;
  let rpc: Rpc;

  beforeAll(async () => {
    product = createKmsProduct([{ keyId: 'key-1', alias: 'alias/autocert' }]);
    server = await startRpcServer({ products: [product], accounts });
  });
  beforeEach(() => {
    accounts.splice(0, 1, account);
    const credentials = async () => ({
      accessKeyId: account.accessKeyId,
      accessKeySecret: new Secret(account.accessKeySecret),
    });
    rpc = createRpc({ credentials, deps: realDeps() });
    return () => rpc.close();
  });
  afterAll(() => server.close());

  const byKms = (...previous: readonly number[]): Encryption => ({
    kms: createKms({ rpc, endpoint: server.url }),
    kmsKeyId: 'alias/autocert',
    previousKeys: previous.map(key),
  });
  const countOf = (action: string) => server.callsOf(action).length;

  test('asks for one data key a run, and for each old one once', async () => {
    const below = memory();
    const before = [countOf('GenerateDataKey'), countOf('Decrypt')];
    const first = open(below, byKms());
    await first.put('a', bytes);
    await first.put('b', bytes);
    expect(text(await first.get('a'))).toBe(PLAIN);
    expect([countOf('GenerateDataKey') - (before[0] ?? 0), countOf('Decrypt') - (before[1] ?? 0)]).toEqual([1, 0]);
    const second = open(below, byKms());
    expect([text(await second.get('a')), text(await second.get('b'))]).toEqual([PLAIN, PLAIN]);
    expect([countOf('GenerateDataKey') - (before[0] ?? 0), countOf('Decrypt') - (before[1] ?? 0)]).toEqual([1, 1]);
    expect(server.violations).toEqual([]);
  });

  test('reads what was encrypted with a key of its own before', async () => {
    const below = memory();
    await open(below, local(1)).put('a', bytes);
    expect(text(await open(below, byKms(1)).get('a'))).toBe(PLAIN);
    await expect(open(below, byKms()).get('a')).rejects.toMatchObject({ code: 'STORE_KEY_WRONG' });
  });

  test('cannot be read without KMS, and says that', async () => {
    const below = memory();
    await open(below, byKms()).put('a', bytes);
    await expect(open(below, local(1)).get('a')).rejects.toMatchObject({
      code: 'STORE_KEY_WRONG',
      remedy: expect.stringContaining('kmsKeyId'),
    });
  });

  test('F42 says which permission is missing, writes nothing, and tries again at the next write', async () => {
    const below = memory();
    const store = open(below, byKms());
    accounts.splice(0, 1, { ...account, denied: ['GenerateDataKey', 'Decrypt'] } as typeof account);
    await expect(store.put('a', bytes)).rejects.toMatchObject({
      code: 'STORE_UNWRITABLE',
      message: expect.stringContaining('GenerateDataKey'),
      remedy: expect.stringContaining('RAM'),
      cause: { code: 'PERMISSION_DENIED' },
    });
    expect(below.objects.size).toBe(0);
    accounts.splice(0, 1, account);
    expect(await store.put('a', bytes)).toBe(true);
  });

  test('F42 does not take an object that it may not decrypt for one that is not there', async () => {
    const below = memory();
    await open(below, byKms()).put('a', bytes);
    accounts.splice(0, 1, { ...account, denied: ['Decrypt'] } as typeof account);
    const store = open(below, byKms());
    await expect(store.get('a')).rejects.toMatchObject({
      code: 'STORE_UNREADABLE',
      message: expect.stringContaining('Decrypt'),
    });
    accounts.splice(0, 1, account);
    expect(text(await store.get('a'))).toBe(PLAIN);
  });
});
