import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Secret } from '../../src/secret.ts';
import { createEncryptedStore } from '../../src/store/encrypted.ts';
import { createFileStore } from '../../src/store/file.ts';
import { decisionsOf, errorsOf, ordersAt, statusesOf } from '../sandbox/footprint.ts';
import { type RenewOptions, startWorld, type World } from '../sandbox/world.ts';

const KEY = Buffer.alloc(32, 7).toString('base64');
const DOMAINS = ['a.example.com', 'b.example.com', 'c.example.com'];
const KEPT = { 'a.example.com': 'kept', 'b.example.com': 'kept', 'c.example.com': 'kept' };
const RECORD = 'certificates/b.example.com/record.json';

let world: World;
let folder: string;
let copies = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'autocert-store-faults-'));
  world = await startWorld({ zones: ['example.com'] });
  await renew('good', DOMAINS);
});
afterAll(async () => {
  await world.close();
  await rm(folder, { recursive: true, force: true });
});

/** A run whose store is that folder. */
function renew(name: string, domains: readonly string[], payload?: RenewOptions['payload']) {
  const certificates = domains.map((domain) => {
    if (!world.cdn.state.domains.has(domain)) world.cdn.set(domain);
    return { name: domain, identifiers: [domain], keyType: 'ec256' };
  });
  const store = pathToFileURL(join(folder, name)).href;
  const config = world.config({ certificates, store, encryption: { key: KEY } });
  return world.renew(config, payload ? { payload } : {});
}

/** A copy of a store, to be damaged. */
async function copyOf(name: string): Promise<string> {
  copies += 1;
  await cp(join(folder, name), join(folder, `copy${copies}`), { recursive: true });
  return `copy${copies}`;
}

function at(name: string, key: string): string {
  return join(folder, name, key);
}

async function damage(name: string, key: string, change: (bytes: Buffer) => Buffer): Promise<Buffer> {
  const damaged = change(await readFile(at(name, key)));
  await writeFile(at(name, key), damaged);
  return damaged;
}

/** What the store holds, in clear. */
function opened(name: string) {
  const store = createFileStore({ path: join(folder, name) });
  const silent = { debug() {}, info() {}, warn() {}, error() {} };
  return createEncryptedStore({ store, encryption: { key: new Secret(KEY), previousKeys: [] }, log: silent });
}

async function bundleOf(name: string, domain: string): Promise<string> {
  const names = await readdir(at(name, `certificates/${domain}`));
  return `certificates/${domain}/${names.find((one) => /^[0-9a-f]{64}\.json$/.test(one))}`;
}

function half(bytes: Buffer): Buffer {
  return bytes.subarray(0, bytes.length / 2);
}

function bitFlipped(bytes: Buffer): Buffer {
  const flipped = Buffer.from(bytes);
  flipped[bytes.length >> 1] = (flipped[bytes.length >> 1] ?? 0) ^ 1;
  return flipped;
}

describe('F46 the index', () => {
  test.each<[string, (bytes: Buffer) => Buffer]>([
    ['has one bit flipped', bitFlipped],
    ['is half a file', half],
    ['is empty', () => Buffer.alloc(0)],
    ['is in another encoding', () => Buffer.from('{"version":1,"working":[],"records":[]}', 'utf16le')],
    ['is of another shape', () => Buffer.from('{"version":1,"working":{}}')],
    ['is 10 MB of something', () => Buffer.alloc(10 << 20, 'x')],
  ])('%s: it is set aside, said, and made anew from the records', async (_, change) => {
    const name = await copyOf('good');
    const damaged = await damage(name, 'index.json', change);
    const orders = ordersAt(world);
    const renewal = await renew(name, DOMAINS);
    expect(statusesOf(renewal)).toEqual(KEPT);
    expect(ordersAt(world)).toBe(orders);
    const [aside, ...others] = renewal.report.setAside ?? [];
    expect(others).toEqual([]);
    expect(aside).toMatchObject({
      key: 'index.json',
      to: expect.stringMatching(/^corrupt\/\d{8}T\d{6}Z\/index\.json$/),
    });
    expect(renewal.lines.filter((line) => line.includes('"set_aside"'))).toHaveLength(1);
    expect((await readFile(at(name, aside?.to ?? ''))).equals(damaged), 'its bytes are kept').toBe(true);

    const again = await renew(name, DOMAINS);
    expect(statusesOf(again)).toEqual(KEPT);
    expect(again.report.setAside).toBeUndefined();
  });

  test('is missing: it is made anew from the records', async () => {
    const name = await copyOf('good');
    await rm(at(name, 'index.json'));
    const orders = ordersAt(world);
    const renewal = await renew(name, DOMAINS);
    expect(statusesOf(renewal)).toEqual(KEPT);
    expect(renewal.report.setAside).toBeUndefined();
    expect(JSON.parse(String(Buffer.from((await opened(name).get('index.json')) ?? [])))).toMatchObject({
      working: [],
      records: DOMAINS.map((domain) => ({ name: domain })),
    });
    expect(ordersAt(world)).toBe(orders);
  });
});

