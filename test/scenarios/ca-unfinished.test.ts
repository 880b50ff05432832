import { afterAll, beforeAll, expect, test } from 'vitest';
import { type AcmeFault, changedJson, problemAnswer } from '../sandbox/fault-proxy.ts';
import { type FaultyWorld, startFaultyWorld } from '../sandbox/faulty-world.ts';
import { decisionsOf, errorsOf, ordersAt, statusesOf, txtRecords } from '../sandbox/footprint.ts';

let faulty: FaultyWorld;
beforeAll(async () => {
  faulty = await startFaultyWorld();
});
afterAll(() => faulty.close());

/** The CA works on the order, and for longer than any run lasts. */
const PROCESSING = changedJson({ status: 'processing', certificate: undefined }, { 'retry-after': '3600' });
const NOT_READY: AcmeFault = {
  change: ({ headers }) => ({
    status: 403,
    headers: { ...headers, 'content-type': 'application/problem+json' },
    body: JSON.stringify({ type: 'urn:ietf:params:acme:error:orderNotReady', detail: 'the status is "valid"' }),
  }),
};

test('F7 F26 F27 an order that stays `processing` is kept for the next run, one that somebody else finalized is downloaded, one that is gone is opened anew', async () => {
  const { world, proxy, certificatesFor } = faulty;
  const [slow, other, gone, refused] = ['f7', 'f26', 'f27-gone', 'f27-invalid'].map((label) => `${label}.example.com`);
  if (!slow || !other || !gone || !refused) throw new Error('four names');
  const stuck = [slow, gone, refused];
  const isFinalized = (name: string) =>
    proxy.requests.some(({ endpoint, names }) => endpoint === 'finalize' && names[0] === name);
  let calm = proxy.intercept(({ endpoint, names }) => {
    const [name = ''] = names;
    if (name === other && endpoint === 'finalize') return NOT_READY;
    if (!stuck.includes(name)) return undefined;
    return endpoint === 'finalize' || (endpoint === 'order' && isFinalized(name)) ? PROCESSING : undefined;
  });
  const config = certificatesFor([slow, other, gone, refused]);
  const first = await world.renew(config);
  expect(statusesOf(first)).toEqual({
    [slow]: 'deferred',
    [other]: 'renewed',
    [gone]: 'deferred',
    [refused]: 'deferred',
  });
  expect(errorsOf(first)).toEqual(Object.fromEntries(stuck.map((name) => [name, 'ACME_ORDER_PENDING'])));
  expect(first.error, 'nothing has failed').toBeUndefined();
  expect(txtRecords(world, 'example.com')).toEqual([]);
  calm();

  calm = proxy.intercept(({ endpoint, names, nth }) => {
    if (endpoint !== 'order') return undefined;
    // The first order alone: what follows is another one.
    const opened = proxy.requests.filter((one) => one.endpoint === 'newOrder' && one.names[0] === names[0]).length;
    if (opened > 1 || nth === 0) return undefined;
    if (names[0] === gone) return problemAnswer(404, 'malformed', { detail: 'no such order' });
    return names[0] === refused ? changedJson({ status: 'invalid' }) : undefined;
  });
  const before = [slow, gone, refused].map((name) => ordersOf(name));
  const second = await world.renew(config);
  calm();
  expect(statusesOf(second)).toEqual({ [slow]: 'renewed', [other]: 'kept', [gone]: 'renewed', [refused]: 'renewed' });
  expect([slow, gone, refused].map((name, index) => ordersOf(name) - (before[index] ?? 0))).toEqual([0, 1, 1]);

  function ordersOf(name: string): number {
    return proxy.requests.filter(({ endpoint, names }) => endpoint === 'newOrder' && names[0] === name).length;
  }
});

test('F12 a CA that falls silent ends no run late and costs no order: the next run finishes what is there', async () => {
  const { world, proxy, certificatesFor, letTimePass } = faulty;
  const silent = {
    'silent-authz.example.com': ['authorization', 'silence-before'],
    'silent-challenge.example.com': ['challenge', 'silence-after'],
    'silent-finalize.example.com': ['finalize', 'silence-after'],
    'silent-certificate.example.com': ['certificate', 'silence-before'],
  } as const;
  const names = Object.keys(silent);
  // Once an order has met its silence, everything about it is silent.
  const quiet = new Set<string>();
  const calm = proxy.intercept(({ endpoint, names: [name = ''] }) => {
    const planned = Object.entries(silent).find(([domain]) => domain === name)?.[1];
    if (!planned) return undefined;
    if (quiet.has(name)) return 'silence-before';
    if (planned[0] !== endpoint) return undefined;
    quiet.add(name);
    return planned[1];
  });
  const config = certificatesFor([...names, 'loud.example.com']);
  const before = ordersAt(world);
  const timeout = 40;
  const first = await world.renew(config, { timeout });
  calm();
  expect(statusesOf(first)['loud.example.com']).toBe('renewed');
  for (const name of names) expect(['failed', 'deferred'], name).toContain(statusesOf(first)[name]);
  const took = Date.parse(first.report.finishedAt) - Date.parse(first.report.startedAt);
  expect(took, 'the report is written before the instance is killed').toBeLessThan(timeout * 1000);
  expect(ordersAt(world) - before).toBe(names.length + 1);
  expect(txtRecords(world, 'example.com')).toEqual([]);

  await letTimePass();
  const second = await world.renew(config);
  expect(statusesOf(second)).toEqual({
    ...Object.fromEntries(names.map((name) => [name, 'renewed'])),
    'loud.example.com': 'kept',
  });
  expect(ordersAt(world) - before, 'no order is opened a second time').toBe(names.length + 1);
  expect(decisionsOf(await world.renew(config))['silent-finalize.example.com']).toBe('keep Current');
}, 120_000);
