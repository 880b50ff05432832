/**
 * Makes `dist/`: the handlers of `functions/`, the command line, the chunks that each loads when it needs them, and
 * `autocert.zip`, which is what Function Compute runs.
 *
 * What `renew` loads at its start is one file, `start.mjs`: what its first request to the cloud needs. The rest of what
 * every run needs is another, `functions.mjs`, which it loads while the cloud answers. In front of them is a line for each
 * handler. Every further file would cost a start a millisecond, and each ten kilobytes another, so the code is without
 * white space too. Names stay as they are written, for stack traces.
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
import { type BuildOptions, build as bundle, formatMessages, type Plugin } from 'esbuild';
import { type Zippable, zipSync } from 'fflate';
import { type Bundled, outputsOf, type Split, weld } from './weld.ts';

const ROOT = import.meta.dirname;
const CLI_SOURCE = 'src/cli/main.ts';
const CLI = 'cli.mjs';
/**
 * The handler that the timer calls, and what it loads by `import()` in every run: once it has asked for the account's
 * domains, or to read its configuration.
 */
const STARTS = 'renew.ts';
const FLOW = ['src/aliyun/oss.ts', 'src/connect.ts', 'src/reconcile.ts'];
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

interface Replacement {
  readonly name: string;
  /** The package in which it is replaced. Default: all. */
  readonly within?: string;
  /** CommonJS. */
  readonly contents: string;
}

/** Packages inside the SDKs in whose place there is something smaller. */
const REPLACED: readonly Replacement[] = [
  {
    // It prints request bodies, private keys among them, when somebody sets DEBUG. In the bundle it says nothing.
    name: 'debug',
    contents: `const silent = () => Object.assign(() => {}, { enabled: false });
      module.exports = Object.assign(silent, { debug: silent });`,
  },
  {
    // pop-core's JSON parser gives a number of more than 15 digits to it, and what is wanted of that is the digits alone.
    name: 'bignumber.js',
    contents:
      'module.exports = class { constructor(digits) { this.digits = digits; } toFixed() { return this.digits; } };',
  },
  {
    // Answers are hardly ever compressed, and Node takes a millisecond to load what unpacks them.
    name: 'zlib',
    within: 'httpx',
    contents: `exports.createGunzip = () => require('node:zlib').createGunzip();
      exports.createInflate = () => require('node:zlib').createInflate();`,
  },
  {
    // Another millisecond, for five conditions that ours keep.
    name: 'assert',
    within: '@alicloud/pop-core',
    contents: 'module.exports = (value, message) => { if (!value) throw new Error(message); };',
  },
  {
    // acme-client's own HTTP, which nobody calls: ours is in src/acme. A run with work to do would begin 90 ms later by it.
    name: 'axios',
    within: 'acme-client',
    contents: `const unused = { use() {} };
      exports.create = () => ({
        defaults: { headers: { common: {} } },
        interceptors: { request: unused, response: unused },
      });`,
  },
  {
    // Half a megabyte of tables, for answers that are not in UTF-8; `urllib` has no other use for it, and Node knows them too.
    name: 'iconv-lite',
    contents: 'exports.decode = (bytes, charset) => new TextDecoder(charset).decode(bytes);',
  },
];

const REPLACE: Plugin = {
  name: 'replace',
  setup({ onResolve, onLoad }) {
    for (const { name, within, contents } of REPLACED) {
      const namespace = `replaced ${name}`;
      onResolve({ filter: new RegExp(`^${name}$`) }, ({ path, importer }) =>
        within === undefined || importer.includes(`/node_modules/${within}/`) ? { path, namespace } : undefined,
      );
      onLoad({ filter: /.*/, namespace }, () => ({ contents }));
    }
  },
};

const OPTIONS = {
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  outExtension: { '.js': '.mjs' },
  external: NEVER_LOADED,
  minifySyntax: true,
  minifyWhitespace: true,
  // So that a stack trace names a line that can be read.
  lineLimit: 120,
  legalComments: 'none',
  logLevel: 'silent',
} as const satisfies BuildOptions;
/** The result is not written, and comes with what is in it. */
const MEMORY = { write: false, metafile: true } as const;

