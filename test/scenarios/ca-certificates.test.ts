import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { makeCa, makeCertificate } from '../sandbox/certificates.ts';
import type { AcmeAnswer, AcmeFault } from '../sandbox/fault-proxy.ts';
import { type FaultyWorld, startFaultyWorld } from '../sandbox/faulty-world.ts';
import { decisionsOf, errorsOf, ordersAt, statusesOf } from '../sandbox/footprint.ts';

let faulty: FaultyWorld;
let calm: (() => void) | undefined;
beforeAll(async () => {
  faulty = await startFaultyWorld({ env: { PEBBLE_ALTERNATE_ROOTS: '2', PEBBLE_CHAIN_LENGTH: '3' } });
});
afterEach(() => calm?.());
afterAll(() => faulty.close());

const NOW = { notBefore: new Date('2020-01-01T00:00:00Z'), notAfter: new Date('2040-01-01T00:00:00Z') };
const EXPIRED = makeCa('Expired Intermediate', new Date('2021-01-01T00:00:00Z'));
const STAGING = makeCa('(STAGING) Artificial Apricot');

function pems(chain: string): string[] {
  return chain.match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----\n/g) ?? [];
}

/** The key of the order that is under way, as it lies in the store. */
function keyOf(domain: string): string {
  const folder = join(faulty.world.storePath, 'certificates', domain);
  const file = readdirSync(folder).find((name) => name.startsWith('order-')) ?? '';
  return JSON.parse(readFileSync(join(folder, file), 'utf8')).privateKey;
}

/** Label to what is handed out in place of the chain. */
const CHAINS: Readonly<Record<string, (chain: string, domain: string) => string>> = {
  page: () => '<html>hello</html>',
  nothing: () => '',
  'wrong-leaf': (_, domain) => makeCertificate({ names: ['www.example.org'], privateKey: keyOf(domain), ...NOW }).chain,
  'other-key': (_, domain) => makeCertificate({ names: [domain], ...NOW }).chain,
  expired: (_, domain) => makeCertificate({ names: [domain], privateKey: keyOf(domain) }).chain,
  reversed: (chain) => pems(chain).reverse().join(''),
  alone: (chain) => pems(chain)[0] ?? '',
  gap: (chain) => [pems(chain)[0], pems(chain)[2]].join(''),
  'old-intermediate': (_, domain) =>
    makeCertificate({ names: [domain], privateKey: keyOf(domain), issuer: EXPIRED, ...NOW }).chain,
  megabyte: (chain) => chain + chain.repeat(1 + Math.ceil((1024 * 1024) / chain.length)),
  twelve: (chain) => pems(chain).join('') + (pems(chain)[1] ?? '').repeat(9),
  cut: (chain) => chain.slice(0, chain.length / 2),
  noise: (chain) => `${chain}and some text`,
};
const domainOf = (label: string) => `f15-${label}.example.com`;

function changedChain(make: (chain: string) => string): AcmeFault {
  return { change: ({ status, headers, body }): AcmeAnswer => ({ status, headers, body: make(body) }) };
}

test('F15 a chain that nobody could use is never pushed and is told; the next run has the certificate of the same order', async () => {
  const { world, proxy, certificatesFor, record, letTimePass } = faulty;
  const labels = Object.keys(CHAINS);
  calm = proxy.intercept(({ endpoint, names, path }) => {
    const domain = names[0] ?? '';
    const make = CHAINS[labels.find((label) => domainOf(label) === domain) ?? ''];
    return endpoint === 'certificate' && make && !path.includes('alternate')
      ? changedChain((chain) => make(chain, domain))
      : undefined;
  });
  const config = certificatesFor(labels.map(domainOf));
  const renewal = await world.renew(config, { timeout: 150 });
  expect(statusesOf(renewal)).toEqual(Object.fromEntries(labels.map((label) => [domainOf(label), 'failed'])));
  for (const [domain, code] of Object.entries(errorsOf(renewal))) {
    expect(['CERTIFICATE_INVALID', 'ACME_RESPONSE_INVALID'], domain).toContain(code);
  }
  expect(world.rpc.callsOf('SetDomainServerCertificate')).toEqual([]);
  for (const label of labels) expect((await record(domainOf(label))).certificate).toBeUndefined();

  calm();
  const orders = ordersAt(world);
  expect(decisionsOf(await world.renew(config))).toEqual(
    Object.fromEntries(labels.map((label) => [domainOf(label), 'keep BackingOff'])),
  );
  await letTimePass();
  const next = await world.renew(config);
  expect(statusesOf(next)).toEqual(Object.fromEntries(labels.map((label) => [domainOf(label), 'renewed'])));
  expect(ordersAt(world)).toBe(orders);
}, 180_000);

