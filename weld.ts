/**
 * Splitting gives a chunk to each set of modules that the same entries and `import()`s share: twenty small files at the
 * start of a function, where one is quicker. This makes one of them again, and leaves apart what is loaded later.
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
}

/** What esbuild made, each path relative to the output folder, which itself is `prefix` below the root. */
export function outputsOf({ outputs }: Metafile, prefix: string): Pick<Split, 'outputs' | 'sources'> {
  const named = Object.entries(outputs).map(([path, output]) => ({ file: path.slice(prefix.length), output }));
  return {
    outputs: new Map(
      named.map(({ file, output: { exports, imports } }) => [
        file,
        {
          exports,
          imports: imports.flatMap(({ path, kind, external }) =>
            external || kind !== 'import-statement' ? [] : [path.slice(prefix.length)],
          ),
        },
      ]),
    ),
    sources: new Map(named.map(({ file, output }) => [file, Object.keys(output.inputs).sort()])),
  };
}

/**
 * One file of `entry` and all that it imports at once. A chunk that what is loaded later shares with it is left as a list
 * of names, so that each module is still there once. `banner` goes in front of every file.
 */
export async function weld(
  { files, sources, outputs }: Split,
  entry: string,
  banner: string,
  options: BuildOptions,
): Promise<Bundled> {
  const welded = [...closure(outputs, entry)].sort();
  const later = [...files.keys()].filter((file) => !welded.includes(file));
  const takenLater = new Set(later.flatMap((file) => outputs.get(file)?.imports ?? []));
  const shared = welded.filter((file) => takenLater.has(file));
  const aliases = shared.map((file, nth) =>
    (outputs.get(file)?.exports ?? []).map((name) => ({ name, alias: `part${nth}_${name}` })),
  );
  const contents = [
    `export * from './${entry}';`,
    ...shared.map((file, nth) => {
      const names = aliases[nth]?.map(({ name, alias }) => `${name} as ${alias}`);
      return `export { ${names?.join(', ')} } from './${file}';`;
    }),
  ].join('\n');
  const {
    outputFiles: [whole],
  } = await bundle({
    ...options,
    splitting: false,
    write: false,
    stdin: { contents, resolveDir: '/', sourcefile: entry },
    banner: { js: banner },
    plugins: [inMemory(files, new Set(welded))],
  });
  if (whole === undefined) throw new Error(`nothing was made of ${entry}`);
  return {
    files: new Map([
      [entry, whole.contents],
      ...later.map((file): [string, Uint8Array] => [
        file,
        Buffer.concat([Buffer.from(`${banner}\n`), files.get(file) ?? Buffer.alloc(0)]),
      ]),
      ...shared.map((file, nth): [string, Uint8Array] => {
        const names = aliases[nth]?.map(({ name, alias }) => `${alias} as ${name}`);
        const from = posix.relative(dirname(file), entry);
        return [file, Buffer.from(`export { ${names?.join(', ')} } from '${from}';\n`)];
      }),
    ]),
    sources: new Map([
      [entry, [...new Set(welded.flatMap((file) => sources.get(file) ?? []))].sort()],
      ...later.map((file): [string, readonly string[]] => [file, sources.get(file) ?? []]),
    ]),
  };
}

/** The file and all that it imports at once, and they in turn. */
function closure(outputs: ReadonlyMap<string, Output>, entry: string): Set<string> {
  const found = new Set<string>();
  const open = [entry];
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (found.has(file)) continue;
    found.add(file);
    open.push(...(outputs.get(file)?.imports ?? []));
  }
  return found;
}

/** The files as they would be in the output folder; what is not of `welded` stays where it is. */
function inMemory(files: ReadonlyMap<string, Uint8Array>, welded: ReadonlySet<string>): Plugin {
  return {
    name: 'in-memory',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^\.{1,2}\// }, ({ path, importer, namespace }) => {
        const file = posix.join(namespace === 'in-memory' ? dirname(importer) : '.', path);
        return welded.has(file) ? { path: file, namespace: 'in-memory' } : { path: `./${file}`, external: true };
      });
      onLoad({ filter: /.*/, namespace: 'in-memory' }, ({ path }) => ({
        contents: files.get(path) ?? '',
        loader: 'js',
      }));
    },
  };
}
