import * as v from 'valibot';
import { type Config, configSecrets, loadConfig } from './config.ts';
import { connect } from './connect.ts';
import type { Deps } from './deps.ts';
import { AutocertError, toAutocertError } from './errors.ts';
import {
  type Pulse,
  type Results,
  readResultsBefore,
  readShard,
  type Settled,
  shardFolder,
  writePulse,
  writeResults,
} from './fanout/paper.ts';
import type { WorkOrder } from './fanout.ts';
import { createDeps, credentialsOf, type Invocation, loadOptions, secretsOf } from './invocation.ts';
import { takeShare } from './lease.ts';
import type { Ports } from './plan.ts';
import { createQuarantine } from './quarantine.ts';
import { reconcileErrands } from './reconcile.ts';
import type { Store } from './record.ts';
import { TOLD } from './report.ts';

/** What a worker answers; the coordinator reads what it did from the store. */
export interface WorkDone {
  readonly runId: string;
  readonly shard: number;
  readonly attempt: number;
  /** Certificates, whatever became of them. */
  readonly settled: number;
}

/** Thrown by a worker that did not come to its end. The coordinator sees to its shard, and tells people of the run. */
class WorkFailed extends Error {
  override readonly name = 'WorkFailed';
}

const OrderSchema = v.strictObject({
  runId: v.pipe(v.string(), v.regex(/^[\w-]{1,64}$/)),
  fence: v.pipe(v.number(), v.integer(), v.minValue(1)),
  shard: v.pipe(v.number(), v.integer(), v.minValue(0)),
  attempt: v.pipe(v.number(), v.integer(), v.minValue(1)),
  shares: v.pipe(v.number(), v.integer(), v.minValue(1)),
  deadline: v.pipe(v.string(), v.isoTimestamp()),
});

/** Milliseconds between two signs of life. What was done since the last one is told with each. */
const BEAT = 5_000;

/**
 * One worker of a run that was fanned out: does its shard under the coordinator's lease and by its share of the limits. It
 * tells nobody but the coordinator. An order that comes too late, or a second time, is nothing to do. Throws WorkFailed.
 */
export async function work(event: Uint8Array, invocation: Invocation): Promise<WorkDone> {
  const secrets = secretsOf(invocation);
  const startedAt = invocation.now();
  let deps = createDeps(invocation, startedAt, secrets);
  const open: { close(): void }[] = [];
  try {
    const order = parseOrder(event);
    deps = createDeps({ ...invocation, runId: order.runId }, startedAt, secrets);
    deps = { ...deps, deadline: new Date(Math.min(deps.deadline.getTime(), Date.parse(order.deadline))) };
    const config = await loadConfig(invocation.env['AUTOCERT_CONFIG'] ?? '', loadOptions(invocation, deps, open));
    secrets.push(...configSecrets(config));
    const part = { folder: shardFolder(order), shares: order.shares };
    const ports = connect(config, async () => credentialsOf(invocation), deps, { part });
    open.push(ports);
    const { runId, shard, attempt } = order;
    return { runId, shard, attempt, settled: await doShard(order, { config, ports, deps }) };
  } catch (thrown) {
    const error = toAutocertError(thrown);
    deps.log.error('work_failed', { error });
    throw new WorkFailed(`${error.code}: ${error.message} ${error.remedy} ${TOLD}`);
  } finally {
    for (const connection of open) connection.close();
  }
}

interface Worker {
  readonly config: Config;
  readonly ports: Ports;
  readonly deps: Deps;
}

/** Gives how many certificates were seen to. Those that an earlier attempt has told of are not looked at again. */
export async function doShard(order: WorkOrder, { config, ports, deps }: Worker): Promise<number> {
  const { store } = ports;
  const settled: Settled[] = [];
  try {
    const lease = await takeShare(store, order, order.runId);
    const shard = await readShard(store, order);
    if (!shard) return 0;
    const quarantine = createQuarantine(store, deps);
    const before = await readResultsBefore(store, order, quarantine);
    const told = new Set(before.settled.map(({ record }) => record.name));
    const errands = shard.errands.filter(({ spec }) => !told.has(spec.name));
    const pulse = startPulse(order, () => ({ settled, setAside: quarantine.objects }), lease.store, deps);
    const request = { ...shard.request, runId: order.runId };
    const settle = (one: Settled) => {
      settled.push(one);
      // Should this worker die, the records tell of what went well, but what failed would seem to be put off.
      if (one.outcome.status === 'failed') pulse.now();
    };
    try {
      await reconcileErrands(errands, lease, { config, ports, request, quarantine, deps }, settle);
    } catch (thrown) {
      await pulse.end('failed').catch((error) => deps.log.warn('pulse_lost', { error: toAutocertError(error) }));
      throw thrown;
    }
    await pulse.end('done');
  } catch (thrown) {
    const { code, message } = toAutocertError(thrown);
    if (code !== 'LEASE_HELD' && code !== 'LEASE_LOST') throw thrown;
    deps.log.info('shard_is_anothers', { shard: order.shard, attempt: order.attempt, message });
  }
  return settled.length;
}

/**
 * Tells the coordinator every few seconds that this worker lives, and what it has done; at once with `now`, and the last
 * time by `end`.
 */
function startPulse(order: WorkOrder, results: () => Results, store: Store, deps: Deps) {
  let isOver = false;
  let rest = new AbortController();
  let beats = 0;
  let told = 0;

  async function beat(state: Pulse['state']): Promise<void> {
    const { settled, setAside } = results();
    // Others are settled while these are written.
    const { length } = settled;
    if (length > told || setAside.length > 0) await writeResults(store, order, { settled, setAside });
    told = length;
    beats += 1;
    await writePulse(store, order, { beats, state });
  }

  async function beatOn(): Promise<void> {
    while (!isOver) {
      rest = new AbortController();
      await beat('working').catch((error) => deps.log.warn('pulse_lost', { error: toAutocertError(error) }));
      await deps.sleep(BEAT, rest.signal).catch(() => undefined);
    }
  }

  const beating = beatOn();
  return {
    now: () => rest.abort(),
    async end(state: 'done' | 'failed'): Promise<void> {
      isOver = true;
      rest.abort();
      await beating;
      await beat(state);
    },
  };
}

function parseOrder(event: Uint8Array): WorkOrder {
  try {
    return v.parse(OrderSchema, JSON.parse(new TextDecoder().decode(event)));
  } catch (cause) {
    throw new AutocertError({
      code: 'EVENT_INVALID',
      message: 'The event cannot be used: it is no part of a run.',
      retryable: false,
      remedy:
        'Invoke renew instead: it starts this function itself, when there is more to do than one run has time for.',
      cause,
    });
  }
}