export interface Built {
  /** Paths below the output folder, sorted. */
  readonly files: readonly string[];
  /** Paths below the output folder that are in the zip, sorted. */
  readonly zipped: readonly string[];
  /** For each file of code the sources of which something is in it, as paths below the root. */
  readonly sources: ReadonlyMap<string, readonly string[]>;
}

/** Builds the handlers and the command line of `root` into `outputFolder` (both absolute), and removes what an earlier build left there. */
export async function build(root: string = ROOT, outputFolder: string = join(root, 'dist')): Promise<Built> {
  const handlers = await findHandlers(root);
  const functions = await bundleFunctions(root, outputFolder, handlers);
  const cli = existsSync(join(root, CLI_SOURCE)) ? await bundleCli(root, outputFolder) : undefined;

  const files = new Map<string, Uint8Array>([...functions.files, ...(cli?.files ?? [])]);
  files.set('LICENSE', await readFile(join(root, 'LICENSE')));
  const sources = new Map([...functions.sources, ...(cli?.sources ?? [])]);
  files.set('THIRD-PARTY-LICENSES', Buffer.from(await thirdPartyLicenses(root, [...sources.values()].flat())));
  if (existsSync(join(root, TEMPLATE))) files.set(TEMPLATE, await readFile(join(root, TEMPLATE)));
  const zipped = [...functions.files.keys(), ...NOTICES].sort();
  files.set(ZIP, pack(zipped, files));

  for (const [file, contents] of files) await replace(join(outputFolder, file), contents);
  if (files.has(CLI)) await chmod(join(outputFolder, CLI), 0o755);
  await removeOthers(outputFolder, new Set(files.keys()));
  return { files: [...files.keys()].sort(), zipped, sources };
}

async function bundleFunctions(root: string, outputFolder: string, handlers: readonly string[]): Promise<Bundled> {
  const entry = (handler: string) => `functions/${handler}`;
  const split = await run(root, outputFolder, {
    entryPoints: handlers.map(entry),
    entryNames: '[name]',
    chunkNames: 'chunks/[name]-[hash]',
  });
  const others = handlers.filter((handler) => handler !== STARTS);
  const welds = [
    { file: 'start.mjs', entries: [entry(STARTS)] },
    { file: 'functions.mjs', entries: [...others.map(entry), ...FLOW] },
  ];
  return weld(split, welds, COMMONJS_BANNER, OPTIONS);
}

function bundleCli(root: string, outputFolder: string): Promise<Bundled> {
  return run(root, outputFolder, {
    entryPoints: [{ in: CLI_SOURCE, out: 'cli' }],
    entryNames: '[name]',
    chunkNames: 'chunks/cli/[name]-[hash]',
    banner: { js: COMMONJS_BANNER },
  });
}

async function run(root: string, outputFolder: string, options: BuildOptions): Promise<Split> {
  const { outputFiles, warnings, metafile } = await bundle({
    ...OPTIONS,
    absWorkingDir: root,
    outdir: outputFolder,
    plugins: [REPLACE],
    ...options,
    ...MEMORY,
  });
  if (warnings.length > 0) throw new Error((await formatMessages(warnings, { kind: 'warning' })).join('\n'));
  const files = new Map(outputFiles.map(({ path, contents }) => [relative(outputFolder, path), contents]));
  return { files, ...outputsOf(metafile, `${relative(root, outputFolder)}/`) };
}

/** Files of `functions/`, sorted. The others of the folder are what the handlers share. */
async function findHandlers(root: string): Promise<string[]> {
  const handlers: string[] = [];
  for (const file of (await readdir(join(root, 'functions'))).sort()) {
    const isSource = file.endsWith('.ts');
    if (isSource && HANDLER.test(await readFile(join(root, 'functions', file), 'utf8'))) handlers.push(file);
  }
  if (handlers.length === 0) throw new Error('there is nothing to build: no file of functions/ exports a handler');
  return handlers;
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
async function thirdPartyLicenses(root: string, sources: readonly string[]): Promise<string> {
  const folders = new Set<string>();
  for (const input of sources) {
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
