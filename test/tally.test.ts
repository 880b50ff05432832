import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';

const TALLY = fileURLToPath(new URL('./tally.mjs', import.meta.url));

const PASSED = { name: '/repo/test/a.test.ts', status: 'passed', message: '', assertionResults: [] };
const UNLOADABLE = { ...PASSED, status: 'failed', message: 'Cannot find module' };
const TWO_FAILED = {
  ...PASSED,
  status: 'failed',
  assertionResults: [
    { fullName: 'one', status: 'failed', failureMessages: ['expected 1 to be 2\n  at line 3'] },
    { fullName: 'two', status: 'passed', failureMessages: [] },
    { fullName: 'three', status: 'failed', failureMessages: ['timed out'] },
  ],
};

test.each([
  ['all is well', results(8, 0, PASSED), 0, 0, [], '9 passed, 0 failed', 0],
  [
    'two tests failed',
    results(6, 2, TWO_FAILED),
    1,
    0,
    [/a\.test\.ts > one\n +expected 1 to be 2\n/, /a\.test\.ts > three\n +timed out$/],
    '7 passed, 2 failed',
    1,
  ],
  ['the sandbox failed', results(8, 0, PASSED), 0, 1, [/^npm run sandbox$/], '8 passed, 1 failed', 1],
  [
    'a test file could not be loaded',
    results(8, 0, UNLOADABLE),
    1,
    0,
    [/a\.test\.ts\n +Cannot find module$/, /^npm run check/],
    '9 passed, 1 failed',
    1,
  ],
  ['types, lint or dead code failed before the tests', undefined, 2, 0, [/^npm run check/], '1 passed, 1 failed', 1],
  ['no test ran', results(0, 0, PASSED), 0, 0, [/^no test ran$/], '1 passed, 1 failed', 1],
])(
  'the last lines of a CI run when %s',
  async (_situation, found, checkCode, sandboxCode, failures, line, exitCode) => {
    const folder = await mkdtemp(join(tmpdir(), 'autocert-tally-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const path = join(folder, 'results.json');
    if (found !== undefined) await writeFile(path, JSON.stringify(found));

    const tally = spawnSync(process.execPath, [TALLY, path, String(checkCode), String(sandboxCode)]);

    const told = tally.stdout.toString().trimEnd();
    expect(told.split('\n').at(-1)).toBe(line);
    const said = told
      .split(/^FAILED /m)
      .slice(1)
      .map((text) => text.replace(line, '').trimEnd());
    expect(said).toEqual(failures.map((failure) => expect.stringMatching(failure)));
    expect(tally.status).toBe(exitCode);
  },
);

function results(numPassedTests: number, numFailedTests: number, file: unknown) {
  return { numPassedTests, numFailedTests, testResults: [file] };
}
