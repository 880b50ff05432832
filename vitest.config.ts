import { defineConfig } from 'vitest/config';

/** Where a CI run counts from: .ci/run. */
const results = { json: '.sandbox/test-results.json' };

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
    reporters: process.env['CI'] === undefined ? ['default'] : ['default', 'json'],
    outputFile: results,
  },
});
