import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type AcmeFault, changedJson, problemAnswer, startFaultProxy } from '../sandbox/fault-proxy.ts';
import { type FaultyWorld, startFaultyWorld } from '../sandbox/faulty-world.ts';
import { decisionsOf, errorsOf, ordersAt, statusesOf, txtRecords } from '../sandbox/footprint.ts';
import { startPebble } from '../sandbox/pebble.ts';

let faulty: FaultyWorld;
let calm: (() => void) | undefined;
beforeAll(async () => {
  faulty = await startFaultyWorld({ domainBlocklist: ['blocked.example.com'] });
});
afterEach(() => calm?.());
afterAll(() => faulty.close());

/** The types that a challenge fails with, RFC 8555 section 6.7. */
const OF_A_CHALLENGE = ['caa', 'connection', 'dns', 'incorrectResponse', 'tls', 'unauthorized', 'serverInternal'];
const CODES: Readonly<Record<string, string>> = {
  caa: 'ACME_CAA',
  connection: 'ACME_CONNECTION',
  dns: 'ACME_DNS',
  incorrectResponse: 'ACME_INCORRECT_RESPONSE',
  tls: 'ACME_TLS',
  unauthorized: 'ACME_UNAUTHORIZED',
  serverInternal: 'ACME_SERVER_INTERNAL',
};

const BAD = 'blocked.example.com';

test('F19 F20 F32 F62 what the CA refuses for one name or fails to validate fails that certificate alone, and is told by name', async () => {
  const { world, proxy, certificatesFor, record } = faulty;
  const failing = OF_A_CHALLENGE.map((type) => ({ type, domain: `f32-${type}.example.com`.toLowerCase() }));
  calm = proxy.intercept(({ endpoint, names, payload }) => {
    if (names.includes('f20-a.example.com') && endpoint === 'newOrder') {
      const of = (value: string) => ({
        type: 'urn:ietf:params:acme:error:rejectedIdentifier',
        detail: `policy forbids ${value}`,
        identifier: { type: 'dns', value },
      });
      const subproblems = [of('f20-a.example.com'), of('f20-b.example.com')];
      return problemAnswer(400, 'compound', { detail: 'several', subproblems });
    }
    const planned = failing.find(({ domain }) => domain === names[0]);
    if (!planned) return undefined;
    if (endpoint === 'order') return changedJson({ status: 'invalid' });
    const wasAnswered = proxy.requests.some((each) => each.endpoint === 'challenge' && each.names[0] === names[0]);
    if (endpoint !== 'authorization' || !wasAnswered || payload) return undefined;
    return invalidAuthorization(planned.type);
  });
  const domains = ['f20-a.example.com', 'f20-b.example.com'];
  const many = Array.from({ length: 9 }, (_, index) => `f19-${index}.example.com`);
  for (const domain of [BAD, ...many, ...domains]) world.cdn.set(domain);
  const { certificates, ...config } = certificatesFor([...failing.map(({ domain }) => domain), 'f19-good.example.com']);
  const renewal = await world.renew({
    ...config,
    certificates: [
      { name: 'one-of-ten', identifiers: [...many.slice(0, 4), BAD, ...many.slice(4)], keyType: 'ec256' },
      { name: 'compound', identifiers: domains, keyType: 'ec256' },
      ...(certificates as object[]),
    ],
  });
  expect(errorsOf(renewal)).toEqual({
    'one-of-ten': 'ACME_REJECTED_IDENTIFIER',
    compound: 'ACME_COMPOUND',
    ...Object.fromEntries(failing.map(({ type, domain }) => [domain, CODES[type]])),
  });
  expect(statusesOf(renewal)['f19-good.example.com']).toBe('renewed');
  const messageOf = (name: string) => renewal.report.outcomes.find((outcome) => outcome.name === name)?.error?.message;
  expect(messageOf('one-of-ten')).toContain(BAD);
  for (const domain of domains) expect(messageOf('compound')).toContain(domain);
  for (const { type, domain } of failing)
    expect(messageOf(domain)).toContain(`for ${domain}: ${type}; detail of ${type}`);
  expect(txtRecords(world, 'example.com')).toEqual([]);
  // One failed validation for each, and the next try waits: no second one within the hour for CAA, RFC 8659 TTL or not.
  for (const { domain } of failing) {
    const opened = proxy.requests.filter(({ endpoint, names }) => endpoint === 'newOrder' && names[0] === domain);
    expect(opened.length, domain).toBe(1);
    expect((await record(domain)).failures?.count).toBe(1);
  }
});

