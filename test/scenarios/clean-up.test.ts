import { afterAll, beforeAll, expect, test } from 'vitest';
import { decisionsOf, errorsOf, statusesOf, txtRecords } from '../sandbox/footprint.ts';
import { startWorld, type World } from '../sandbox/world.ts';

let world: World;
beforeAll(async () => {
  world = await startWorld({ zones: ['example.com', 'example.org'], pebble: { env: { PEBBLE_AUTHZREUSE: '0' } } });
  world.alidns.setDomain('example.org', { owner: 'other' });
});
afterAll(() => world.close());

function certificateFor(domain: string) {
  world.cdn.set(domain);
  return world.config({ certificates: [{ name: domain, identifiers: [domain], keyType: 'ec256' }] });
}

test('F34 the TXT record is gone after a success, and one of somebody else at the same name stays', async () => {
  const theirs = world.dns.addRecord('example.com', {
    name: '_acme-challenge.ok.example.com',
    type: 'TXT',
    value: 'theirs',
  });
  const renewal = await world.renew(certificateFor('ok.example.com'));
  expect(statusesOf(renewal)).toEqual({ 'ok.example.com': 'renewed' });
  expect(txtRecords(world, 'example.com')).toEqual(['_acme-challenge.ok.example.com theirs']);
  world.dns.removeRecord(theirs);
});

test('F28 the TXT record is gone when the validation failed, and the run says what to look at', async () => {
  const domain = 'denied.example.com';
  const theirs = world.dns.addRecord('example.com', {
    name: `_acme-challenge.${domain}`,
    type: 'TXT',
    value: 'theirs',
  });
  const config = certificateFor(domain);
  // The CA's resolver never hears of the record; every authoritative server does.
  world.dns.lag('resolver', 'held');
  const renewal = await world.renew(config);
  world.dns.release('resolver');
  expect(errorsOf(renewal)).toEqual({ [domain]: 'ACME_UNAUTHORIZED' });
  expect(renewal.report.outcomes[0]?.error).toMatchObject({ step: 'issue', remedy: expect.stringContaining(domain) });
  expect(renewal.error?.errorType).toBe('RunFailed');
  expect(txtRecords(world, 'example.com')).toEqual([`_acme-challenge.${domain} theirs`]);
  world.dns.removeRecord(theirs);

  const next = await world.renew(config);
  expect(decisionsOf(next), 'the failure is remembered').toEqual({ [domain]: 'keep BackingOff' });
  expect(statusesOf(next)).toEqual({ [domain]: 'deferred' });
});

test('F28 F33 the CA is only asked when every authoritative name server has the record', async () => {
  const domain = 'lagging.example.com';
  const config = certificateFor(domain);
  world.dns.lag('ns2', 'held');
  const validated = world.dns
    .seen(`_acme-challenge.${domain}`, 'TXT', { server: 'ns2' })
    .then(() => world.dns.release('ns2'));
  const renewal = await world.renew(config);
  await validated;
  expect(statusesOf(renewal)).toEqual({ [domain]: 'renewed' });
  // Pebble alone asks the resolver for TXT; the function asked ns2 until it had it.
  const asked = world.dns.queries.filter(({ name, type }) => name === `_acme-challenge.${domain}` && type === 'TXT');
  const validation = asked.findIndex(({ server }) => server === 'resolver');
  expect(asked.slice(0, validation).filter(({ server }) => server === 'ns2').length).toBeGreaterThan(1);
  expect(asked.slice(validation).filter(({ server }) => server === 'ns2')).toEqual([]);
});

test('F33 one certificate that fails stops no other', async () => {
  world.cdn.set('good.example.com');
  world.cdn.set('www.example.org');
  const config = world.config({
    certificates: [
      { name: 'nowhere', identifiers: ['www.example.org'], keyType: 'ec256' },
      { name: 'good', identifiers: ['good.example.com'], keyType: 'ec256' },
    ],
  });
  const renewal = await world.renew(config);
  expect(statusesOf(renewal)).toEqual({ nowhere: 'failed', good: 'renewed' });
  expect(errorsOf(renewal)).toEqual({ nowhere: 'DNS_ZONE_NOT_FOUND' });
});
