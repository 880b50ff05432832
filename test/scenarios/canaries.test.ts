import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readAccount, readBundle, readRecord } from '../../src/record.ts';
import { Secret } from '../../src/secret.ts';
import { createEncryptedStore } from '../../src/store/encrypted.ts';
import { createFileStore } from '../../src/store/file.ts';
import { leaksOf } from '../canaries.ts';
import { type FaultProxy, startFaultProxy } from '../sandbox/fault-proxy.ts';
import { statusesOf } from '../sandbox/footprint.ts';
import type { InterceptedCall, Interception } from '../sandbox/rpc-server.ts';
import { CREDENTIALS, KMS_KEY, type Renewal, startWorld, type World } from '../sandbox/world.ts';

const TOKEN = randomBytes(24).toString('hex');
const environment = {
  AUTOCERT_KEY: randomBytes(32).toString('base64'),
  EAB_HMAC_KEY: randomBytes(48).toString('base64url'),
  WEBHOOK_SECRET: `whsec-${randomBytes(18).toString('base64url')}`,
  TOKEN,
};

let world: World;
let proxy: FaultProxy;
let webhook: Server;
/** The private keys that the CDN was sent. */
const pushed = new Set<string>();

beforeAll(async () => {
  world = await startWorld({
    zones: ['example.com'],
    pebble: { externalAccountMacKeys: { 'kid-1': environment.EAB_HMAC_KEY } },
  });
  proxy = await startFaultProxy(world.pebble);
  world.rpc.intercept(({ parameters }) => {
    if (parameters['PrivateKey'] !== undefined) pushed.add(parameters['PrivateKey']);
    return undefined;
  });
  // Whoever is told of a failure gives back all that it was told, and where else to go with it.
  webhook = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString();
    });
    request.on('end', () => {
      const said = `${request.url} ${JSON.stringify(request.headers)} ${body}`;
      response
        .writeHead(request.url?.includes('again') ? 307 : 400, {
          location: `http://127.0.0.1:1/${encodeURIComponent(said)}`,
        })
        .end(said);
    });
  });
  await new Promise<void>((resolve) => webhook.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  await new Promise((resolve) => webhook.close(resolve));
  await proxy.close();
  await world.close();
});

function configFor(domain: string) {
  world.cdn.set(domain);
  const { port } = webhook.address() as AddressInfo;
  const hook = (path: string) => ({
    channel: 'webhook',
    url: `http://127.0.0.1:${port}/${path}?token=\${TOKEN}`,
    secret: '${WEBHOOK_SECRET}',
  });
  return {
    ...world.config({ certificates: [{ name: domain, identifiers: [domain], keyType: 'ec256' }] }),
    acme: proxy.acme({ externalAccountBinding: { kid: 'kid-1', hmacKey: '${EAB_HMAC_KEY}' } }),
    encryption: { key: '${AUTOCERT_KEY}' },
    notify: [hook('hook'), hook('again')],
    heartbeat: `http://127.0.0.1:${port}/beat/\${TOKEN}`,
  };
}

/** All of the call, as the gateway quotes it: each parameter encoded, and all of that once more. */
function stringToSign({ parameters }: InterceptedCall): string {
  const pairs = Object.entries({
    ...parameters,
    SecurityToken: CREDENTIALS.securityToken,
    Secret: CREDENTIALS.accessKeySecret,
  });
  return `POST&%2F&${encodeURIComponent(pairs.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&'))}`;
}

const ECHOES: Readonly<Record<string, (call: InterceptedCall) => Interception>> = {
  'a refused signature, with the string to sign': (call) => {
    const Message = `Specified signature is not matched with our calculation. server string to sign is:${stringToSign(call)}`;
    return {
      status: 400,
      body: JSON.stringify({ RequestId: 'R-1', HostId: 'h', Code: 'SignatureDoesNotMatch', Message }),
    };
  },
  'a message that quotes the key': ({ parameters }) => {
    const Message = `Bad value: ${JSON.stringify(parameters)}; ${parameters['PrivateKey']?.split('\n').slice(2, 4).join(' ')}`;
    return { status: 400, body: JSON.stringify({ RequestId: 'R-2', HostId: 'h', Code: 'InvalidParameter', Message }) };
  },
  'a code and a request id that are the request': (call) => {
    return {
      status: 400,
      body: JSON.stringify({ RequestId: stringToSign(call), HostId: 'h', Code: stringToSign(call), Message: '' }),
    };
  },
  'a page that shows the request': (call) => ({
    status: 404,
    headers: { 'content-type': 'text/html' },
    body: `<html><pre>${stringToSign(call)} ${JSON.stringify(call.parameters)}</pre></html>`,
  }),
  'a redirect that carries it on': (call) => ({
    status: 302,
    headers: { location: `http://127.0.0.1:1/?${stringToSign(call)}` },
    body: '',
  }),
};

function everythingOf({ lines, result, error, report }: Renewal): string {
  return [...lines, JSON.stringify(result), JSON.stringify(error), JSON.stringify(report)].join('\n');
}

async function allSecrets(domain: string): Promise<string[]> {
  const below = createFileStore({ path: world.storePath });
  const encryption = { key: new Secret(environment.AUTOCERT_KEY), previousKeys: [] };
  const quiet = () => undefined;
  const store = createEncryptedStore({
    store: below,
    encryption,
    log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
  });
  const account = await readAccount(store, proxy.directoryUrl, 'kid-1');
  const { certificate } = await readRecord(store, domain);
  const bundle = certificate && (await readBundle(store, domain, certificate.fingerprint));
  const kept = [account?.privateKey.reveal(), bundle?.privateKey.reveal()].filter((key) => key !== undefined);
  return [...kept, ...pushed, ...Object.values(environment), CREDENTIALS.accessKeySecret, CREDENTIALS.securityToken];
}