function invalidAuthorization(type: string): AcmeFault {
  return {
    change: ({ status, headers, body }) => {
      const authorization: { challenges: object[] } = JSON.parse(body);
      const error = { type: `urn:ietf:params:acme:error:${type}`, detail: `detail of ${type}`, status: 403 };
      const challenges = authorization.challenges.map((one) => ({ ...one, status: 'invalid', error }));
      return { status, headers, body: JSON.stringify({ ...authorization, status: 'invalid', challenges }) };
    },
  };
}

test('F25 a profile that the CA does not have costs a warning, no certificate and no second order; one that is changed counts', async () => {
  const { world, certificatesFor } = faulty;
  const domain = 'f25.example.com';
  const config = certificatesFor([domain], { profile: 'gone' });
  const renewal = await world.renew(config);
  expect(statusesOf(renewal)).toEqual({ [domain]: 'renewed' });
  expect(renewal.lines.filter((line) => line.includes('"event":"profile_refused"')).length).toBe(1);

  const orders = ordersAt(world);
  expect(decisionsOf(await world.renew(config))).toEqual({ [domain]: 'keep Current' });
  expect(ordersAt(world)).toBe(orders);

  const changed = await world.renew(certificatesFor([domain], { profile: 'shortlived' }));
  expect(decisionsOf(changed)).toEqual({ [domain]: 'renew KeyOrProfileChanged' });
  expect(statusesOf(changed)).toEqual({ [domain]: 'renewed' });
});

test('F21 F17 F18 `replaces` is refused, the account is forgotten, its key is lost: one order each, and one newAccount a run', async () => {
  const { world, proxy, certificatesFor } = faulty;
  const domains = ['f21-already.example.com', 'f21-malformed.example.com'];
  const config = certificatesFor(domains);
  await world.renew(config);
  const since = (start: number, endpoint: string) =>
    proxy.requests.slice(start).filter((one) => one.endpoint === endpoint);
  const force = { payload: { force: true, only: domains } };

  let start = proxy.requests.length;
  calm = proxy.intercept(({ endpoint, names, payload }) => {
    if (endpoint !== 'newOrder' || payload?.['replaces'] === undefined) return undefined;
    return names[0] === domains[0] ? problemAnswer(409, 'alreadyReplaced') : problemAnswer(400, 'malformed');
  });
  expect(statusesOf(await world.renew(config, force))).toEqual(
    Object.fromEntries(domains.map((one) => [one, 'renewed'])),
  );
  for (const domain of domains) {
    const asked = since(start, 'newOrder').filter(({ names }) => names[0] === domain);
    expect(asked.map(({ payload }) => payload?.['replaces'] !== undefined)).toEqual([true, false]);
  }
  calm();

  const other = await startPebble({ dnsServer: world.dns.resolver, env: { PEBBLE_WFE_NONCEREJECT: '0' } });
  proxy.switchTo(other);
  start = proxy.requests.length;
  expect(statusesOf(await world.renew(config, force))).toEqual(
    Object.fromEntries(domains.map((one) => [one, 'renewed'])),
  );
  expect(since(start, 'newAccount').length, 'F17 registered again once').toBe(1);
  expect(ordersAt({ pebble: other })).toBe(2);

  for (const file of await readdir(join(world.storePath, 'accounts')))
    await rm(join(world.storePath, 'accounts', file));
  start = proxy.requests.length;
  expect(statusesOf(await world.renew(config, force))).toEqual(
    Object.fromEntries(domains.map((one) => [one, 'renewed'])),
  );
  expect(since(start, 'newAccount').length, 'F18 a key that is lost is one new account').toBe(1);
  expect(ordersAt({ pebble: other })).toBe(4);
  proxy.switchTo(world.pebble);
  await other.close();
});

