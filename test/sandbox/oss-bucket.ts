import { createHash, randomBytes } from 'node:crypto';

export interface BucketOptions {
  acl?: 'private' | 'public-read';
  /** With `Enabled` or `Suspended`, `x-oss-forbid-overwrite` has no effect. */
  versioning?: 'Enabled' | 'Suspended';
  objects?: Readonly<Record<string, string | Buffer>>;
}

export interface StoredObject {
  readonly body: Buffer;
  /** With the quotation marks. */
  readonly etag: string;
  readonly lastModified: Date;
  /** `Content-Type`, `x-oss-meta-*`, `x-oss-server-side-encryption*`: given back with the object. */
  readonly headers: Readonly<Record<string, string>>;
}

/** An object as it was at one time, or the mark that it was deleted. */
export interface Version {
  readonly versionId: string;
  readonly object: StoredObject | undefined;
}

export interface Listing {
  readonly keys: readonly string[];
  readonly prefixes: readonly string[];
  /** The last key or prefix given when there is more. */
  readonly next: string | undefined;
}

/** Objects of one bucket, strongly consistent. Versions of a key are kept oldest first. */
export class Bucket {
  readonly name: string;
  readonly createdAt: Date;
  acl: 'private' | 'public-read';
  versioning: 'Enabled' | 'Suspended' | undefined;
  readonly #versions = new Map<string, Version[]>();

  constructor(name: string, options: BucketOptions, now: Date) {
    this.name = name;
    this.createdAt = now;
    this.acl = options.acl ?? 'private';
    this.versioning = options.versioning;
    for (const [key, body] of Object.entries(options.objects ?? {})) this.put(key, Buffer.from(body), {}, now);
  }

  put(key: string, body: Buffer, headers: Readonly<Record<string, string>>, now: Date): Version {
    const md5 = createHash('md5').update(body).digest('hex').toUpperCase();
    return this.#add(key, { body, etag: `"${md5}"`, lastModified: now, headers });
  }

  /** Without versioning the object is gone; with it, a delete marker is its latest version. */
  delete(key: string): Version | undefined {
    if (this.versioning === undefined) {
      this.#versions.delete(key);
      return undefined;
    }
    return this.#add(key, undefined);
  }

  deleteVersion(key: string, versionId: string): void {
    const left = this.versions(key).filter((version) => version.versionId !== versionId);
    if (left.length > 0) this.#versions.set(key, left);
    else this.#versions.delete(key);
  }

  latest(key: string): Version | undefined {
    return this.versions(key).at(-1);
  }

  versions(key: string): Version[] {
    return [...(this.#versions.get(key) ?? [])];
  }

  /** Keys that have an object now, in the order of their UTF-8 bytes. */
  keys(): string[] {
    return this.allKeys().filter((key) => this.latest(key)?.object !== undefined);
  }

  allKeys(): string[] {
    return [...this.#versions.keys()].toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  }

  /** Up to `maximum` keys and common prefixes after `after`. */
  list(options: { prefix: string; delimiter: string; after: string; maximum: number }): Listing {
    const { prefix, delimiter, after, maximum } = options;
    const keys: string[] = [];
    const prefixes: string[] = [];
    let last: string | undefined;
    for (const key of this.keys()) {
      if (!key.startsWith(prefix)) continue;
      const end = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
      const entry = end === -1 ? key : key.slice(0, end + delimiter.length);
      if (Buffer.compare(Buffer.from(entry), Buffer.from(after)) <= 0 || entry === prefixes.at(-1)) continue;
      if (keys.length + prefixes.length === maximum) return { keys, prefixes, next: last };
      (end === -1 ? keys : prefixes).push(entry);
      last = entry;
    }
    return { keys, prefixes, next: undefined };
  }

  #add(key: string, object: StoredObject | undefined): Version {
    // All writes of a suspended bucket are the version "null", as is what was there before versioning.
    const versionId = this.versioning === 'Enabled' ? randomBytes(24).toString('hex') : 'null';
    const version: Version = { versionId, object };
    const kept = this.versions(key).filter((other) => other.versionId !== versionId);
    this.#versions.set(key, [...kept, version]);
    return version;
  }
}
