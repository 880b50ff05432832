import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FaultyWorld, startFaultyWorld } from '../sandbox/faulty-world.ts';
import { statusesOf } from '../sandbox/footprint.ts';

const ZONES = Array.from({ length: 10 }, (_, nth) => `zone-${nth}.example`);

let faulty: FaultyWorld;
beforeAll(async () => {
  faulty = await startFaultyWorld({}, ZONES);
});
afterAll(() => faulty.close());

/** Three in each zone. */
function domainsOf(kind: string): string[] {
  return ZONES.flatMap((zone) => [1, 2, 3].map((nth) => `${kind}-${nth}.${zone}`));
}

function allRenewed(domains: readonly string[]): Record<string, string> {
  return Object.fromEntries(domains.map((domain) => [domain, 'renewed']));
}

/** The TXT records that there are now. */
function records(): number {
  const { dns } = faulty.world;
  return ZONES.reduce((sum, zone) => sum + dns.records(zone).filter(({ type }) => type === 'TXT').length, 0);
}

test('orders that wait for DNS wait at once: all records are there before the first is seen', async () => {
  const { world, certificatesFor } = faulty;
  const domains = domainsOf('waiting');
  world.dns.lag('ns2', 'held');
  const run = world.renew(certificatesFor(domains));
  await expect.poll(records, { timeout: 60_000 }).toBe(domains.length);
  world.dns.release('ns2');
  expect(statusesOf(await run)).toEqual(allRenewed(domains));
  expect(records()).toBe(0);
}, 120_000);

test('acme.concurrency: no more orders are under way than it says, and all are done', async () => {
  const { world, certificatesFor } = faulty;
  const domains = domainsOf('bounded').slice(0, 10);
  const counts: number[] = [];
  const stop = world.dns.onChange(() => counts.push(records()));
  expect(statusesOf(await world.renew(certificatesFor(domains, { concurrency: 2 })))).toEqual(allRenewed(domains));
  stop();
  expect(Math.max(...counts)).toBe(2);
}, 120_000);

test('a CA that is out of service for a second is left alone by all orders, and every certificate is issued', async () => {
  const { world, proxy, certificatesFor } = faulty;
  const domains = domainsOf('refused');
  let end = 0;
  let refused = 0;
  const calm = proxy.intercept(({ endpoint }) => {
    if (endpoint !== 'authorization') return undefined;
    if (end === 0) end = Date.now() + 1_000;
    if (Date.now() >= end) return undefined;
    refused += 1;
    return { answer: { status: 503, headers: { 'retry-after': '1' } } };
  });
  expect(statusesOf(await world.renew(certificatesFor(domains)))).toEqual(allRenewed(domains));
  calm();
  expect(refused).toBeGreaterThanOrEqual(1);
  expect(refused, 'those that were in flight with the first of them').toBeLessThanOrEqual(16);
}, 120_000);
