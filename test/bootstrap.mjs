/**
 * Makes a fresh clone able to run a command: `node test/bootstrap.mjs [--without-tools] <command> [arguments]`.
 *
 * Installs the npm dependencies where they are missing or not those of package-lock.json, fetches the programs that the
 * sandbox and the tests run beside Node (not with --without-tools), and runs the command with both on the PATH. It costs
 * next to nothing when all is there, uses nothing but Node itself, and is safe to run twice at the same time.
 */
import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const SANDBOX = join(ROOT, '.sandbox');
const LOCK = join(SANDBOX, 'lock');
/** What Vitest 4 needs of Node 20. The function itself runs on every Node 20. */
const OLDEST_NODE = [20, 19];

/** @param {string} line */
function say(line) {
  process.stderr.write(`bootstrap: ${line}\n`);
}

async function main() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const [oldestMajor = 0, oldestMinor = 0] = OLDEST_NODE;
  if (major < oldestMajor || (major === oldestMajor && minor < oldestMinor)) {
    throw new Error(`this project needs Node ${OLDEST_NODE.join('.')} or newer; this is ${process.version}`);
  }
  const withTools = process.argv[2] !== '--without-tools';
  const [command, ...args] = process.argv.slice(withTools ? 2 : 3);
  if (command === undefined) throw new Error('usage: node test/bootstrap.mjs [--without-tools] <command> [arguments]');

  const path = process.env['PATH'] ?? '';
  // Not before Node is known to be new enough to read it.
  const { fetchTools, missingTools } = await import('./sandbox/tools.mjs');
  const isReady = async () => hasDependencies() && (!withTools || (await missingTools(SANDBOX, path)).length === 0);
  if (!(await isReady())) {
    await holdingLock(async () => {
      if (!hasDependencies()) installDependencies();
      if (withTools) await fetchTools(SANDBOX, path, say);
    });
  }
  await run(command, args, [join(SANDBOX, 'bin'), join(ROOT, 'node_modules', '.bin'), path].join(delimiter));
}

/**
 * npm writes what it installed to node_modules/.package-lock.json. Only packages for other machines may be missing in it.
 */
function hasDependencies() {
  const wanted = readPackages(join(ROOT, 'package-lock.json'));
  const installed = readPackages(join(ROOT, 'node_modules', '.package-lock.json'));
  if (wanted === undefined || installed === undefined) return false;
  const isInstalled = Object.entries(wanted).every(([folder, { version, integrity, optional }]) => {
    const found = installed[folder];
    if (found === undefined) return folder === '' || optional === true;
    return found.version === version && found.integrity === integrity;
  });
  return isInstalled && Object.keys(installed).every((folder) => folder in wanted);
}

/**
 * @param {string} path
 * @returns {Record<string, { version?: string, integrity?: string, optional?: boolean }> | undefined}
 */
function readPackages(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

function installDependencies() {
  say('npm ci');
  const args = ['ci', '--include=dev', '--include=optional', '--ignore-scripts', '--no-audit', '--no-fund'];
  const { status, error } = spawnSync('npm', args, { cwd: ROOT, stdio: ['ignore', 2, 2] });
  if (error !== undefined) throw new Error(`npm does not run (${error.message}): install npm 10 or newer`);
  if (status !== 0) throw new Error('npm ci failed; see above');
}

/**
 * One bootstrap at a time. A lock whose owner is gone is taken over.
 *
 * @param {() => Promise<void>} work
 */
async function holdingLock(work) {
  mkdirSync(SANDBOX, { recursive: true });
  const mine = `${LOCK}.${randomUUID()}`;
  writeFileSync(mine, String(process.pid));
  try {
    for (let waited = false; !isLinked(mine); waited = true) {
      const owner = readOwner();
      if (owner !== undefined && !isAlive(owner)) takeAway(owner);
      else {
        if (!waited) say(`waiting for another bootstrap (process ${owner})`);
        await sleep(200);
      }
    }
    try {
      await work();
    } finally {
      rmSync(LOCK, { force: true });
    }
  } finally {
    rmSync(mine, { force: true });
  }
}

/**
 * A hard link appears at once and with its content, or not at all.
 *
 * @param {string} mine
 */
function isLinked(mine) {
  try {
    linkSync(mine, LOCK);
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  }
}

function readOwner() {
  try {
    return Number(readFileSync(LOCK, 'utf8'));
  } catch {
    return undefined;
  }
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === 'EPERM';
  }
}

/**
 * Another process may have done so already and hold a new lock by now: that one is put back.
 *
 * @param {number} owner
 */
function takeAway(owner) {
  const taken = `${LOCK}.${randomUUID()}`;
  try {
    renameSync(LOCK, taken);
    if (Number(readFileSync(taken, 'utf8')) !== owner) linkSync(taken, LOCK);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  } finally {
    rmSync(taken, { force: true });
  }
}

/** @param {unknown} error */
function errorCode(error) {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

/**
 * @param {string} command
 * @param {string[]} args
 * @param {string} path
 */
async function run(command, args, path) {
  const child = spawn(command, args, { stdio: 'inherit', env: { ...process.env, PATH: path } });
  for (const signal of /** @type {NodeJS.Signals[]} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
    process.on(signal, () => child.kill(signal));
  }
  await once(child, 'exit');
  const { exitCode, signalCode } = child;
  process.exitCode = exitCode ?? 128 + (signalCode === null ? 0 : constants.signals[signalCode]);
}

try {
  await main();
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
