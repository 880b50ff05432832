import { kill } from 'node:process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ordersAt, treeOf } from '../sandbox/footprint.ts';
import { injected } from '../sandbox/injections.ts';
import {
  createCase,
  endOf,
  type Interference,
  inPool,
  type KillWorld,
  removeCase,
  runInterfered,
  SINGLE,
  startKillWorld,
} from '../sandbox/kill.ts';
import { createLedger, standingOf, txtOf, writesNothing } from '../sandbox/kill-standing.ts';

/** Runs at the same instant; the long form is `npm run test:soak`. */
const AT_THE_SAME_INSTANT = process.env['AUTOCERT_SOAK'] === '1' ? 100 : 12;

/** Seconds until FC ends the instance that is stopped. */
const TIMEOUT = 120;
/** Milliseconds: more than the timeout, the lease's margin and the tolerance for clocks; less than the cloud API's 15 minutes. */
const LAPSE = 300_000;
/** How a run ends that asks for its lease and hears that another one has it. */
const LOST = 'deferred LEASE_LOST';

let world: KillWorld;
beforeAll(async () => {
  world = await startKillWorld();
});
afterAll(() => world.close());

function pushes(): number {
  return world.rpc.callsOf('SetDomainServerCertificate').filter(({ code }) => code === 'OK').length;
}

async function brokenIn(one: Awaited<ReturnType<typeof createCase>>): Promise<readonly string[]> {
  const ledger = createLedger(world);
  await ledger.read();
  const { broken } = await standingOf(world, one, ledger);
  return broken;
}

/** Starts a run that stops itself at the point; gives how it ended once `meanwhile` is over and it was let go on. */
async function stoppedAt(
  one: Awaited<ReturnType<typeof createCase>>,
  interference: Interference,
  meanwhile: () => Promise<void>,
) {
  const stopped: { onStopped?: (pid: number) => void } = {};
  const run = runInterfered(world, one, {
    ...interference,
    timeout: TIMEOUT,
    act: 'stop',
    onStopped: (pid) => stopped.onStopped?.(pid),
  });
  const pid = await new Promise<number>((resolve, reject) => {
    stopped.onStopped = resolve;
    run.then((ended) => reject(new Error(`It never came to the point: ${JSON.stringify(endOf(ended))}`)), reject);
  });
  try {
    await meanwhile();
  } finally {
    kill(pid, 'SIGCONT');
  }
  return run;
}

