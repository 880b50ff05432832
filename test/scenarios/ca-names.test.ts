import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createAccountKey } from '../../src/acme/keys.ts';
import { openAcme } from '../../src/acme.ts';
import { realDeps } from '../acme/deps.ts';
import { issueAt } from '../acme/issuing.ts';
import { type FaultyWorld, startFaultyWorld } from '../sandbox/faulty-world.ts';
import { statusesOf, txtRecords } from '../sandbox/footprint.ts';
import { startPebble } from '../sandbox/pebble.ts';

let faulty: FaultyWorld;
beforeAll(async () => {
  faulty = await startFaultyWorld();
});
afterAll(() => faulty.close());

const namesOf = (leaf: X509Certificate) =>
  (leaf.subjectAltName ?? '').split(', ').map((entry) => entry.replace('DNS:', ''));

test('F64 a certificate for a hundred names', async () => {
  const pebble = await startPebble({ env: { PEBBLE_VA_ALWAYS_VALID: '1' } });
  const { directoryUrl, caBundle } = pebble;
  const acme = openAcme({ directoryUrl, caBundle, deps: realDeps(100) });
  const contact = ['mailto:ops@example.com'];
  const account = await acme.account(createAccountKey(), { contact, termsOfServiceAgreed: true });
  const identifiers = Array.from({ length: 100 }, (_, index) => `n${index}.example.com`);
  const chain = await issueAt(account, identifiers, createAccountKey());
  acme.close();
  await pebble.close();
  expect(namesOf(new X509Certificate(chain)).sort()).toEqual([...identifiers].sort());
}, 120_000);

test('F65 a name that is longer than a common name may be', async () => {
  const { world, certificatesFor } = faulty;
  // 68 characters: RFC 5280 gives a common name 64.
  const long = `${'l'.repeat(56)}.example.com`;
  const certificates = [{ name: 'long', identifiers: [long], keyType: 'ec256' }];
  const renewal = await world.renew({ ...certificatesFor([long]), certificates });
  expect(statusesOf(renewal)).toEqual({ long: 'renewed' });
  const leaf = new X509Certificate(world.cdn.served(long)?.certificate ?? '');
  expect(namesOf(leaf)).toEqual([long]);
  expect(leaf.subject ?? '').not.toContain('CN=l');
  expect(txtRecords(world, 'example.com')).toEqual([]);
});

test.each([
  ['a hundred and one names', 101, {}],
  [
    'twenty-six names with a profile that allows twenty-five',
    26,
    { directoryUrl: 'letsencrypt', profile: 'tlsserver' },
  ],
])('F64 %s are refused before anything is asked', async (_, count, acme) => {
  const { world, proxy, certificatesFor } = faulty;
  const before = proxy.requests.length;
  const identifiers = Array.from({ length: count }, (_, index) => `n${index}.example.com`);
  const renewal = await world.renew({ ...certificatesFor([], acme), certificates: [{ name: 'many', identifiers }] });
  expect(renewal.report.error).toMatchObject({ code: 'CONFIG_INVALID', step: 'config' });
  expect(renewal.report.error?.message).toContain(String(count - 1));
  expect(proxy.requests.length).toBe(before);
});
