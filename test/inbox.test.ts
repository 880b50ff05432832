import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isKeyOf, parseCertificates } from '../src/certificate.ts';
import { examine } from '../src/inbox/examine.ts';
import { readMaterial } from '../src/inbox/material.ts';
import { contentsOf, parcelName } from '../src/inbox/parcel.ts';
import { Secret } from '../src/secret.ts';
import { defaultCa, makeCa, makeCertificate, type TestCertificate } from './sandbox/certificates.ts';

const NOW = new Date('2026-02-01T00:00:00Z');
const PASSWORD = 'the-password-of-the-file-4410';
const openssl = (...words: string[]) => promisify(execFile)('openssl', words);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'autocert-inbox-unit-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What is refused, in English; undefined for what is good. */
async function refusalOf(
  content: string | Uint8Array,
  passwords: readonly string[] = [],
  now = NOW,
): Promise<string | undefined> {
  const secrets = passwords.map((password) => new Secret(password));
  const material = await readMaterial(Buffer.from(content), 'inbox/www.pfx', secrets);
  if ('en' in material) return `${material.en.why} ${material.en.remedy}`;
  const brought = examine(material, now);
  return 'en' in brought ? brought.en.why : undefined;
}

function whole({ chain, privateKey }: TestCertificate, root = defaultCa().root): string {
  return chain + root + privateKey;
}

describe('the files of the inbox', () => {
  test.each([
    ['inbox/www.example.com.pem', '_inbox.www.example.com'],
    ['inbox/www.example.com.key', '_inbox.www.example.com'],
    ['inbox/_.example.com.pfx', '_inbox._.example.com'],
    ['inbox/*.example.com.pfx', '_inbox._.example.com'],
    ['inbox/WWW.P12', '_inbox.www'],
    ['inbox/www.remove', '_inbox.www'],
    ['inbox/shop/fullchain.pem', '_inbox.shop'],
    ['inbox/shop/privkey.pem', '_inbox.shop'],
    ['inbox/www.pem.refused.txt', undefined],
    ['inbox/www.accepted.txt', undefined],
    ['inbox/pfx-password.txt', undefined],
    ['inbox/', undefined],
    ['certificates/www/record.json', undefined],
  ])('%s belongs to %s', (key, name) => {
    expect(parcelName(key)).toBe(name);
  });

  test('of names that are no names of certificates are told apart', () => {
    const names = ['inbox/证书.pem', 'inbox/域名.pem', 'inbox/a b.pem', 'inbox/a-b.pem'].map(parcelName);
    expect(new Set(names).size).toBe(4);
    for (const name of names) expect(name).toMatch(/^_inbox\.[a-z0-9._-]+$/);
  });

  test('make one certificate by their name; notes of files that are gone are stale', () => {
    const { parcels, stale } = contentsOf([
      'inbox/a.key',
      'inbox/a.pem',
      'inbox/a.pem.refused.txt',
      'inbox/b.accepted.txt',
      'inbox/b.pem.refused.txt',
      'inbox/b.pem.waiting.txt',
      'inbox/not ours.refused.txt',
    ]);
    expect(parcels.map(({ name, files }) => [name, files])).toEqual([['_inbox.a', ['inbox/a.key', 'inbox/a.pem']]]);
    expect(stale).toEqual(['inbox/b.pem.refused.txt', 'inbox/b.pem.waiting.txt']);
  });
});

describe('a certificate is taken', () => {
  test('with its chain in order and without the root, and its key in the form of the CDN', async () => {
    const certificate = makeCertificate({ names: ['www.example.com'], keyType: 'rsa2048' });
    const { root, intermediate } = defaultCa();
    const stranger = makeCa('Stranger').intermediate;
    const { stdout } = await openssl('pkcs8', '-topk8', '-nocrypt', '-in', await fileOf(certificate.privateKey));
    const mixed = `${stdout}${root}${stranger}Bag Attributes\n${intermediate}${certificate.leaf.replaceAll('\n', '\r\n')}`;
    const material = await readMaterial(Buffer.from(mixed), 'inbox/www.pem', []);
    if ('en' in material) throw new Error(material.en.why);
    const brought = examine(material, NOW);
    if ('en' in brought) throw new Error(brought.en.why);
    expect(brought.facts).toMatchObject({ fingerprint: certificate.fingerprint, keyType: 'rsa2048' });
    expect(brought.bundle.chain).toBe(certificate.chain);
    expect(brought.bundle.privateKey.reveal()).toMatch(/^-----BEGIN RSA PRIVATE KEY-----\n/);
    expect(isKeyOf(brought.bundle.privateKey, brought.bundle.chain)).toBe(true);
    expect(parseCertificates(brought.bundle.chain)).toHaveLength(2);
  });

  test.each([
    ['as OpenSSL 3 encrypts it', ['pkcs8', '-topk8', '-v2', 'aes-256-cbc']],
    ['as OpenSSL did before', ['ec', '-aes128']],
  ])('with an encrypted key, %s', async (_, words) => {
    const certificate = makeCertificate({ names: ['www.example.com'] });
    const [command = '', ...rest] = words;
    const { stdout } = await openssl(
      command,
      ...rest,
      ...['-passout', `pass:${PASSWORD}`, '-in', await fileOf(certificate.privateKey)],
    );
    const content = certificate.chain + defaultCa().root + stdout;
    expect(await refusalOf(content, ['another', PASSWORD])).toBeUndefined();
    expect(await refusalOf(content, ['another'])).toMatch(/^None of the passwords/);
    expect(await refusalOf(content)).toMatch(/^It is protected by a password, and the configuration has none/);
  });
});

