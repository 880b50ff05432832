import * as v from 'valibot';
import { KEY_TYPES } from '../config/schema.ts';
import type { Intent } from '../decide.ts';
import type { CertificateSpec } from '../inventory.ts';
import type { Share } from '../lease.ts';
import type { Quarantine, SetAside } from '../quarantine.ts';
import { type CertificateRecord, RecordSchema, readJson, readOrSetAside, type Store, writeJson } from '../record.ts';
import type { Outcome } from '../report.ts';

/** One certificate that a worker is to see to, and what the coordinator knew of it. */
export interface Errand {
  readonly spec: CertificateSpec;
  /** As the store has it. */
  readonly record: CertificateRecord;
  /** The CA's advice of this run, which the store may not have yet. */
  readonly advice?: CertificateRecord['advice'];
}

/** What a worker is asked for: the rest of the run's request is the coordinator's. */
export interface Shard {
  readonly errands: readonly Errand[];
  readonly request: {
    readonly intent: Intent;
    readonly only?: readonly string[] | undefined;
    readonly force: boolean;
  };
}

/** What became of one certificate, and the record that was written of it. */
export interface Settled {
  readonly outcome: Outcome;
  readonly record: CertificateRecord;
}

export interface Results {
  readonly settled: readonly Settled[];
  readonly setAside: readonly SetAside[];
}

/** A worker's sign of life. */
export interface Pulse {
  /** Grows as long as the worker lives: nobody's clock is compared with anybody else's. */
  readonly beats: number;
  readonly state: 'working' | 'done' | 'failed';
}

const Version = v.literal(1);

const SpecSchema = v.object({
  name: v.string(),
  identifiers: v.array(v.string()),
  keyType: v.picklist(KEY_TYPES),
  profile: v.optional(v.string()),
  domains: v.array(v.string()),
  origin: v.picklist(['configured', 'discovered', 'brought']),
  succeeded: v.exactOptional(v.boolean()),
});

const ShardSchema = v.object({
  version: Version,
  errands: v.array(v.object({ spec: SpecSchema, record: RecordSchema, advice: RecordSchema.entries.advice })),
  request: v.object({
    intent: v.picklist(['renew', 'redeploy', 'react']),
    only: v.optional(v.array(v.string())),
    force: v.boolean(),
  }),
});

const StatusSchema = v.looseObject({
  name: v.string(),
  status: v.picklist(['kept', 'renewed', 'redeployed', 'deferred', 'failed']),
});

const ResultsSchema = v.object({
  version: Version,
  settled: v.array(
    v.object({ outcome: v.custom<Outcome>((value) => v.is(StatusSchema, value)), record: RecordSchema }),
  ),
  setAside: v.array(v.object({ key: v.string(), to: v.string(), reason: v.string() })),
});

const PulseSchema = v.object({
  version: Version,
  beats: v.number(),
  state: v.picklist(['working', 'done', 'failed']),
});

/** Everything that a fan-out writes. */
export const WORK = 'work/';

/** All of one shard, whoever writes it: `work/<fence>/<shard>/`. */
export function shardFolder({ fence, shard }: Pick<Share, 'fence' | 'shard'>): string {
  return `${WORK}${String(fence).padStart(12, '0')}/${shard}/`;
}

const shardKey = (share: Pick<Share, 'fence' | 'shard'>) => `${shardFolder(share)}errands.json`;
const pulseKey = (share: Share) => `${shardFolder(share)}${share.attempt}.pulse.json`;
const resultsKey = (share: Share) => `${shardFolder(share)}${share.attempt}.results.json`;

/** Of keys below `work/<fence>/`: how many shards there are. */
export function shardsAmong(keys: readonly string[]): number {
  return keys.filter((key) => key.endsWith('/errands.json')).length;
}

export function writeShard(store: Store, share: Pick<Share, 'fence' | 'shard'>, shard: Shard): Promise<void> {
  return writeJson(store, shardKey(share), { version: 1, ...shard });
}

/** Undefined when its run is over. */
export async function readShard(store: Store, share: Pick<Share, 'fence' | 'shard'>): Promise<Shard | undefined> {
  const shard = await readJson(store, shardKey(share), ShardSchema);
  const errands = shard?.errands.map(({ spec, ...rest }) => ({ spec: { ...spec, profile: spec.profile }, ...rest }));
  return shard && errands && { errands, request: shard.request };
}

export function writePulse(store: Store, share: Share, pulse: Pulse): Promise<void> {
  return writeJson(store, pulseKey(share), { version: 1, ...pulse });
}

export function readPulse(store: Store, share: Share): Promise<Pulse | undefined> {
  return readJson(store, pulseKey(share), PulseSchema);
}

export function writeResults(store: Store, share: Share, results: Results): Promise<void> {
  return writeJson(store, resultsKey(share), { version: 1, ...results });
}

/**
 * What the attempts before this one left. Results that are damaged are set aside and tell of nothing: of what was done the
 * records tell as well.
 */
export async function readResultsBefore(
  store: Store,
  { fence, shard, attempt }: Share,
  quarantine: Quarantine,
): Promise<Results> {
  const keys = Array.from({ length: attempt - 1 }, (_, index) => resultsKey({ fence, shard, attempt: index + 1 }));
  const all = await Promise.all(keys.map((key) => readOrSetAside(store, key, ResultsSchema, quarantine)));
  return {
    settled: all.flatMap((results) => results?.settled ?? []),
    setAside: all.flatMap((results) => results?.setAside ?? []),
  };
}