describe('F48 the lease', { timeout: 120_000 }, () => {
  test('F48 of a run that is alive keeps another one out, which says so and fails nobody', async () => {
    const one = await createCase(world, SINGLE);
    const before = { orders: ordersAt(world), pushes: pushes() };
    const first = await stoppedAt(one, { at: 'ca POST finalize-order #1 before' }, async () => {
      expect(endOf(await runInterfered(world, one))).toEqual({ one: 'deferred LEASE_HELD' });
    });
    expect(endOf(first)).toEqual({ one: 'renewed' });
    expect({ orders: ordersAt(world) - before.orders, pushes: pushes() - before.pushes }).toEqual({
      orders: 1,
      pushes: 1,
    });
    expect(await brokenIn(one)).toEqual([]);
    await removeCase(world, one);
  });

  // Just before the run would ask for the lease the next time. Its clock stands still while it is stopped, as in an
  // instance that was frozen whole, so that nothing but the fencing number tells it how late it is; or goes on.
  test.each([
    ['the key is stored and no order opened', 'store put certificates/one/order-*.json #1 after', 'stands still', LOST],
    ['the order is opened', 'store put certificates/one/order-*.json #2 after', 'stands still', LOST],
    ['the TXT record is about to be added', 'cloud AddDomainRecord #1 before', 'stands still', LOST],
    // With its clock stopped it would wait for the record until its deadline, and change nothing either.
    ['the TXT record is added', 'cloud AddDomainRecord #1 after', 'goes on', LOST],
    ['the CA is asked to validate', 'ca POST chalZ #1 after', 'stands still', LOST],
    ['the order is ready', 'store put certificates/one/order-*.json #4 after', 'stands still', LOST],
    ['the order is finalized', 'ca POST finalize-order #1 after', 'stands still', LOST],
    // After its deadline it asks the CA nothing more and has nothing to write: it never comes to ask for the lease.
    // When the answer was that the nonce is bad, there is no answer yet.
    [
      'the order is finalized',
      'ca POST finalize-order #1 after',
      'goes on',
      /^deferred (ACME_ORDER_PENDING|DEADLINE_REACHED)$/,
    ],
    ['the certificate is downloaded', 'ca POST certZ #1 after', 'stands still', LOST],
    ['the certificate is stored', 'store put certificates/one/*.json #1 after', 'stands still', LOST],
    ['the record is stored', 'store put certificates/one/record.json #1 after', 'stands still', LOST],
    ['the certificate is pushed', 'cloud SetDomainServerCertificate #1 after', 'stands still', LOST],
    // It has done all of it, and the other run found that.
    ['only the index is to be written', 'store put certificates/one/record.json #2 after', 'stands still', 'renewed'],
  ])(
    'F48 lost when %s (%s; the clock %s): a run that is let go on ends %s and changes nothing',
    async (_, at, clock, end) => {
      const one = await createCase(world, SINGLE);
      const seen: unknown[] = [];
      const look = async () => ({
        store: await treeOf(one.storePath),
        txt: txtOf(world, one),
        orders: ordersAt(world),
        pushes: pushes(),
      });
      const late = await stoppedAt(one, { at, stopped: clock === 'goes on' ? LAPSE : 0 }, async () => {
        world.pass(LAPSE);
        const other = await runInterfered(world, one);
        expect(['renewed', 'redeployed', 'kept']).toContain(endOf(other)['one']);
        seen.push(await look());
      });
      expect(endOf(late)).toEqual({ one: typeof end === 'string' ? end : expect.stringMatching(end) });
      expect(await brokenIn(one)).toEqual([]);
      const asked = late.points.slice(late.points.indexOf(at) + 1).filter((point) => point.startsWith('ca POST'));
      expect(clock === 'goes on' ? asked : [], 'after its deadline the CA is asked nothing more').toEqual([]);
      expect(await look()).toEqual(seen[0]);
      expect(await writesNothing(world, one)).toEqual([]);
      await removeCase(world, one);
    },
  );
});

test(`F49 ${AT_THE_SAME_INSTANT} runs at the same instant on 20 certificates: 20 orders, 20 pushes, one account`, {
  timeout: 900_000,
}, async () => {
  const names = Array.from({ length: 20 }, (_, index) => `n${index}`);
  const one = await createCase(world, ({ suffix }) =>
    Object.fromEntries(names.map((name) => [name, [`${name}-${suffix}`]])),
  );
  const before = { orders: ordersAt(world), pushes: pushes() };
  const seeds = Array.from({ length: AT_THE_SAME_INSTANT }, (_, index) => index + 1);
  injected(AT_THE_SAME_INSTANT);
  const runs = await inPool(seeds, AT_THE_SAME_INSTANT, (seed) => runInterfered(world, one, { seed }));
  const ends = new Set(runs.flatMap((run) => Object.values(endOf(run))));
  expect([...ends].filter((end) => !['renewed', 'kept', 'deferred LEASE_HELD'].includes(end))).toEqual([]);
  const renewed = runs.flatMap((run) => Object.values(endOf(run))).filter((end) => end === 'renewed');
  expect(renewed).toHaveLength(20);
  expect({ orders: ordersAt(world) - before.orders, pushes: pushes() - before.pushes }).toEqual({
    orders: 20,
    pushes: 20,
  });
  expect(await brokenIn(one)).toEqual([]);
  expect(await writesNothing(world, one)).toEqual([]);
  process.stdout.write(
    `${AT_THE_SAME_INSTANT} runs at once, 20 certificates: ${ordersAt(world) - before.orders} orders\n`,
  );
  await removeCase(world, one);
});
