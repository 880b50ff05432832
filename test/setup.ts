import fc from 'fast-check';

/**
 * Properties are tried on the same cases in every run, so that a run says something of the change and not of the dice. The
 * long form (AUTOCERT_SOAK=1) draws new ones; AUTOCERT_SEED replays what a failure printed.
 */
const { AUTOCERT_SOAK, AUTOCERT_SEED } = process.env;
if (AUTOCERT_SEED !== undefined) fc.configureGlobal({ seed: Number(AUTOCERT_SEED) });
else if (AUTOCERT_SOAK !== '1') fc.configureGlobal({ seed: 20261124 });
