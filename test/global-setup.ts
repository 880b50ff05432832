import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TestProject } from 'vitest/node';
import { build } from '../build.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Why `dist/` could not be built; undefined when it is there and as new as the sources. */
    buildFailure: string | undefined;
  }
}

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const SOURCES = ['functions', 'src', 'build.ts', 'weld.ts', 'package-lock.json', 'LICENSE', 'template.yml'];

/** Tests of the bundle run what a deployment would: `dist/` is built once for the run, when a source is newer. */
export async function setup(project: TestProject): Promise<void> {
  project.provide('buildFailure', await buildFailure());
}

async function buildFailure(): Promise<string | undefined> {
  try {
    const changed = Math.max(...(await Promise.all(SOURCES.map((source) => lastChange(join(ROOT, source))))));
    const built = await stat(join(ROOT, 'dist', 'autocert.zip')).catch(() => undefined);
    if (built === undefined || built.mtimeMs <= changed) await build();
    return undefined;
  } catch (error) {
    return String(error);
  }
}

/** The newest modification below `path`, folders included: those tell of files that went. */
async function lastChange(path: string): Promise<number> {
  const { mtimeMs } = await stat(path);
  const names = await readdir(path).catch(() => []);
  return Math.max(mtimeMs, ...(await Promise.all(names.map((name) => lastChange(join(path, name))))));
}
