import { type Deps, timeLeft } from './deps.ts';
import { AutocertError } from './errors.ts';

/**
 * How fast something is tried again. The wait before try n+1 is drawn from [floor, min(cap, base * 2^(n-1))]: full
 * jitter, so that many runs that fail together do not come back together.
 */
export interface Pace {
  /** Milliseconds. */
  readonly base: number;
  /** Milliseconds. */
  readonly cap: number;
  /** Milliseconds; 0 when left out. */
  readonly floor?: number;
  /** How often it is tried altogether, the first time included. */
  readonly attempts: number;
}

const DEFAULT_PACE: Pace = { base: 500, cap: 20_000, attempts: 6 };

export interface RetryOptions {
  readonly deps: Pick<Deps, 'now' | 'random' | 'sleep' | 'deadline'>;
  /** Overrides parts of DEFAULT_PACE. An error that carries a `pace` of its own goes before both. */
  readonly policy?: Partial<Pace> | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Does `operation` until it succeeds, the error says that trying again is no use, the attempts are used up, or the next
 * wait would end past the deadline. Ends in a throw of the operation's own last error, never of another one. What is
 * not an AutocertError is a defect and is never tried again. `retryAfter` is the least wait.
 */
export async function retry<T>(operation: (attempt: number) => Promise<T>, options: RetryOptions): Promise<T> {
  const { deps, signal } = options;
  const policy: Pace = { ...DEFAULT_PACE, ...options.policy };
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await operation(attempt);
    } catch (error) {
      if (!(error instanceof AutocertError) || !error.retryable || signal?.aborted) throw error;
      const pace = paceOf(error) ?? policy;
      if (attempt >= pace.attempts) throw error;
      const wait = waitBefore(attempt, pace, error, deps);
      if (wait >= timeLeft(deps)) throw error;
      try {
        await deps.sleep(wait, signal);
      } catch {
        // The wait was broken off from outside; what failed is still the operation.
        throw error;
      }
    }
  }
}

function waitBefore(attempt: number, pace: Pace, error: AutocertError, deps: Pick<Deps, 'now' | 'random'>): number {
  const floor = pace.floor ?? 0;
  const ceiling = Math.max(floor, Math.min(pace.cap, pace.base * 2 ** (attempt - 1)));
  const jittered = floor + deps.random() * (ceiling - floor);
  const asked = error.retryAfter === undefined ? 0 : error.retryAfter.getTime() - deps.now().getTime();
  return Math.max(jittered, asked);
}

/** The pace that an error carries, if it does. */
function paceOf(error: AutocertError & { readonly pace?: Pace | undefined }): Pace | undefined {
  return error.pace;
}
