import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type AcmeEndpoint, type AcmeFault, problemAnswer } from '../sandbox/fault-proxy.ts';
import { type FaultyWorld, startFaultyWorld } from '../sandbox/faulty-world.ts';
import { errorsOf, ordersAt, statusesOf, txtRecords } from '../sandbox/footprint.ts';

let faulty: FaultyWorld;
beforeAll(async () => {
  faulty = await startFaultyWorld();
});
afterAll(() => faulty.close());

const OF_AN_ORDER: readonly AcmeEndpoint[] = [
  'newOrder',
  'order',
  'authorization',
  'challenge',
  'finalize',
  'certificate',
];

/** `lost`: the CA has opened an order and nobody knows of it. */
const FAULTS: Readonly<Record<string, { readonly fault: AcmeFault; readonly lost?: true }>> = {
  'f11-500': { fault: problemAnswer(500, 'serverInternal') },
  'f11-502': { fault: { answer: { status: 502, body: '<html>Bad Gateway</html>' } } },
  'f10-503': { fault: { answer: { status: 503, headers: { 'retry-after': '1' }, body: '<html>busy</html>' } } },
  'f13-page': { fault: { answer: { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>log in' } } },
  'f13-cut': { fault: 'cut', lost: true },
  'f12-before': { fault: 'reset-before' },
  'f12-after': { fault: 'reset-after', lost: true },
};

test.each([[['f11-500', 'f11-502', 'f10-503']], [['f13-page', 'f13-cut', 'f12-before', 'f12-after']]])(
  'F10 F11 F12 F13 %s once on each endpoint of an order cost no certificate',
  async (kinds) => {
    const { world, proxy, certificatesFor } = faulty;
    const cases = kinds.flatMap((kind) =>
      OF_AN_ORDER.map((endpoint) => ({ domain: `${kind}-${endpoint}.example.com`.toLowerCase(), kind, endpoint })),
    );
    const calm = proxy.intercept(({ endpoint, names, nth }) => {
      const planned = cases.find(({ domain }) => domain === names[0]);
      return planned?.endpoint === endpoint && nth === 1 ? FAULTS[planned.kind]?.fault : undefined;
    });
    const [orders, finalized] = [ordersAt(world), certificatesAt(world)];
    const renewal = await world.renew(certificatesFor(cases.map(({ domain }) => domain)));
    calm();
    expect(errorsOf(renewal)).toEqual({});
    expect(statusesOf(renewal)).toEqual(Object.fromEntries(cases.map(({ domain }) => [domain, 'renewed'])));
    for (const { domain, endpoint } of cases) {
      const met = proxy.requests.filter((request) => request.endpoint === endpoint && request.names[0] === domain);
      // Whether finalize went through is told by the order, and needs no second one.
      expect(met.length, `${domain} met its fault and came back`).toBeGreaterThan(endpoint === 'finalize' ? 0 : 1);
    }
    const lost = kinds.filter((kind) => FAULTS[kind]?.lost).length;
    expect(ordersAt(world) - orders).toBe(cases.length + lost);
    expect(certificatesAt(world) - finalized, 'no certificate is issued twice').toBe(cases.length);
    expect(txtRecords(world, 'example.com')).toEqual([]);
  },
);

test('F10 F12 a directory that is cut off, a nonce that is not given and an account whose answer is lost: one account', async () => {
  const { world, proxy, certificatesFor } = faulty;
  const store = await mkdtemp(join(tmpdir(), 'autocert-store-'));
  const seen = proxy.requests.length;
  const met: Partial<Record<AcmeEndpoint, number>> = {};
  const calm = proxy.intercept(({ endpoint }) => {
    met[endpoint] = (met[endpoint] ?? 0) + 1;
    if (met[endpoint] !== 1) return undefined;
    if (endpoint === 'directory') return 'cut';
    if (endpoint === 'newNonce') return FAULTS['f10-503']?.fault;
    return endpoint === 'newAccount' ? 'reset-after' : undefined;
  });
  const config = { ...certificatesFor(['f12-start.example.com']), store: pathToFileURL(store).href };
  const renewal = await world.renew(config);
  calm();
  await rm(store, { recursive: true, force: true });
  expect(statusesOf(renewal)).toEqual({ 'f12-start.example.com': 'renewed' });
  const made = proxy.requests.slice(seen).filter(({ endpoint }) => endpoint === 'newAccount');
  expect(made.length).toBe(2);
  // The second one is answered with the account of the first: RFC 8555 section 7.3.
  expect(world.pebble.log.filter((line) => line.includes('There are now 3 accounts'))).toEqual([]);
});

function certificatesAt({ pebble }: FaultyWorld['world']): number {
  return pebble.log.filter((line) => line.includes('Issued certificate serial')).length;
}
