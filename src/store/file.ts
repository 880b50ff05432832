import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import type { Store } from '../record.ts';
import { checkKey, storeError } from './failure.ts';

/** Begins the names of files that are being written. The comma is in no key. */
const TEMPORARY = ',writing-';
/** Milliseconds: no function of FC runs longer. What is being written since before that was left by a run that was killed. */
const LONGEST_RUN = 24 * 3_600_000;

/**
 * A folder as a Store. Files are 0600 and folders 0700; a file is written beside its place, flushed, and moved there, so
 * that a reader or a power cut sees the old object or the new one.
 */
export function createFileStore({ path }: { readonly path: string }): Store {
  const root = resolve(path);

  function place(key: string, code: 'STORE_UNREADABLE' | 'STORE_UNWRITABLE'): string {
    checkKey(key, code);
    return join(root, ...key.split('/'));
  }

  return {
    async get(key, { most } = {}) {
      try {
        const target = place(key, 'STORE_UNREADABLE');
        return await (most === undefined ? readFile(target) : readStart(target, most + 1));
      } catch (cause) {
        if (isMissing(cause)) return undefined;
        throw unreadable(join(root, key), cause);
      }
    },

    async put(key, bytes, { ifAbsent = false } = {}) {
      const target = place(key, 'STORE_UNWRITABLE');
      const temporary = join(dirname(target), `${TEMPORARY}${randomUUID()}`);
      try {
        await makeFolder(dirname(target));
        const file = await open(temporary, 'wx', 0o600);
        try {
          await file.writeFile(bytes);
          await file.sync();
        } finally {
          await file.close();
        }
        if (!ifAbsent) await rename(temporary, target);
        // Unlike rename, link fails when the name exists: of any number of writers exactly one gets it.
        else await link(temporary, target);
        await flushFolder(dirname(target));
        await removeStale(dirname(target), basename(target));
        return true;
      } catch (cause) {
        if (ifAbsent && codeOf(cause) === 'EEXIST') return false;
        throw unwritable(target, cause);
      } finally {
        await rm(temporary, { force: true }).catch(() => undefined);
      }
    },

    async delete(key) {
      try {
        await rm(place(key, 'STORE_UNWRITABLE'), { force: true });
      } catch (cause) {
        throw unwritable(join(root, key), cause);
      }
    },

    async list(prefix) {
      // Only the deepest folder that the prefix names is read, not the whole store.
      const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1);
      try {
        const entries = await readdir(join(root, folder), { recursive: true, withFileTypes: true });
        return entries
          .filter((entry) => entry.isFile() && !entry.name.startsWith(TEMPORARY))
          .map((entry) =>
            join(entry.parentPath, entry.name)
              .slice(root.length + 1)
              .split(sep)
              .join('/'),
          )
          .filter((key) => key.startsWith(prefix))
          .sort();
      } catch (cause) {
        if (isMissing(cause)) return [];
        throw unreadable(join(root, prefix), cause);
      }
    },
  };
}

/** The first `length` bytes, or all of a file that has fewer. */
async function readStart(path: string, length: number): Promise<Uint8Array> {
  const file = await open(path, 'r');
  try {
    const bytes = Buffer.alloc(length);
    let filled = 0;
    for (let read = -1; read !== 0 && filled < length; filled += read) {
      ({ bytesRead: read } = await file.read(bytes, filled, length - filled));
    }
    return bytes.subarray(0, filled);
  } finally {
    await file.close();
  }
}

/**
 * Makes the folder and those above it, 0700. Not by `recursive: true`: that never returns where a file system answers
 * ENOENT for a folder whose parent exists, as /proc does.
 */
async function makeFolder(path: string): Promise<void> {
  const make = () =>
    mkdir(path, { mode: 0o700 }).catch((cause: unknown) => {
      if (codeOf(cause) !== 'EEXIST') throw cause;
    });
  try {
    await make();
  } catch (cause) {
    if (!isMissing(cause) || dirname(path) === path) throw cause;
    await makeFolder(dirname(path));
    await make();
  }
}

/** A name is on the disk only when its folder is: without this a power cut may take back what was saved. */
async function flushFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/**
 * Removes what killed runs left half written in the folder. How old it is the file system's own clock tells, by a file that
 * was written just now: a network disk has another one than this machine. That it fails harms nobody.
 */
async function removeStale(folder: string, writtenNow: string): Promise<void> {
  const left = (await readdir(folder).catch(() => [])).filter((name) => name.startsWith(TEMPORARY));
  if (left.length === 0) return;
  const age = async (name: string) => (await stat(join(folder, name))).mtimeMs;
  await Promise.allSettled(
    left.map(async (name) => {
      if ((await age(writtenNow)) - (await age(name)) > LONGEST_RUN) await rm(join(folder, name), { force: true });
    }),
  );
}

/** ENOTDIR is another thing: a file stands where the store's folder should be. */
function isMissing(cause: unknown): boolean {
  return codeOf(cause) === 'ENOENT';
}

function codeOf(cause: unknown): string {
  return cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown';
}

function unreadable(path: string, cause: unknown): Error {
  const remedy = `Make ${path} readable for the user that runs this, or correct \`store\`.`;
  return storeError({ code: 'STORE_UNREADABLE', message: `${path} cannot be read (${codeOf(cause)})`, remedy, cause });
}

function unwritable(path: string, cause: unknown): Error {
  const remedy = `Make ${path} writable for the user that runs this, free space on its disk, or correct \`store\`.`;
  return storeError({
    code: 'STORE_UNWRITABLE',
    message: `${path} cannot be written (${codeOf(cause)})`,
    remedy,
    cause,
  });
}
