import { defineConfig } from 'vitest/config';
import { FaultReporter } from './test/faults/reporter.ts';

/** Where a CI run counts from: .ci/run. */
const results = { json: '.sandbox/test-results.json' };

function reporters() {
  const { CI, AUTOCERT_FAULTS, AUTOCERT_SOAK } = process.env;
  if (AUTOCERT_FAULTS !== undefined || AUTOCERT_SOAK !== undefined) return ['default', new FaultReporter()];
  // The last line is that of test/tally.mjs.
  if (CI !== undefined) return ['default', 'json', new FaultReporter({ closingLine: false })];
  return ['default'];
}

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    environment: 'node',
    // Tests change the environment, start processes and are killed with them: each file has a process of its own.
    pool: 'forks',
    maxWorkers: 2,
    globalSetup: ['test/global-setup.ts'],
    setupFiles: ['test/setup.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    passWithNoTests: false,
    retry: 0,
    reporters: reporters(),
    outputFile: results,
  },
});