test('F15 an order whose certificate stays unusable is given up: the next run has another one', async () => {
  const { world, proxy, certificatesFor, letTimePass } = faulty;
  const domain = 'f15-for-good.example.com';
  let bad: string | undefined;
  calm = proxy.intercept(({ endpoint, names, path }) => {
    if (endpoint !== 'certificate' || names[0] !== domain) return undefined;
    bad ??= path;
    return path === bad ? changedChain(() => makeCertificate({ names: [domain], ...NOW }).chain) : undefined;
  });
  const config = certificatesFor([domain]);
  expect(errorsOf(await world.renew(config))).toEqual({ [domain]: 'CERTIFICATE_INVALID' });
  await letTimePass();
  const orders = ordersAt(world);
  expect(statusesOf(await world.renew(config))).toEqual({ [domain]: 'renewed' });
  expect(ordersAt(world) - orders).toBe(1);
});

test('F14 a valid order that names no certificate yet, and a certificate that is not there yet, are asked for again', async () => {
  const { world, proxy, certificatesFor } = faulty;
  const [unnamed, absent] = ['f14-unnamed.example.com', 'f14-absent.example.com'];
  const shown: Record<string, number> = {};
  calm = proxy.intercept(({ endpoint, names, nth }) => {
    if (names[0] === absent && endpoint === 'certificate' && nth <= 2) return { answer: { status: 404, body: '' } };
    if (names[0] !== unnamed || endpoint !== 'order') return undefined;
    return {
      change: (honest) => {
        const order = JSON.parse(honest.body);
        if (order.certificate === undefined) return honest;
        shown[unnamed] = (shown[unnamed] ?? 0) + 1;
        return shown[unnamed] > 2 ? honest : { ...honest, body: JSON.stringify({ ...order, certificate: undefined }) };
      },
    };
  });
  const orders = ordersAt(world);
  const renewal = await world.renew(certificatesFor([unnamed, absent]));
  expect(statusesOf(renewal)).toEqual({ [unnamed]: 'renewed', [absent]: 'renewed' });
  expect(shown[unnamed]).toBeGreaterThan(2);
  expect(ordersAt(world) - orders).toBe(2);
});

test('F16 the chain that is preferred is served, and the default one where the CA does not have it', async () => {
  const { world, certificatesFor } = faulty;
  const roots = await world.pebble.roots();
  const nameOf = (pem: string) => /CN=(.*)/.exec(new X509Certificate(pem).subject)?.[1] ?? '';
  const [first = '', , third = ''] = roots.map(nameOf);
  for (const [label, preferredChain, expected] of [
    ['f16-third', third, third],
    ['f16-absent', 'No Such Root', first],
  ] as const) {
    const domain = `${label}.example.com`;
    const renewal = await world.renew(certificatesFor([domain], { preferredChain }));
    expect(statusesOf(renewal)).toEqual({ [domain]: 'renewed' });
    const served = pems(world.cdn.served(domain)?.certificate ?? '').map((pem) => new X509Certificate(pem));
    // PEBBLE_CHAIN_LENGTH counts the certificates below the root.
    expect(served.length).toBe(4);
    expect(served.at(-1)?.issuer).toContain(`CN=${expected}`);
    expect(renewal.lines.some((line) => line.includes('preferred_chain_absent'))).toBe(label === 'f16-absent');
  }
});

test('F72 a certificate of a staging CA never takes the place of one that clients trust', async () => {
  const { world, proxy, certificatesFor } = faulty;
  const domain = 'f72.example.com';
  const config = certificatesFor([domain]);
  expect(statusesOf(await world.renew(config))).toEqual({ [domain]: 'renewed' });
  const good = world.cdn.served(domain)?.fingerprint;
  calm = proxy.intercept(({ endpoint, names }) => {
    if (endpoint !== 'certificate' || names[0] !== domain) return undefined;
    return changedChain(
      () => makeCertificate({ names: [domain], privateKey: keyOf(domain), issuer: STAGING, ...NOW }).chain,
    );
  });
  const changed = { ...config, certificates: [{ name: domain, identifiers: [domain], keyType: 'ec384' }] };
  expect(errorsOf(await world.renew(changed))).toEqual({ [domain]: 'WORSE_CERTIFICATE' });
  expect(world.cdn.served(domain)?.fingerprint).toBe(good);
});