test('F17 an account that was deactivated is told as such, by one request for each certificate', async () => {
  const { world, proxy, certificatesFor } = faulty;
  const domains = ['f17-a.example.com', 'f17-b.example.com'];
  calm = proxy.intercept(({ endpoint }) =>
    endpoint === 'newOrder'
      ? problemAnswer(403, 'unauthorized', { detail: 'Account is not valid, has status "deactivated"' })
      : undefined,
  );
  const start = proxy.requests.length;
  const renewal = await world.renew(certificatesFor(domains));
  expect(errorsOf(renewal)).toEqual(Object.fromEntries(domains.map((domain) => [domain, 'ACME_UNAUTHORIZED'])));
  expect(renewal.report.outcomes[0]?.error).toMatchObject({
    message: expect.stringContaining('deactivated'),
    remedy: expect.stringContaining('account'),
  });
  expect(proxy.requests.slice(start).filter(({ endpoint }) => endpoint === 'newOrder').length).toBe(2);
  expect(txtRecords(world, 'example.com')).toEqual([]);
});

test('F18 an external account binding that is missing or wrong is a clear error and one newAccount at most', async () => {
  const { world, certificatesFor } = faulty;
  const keys = { known: 'zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W' };
  const env = { PEBBLE_WFE_NONCEREJECT: '0' };
  const strict = await startPebble({ dnsServer: world.dns.resolver, externalAccountMacKeys: keys, env });
  const proxy = await startFaultProxy(strict);
  const domains = ['f18-a.example.com', 'f18-b.example.com', 'f18-c.example.com'];
  for (const binding of [undefined, { kid: 'known', hmacKey: 'd3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmc' }]) {
    const start = proxy.requests.length;
    const acme = proxy.acme(binding && { externalAccountBinding: binding });
    const renewal = await world.renew({ ...certificatesFor(domains), acme });
    for (const { status, error } of renewal.report.outcomes) {
      expect(status).toBe('failed');
      expect(error?.remedy).toContain('acme.externalAccountBinding');
    }
    expect(proxy.requests.slice(start).filter(({ endpoint }) => endpoint === 'newAccount').length).toBe(1);
    expect(proxy.requests.some(({ endpoint }) => endpoint === 'newOrder')).toBe(false);
    await faulty.letTimePass();
  }
  await proxy.close();
  await strict.close();
});

test.each<[string, AcmeFault, string | undefined]>([
  [
    'gains fields and loses all that are optional',
    changedJson({ renewalInfo: undefined, keyChange: undefined, newAuthz: 'x', meta: undefined }),
    undefined,
  ],
  ['names an http URL', changedJson({ newOrder: 'http://127.0.0.1:14000/order-plz' }), 'ACME_RESPONSE_INVALID'],
  ['names another host', changedJson({ newOrder: 'https://localhost:14000/order-plz' }), 'ACME_RESPONSE_INVALID'],
  ['has lost newOrder', changedJson({ newOrder: undefined }), 'ACME_RESPONSE_INVALID'],
])('F24 a directory that %s', async (what, fault, code) => {
  const { world, proxy, certificatesFor } = faulty;
  const domain = `f24-${what.split(' ').at(-1)}.example.com`.toLowerCase();
  calm = proxy.intercept(({ endpoint }) => (endpoint === 'directory' ? fault : undefined));
  const start = proxy.requests.length;
  const renewal = await world.renew(certificatesFor([domain]));
  expect(errorsOf(renewal)).toEqual(code === undefined ? {} : { [domain]: code });
  if (code !== undefined)
    expect(proxy.requests.slice(start).filter(({ endpoint }) => endpoint === 'newOrder')).toEqual([]);
});
