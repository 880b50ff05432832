import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { RunReport } from '../../src/report.ts';
import { defaultCa, makeCertificate, type TestCertificate } from '../sandbox/certificates.ts';
import { decisionsOf, errorsOf, ordersAt, statusesOf, treeOf } from '../sandbox/footprint.ts';
import { type Oss, startOss } from '../sandbox/oss.ts';
import { type Receivers, startReceivers } from '../sandbox/receivers.ts';
import { type Renewal, startWorld, type World } from '../sandbox/world.ts';

/** Milliseconds that the function and the cloud are ahead of the machine. */
let ahead = 0;
const now = () => new Date(Date.now() + ahead);
let world: World;
let receivers: Receivers;
let oss: Oss;
let folder: string;
beforeAll(async () => {
  [world, receivers, folder] = await Promise.all([
    startWorld({ zones: ['example.com'], now }),
    startReceivers({ secure: false, now }),
    mkdtemp(join(tmpdir(), 'autocert-inbox-')),
  ]);
  oss = await startOss({ accounts: world.accounts, buckets: { certificates: {} } });
});
afterAll(async () => {
  await Promise.all([world.close(), receivers.close(), oss.close(), rm(folder, { recursive: true, force: true })]);
});
/** The store of each test is its own, and so are its domains. */
let store: string;
beforeEach(async () => {
  store = await mkdtemp(join(folder, 'store-'));
  receivers.messages.length = 0;
});
afterEach(() => {
  ahead = 0;
  world.cdn.state.domains.clear();
});

const PASSWORD = 'the-password-of-the-file-8121';
const ENVIRONMENT = { INBOX_PASSWORD: PASSWORD, AUTOCERT_KEY: Buffer.alloc(32, 9).toString('base64') };

/** No CA is asked for anything, unless a test says so. */
function configFor(more: Record<string, unknown> = {}) {
  const notify = [
    { channel: 'webhook', url: receivers.url('webhook'), secret: receivers.secrets.webhook, language: 'en' },
  ];
  return world.config({
    discover: { exclude: ['*'] },
    store: `file://${store}`,
    inbox: { passwords: ['another-one', '${INBOX_PASSWORD}'] },
    notify,
    ...more,
  });
}