describe('F70 a whole run whose servers give back what they are sent', () => {
  test.each(Object.entries(ECHOES))(
    '%s',
    async (name, echo) => {
      const domain = `echo${Object.keys(ECHOES).indexOf(name)}.example.com`;
      const config = configFor(domain);
      const stop = world.rpc.intercept((call) =>
        call.action === 'SetDomainServerCertificate' ? echo(call) : undefined,
      );
      const before = pushed.size;
      const renewal = await world.renew(config, { environment: { ...environment, DEBUG: '*' }, timeout: 60 });
      stop();
      expect(statusesOf(renewal)).toEqual({ [domain]: 'failed' });
      expect(pushed.size, 'the key was sent').toBe(before + 1);
      const secrets = await allSecrets(domain);
      expect(secrets.filter((secret) => secret.includes('PRIVATE KEY')).length).toBeGreaterThanOrEqual(3);
      const shown = everythingOf(renewal);
      for (const secret of secrets) expect(leaksOf(shown, secret)).toEqual([]);
      expect(world.rpc.violations).toEqual([]);
      for (const file of filesUnder(world.storePath))
        for (const secret of secrets) expect(leaksOf(file, secret)).toEqual([]);
    },
    180_000,
  );

  test('a CA whose problem is the request, and a DNS API and a KMS that quote theirs', async () => {
    const domain = 'echo-ca.example.com';
    const config = configFor(domain);
    const stopCa = proxy.intercept(({ endpoint, payload }) => {
      if (endpoint !== 'newOrder') return undefined;
      const detail = `Bad JWS ${JSON.stringify(payload)} for ${environment.EAB_HMAC_KEY} ${encodeURIComponent(environment.EAB_HMAC_KEY)}`;
      const body = JSON.stringify({
        type: 'urn:ietf:params:acme:error:malformed',
        detail,
        subproblems: [{ type: detail, detail }],
      });
      return { answer: { status: 400, headers: { 'content-type': 'application/problem+json' }, body } };
    });
    const atCa = await world.renew(config, { environment, timeout: 60 });
    stopCa();
    const stop = world.rpc.intercept((call) =>
      /^(AddDomainRecord|GenerateDataKey)$/.test(call.action)
        ? ECHOES['a message that quotes the key']?.(call)
        : undefined,
    );
    const atDns = await world.renew(configFor('echo-dns.example.com'), { environment, timeout: 60 });
    const atKms = await world.renew(
      { ...config, store: `file://${world.storePath}/kms`, encryption: { kmsKeyId: KMS_KEY } },
      { environment, timeout: 60 },
    );
    stop();
    for (const renewal of [atCa, atDns, atKms]) {
      expect(Object.values(statusesOf(renewal)).concat(renewal.report.error ? ['failed'] : [])).toContain('failed');
      for (const secret of await allSecrets(domain)) expect(leaksOf(everythingOf(renewal), secret)).toEqual([]);
    }
  }, 180_000);
});

function filesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true, encoding: 'utf8' })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name)).toString('latin1'));
}

describe('the key of the store is changed', () => {
  const keys = { first: randomBytes(32).toString('base64'), second: randomBytes(32).toString('base64') };
  const domain = 'rotated.example.com';
  const folder = () => join(world.storePath, 'rotation');
  /** What each object says it was encrypted with: the kind and, of a key of ours, its id. */
  const sealedWith = () =>
    new Set(
      filesUnder(folder()).map((file) =>
        file[4] === '\x02' ? 'kms' : Buffer.from(file.slice(7, 15), 'latin1').toString('hex'),
      ),
    );

  test('what was written with the old one is read, and each renewal writes all of it with the new one; to KMS and back too', async () => {
    const { notify: _notify, heartbeat: _heartbeat, ...config } = configFor(domain);
    const run = async (encryption: object, force: boolean) => {
      const renewal = await world.renew(
        { ...config, store: `file://${folder()}`, encryption },
        { environment: { ...environment, FIRST: keys.first, SECOND: keys.second }, payload: { force } },
      );
      expect(renewal.report.error).toBeUndefined();
      for (const file of filesUnder(folder())) expect(file.startsWith('ACE\x01')).toBe(true);
      for (const secret of [...pushed, ...Object.values(keys)]) {
        expect(leaksOf(renewal.lines.join('\n'), secret)).toEqual([]);
        for (const file of filesUnder(folder())) expect(leaksOf(file, secret)).toEqual([]);
      }
      return statusesOf(renewal);
    };
    const [first, second] = [{ key: '${FIRST}' }, { key: '${SECOND}', previousKeys: ['${FIRST}'] }];
    expect(await run(first, false)).toEqual({ [domain]: 'renewed' });
    const [old] = sealedWith();

    expect(await run(second, false), 'read with the old key').toEqual({ [domain]: 'kept' });
    // Two renewals: the bundle before the current one is kept.
    for (const _ of [1, 2]) expect(await run(second, true)).toEqual({ [domain]: 'renewed' });
    expect([...sealedWith()]).toHaveLength(1);
    expect([...sealedWith()]).not.toContain(old);
    expect(await run({ key: '${SECOND}' }, false), 'the old key is needed no more').toEqual({ [domain]: 'kept' });

    const kms = { kmsKeyId: KMS_KEY, previousKeys: ['${SECOND}'] };
    expect(await run(kms, false)).toEqual({ [domain]: 'kept' });
    for (const _ of [1, 2]) expect(await run(kms, true)).toEqual({ [domain]: 'renewed' });
    expect([...sealedWith()]).toEqual(['kms']);
    expect(await run({ kmsKeyId: KMS_KEY }, false)).toEqual({ [domain]: 'kept' });
  }, 240_000);
});
