import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { AutocertError } from '../src/errors.ts';
import { readIndex } from '../src/record.ts';
import type { RunReport } from '../src/report.ts';
import { registrableDomain } from '../src/suffix.ts';
import { CERTIFICATES, createFleet, type Fleet, NEVER, type Process, SHORT } from './fanout/fleet.ts';
import { injected } from './sandbox/injections.ts';
import { createSignal } from './signal.ts';

/** With the error of what failed, so that a failure of the test tells it. */
const statusesOf = ({ outcomes }: RunReport) => {
  const told = outcomes.map(({ status, error }) =>
    status === 'failed' ? `failed ${error?.step} ${error?.message}` : status,
  );
  return [...new Set(told)].sort();
};

/** One certificate of the CA for each and one push for each domain, all of them remembered, and nothing left lying about. */
async function expectOnceEach({ ca, pushed, store }: Fleet): Promise<void> {
  expect(ca.tally.issued).toBe(CERTIFICATES);
  expect([...pushed].sort()).toEqual([...new Set(pushed)].sort());
  expect(pushed).toHaveLength(CERTIFICATES);
  expect(ca.tally.violations).toEqual([]);
  const index = await readIndex(store);
  expect([...index.working]).toEqual([]);
  expect([...index.records.values()].filter(({ certificate }) => certificate)).toHaveLength(CERTIFICATES);
  expect(await store.list('work/')).toEqual([]);
}

/** Tokens of the account's bucket that are spent: 300 in three hours. */
async function spent({ store, depsFor }: Fleet): Promise<number> {
  const [key = '', ...others] = await store.list('ledger/');
  expect(others).toEqual([]);
  const { used } = JSON.parse(new TextDecoder().decode(await store.get(key)));
  return (Date.parse(used.orders) - depsFor(0).now().getTime()) / 36_000;
}

let fleet: Fleet;
afterEach(() => fleet?.settled());

describe('more than one run has time for', () => {
  test('is done by workers, each certificate once, and told in one report', async () => {
    fleet = await createFleet();
    const report = await fleet.run((order) => fleet.work(order));
    expect(fleet.orders.map(({ shard, attempt, shares }) => [shard, attempt, shares])).toEqual(
      [0, 1, 2, 3].map((shard) => [shard, 1, 4]),
    );
    expect(statusesOf(report)).toEqual(['renewed']);
    expect(report.outcomes).toHaveLength(CERTIFICATES);
    await expectOnceEach(fleet);
    expect(fleet.ca.tally.orders).toBe(CERTIFICATES);
    expect(await fleet.store.list('lease/')).toEqual(['lease/000000000001.json']);
    expect(fleet.events.filter((event) => event === 'certificate_finished')).toHaveLength(CERTIFICATES);
  });

  test('is counted in one ledger, as if one run had ordered it', async () => {
    fleet = await createFleet();
    await fleet.run((order) => fleet.work(order));
    const left = await spent(fleet);
    expect(left).toBeLessThanOrEqual(CERTIFICATES);
    // The bucket was refilled while the run went on.
    expect(left).toBeGreaterThan(CERTIFICATES - SHORT / 36 - 1);
  });

  test('is nothing to hand out when it fits', async () => {
    fleet = await createFleet();
    const report = await fleet.run((order) => fleet.work(order), { seconds: 600 });
    expect(fleet.orders).toEqual([]);
    expect(statusesOf(report)).toEqual(['renewed']);
    await expectOnceEach(fleet);
  });

  test('is done as ever when no worker can be started, and that is said', async () => {
    fleet = await createFleet();
    const report = await fleet.run(() => {
      injected();
      throw new AutocertError({ code: 'PERMISSION_DENIED', message: 'No.', retryable: false, remedy: 'Allow it.' });
    });
    expect(statusesOf(report)).toEqual(['renewed']);
    expect(fleet.events.filter((event) => event === 'worker_not_started')).toHaveLength(4);
    await expectOnceEach(fleet);
  });

  test('of which FC loses one part is finished by the coordinator', async () => {
    fleet = await createFleet();
    const report = await fleet.run((order) => (order.shard === 2 ? injected() : fleet.work(order)), { seconds: 119 });
    expect(statusesOf(report)).toEqual(['renewed']);
    expect(fleet.orders.filter(({ shard }) => shard === 2).map(({ attempt }) => attempt)).toEqual([1, 2]);
    await expectOnceEach(fleet);
  });

  test('is not done twice by an invocation that is delivered twice', async () => {
    fleet = await createFleet();
    const report = await fleet.run((order) => {
      injected();
      fleet.work(order);
      fleet.work(order);
    });
    expect(statusesOf(report)).toEqual(['renewed']);
    expect(fleet.events.filter((event) => event === 'shard_is_anothers')).toHaveLength(4);
    await expectOnceEach(fleet);
  });

  test('is left alone by another run that comes meanwhile', async () => {
    fleet = await createFleet();
    let other: Promise<RunReport> | undefined;
    const report = await fleet.run((order) => {
      fleet.work(order);
      other ??= fleet.run((theirs) => fleet.work(theirs));
    });
    const codes = new Set((await other)?.outcomes.map(({ status, error }) => `${status} ${error?.code}`));
    expect([...codes].filter((code) => code !== 'deferred LEASE_HELD' && code !== 'kept undefined')).toEqual([]);
    expect(codes).toContain('deferred LEASE_HELD');
    expect(statusesOf(report)).toEqual(['renewed']);
    await expectOnceEach(fleet);
  });
});

