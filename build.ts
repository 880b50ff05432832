/**
 * Makes `dist/`: one ES module for each handler in `functions/`, the command line, the chunks they share, and
 * `autocert.zip`, which is what Function Compute runs.
 *
 * The zip is the same bytes for the same sources and lock file, on any machine and any Node: entries are sorted, have one
 * fixed date, and are compressed by fflate, which does not depend on the zlib inside Node.
 */
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { argv } from 'node:process';
import { fileURLToPath } from 'node:url';
import { build as bundle, formatMessages, type Metafile, type Plugin } from 'esbuild';
import { type Zippable, zipSync } from 'fflate';

const ROOT = import.meta.dirname;
const CLI_SOURCE = 'src/cli/main.ts';
const CLI = 'cli.mjs';
const ZIP = 'autocert.zip';
/** Files that go into the zip beside the code. */
const NOTICES = ['LICENSE', 'THIRD-PARTY-LICENSES'];
/** What `autocert deploy` gives to ROS, beside the command line. */
const TEMPLATE = 'template.yml';
/** The function that Function Compute calls. */
const HANDLER = /^export (?:async function|function|const) handler\b/m;
const UNFINISHED = /\.unfinished$/;

/**
 * What CommonJS code inside an ES module expects to find. The names that Node gives to CommonJS modules are missing in
 * ES modules, and esbuild turns `require('node:fs')` into a call of the `require` in scope.
 */
const COMMONJS_BANNER = [
  "import { createRequire as autocertCreateRequire } from 'node:module';",
  "import { dirname as autocertDirname } from 'node:path';",
  "import { fileURLToPath as autocertFileURLToPath } from 'node:url';",
  'const require = autocertCreateRequire(import.meta.url);',
  'const __filename = autocertFileURLToPath(import.meta.url);',
  'const __dirname = autocertDirname(__filename);',
].join('\n');

/**
 * Packages that a dependency requires only when it is told to use them, and that are not installed: `urllib` (of
 * `ali-oss`) requires `proxy-agent` when proxying is enabled in its options; the debug packages try `supports-color`.
 */
const NEVER_LOADED = ['proxy-agent', 'supports-color'];

/**
 * The `debug` package inside the SDKs prints request bodies, private keys among them, when somebody sets DEBUG. In the
 * bundle it says nothing.
 */
const SILENT_DEBUG: Plugin = {
  name: 'silent-debug',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^debug$/ }, () => ({ path: 'debug', namespace: 'silent' }));
    onLoad({ filter: /.*/, namespace: 'silent' }, () => ({
      contents:
        'const silent = () => Object.assign(() => {}, { enabled: false });\nmodule.exports = Object.assign(silent, { debug: silent });',
    }));
  },
};

export interface Built {
  /** Paths below the output folder, sorted. */
  readonly files: readonly string[];
  /** Paths below the output folder that are in the zip, sorted. */
  readonly zipped: readonly string[];
}

/** Builds the entries of `root` into `outputFolder` (both absolute), and removes what an earlier build left there. */
export async function build(root: string = ROOT, outputFolder: string = join(root, 'dist')): Promise<Built> {
  const entries = await findEntries(root);
  const result = await bundle({
    absWorkingDir: root,
    entryPoints: entries,
    outdir: outputFolder,
    entryNames: '[name]',
    chunkNames: 'chunks/[name]-[hash]',
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    external: NEVER_LOADED,
    plugins: [SILENT_DEBUG],
    banner: { js: COMMONJS_BANNER },
    legalComments: 'none',
    write: false,
    metafile: true,
    logLevel: 'silent',
  });
  if (result.warnings.length > 0) {
    throw new Error((await formatMessages(result.warnings, { kind: 'warning' })).join('\n'));
  }

  const files = new Map<string, Uint8Array>();
  for (const output of result.outputFiles) files.set(relative(outputFolder, output.path), output.contents);
  files.set('LICENSE', await readFile(join(root, 'LICENSE')));
  files.set('THIRD-PARTY-LICENSES', Buffer.from(await thirdPartyLicenses(root, result.metafile)));
  if (existsSync(join(root, TEMPLATE))) files.set(TEMPLATE, await readFile(join(root, TEMPLATE)));

  const prefix = `${relative(root, outputFolder)}/`;
  const functions = entries.map(({ out }) => `${out}.mjs`).filter((file) => file !== CLI);
  const zipped = [...reachable(result.metafile, prefix, functions), ...NOTICES].sort();
  files.set(ZIP, pack(zipped, files));

  for (const [file, contents] of files) await replace(join(outputFolder, file), contents);
  if (files.has(CLI)) await chmod(join(outputFolder, CLI), 0o755);
  await removeOthers(outputFolder, new Set(files.keys()));
  return { files: [...files.keys()].sort(), zipped };
}

