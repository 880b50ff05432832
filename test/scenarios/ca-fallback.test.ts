import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type FaultProxy, problemAnswer, startFaultProxy } from '../sandbox/fault-proxy.ts';
import { type FaultyWorld, startFaultyWorld } from '../sandbox/faulty-world.ts';
import { decisionsOf, errorsOf, statusesOf, txtRecords } from '../sandbox/footprint.ts';
import { type Pebble, startPebble } from '../sandbox/pebble.ts';
import { parseLine } from '../sandbox/world.ts';

let faulty: FaultyWorld;
let second: Pebble;
let other: FaultProxy;
let folder: string;
/** Trusted for both CAs. */
let caBundle: string;
let calm: (() => void) | undefined;
beforeAll(async () => {
  faulty = await startFaultyWorld();
  const env = { PEBBLE_AUTHZREUSE: '100', PEBBLE_WFE_NONCEREJECT: '0' };
  second = await startPebble({ dnsServer: faulty.world.dns.resolver, env });
  other = await startFaultProxy(second);
  folder = await mkdtemp(join(tmpdir(), 'autocert-bundle-'));
  caBundle = join(folder, 'both.pem');
  await writeFile(caBundle, faulty.proxy.caBundle + other.caBundle);
});
afterEach(() => calm?.());
afterAll(async () => {
  await other.close();
  await second.close();
  await faulty.close();
  await rm(folder, { recursive: true, force: true });
});

const ordersOf = ({ requests }: FaultProxy, domain: string): number =>
  requests.filter(({ endpoint, names }) => endpoint === 'newOrder' && names.includes(domain)).length;

test('F10 while the first CA is down the fallback issues; its certificate is a good one then and afterwards, and the next order is the first CA’s again', async () => {
  const { world, proxy, certificatesFor, record } = faulty;
  const domains = ['f10-a.example.com', 'f10-b.example.com'];
  const [first = ''] = domains;
  const fallback = [{ directoryUrl: other.directoryUrl, profile: 'shortlived' }];
  const config = certificatesFor(domains, { caBundle, fallback });
  calm = proxy.intercept(() => ({ answer: { status: 503, body: '<html>maintenance</html>' } }));
  const whileDown = await world.renew(config);
  expect(statusesOf(whileDown)).toEqual(Object.fromEntries(domains.map((domain) => [domain, 'renewed'])));
  expect((await record(first)).certificate?.directoryUrl).toBe(other.directoryUrl);
  const asked = other.requests.find(({ endpoint }) => endpoint === 'newOrder');
  expect(asked?.payload?.['profile'], 'the profile of the first CA is unknown to another').toBe('shortlived');
  const tries = proxy.requests.filter(({ endpoint }) => endpoint === 'directory').length;
  expect(tries, 'the second certificate does not wait for the first CA anew').toBeLessThanOrEqual(12);

  const current = Object.fromEntries(domains.map((domain) => [domain, 'keep Current']));
  expect(decisionsOf(await world.renew(config))).toEqual(current);
  calm();
  expect(decisionsOf(await world.renew(config)), 'that it is back is no reason for an order').toEqual(current);
  const due = await world.renew(config, { payload: { only: [first], force: true } });
  expect(statusesOf(due)).toEqual({ [first]: 'renewed' });
  expect((await record(first)).certificate?.directoryUrl).toBe(proxy.directoryUrl);
});

test('F10 a CA that is down holds nothing against the names: the next run tries it again', async () => {
  const { world, proxy, certificatesFor, record, letTimePass } = faulty;
  const domain = 'f10-alone.example.com';
  const config = certificatesFor([domain]);
  calm = proxy.intercept(({ endpoint }) => (endpoint === 'directory' ? 'reset-before' : undefined));
  const renewal = await world.renew(config);
  expect(errorsOf(renewal)).toEqual({ [domain]: 'ACME_UNREACHABLE' });
  const wait = Date.parse((await record(domain)).failures?.nextAttemptAt ?? '') - Date.parse(renewal.report.finishedAt);
  expect(wait).toBeLessThanOrEqual(19 * 60_000);
  calm();
  await letTimePass();
  expect(statusesOf(await world.renew(config))).toEqual({ [domain]: 'renewed' });
});

