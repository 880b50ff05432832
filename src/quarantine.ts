import type { Deps } from './deps.ts';
import type { AutocertError } from './errors.ts';
import type { Store } from './record.ts';

/** An object that could not be used, and where it is now. */
export interface SetAside {
  readonly key: string;
  readonly to: string;
  readonly reason: string;
}

/** Where damaged objects go that can be made anew: they are never overwritten, and never lost. */
export interface Quarantine {
  /** What was set aside in this run. */
  readonly objects: readonly SetAside[];
  /** Moves the object's bytes, as they are, to `corrupt/<time>/<key>`. Throws STORE_UNREADABLE, STORE_UNWRITABLE. */
  setAside(key: string, error: AutocertError): Promise<void>;
  /** What a worker of this run has set aside. */
  adopt(objects: readonly SetAside[]): void;
}

export function createQuarantine(store: Store, deps: Pick<Deps, 'now' | 'log'>): Quarantine {
  const objects: SetAside[] = [];
  // An encrypted store gives nothing of an object that it cannot open.
  const { beneath: bytesOf = store } = store;
  return {
    objects,
    async setAside(key, error) {
      const bytes = await bytesOf.get(key);
      if (bytes === undefined) return;
      const to = `corrupt/${deps
        .now()
        .toISOString()
        .replaceAll(/[-:]|\.\d+/g, '')}/${key}`;
      await bytesOf.put(to, bytes);
      await bytesOf.delete(key);
      objects.push({ key, to, reason: error.message });
      deps.log.error('set_aside', { key, to, error });
    },
    adopt(theirs) {
      objects.push(...theirs);
    },
  };
}
