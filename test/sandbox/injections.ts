/**
 * Counts faults where they are made, for the table of `npm run test:faults`. Each test file has a process of its own, and
 * no two of its tests run at once, so that what was counted since a test began belongs to that test.
 */
export interface Injections {
  readonly injected: number;
  /** Keys and certificates that were lost, as a sweep counted them. */
  readonly lost: number;
}

const counts = { injected: 0, lost: 0 };

/** So many faults have just been made. */
export function injected(count = 1): void {
  counts.injected += count;
}

/** So many keys or certificates did not survive what was injected. */
export function foundLost(count: number): void {
  counts.lost += count;
}

/** What was counted since the last call. */
export function takeInjections(): Injections {
  const taken = { ...counts };
  counts.injected = 0;
  counts.lost = 0;
  return taken;
}
