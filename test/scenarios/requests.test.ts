import { afterAll, beforeAll, expect, test } from 'vitest';
import type { AcmeRequest } from '../sandbox/fault-proxy.ts';
import { type FaultyWorld, startFaultyWorld } from '../sandbox/faulty-world.ts';
import { statusesOf } from '../sandbox/footprint.ts';

let faulty: FaultyWorld;
beforeAll(async () => {
  faulty = await startFaultyWorld();
});
afterAll(() => faulty.close());

const DOMAINS = Array.from({ length: 20 }, (_, nth) => `site-${nth + 1}.example.com`);
const RENEWED = Object.fromEntries(DOMAINS.map((domain) => [domain, 'renewed']));

/** Endpoint to number of requests. */
function tally(requests: readonly AcmeRequest[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { endpoint } of requests) counts[endpoint] = (counts[endpoint] ?? 0) + 1;
  return counts;
}

/** What cannot be less. How often an order must be asked for depends on Pebble, which finalizes behind the client's back. */
const ORDERS = { newOrder: 20, authorization: 20, challenge: 20, finalize: 20, certificate: 20 };

test('twenty certificates cost the CA 7.2 requests each, directory, account and nonces included', async () => {
  const { world, proxy, certificatesFor } = faulty;
  const config = certificatesFor(DOMAINS);
  expect(statusesOf(await world.renew(config))).toEqual(RENEWED);
  const issued = [...proxy.requests];
  expect(tally(issued)).toMatchObject({ ...ORDERS, directory: 1, newAccount: 1 });
  expect(issued.length, JSON.stringify(tally(issued))).toBeLessThanOrEqual(7.2 * DOMAINS.length);

  const second = await world.renew(config, { payload: { force: true } });
  expect(statusesOf(second)).toEqual(RENEWED);
  const again = proxy.requests.slice(issued.length);
  // Of a certificate whose serial number begins with a zero byte, one in 128, Pebble does not find the order: it answers
  // "replaces" with 500, twice, and then the order is opened without it.
  const inVain = 2 * second.lines.filter((line) => line.includes('"event":"replaces_refused"')).length;
  expect(again.length - inVain, JSON.stringify(tally(again))).toBeLessThanOrEqual(7.2 * DOMAINS.length);
  const renewed = tally(again);
  // However it is set, Pebble takes an authorization of before for one order in a hundred: that order is ready at once.
  const { authorization } = renewed;
  expect(renewed, 'the account is known').toMatchObject({
    ...ORDERS,
    newOrder: 20 + inVain,
    authorization,
    challenge: authorization,
    directory: 1,
  });
  expect(Object.keys(renewed).sort()).toEqual([...Object.keys(ORDERS), 'order', 'directory', 'newNonce'].sort());
});
