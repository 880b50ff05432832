import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';

const TALLY = fileURLToPath(new URL('./tally.mjs', import.meta.url));

test.each([
  ['all is well', { numPassedTests: 8, numFailedTests: 0 }, 0, 0, '9 passed, 0 failed\n', 0],
  ['two tests failed', { numPassedTests: 6, numFailedTests: 2 }, 1, 0, '7 passed, 2 failed\n', 1],
  ['the sandbox failed', { numPassedTests: 8, numFailedTests: 0 }, 0, 1, '8 passed, 1 failed\n', 1],
  ['a test file could not be loaded', { numPassedTests: 8, numFailedTests: 0 }, 1, 0, '9 passed, 1 failed\n', 1],
  ['types, lint or dead code failed before the tests', undefined, 2, 0, '1 passed, 1 failed\n', 1],
  ['no test ran', { numPassedTests: 0, numFailedTests: 0 }, 0, 0, '1 passed, 1 failed\n', 1],
])('the last line of a CI run when %s', async (_situation, results, checkCode, sandboxCode, line, exitCode) => {
  const folder = await mkdtemp(join(tmpdir(), 'autocert-tally-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const path = join(folder, 'results.json');
  if (results !== undefined) await writeFile(path, JSON.stringify(results));

  const tally = spawnSync(process.execPath, [TALLY, path, String(checkCode), String(sandboxCode)]);

  expect(tally.stdout.toString()).toBe(line);
  expect(tally.status).toBe(exitCode);
});