test('F9 a limit of the first CA that the certificate cannot wait for: the fallback issues, and without one it is said what will happen', async () => {
  const { world, proxy, certificatesFor, record } = faulty;
  const [helped, alone] = ['f9-helped.example.com', 'f9-alone.example.com'];
  // Six days long: a limit of a week outlasts it.
  const shortlived = { caBundle, profile: 'shortlived' };
  const fallback = [{ directoryUrl: other.directoryUrl, profile: 'shortlived' }];
  expect(statusesOf(await world.renew(certificatesFor([helped, alone], shortlived)))).toEqual({
    [helped]: 'renewed',
    [alone]: 'renewed',
  });
  const { notAfter = '' } = (await record(alone)).certificate ?? {};
  const until = new Date(Math.ceil(Date.now() / 1000) * 1000 + 6.9 * 86_400_000);
  const inText = until.toISOString().replace('T', ' ').replace(/\..*/, ' UTC');
  const detail = `too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, retry after ${inText}`;
  calm = proxy.intercept(({ endpoint }) =>
    endpoint === 'newOrder' ? problemAnswer(429, 'rateLimited', { detail }) : undefined,
  );
  const force = (name: string) => ({ payload: { only: [name], force: true } });

  const stuck = await world.renew(certificatesFor([alone], shortlived), force(alone));
  expect(stuck.error?.errorType).toBe('RunFailed');
  expect(stuck.report.outcomes[0]).toMatchObject({
    status: 'failed',
    error: { code: 'ACME_LIMIT_OUTLASTS_CERTIFICATE', remedy: expect.stringContaining('acme.fallback') },
  });
  const { message } = stuck.report.outcomes[0]?.error ?? {};
  expect(message).toContain(`takes no order before ${until.toISOString()}`);
  expect(message).toContain(`the certificate ends before, at ${notAfter}`);

  const config = certificatesFor([helped], { ...shortlived, fallback });
  const followed = await world.renew(config, force(helped));
  expect(statusesOf(followed)).toEqual({ [helped]: 'renewed' });
  expect((await record(helped)).certificate?.directoryUrl).toBe(other.directoryUrl);
  const said = followed.lines.flatMap(parseLine).filter(({ event }) => event === 'authority_limited');
  expect(said).toEqual([expect.objectContaining({ level: 'warn', name: helped, directoryUrl: proxy.directoryUrl })]);
  expect(ordersOf(proxy, helped), 'one for the first certificate, one that was refused').toBe(2);
  expect(decisionsOf(await world.renew(config)), 'a certificate of the fallback is a good one').toEqual({
    [helped]: 'keep Current',
  });
});

test('F72 a certificate of the CA that was configured before is replaced by one of the new CA', async () => {
  const { world, proxy, certificatesFor, record } = faulty;
  const domain = 'f72-switch.example.com';
  const config = certificatesFor([domain]);
  await world.renew({ ...config, acme: other.acme() });
  const renewal = await world.renew(config);
  expect(decisionsOf(renewal)).toEqual({ [domain]: 'renew IssuerChanged' });
  expect((await record(domain)).certificate?.directoryUrl).toBe(proxy.directoryUrl);
});

test('F32 after a validation that failed, the order is rehearsed at the other CA first, and opened only when that went well', async () => {
  const { world, proxy, certificatesFor, record, letTimePass } = faulty;
  const domain = 'rehearsed.example.com';
  const config = certificatesFor([domain], { caBundle, rehearsal: other.directoryUrl });
  // The CAs' resolver does not hear of the record; every authoritative server does.
  world.dns.lag('resolver', 'held');
  expect(errorsOf(await world.renew(config))).toEqual({ [domain]: 'ACME_UNAUTHORIZED' });
  expect([ordersOf(proxy, domain), ordersOf(other, domain)]).toEqual([1, 0]);

  await letTimePass();
  const rehearsed = await world.renew(config);
  world.dns.release('resolver');
  expect(errorsOf(rehearsed)).toEqual({ [domain]: 'ACME_UNAUTHORIZED' });
  expect([ordersOf(proxy, domain), ordersOf(other, domain)], 'the real CA saw no second failure').toEqual([1, 1]);
  expect((await record(domain)).failures?.count).toBe(2);
  expect(txtRecords(world, 'example.com')).toEqual([]);

  await letTimePass();
  expect(statusesOf(await world.renew(config))).toEqual({ [domain]: 'renewed' });
  expect([ordersOf(proxy, domain), ordersOf(other, domain)]).toEqual([2, 2]);
  const finalized = other.requests.filter(({ endpoint, names }) => endpoint === 'finalize' && names.includes(domain));
  expect(finalized, 'nothing is issued there').toEqual([]);
  expect((await record(domain)).certificate?.directoryUrl).toBe(proxy.directoryUrl);
  expect(txtRecords(world, 'example.com')).toEqual([]);

  // Well again: the next renewal goes straight to the CA.
  await world.renew(config, { payload: { only: [domain], force: true } });
  expect([ordersOf(proxy, domain), ordersOf(other, domain)]).toEqual([3, 2]);
});

test('F32 a rehearsal CA that does not take the order stands in nobody’s way', async () => {
  const { world, proxy, certificatesFor, letTimePass } = faulty;
  const domain = 'unrehearsed.example.com';
  const config = certificatesFor([domain], { caBundle, rehearsal: other.directoryUrl });
  world.dns.lag('resolver', 'held');
  await world.renew(config);
  world.dns.release('resolver');
  await letTimePass();
  calm = other.intercept(({ endpoint }) =>
    endpoint === 'newOrder' ? problemAnswer(400, 'rejectedIdentifier') : undefined,
  );
  const renewal = await world.renew(config);
  expect(statusesOf(renewal)).toEqual({ [domain]: 'renewed' });
  expect(renewal.lines.filter((line) => line.includes('"event":"rehearsal_failed"')).length).toBe(1);
  expect(ordersOf(proxy, domain)).toBe(2);
});
