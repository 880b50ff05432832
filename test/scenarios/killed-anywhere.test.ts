import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { txtRecords } from '../sandbox/footprint.ts';
import {
  type Case,
  createCase,
  endOf,
  type Interference,
  type KillWorld,
  removeCase,
  runInterfered,
  SINGLE,
  SIX_HOURS,
  startKillWorld,
  wasKilled,
} from '../sandbox/kill.ts';
import { createLedger, standingOf, txtOf } from '../sandbox/kill-standing.ts';
import { pointsOf, type Sweep, sweep } from '../sandbox/kill-sweep.ts';

/** Every point with three seeds, instead of some points with one. */
const SOAK = process.env['AUTOCERT_SOAK'] === '1';
const SEEDS = SOAK ? [1, 2, 3] : [1];
/** Of the points that are not always taken, every so-many-th. */
const SAMPLE = SOAK ? 1 : 24;
/** Points where a loss would cost the most; in the short form for the certificate that comes first. */
const ALWAYS =
  /^(ca POST (order-plz|finalize-order|certZ) #1|store put certificates\/two\/(\*|record|order-\*)\.json #1|cloud SetDomainServerCertificate #1) /;
/** Timeouts of FC that are tried. */
const TIMEOUTS = SOAK ? 40 : 4;
const HOURS = 3_600_000;

let world: KillWorld;
beforeAll(async () => {
  world = await startKillWorld();
});
afterAll(() => world.close());

async function brokenIn(one: Case): Promise<readonly string[]> {
  const ledger = createLedger(world);
  await ledger.read();
  return (await standingOf(world, one, ledger)).broken;
}

function tell(what: string, { points, kills, needed, issued, orders, lost, txt }: Sweep): void {
  const ratio = (count: number) => (count / needed).toFixed(2);
  process.stdout.write(
    `${what}: ${points} points, ${kills} kills, certificates issued per certificate needed ${ratio(issued)}, ` +
      `orders opened ${ratio(orders)}, keys lost ${lost}, TXT left over ${txt}\n`,
  );
}

describe('F45 killed anywhere', () => {
  test.each(SEEDS)(
    'F45 SIGKILL just before and just after each request and each write, seed %i',
    {
      timeout: SOAK ? 4 * HOURS : 600_000,
    },
    async (seed) => {
      const points = await pointsOf(world, seed);
      expect(points.length).toBeGreaterThanOrEqual(300);
      const sample = points.filter((point, index) => index % SAMPLE === 0 || (SAMPLE > 1 && ALWAYS.test(point)));
      process.stdout.write(SOAK ? '' : `killed at:\n  ${sample.join('\n  ')}\n`);
      const swept = await sweep(
        world,
        sample.map((at): Interference => ({ at, act: 'kill', seed })),
      );
      tell(`SIGKILL, ${sample.length} of ${points.length} points, seed ${seed}`, swept);
      expect(swept.broken).toEqual([]);
      expect(swept).toMatchObject({ issued: swept.needed, lost: 0, txt: 0 });
    },
  );

  test('F45 ended by FC, wherever it is, at an instant that it was not told of', {
    timeout: SOAK ? HOURS : 300_000,
  }, async () => {
    const swept = await sweep(
      world,
      (await instants()).map((endsAfter, index) => ({ endsAfter, seed: index + 1 })),
    );
    tell('ended by FC', swept);
    expect(swept.broken).toEqual([]);
    expect(swept).toMatchObject({ issued: swept.needed, lost: 0, txt: 0 });
    // The last of them may come after the run's end: it takes more or less time each time.
    expect(swept.kills).toBeGreaterThan(TIMEOUTS / 2);
  });

  test('F45 with a timeout that is too short it ends by itself before it, or is ended: the next runs go on', {
    timeout: SOAK ? HOURS : 300_000,
  }, async () => {
    const swept = await sweep(
      world,
      (await instants()).map((timeout, index) => ({ timeout, seed: index + 1 })),
    );
    tell('timeout of FC', swept);
    expect(swept.broken).toEqual([]);
    expect(swept).toMatchObject({ issued: swept.needed, lost: 0, txt: 0 });
    // From its timeout a run knows what does not fit: it opens no order that it could not finish.
    expect(swept.orders).toBe(swept.needed);
  });

  /** Seconds, spread over what a run takes here and now. */
  async function instants(): Promise<number[]> {
    const undisturbed = await createCase(world);
    const { lasted } = await runInterfered(world, undisturbed);
    await removeCase(world, undisturbed);
    return Array.from({ length: TIMEOUTS }, (_, index) => ((index + 0.5) / TIMEOUTS) * (lasted / 1000));
  }
});

/** A run of one certificate ended at the point, and the timer's next one. */
async function killedAndRunAgain(interference: Interference) {
  const one = await createCase(world, SINGLE);
  const first = await runInterfered(world, one, interference);
  world.pass(SIX_HOURS);
  const second = await runInterfered(world, one);
  return { one, first, second, broken: await brokenIn(one) };
}

test('F26 an order that was finalized without our hearing of it is downloaded, and neither finalized nor opened again', async () => {
  const { one, first, second, broken } = await killedAndRunAgain({
    at: 'ca POST finalize-order #1 after',
    act: 'kill',
  });
  expect(wasKilled(first)).toBe(true);
  expect(endOf(second)).toEqual({ one: 'renewed' });
  expect(second.points.filter((point) => /^ca POST (finalize-order|order-plz)/.test(point))).toEqual([]);
  expect(broken).toEqual([]);
  await removeCase(world, one);
});

test("F34 a record that a killed run left is taken away by the next one, and nobody else's", async () => {
  const one = await createCase(world, SINGLE);
  const record = `_acme-challenge.${Object.values(one.certificates).flat()[0]}`;
  const theirs = world.dns.addRecord('example.com', { name: record, type: 'TXT', value: 'theirs' });
  const at = 'cloud AddDomainRecord #1 after';
  expect(wasKilled(await runInterfered(world, one, { at, act: 'kill' }))).toBe(true);
  expect(txtOf(world, one)).toEqual([record, record]);
  world.pass(SIX_HOURS);
  expect(endOf(await runInterfered(world, one))).toEqual({ one: 'renewed' });
  expect(txtRecords(world, 'example.com').filter((each) => each.startsWith(record))).toEqual([`${record} theirs`]);
  world.dns.removeRecord(theirs);
  await removeCase(world, one);
});

test('F47 a certificate that the full disk does not take is fetched again by the next run, not ordered again', async () => {
  const at = 'store put certificates/one/*.json #1 before';
  const { one, first, second, broken } = await killedAndRunAgain({ at, act: 'full' });
  expect(endOf(first)).toEqual({ one: 'failed STORE_UNWRITABLE' });
  expect(endOf(second)).toEqual({ one: 'renewed' });
  expect(second.points.filter((point) => /^ca POST (finalize-order|order-plz)/.test(point))).toEqual([]);
  expect(broken).toEqual([]);
  await removeCase(world, one);
});

// Nothing waits in memory to be saved: each step was stored before the next one and each log line written before it. So
// nothing holds the signal up, and a run that says nothing of its end claims nothing.
test('F61 SIGTERM ends a run at once, its log is whole and says where it was, and the next one goes on: there is nothing to flush', async () => {
  const { one, first, second, broken } = await killedAndRunAgain({ at: 'ca POST chalZ #1 after', act: 'term' });
  expect(wasKilled(first)).toBe(true);
  expect(first.points.at(-1), 'nothing is done after the signal').toBe('ca POST chalZ #1 after');
  const told = first.lines.map((line) => JSON.parse(line)['event']);
  expect(told).toEqual(['decided', 'order_opened', 'presenting', 'challenge_record_added']);
  expect(endOf(second)).toEqual({ one: 'renewed' });
  expect(second.points.filter((point) => point.startsWith('ca POST order-plz'))).toEqual([]);
  expect(broken).toEqual([]);
  await removeCase(world, one);
});
