import * as v from 'valibot';
import { stageOf } from './reminder.ts';
import type { Outcome, RunReport } from './report.ts';

/** What one message says of one certificate, or of the run as a whole. */
export interface Notice {
  /**
   * Something began to fail; it still does when half of the time is over; its certificate has ended; one that nobody
   * renews will end; it is well again.
   */
  readonly kind: 'failing' | 'still-failing' | 'expired' | 'ending' | 'recovered';
  readonly subject: Subject;
  readonly since: Date;
  /** When what clients get now ends; for a run, the first of all certificates. Absent when that is not known. */
  readonly endsAt?: Date | undefined;
  /** Absent when it is well again. */
  readonly cause?: Cause | undefined;
  /** About when the next attempt is made by itself; of one that ends, when a CA's certificate takes its place, or its end. */
  readonly next: Date;
}

export type Subject =
  | {
      readonly type: 'certificate';
      readonly name: string;
      readonly identifiers: readonly string[];
      /** Of one that ends: does a CA's certificate take its place? */
      readonly replaced?: boolean;
    }
  /** A filter of the configuration that finds nothing. */
  | { readonly type: 'inventory' }
  /** The run came to no certificate at all. */
  | { readonly type: 'run' };

/** One of ERROR_CODES, or one that a newer version left in the store. */
export interface Cause {
  readonly code: string;
  readonly message: string;
  readonly step?: string | undefined;
  readonly remedy?: string | undefined;
  readonly requestId?: string | undefined;
}

const Instant = v.pipe(v.string(), v.isoTimestamp());

/** Something that people were told of and that is not well yet. */
const EpisodeSchema = v.object({
  key: v.string(),
  identifiers: v.array(v.string()),
  since: Instant,
  /** When half of the time that was left when it was told is over. Absent when no end was known. */
  halfAt: v.optional(Instant),
  /** How often they were told it is still so. */
  told: v.picklist(['failing', 'still-failing', 'expired']),
});

/** The last reminder of a certificate that nobody renews. */
const ReminderSchema = v.object({ name: v.string(), endsAt: Instant, days: v.number() });

/** A channel that did not take the last message. */
const DeadChannelSchema = v.object({
  channel: v.string(),
  since: Instant,
  code: v.string(),
  message: v.string(),
  told: v.boolean(),
});

export const ToldSchema = v.object({
  version: v.literal(1),
  episodes: v.array(EpisodeSchema),
  dead: v.array(DeadChannelSchema),
  reminders: v.optional(v.array(ReminderSchema)),
});

export type Episode = v.InferOutput<typeof EpisodeSchema>;
export type DeadChannel = v.InferOutput<typeof DeadChannelSchema>;
/** What people know: what makes a message one message and not one a run. */
export type Told = v.InferOutput<typeof ToldSchema>;

export const NOTHING_TOLD: Told = { version: 1, episodes: [], dead: [] };

export interface NoticeContext {
  readonly now: Date;
  /** Milliseconds between two runs of the timer. */
  readonly interval: number;
  /** Did the run look at every certificate? Otherwise what is not in its report is as it was. */
  readonly full: boolean;
  /** The first end of all stored certificates: what a run that cannot start endangers. */
  readonly firstEnd?: Date | undefined;
}

/** Between nameless subjects and certificates: no certificate's name has a colon. */
const RUN = ':run';
const INVENTORY = ':inventory ';
/** Begins the names of refused files; alone it is the inbox that cannot be read. */
const INBOX = 'inbox/';

/**
 * What is to be told after this run, and what is known once that is told. Of each certificate: that it began to fail,
 * once that it still does when half of the time left is over, once that it has ended, and that it is well again. A
 * failure whose cause changes is the same failure. Pure.
 */
