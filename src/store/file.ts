import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve, sep } from 'node:path';
import type { Store } from '../record.ts';
import { checkKey, storeError } from './failure.ts';

/** Begins the names of files that are being written. The comma is in no key. */
const TEMPORARY = ',writing-';

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
    async get(key) {
      try {
        return await readFile(place(key, 'STORE_UNREADABLE'));
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
