import { spawn } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, get } from 'node:https';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import acme from 'acme-client';
import { streamDecode } from 'dns-packet';
import { expect, onTestFinished, test } from 'vitest';
import { findPebble, type Pebble, type PebbleOptions, startPebble } from './pebble.ts';
import { freePorts } from './ports.ts';

test('the directory offers renewalInfo and the profiles, over TLS that only the given CA vouches for', async () => {
  const pebble = await started();

  const directory = await getJson(pebble.directoryUrl, pebble.caBundle);

  expect(directory).toMatchObject({
    newOrder: expect.stringMatching(/^https:\/\/127\.0\.0\.1:/),
    renewalInfo: expect.any(String),
    meta: { profiles: { default: expect.any(String), shortlived: expect.any(String) }, externalAccountRequired: false },
  });
  await expect(getJson(pebble.directoryUrl, undefined)).rejects.toThrow(/certificate/);
});

test('an account needs an external account binding once MAC keys are given', async () => {
  const pebble = await started({
    externalAccountMacKeys: { 'kid-1': 'zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W' },
  });

  expect(await getJson(pebble.directoryUrl, pebble.caBundle)).toMatchObject({
    meta: { externalAccountRequired: true },
  });
});

test('a certificate of the shortlived profile lives six days, chains to the roots, and has the renewalInfo it was given', async () => {
  const pebble = await started({ env: { PEBBLE_VA_ALWAYS_VALID: '1' } });
  const client = await newAccount(pebble);

  const chain = await issue(client, 'www.example.com', 'shortlived');

  const leaf = new X509Certificate(chain);
  expect(Date.parse(leaf.validTo) - Date.parse(leaf.validFrom)).toBe((518_400 - 1) * 1000);
  const [root] = await pebble.roots();
  const [intermediate] = await pebble.intermediates();
  if (root === undefined || intermediate === undefined) throw new Error('Pebble names no issuer');
  expect(leaf.verify(new X509Certificate(intermediate).publicKey)).toBe(true);
  expect(new X509Certificate(intermediate).verify(new X509Certificate(root).publicKey)).toBe(true);
  expect(await pebble.certificateStatus(leaf.serialNumber)).toMatchObject({ status: 'Valid' });

  const suggestedWindow = { start: '2026-01-02T03:04:05Z', end: '2026-01-03T03:04:05Z' };
  await pebble.setRenewalInfo(leaf.toString(), { suggestedWindow });
  expect(await getJson(await renewalInfoUrl(pebble, leaf), pebble.caBundle)).toEqual({ suggestedWindow });

  await client.revokeCertificate(chain, { reason: 4 });
  expect(await pebble.certificateStatus(leaf.serialNumber)).toMatchObject({ status: 'Revoked', reason: 4 });
});

test('a name on the blocklist is refused as an identifier', async () => {
  const pebble = await started({ domainBlocklist: ['blocked.example'] });
  const client = await newAccount(pebble);

  const order = client.createOrder({ identifiers: [{ type: 'dns', value: 'blocked.example' }] });

  await expect(order).rejects.toThrow(/issuance is forbidden by policy: "blocked.example"/);
});

test('validation asks the given DNS server', async () => {
  const asked = new EventEmitter<{ name: [string] }>();
  const dns = createServer((socket) => {
    socket.once('data', (message) => {
      for (const question of streamDecode(message).questions ?? []) asked.emit('name', question.name);
      socket.destroy();
    });
  });
  onTestFinished(async () => {
    dns.close();
    await once(dns, 'close');
  });
  const [port] = await freePorts(1);
  await once(dns.listen(port, '127.0.0.1'), 'listening');
  const pebble = await started({ dnsServer: `127.0.0.1:${port}` });
  const client = await newAccount(pebble);
  const order = await client.createOrder({ identifiers: [{ type: 'dns', value: 'asked.example.com' }] });
  const [authorization] = await client.getAuthorizations(order);
  const challenge = authorization?.challenges.find(({ type }) => type === 'dns-01');
  if (challenge === undefined) throw new Error('no dns-01 challenge');

  const firstQuestion = once(asked, 'name');
  await client.completeChallenge(challenge);

  expect(await firstQuestion).toEqual(['_acme-challenge.asked.example.com']);
});

