import { digest } from '../record.ts';

/** Files of the inbox that are one certificate: those of one name, or those in one folder. */
export interface Parcel {
  /** Of the certificate that it becomes: `_inbox.www.example.com`. */
  readonly name: string;
  /** Keys of the store that hold certificate and key, sorted; none for a mere request to remove. */
  readonly files: readonly string[];
  /** The key of the file that asks to forget the certificate of this name. */
  readonly removal: string | undefined;
  /** What it is called in reports: its first file. */
  readonly label: string;
  /** Where it is said that, and why, it was refused. */
  readonly refusalKey: string;
  /** Where it is said that it is not complete yet. */
  readonly waitingKey: string;
  /** Where it is said that it was taken, and how it is taken back. */
  readonly receiptKey: string;
}

export interface Contents {
  readonly parcels: readonly Parcel[];
  /** What this program wrote there and which belongs to no file any more. */
  readonly stale: readonly string[];
  readonly notes: readonly string[];
}

/** Also what the inbox as a whole is called in reports. */
export const INBOX = 'inbox/';
/** No name of a configured or discovered certificate begins with it. */
const PREFIX = '_inbox.';
const NOTE = /\.(?:refused|waiting|accepted)\.txt$/;
const REMOVE = /\.remove$/i;
/** As stores take keys. What has another name can be listed and not be read. */
const READABLE = /^[A-Za-z0-9!()_.*~@=+/-]{1,500}$/;

/** The name of the certificate that a key below `inbox/` belongs to; undefined for what is no certificate's file. */
export function parcelName(key: string): string | undefined {
  const path = key.slice(INBOX.length);
  const file = path.slice(path.lastIndexOf('/') + 1);
  // Text files: our own notes, and the passwords that CAs put beside a PFX.
  if (!key.startsWith(INBOX) || file === '' || /\.(?:txt|md)$/i.test(file)) return undefined;
  return PREFIX + safe(path.includes('/') ? (path.split('/')[0] ?? '') : path.replace(/(?<=.)\.[A-Za-z0-9]{1,6}$/, ''));
}

export function isParcelName(name: string): boolean {
  return name.startsWith(PREFIX);
}

/** Lower case, as names of certificates are; what that or a wildcard does not tell apart gets a number. */
function safe(stem: string): string {
  const plain = stem.toLowerCase().replace(/^\*(?=\.)/, '_');
  const kept = plain.replace(/[^a-z0-9._-]+/g, '-').slice(0, 64);
  return kept === plain && kept !== '' ? kept : `${kept}-${digest(stem).slice(0, 6)}`;
}

/** What lies below `inbox/`, put together. Pure. */
export function contentsOf(keys: readonly string[]): Contents {
  const groups = new Map<string, string[]>();
  for (const key of keys) {
    const name = parcelName(key);
    if (name !== undefined) groups.set(name, [...(groups.get(name) ?? []), key]);
  }
  const parcels = [...groups].map(([name, all]): Parcel => {
    const removal = all.find((key) => REMOVE.test(key));
    const files = all.filter((key) => !REMOVE.test(key)).sort();
    const stem = name.slice(PREFIX.length);
    const first = removal ?? files.find((key) => !/\.key$/i.test(key)) ?? files[0] ?? '';
    const beside = isReadable(first) ? first : INBOX + stem;
    return {
      name,
      files,
      removal,
      label: beside,
      refusalKey: `${beside}.refused.txt`,
      waitingKey: `${beside}.waiting.txt`,
      receiptKey: `${INBOX}${stem}.accepted.txt`,
    };
  });
  // What the store cannot read is not by this program.
  const notes = keys.filter((key) => NOTE.test(key) && isReadable(key));
  const current = new Set(parcels.flatMap(({ refusalKey, waitingKey }) => [refusalKey, waitingKey]));
  return { parcels, notes, stale: notes.filter((key) => !current.has(key) && !key.endsWith('.accepted.txt')) };
}

/** Can the store read a file of this name? */
export function isReadable(key: string): boolean {
  return (
    READABLE.test(key) && key.split('/').every((part) => part !== '' && !/^\.\.?$/.test(part) && part.length <= 100)
  );
}
