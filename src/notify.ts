import type { NotifyingConfig } from './config/notify.ts';
import type { Deps } from './deps.ts';
import { toAutocertError } from './errors.ts';
import { mayTellBlindly, NOTHING_TOLD, type Notice, noticesOf, type Told, ToldSchema } from './notices.ts';
import { asDead, type Channels, type Delivery } from './notify/deliver.ts';
import { noticeMessage } from './notify/wording.ts';
import { readIndex, readJson, type Store, writeJson } from './record.ts';
import type { RunReport } from './report.ts';
import type { Secret } from './secret.ts';

export interface NotifyContext {
  readonly config: Pick<NotifyingConfig, 'renewal'>;
  readonly channels: Channels;
  /** Where it is remembered what was told. Undefined when the run came to no store. */
  readonly store: Store | undefined;
  /** Did the run look at every certificate? */
  readonly full: boolean;
  /** `deadline` is when even alerts must be done. */
  readonly deps: Deps;
}

const TOLD_KEY = 'notified.json';

/**
 * Tells people what changed with this run: one message, or none. What was told is remembered in the store, so that the
 * next run does not say it again. It is sent first and remembered then: a run that is killed in between says it twice,
 * never not at all. Never throws; false when somebody should know something and nobody could be told.
 */
export async function notify(report: RunReport, context: NotifyContext): Promise<boolean> {
  const { config, channels, full, deps } = context;
  try {
    const memory = await recall(context);
    const now = deps.now();
    const { interval } = config.renewal;
    const firstEnd = report.error && (await firstEndOf(context));
    const told = memory.told ?? NOTHING_TOLD;
    const { notices, next } = noticesOf(report, told, { now, interval, full, firstEnd });
    // A recovery that nobody remembers needs no telling; the rest is told by the clock.
    if (!memory.told && notices.length > 0 && !mayTellBlindly({ now, interval })) return true;
    const { delivered, after } = await tell(notices, told, next, report, context);
    if (memory.writable && JSON.stringify(after) !== JSON.stringify(told)) await remember(after, context);
    return delivered;
  } catch (thrown) {
    deps.log.error('notify_failed', { channels: channels.names, error: toAutocertError(thrown) });
    return false;
  }
}

interface Memory {
  /** Undefined when it cannot be known. */
  readonly told: Told | undefined;
  /** Not over what could not be read, unless it is rubbish. */
  readonly writable: boolean;
}

async function recall({ store, deps }: NotifyContext): Promise<Memory> {
  if (!store) return { told: undefined, writable: false };
  try {
    return { told: (await readJson(store, TOLD_KEY, ToldSchema)) ?? NOTHING_TOLD, writable: true };
  } catch (thrown) {
    const error = toAutocertError(thrown);
    deps.log.warn('told_not_readable', { error });
    return { told: undefined, writable: error.code === 'STORE_CORRUPT' };
  }
}

async function remember(told: Told, { store, deps }: NotifyContext): Promise<void> {
  if (!store) return;
  try {
    await writeJson(store, TOLD_KEY, told);
  } catch (thrown) {
    deps.log.warn('told_not_recorded', { error: toAutocertError(thrown) });
  }
}

/** The first end of all stored certificates, as far as the store can say. */
async function firstEndOf({ store }: NotifyContext): Promise<Date | undefined> {
  if (!store) return undefined;
  try {
    const { records } = await readIndex(store);
    const ends = [...records.values()].flatMap(({ certificate }) =>
      certificate ? [Date.parse(certificate.notAfter)] : [],
    );
    return ends.length > 0 ? new Date(Math.min(...ends)) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * One message to each channel. The last of the configured that took the message before gets its own when the others have
 * answered, and so says which of those are dead; what no message said, a message of the next run does.
 */
async function tell(
  notices: readonly Notice[],
  told: Told,
  next: Told,
  { runId }: RunReport,
  { channels, deps }: NotifyContext,
): Promise<{ readonly delivered: boolean; readonly after: Told }> {
  const configured = told.dead.filter(({ channel }) => channels.names.includes(channel));
  const living = channels.names.filter((name) => !configured.some(({ channel }) => channel === name));
  const untold = configured.filter((one) => !one.told);
  const now = deps.now();
  if (notices.length === 0) {
    if (untold.length === 0 || living.length === 0) return { delivered: true, after: { ...next, dead: configured } };
    const deliveries = await channels.send((language) => noticeMessage([], { language, runId, now, dead: untold }), {
      only: living,
    });
    const reached = deliveries.some(({ error }) => !error);
    const dead = configured.map((one) => ({ ...one, told: one.told || reached }));
    return {
      delivered: true,
      after: { ...next, dead: [...dead, ...failed(deliveries).map((one) => asDead(one, now))] },
    };
  }
  const since = (one: Delivery) => {
    const known = configured.find(({ channel }) => channel === one.channel);
    return known ? { ...asDead(one, new Date(known.since)), told: known.told } : asDead(one, now);
  };
  const last = living.at(-1) ?? channels.names.at(-1);
  const deliveries = await channels.send(
    (language, others) => noticeMessage(notices, { language, runId, now, dead: others.map(since) }),
    { last },
  );
  const delivered = deliveries.some(({ error }) => !error);
  const lastTook = deliveries.some(({ channel, error }) => channel === last && !error);
  const dead = failed(deliveries)
    .map(since)
    .map((one) => ({ ...one, told: one.told || lastTook }));
  const kinds = notices.map(({ kind }) => kind);
  deps.log[delivered ? 'info' : 'error']('notified', {
    kinds,
    channels: channels.names,
    failed: failed(deliveries).map(({ channel }) => channel),
  });
  return { delivered, after: { ...(delivered ? next : told), dead } };
}

function failed(deliveries: readonly Delivery[]): Delivery[] {
  return deliveries.filter(({ error }) => error);
}

/** Tells an outside dead man's switch that a run went well. Its failure is a line in the log and nothing else. */
export async function beat(url: Secret, channels: Pick<Channels, 'get'>, deps: Pick<Deps, 'log'>): Promise<void> {
  try {
    const status = await channels.get(url);
    if (status < 200 || status > 299) deps.log.warn('heartbeat_failed', { status });
  } catch (thrown) {
    deps.log.warn('heartbeat_failed', { error: toAutocertError(thrown) });
  }
}
