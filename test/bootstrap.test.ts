import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';

const LOCK_FILE = { packages: { '': {}, 'node_modules/one': { version: '1.0.0', integrity: 'sha512-one' } } };
const INSTALLED = { packages: { 'node_modules/one': { version: '1.0.0', integrity: 'sha512-one' } } };
const OLDER = { packages: { 'node_modules/one': { version: '0.9.0', integrity: 'sha512-old' } } };

test('with everything installed the command runs at once, finds its programs, and its exit code is passed on', async () => {
  const clone = await newClone(INSTALLED);
  await program(join(clone, 'node_modules/.bin/say-hello'), 'echo hello; exit 7');

  const run = await bootstrap(clone, 'say-hello');

  expect(run).toMatchObject({ code: 7, stdout: 'hello\n', stderr: '' });
  expect(await installs(clone)).toBe(0);
});

test.each([
  ['are missing', undefined],
  ['are not those of package-lock.json', OLDER],
])('dependencies that %s are installed first', async (_situation, installed) => {
  const clone = await newClone(installed);

  const run = await bootstrap(clone, 'cat', join(clone, 'node_modules/.package-lock.json'));

  expect(JSON.parse(run.stdout)).toEqual(INSTALLED);
  expect(await installs(clone)).toBe(1);
});

test('a package for another machine may be missing', async () => {
  const clone = await newClone(INSTALLED);
  const packages = { ...LOCK_FILE.packages, 'node_modules/darwin-arm64': { version: '1.0.0', optional: true } };
  await writeFile(join(clone, 'package-lock.json'), JSON.stringify({ packages }));

  await bootstrap(clone, 'true');

  expect(await installs(clone)).toBe(0);
});

test('of four at the same time one installs and the others wait for it', async () => {
  const clone = await newClone(undefined);

  const runs = await Promise.all(['1', '2', '3', '4'].map((word) => bootstrap(clone, 'echo', word)));

  expect(runs.map(({ stdout }) => stdout)).toEqual(['1\n', '2\n', '3\n', '4\n']);
  expect(await installs(clone)).toBe(1);
  expect(existsSync(join(clone, '.sandbox/lock'))).toBe(false);
});

test('the lock of one that was killed is taken over', async () => {
  const clone = await newClone(undefined);
  const dead = spawn('true');
  await once(dead, 'exit');
  await mkdir(join(clone, '.sandbox'));
  await writeFile(join(clone, '.sandbox/lock'), String(dead.pid));

  const run = await bootstrap(clone, 'echo', 'done');

  expect(run.stdout).toBe('done\n');
});

test('an installation that fails is said, and the command does not run', async () => {
  const clone = await newClone(undefined);
  await program(join(clone, 'fake/npm'), 'echo no network >&2; exit 1');

  const run = await bootstrap(clone, 'echo', 'ran');

  expect(run).toMatchObject({ code: 1, stdout: '' });
  expect(run.stderr).toMatch(/no network\nbootstrap: npm ci failed/);
});

/** A clone with the bootstrap alone, where `npm ci` notes that it ran and installs what the lock file says. */
async function newClone(installed: object | undefined): Promise<string> {
  const clone = await mkdtemp(join(tmpdir(), 'autocert-clone-'));
  onTestFinished(() => rm(clone, { recursive: true }));
  await mkdir(join(clone, 'test/sandbox'), { recursive: true });
  await mkdir(join(clone, 'node_modules/.bin'), { recursive: true });
  for (const file of ['bootstrap.mjs', 'sandbox/tools.mjs', 'sandbox/debian.mjs', 'sandbox/pebble-probe.mjs']) {
    await cp(new URL(file, import.meta.url), join(clone, 'test', file));
  }
  await writeFile(join(clone, 'package-lock.json'), JSON.stringify(LOCK_FILE));
  if (installed !== undefined) {
    await writeFile(join(clone, 'node_modules/.package-lock.json'), JSON.stringify(installed));
  }
  await writeFile(join(clone, 'to-install.json'), JSON.stringify(INSTALLED));
  await program(
    join(clone, 'fake/npm'),
    `echo "$@" >>'${clone}/installs'; cp '${clone}/to-install.json' '${clone}/node_modules/.package-lock.json'`,
  );
  return clone;
}

async function program(path: string, script: string): Promise<void> {
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
}

async function installs(clone: string): Promise<number> {
  const lines = await readFile(join(clone, 'installs'), 'utf8').catch(() => '');
  return lines.split('\n').filter((line) => line.startsWith('ci ')).length;
}

async function bootstrap(clone: string, ...command: string[]) {
  const child = spawn(process.execPath, [join(clone, 'test/bootstrap.mjs'), '--without-tools', ...command], {
    env: { ...process.env, PATH: [join(clone, 'fake'), process.env['PATH']].join(delimiter) },
  });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { code: child.exitCode, stdout, stderr };
}