describe('a worker that is killed', () => {
  test.each([3, 20, 60, 110, 170, 240])(
    'at its operation %i has its shard done by another, nothing twice',
    async (left) => {
      fleet = await createFleet();
      injected();
      const report = await fleet.run(
        (order) => fleet.work(order, order.shard === 0 && order.attempt === 1 ? { left } : undefined),
        { seconds: 119 },
      );
      expect(statusesOf(report)).toEqual(['renewed']);
      expect(fleet.orders.filter(({ shard }) => shard === 0).map(({ attempt }) => attempt)).toEqual([1, 2]);
      await expectOnceEach(fleet);
    },
  );

  test('in a run that a person insists on is not followed by one that orders anew', async () => {
    fleet = await createFleet();
    injected();
    const only = Array.from({ length: CERTIFICATES }, (_, number) => `www.domain-${number}.com`);
    const report = await fleet.run(
      (order) => fleet.work(order, order.shard === 0 && order.attempt === 1 ? { left: 240 } : undefined),
      { seconds: 119, force: true, only },
    );
    expect(statusesOf(report)).toEqual(['renewed']);
    await expectOnceEach(fleet);
  });
});

describe('results that are cut off in the store', () => {
  const cut = (key: string, bytes: Uint8Array) => {
    if (!key.endsWith('results.json')) return bytes;
    injected();
    return bytes.subarray(0, bytes.length / 2);
  };

  test('cost nobody else theirs: the coordinator finds in the records what was done, and says what it set aside', async () => {
    fleet = await createFleet();
    const report = await fleet.run((order) => fleet.work(order, order.shard === 2 ? { written: cut } : {}), {
      seconds: 119,
    });
    expect(statusesOf(report)).toEqual(['renewed']);
    expect(fleet.orders.map(({ attempt }) => attempt)).toEqual([1, 1, 1, 1]);
    expect(report.setAside).toMatchObject([{ key: 'work/000000000001/2/1.results.json' }]);
    expect(fleet.events.filter((event) => event === 'set_aside')).toHaveLength(1);
    await expectOnceEach(fleet);
  });

  test('by a worker that is killed then are no hindrance for the next one', async () => {
    fleet = await createFleet();
    const killed: Process = {
      left: Number.POSITIVE_INFINITY,
      written(key, bytes) {
        if (key.endsWith('results.json')) killed.left = 1;
        return cut(key, bytes);
      },
    };
    const report = await fleet.run(
      (order) => fleet.work(order, order.shard === 0 && order.attempt === 1 ? killed : {}),
      { seconds: 119 },
    );
    expect(statusesOf(report)).toEqual(['renewed']);
    expect(fleet.orders.filter(({ shard }) => shard === 0).map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect(report.setAside).toMatchObject([{ key: 'work/000000000001/0/1.results.json' }]);
    await expectOnceEach(fleet);
  });
});

describe('what a worker tells', () => {
  test('is a failure at once: of a worker that is killed then it is not looked for in the records, where it would only be put off', async () => {
    const failing = 'www.domain-0.com';
    fleet = await createFleet((identifier) => identifier === failing);
    injected();
    const failed = createSignal();
    const killed: Process = {
      left: Number.POSITIVE_INFINITY,
      // It has no time left for another sign of life.
      rest: (signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
      before(operation, on) {
        if (failed.isGiven && !/^(lease|work)\//.test(String(on))) return NEVER;
        // What is called now is over when whatever can go on has gone on.
        if (operation === 'put' && on === `certificates/${failing}/record.json`) setImmediate(failed.give);
        return undefined;
      },
    };
    const report = await fleet.run(
      (order) => fleet.work(order, order.shard === 0 && order.attempt === 1 ? killed : {}),
      { seconds: 119 },
    );
    expect(fleet.orders.filter(({ shard }) => shard === 0).map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect(report.outcomes.filter(({ status }) => status !== 'renewed')).toMatchObject([
      { name: failing, status: 'failed', error: { code: 'ACME_DNS', step: 'issue' } },
    ]);
    expect(fleet.ca.tally).toMatchObject({ failedValidations: 1, issued: CERTIFICATES - 1 });
  });

  test('is all of it in the end, also what came to its end while the rest was written', async () => {
    fleet = await createFleet();
    const all = createSignal();
    let finished = 0;
    let told: unknown[] = [];
    const slow: Process = {
      rest: () => new Promise((resolve) => setImmediate(resolve)),
      log(event) {
        if (event === 'certificate_finished') finished += 1;
        if (finished === CERTIFICATES / 4) all.give();
      },
      before: (operation, on) => (operation === 'put' && String(on).endsWith('results.json') ? all.given : undefined),
      written(key, bytes) {
        if (key.endsWith('results.json')) told = JSON.parse(new TextDecoder().decode(bytes)).settled;
        return bytes;
      },
    };
    await fleet.run((order) => fleet.work(order, order.shard === 0 ? slow : {}));
    expect(told).toHaveLength(CERTIFICATES / 4);
  });
});

describe('a worker that stands still', () => {
  test('on its way to finalize and goes on when its successor is there finalizes orders that are used all the same', async () => {
    fleet = await createFleet();
    injected();
    const [stopped, late, done] = [createSignal(), createSignal(), createSignal()];
    let finalized = 0;
    const slow: Process = {
      async before(operation) {
        if (operation === 'finalize') stopped.give();
        if (stopped.isGiven) await late.given;
        if (operation !== 'finalize') return;
        finalized += 1;
        // What is called now is over when whatever can go on has gone on.
        setImmediate(done.give);
      },
    };
    const successor: Process = {
      async before(operation) {
        if (operation !== 'finalize') return;
        late.give();
        await done.given;
        finalized += 1;
      },
    };
    const report = await fleet.run(
      (order) => fleet.work(order, order.shard > 0 ? {} : order.attempt === 1 ? slow : successor),
      { seconds: 119 },
    );
    expect(statusesOf(report)).toEqual(['renewed']);
    expect(fleet.orders.filter(({ shard }) => shard === 0).map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect(finalized, 'orders were finalized twice').toBeGreaterThan(CERTIFICATES / 4);
    await expectOnceEach(fleet);
  });
});

describe('a coordinator that is killed', () => {
  test('leaves workers that finish, and a next run that finds all done', async () => {
    fleet = await createFleet();
    injected();
    const process: Process = {};
    await new Promise<void>((resolve) => {
      void fleet.run(
        (order) => {
          fleet.work(order);
          if (order.shard === 3) {
            process.left = 0;
            resolve();
          }
        },
        { process },
      );
    });
    await fleet.settled();
    expect(await fleet.store.list('work/')).not.toEqual([]);
    fleet.skip(SHORT * 1000 + 120_000);
    const report = await fleet.run((order) => fleet.work(order));
    expect(statusesOf(report)).toEqual(['kept']);
    expect(await spent(fleet)).toBeGreaterThan(CERTIFICATES - (2 * (SHORT + 120)) / 36);
    await expectOnceEach(fleet);
  });

  test('is followed by a run that stops its workers and does the rest', async () => {
    fleet = await createFleet();
    injected();
    const process: Process = {};
    await new Promise<void>((resolve) => {
      void fleet.run(
        (order) => {
          // Each of them stands still on its way, and goes on when its run is long over.
          fleet.work(order, { left: 60 + 30 * order.shard });
          if (order.shard === 3) {
            process.left = 0;
            resolve();
          }
        },
        { process },
      );
    });
    await pause(1_000);
    fleet.skip(SHORT * 1000 + 120_000);
    const report = await fleet.run((order) => fleet.work(order));
    expect(statusesOf(report).filter((status) => status !== 'kept')).toEqual(['renewed']);
    await expectOnceEach(fleet);
  });
});

test('the fleet of these tests has a registered domain for each certificate', () => {
  expect(registrableDomain('www.domain-7.com')).toBe('domain-7.com');
});
