/**
 * The programs that the tests and the sandbox run beside Node: Pebble, dig and openssl. What the machine has is used;
 * what it lacks is fetched into `.sandbox/`, which git ignores.
 */
import { execFile } from 'node:child_process';
import { accessSync, constants, realpathSync, statSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { hasApt, readDebianSources, unpackPackage } from './debian.mjs';
import { problemOfPebble } from './pebble-probe.mjs';

/**
 * @typedef {object} Tool
 * @property {string} name The program.
 * @property {string} packageName Debian's package of it.
 * @property {string} [suite] The suite that has a version new enough; the machine's own without.
 * @property {string} elsewhere What a person installs where Debian's archive is out of reach.
 * @property {(path: string, sandbox: string) => Promise<string | undefined>} problem What is wrong with the program at `path`.
 */

/** @type {Tool[]} */
const TOOLS = [
  {
    name: 'openssl',
    packageName: 'openssl',
    elsewhere: 'the openssl command line, version 1.1.1 or newer',
    problem: (path) => problemOfRunning(path, ['version']),
  },
  {
    name: 'pebble',
    packageName: 'pebble',
    suite: 'forky',
    elsewhere: 'pebble 2.10 or newer from https://github.com/letsencrypt/pebble',
    problem: (path, sandbox) =>
      problemOfPebble(path, find('openssl', sandbox, process.env['PATH'] ?? '')[0] ?? 'openssl'),
  },
  {
    name: 'dig',
    packageName: 'bind9-dnsutils',
    elsewhere: 'dig (bind9-dnsutils, bind-utils, bind-tools or bind, as your system calls it)',
    problem: (path) => problemOfRunning(path, ['-v']),
  },
];

/**
 * What stands in the way of each tool on `path` right now, without running what was found good before.
 *
 * @param {string} sandbox The folder `.sandbox`.
 * @param {string} path The PATH to look on, after `.sandbox/bin`.
 */
export async function missingTools(sandbox, path) {
  const known = await readKnown(sandbox);
  return TOOLS.filter(({ name }) => !find(name, sandbox, path).some((found) => known.has(identity(found))));
}

/**
 * Makes every tool available and remembers which programs are good. The caller holds the lock of `sandbox`.
 *
 * @param {string} sandbox
 * @param {string} path
 * @param {(line: string) => void} say
 */
export async function fetchTools(sandbox, path, say) {
  await mkdir(join(sandbox, 'bin'), { recursive: true });
  const failures = [];
  for (const tool of await missingTools(sandbox, path)) {
    /** @type {string[]} */
    const reasons = [];
    let good = await firstGood(tool, find(tool.name, sandbox, path), sandbox, reasons);
    if (good === undefined) {
      say(`fetching ${tool.name}: ${reasons.at(-1) ?? 'it is not on this machine'}`);
      try {
        good = await firstGood(tool, [await fetchTool(tool, sandbox)], sandbox, reasons);
      } catch (error) {
        reasons.push(describe(error));
      }
    }
    if (good === undefined) failures.push({ tool, reason: reasons.at(-1) });
    else await remember(sandbox, good);
  }
  if (failures.length === 0) return;
  const lines = failures.map(({ tool, reason }) => `- ${tool.elsewhere}\n  (${reason?.split('\n').join('\n   ')})`);
  throw new Error(`Please install, and put on the PATH:\n${lines.join('\n')}`);
}

/**
 * @param {Tool} tool
 * @param {string[]} paths
 * @param {string} sandbox
 * @param {string[]} reasons Filled with what is wrong with the others.
 */
async function firstGood(tool, paths, sandbox, reasons) {
  for (const path of paths) {
    const problem = await tool.problem(path, sandbox).catch(describe);
    if (problem === undefined) return path;
    reasons.push(`${path} does not do: ${problem}`);
  }
  return undefined;
}

/**
 * @param {Tool} tool
 * @param {string} sandbox
 * @returns {Promise<string>} The program, in `.sandbox/bin`.
 */
async function fetchTool(tool, sandbox) {
  const { codename, sources } = await readDebianSources();
  if (sources.length === 0 || !hasApt()) throw new Error('this machine has no apt-get with the sources of Debian');
  const own = sources.map((source) => ({
    ...source,
    suites: source.suites.filter((name) => name.startsWith(codename)),
  }));
  const attempts =
    tool.suite === undefined
      ? [own.some(({ suites }) => suites.length > 0) ? own.filter(({ suites }) => suites.length > 0) : sources]
      : sources
          .filter(({ suites }) => !suites.some((name) => name.endsWith('-security')))
          .map((source) => [{ ...source, suites: [tool.suite ?? codename], components: ['main'] }]);
  const errors = [];
  for (const attempt of attempts) {
    const work = await mkdtemp(join(sandbox, 'fetch-'));
    try {
      const unpacked = join(work, 'root');
      // What a newer suite would have come with it is not what this machine's programs run with.
      const withDependencies = tool.suite === undefined;
      await unpackPackage(tool.packageName, withDependencies, attempt, work, unpacked);
      return await putIntoBin(tool.name, unpacked, sandbox);
    } catch (error) {
      errors.push(describe(error));
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }
  throw new Error(errors.join('\n'));
}

/**
 * The libraries that came with the program are found by a script of its name.
 *
 * @param {string} name
 * @param {string} unpacked
 * @param {string} sandbox
 */
async function putIntoBin(name, unpacked, sandbox) {
  const home = join(sandbox, name);
  await rm(home, { recursive: true, force: true });
  await rename(unpacked, home);
  const folders = new Set();
  for (const entry of await readdir(home, { recursive: true, withFileTypes: true })) {
    if (/\.so(\.|$)/.test(entry.name)) folders.add(entry.parentPath.slice(home.length));
  }
  const libraries = [...folders].map((folder) => `$home${folder}`).join(':');
  const script = [
    '#!/bin/sh',
    `home=$(dirname "$0")/../${name}`,
    ...(libraries === '' ? [] : [`export LD_LIBRARY_PATH="${libraries}"`]),
    `exec "$home/usr/bin/${name}" "$@"`,
  ];
  const path = join(sandbox, 'bin', name);
  await writeFile(`${path}.new`, `${script.join('\n')}\n`);
  await chmod(`${path}.new`, 0o755);
  await rename(`${path}.new`, path);
  return path;
}

/**
 * @param {string} name
 * @param {string} sandbox
 * @param {string} path
 */
function find(name, sandbox, path) {
  const folders = [join(sandbox, 'bin'), ...path.split(delimiter).filter((folder) => folder !== '')];
  return folders.map((folder) => join(folder, name)).filter(isExecutable);
}

/** @param {string} path */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/**
 * Changes when the program does.
 *
 * @param {string} path
 */
function identity(path) {
  const { size, mtimeMs } = statSync(path);
  return [realpathSync(path), size, mtimeMs].join(' ');
}

/** @param {string} sandbox */
function knownPath(sandbox) {
  return join(sandbox, 'good-tools');
}

/** @param {string} sandbox */
async function readKnown(sandbox) {
  const lines = await readFile(knownPath(sandbox), 'utf8').catch(() => '');
  return new Set(lines.split('\n'));
}

/**
 * @param {string} sandbox
 * @param {string} path
 */
async function remember(sandbox, path) {
  const known = await readKnown(sandbox);
  known.add(identity(path));
  await writeFile(`${knownPath(sandbox)}.new`, [...known].join('\n'));
  await rename(`${knownPath(sandbox)}.new`, knownPath(sandbox));
}

/**
 * @param {string} path
 * @param {string[]} args
 */
async function problemOfRunning(path, args) {
  await promisify(execFile)(path, args);
  return undefined;
}

/** @param {unknown} error */
function describe(error) {
  const { message, stderr } = /** @type {{ message?: string, stderr?: string }} */ (error);
  return (stderr?.trim() || message || String(error)).split('\n').slice(-6).join('\n');
}