function environment(): Record<string, string> {
  if (ahead === 0) return ENVIRONMENT;
  const code = `const Real = Date; globalThis.Date = class extends Real {
    constructor(...given) { if (given.length > 0) super(...given); else super(Real.now() + ${ahead}); }
    static now() { return Real.now() + ${ahead}; }
  };`;
  return { ...ENVIRONMENT, NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(code)}` };
}

async function renew(config: unknown, payload?: { only?: readonly string[]; force?: boolean }): Promise<Renewal> {
  return world.renew(config, { environment: environment(), ...(payload && { payload }) });
}

async function put(name: string, content: string | Uint8Array): Promise<void> {
  const path = join(store, 'inbox', name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
}

async function inbox(): Promise<string[]> {
  const entries = await readdir(join(store, 'inbox'), { recursive: true, withFileTypes: true });
  return entries.flatMap((entry) => (entry.isFile() ? [entry.name] : [])).sort();
}

const ENDS = new Date('2036-01-01T00:00:00Z');
/** A domain with HTTPS on and a certificate that somebody uploaded, which ends in 2026. */
function servedDomain(domain: string, notAfter = new Date('2026-12-31T00:00:00Z')): TestCertificate {
  const byHand = makeCertificate({ names: [domain.replace(/^\./, '*.')], notAfter });
  world.cdn.purchase(domain, { ...byHand, certType: 'upload', certName: `by-hand-${domain}` });
  return byHand;
}

function bought(names: readonly string[], more: Partial<Parameters<typeof makeCertificate>[0]> = {}): TestCertificate {
  return makeCertificate({ names, notAfter: ENDS, ...more });
}

/** With the root, as the file of a CA that is not public has to be. */
function fullChain({ chain }: TestCertificate): string {
  return chain + defaultCa().root;
}

function configured(domain: string): string | undefined {
  return world.cdn.served(domain)?.fingerprint;
}

/** A PKCS#12 file by the openssl command. */
async function pfx(certificate: TestCertificate, ...options: string[]): Promise<Uint8Array> {
  const place = await mkdtemp(join(folder, 'pfx-'));
  const path = (name: string) => join(place, name);
  await writeFile(path('leaf.pem'), certificate.leaf);
  await writeFile(path('chain.pem'), defaultCa().intermediate + defaultCa().root);
  await writeFile(path('key.pem'), certificate.privateKey);
  const files = ['-in', path('leaf.pem'), '-inkey', path('key.pem'), '-certfile', path('chain.pem')];
  const pass = ['-passout', `pass:${PASSWORD}`, '-out', path('www.pfx')];
  await promisify(execFile)('openssl', ['pkcs12', '-export', ...files, ...pass, ...options]);
  return readFile(path('www.pfx'));
}

describe('a certificate that is put into the inbox is served on the domains that it covers', () => {
  test('as .pem and .key, and is the certificate of its domains from then on', async () => {
    servedDomain('pair.example.com');
    servedDomain('other.example.com', new Date('2040-01-01T00:00:00Z'));
    world.cdn.set('plain.example.com');
    const certificate = bought(['pair.example.com', 'plain.example.com']);
    await put('pair.pem', fullChain(certificate));
    await put('pair.key', certificate.privateKey);
    await put('pair-password.txt', 'not a certificate');
    const orders = ordersAt(world);

    const first = await renew(configFor({ discover: {} }));
    expect(statusesOf(first)).toMatchObject({ '_inbox.pair': 'redeployed', 'pair.example.com': 'kept' });
    expect(configured('pair.example.com')).toBe(certificate.fingerprint);
    for (const edge of world.edges) expect(edge.fingerprintOf('pair.example.com')).toBe(certificate.fingerprint);
    expect(world.cdn.state.domains.get('plain.example.com')?.sslProtocol, 'HTTPS is switched on nowhere').toBe('off');
    expect(ordersAt(world), 'no CA is asked').toBe(orders);
    expect(await inbox()).toEqual(['pair-password.txt', 'pair.accepted.txt']);

    const tree = await treeOf(store);
    const calls = world.rpc.calls.length;
    const second = await renew(configFor({ discover: {} }));
    expect(statusesOf(second)).toMatchObject({ '_inbox.pair': 'kept' });
    expect(world.rpc.calls.slice(calls).filter(({ action }) => !action.startsWith('Describe'))).toEqual([]);
    expect(await treeOf(store), 'the store').toEqual(tree);
    expect(receivers.messages).toEqual([]);
  });

  test.each<[string, 'rsa2048' | 'ec256', string[]]>([
    ['an RSA key, in the form that OpenSSL 3 writes', 'rsa2048', []],
    ['an EC key, in the form that OpenSSL 3 writes', 'ec256', []],
    ['an RSA key, in the old form', 'rsa2048', ['-legacy']],
    ['an EC key, in the old form', 'ec256', ['-legacy']],
  ])('as PKCS#12 with %s', async (_, keyType, options) => {
    servedDomain('pfx.example.com');
    const certificate = bought(['pfx.example.com'], { keyType });
    await put('pfx.example.com.pfx', await pfx(certificate, ...options));
    const renewal = await renew(configFor());
    expect(statusesOf(renewal)).toMatchObject({ '_inbox.pfx.example.com': 'redeployed' });
    expect(configured('pfx.example.com')).toBe(certificate.fingerprint);
    expect(renewal.lines.join('\n')).not.toContain(PASSWORD);
    expect(renewal.lines.join('\n')).not.toContain('PRIVATE KEY-');
  });

  test('as files in a folder, in any order, the key encrypted; for a domain of the configuration that has no HTTPS yet', async () => {
    world.cdn.set('folder.example.com');
    const certificate = bought(['folder.example.com'], { keyType: 'rsa2048' });
    const { root, intermediate } = defaultCa();
    await put('shop/fullchain.pem', `${root}${intermediate}\r\nsome words\r\n${certificate.leaf}`);
    const { stdout } = await promisify(execFile)('openssl', [
      'pkcs8',
      ...['-topk8', '-v2', 'aes256', '-passout', `pass:${PASSWORD}`, '-in', await keyFile(certificate)],
    ]);
    await put('shop/privkey.pem', stdout);
    const certificates = [{ name: 'folder', identifiers: ['folder.example.com'] }];
    const orders = ordersAt(world);
    const renewal = await renew(configFor({ certificates }));
    expect(statusesOf(renewal)).toEqual({ folder: 'kept', '_inbox.shop': 'redeployed' });
    expect(configured('folder.example.com')).toBe(certificate.fingerprint);
    expect(ordersAt(world)).toBe(orders);
  });

  test('by the event of an OSS trigger; its own notes ask for nothing', async () => {
    servedDomain('event.example.com');
    const certificate = bought(['event.example.com']);
    const config = {
      ...configFor({ store: 'oss://certificates/event', encryption: { key: '${AUTOCERT_KEY}' } }),
      endpoints: { cdn: world.rpc.url, alidns: world.rpc.url, oss: oss.url },
    };
    const bucket = oss.bucket('certificates');
    bucket.put('event/inbox/event.pem', Buffer.from(fullChain(certificate) + certificate.privateKey), {}, now());
    const event = (key: string) => ({
      events: [
        {
          eventName: 'ObjectCreated:PutObject',
          eventSource: 'acs:oss',
          oss: { bucket: { name: 'certificates' }, object: { key } },
        },
      ],
    });
    const react = async (key: string) => {
      const { result, error, lines } = await world.invoke('redeploy', event(key), config, {
        environment: environment(),
      });
      expect(error, lines.join('\n')).toBeUndefined();
      return (result as RunReport).outcomes.map(({ name, status }) => `${name} ${status}`);
    };
    expect(await react('event/inbox/event.pem')).toEqual(['_inbox.event redeployed']);
    expect(await react('event/inbox/event.pem'), 'the same event again').toEqual(['_inbox.event kept']);
    expect(await react('event/inbox/event.accepted.txt')).toEqual([]);
    expect(configured('event.example.com')).toBe(certificate.fingerprint);

    const keys = bucket.keys();
    expect(keys.filter((key) => key.startsWith('event/inbox/'))).toEqual(['event/inbox/event.accepted.txt']);
    const all = keys.map((key) => oss.read('certificates', key)?.toString('latin1')).join('\n');
    expect(all, 'no key lies in the clear').not.toContain('PRIVATE KEY');

    const requests = oss.requests.length;
    expect(statusesOf(await renew(config))).toMatchObject({ '_inbox.event': 'kept' });
    const read = oss.requests.slice(requests).filter(({ key }) => !key.endsWith('notified.json'));
    expect(read.map(({ method, key }) => `${method} ${key}`)).toEqual(['GET event/index.json', 'GET ']);
  });
});

async function keyFile({ privateKey }: TestCertificate): Promise<string> {
  const path = join(await mkdtemp(join(folder, 'key-')), 'key.pem');
  await writeFile(path, privateKey);
  return path;
}

describe('a file that is refused', () => {
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey.export({ type: 'pkcs1', format: 'pem' });
  const domain = 'refused.example.com';
  const good = () => bought([domain]);
  const both = (certificate: TestCertificate) => fullChain(certificate) + certificate.privateKey;
  const withoutIntermediate = ({ leaf, privateKey }: TestCertificate) => leaf + defaultCa().root + privateKey;

  test.each<[string, string, () => string | Uint8Array | Promise<string | Uint8Array>, RegExp, RegExp]>([
    [
      'whose password is another one',
      'a.pfx',
      () => pfx(good(), '-passout', 'pass:wrong'),
      /None of the passwords/,
      /密码/,
    ],
    [
      'whose key is of another certificate',
      'a.pem',
      () => fullChain(good()) + good().privateKey,
      /none of its certi/,
      /不匹配/,
    ],
    [
      'that has ended',
      'a.pem',
      () => both(bought([domain], { notAfter: new Date('2026-03-01') })),
      /ended at 2026-03/,
      /过期/,
    ],
    [
      'that is not valid yet',
      'a.pem',
      () => both(bought([domain], { notBefore: new Date('2035-01-01') })),
      /not valid bef/,
      /生效/,
    ],
    [
      'without its intermediate',
      'a.pem',
      () => withoutIntermediate(good()),
      /incomplete: the certificate of its issuer "Sandbox CA"/,
      /不完整/,
    ],
    [
      'for no domain of the account',
      'a.pem',
      () => both(bought(['elsewhere.example.net'])),
      /covers no CDN domain/,
      /未覆盖/,
    ],
    [
      'with an RSA key of 1024 bits',
      'a.pem',
      () => both(bought([domain], { privateKey: String(weak) })),
      /1024 bits/,
      /1024/,
    ],
    [
      'that ends before the one in place',
      'a.pem',
      () => both(bought([domain], { notAfter: new Date('2026-12-15') })),
      /only at 2026-12-31/,
      /早于/,
    ],
    ['that is garbage', 'a.pem', () => Buffer.alloc(3000, 'x'), /neither PEM nor PKCS#12/, /PKCS#12/],
    ['of 10 MB', 'a.pem', () => Buffer.alloc(10 * 1024 * 1024, 'x'), /more than 256 KB/, /256 KB/],
    ['that is a ZIP archive', 'a.zip', () => Buffer.from('PK\x03\x04rest'), /ZIP archive/, /压缩包/],
    ['that is cut off', 'a.pem', () => both(good()).slice(0, 500), /damaged or cut off/, /不完整/],
    ['that has a name no store takes', '证书 1.pem', () => both(good()), /other characters/, /文件名/],
  ])('%s says why beside itself, and changes nothing', async (_, name, content, english, chinese) => {
    servedDomain(domain);
    const before = configured(domain);
    await put(name, await content());
    const renewal = await renew(configFor());
    const [outcome] = renewal.report.outcomes;
    expect(outcome).toMatchObject({
      status: 'failed',
      decision: { action: 'keep', reason: 'Refused' },
      error: { code: 'CERTIFICATE_FILE_REFUSED', step: 'inbox', message: expect.stringMatching(english) },
    });
    expect(configured(domain)).toBe(before);
    const [refusal = '', ...more] = (await inbox()).filter((file) => file.endsWith('.txt'));
    expect(more).toEqual([]);
    expect(refusal).toBe(
      name === '证书 1.pem' ? `${outcome?.name.replace('inbox/', '')}.refused.txt` : `${name}.refused.txt`,
    );
    const text = await readFile(join(store, 'inbox', refusal), 'utf8');
    expect(text).toMatch(english);
    expect(text).toMatch(chinese);
    expect(text).not.toContain(PASSWORD);
  });

  test('is told once, fails no later run, and is told to be well when a good one takes its place', async () => {
    servedDomain(domain);
    const certificate = good();
    await put('www.pem', certificate.leaf + certificate.privateKey);
    const first = await renew(configFor());
    expect(errorsOf(first)).toEqual({ 'inbox/www.pem': 'CERTIFICATE_FILE_REFUSED' });
    expect(receivers.messages.map(({ text }) => text.split('\n')[0])).toEqual(['[autocert] FAILING: inbox/www.pem']);
    const tree = await treeOf(store);
    const second = await renew(configFor());
    expect(second.error).toBeUndefined();
    expect(statusesOf(second)).toMatchObject({ 'inbox/www.pem': 'deferred' });
    expect(receivers.messages).toHaveLength(1);
    expect(await treeOf(store), 'the store').toEqual(tree);

    await put('www.pem', both(certificate));
    expect(statusesOf(await renew(configFor()))).toMatchObject({ '_inbox.www': 'redeployed' });
    expect(receivers.messages.at(-1)?.text.split('\n')[0]).toBe('[autocert] RECOVERED: inbox/www.pem');
    expect(await inbox()).toEqual(['www.accepted.txt']);
  });

  test('because a better one is in place is taken when a person insists, by name', async () => {
    servedDomain(domain, new Date('2040-01-01T00:00:00Z'));
    const certificate = good();
    await put('www.pem', both(certificate));
    expect(errorsOf(await renew(configFor()))).toEqual({ 'inbox/www.pem': 'CERTIFICATE_FILE_REFUSED' });
    const insisted = await renew(configFor(), { only: ['_inbox.www'], force: true });
    expect(statusesOf(insisted)).toEqual({ '_inbox.www': 'redeployed' });
    expect(configured(domain)).toBe(certificate.fingerprint);
  });

  test('for a wildcard domain because names would be lost', async () => {
    const here = bought(['*.wild.example.com', '*.a.wild.example.com'], { notAfter: new Date('2027-01-01T00:00:00Z') });
    world.cdn.purchase('.wild.example.com', { ...here, certType: 'upload', certName: 'by-hand-wild' });
    await put('wild.pem', both(bought(['*.wild.example.com'])));
    const { report } = await renew(configFor());
    expect(report.outcomes[0]?.error?.message).toContain('*.a.wild.example.com');
    expect(configured('.wild.example.com')).toBe(here.fingerprint);
  });
});

test('half of a pair waits an hour for the other half, and is refused then', async () => {
  servedDomain('half.example.com');
  const certificate = bought(['half.example.com']);
  await put('half.key', certificate.privateKey);
  const first = await renew(configFor());
  expect(decisionsOf(first)).toMatchObject({ 'inbox/half.key': 'keep Incomplete' });
  expect(first.error).toBeUndefined();
  expect(receivers.messages).toEqual([]);

  ahead = 61 * 60_000;
  expect(errorsOf(await renew(configFor()))).toEqual({ 'inbox/half.key': 'CERTIFICATE_FILE_REFUSED' });
  expect(await inbox()).toEqual(['half.key', 'half.key.refused.txt']);

  await put('half.crt', fullChain(certificate));
  expect(statusesOf(await renew(configFor()))).toMatchObject({ '_inbox.half': 'redeployed' });
  expect(await inbox()).toEqual(['half.accepted.txt']);
});

test('one that was brought is put back when it is overwritten, and left where a better one is put', async () => {
  const domain = 'healed.example.com';
  servedDomain(domain);
  const certificate = bought([domain]);
  await put('healed.pem', fullChain(certificate) + certificate.privateKey);
  await renew(configFor());
  servedDomain(domain, new Date('2027-06-01T00:00:00Z'));
  const healed = await renew(configFor());
  expect(decisionsOf(healed)).toMatchObject({ '_inbox.healed': 'deploy NotDeployed' });
  expect(configured(domain)).toBe(certificate.fingerprint);

  const better = servedDomain(domain, new Date('2040-01-01T00:00:00Z'));
  expect(statusesOf(await renew(configFor()))).toMatchObject({ '_inbox.healed': 'kept' });
  expect(configured(domain)).toBe(better.fingerprint);
});

test('its owner is reminded 30, 14, 7, 3 and 1 days ahead, each once, and told when it has ended', async () => {
  const domain = 'reminded.example.com';
  servedDomain(domain);
  const certificate = bought([domain]);
  await put('reminded.pem', fullChain(certificate) + certificate.privateKey);
  const config = configFor();
  await renew(config);
  const title = async (daysLeft: number) => {
    receivers.messages.length = 0;
    ahead = ENDS.getTime() - daysLeft * 86_400_000 - Date.now();
    await renew(config);
    return receivers.messages.map(({ text }) => text.split('\n')[0]);
  };
  expect(await title(31)).toEqual([]);
  expect(await title(29.5)).toEqual(['[autocert] ENDING SOON: _inbox.reminded, 29 days left']);
  expect(await title(29)).toEqual([]);
  expect(await title(6.5)).toEqual(['[autocert] ENDING SOON: _inbox.reminded, 6 days left']);
  expect(await title(0.55)).toEqual(['[autocert] ENDING SOON: _inbox.reminded, 13 hours left']);
  expect(receivers.messages[0]?.text).toContain('Renew it at its CA, and put the new one into inbox/');
  expect(await title(-0.5)).toEqual(['[autocert] EXPIRED: _inbox.reminded']);
  expect(await title(-1)).toEqual([]);
}, 120_000);

test('one that is taken back is forgotten, and the CA has its domain again', async () => {
  const domain = 'back.example.com';
  world.cdn.set(domain);
  const config = configFor({ certificates: [{ name: 'back', identifiers: [domain], keyType: 'ec256' }] });
  expect(statusesOf(await renew(config))).toEqual({ back: 'renewed' });
  const issued = configured(domain);
  const certificate = bought([domain, 'more.example.com']);
  await put('back.pem', fullChain(certificate) + certificate.privateKey);
  expect(statusesOf(await renew(config))).toEqual({ back: 'kept', '_inbox.back': 'redeployed' });
  expect(configured(domain)).toBe(certificate.fingerprint);

  await put('back.remove', '');
  expect(statusesOf(await renew(config))).toEqual({ back: 'redeployed' });
  expect(configured(domain), 'what the CA issued before').toBe(issued);
  expect(await inbox()).toEqual([]);
  expect(Object.keys(await treeOf(store)).filter((path) => path.includes('_inbox'))).toEqual([]);
});

test('the CA takes over the domain of the configuration in the last days of one that was brought', async () => {
  const domain = 'handover.example.com';
  world.cdn.set(domain);
  const config = configFor({ certificates: [{ name: 'handover', identifiers: [domain], keyType: 'ec256' }] });
  const day = 86_400_000;
  const certificate = bought([domain], { notAfter: new Date(Date.now() + 2 * day) });
  await put('handover.pem', fullChain(certificate) + certificate.privateKey);
  expect(statusesOf(await renew(config))).toEqual({ handover: 'renewed' });
  expect(configured(domain)).not.toBe(certificate.fingerprint);
});