async function findEntries(root: string): Promise<{ in: string; out: string }[]> {
  const entries: { in: string; out: string }[] = [];
  for (const file of (await readdir(join(root, 'functions'))).sort()) {
    const source = join('functions', file);
    // The other files of the folder are what the handlers share.
    const hasHandler = file.endsWith('.ts') && HANDLER.test(await readFile(join(root, source), 'utf8'));
    if (hasHandler) entries.push({ in: source, out: file.slice(0, -'.ts'.length) });
  }
  if (existsSync(join(root, CLI_SOURCE))) entries.push({ in: CLI_SOURCE, out: 'cli' });
  if (entries.length === 0) throw new Error('there is nothing to build: no file of functions/ exports a handler');
  return entries;
}

/** The entries and every chunk that they import, now or later. */
function reachable(metafile: Metafile, prefix: string, entries: readonly string[]): Set<string> {
  const found = new Set<string>();
  const open = [...entries];
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (found.has(file)) continue;
    found.add(file);
    for (const { path, external } of metafile.outputs[prefix + file]?.imports ?? []) {
      if (!external) open.push(path.slice(prefix.length));
    }
  }
  return found;
}

function pack(names: readonly string[], files: ReadonlyMap<string, Uint8Array>): Uint8Array {
  const zippable: Zippable = {};
  for (const name of names) {
    const contents = files.get(name);
    if (contents === undefined) throw new Error(`the bundle imports ${name}, which was not built`);
    zippable[name] = [
      contents,
      // A zip holds local time: this is midnight in every zone. System 3 is Unix; the attributes are a file's, rw-r--r--.
      { level: 9, mtime: new Date(1980, 0, 1), os: 3, attrs: 0o100644 << 16 },
    ];
  }
  return zipSync(zippable);
}

/** Notices of every package of which something is in the bundle, sorted by name and version. */
async function thirdPartyLicenses(root: string, metafile: Metafile): Promise<string> {
  const folders = new Set<string>();
  for (const input of Object.keys(metafile.inputs)) {
    const match = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input);
    if (match !== null) folders.add(match[0]);
  }
  const notices = new Map<string, string>();
  for (const folder of folders) {
    const manifest: Manifest = JSON.parse(await readFile(join(root, folder, 'package.json'), 'utf8'));
    const texts: string[] = [];
    for (const file of (await readdir(join(root, folder))).sort()) {
      if (!/^(licen[cs]e|copying|notice)/i.test(file)) continue;
      texts.push((await readFile(join(root, folder, file), 'utf8')).replaceAll('\r\n', '\n').trim());
    }
    const title = `${manifest.name} ${manifest.version} (${licenseName(manifest)})`;
    notices.set(title, [title, ...texts].join('\n\n'));
  }
  const sorted = [...notices.keys()].sort().map((title) => notices.get(title));
  return `${sorted.join(`\n\n${'-'.repeat(80)}\n\n`)}\n`;
}

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license?: string | { readonly type: string };
  /** The form before npm 2, which old packages still have. */
  readonly licenses?: readonly { readonly type: string }[];
}

function licenseName({ license, licenses }: Manifest): string {
  if (typeof license === 'string') return license;
  return license?.type ?? licenses?.map(({ type }) => type).join(' OR ') ?? 'see below';
}

/** Never a moment with half a file, so that a build can run while something else runs the bundle. */
async function replace(path: string, contents: Uint8Array): Promise<void> {
  const present = await readFile(path).catch(() => undefined);
  if (present?.equals(contents)) return;
  await mkdir(dirname(path), { recursive: true });
  const unfinished = `${path}.${randomUUID()}.unfinished`;
  await writeFile(unfinished, contents);
  await rename(unfinished, path);
}

async function removeOthers(folder: string, wanted: ReadonlySet<string>): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const ofAnotherBuild = UNFINISHED.test(entry.name);
    if (entry.isFile() && !ofAnotherBuild && !wanted.has(relative(folder, path))) await rm(path, { force: true });
  }
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  const { files } = await build();
  const { size } = await stat(join(ROOT, 'dist', ZIP));
  process.stdout.write(`dist/${ZIP}: ${Math.round(size / 1000)} kB; ${files.length - 1} other files in dist/\n`);
}
