import type { Oss } from '../aliyun/oss.ts';
import { AutocertError } from '../errors.ts';
import type { Store } from '../record.ts';
import { checkKey, storeError } from './failure.ts';

/** The objects of a bucket whose keys begin with `prefix/`; the whole bucket for an empty prefix. */
export function createOssStore({ oss, prefix }: { readonly oss: Oss; readonly prefix: string }): Store {
  const folder = prefix === '' ? '' : `${prefix}/`;

  /** Keeps the cause's own remedy: it names the permission that is missing. */
  async function attempt<T>(
    code: 'STORE_UNREADABLE' | 'STORE_UNWRITABLE',
    what: string,
    operation: () => Promise<T>,
  ): Promise<T> {
    try {
      return await operation();
    } catch (error) {
      if (!(error instanceof AutocertError) || error.code === 'INTERNAL') throw error;
      const { message, remedy, retryable } = error;
      throw storeError({ code, message: `oss://${oss.bucket}/${what}: ${message}`, remedy, retryable, cause: error });
    }
  }

  return {
    get(key, options) {
      checkKey(key, 'STORE_UNREADABLE');
      return attempt('STORE_UNREADABLE', `${folder}${key} cannot be read`, () => oss.get(`${folder}${key}`, options));
    },
    put(key, bytes, { ifAbsent = false } = {}) {
      checkKey(key, 'STORE_UNWRITABLE');
      return attempt('STORE_UNWRITABLE', `${folder}${key} cannot be written`, () =>
        oss.put(`${folder}${key}`, bytes, { forbidOverwrite: ifAbsent }),
      );
    },
    delete(key) {
      checkKey(key, 'STORE_UNWRITABLE');
      return attempt('STORE_UNWRITABLE', `${folder}${key} cannot be deleted`, () => oss.delete(`${folder}${key}`));
    },
    async list(keyPrefix) {
      const keys = await attempt('STORE_UNREADABLE', `${folder}${keyPrefix}* cannot be listed`, () =>
        oss.list(`${folder}${keyPrefix}`),
      );
      return keys.map((key) => key.slice(folder.length)).filter((key) => key !== '' && !key.endsWith('/'));
    },
  };
}
