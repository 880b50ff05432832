import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { promisify } from 'node:util';
import { afterEach, describe, expect, test } from 'vitest';
import type { AccountOptions, AcmeAccount } from '../../src/acme/account.ts';
import { createAccountKey, createPrivateKey } from '../../src/acme/keys.ts';
import type { Order } from '../../src/acme/objects.ts';
import { AcmeProblem } from '../../src/acme/problem.ts';
import { createCsr } from '../../src/acme/signing.ts';
import { type AcmeSession, openAcme } from '../../src/acme.ts';
import { Secret } from '../../src/secret.ts';
import { type Pebble, type PebbleOptions, startPebble } from '../sandbox/pebble.ts';
import { freePorts } from '../sandbox/ports.ts';
import { realDeps } from './deps.ts';
import { failureOf } from './session.ts';

const cleanUps: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

async function pebble(options: PebbleOptions = {}): Promise<Pebble> {
  const running = await startPebble({ ...options, env: { PEBBLE_VA_ALWAYS_VALID: '1', ...options.env } });
  cleanUps.push(() => running.close());
  return running;
}

function session(ca: Pebble, secondsLeft = 60): AcmeSession {
  const opened = openAcme({ directoryUrl: ca.directoryUrl, caBundle: ca.caBundle, deps: realDeps(secondsLeft) });
  cleanUps.push(() => opened.close());
  return opened;
}

function open(acme: AcmeSession, options: Partial<AccountOptions> = {}): Promise<AcmeAccount> {
  return acme.account(createAccountKey(), {
    contact: ['mailto:ops@example.com'],
    termsOfServiceAgreed: true,
    ...options,
  });
}

async function issue(
  account: AcmeAccount,
  identifiers: readonly string[],
  options: { profile?: string; replaces?: string } = {},
): Promise<Order> {
  const opened = await account.newOrder({ identifiers, profile: 'default', ...options });
  const authorizations = await Promise.all(opened.authorizations.map((url) => account.authorization(url)));
  for (const { status, challenges } of authorizations) {
    // RFC 8738 section 7: there is no dns-01 for an IP address.
    const challenge =
      challenges.find(({ type }) => type === 'dns-01') ?? challenges.find(({ type }) => type === 'http-01');
    if (status === 'pending' && challenge !== undefined) await account.respond(challenge.url);
  }
  const ready = await account.pollOrder(opened.url, ['ready']);
  const privateKey = await createPrivateKey('ec256');
  const finalized = await account.finalize(ready, await createCsr({ identifiers, privateKey }));
  return finalized.status === 'valid' ? finalized : await account.pollOrder(opened.url, ['valid']);
}

async function issuePem(account: AcmeAccount, identifiers: readonly string[]): Promise<string> {
  return await account.certificate(await issue(account, identifiers));
}

/** RFC 9773 section 4.1 by what the openssl program reads. */
async function certIdOf(pem: string): Promise<string> {
  const running = promisify(execFile)('openssl', ['x509', '-noout', '-serial', '-ext', 'authorityKeyIdentifier']);
  running.child.stdin?.end(pem);
  const { stdout } = await running;
  const keyId = (/(?:keyid:)?((?:[0-9A-F]{2}:)+[0-9A-F]{2})/.exec(stdout)?.[1] ?? '').replaceAll(':', '');
  const serial = /serial=([0-9A-F]+)/.exec(stdout)?.[1] ?? '';
  // The DER of a positive number begins with a zero bit.
  const bytes = Buffer.from(/^[89A-F]/.test(serial) ? `00${serial}` : serial, 'hex');
  return `${Buffer.from(keyId, 'hex').toString('base64url')}.${bytes.toString('base64url')}`;
}

function daysOf(pem: string): number {
  const { validFrom, validTo } = new X509Certificate(pem);
  return Math.round((Date.parse(validTo) - Date.parse(validFrom)) / 86_400_000);
}

/** Where no DNS server is. */
async function nobody(): Promise<string> {
  const [port] = await freePorts(1);
  return `127.0.0.1:${port}`;
}

