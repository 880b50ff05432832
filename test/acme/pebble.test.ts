import { X509Certificate } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { type AcmeAccount, type AcmeSession, createAccountKey, createCsr, createPrivateKey, openAcme, type Order } from '../../src/acme.ts';
import type { AccountOptions } from '../../src/acme/account.ts';
import { Secret } from '../../src/secret.ts';
import { type Pebble, type PebbleOptions, startPebble } from '../sandbox/pebble.ts';
import { realDeps } from './deps.ts';

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
  return acme.account(createAccountKey(), { contact: ['mailto:ops@example.com'], termsOfServiceAgreed: true, ...options });
}

async function issue(account: AcmeAccount, identifiers: readonly string[], options: { profile?: string; replaces?: string } = {}): Promise<Order> {
  const opened = await account.newOrder({ identifiers, profile: 'default', ...options });
  const authorizations = await Promise.all(opened.authorizations.map((url) => account.authorization(url)));
  for (const { status, challenges } of authorizations) {
    const challenge = challenges.find(({ type }) => type === 'dns-01');
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

test('a certificate for an apex and its wildcard is issued by an independent CA that refuses 5 % of good nonces', async () => {
  const account = await open(session(await pebble()));
  const pem = await issuePem(account, ['example.com', '*.example.com']);
  const leaf = new X509Certificate(pem);
  expect(leaf.subjectAltName?.split(', ').sort()).toEqual(['DNS:*.example.com', 'DNS:example.com']);
  expect(pem.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
});
