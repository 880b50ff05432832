/**
 * The last lines of a CI run: `node test/tally.mjs <results of Vitest> <exit code of check> <exit code of the sandbox>`.
 * Says once more what failed, for a log of which only the end is at hand, and counts in the last line of all. Ends with 1
 * when anything failed, and when no test ran at all.
 */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { argv } from 'node:process';

const [, , resultsPath = '', checkCode, sandboxCode] = argv;

/**
 * @typedef {{ fullName: string, status: string, failureMessages: string[] }} Assertion
 * @typedef {{ name: string, status: string, message: string, assertionResults: Assertion[] }} TestFile
 */

/** @returns {{ numPassedTests: number, numFailedTests: number, testResults: TestFile[] }} */
function readResults() {
  try {
    return JSON.parse(readFileSync(resultsPath, 'utf8'));
  } catch {
    // The check ended before the tests.
    return { numPassedTests: 0, numFailedTests: 0, testResults: [] };
  }
}

/**
 * @param {TestFile} file
 * @returns {string[]}
 */
function failuresOf({ name, status, message, assertionResults }) {
  const failed = assertionResults.filter((one) => one.status === 'failed');
  if (status === 'failed' && failed.length === 0) return [`${relative('.', name)}\n    ${firstLines(message)}`];
  return failed.map((one) => `${relative('.', name)} > ${one.fullName}\n    ${firstLines(one.failureMessages.join())}`);
}

/** @param {string} text */
function firstLines(text) {
  return text.split('\n', 6).join('\n    ').slice(0, 1_000);
}

const { numPassedTests, numFailedTests, testResults } = readResults();
const failures = testResults.flatMap(failuresOf);
const sandboxPassed = sandboxCode === '0';
let passed = numPassedTests;
let failed = numFailedTests;
if (sandboxPassed) passed += 1;
else {
  failed += 1;
  failures.push('npm run sandbox');
}
// Types, lint, dead code, a test file that cannot be loaded, an error outside every test.
if (checkCode !== '0' && numFailedTests === 0) {
  failed += 1;
  failures.push('npm run check, outside every test');
}
if (numPassedTests === 0 && failed === 0) {
  failed += 1;
  failures.push('no test ran');
}

for (const failure of failures) process.stdout.write(`FAILED ${failure}\n`);
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
