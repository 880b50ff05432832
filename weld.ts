/**
 * Splitting gives a chunk to each set of modules that the same entries and `import()`s share: twenty small files at the
 * start of a function, where one is quicker. This makes a few files of them again, and leaves apart what is loaded later.
 */
import { dirname, posix } from 'node:path';
import { type BuildOptions, build as bundle, type Metafile, type Plugin } from 'esbuild';

/** Code by its path below the output folder. */
export interface Bundled {
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** For each file the sources of which something is in it, as paths below the root. */
  readonly sources: ReadonlyMap<string, readonly string[]>;
}

export interface Split extends Bundled {
  readonly outputs: ReadonlyMap<string, Output>;
}

/** What a file gives to others, and the files that it takes at once and later, as paths below the output folder. */
export interface Output {
  readonly exports: readonly string[];
  readonly imports: readonly string[];
  readonly importsLater: readonly string[];
  /** The source that it was made for, as a path below the root; none of a chunk that several share. */
  readonly entryPoint: string | undefined;
}

/** One file of the parts that `entries` and what they import at once are made of, except those of earlier welds. */
export interface Weld {
  readonly file: string;
  /** Sources, as paths below the root. */
  readonly entries: readonly string[];
}

/** What esbuild made, each path relative to the output folder, which itself is `prefix` below the root. */
export function outputsOf({ outputs }: Metafile, prefix: string): Pick<Split, 'outputs' | 'sources'> {
  const named = Object.entries(outputs).map(([path, output]) => ({ file: path.slice(prefix.length), output }));
  return {
    outputs: new Map(
      named.map(({ file, output: { exports, imports, entryPoint } }) => {
        const ofKind = (wanted: string) =>
          imports.flatMap(({ path, kind, external }) =>
            external || kind !== wanted ? [] : [path.slice(prefix.length)],
          );
        return [
          file,
          { exports, imports: ofKind('import-statement'), importsLater: ofKind('dynamic-import'), entryPoint },
        ];
      }),
    ),
    sources: new Map(named.map(({ file, output }) => [file, Object.keys(output.inputs).sort()])),
  };
}

/**
 * A part that others take, or that is an entry, is left as a list of names, so that each module is still there once.
 * `banner` goes in front of every file.
 */
export async function weld(
  split: Split,
  welds: readonly Weld[],
  banner: string,
  options: BuildOptions,
): Promise<Bundled> {
  const { outputs } = split;
  /** Each part's weld. */
  const homes = new Map<string, string>();
  for (const { file, entries } of welds) {
    const roots = [...outputs].flatMap(([part, { entryPoint = '' }]) => (entries.includes(entryPoint) ? [part] : []));
    for (const part of closure(outputs, roots)) if (!homes.has(part)) homes.set(part, file);
  }
  const named = partsTakenElsewhere(outputs, homes);
  const lists = new Map(
    named.map((part, nth) => {
      const names = (outputs.get(part)?.exports ?? []).map((name) => ({ name, alias: `part${nth}_${name}` }));
      return [part, names];
    }),
  );

  const files = new Map<string, Uint8Array>();
  const sources = new Map<string, readonly string[]>();
  for (const { file } of welds) {
    const parts = [...homes.keys()].filter((part) => homes.get(part) === file);
    if (parts.length === 0) continue;
    files.set(file, await weldOne(file, { split, homes, lists, banner, options }));
    sources.set(file, [...new Set(parts.flatMap((part) => split.sources.get(part) ?? []))].sort());
  }
  for (const [part, contents] of split.files) {
    const home = homes.get(part);
    if (home === undefined) {
      files.set(part, Buffer.concat([Buffer.from(`${banner}\n`), contents]));
      sources.set(part, split.sources.get(part) ?? []);
    } else if (lists.has(part)) files.set(part, Buffer.from(listOf(part, home, lists)));
  }
  return { files, sources };
}

/** For each part that is left as a list of names: its names, and what they are called in its weld. */
type Lists = ReadonlyMap<string, readonly { readonly name: string; readonly alias: string }[]>;

interface Welding {
  readonly split: Split;
  readonly homes: ReadonlyMap<string, string>;
  readonly lists: Lists;
  readonly banner: string;
  readonly options: BuildOptions;
}

async function weldOne(file: string, welding: Welding): Promise<Uint8Array> {
  const { homes, lists, banner, options } = welding;
  const contents = [...lists].flatMap(([part, names]) => {
    if (homes.get(part) !== file) return [];
    return `export { ${names.map(({ name, alias }) => `${name} as ${alias}`).join(', ')} } from './${part}';`;
  });
  const { outputFiles } = await bundle({
    ...options,
    splitting: false,
    write: false,
    stdin: { contents: contents.join('\n'), resolveDir: '/', sourcefile: file },
    banner: { js: banner },
    plugins: [inMemory(file, welding)],
  });
  const [whole] = outputFiles;
  if (whole === undefined) throw new Error(`nothing was made of ${file}`);
  return whole.contents;
}

function listOf(part: string, home: string, lists: Lists): string {
  const names = lists.get(part)?.map(({ name, alias }) => `${alias} as ${name}`);
  return `export { ${names?.join(', ')} } from '${relativeTo(dirname(part), home)}';\n`;
}

function relativeTo(folder: string, file: string): string {
  const path = posix.relative(folder, file);
  return path.startsWith('.') ? path : `./${path}`;
}

/** The files and all that they import at once, and they in turn. */
function closure(outputs: ReadonlyMap<string, Output>, roots: readonly string[]): Set<string> {
  const found = new Set<string>();
  const open = [...roots];
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (found.has(file)) continue;
    found.add(file);
    open.push(...(outputs.get(file)?.imports ?? []));
  }
  return found;
}

/** The welded parts that somebody finds by their own path: who starts at them, who takes them later, and other welds. Sorted. */
function partsTakenElsewhere(outputs: ReadonlyMap<string, Output>, homes: ReadonlyMap<string, string>): string[] {
  const taken = new Set<string>();
  for (const [file, { imports, importsLater, entryPoint }] of outputs) {
    if (entryPoint !== undefined) taken.add(file);
    for (const part of imports) if (homes.get(part) !== homes.get(file)) taken.add(part);
    for (const part of importsLater) taken.add(part);
  }
  return [...taken].filter((part) => homes.has(part)).sort();
}

/** The parts of one weld, those of others as names that it takes from them; what is in none stays where it is. */
function inMemory(weld: string, { split, homes, lists }: Welding): Plugin {
  return {
    name: 'in-memory',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^\.{1,2}\// }, ({ path, importer, namespace, kind }) => {
        const part = posix.join(namespace === 'in-memory' ? dirname(importer) : '.', path);
        const isPart = homes.has(part) && kind !== 'dynamic-import';
        return isPart ? { path: part, namespace: 'in-memory' } : { path: `./${part}`, external: true };
      });
      onLoad({ filter: /.*/, namespace: 'in-memory' }, ({ path }) => {
        const home = homes.get(path) ?? weld;
        return { contents: home === weld ? (split.files.get(path) ?? '') : listOf(path, home, lists), loader: 'js' };
      });
    },
  };
}
