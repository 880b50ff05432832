/**
 * What the flow takes as parameters so that a test can hold it: time, randomness, sleep, the deadline and the log.
 * Nothing in `src` reads a clock, a random source or the environment by itself.
 */
export interface Deps {
  /** The current instant. */
  now(): Date;
  /** A number in [0, 1), as `Math.random` gives. Never used for keys. */
  random(): number;
  /** Resolves after `milliseconds`; rejects with the signal's reason when it aborts first. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
  /** The instant after which nothing new may begin: the run's end less the margin that the record and the alert need. */
  readonly deadline: Date;
  readonly log: Logger;
}

/** One call is one JSON line. `event` is a fixed snake_case word; what varies goes into `fields`. */
export interface Logger {
  debug(event: string, fields?: Record<string, unknown>): void;
  info(event: string, fields?: Record<string, unknown>): void;
  warn(event: string, fields?: Record<string, unknown>): void;
  error(event: string, fields?: Record<string, unknown>): void;
}

/** Milliseconds left until the deadline, never negative. */
export function timeLeft(deps: Pick<Deps, 'now' | 'deadline'>): number {
  return Math.max(0, deps.deadline.getTime() - deps.now().getTime());
}
