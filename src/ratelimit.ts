import type { Deps } from './deps.ts';
import { AutocertError } from './errors.ts';

export interface CallLimiter {
  /**
   * Resolves when the next call may start, in the order of asking. Throws DEADLINE_REACHED when that is later than the
   * deadline, unless `pastDeadline` (clean-up).
   */
  take(options?: { readonly pastDeadline?: boolean }): Promise<void>;
  /** The server has refused a call as one too many: the rate is halved and is whole again after RECOVERY. */
  throttled(): void;
}

export interface CallLimiterOptions {
  /** What the API's documentation allows one account. */
  readonly callsPerSecond: number;
  readonly deps: Pick<Deps, 'now' | 'sleep' | 'deadline'>;
}

/**
 * The share by which the pace stays under the limit. The server counts arrivals: N+1 calls in a row span
 * 1000 ms * (1 + SAFETY), so the network may bunch them by this much without one too many in any second.
 */
const SAFETY = 0.035;
/** Milliseconds from the last refusal until the whole rate is used again. */
const RECOVERY = 5_000;
/** Milliseconds in which refusals count as one: the calls in flight when the limit was hit all come back refused. */
const SAME_REFUSAL = 1_000;
const NARROWEST = 0.125;
/**
 * Milliseconds. The first calls open connections, so they arrive this much later than those after them, which find one
 * open; the calls after the first second leave that much room, once.
 */
const WARM_UP = 200;
/** Milliseconds without a call after which connections are opened anew. */
const COLD_AFTER = 4_000;

interface Waiter {
  readonly pastDeadline: boolean;
  readonly resolve: () => void;
  readonly reject: (error: AutocertError) => void;
}

/**
 * Keeps calls to an API of `callsPerSecond` evenly spaced, so that no window of one second, wherever it begins, sees
 * more of them. One limiter stands in front of everything that shares a limit.
 */
export function createCallLimiter({ callsPerSecond, deps }: CallLimiterOptions): CallLimiter {
  const window = 1_000 * (1 + SAFETY);
  const spacing = window / callsPerSecond;
  /** The real starts of the last `callsPerSecond` calls, oldest first. */
  const starts: number[] = [];
  const depth = Math.max(1, Math.floor(callsPerSecond));
  const queue: Waiter[] = [];
  let slot = Number.NEGATIVE_INFINITY;
  let lastStart = Number.NEGATIVE_INFINITY;
  let pumping = false;
  let narrowedTo = 1;
  let narrowedAt = Number.NEGATIVE_INFINITY;

  function share(now: number): number {
    const recovered = Math.min(1, Math.max(0, (now - narrowedAt) / RECOVERY));
    return narrowedTo + (1 - narrowedTo) * recovered;
  }

  /**
   * A slot is counted from the slot before, not from the start before, so that timers that fire late do not add up. The
   * window rule over the real starts is what holds after the process itself was late (a blocked event loop).
   */
  function due(now: number): number {
    const oldest = starts.length < depth ? Number.NEGATIVE_INFINITY : (starts[0] ?? Number.NEGATIVE_INFINITY);
    return Math.max(slot + spacing / share(now), oldest + window);
  }

  async function pump(): Promise<void> {
    for (let head = queue[0]; head !== undefined; head = queue[0]) {
      const now = deps.now().getTime();
      const at = due(now);
      if (!head.pastDeadline && Math.max(at, now) >= deps.deadline.getTime()) {
        queue.shift();
        head.reject(deadlineReached());
      } else if (at > now) {
        await deps.sleep(Math.max(1, Math.ceil(at - now)));
      } else {
        queue.shift();
        // A limiter that stood idle or fell behind by more than a spacing starts afresh: no burst to catch up.
        slot = now - at > spacing ? now : at;
        starts.push(now - lastStart > COLD_AFTER ? now + WARM_UP : now);
        lastStart = now;
        if (starts.length > depth) starts.shift();
        head.resolve();
      }
    }
    pumping = false;
  }

  return {
    take(options = {}) {
      return new Promise<void>((resolve, reject) => {
        queue.push({ pastDeadline: options.pastDeadline ?? false, resolve, reject });
        if (pumping) return;
        pumping = true;
        pump().catch((error: unknown) => {
          pumping = false;
          for (const waiter of queue.splice(0)) waiter.reject(sleepFailed(error));
        });
      });
    },
    throttled() {
      const now = deps.now().getTime();
      if (now - narrowedAt < SAME_REFUSAL) return;
      narrowedTo = Math.max(NARROWEST, share(now) / 2);
      narrowedAt = now;
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
