import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { statusesOf, txtRecords } from '../sandbox/footprint.ts';
import { startWorld, type World } from '../sandbox/world.ts';

let world: World;
beforeAll(async () => {
  world = await startWorld({
    zones: [
      'example.com',
      'shop.com.cn',
      'xn--fiqs8s.com',
      'other-provider.example',
      'acme.example.net',
      'deep.example.com',
    ],
    // Nothing is reused: every order asks for every record.
    pebble: { env: { PEBBLE_AUTHZREUSE: '0' } },
  });
  world.alidns.setDomain('other-provider.example', { owner: 'other' });
});
afterAll(() => world.close());

function servedNames(domain: string): string | undefined {
  const served = world.cdn.served(domain);
  return served && new X509Certificate(served.certificate).subjectAltName;
}

async function issue(identifiers: string[]) {
  const renewal = await world.renew(world.config({ certificates: [{ name: 'one', identifiers, keyType: 'ec256' }] }));
  expect(renewal.report.outcomes[0]?.error).toBeUndefined();
  expect(statusesOf(renewal)).toEqual({ one: 'renewed' });
}

test('a wildcard and its apex in one certificate need two values at one name', async () => {
  world.cdn.set('.wild.example.com');
  world.cdn.set('wild.example.com');
  const values = new Set<string>();
  const stop = world.dns.onChange(({ change, record }) => {
    if (change === 'add' && record.name === '_acme-challenge.wild.example.com') values.add(String(record.value));
  });
  await issue(['*.wild.example.com', 'wild.example.com']);
  stop();
  expect(values.size).toBe(2);
  expect(servedNames('.wild.example.com')).toBe(servedNames('wild.example.com'));
  expect(servedNames('wild.example.com')?.split(', ').sort()).toEqual([
    'DNS:*.wild.example.com',
    'DNS:wild.example.com',
  ]);
  expect(world.edges[0].fingerprintOf('anything.wild.example.com')).toBe(
    world.cdn.served('.wild.example.com')?.fingerprint,
  );
  expect(txtRecords(world, 'example.com')).toEqual([]);
});

test('a zone under .com.cn is found', async () => {
  world.cdn.set('www.shop.com.cn');
  await issue(['www.shop.com.cn']);
  expect(servedNames('www.shop.com.cn')).toBe('DNS:www.shop.com.cn');
});

test('the longest of two zones that fit is written to', async () => {
  world.cdn.set('www.deep.example.com');
  const zones: string[] = [];
  const stop = world.dns.onChange(({ zone }) => zones.push(zone));
  await issue(['www.deep.example.com']);
  stop();
  expect(new Set(zones)).toEqual(new Set(['deep.example.com']));
});

test('a challenge that is delegated by CNAME is answered in the other zone', async () => {
  world.cdn.set('www.other-provider.example');
  world.dns.addRecord('other-provider.example', {
    name: '_acme-challenge.www.other-provider.example',
    type: 'CNAME',
    value: 'other-provider.acme.example.net',
  });
  const names: string[] = [];
  const stop = world.dns.onChange(({ change, record }) => {
    if (change === 'add') names.push(record.name);
  });
  await issue(['www.other-provider.example']);
  stop();
  expect(names).toEqual(['other-provider.acme.example.net']);
  expect(servedNames('www.other-provider.example')).toBe('DNS:www.other-provider.example');
  expect(txtRecords(world, 'acme.example.net')).toEqual([]);
});

test('an internationalised name is written as the CA needs it', async () => {
  world.cdn.set('xn--bcher-kva.xn--fiqs8s.com');
  await issue(['bücher.中国.com']);
  expect(servedNames('xn--bcher-kva.xn--fiqs8s.com')).toBe('DNS:xn--bcher-kva.xn--fiqs8s.com');
});
