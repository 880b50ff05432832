import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startWorld, type World } from '../sandbox/world.ts';

let world: World;
const pushed = new Map<string, Readonly<Record<string, string>>>();
beforeAll(async () => {
  world = await startWorld({ zones: ['example.com'], pebble: { env: { PEBBLE_CHAIN_LENGTH: '2' } } });
  world.rpc.intercept(({ action, parameters }) => {
    if (/^Set.*Certificate$/.test(action)) pushed.set(parameters['DomainName'] ?? '', parameters);
    return undefined;
  });
  for (const keyType of ['rsa2048', 'rsa3072', 'ec256', 'ec384']) world.cdn.set(`${keyType}.example.com`);
  const certificates = ['rsa2048', 'rsa3072', 'ec256', 'ec384'].map((keyType) => ({
    name: keyType,
    identifiers: [`${keyType}.example.com`],
    keyType,
  }));
  const { report } = await world.renew(world.config({ certificates }));
  expect(report.outcomes.map(({ status }) => status)).toEqual(['renewed', 'renewed', 'renewed', 'renewed']);
});
afterAll(() => world.close());

describe.each([
  ['rsa2048', 'RSA PRIVATE KEY', /2048 bit/],
  ['rsa3072', 'RSA PRIVATE KEY', /3072 bit/],
  ['ec256', 'EC PRIVATE KEY', /prime256v1/],
  ['ec384', 'EC PRIVATE KEY', /secp384r1/],
])('%s', (keyType, label, size) => {
  const push = () => pushed.get(`${keyType}.example.com`) ?? {};

  test('its key goes out in the form that the CDN documents', () => {
    const { PrivateKey = '' } = push();
    expect(PrivateKey).toMatch(new RegExp(`^-----BEGIN ${label}-----\n`));
    expect(execFileSync('openssl', ['pkey', '-noout', '-text'], { input: PrivateKey, encoding: 'utf8' })).toMatch(size);
  });

  test('its chain is leaf first, without the root, without blank lines, with LF alone', async () => {
    const { ServerCertificate = '' } = push();
    expect(ServerCertificate).not.toMatch(/\r|\n\n|^\s/);
    expect(ServerCertificate.endsWith('-----END CERTIFICATE-----\n')).toBe(true);
    const chain = ServerCertificate.split(/(?<=-----END CERTIFICATE-----\n)/).map((pem) => new X509Certificate(pem));
    expect(chain).toHaveLength(3);
    expect(chain[0]?.subjectAltName).toBe(`DNS:${keyType}.example.com`);
    for (const [index, certificate] of chain.entries()) {
      const issuer = chain[index + 1];
      expect(certificate.subject).not.toBe(certificate.issuer);
      if (issuer) expect(certificate.verify(issuer.publicKey), `certificate ${index} is signed by the next`).toBe(true);
    }
  });

  test('it is pushed with ForceSet=1 under a name of its own', () => {
    expect(push()).toMatchObject({
      CertName: `autocert-cdn-${keyType}_example_com`,
      CertType: 'upload',
      ForceSet: '1',
      ServerCertificateStatus: 'on',
    });
  });
});

test('no private key was ever in a URL', () => {
  expect(world.rpc.violations).toEqual([]);
});
