import type { Deps } from './deps.ts';
import { AutocertError } from './errors.ts';

/** One call that may start now. */
export interface Turn {
  /** The server has refused this call as one too many. */
  throttled(): void;
}

export interface CallLimiter {
  /**
   * Resolves when the next call may start, in the order of asking. Throws DEADLINE_REACHED when that is later than the
   * deadline, unless `pastDeadline` (clean-up).
   */
  take(options?: { readonly pastDeadline?: boolean }): Promise<Turn>;
}

export interface CallLimiterOptions {
  /** What the API's documentation allows one account. */
  readonly callsPerSecond: number;
  readonly deps: Pick<Deps, 'now' | 'random' | 'sleep' | 'deadline'>;
}

/**
 * The share by which the pace stays under the limit. The server counts arrivals: N+1 calls in a row span
 * 1000 ms * (1 + SAFETY), so the network may bunch them by this much without one too many in any second.
 */
const SAFETY = 0.035;
/**
 * Milliseconds. The first calls open connections, so they arrive this much later than those after them, which find one
 * open; the calls after the first second leave that much room, once.
 */
const WARM_UP = 200;
/** Milliseconds without a call after which connections are opened anew. */
const COLD_AFTER = 4_000;
/** Milliseconds for which half of the limit is kept: after the first refusal, and after attempts in vain at the most. */
const HOLD = { first: 2_000, longest: 8_000 };
/** Milliseconds in which the rate goes from the share that was kept to the whole limit. */
const RISE = 1_000;

/**
 * The part of the limit from which on what is missing is small enough to be a call of our own that was refused just
 * before: so much is no reason to give way to others.
 */
const NEARLY_ALL = 0.9;

interface Waiter {
  readonly pastDeadline: boolean;
  readonly resolve: (turn: Turn) => void;
  readonly reject: (error: AutocertError) => void;
}

interface Start {
  readonly at: number;
  /** The latest instant at which it is taken to have arrived; the window rule counts from here. */
  readonly arrived: number;
  refused: boolean;
}

/**
 * Keeps calls to an API of `callsPerSecond` evenly spaced, so that no window of one second, wherever it begins, sees
 * more of them. One limiter stands in front of everything in this process that shares a limit.
 *
 * Others may use the same account, and nothing but a refusal tells of them. One refusal tells all, though: the second
 * before it was full, so what of it was not let through for us is theirs.
 *
 * - When all of it was ours, our own calls arrived bunched: nothing changes.
 * - Else the rate falls at once to what was ours, to no less than one call, and, unless NEARLY_ALL was ours, to no more
 *   than half of the limit: no fair share is larger. Calls that each take the place of the one a second before collide
 *   with nobody who does the same, so that such shares fill the limit without a refusal.
 * - The share is kept for a while and then, within RISE, becomes the whole limit again: what is free by now is taken, and
 *   when nothing is, the next refusal says so. Each such attempt in vain doubles the while, up to the longest: a burst
 *   of others is over in seconds, and those who stay are not tried often. A refusal in the while starts it again.
 * - The while is in proportion to the share: who has little asks the oftener, and loses the less often when another
 *   asks, so shares drift together. It is drawn at random, and so is where in the second one without any share asks
 *   again: two in step do not stay in step.
 */