test('F46 an index made anew in a run that was asked for one certificate forgets none of the others', async () => {
  const name = await copyOf('good');
  await rm(at(name, 'index.json'));
  expect(statusesOf(await renew(name, DOMAINS, { only: ['a.example.com'] }))).toEqual({ 'a.example.com': 'kept' });
  const index = JSON.parse(String(Buffer.from((await opened(name).get('index.json')) ?? [])));
  expect(index).toMatchObject({
    working: ['b.example.com', 'c.example.com'],
    records: DOMAINS.map((domain) => ({ name: domain })),
  });
  expect(statusesOf(await renew(name, DOMAINS))).toEqual(KEPT);
});

describe('F46 a record', () => {
  const newer = Buffer.from('{"version":2,"name":"b.example.com","deployed":{},"more":true}');

  test.each<[string, string, (name: string) => Promise<unknown>]>([
    ['that is half a file', 'STORE_CORRUPT', (name) => damage(name, RECORD, half)],
    ['with a bit flipped', 'STORE_CORRUPT', (name) => damage(name, RECORD, bitFlipped)],
    ['of a newer version', 'STORE_NEWER_VERSION', (name) => opened(name).put(RECORD, newer)],
  ])('%s fails its certificate alone, and stays as it is', async (_, code, change) => {
    const name = await copyOf('good');
    await rm(at(name, 'index.json'));
    await change(name);
    const before = await readFile(at(name, RECORD));
    const orders = ordersAt(world);
    for (const run of ['first', 'second']) {
      const renewal = await renew(name, DOMAINS);
      expect(statusesOf(renewal), run).toEqual({ ...KEPT, 'b.example.com': 'failed' });
      expect(errorsOf(renewal), run).toEqual({ 'b.example.com': code });
      expect(renewal.report.outcomes[1]?.error?.remedy).toMatch(/^(Restore|Deploy) .+\.$/);
    }
    expect((await readFile(at(name, RECORD))).equals(before)).toBe(true);
    expect(ordersAt(world)).toBe(orders);
  });
});