export function noticesOf(
  report: RunReport,
  told: Told,
  context: NoticeContext,
): { readonly notices: Notice[]; readonly next: Told } {
  const open = new Map(told.episodes.map((episode) => [episode.key, episode]));
  const notices: Notice[] = [];
  const present = new Set<string>();
  for (const state of statesOf(report, open, context)) {
    present.add(state.key);
    const episode = open.get(state.key);
    if (state.health === 'failing') {
      const { notice, next } = failing(state, episode, context);
      if (notice) notices.push(notice);
      open.set(state.key, next);
    } else if (episode) {
      notices.push(recovered(state, episode));
      open.delete(state.key);
    }
  }
  if (context.full && report.error === undefined) {
    // What is deferred is there, too.
    for (const { name } of report.outcomes) present.add(name);
    for (const [key, episode] of open) {
      // Of an inbox that cannot be read it is not known what lies there.
      if (present.has(key) || (key.startsWith(INBOX) && present.has(INBOX))) continue;
      open.delete(key);
      if (key.startsWith(INBOX)) notices.push(recovered(fileState(key, report, context), episode));
      // A certificate that the configuration names no more is nobody's news; a filter that finds something again is.
      if (key.startsWith(INVENTORY))
        notices.push(recovered({ key, subject: { type: 'inventory' }, next: nextRun(report, context) }, episode));
    }
  }
  const reminded = remind(report, told, context);
  notices.push(...reminded.notices);
  return {
    notices: notices.sort((a, b) => rank(a) - rank(b)),
    next: {
      ...told,
      episodes: [...open.values()].sort(byKey),
      ...((told.reminders || reminded.next.length > 0) && { reminders: reminded.next }),
    },
  };
}

/** Each reminder once; one that was missed is made up for by the next, and not said beside it. */
function remind(
  { outcomes }: RunReport,
  { reminders = [] }: Told,
  { now, full }: NoticeContext,
): { readonly notices: Notice[]; readonly next: NonNullable<Told['reminders']> } {
  const notices: Notice[] = [];
  const present = new Set(outcomes.map(({ name }) => name));
  const next = reminders.filter(({ name }) => !full || present.has(name));
  for (const { name, reminder } of outcomes) {
    const days = reminder && stageOf(reminder.endsAt, now);
    if (!reminder || days === undefined) continue;
    const { identifiers, endsAt, replacedAt } = reminder;
    const at = next.findIndex((one) => one.name === name);
    const last = next[at];
    if (last && last.endsAt === endsAt && last.days <= days) continue;
    next.splice(at === -1 ? next.length : at, 1, { name, endsAt, days });
    const end = new Date(endsAt);
    const subject = { type: 'certificate', name, identifiers, replaced: replacedAt !== undefined } as const;
    notices.push({ kind: 'ending', subject, since: now, endsAt: end, next: replacedAt ? new Date(replacedAt) : end });
  }
  return { notices, next };
}

/** How it stands with one subject after the run. Deferred work is no news in either direction. */
interface State {
  readonly key: string;
  readonly subject: Subject;
  readonly health: 'failing' | 'well';
  readonly since?: Date | undefined;
  readonly endsAt?: Date | undefined;
  readonly cause?: Cause | undefined;
  readonly next: Date;
}

/** Of what is well only if people think otherwise. */
function statesOf(report: RunReport, open: ReadonlyMap<string, Episode>, context: NoticeContext): State[] {
  const next = nextRun(report, context);
  const { error } = report;
  if (error)
    return [{ key: RUN, subject: { type: 'run' }, health: 'failing', cause: error, endsAt: context.firstEnd, next }];
  const run: State = { key: RUN, subject: { type: 'run' }, health: 'well', next };
  const news = report.outcomes.filter(({ name, status }) => status !== 'kept' || open.has(name));
  return [run, ...news.flatMap((outcome) => stateOf(outcome, report, context))];
}

