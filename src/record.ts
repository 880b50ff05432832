/** Where bytes are kept between runs. Two implementations: a folder and an OSS bucket; `encrypted` wraps either. */
export interface Store {
  /** The object's bytes, or undefined when it certainly does not exist. Throws STORE_UNREADABLE when that is not known. */
  get(key: string): Promise<Uint8Array | undefined>;
  /**
   * Writes the whole object; a reader never sees half of it. With `ifAbsent` an object that exists stays as it is and
   * the answer is false. Throws STORE_UNWRITABLE.
   */
  put(key: string, bytes: Uint8Array, options?: { readonly ifAbsent?: boolean }): Promise<boolean>;
  /** Deletes the object; one that does not exist is no error. Throws STORE_UNWRITABLE. */
  delete(key: string): Promise<void>;
  /** The keys that begin with `prefix`, sorted. Throws STORE_UNREADABLE. */
  list(prefix: string): Promise<string[]>;
}
