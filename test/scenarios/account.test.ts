import { afterAll, beforeAll, expect, test } from 'vitest';
import { errorsOf, statusesOf } from '../sandbox/footprint.ts';
import { startPebble } from '../sandbox/pebble.ts';
import { startWorld, type World } from '../sandbox/world.ts';

const MAC_KEY = 'zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W';

let world: World;
beforeAll(async () => {
  world = await startWorld({ zones: ['example.com'], pebble: { externalAccountMacKeys: { 'kid-1': MAC_KEY } } });
});
afterAll(() => world.close());

function certificatesFor(domains: readonly string[], externalAccountBinding?: { kid: string; hmacKey: string }) {
  for (const domain of domains) world.cdn.set(domain);
  const config = world.config({
    certificates: domains.map((domain) => ({ name: domain, identifiers: [domain], keyType: 'ec256' })),
  });
  return {
    ...config,
    acme: { ...(config['acme'] as object), ...(externalAccountBinding && { externalAccountBinding }) },
  };
}

test('a CA that wants an external account binding, and none is configured, is a clear error', async () => {
  const renewal = await world.renew(certificatesFor(['none.example.com']));
  expect(errorsOf(renewal)).toEqual({ 'none.example.com': 'ACME_EXTERNAL_ACCOUNT_REQUIRED' });
  expect(renewal.report.outcomes[0]?.error?.remedy).toContain('externalAccountBinding');
});

test('with the binding one account is made, for all certificates and all runs', async () => {
  const eab = { kid: 'kid-1', hmacKey: '${EAB_HMAC_KEY}' };
  const environment = { EAB_HMAC_KEY: MAC_KEY };
  const accounts = () => world.pebble.log.filter((line) => /There are now \d+ accounts/.test(line)).length;
  const before = accounts();
  const first = await world.renew(certificatesFor(['a.example.com', 'b.example.com', 'c.example.com'], eab), {
    environment,
  });
  expect(statusesOf(first)).toEqual({
    'a.example.com': 'renewed',
    'b.example.com': 'renewed',
    'c.example.com': 'renewed',
  });
  const second = await world.renew(certificatesFor(['d.example.com'], eab), { environment });
  expect(statusesOf(second)).toEqual({ 'd.example.com': 'renewed' });
  expect(accounts() - before).toBe(1);
  expect([...first.lines, ...second.lines].join('\n')).not.toContain(MAC_KEY);
});

test('a CA that has forgotten the account gets it again, and the run goes on', async () => {
  const domain = 'forgotten.example.com';
  world.cdn.set(domain);
  const first = await startPebble({ dnsServer: world.dns.resolver });
  const acme = { contact: ['mailto:ops@example.com'], profile: 'default' };
  const config = (pebble: typeof first) => ({
    ...world.config({ certificates: [{ name: domain, identifiers: [domain], keyType: 'ec256' }] }),
    acme: { ...acme, directoryUrl: pebble.directoryUrl, caBundle: pebble.caBundlePath },
  });
  expect(statusesOf(await world.renew(config(first)))).toEqual({ [domain]: 'renewed' });
  await first.close();
  // The same directory URL, as far as the client can tell, with a database that begins anew.
  const second = await startPebble({ dnsServer: world.dns.resolver, port: Number(new URL(first.directoryUrl).port) });
  try {
    const renewal = await world.renew(config(second), { payload: { force: true } });
    expect(statusesOf(renewal)).toEqual({ [domain]: 'renewed' });
    expect(renewal.lines.some((line) => line.includes('account_forgotten'))).toBe(true);
  } finally {
    await second.close();
  }
});
