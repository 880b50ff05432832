import { afterAll, beforeAll, expect, test } from 'vitest';
import { errorsOf, statusesOf } from '../sandbox/footprint.ts';
import { injected } from '../sandbox/injections.ts';
import { startWorld, type World } from '../sandbox/world.ts';

/** The long form has a hundred. */
const MANY = process.env['AUTOCERT_SOAK'] === '1' ? 100 : 30;
const DOMAINS = Array.from({ length: MANY }, (_, index) => `n${index}.example.com`);
const POISONED = [0, Math.floor(MANY / 2), MANY - 1].flatMap((index) => DOMAINS[index] ?? []);

let world: World;
beforeAll(async () => {
  world = await startWorld({ zones: ['example.com'], pebble: { domainBlocklist: POISONED } });
});
afterAll(() => world.close());

test(`F62 poison in the first, the middle and the last of ${MANY} certificates: all others are done, and the run fails`, async () => {
  for (const domain of DOMAINS) world.cdn.set(domain);
  const certificates = DOMAINS.map((domain) => ({ name: domain, identifiers: [domain], keyType: 'ec256' }));
  injected(POISONED.length);
  const renewal = await world.renew(world.config({ certificates }));
  expect(errorsOf(renewal)).toEqual(Object.fromEntries(POISONED.map((name) => [name, 'ACME_REJECTED_IDENTIFIER'])));
  expect(statusesOf(renewal)).toEqual(
    Object.fromEntries(DOMAINS.map((name) => [name, POISONED.includes(name) ? 'failed' : 'renewed'])),
  );
  expect(renewal.error?.errorType).toBe('RunFailed');
  for (const domain of DOMAINS) expect(world.cdn.served(domain) !== undefined, domain).toBe(!POISONED.includes(domain));
}, 300_000);
