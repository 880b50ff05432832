/**
 * The last line of a CI run: `node test/tally.mjs <results of Vitest> <exit code of check> <exit code of the sandbox>`.
 * Ends with 1 when anything failed, and when no test ran at all.
 */
import { readFileSync } from 'node:fs';
import { argv } from 'node:process';

const [, , resultsPath = '', checkCode, sandboxCode] = argv;

/** @returns {{ numPassedTests: number, numFailedTests: number }} */
function readResults() {
  try {
    return JSON.parse(readFileSync(resultsPath, 'utf8'));
  } catch {
    // The check ended before the tests.
    return { numPassedTests: 0, numFailedTests: 0 };
  }
}

const { numPassedTests, numFailedTests } = readResults();
const sandboxPassed = sandboxCode === '0';
let passed = numPassedTests;
let failed = numFailedTests;
if (sandboxPassed) passed += 1;
else failed += 1;
// Types, lint, dead code, a test file that cannot be loaded, an error outside every test.
if (checkCode !== '0' && numFailedTests === 0) failed += 1;
if (numPassedTests === 0 && failed === 0) failed += 1;

process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
