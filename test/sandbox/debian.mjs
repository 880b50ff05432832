/**
 * Programs out of Debian's packages, unpacked into a folder: nothing is installed, no root is needed, and the machine's
 * package lists are not touched. The mirror, the keyring and the proxy are the machine's own.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

/**
 * @typedef {object} Source One archive that apt knows.
 * @property {string[]} uris
 * @property {string[]} suites
 * @property {string[]} components
 * @property {string | undefined} signedBy A keyring's path or an armored key with deb822's line continuations.
 */

const SOURCES_FOLDER = '/etc/apt/sources.list.d';

/**
 * Debian's own archives among the machine's sources, the likeliest first; empty on a machine that is not Debian.
 *
 * @returns {Promise<{ codename: string, sources: Source[] }>}
 */
export async function readDebianSources() {
  const release = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const codename = /^VERSION_CODENAME="?([\w-]+)"?$/m.exec(release)?.[1] ?? 'sid';
  if (!/^ID="?debian"?$/m.test(release)) return { codename, sources: [] };

  const names = await readdir(SOURCES_FOLDER).catch(() => []);
  const paths = ['/etc/apt/sources.list', ...names.sort().map((name) => join(SOURCES_FOLDER, name))];
  /** @type {Source[]} */
  const sources = [];
  for (const path of paths) {
    const text = await readFile(path, 'utf8').catch(() => '');
    if (path.endsWith('.sources')) sources.push(...parseDeb822(text));
    else if (path.endsWith('.list')) sources.push(...parseOneLine(text));
  }
  return { codename, sources: chooseDebian(sources, codename) };
}

/**
 * @param {Source[]} sources
 * @param {string} codename
 * @returns {Source[]}
 */
export function chooseDebian(sources, codename) {
  const ours = [codename, `${codename}-updates`, `${codename}-security`, 'stable', 'testing', 'sid', 'unstable'];
  return sources
    .filter(({ components, suites }) => components.includes('main') && suites.some((suite) => ours.includes(suite)))
    .sort((one, other) => Number(isMainArchive(other)) - Number(isMainArchive(one)));
}

/** @param {Source} source */
function isMainArchive({ uris }) {
  return uris.some((uri) => /\/debian\/?$/.test(uri));
}

/**
 * The form of `sources.list`, sources.list(5): `deb [option=value ...] uri suite component ...`.
 *
 * @param {string} text
 * @returns {Source[]}
 */
export function parseOneLine(text) {
  /** @type {Source[]} */
  const sources = [];
  for (const line of text.split('\n')) {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s*)?([^\s#]+)\s+([^\s#]+)([^#]*)/.exec(line);
    if (match === null) continue;
    const [, options = '', uri = '', suite = '', components = ''] = match;
    const signedBy = /(?:^|\s)signed-by=(\S+)/i.exec(options)?.[1];
    sources.push({ uris: [uri], suites: [suite], components: words(components), signedBy });
  }
  return sources;
}

/**
 * The form of `*.sources`, sources.list(5): paragraphs of `Field: value`, a value goes on in lines that begin with a space.
 *
 * @param {string} text
 * @returns {Source[]}
 */
export function parseDeb822(text) {
  const lines = text.split('\n').filter((line) => !line.startsWith('#'));
  /** @type {Source[]} */
  const sources = [];
  for (const paragraph of lines.join('\n').split(/\n[ \t]*\n/)) {
    /** @param {string} name */
    const field = (name) => new RegExp(`^${name}:((?:.*)(?:\\n[ \\t].*)*)`, 'im').exec(paragraph)?.[1]?.trim();
    if (!words(field('Types')).includes('deb') || field('Enabled')?.toLowerCase() === 'no') continue;
    sources.push({
      uris: words(field('URIs')),
      suites: words(field('Suites')),
      components: words(field('Components')),
      signedBy: field('Signed-By'),
    });
  }
  return sources;
}

/**
 * @param {string | undefined} text
 * @returns {string[]}
 */
function words(text) {
  return text?.split(/\s+/).filter((word) => word !== '') ?? [];
}

/**
 * A deb822 paragraph, which is the form that can hold every kind of `Signed-By`.
 *
 * @param {Source} source
 */
export function formatSource({ uris, suites, components, signedBy }) {
  const fields = [
    'Types: deb',
    `URIs: ${uris.join(' ')}`,
    `Suites: ${suites.join(' ')}`,
    `Components: ${components.join(' ')}`,
  ];
  // An armored key begins on the line after the field's name.
  if (signedBy !== undefined) fields.push(`Signed-By:${signedBy.includes('\n') ? '\n ' : ' '}${signedBy}`);
  return `${fields.join('\n')}\n`;
}

/** Is there what this file works with? */
export function hasApt() {
  return existsSync('/usr/bin/apt-get') && existsSync('/usr/bin/dpkg-deb');
}

/**
 * Unpacks one package into `target`, and those it needs that the machine does not have when `withDependencies`.
 *
 * @param {string} packageName
 * @param {boolean} withDependencies
 * @param {Source[]} sources Where to take it from.
 * @param {string} workFolder An empty folder for apt's own state.
 * @param {string} target
 */
export async function unpackPackage(packageName, withDependencies, sources, workFolder, target) {
  const lists = join(workFolder, 'lists');
  const cache = join(workFolder, 'cache');
  const parts = join(workFolder, 'sources.list.d');
  for (const folder of [join(lists, 'partial'), join(cache, 'archives', 'partial'), parts, target]) {
    await mkdir(folder, { recursive: true });
  }
  await writeFile(join(parts, 'debian.sources'), sources.map(formatSource).join('\n'));
  const options = [
    `Dir::Etc::sourcelist=/dev/null`,
    `Dir::Etc::sourceparts=${parts}`,
    'Dir::Etc::preferences=/dev/null',
    'Dir::Etc::preferencesparts=/dev/null',
    `Dir::State::lists=${lists}`,
    `Dir::State::extended_states=${join(workFolder, 'extended_states')}`,
    `Dir::Cache=${cache}`,
    'APT::Default-Release=',
    // Apt run by root would fetch as the user _apt, who cannot write here.
    'APT::Sandbox::User=root',
    'APT::Get::List-Cleanup=false',
    'Acquire::Languages=none',
    'Acquire::Retries=3',
    'Debug::NoLocking=1',
  ].flatMap((option) => ['-o', option]);
  const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
  const archives = join(cache, 'archives');
  /** @param {string[]} args */
  const apt = (...args) =>
    promisify(execFile)('apt-get', ['-q', ...options, ...args], { cwd: archives, env, maxBuffer: 2 ** 26 });

  await apt('update');
  if (withDependencies) await apt('install', '--yes', '--download-only', '--no-install-recommends', packageName);
  else await apt('download', packageName);
  const packages = (await readdir(archives)).filter((file) => file.endsWith('.deb'));
  if (packages.length === 0) throw new Error(`apt-get downloaded nothing for ${packageName}`);
  for (const file of packages) await promisify(execFile)('dpkg-deb', ['-x', join(archives, file), target]);
}