test('alternative chains are all listed, and close leaves no process and no file', async () => {
  const pebble = await startPebble({ env: { PEBBLE_ALTERNATE_ROOTS: '2' } });
  expect(await pebble.roots()).toHaveLength(3);

  await pebble.close();
  await pebble.close();

  expect(await accepts(pebble.directoryUrl)).toBe(false);
  expect(existsSync(pebble.caBundlePath)).toBe(false);
});

test('neither Pebble nor its files outlive a parent that was killed', async () => {
  const program = `
    const { startPebble } = await import(${JSON.stringify(new URL('./pebble.ts', import.meta.url).href)});
    const pebble = await startPebble();
    process.stdout.write(JSON.stringify(pebble));
    setInterval(() => undefined, 60_000);`;
  const parent = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', program], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [written] = await once(parent.stdout, 'data');
  const { directoryUrl, caBundlePath }: Pebble = JSON.parse(String(written));
  expect(await accepts(directoryUrl)).toBe(true);

  parent.kill('SIGKILL');
  await once(parent, 'exit');

  while ((await accepts(directoryUrl)) || existsSync(caBundlePath)) await sleep(10);
});

test('a machine without Pebble is told how to get it', async () => {
  const empty = await mkdtemp(join(tmpdir(), 'autocert-empty-'));
  onTestFinished(() => rm(empty, { recursive: true }));

  await expect(findPebble([empty])).rejects.toThrow(/npm run sandbox.*github\.com\/letsencrypt\/pebble/);
});

async function started(options?: PebbleOptions): Promise<Pebble> {
  const pebble = await startPebble(options);
  onTestFinished(() => pebble.close());
  return pebble;
}

async function newAccount(pebble: Pebble): Promise<acme.Client> {
  // acme-client has one HTTP client for the whole process; the tests of a file run one after the other.
  acme.axios.defaults.httpsAgent = new Agent({ ca: pebble.caBundle });
  const client = new acme.Client({
    directoryUrl: pebble.directoryUrl,
    accountKey: await acme.crypto.createPrivateEcdsaKey(),
  });
  await client.createAccount({ termsOfServiceAgreed: true, contact: ['mailto:ops@example.com'] });
  return client;
}

async function issue(client: acme.Client, name: string, profile: string): Promise<string> {
  const order = await client.createOrder({ identifiers: [{ type: 'dns', value: name }], ...{ profile } });
  for (const authorization of await client.getAuthorizations(order)) {
    const challenge = authorization.challenges.find(({ type }) => type === 'dns-01');
    if (challenge === undefined) throw new Error('no dns-01 challenge');
    await client.completeChallenge(challenge);
    await client.waitForValidStatus(challenge);
  }
  const [, csr] = await acme.crypto.createCsr({ altNames: [name] }, await acme.crypto.createPrivateEcdsaKey());
  return await client.getCertificate(await client.finalizeOrder(order, csr));
}

/** RFC 9773 section 4.1,: the authority key identifier and the serial number. */
async function renewalInfoUrl(pebble: Pebble, leaf: X509Certificate): Promise<string> {
  const directory = await getJson(pebble.directoryUrl, pebble.caBundle);
  const authorityKeyId = findAuthorityKeyId(leaf.raw);
  const serial = Buffer.from(leaf.serialNumber, 'hex');
  const padded = (serial[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), serial]) : serial;
  return `${String(directory['renewalInfo'])}/${authorityKeyId.toString('base64url')}.${padded.toString('base64url')}`;
}

/** The octets after the extension's OID 2.5.29.35: OCTET STRING, SEQUENCE, [0] of 20 octets. */
function findAuthorityKeyId(der: Buffer): Buffer {
  const oid = der.indexOf(Buffer.of(0x06, 0x03, 0x55, 0x1d, 0x23));
  const value = der.indexOf(Buffer.of(0x80, 0x14), oid);
  return der.subarray(value + 2, value + 22);
}

async function getJson(url: string, ca: string | undefined): Promise<Record<string, unknown>> {
  const call = get(url, { ca, agent: false, headers: { 'user-agent': 'test' } });
  const [response] = await once(call, 'response');
  return JSON.parse(await text(response));
}

async function accepts(url: string): Promise<boolean> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
