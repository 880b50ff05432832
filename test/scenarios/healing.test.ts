import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeCertificate } from '../sandbox/certificates.ts';
import { decisionsOf, ordersAt, statusesOf } from '../sandbox/footprint.ts';
import { startPebble } from '../sandbox/pebble.ts';
import { startWorld, type World } from '../sandbox/world.ts';

let world: World;
beforeAll(async () => {
  world = await startWorld({ zones: ['example.com'], pebble: { profiles: { default: 7_776_000, instant: 15 } } });
});
afterAll(() => world.close());

function certificateFor(domain: string, more: Record<string, unknown> = {}) {
  return world.config({ certificates: [{ name: domain, identifiers: [domain], keyType: 'ec256', ...more }] });
}

function configured(domain: string): string | undefined {
  return world.cdn.served(domain)?.fingerprint;
}

test('a certificate that is stored but not served is deployed without a new order', async () => {
  const domain = 'stored.example.com';
  world.cdn.set(domain);
  const config = certificateFor(domain);
  await world.renew(config);
  const issued = configured(domain);
  const orders = ordersAt(world);
  world.cdn.set(domain, { sslProtocol: 'off', certName: undefined });

  const again = await world.renew(config);
  expect(decisionsOf(again)).toEqual({ [domain]: 'deploy NotDeployed' });
  expect(statusesOf(again)).toEqual({ [domain]: 'redeployed' });
  expect(configured(domain)).toBe(issued);
  for (const edge of world.edges) expect(edge.fingerprintOf(domain)).toBe(issued);
  expect(ordersAt(world)).toBe(orders);
});

test('a certificate that was overwritten by hand is put back, under its own name alone', async () => {
  const domain = 'overwritten.example.com';
  world.cdn.set(domain);
  const config = certificateFor(domain);
  await world.renew(config);
  const issued = configured(domain);
  const byHand = makeCertificate({
    names: [domain],
    notBefore: new Date('2026-01-01T00:00:00Z'),
    notAfter: new Date('2036-01-01T00:00:00Z'),
  });
  world.cdn.purchase(domain, { ...byHand, certType: 'upload', certName: 'by-hand' });

  const again = await world.renew(config);
  expect(decisionsOf(again)).toEqual({ [domain]: 'deploy NotDeployed' });
  expect(configured(domain)).toBe(issued);
  expect(world.cdn.state.certificates.get('by-hand')?.certificate, 'theirs is untouched').toBe(byHand.chain);
});

test('a certificate that one edge serves and the other does not is deployed again', async () => {
  const domain = 'halfway.example.com';
  world.cdn.set(domain);
  const config = certificateFor(domain);
  await world.renew(config);
  const old = makeCertificate({
    names: [domain],
    notBefore: new Date('2026-01-01T00:00:00Z'),
    notAfter: new Date('2026-12-31T00:00:00Z'),
  });
  world.edges[1].override(domain, old);
  const stop = world.cdn.onChange((changed) => {
    if (changed === domain) world.edges[1].override(domain, undefined);
  });

  const again = await world.renew(config);
  stop();
  expect(decisionsOf(again)).toEqual({ [domain]: 'deploy NotServed' });
  expect(again.report.outcomes[0]?.verifications?.map(({ status }) => status)).toEqual(['served', 'served']);
});

test('F38 an edge that never takes it up is a failure of the run, and the next run deploys again', async () => {
  const domain = 'stuck.example.com';
  world.cdn.set(domain);
  world.edges[1].hold();
  const config = {
    ...certificateFor(domain),
    verify: { patience: '2s', connect: world.edges.map(({ address }) => address) },
  };
  const stuck = await world.renew(config);
  world.edges[1].release();
  expect(stuck.report.outcomes[0]?.error).toMatchObject({ code: 'NOT_SERVED', step: 'verify', retryable: true });
  expect(stuck.error?.errorType).toBe('RunFailed');

  const orders = ordersAt(world);
  const next = await world.renew(config);
  expect(statusesOf(next)).toEqual({ [domain]: 'kept' });
  expect(ordersAt(world)).toBe(orders);
});

test('an expired certificate is renewed', async () => {
  const domain = 'expired.example.com';
  world.cdn.set(domain);
  await world.renew(certificateFor(domain, { profile: 'instant' }));
  const issued = configured(domain);
  const { notAfter } = await storedCertificate(domain);
  await expect.poll(() => Date.now() > Date.parse(notAfter), { timeout: 60_000, interval: 200 }).toBe(true);

  const again = await world.renew(certificateFor(domain, { profile: 'instant' }));
  expect(decisionsOf(again)).toEqual({ [domain]: 'renew ExpiryImminent' });
  expect(again.report.outcomes[0]?.decision?.message).toMatch(/^It ended \d+ minutes? ago\.$/);
  expect(configured(domain)).not.toBe(issued);
}, 90_000);

test('a staging certificate in the store is not taken for a production one', async () => {
  const domain = 'staging.example.com';
  world.cdn.set(domain);
  const staging = await startPebble({ dnsServer: world.dns.resolver });
  try {
    const production = certificateFor(domain);
    const acme = {
      ...(production['acme'] as object),
      directoryUrl: staging.directoryUrl,
      caBundle: staging.caBundlePath,
    };
    const rehearsal = await world.renew({ ...production, acme });
    expect(statusesOf(rehearsal)).toEqual({ [domain]: 'renewed' });
    const rehearsed = configured(domain);

    const real = await world.renew(production);
    expect(decisionsOf(real)).toEqual({ [domain]: 'renew IssuerChanged' });
    expect(statusesOf(real)).toEqual({ [domain]: 'renewed' });
    expect(configured(domain)).not.toBe(rehearsed);
  } finally {
    await staging.close();
  }
});

async function storedCertificate(domain: string): Promise<{ notAfter: string }> {
  const { createFileStore } = await import('../../src/store/file.ts');
  const { readRecord } = await import('../../src/record.ts');
  const { certificate } = await readRecord(createFileStore({ path: world.storePath }), domain);
  if (!certificate) throw new Error(`nothing is stored for ${domain}`);
  return certificate;
}
