import fc from 'fast-check';
import { afterEach, beforeEach } from 'vitest';
import { type Injections, injected, takeInjections } from './sandbox/injections.ts';

declare module 'vitest' {
  interface TaskMeta {
    /** Read by test/faults/reporter.ts. */
    injections?: Injections;
  }
}

/**
 * Properties are tried on the same cases in every run, so that a run says something of the change and not of the dice. The
 * long form (AUTOCERT_SOAK=1) draws new ones; AUTOCERT_SEED replays what a failure printed. Each case is a fault.
 */
const { AUTOCERT_SOAK, AUTOCERT_SEED } = process.env;
const fixedSeed = AUTOCERT_SOAK === '1' ? undefined : 20261124;
const seed = AUTOCERT_SEED === undefined ? fixedSeed : Number(AUTOCERT_SEED);
fc.configureGlobal({ ...(seed !== undefined && { seed }), beforeEach: () => injected() });

beforeEach(() => {
  takeInjections();
});
afterEach(({ task }) => {
  task.meta.injections = takeInjections();
});
