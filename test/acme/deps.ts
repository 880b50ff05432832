import type { Deps } from '../../src/deps.ts';

/** One line that the code under test logged. */
export interface LogLine {
  readonly event: string;
  readonly fields: Record<string, unknown>;
}

export interface ManualDeps extends Deps {
  /** Every wait, in milliseconds, in order. */
  readonly sleeps: readonly number[];
  readonly lines: readonly LogLine[];
}

/** A clock that stands still until somebody sleeps, which takes no time at all. */
export function manualDeps(
  options: { readonly now?: Date; readonly secondsLeft?: number; readonly random?: number } = {},
): ManualDeps {
  let now = (options.now ?? new Date('2026-03-01T00:00:00Z')).getTime();
  const deadline = new Date(now + (options.secondsLeft ?? 600) * 1000);
  const sleeps: number[] = [];
  const lines: LogLine[] = [];
  const log = (event: string, fields: Record<string, unknown> = {}): void => {
    lines.push({ event, fields });
  };
  return {
    deadline,
    sleeps,
    lines,
    now: () => new Date(now),
    random: () => options.random ?? 0.5,
    sleep: async (milliseconds, signal) => {
      signal?.throwIfAborted();
      sleeps.push(milliseconds);
      now += milliseconds;
    },
    log: { debug: log, info: log, warn: log, error: log },
  };
}

/** The machine's own clock, for peers that live by it. */
export function realDeps(secondsLeft = 60): Deps {
  const silent = (): void => {};
  return {
    deadline: new Date(Date.now() + secondsLeft * 1000),
    now: () => new Date(),
    random: Math.random,
    sleep: (milliseconds, signal) => {
      return new Promise((resolve, reject) => {
        const timer = setTimeout(resolve, milliseconds);
        signal?.addEventListener('abort', () => {
          clearTimeout(timer);
          reject(signal.reason);
        });
      });
    },
    log: { debug: silent, info: silent, warn: silent, error: silent },
  };
}