describe('F50 a stored certificate', () => {
  beforeAll(() => {
    world.cdn.set('b.example.com', { sslProtocol: 'off', certName: undefined });
  });

  async function rewrite(name: string, change: (bundle: Record<string, unknown>) => Record<string, unknown>) {
    const key = await bundleOf(name, 'b.example.com');
    const bundle = JSON.parse(String(Buffer.from((await opened(name).get(key)) ?? [])));
    await opened(name).put(key, Buffer.from(JSON.stringify(change(bundle))));
  }
  async function othersBundle(name: string): Promise<Record<string, unknown>> {
    const key = await bundleOf(name, 'a.example.com');
    return JSON.parse(String(Buffer.from((await opened(name).get(key)) ?? [])));
  }

  test.each<[string, (name: string) => Promise<unknown>]>([
    [
      'with another one’s key',
      async (name) => {
        const { privateKey } = await othersBundle(name);
        return rewrite(name, (bundle) => ({ ...bundle, privateKey }));
      },
    ],
    [
      'whose key is there and whose chain is another’s',
      async (name) => {
        const { chain } = await othersBundle(name);
        return rewrite(name, (bundle) => ({ ...bundle, chain }));
      },
    ],
    ['without its key', (name) => rewrite(name, ({ privateKey: _, ...bundle }) => bundle)],
    ['whose key stands there alone', (name) => rewrite(name, ({ chain: _, ...bundle }) => bundle)],
    [
      'whose key is cut off',
      (name) => rewrite(name, (bundle) => ({ ...bundle, privateKey: String(bundle['privateKey']).slice(0, 90) })),
    ],
    ['with a bit flipped', async (name) => damage(name, await bundleOf(name, 'b.example.com'), bitFlipped)],
    ['that is gone', async (name) => rm(at(name, await bundleOf(name, 'b.example.com')))],
  ])('%s is not pushed, and nothing is ordered in its place', async (_, change) => {
    const name = await copyOf('good');
    await change(name);
    const [orders, pushes] = [ordersAt(world), world.rpc.callsOf('SetDomainServerCertificate').length];
    const renewal = await renew(name, DOMAINS);
    expect(statusesOf(renewal)).toEqual({ ...KEPT, 'b.example.com': 'failed' });
    expect(errorsOf(renewal)).toEqual({ 'b.example.com': 'STORE_CORRUPT' });
    expect(renewal.report.outcomes[1]?.error?.remedy).toMatch(/Restore certificates\/b\.example\.com\//);
    expect([ordersAt(world), world.rpc.callsOf('SetDomainServerCertificate').length]).toEqual([orders, pushes]);
    expect(renewal.lines.join('\n')).not.toContain('PRIVATE KEY');
  });

  test('that is whole is pushed after all of that', async () => {
    expect(statusesOf(await renew(await copyOf('good'), DOMAINS))).toEqual({ ...KEPT, 'b.example.com': 'redeployed' });
  });
});

test('F46 an account that is damaged is never replaced in silence: nothing is ordered, the rest is done', async () => {
  const name = await copyOf('good');
  const [account = ''] = await readdir(at(name, 'accounts'));
  const damaged = await damage(name, `accounts/${account}`, half);
  const orders = ordersAt(world);
  for (const run of ['first', 'second, which does not wait']) {
    const renewal = await renew(name, [...DOMAINS, 'd.example.com']);
    expect(errorsOf(renewal), run).toEqual({ 'd.example.com': 'STORE_CORRUPT' });
    expect(statusesOf(renewal), run).toEqual({ ...KEPT, 'd.example.com': 'failed' });
    expect(renewal.report.outcomes[3]?.error?.remedy).toContain(`accounts/${account}`);
  }
  expect((await readFile(at(name, `accounts/${account}`))).equals(damaged)).toBe(true);
  expect(ordersAt(world)).toBe(orders);
});

test('F46 an order that is damaged is set aside and said, and another one is made', async () => {
  const domain = 'order.example.com';
  world.dns.lag('resolver', 'held');
  expect(errorsOf(await renew('order', [domain]))).toEqual({ [domain]: 'ACME_UNAUTHORIZED' });
  world.dns.release('resolver');
  const [order = ''] = (await readdir(at('order', `certificates/${domain}`))).filter((file) =>
    file.startsWith('order-'),
  );
  const damaged = await damage('order', `certificates/${domain}/${order}`, half);
  const renewal = await renew('order', [domain], { force: true });
  expect(statusesOf(renewal)).toEqual({ [domain]: 'renewed' });
  const [aside] = renewal.report.setAside ?? [];
  expect(aside?.key).toBe(`certificates/${domain}/${order}`);
  expect((await readFile(at('order', aside?.to ?? ''))).equals(damaged)).toBe(true);
});

test('F51 a store that is set back to yesterday: the later certificate stays, and none is ordered', async () => {
  const domain = 'back.example.com';
  await renew('today', [domain]);
  const issued = world.cdn.served(domain)?.fingerprint;
  const yesterday = await copyOf('today');
  expect(statusesOf(await renew('today', [domain], { force: true }))).toEqual({ [domain]: 'renewed' });
  const later = world.cdn.served(domain)?.fingerprint;
  expect(later).not.toBe(issued);

  const [orders, pushes] = [ordersAt(world), world.rpc.callsOf('SetDomainServerCertificate').length];
  const renewal = await renew(yesterday, [domain]);
  expect(decisionsOf(renewal)).toEqual({ [domain]: 'keep StoreBehind' });
  expect(renewal.report.outcomes[0]?.decision?.message).toContain(domain);
  expect(renewal.error).toBeUndefined();
  expect([ordersAt(world), world.rpc.callsOf('SetDomainServerCertificate').length]).toEqual([orders, pushes]);
  for (const edge of world.edges) expect(edge.fingerprintOf(domain)).toBe(later);
  expect(statusesOf(await renew('today', [domain])), 'and the store of today is in step').toEqual({ [domain]: 'kept' });
});

test('F47 a store that cannot be written: nothing is ordered', async () => {
  const name = 'read-only';
  await mkdir(dirname(at(name, 'x')), { recursive: true });
  // A file stands where the folder of leases has to be.
  await writeFile(at(name, 'certificates'), '');
  const orders = ordersAt(world);
  const renewal = await renew(name, ['never.example.com']);
  expect(renewal.error?.errorType).toBe('RunFailed');
  expect([renewal.report.error?.code, ...Object.values(errorsOf(renewal))].join()).toMatch(/STORE_UN(READ|WRIT)ABLE/);
  expect(ordersAt(world)).toBe(orders);
});
