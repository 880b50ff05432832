import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { takeLease, takeShare } from '../src/lease.ts';
import type { Store } from '../src/record.ts';
import { createFileStore } from '../src/store/file.ts';

const NOON = new Date('2026-01-02T12:00:00Z');
const TEN_PAST = new Date('2026-01-02T12:10:00Z');
const at = (instant: string) => ({ now: () => new Date(instant) });

let folder: string;
let store: Store;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'autocert-lease-'));
  store = createFileStore({ path: folder });
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('the lease', () => {
  test('is held by one run at a time, and given up at its end', async () => {
    const first = await takeLease(store, 'run-1', TEN_PAST, { now: () => NOON });
    await expect(takeLease(store, 'run-2', TEN_PAST, at('2026-01-02T12:05:00Z'))).rejects.toMatchObject({
      code: 'LEASE_HELD',
      retryable: true,
      message: 'Another run (run-1) is at work until 2026-01-02T12:10:00.000Z at the latest.',
    });
    await first.release();
    const second = await takeLease(store, 'run-2', TEN_PAST, at('2026-01-02T12:05:00Z'));
    expect(second.fence).toBe(first.fence + 1);
  });

  test('of a run that died is taken when it has ended and the clocks may have been a minute apart', async () => {
    const dead = await takeLease(store, 'run-1', TEN_PAST, { now: () => NOON });
    await expect(takeLease(store, 'run-2', TEN_PAST, at('2026-01-02T12:10:59.999Z'))).rejects.toMatchObject({
      code: 'LEASE_HELD',
    });
    const next = await takeLease(store, 'run-2', new Date('2026-01-02T12:30:00Z'), at('2026-01-02T12:11:00Z'));
    expect(next.fence).toBe(dead.fence + 1);
  });

  test('that was lost is noticed before the next side effect', async () => {
    const paused = await takeLease(store, 'run-1', TEN_PAST, { now: () => NOON });
    await paused.check();
    await takeLease(store, 'run-2', new Date('2026-01-02T12:30:00Z'), at('2026-01-02T12:11:00Z'));
    await expect(paused.check()).rejects.toMatchObject({ code: 'LEASE_LOST', retryable: false });
  });

  test('that was lost lets its holder write, delete and release nothing more', async () => {
    const paused = await takeLease(store, 'run-1', TEN_PAST, { now: () => NOON });
    const bytes = new TextEncoder().encode('1');
    await paused.store.put('a.json', bytes);
    await takeLease(store, 'run-2', new Date('2026-01-02T12:30:00Z'), at('2026-01-02T12:11:00Z'));
    await expect(paused.store.put('b.json', bytes)).rejects.toMatchObject({ code: 'LEASE_LOST' });
    await expect(paused.store.delete('a.json')).rejects.toMatchObject({ code: 'LEASE_LOST' });
    await paused.release();
    expect(await store.list('')).toEqual(['a.json', 'lease/000000000002.json']);
    expect(await paused.store.get('a.json'), 'reading goes on').toEqual(await store.get('a.json'));
  });

  test('goes to exactly one of fifty runs that find it ended at the same instant', async () => {
    await takeLease(store, 'dead', TEN_PAST, { now: () => NOON });
    const later = at('2026-01-02T13:00:00Z');
    const runs = Array.from({ length: 50 }, (_, run) =>
      takeLease(store, `run-${run}`, new Date('2026-01-02T13:10:00Z'), later),
    );
    const settled = await Promise.allSettled(runs);
    expect(settled.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    const codes = settled.flatMap((result) => (result.status === 'rejected' ? [result.reason.code] : []));
    expect(new Set(codes)).toEqual(new Set(['LEASE_HELD']));
  });

  test('leaves one object behind, however many runs there were', async () => {
    for (let run = 1; run <= 3; run += 1) {
      const lease = await takeLease(store, `run-${run}`, TEN_PAST, { now: () => NOON });
      await lease.release();
    }
    expect(await store.list('lease/')).toEqual(['lease/000000000003.json']);
  });
});

describe('a share of a lease', () => {
  const bytes = new TextEncoder().encode('1');
  const held = () => takeLease(store, 'run-1', TEN_PAST, { now: () => NOON });
  const share = (shard: number, attempt: number) => takeShare(store, { fence: 1, shard, attempt }, 'worker');

  test('is held beside the others, and the lease beside all of them', async () => {
    const lease = await held();
    for (const one of [await share(0, 1), await share(1, 1), await share(11, 2), lease]) {
      await one.check();
      await one.store.put('a.json', bytes);
    }
  });

  test('is had by one of two that an event is delivered to twice', async () => {
    await held();
    const both = await Promise.allSettled([share(0, 1), share(0, 1)]);
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    await expect(share(0, 1)).rejects.toMatchObject({ code: 'LEASE_HELD' });
  });

  test('ends with a later attempt at the same shard: no earlier one is to be had, and none goes on', async () => {
    await held();
    const [first, neighbour] = [await share(1, 1), await share(11, 1)];
    const second = await share(1, 2);
    await expect(first.check()).rejects.toMatchObject({ code: 'LEASE_LOST' });
    await expect(first.store.put('a.json', bytes)).rejects.toMatchObject({ code: 'LEASE_LOST' });
    await expect(first.store.delete('a.json')).rejects.toMatchObject({ code: 'LEASE_LOST' });
    await expect(share(1, 1)).rejects.toMatchObject({ code: 'LEASE_HELD' });
    await Promise.all([second.check(), neighbour.check()]);
  });

  test('ends with its lease, whether that is given up or taken over', async () => {
    const lease = await held();
    const [given, taken] = [await share(0, 1), await share(1, 1)];
    await lease.release();
    await expect(given.check()).rejects.toMatchObject({ code: 'LEASE_LOST' });
    expect(await store.list('')).toEqual(['lease/000000000001.json']);
    await share(1, 2);
    await takeLease(store, 'run-2', TEN_PAST, { now: () => NOON });
    await expect(taken.check()).rejects.toMatchObject({ code: 'LEASE_LOST' });
    await expect(share(1, 3)).rejects.toMatchObject({ code: 'LEASE_HELD' });
    expect(await store.list(''), 'nor does it stay').toEqual(['lease/000000000002.json']);
  });
});