function stateOf(outcome: Outcome, report: RunReport, context: NoticeContext): State[] {
  const { name, status, decision, error, standing } = outcome;
  // What waits for a person is no less wrong in the runs that follow.
  const isOpen = status === 'deferred' && (decision?.reason === 'BackingOff' || decision?.reason === 'Refused');
  if (status === 'deferred' && !isOpen) return [];
  const { failures, endsAt } = standing ?? {};
  const isInventory = error?.step === 'inventory';
  // What was asked for by a name that there is not is the asker's affair, not the configuration's.
  if (isInventory && !context.full) return [];
  return [
    {
      key: isInventory ? INVENTORY + error.message : name,
      subject: isInventory
        ? { type: 'inventory' }
        : { type: 'certificate', name, identifiers: standing?.identifiers ?? [] },
      health: status === 'failed' || isOpen ? 'failing' : 'well',
      since: failures && new Date(failures.since),
      endsAt: endsAt === undefined ? undefined : new Date(endsAt),
      cause: error ?? (failures && { ...failures, step: failures.step ?? 'issue' }),
      next: nextRun(report, context, failures && new Date(failures.nextAttemptAt)),
    },
  ];
}

/** A file that was refused and is gone, or was taken by now. */
function fileState(key: string, report: RunReport, context: NoticeContext): State {
  const subject = { type: 'certificate', name: key, identifiers: [] } as const;
  return { key, subject, health: 'well', next: nextRun(report, context) };
}

function failing(
  state: State,
  episode: Episode | undefined,
  { now }: NoticeContext,
): { readonly notice?: Notice; readonly next: Episode } {
  const { key, subject, endsAt, cause, next } = state;
  const since = episode ? new Date(episode.since) : (state.since ?? now);
  const notice = (kind: Notice['kind']): Notice => ({ kind, subject, since, endsAt, cause, next });
  const isOver = endsAt !== undefined && endsAt <= now;
  if (!episode) {
    const identifiers = subject.type === 'certificate' ? [...subject.identifiers] : [];
    const half = endsAt && !isOver ? { halfAt: new Date((now.getTime() + endsAt.getTime()) / 2).toISOString() } : {};
    const told = isOver ? 'expired' : 'failing';
    return { notice: notice(told), next: { key, identifiers, since: since.toISOString(), ...half, told } };
  }
  if (isOver && episode.told !== 'expired') return { notice: notice('expired'), next: { ...episode, told: 'expired' } };
  const isHalf = episode.told === 'failing' && episode.halfAt !== undefined && new Date(episode.halfAt) <= now;
  return isHalf && !isOver
    ? { notice: notice('still-failing'), next: { ...episode, told: 'still-failing' } }
    : { next: episode };
}

function recovered(
  { subject, endsAt, next }: Pick<State, 'key' | 'subject' | 'endsAt' | 'next'>,
  episode: Episode,
): Notice {
  const named: Subject =
    subject.type === 'certificate' && subject.identifiers.length === 0
      ? { ...subject, identifiers: episode.identifiers }
      : subject;
  return { kind: 'recovered', subject: named, since: new Date(episode.since), endsAt, next };
}

/** The first run of the timer that is not before `earliest`. */
function nextRun({ startedAt }: RunReport, { interval }: NoticeContext, earliest?: Date): Date {
  const started = Date.parse(startedAt);
  const runs = earliest ? Math.ceil((earliest.getTime() - started) / interval) : 1;
  return new Date(started + Math.max(1, runs) * interval);
}

const RANKS = { expired: 0, failing: 1, 'still-failing': 2, ending: 3, recovered: 4 };

/** The worst first; among equals the one that ends first. */
function rank({ kind, endsAt }: Notice): number {
  return RANKS[kind] * 1e15 + (endsAt?.getTime() ?? 9e14);
}

function byKey(a: Episode, b: Episode): number {
  return a.key < b.key ? -1 : 1;
}

/** Milliseconds between two messages of runs that cannot remember what they told. */
const BLIND_PERIOD = 6 * 3_600_000;

/**
 * May a run speak that can read or write no memory, because the store itself is down? The clock stands in for it: of the
 * runs in each six hours of the day (UTC) only the first speaks. So a timer of six hours or more speaks each time.
 */
export function mayTellBlindly({ now, interval }: Pick<NoticeContext, 'now' | 'interval'>): boolean {
  const period = (instant: number) => Math.floor(instant / BLIND_PERIOD);
  return period(now.getTime()) !== period(now.getTime() - interval);
}
