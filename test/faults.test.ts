import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { FAULTS } from './faults/catalogue.ts';
import { faultTable, idsOf, type Tested } from './faults/table.ts';

const passed = (fullName: string, injected?: number, lost = 0): Tested => ({
  fullName,
  state: 'passed',
  injections: injected === undefined ? undefined : { injected, lost },
});

/** The figures of a line: injected, survived, lost, and what is said of it. */
function figuresOf(tests: readonly Tested[], id: string): string | undefined {
  const { lines } = faultTable(tests, { whole: true });
  const { fault } = FAULTS.find((one) => one.id === id) ?? { fault: '' };
  return lines
    .find((line) => line.startsWith(`${id} `))
    ?.slice(5)
    .replace(fault, '')
    .trim()
    .replace(/ +/g, ' ');
}

test('the catalogue has 72 faults, each with its number and words of its own', () => {
  expect(FAULTS.map(({ id }) => id)).toEqual(Array.from({ length: 72 }, (_, index) => `F${index + 1}`));
  expect(new Set(FAULTS.map(({ fault }) => fault)).size).toBe(72);
  for (const { fault, right } of FAULTS) expect([fault, right].join()).toMatch(/^\S.{5,50},\S.{4,90}$/);
});

test('a test belongs to the faults whose ids are in its name, or in that of a group around it', () => {
  expect(idsOf('F54 a fleet > two years of seed 1, as F54 says')).toEqual(['F54']);
  expect(idsOf('F1 F3 a whole run')).toEqual(['F1', 'F3']);
  expect(idsOf('f12-a.example.com, 4F2A, F203, F0, PDF1')).toEqual([]);
});

describe('the table', () => {
  test('adds up what the tests of a fault injected, one at least for each of them', () => {
    const tests = [passed('F1 a', 40), passed('F1 b', 2), passed('F1 c', 0), passed('F1 d'), passed('F10 e', 7)];
    expect(figuresOf(tests, 'F1')).toBe('44 44 0');
    expect(figuresOf(tests, 'F10')).toBe('7 7 0');
  });

  test('counts what a failed test injected as lost', () => {
    const failed: Tested = { fullName: 'F1 b', state: 'failed', injections: { injected: 5, lost: 0 } };
    expect(figuresOf([passed('F1 a', 40), failed], 'F1')).toBe('45 40 5 1 of 2 tests failed');
  });

  test('counts what a sweep found to be lost, though its test passed', () => {
    expect(figuresOf([passed('F45 a', 40, 3)], 'F45')).toBe('40 37 3');
  });

  test('counts a test of two faults for both', () => {
    expect([figuresOf([passed('F1 F2 a', 4)], 'F1'), figuresOf([passed('F1 F2 a', 4)], 'F2')]).toEqual([
      '4 4 0',
      '4 4 0',
    ]);
  });

  test('names each fault that has no test, or whose tests did not run', () => {
    const all = FAULTS.map(({ id }) => passed(`${id} a`));
    expect(faultTable(all, { whole: true }).gaps).toEqual([]);
    const skipped = all.map((each): Tested => (each.fullName === 'F7 a' ? { ...each, state: 'skipped' } : each));
    const { gaps } = faultTable(skipped.slice(0, -1), { whole: true });
    expect(gaps).toEqual([
      'F7 an order stays processing: its tests did not run',
      'F72 a certificate of a staging CA: it has no test',
    ]);
    expect(figuresOf(skipped, 'F7')).toBe('0 0 - its tests did not run');
  });

  test('has no line for what was not to run', () => {
    const { lines, gaps } = faultTable([passed('F1 a', 4)], { whole: false });
    expect([lines.length, gaps]).toEqual([2, []]);
  });

  test('names an id that is no fault', () => {
    expect(faultTable([passed('F73 a')], { whole: false }).gaps).toEqual(['F73 is no fault of the catalogue: F73 a']);
  });
});

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const urlOf = (path: string) => JSON.stringify(pathToFileURL(join(ROOT, path)).href);

/** A run of Vitest with our reporter and our setup, on these files; from within the project, so that it finds Vitest. */
async function runOf(files: Readonly<Record<string, string>>, args: readonly string[] = []) {
  await mkdir(join(ROOT, '.sandbox'), { recursive: true });
  const folder = await mkdtemp(join(ROOT, '.sandbox', 'faults-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const config = `
    import { FaultReporter } from ${urlOf('test/faults/reporter.ts')};
    export default {
      root: ${JSON.stringify(folder)},
      test: { setupFiles: [${JSON.stringify(join(ROOT, 'test/setup.ts'))}], reporters: [new FaultReporter()], maxWorkers: 1 },
    };`;
  await writeFile(join(folder, 'vitest.config.mjs'), config);
  for (const [name, source] of Object.entries(files)) await writeFile(join(folder, name), source);
  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
  const child = spawn(process.execPath, [vitest, 'run', '--config', join(folder, 'vitest.config.mjs'), ...args], {
    cwd: folder,
    env: { PATH: process.env['PATH'] ?? '', NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const [printed, exitCode] = await Promise.all([text(child.stdout), exited]);
  return { lines: printed.trimEnd().split('\n'), exitCode };
}

test('a run counts where faults are made, and ends with what the tests came to', async () => {
  const { lines, exitCode } = await runOf({
    'a.test.ts': `
      import fc from 'fast-check';
      import { describe, expect, test } from 'vitest';
      import { foundLost, injected } from ${urlOf('test/sandbox/injections.ts')};
      injected(1000);
      describe('F1 a group', () => {
        test('of two', () => injected(2));
        test.each([3, 4])('of %i', (count) => { injected(count); });
        test('that loses one of five', () => { injected(5); foundLost(1); });
      });
      test('F2 fails after six', () => { injected(6); expect(1).toBe(2); });
      test('F3 a property', () => fc.assert(fc.property(fc.nat(), () => true), { numRuns: 17 }));
      test('of no fault', () => injected(1000));
      test.skip('F4 skipped', () => injected(1000));
    `,
    'b.test.ts': `
      import { beforeAll, test } from 'vitest';
      beforeAll(() => { throw new Error('not today'); });
      test('F5 never runs', () => undefined);
    `,
  });
  const figures = lines.filter((line) => /^F[1-5] /.test(line)).map((line) => line.split(/ {2,}/).slice(-4).join(' '));
  expect(figures).toEqual([
    expect.stringMatching(/ 14 13 1$/),
    expect.stringMatching(/^6 0 6 1 of 1 tests failed$/),
    expect.stringMatching(/ 17 17 0$/),
    '0 0 - its tests did not run',
    '0 0 - its tests did not run',
  ]);
  // One test, one file that could not be prepared, 69 faults without a test that ran.
  expect(lines.at(-1)).toBe('6 passed, 71 failed');
  expect(exitCode).toBe(1);
}, 60_000);
