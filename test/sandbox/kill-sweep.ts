/** A run ended at each of many points, each followed by the runs that the timer would bring; and what came of all of it. */
import {
  type Case,
  createCase,
  createLedger,
  endOf,
  inPool,
  type Interference,
  type IssuedLedger,
  type KillWorld,
  removeCase,
  runInterfered,
  SIX_HOURS,
  standingOf,
  wasKilled,
  writesNothing,
} from './kill.ts';
import { ordersAt } from './footprint.ts';

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
const AT_ONCE = 8;
/** Cases between two settings of the clock. */
const BATCH = 48;
/** The timer's ticks after which a case must be at its end. */
const TICKS = 4;

/** The points of an undisturbed run. */
export async function pointsOf(world: KillWorld, seed: number): Promise<string[]> {
  const one = await createCase(world);
  world.advance(0);
  const { points } = await runInterfered(one, { seed });
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
  /** How the run after it ended, the last one last. */
  readonly ends: Record<string, string>[];
}

async function sweepBatch(
  world: KillWorld,
  interferences: readonly Interference[],
  ledger: IssuedLedger,
): Promise<Swept[]> {
  world.advance(0);
  const disturbed = await inPool(interferences, AT_ONCE, async (interference): Promise<Disturbed> => {
    const one = await createCase(world);
    const run = await runInterfered(one, interference);
    return { interference, one, killed: wasKilled(run), ends: [] };
  });
  let clock = 0;
  for (let tick = 1; tick <= TICKS; tick += 1) {
    const open = disturbed.filter(({ ends }) => !isSettled(ends.at(-1)));
    if (open.length === 0) break;
    clock = tick * SIX_HOURS;
    world.advance(clock);
    await inPool(open, AT_ONCE, async ({ one, ends, interference: { seed = 1 } }) => {
      ends.push(endOf(await runInterfered(one, { seed: seed + tick, clock })));
    });
  }
  await ledger.read();
  return inPool(disturbed, AT_ONCE, async ({ interference, one, killed, ends }): Promise<Swept> => {
    const standing = await standingOf(world, one, ledger);
    const broken = [...standing.broken, ...failuresOf(ends)];
    // At the same instant: hours later the CA's advice on the renewal time is due again.
    broken.push(...(await writesNothing(one, { clock })));
    await removeCase(world, one);
    return { ...standing, broken, killed, name: nameOf(interference), needed: Object.keys(one.certificates).length };
  });
}

function isSettled(ends: Record<string, string> | undefined): boolean {
  return ends !== undefined && Object.values(ends).every((end) => ['renewed', 'redeployed', 'kept'].includes(end));
}

/** After a kill, too, nothing is an error. */
function failuresOf(ends: readonly Record<string, string>[]): string[] {
  return ends.flatMap((end, tick) =>
    Object.entries(end)
      .filter(([name, status]) => name === 'run' || status.startsWith('failed'))
      .map(([name, status]) => `${name} ${status} at tick ${tick + 1}`),
  );
}

function nameOf({ at, act, seed, timeout }: Interference): string {
  return `${at === undefined ? `timeout ${timeout} s` : `${act} ${at}`}, seed ${seed ?? 1}`;
}

/** The accounts that the CA has, as its own log tells. */
function accountsAt({ pebble }: KillWorld): number {
  return pebble.log.filter((line) => /^There are now \d+ accounts in memory/.test(line)).length;
}