describe('a certificate is refused', () => {
  test('whose key is on a curve that the CDN does not take', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-521' });
    const pem = privateKey.export({ type: 'sec1', format: 'pem' }).toString();
    const certificate = makeCertificate({ names: ['www.example.com'], privateKey: pem });
    expect(await refusalOf(whole(certificate))).toMatch(/^Its key is EC on secp521r1/);
  });

  test('that signed itself', async () => {
    const [key, crt] = [join(folder, 'self.key'), join(folder, 'self.crt')];
    const names = ['-subj', '/CN=www.example.com', '-addext', 'subjectAltName=DNS:www.example.com'];
    await openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', crt, ...names);
    const content = (await readFile(crt, 'utf8')) + (await readFile(key, 'utf8'));
    expect(await refusalOf(content)).toMatch(/^It is signed by itself/);
  });

  test('from a staging CA', async () => {
    const issuer = makeCa('(STAGING) Puzzling Parsnip');
    const certificate = makeCertificate({ names: ['www.example.com'], issuer });
    expect(await refusalOf(whole(certificate, issuer.root))).toMatch(/^It is from a staging CA/);
  });

  test('whose chain ends at a root that nobody knows', async () => {
    const certificate = makeCertificate({ names: ['www.example.com'] });
    const content = certificate.chain + certificate.privateKey;
    expect(await refusalOf(content)).toBe(
      'Its chain is incomplete: the certificate of its issuer "Sandbox CA Root" is missing.',
    );
  });

  test('whose intermediate has ended', async () => {
    const issuer = makeCa('Old CA', new Date('2026-01-15T00:00:00Z'));
    const certificate = makeCertificate({ names: ['www.example.com'], issuer });
    expect(await refusalOf(whole(certificate, issuer.root))).toMatch(/^Old CA ended at 2026-01-15/);
  });

  test('of a second that its life does not have', async () => {
    const certificate = makeCertificate({ names: ['www.example.com'], notAfter: NOW });
    expect(await refusalOf(whole(certificate))).toMatch(/^www.example.com ended at 2026-02-01T00:00:00/);
    expect(await refusalOf(whole(certificate), [], new Date(NOW.getTime() - 1000))).toBeUndefined();
  });

  test('that is PKCS#12 and wants to be opened nine million times over', async () => {
    const certificate = makeCertificate({ names: ['www.example.com'] });
    const path = join(folder, 'slow.pfx');
    const files = ['-in', await fileOf(certificate.leaf), '-inkey', await fileOf(certificate.privateKey), '-out', path];
    await openssl('pkcs12', '-export', '-passout', `pass:${PASSWORD}`, ...files);
    expect(await refusalOf(await readFile(path), [PASSWORD])).toMatch(/^Its chain is incomplete/);
    await openssl('pkcs12', '-export', '-iter', '9000000', '-passout', `pass:${PASSWORD}`, ...files);
    expect(await refusalOf(await readFile(path), [PASSWORD])).toMatch(
      /^It looks like PKCS#12.*openssl pkcs12 -in www.pfx/,
    );
  }, 60_000);

  test.each([
    ['nothing', ''],
    ['DER that is none', Buffer.from([0x30, 0x80, 0x01, 0x02, 0x03])],
    ['a key that never ends', '-----BEGIN PRIVATE KEY-----\nMIIE'],
    ['a certificate of rubbish', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'],
    ['a certificate request', '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----'],
  ])('that is %s', async (_, content) => {
    expect(await refusalOf(content, [PASSWORD])).toMatch(/neither PEM nor|PKCS#12|damaged/);
  });
});

async function fileOf(content: string): Promise<string> {
  const path = join(await mkdtemp(join(folder, 'file-')), 'file.pem');
  await writeFile(path, content);
  return path;
}
