/** A run ended at each of many points, each followed by the runs that the timer would bring; and what came of all of it. */

import { ordersAt } from './footprint.ts';
import { foundLost } from './injections.ts';
import {
  type Case,
  createCase,
  endOf,
  type Interference,
  type Interrupted,
  inPool,
  type KillWorld,
  removeCase,
  runInterfered,
  SIX_HOURS,
  wasKilled,
} from './kill.ts';
import { createLedger, type IssuedLedger, standingOf, writesNothing } from './kill-standing.ts';

export interface Sweep {
  readonly points: number;
  /** Runs that were ended from outside; the rest came to their end before the point. */
  readonly kills: number;
  readonly needed: number;
  readonly issued: number;
  readonly orders: number;
  readonly lost: number;
  readonly txt: number;
  /** Of the last runs: what does not hold, with its point. */
  readonly broken: readonly string[];
}

/** Cases under way at once; most of a run is waiting. */
const AT_ONCE = 5;
/** Cases between two settings of the clock. */
const BATCH = 48;
/** The timer's ticks after which a case must be at its end. */
const TICKS = 4;

/** The points of an undisturbed run. */
export async function pointsOf(world: KillWorld, seed: number): Promise<string[]> {
  const one = await createCase(world);
  const { points } = await runInterfered(world, one, { seed });
  await removeCase(world, one);
  return [...points];
}

export async function sweep(world: KillWorld, interferences: readonly Interference[]): Promise<Sweep> {
  const ledger = createLedger(world);
  const before = { orders: ordersAt(world), accounts: accountsAt(world) };
  const swept: Swept[] = [];
  for (let from = 0; from < interferences.length; from += BATCH) {
    swept.push(...(await sweepBatch(world, interferences.slice(from, from + BATCH), ledger)));
  }
  const broken = swept.flatMap((one) => one.broken.map((what) => `${one.name}: ${what}`));
  const accounts = accountsAt(world) - before.accounts;
  const users = swept.filter(({ needed }) => needed > 0).length;
  if (accounts !== users) broken.push(`${accounts} accounts at the CA, for ${users} stores`);
  const sum = (of: (one: Swept) => number) => swept.reduce((total, one) => total + of(one), 0);
  foundLost(sum(({ lost }) => lost));
  return {
    points: interferences.length,
    kills: swept.filter(({ killed }) => killed).length,
    needed: sum(({ needed }) => needed),
    issued: sum(({ issued }) => issued),
    orders: ordersAt(world) - before.orders,
    lost: sum(({ lost }) => lost),
    txt: sum(({ txt }) => txt),
    broken,
  };
}

interface Swept {
  readonly name: string;
  readonly killed: boolean;
  readonly needed: number;
  readonly issued: number;
  readonly lost: number;
  readonly txt: number;
  readonly broken: readonly string[];
}

interface Disturbed {
  readonly interference: Interference;
  readonly one: Case;
  readonly killed: boolean;
  /** How the runs after it ended. */
  readonly ends: Record<string, string>[];
  readonly broken: string[];
}

async function sweepBatch(
  world: KillWorld,
  interferences: readonly Interference[],
  ledger: IssuedLedger,
): Promise<Swept[]> {
  const disturbed = await inPool(interferences, AT_ONCE, async (interference): Promise<Disturbed> => {
    const one = await createCase(world);
    const run = await runInterfered(world, one, interference);
    return { interference, one, killed: wasKilled(run), ends: [], broken: [] };
  });
  let open = disturbed;
  for (let tick = 1; tick <= TICKS && open.length > 0; tick += 1) {
    world.pass(SIX_HOURS);
    await inPool(open, AT_ONCE, async ({ one, ends, broken, interference: { seed = 1 } }) => {
      const run = await runInterfered(world, one, { seed: seed + tick });
      ends.push(endOf(run));
      broken.push(...failuresOf(run, tick));
      // At the same instant: hours later the CA's advice on the renewal time is due again.
      if (isSettled(ends.at(-1))) broken.push(...(await writesNothing(world, one)));
    });
    open = open.filter(({ ends }) => !isSettled(ends.at(-1)));
  }
  await ledger.read();
  return inPool(disturbed, AT_ONCE, async ({ interference, one, killed, broken }): Promise<Swept> => {
    const standing = await standingOf(world, one, ledger);
    await removeCase(world, one);
    const needed = Object.keys(one.certificates).length;
    return { ...standing, broken: [...broken, ...standing.broken], killed, name: nameOf(interference), needed };
  });
}

function isSettled(ends: Record<string, string> | undefined): boolean {
  return ends !== undefined && Object.values(ends).every((end) => ['renewed', 'redeployed', 'kept'].includes(end));
}

/** After a kill, too, nothing is an error. */
function failuresOf(run: Interrupted, tick: number): string[] {
  if (!run.report) return [`no report at tick ${tick}: ${run.error?.errorMessage}`];
  const { error, outcomes } = run.report;
  const failed = [...(error ? [{ name: 'run', error }] : []), ...outcomes.filter(({ status }) => status === 'failed')];
  return failed.map(
    ({ name, error: failure }) => `${name} failed at tick ${tick}: ${failure?.code} ${failure?.message}`,
  );
}

function nameOf({ at, act, seed, timeout, endsAfter }: Interference): string {
  const what = timeout !== undefined ? `timeout ${timeout} s` : `ended after ${endsAfter} s`;
  return `${at === undefined ? what : `${act} ${at}`}, seed ${seed ?? 1}`;
}

/** The accounts that the CA has, as its own log tells. */
function accountsAt({ pebble }: KillWorld): number {
  return pebble.log.filter((line) => /^There are now \d+ accounts in memory/.test(line)).length;
}
