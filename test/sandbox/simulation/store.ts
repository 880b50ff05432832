/** A store in the process, which may be out of order. */
import { AutocertError } from '../../../src/errors.ts';
import type { Store } from '../../../src/record.ts';

/** @param isDown Asked before each operation. */
export function createSimulatedStore(isDown: () => boolean): Store {
  const objects = new Map<string, Uint8Array>();

  function mustBeUp(code: 'STORE_UNREADABLE' | 'STORE_UNWRITABLE'): void {
    if (isDown()) throw new AutocertError({ code, message: 'The store is away.', retryable: true, remedy: 'Wait.' });
  }

  return {
    async get(key) {
      mustBeUp('STORE_UNREADABLE');
      return objects.get(key);
    },
    async put(key, bytes, { ifAbsent = false } = {}) {
      mustBeUp('STORE_UNWRITABLE');
      if (ifAbsent && objects.has(key)) return false;
      objects.set(key, bytes);
      return true;
    },
    async delete(key) {
      mustBeUp('STORE_UNWRITABLE');
      objects.delete(key);
    },
    async list(prefix) {
      mustBeUp('STORE_UNREADABLE');
      return [...objects.keys()].filter((key) => key.startsWith(prefix)).sort();
    },
  };
}
