import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { IncomingMessage } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createAccountKey } from '../../src/acme/keys.ts';
import { openAcme } from '../../src/acme.ts';
import { realDeps } from '../acme/deps.ts';
import { issueAt } from '../acme/issuing.ts';
import { type FaultProxy, problemAnswer, startFaultProxy } from '../sandbox/fault-proxy.ts';
import { statusesOf } from '../sandbox/footprint.ts';
import { injected } from '../sandbox/injections.ts';
import { type Pebble, startPebble } from '../sandbox/pebble.ts';
import { startWorld } from '../sandbox/world.ts';

/** AUTOCERT_SOAK=1 is the long form. */
const SOAK = process.env['AUTOCERT_SOAK'] === '1';

/** Here the CA has nothing to refuse but nonces. */
function countRefusal(message: unknown): void {
  const { response } = message as { readonly response: IncomingMessage };
  if (response.statusCode === 400) injected();
}

describe.each([
  { row: 'F1', refused: 50, issuances: SOAK ? 1000 : 60 },
  { row: 'F2', refused: 90, issuances: SOAK ? 100 : 10 },
])('with $refused % of good nonces refused', ({ row, refused, issuances }) => {
  let pebble: Pebble;
  beforeAll(async () => {
    const env = { PEBBLE_VA_ALWAYS_VALID: '1', PEBBLE_WFE_NONCEREJECT: String(refused), PEBBLE_AUTHZREUSE: '0' };
    pebble = await startPebble({ env });
    subscribe('http.client.response.finish', countRefusal);
  });
  afterAll(async () => {
    unsubscribe('http.client.response.finish', countRefusal);
    await pebble.close();
  });

  test(
    `${row} ${issuances} of ${issuances} certificates are issued`,
    async () => {
      const { directoryUrl, caBundle } = pebble;
      const acme = openAcme({ directoryUrl, caBundle, deps: realDeps(SOAK ? 1800 : 120) });
      const account = await acme.account(createAccountKey(), {
        contact: ['mailto:ops@example.com'],
        termsOfServiceAgreed: true,
      });
      const privateKey = createAccountKey();
      const issued: string[] = [];
      const names = Array.from({ length: issuances }, (_, index) => `n${index}.example.com`);
      for (let at = 0; at < names.length; at += 10)
        issued.push(
          ...(await Promise.all(names.slice(at, at + 10).map((name) => issueAt(account, [name], privateKey)))),
        );
      acme.close();
      expect(new Set(issued).size).toBe(issuances);
    },
    SOAK ? 1_800_000 : 120_000,
  );
});

test('F1 F3 F4 F6 a whole run with every second nonce refused, no nonce in any answer of the CA, and a validation that takes its time', async () => {
  const world = await startWorld({
    zones: ['example.com'],
    pebble: { env: { PEBBLE_WFE_NONCEREJECT: '50', PEBBLE_VA_NOSLEEP: '', PEBBLE_VA_SLEEPTIME: SOAK ? '15' : '3' } },
  });
  const proxy: FaultProxy = await startFaultProxy(world.pebble);
  const calm = proxy.intercept(({ endpoint, method, nth }) => {
    if (method !== 'POST') return undefined;
    // F3: refused, and no other nonce is given. F4: a success without one.
    if (endpoint === 'newOrder' && nth === 1) return problemAnswer(400, 'badNonce');
    return {
      change: ({ status, headers, body }) => ({ status, headers: { ...headers, 'replay-nonce': undefined }, body }),
    };
  });
  const domains = ['f3-a.example.com', 'f3-b.example.com', 'f3-c.example.com'];
  for (const domain of domains) world.cdn.set(domain);
  const renewal = await world.renew(
    world.config({
      acme: proxy.acme(),
      certificates: domains.map((domain) => ({ name: domain, identifiers: [domain], keyType: 'ec256' })),
    }),
  );
  calm();
  expect(statusesOf(renewal)).toEqual(Object.fromEntries(domains.map((domain) => [domain, 'renewed'])));
  const posts = proxy.requests.filter(({ method }) => method === 'POST').length;
  expect(proxy.requests.filter(({ endpoint }) => endpoint === 'newNonce').length, 'one for each request').toBe(posts);
  for (const domain of domains) {
    const polls = proxy.requests.filter(({ endpoint, names }) => endpoint === 'order' && names[0] === domain);
    // Half of them refused for their nonce. Without a pause between them there would be hundreds.
    expect(polls.length, 'F6').toBeLessThanOrEqual(40);
  }
  await proxy.close();
  await world.close();
});