export function createCallLimiter({ callsPerSecond, deps }: CallLimiterOptions): CallLimiter {
  const spacing = (1_000 * (1 + SAFETY)) / callsPerSecond;
  const limit = Math.max(1, Math.floor(callsPerSecond));
  /** Milliseconds in which `limit` calls start. */
  const window = limit * spacing;
  /** The latest starts, oldest first. */
  const starts: Start[] = [];
  const queue: Waiter[] = [];
  let slot = Number.NEGATIVE_INFINITY;
  let coldUntil = 0;
  let pumping = false;
  /** Calls in a window, from the last refusal until `heldUntil`. */
  let share = limit;
  let heldUntil = 0;
  let hold = HOLD.first;

  /** Calls in a window. */
  function rate(now: number): number {
    const risen = Math.min(1, Math.max(0, (now - heldUntil) / RISE));
    return share + (limit - share) * risen;
  }

  /**
   * A slot is counted from the slot before, not from the start before, so that timers that fire late do not add up. The
   * window rule over the real starts is what holds after the process itself was late (a blocked event loop), and what
   * waits for our own places when the share has just become smaller.
   */
  function due(now: number): number {
    const calls = rate(now);
    const oldest = starts.filter(({ refused }) => !refused).at(-Math.ceil(calls));
    return Math.max(slot + window / calls, oldest === undefined ? Number.NEGATIVE_INFINITY : oldest.arrived + window);
  }

  function start(now: number, at: number): Turn {
    // A limiter that stood idle or fell behind by more than a spacing starts afresh: no burst to catch up.
    slot = now - at > spacing ? now : at;
    if (now - (starts.at(-1)?.at ?? Number.NEGATIVE_INFINITY) > COLD_AFTER) coldUntil = now + window;
    const started: Start = { at: now, arrived: now < coldUntil ? now + WARM_UP : now, refused: false };
    starts.push(started);
    // Enough for the window before a call whose refusal takes a few seconds to come.
    if (starts.length > 4 * limit) starts.shift();
    return { throttled: () => throttled(started) };
  }

  function throttled(call: Start): void {
    call.refused = true;
    const now = deps.now().getTime();
    // Timers fire late: half a spacing is no reason to miss a call that was there.
    const from = call.at - window - spacing / 2;
    const ours = starts.filter(({ at, arrived, refused }) => !refused && arrived >= from && at < call.at).length;
    if (ours >= limit) return;
    if (now >= heldUntil) hold = now < heldUntil + RISE + window ? Math.min(HOLD.longest, 2 * hold) : HOLD.first;
    const half = limit / 2;
    const most = ours < NEARLY_ALL * limit ? half : ours;
    share = Math.max(Math.min(1, half), Math.min(ours, most, rate(now)));
    if (ours === 0) slot += spacing * deps.random();
    heldUntil = now + hold * Math.min(1, share / half) * (0.75 + 0.5 * deps.random());
  }

  async function pump(): Promise<void> {
    for (let head = queue[0]; head !== undefined; head = queue[0]) {
      const now = deps.now().getTime();
      const at = due(now);
      if (!head.pastDeadline && Math.max(at, now) >= deps.deadline.getTime()) {
        queue.shift();
        head.reject(deadlineReached());
      } else if (at > now) {
        // No longer than a spacing, for the rate may rise meanwhile.
        await deps.sleep(Math.max(1, Math.ceil(Math.min(at - now, spacing))));
      } else {
        queue.shift();
        head.resolve(start(now, at));
      }
    }
    pumping = false;
  }

  return {
    take(options = {}) {
      return new Promise<Turn>((resolve, reject) => {
        queue.push({ pastDeadline: options.pastDeadline ?? false, resolve, reject });
        if (pumping) return;
        pumping = true;
        pump().catch((error: unknown) => {
          pumping = false;
          for (const waiter of queue.splice(0)) waiter.reject(sleepFailed(error));
        });
      });
    },
  };
}

function deadlineReached(): AutocertError {
  return new AutocertError({
    code: 'DEADLINE_REACHED',
    message: 'the run has no time left for another call within the rate limit of the API',
    retryable: false,
    remedy: 'Let the next run go on from here, or raise the timeout of the function.',
  });
}

function sleepFailed(cause: unknown): AutocertError {
  return new AutocertError({
    code: 'INTERNAL',
    message: 'the wait for the rate limit of an API was broken off',
    retryable: false,
    remedy: 'This is a defect of aliyun-cdn-autocert: please report it with the log line of this run.',
    cause,
  });
}
