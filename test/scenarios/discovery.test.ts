import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeCertificate } from '../sandbox/certificates.ts';
import { decisionsOf, errorsOf, statusesOf } from '../sandbox/footprint.ts';
import { startWorld, type World } from '../sandbox/world.ts';

let world: World;
beforeAll(async () => {
  world = await startWorld({ zones: ['example.com', 'example.org', 'example.net'] });
});
afterAll(() => world.close());

const DAY = 86_400_000;

/** A certificate that somebody uploaded in the console and that ends in so many days. */
function uploaded(
  domain: string,
  days: number,
  certType: 'upload' | 'cas' | 'free' = 'upload',
  certName?: string,
): void {
  const notAfter = new Date(Date.now() + days * DAY);
  const certificate = makeCertificate({
    names: [domain.replace(/^\./, '*.')],
    notBefore: new Date(notAfter.getTime() - 90 * DAY),
    notAfter,
    keyType: 'rsa2048',
  });
  world.cdn.purchase(domain, { ...certificate, certType, ...(certName !== undefined && { certName }) });
}

test('discovery takes what is on and uploaded, and touches nothing else', async () => {
  for (const domain of ['old.example.com', 'off.example.com', 'fresh.example.com', 'stopped.example.com'])
    world.cdn.set(domain);
  uploaded('old.example.com', 3);
  uploaded('.any.example.com', 3);
  uploaded('fresh.example.com', 80);
  uploaded('bought.example.com', 3, 'cas');
  uploaded('free.example.com', 3, 'free');
  uploaded('stopped.example.com', 3);
  world.cdn.set('stopped.example.com', { status: 'offline' });
  uploaded('excluded.example.com', 3);
  const before = new Map(
    [...world.cdn.state.domains.keys()].map((domain) => [domain, world.cdn.served(domain)?.fingerprint]),
  );

  const renewal = await world.renew(
    world.config({ discover: { include: ['*.example.com'], exclude: ['excluded.*'], keyType: 'ec256' } }),
  );
  expect(decisionsOf(renewal)).toEqual({
    'old.example.com': 'renew NotIssued',
    '_wildcard.any.example.com': 'renew NotIssued',
    'fresh.example.com': 'keep Current',
  });
  expect(renewal.report.ignored).toEqual([
    { domain: 'off.example.com', reason: 'HTTPS is off' },
    { domain: 'stopped.example.com', reason: 'the domain is offline' },
    { domain: 'bought.example.com', reason: 'its certificate is of type cas, not uploaded' },
    { domain: 'free.example.com', reason: 'its certificate is of type free, not uploaded' },
    { domain: 'excluded.example.com', reason: 'in discover.exclude' },
  ]);
  const changed = [...before]
    .filter(([domain, was]) => world.cdn.served(domain)?.fingerprint !== was)
    .map(([domain]) => domain);
  expect(changed.sort()).toEqual(['.any.example.com', 'old.example.com']);
  expect(world.cdn.state.domains.get('off.example.com')?.sslProtocol).toBe('off');
});

test('what the config names is switched on, and its purchased certificate replaced', async () => {
  world.cdn.set('named-off.example.org');
  uploaded('named-bought.example.org', 300, 'cas');
  const renewal = await world.renew(
    world.config({
      certificates: [
        { name: 'off', identifiers: ['named-off.example.org'], keyType: 'ec256' },
        { name: 'bought', identifiers: ['named-bought.example.org'], keyType: 'ec256' },
      ],
    }),
  );
  expect(statusesOf(renewal)).toEqual({ off: 'renewed', bought: 'renewed' });
  expect(world.cdn.state.domains.get('named-off.example.org')?.sslProtocol).toBe('on');
});

test('CertName is stable, belongs to one domain alone, and never overwrites what another domain uses', async () => {
  uploaded('one.example.net', 3);
  // Somebody bound, in the console, another domain to a certificate of the name that would be ours.
  uploaded('two.example.net', 3, 'upload', 'autocert-cdn-one_example_net');
  const config = world.config({ discover: { include: ['*.example.net'], keyType: 'ec256' } });
  const twoBefore = world.cdn.served('two.example.net')?.fingerprint;
  const first = await world.renew(config, { payload: { only: ['one.example.net'] } });
  expect(statusesOf(first)).toEqual({ 'one.example.net': 'renewed' });
  expect(world.cdn.served('two.example.net')?.fingerprint, 'the other domain keeps its certificate').toBe(twoBefore);
  const nameOf = (domain: string) => world.cdn.state.domains.get(domain)?.certName;
  expect(nameOf('one.example.net')).toMatch(/^autocert-cdn-one_example_net-[0-9a-f]{8}$/);

  await world.renew(config);
  expect(nameOf('two.example.net')).toBe('autocert-cdn-two_example_net');
  const forced = await world.renew(config, { payload: { only: ['two.example.net'], force: true } });
  expect(decisionsOf(forced)).toEqual({ 'two.example.net': 'renew Forced' });
  expect(nameOf('two.example.net'), 'the next certificate has the same name').toBe('autocert-cdn-two_example_net');
});

test('one certificate a zone, when asked for', async () => {
  uploaded('a.example.org', 3);
  uploaded('b.example.org', 3);
  const renewal = await world.renew(
    world.config({ discover: { include: ['a.example.org', 'b.example.org'], group: 'zone', keyType: 'ec256' } }),
  );
  expect(statusesOf(renewal)).toEqual({ 'example.org': 'renewed' });
  expect(world.cdn.served('a.example.org')?.fingerprint).toBe(world.cdn.served('b.example.org')?.fingerprint);
});

test('a filter that matches no domain is an error, and the rest is done', async () => {
  uploaded('c.example.org', 3);
  const renewal = await world.renew(
    world.config({ discover: { include: ['c.example.org', '*.nowhere.example'], keyType: 'ec256' } }),
  );
  expect(statusesOf(renewal)).toEqual({ inventory: 'failed', 'c.example.org': 'renewed' });
  expect(errorsOf(renewal)).toEqual({ inventory: 'FILTER_MATCHED_NOTHING' });
});