test('a certificate for an apex and its wildcard is issued by an independent CA that refuses 5 % of good nonces', async () => {
  const account = await open(session(await pebble()));
  const pem = await issuePem(account, ['example.com', '*.example.com']);
  const leaf = new X509Certificate(pem);
  expect(leaf.subjectAltName?.split(', ').sort()).toEqual(['DNS:*.example.com', 'DNS:example.com']);
  expect(pem.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
});

test('F65 a name of more than 64 characters and an IP address are issued, without a common name', async () => {
  const account = await open(session(await pebble()));
  const long = `${'a'.repeat(60)}.${'b'.repeat(60)}.example.com`;
  const leaf = new X509Certificate(await issuePem(account, [long, '192.0.2.1']));
  expect(leaf.subjectAltName).toContain(`DNS:${long}`);
  expect(leaf.subjectAltName).toContain('IP Address:192.0.2.1');
});

test.each([
  ['1', '50', 40],
  ['2', '90', 20],
])('%s A11 with %s percent of good nonces refused, all of %i certificates are issued', async (_, percent, count) => {
  const account = await open(session(await pebble({ env: { PEBBLE_WFE_NONCEREJECT: percent } })));
  const names = Array.from({ length: count }, (_each, index) => `host-${index}.example.com`);
  const chains = await Promise.all(names.map((name) => issuePem(account, [name])));
  expect(chains.map((chain) => new X509Certificate(chain).subjectAltName)).toEqual(names.map((name) => `DNS:${name}`));
});

test('F5 authorizations that the CA reuses make the next order ready at once', async () => {
  const account = await open(session(await pebble({ env: { PEBBLE_AUTHZREUSE: '100' } })));
  await issue(account, ['example.com']);
  const order = await account.newOrder({ identifiers: ['example.com'] });
  expect(order.status).toBe('ready');
});

test('F7 another process downloads the same bytes from the URL of the order', async () => {
  const ca = await pebble();
  const key = createAccountKey();
  const first = await session(ca).account(key, { termsOfServiceAgreed: true });
  const order = await issue(first, ['example.com']);
  const second = await session(ca).account(key, { accountUrl: first.url, termsOfServiceAgreed: true });
  expect(await second.certificate(await second.order(order.url))).toBe(await first.certificate(order));
});

test('A16 a key that is known and no contact give the account that exists', async () => {
  const ca = await pebble();
  const key = createAccountKey();
  const first = await session(ca).account(key, { contact: ['mailto:ops@example.com'], termsOfServiceAgreed: true });
  const second = await session(ca).account(key, { termsOfServiceAgreed: true });
  expect(second.url).toBe(first.url);
});

test('F17 a CA that was reset does not know the account, and takes its key again', async () => {
  const before = await pebble();
  const key = createAccountKey();
  const { url } = await session(before).account(key, { termsOfServiceAgreed: true });
  const after = await pebble();
  const accountUrl = url.replace(new URL(before.directoryUrl).origin, new URL(after.directoryUrl).origin);
  const acme = session(after);
  const forgotten = await acme.account(key, { accountUrl, termsOfServiceAgreed: true });
  expect(await failureOf(forgotten.newOrder({ identifiers: ['example.com'] }))).toMatchObject({
    code: 'ACME_ACCOUNT_DOES_NOT_EXIST',
  });
  const again = await acme.account(key, { termsOfServiceAgreed: true });
  expect(new X509Certificate(await issuePem(again, ['example.com'])).subjectAltName).toBe('DNS:example.com');
});

describe('profiles', () => {
  test('the profile decides the lifetime', async () => {
    const acme = session(await pebble());
    expect(Object.keys((await acme.directory()).meta.profiles ?? {}).sort()).toEqual(['default', 'shortlived']);
    const account = await open(acme);
    expect(daysOf(await account.certificate(await issue(account, ['example.com'], { profile: 'shortlived' })))).toBe(6);
    expect(daysOf(await account.certificate(await issue(account, ['example.com'], { profile: 'default' })))).toBe(90);
  });

  test('F25 a profile that the CA does not have is refused by name', async () => {
    const account = await open(session(await pebble()));
    expect(await failureOf(account.newOrder({ identifiers: ['example.com'], profile: 'gold' }))).toMatchObject({
      code: 'ACME_INVALID_PROFILE',
    });
  });
});

describe('ARI', () => {
  test('A15 21 an order replaces a certificate once', async () => {
    const account = await open(session(await pebble()));
    const replaces = await certIdOf(await issuePem(account, ['example.com']));
    const order = await issue(account, ['example.com'], { replaces });
    expect(order.replaces).toBe(replaces);
    const error = await failureOf(account.newOrder({ identifiers: ['example.com'], replaces }));
    expect(error).toMatchObject({ code: 'ACME_ALREADY_REPLACED', status: 409 });
  });

  test('F22 the window of a certificate lies within its life, and follows what the CA decides', async () => {
    const ca = await pebble();
    const acme = session(ca);
    const pem = await issuePem(await open(acme), ['example.com']);
    const certId = await certIdOf(pem);
    const {
      suggestedWindow: { start, end },
    } = (await acme.renewalInfo(certId)) ?? expect.unreachable('Pebble offers ARI');
    expect(start.getTime()).toBeGreaterThan(Date.parse(new X509Certificate(pem).validFrom));
    expect(end.getTime()).toBeLessThan(Date.parse(new X509Certificate(pem).validTo));

    const suggestedWindow = { start: '2026-01-01T00:00:00Z', end: '2026-01-02T00:00:00Z' };
    await ca.setRenewalInfo(pem, { suggestedWindow, explanationURL: 'https://example.com/why' });
    expect(await acme.renewalInfo(certId)).toMatchObject({
      suggestedWindow: { start: new Date(suggestedWindow.start), end: new Date(suggestedWindow.end) },
      explanationURL: 'https://example.com/why',
    });
    await ca.setRenewalInfo(pem, '{"suggestedWindow":');
    expect(await failureOf(acme.renewalInfo(certId))).toMatchObject({ code: 'ACME_RESPONSE_INVALID' });
  });

  test('F22 a certID that the CA does not know is an error', async () => {
    const acme = session(await pebble());
    expect(await failureOf(acme.renewalInfo('AAAA.BBBB'))).toMatchObject({ name: 'AcmeProblem' });
  });
});

describe('F18 external account binding', () => {
  const hmacKey = Buffer.alloc(32, 7).toString('base64url');
  const start = () => pebble({ externalAccountMacKeys: { 'kid-1': hmacKey } });

  test('the right pair opens an account that issues', async () => {
    const account = await open(session(await start()), {
      externalAccountBinding: { kid: 'kid-1', hmacKey: new Secret(hmacKey) },
    });
    expect(new X509Certificate(await issuePem(account, ['example.com'])).subjectAltName).toBe('DNS:example.com');
  });

  test('without a pair, the remedy names the keys to set', async () => {
    const error = await failureOf(open(session(await start())));
    expect(error).toMatchObject({ code: 'ACME_EXTERNAL_ACCOUNT_REQUIRED', retryable: false });
    expect(error.remedy).toMatch(/^Set acme\.externalAccountBinding\.kid/);
  });

  test.each([
    ['a MAC key that is wrong', 'kid-1', Buffer.alloc(32, 8).toString('base64url')],
    ['a kid that is wrong', 'kid-2', hmacKey],
  ])('with %s, the remedy says to check them, and the key is not shown', async (_, kid, key) => {
    const error = await failureOf(
      open(session(await start()), { externalAccountBinding: { kid, hmacKey: new Secret(key) } }),
    );
    expect(error).toMatchObject({ name: 'AcmeProblem', retryable: false });
    expect(error.remedy).toContain('Check acme.externalAccountBinding.kid');
    expect(`${error.message} ${error.remedy} ${error.stack}`).not.toContain(key);
  });
});

test('F16 the chain of the preferred root is found among the alternates', async () => {
  const ca = await pebble({ env: { PEBBLE_ALTERNATE_ROOTS: '2', PEBBLE_CHAIN_LENGTH: '3' } });
  const account = await open(session(ca));
  const order = await issue(account, ['example.com']);
  const roots = (await ca.roots()).map((pem) => new X509Certificate(pem));
  expect(roots).toHaveLength(3);
  for (const root of roots) {
    const preferredChain = root.subject.replace('CN=', '');
    const chain = await account.certificate(order, { preferredChain });
    const blocks = chain.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
    expect(blocks).toHaveLength(4);
    expect(new X509Certificate(blocks.at(-1) ?? '').checkIssued(root)).toBe(true);
  }
});

test('F19 a name that the CA refuses is named', async () => {
  const account = await open(session(await pebble({ domainBlocklist: ['blocked.example'] })));
  const error = await failureOf(account.newOrder({ identifiers: ['good.example', 'blocked.example'] }));
  expect(error).toMatchObject({ code: 'ACME_REJECTED_IDENTIFIER', retryable: false });
  expect(error.message).toContain('blocked.example');
});

test('A10 28 a validation that fails is the problem of its identifier', async () => {
  const ca = await pebble({ env: { PEBBLE_VA_ALWAYS_VALID: '0' }, dnsServer: await nobody() });
  const account = await open(session(ca));
  const error = await failureOf(issue(account, ['example.com', 'www.example.com']));
  // Pebble calls a lookup that fails `unauthorized`, where Boulder says `dns`.
  expect(error).toMatchObject({ name: 'AcmeProblem', code: 'ACME_UNAUTHORIZED', retryable: false });
  expect(['example.com', 'www.example.com']).toContain(error instanceof AcmeProblem ? error.identifier : undefined);
});

test('a certificate is revoked, twice without complaint', async () => {
  const ca = await pebble();
  const account = await open(session(ca));
  const pem = await issuePem(account, ['example.com']);
  await account.revoke(pem, 4);
  await account.revoke(pem, 4);
  expect(await ca.certificateStatus(new X509Certificate(pem).serialNumber)).toMatchObject({
    status: 'Revoked',
    reason: 4,
  });
});

test('the account key is changed, and the old one opens nothing any more', async () => {
  const ca = await pebble();
  const account = await open(session(ca));
  const newKey = createAccountKey();
  const changed = await account.keyChange(newKey);
  expect(new X509Certificate(await issuePem(changed, ['example.com'])).subjectAltName).toBe('DNS:example.com');
  expect((await session(ca).account(newKey, { termsOfServiceAgreed: true })).url).toBe(account.url);
  expect(await failureOf(account.newOrder({ identifiers: ['example.com'] }))).toMatchObject({ name: 'AcmeProblem' });
});

test('an authorization that is deactivated can no longer be used', async () => {
  const account = await open(session(await pebble()));
  const { authorizations } = await account.newOrder({ identifiers: ['example.com'] });
  await account.deactivateAuthorization(authorizations[0] ?? '');
  expect(await account.authorization(authorizations[0] ?? '')).toMatchObject({ status: 'deactivated' });
});
