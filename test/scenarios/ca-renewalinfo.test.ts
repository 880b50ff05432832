import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { AcmeFault } from '../sandbox/fault-proxy.ts';
import { type FaultyWorld, startFaultyWorld } from '../sandbox/faulty-world.ts';
import { decisionsOf, ordersAt, statusesOf } from '../sandbox/footprint.ts';

let faulty: FaultyWorld;
beforeAll(async () => {
  // What was validated once is not validated again: see F5.
  faulty = await startFaultyWorld({
    env: { PEBBLE_AUTHZREUSE: '100' },
    profiles: { default: 7_776_000, instant: 10 },
  });
});
afterAll(() => faulty.close());

const DAY = 86_400_000;
const window = (start: string, end: string, retryAfter?: string): AcmeFault => ({
  answer: {
    status: 200,
    headers: { 'content-type': 'application/json', ...(retryAfter !== undefined && { 'retry-after': retryAfter }) },
    body: JSON.stringify({ suggestedWindow: { start, end } }),
  },
});
const text = (status: number, body: string): AcmeFault => ({ answer: { status, body } });

/** Label to what the CA says about that certificate. */
const HOSTILE: Readonly<Record<string, AcmeFault>> = {
  missing: text(404, ''),
  broken: text(500, '<html>'),
  garbage: text(200, '{"suggestedWindow":'),
  huge: text(200, `{"suggestedWindow":"${'x'.repeat(10 * 1024 * 1024)}"}`),
  empty: text(200, '{}'),
  point: window('2027-01-01T00:00:00Z', '2027-01-01T00:00:00Z'),
  backwards: window('2027-01-02T00:00:00Z', '2027-01-01T00:00:00Z'),
  2099: window('2099-01-01T00:00:00Z', '2099-01-02T00:00:00Z'),
  late: window('2090-01-01T00:00:00Z', '2090-01-02T00:00:00Z'),
  hasty: window('2099-01-01T00:00:00Z', '2099-01-02T00:00:00Z', '1'),
  idle: window('2099-01-01T00:00:00Z', '2099-01-02T00:00:00Z', '2592000'),
  reset: 'reset-before',
};
const domainOf = (label: string) => `f22-${label}.example.com`;

test('F5 F22 F23 whatever renewalInfo answers, nothing is renewed but what the CA wants back; expiry wins, and the next question is bounded', async () => {
  const { world, proxy, certificatesFor, record, letTimePass } = faulty;
  const labels = [...Object.keys(HOSTILE), 'revoked', 'brief'];
  const base = certificatesFor(labels.map(domainOf));
  const certificates = base['certificates'] as { readonly name: string }[];
  // One that ends soon, whatever its window says.
  const config = {
    ...base,
    certificates: certificates.map((each) =>
      each.name === domainOf('brief') ? { ...each, profile: 'instant' } : each,
    ),
  };
  let answers: Readonly<Record<string, AcmeFault | undefined>> = {};
  const labelOf = new Map<string, string>();
  const calm = proxy.intercept(({ endpoint, path }) => {
    if (endpoint !== 'renewalInfo') return undefined;
    const label = labelOf.get(path.split('/').at(-1) ?? '');
    return label === undefined ? text(404, '') : answers[label];
  });
  const first = await world.renew(config);
  expect(statusesOf(first)).toEqual(Object.fromEntries(labels.map((label) => [domainOf(label), 'renewed'])));
  for (const label of labels) labelOf.set((await record(domainOf(label))).certificate?.certId ?? '', label);

  answers = {
    ...HOSTILE,
    revoked: window('2026-02-01T00:00:00Z', '2026-02-02T00:00:00Z'),
    brief: window('2099-01-01T00:00:00Z', '2099-01-02T00:00:00Z'),
  };
  const endsAt = Date.parse((await record(domainOf('brief'))).certificate?.notAfter ?? '');
  await expect.poll(() => Date.now(), { timeout: 20_000 }).toBeGreaterThan(endsAt - 4000);
  const [orders, asked] = [ordersAt(world), proxy.requests.length];
  const before = world.dns.queries.length;
  const added = world.rpc.callsOf('AddDomainRecord').length;
  const keyOf = (label: string) =>
    new X509Certificate(world.cdn.served(domainOf(label))?.certificate ?? '').publicKey.export({
      type: 'spki',
      format: 'pem',
    });
  const compromised = keyOf('revoked');
  await letTimePass();
  const second = await world.renew(config, { timeout: 120 });
  expect(decisionsOf(second)).toEqual({
    ...Object.fromEntries(Object.keys(HOSTILE).map((label) => [domainOf(label), 'keep Current'])),
    [domainOf('revoked')]: 'renew SelectedTimeReached',
    [domainOf('brief')]: 'renew ExpiryImminent',
  });
  expect(statusesOf(second)[domainOf('revoked')]).toBe('renewed');
  expect(ordersAt(world) - orders).toBe(2);
  const made = proxy.requests
    .slice(asked)
    .find(({ endpoint, names }) => endpoint === 'newOrder' && names[0] === domainOf('revoked'));
  expect(labelOf.get(String(made?.payload?.['replaces']))).toBe('revoked');
  expect(
    world.dns.queries.slice(before).filter(({ type, name }) => type === 'TXT' && name.startsWith('_acme-challenge')),
    'F5 what is authorized already needs no TXT record',
  ).toEqual([]);
  expect(world.rpc.callsOf('AddDomainRecord').length, 'F5 and none is written').toBe(added);
  expect(keyOf('revoked'), 'F23 the key may be why it is taken back').not.toBe(compromised);
  for (const label of Object.keys(HOSTILE)) {
    const questions = proxy.requests.slice(asked).filter(({ endpoint, path }) => {
      return endpoint === 'renewalInfo' && labelOf.get(path.split('/').at(-1) ?? '') === label;
    });
    expect(questions.length, `${label} is no busy loop`).toBeLessThanOrEqual(2);
  }
  const now = Date.parse(second.report.finishedAt);
  const nextOf = async (label: string) => Date.parse((await record(domainOf(label))).advice?.retryAfter ?? '');
  expect(await nextOf('hasty')).toBeGreaterThan(Date.parse(second.report.startedAt) + 59_000);
  expect(await nextOf('idle')).toBeLessThanOrEqual(now + DAY);

  calm();
  await letTimePass();
  const third = await world.renew(config, { payload: { only: [domainOf('revoked'), domainOf('2099')] } });
  expect(decisionsOf(third), 'the successor has a window of its own').toEqual({
    [domainOf('revoked')]: 'keep Current',
    [domainOf('2099')]: 'keep Current',
  });
}, 120_000);

test('F22 a CA that wants every certificate back at once, the new ones too, is not followed in a loop', async () => {
  const { world, proxy, certificatesFor, letTimePass } = faulty;
  const domain = domainOf('loop');
  const config = certificatesFor([domain]);
  const calm = proxy.intercept(({ endpoint }) =>
    endpoint === 'renewalInfo' ? window('2026-02-01T00:00:00Z', '2026-02-02T00:00:00Z') : undefined,
  );
  await world.renew(config);
  const reasons: (string | undefined)[] = [];
  for (let run = 1; run <= 3; run += 1) {
    await letTimePass();
    reasons.push(decisionsOf(await world.renew(config))[domain]);
  }
  calm();
  expect(reasons).toEqual(['renew SelectedTimeReached', 'keep Current', 'keep Current']);
});
