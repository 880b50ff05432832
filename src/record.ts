import { createHash } from 'node:crypto';
import * as v from 'valibot';
import { certificateFacts, isKeyOf } from './certificate.ts';
import { AutocertError } from './errors.ts';
import type { Quarantine } from './quarantine.ts';
import { Secret } from './secret.ts';

/** Where bytes are kept between runs. Two implementations: a folder and an OSS bucket; `encrypted` wraps either. */
export interface Store {
  /**
   * The object's bytes, or undefined when it certainly does not exist. Of one that is bigger than `most` at least one byte
   * more than that, and perhaps not all. Throws STORE_UNREADABLE when that is not known.
   */
  get(key: string, options?: { readonly most?: number }): Promise<Uint8Array | undefined>;
  /**
   * Writes the whole object; a reader never sees half of it. With `ifAbsent` an object that exists stays as it is and
   * the answer is false. Throws STORE_UNWRITABLE.
   */
  put(key: string, bytes: Uint8Array, options?: { readonly ifAbsent?: boolean }): Promise<boolean>;
  /** Deletes the object; one that does not exist is no error. Throws STORE_UNWRITABLE. */
  delete(key: string): Promise<void>;
  /** The keys that begin with `prefix`, sorted. Throws STORE_UNREADABLE. */
  list(prefix: string): Promise<string[]>;
  /** The store that this one encrypts for: its objects as they lie there. */
  readonly beneath?: Store;
}

const Instant = v.pipe(v.string(), v.isoTimestamp());
const Version = v.literal(1);

const StoredCertificateSchema = v.object({
  /** SHA-256 of the leaf, lower-case hex. Also the bundle's name in the store. */
  fingerprint: v.string(),
  serial: v.string(),
  identifiers: v.array(v.string()),
  keyType: v.string(),
  profile: v.optional(v.string()),
  /** The directory of the CA that issued it: what tells a staging certificate from a certificate. Empty for one that was brought. */
  directoryUrl: v.string(),
  notBefore: Instant,
  notAfter: Instant,
  /** RFC 9773 section 4.1; absent when the leaf names no authority key. */
  certId: v.optional(v.string()),
  /** Set by whoever has it revoked. */
  revoked: v.optional(v.boolean()),
  /** It was issued because the CA wanted the one before it back at once (RFC 9773 section 4.1: a window in the past). */
  replacedAtOnce: v.optional(v.boolean()),
});

const AdviceSchema = v.object({
  start: Instant,
  end: Instant,
  /** Drawn once a window, RFC 9773 section 4.2. */
  selectedTime: Instant,
  explanationURL: v.optional(v.string()),
  /** When the CA may be asked again. */
  retryAfter: Instant,
});

const FailuresSchema = v.object({
  /** In this step, one after the other. */
  count: v.number(),
  /** Since when the certificate has not been well, whatever the step. */
  since: Instant,
  nextAttemptAt: Instant,
  code: v.string(),
  message: v.string(),
  /** Absent for `issue`, the only one that makes the next attempt wait. */
  step: v.optional(v.picklist(['issue', 'deploy', 'verify'])),
  remedy: v.optional(v.string()),
  requestId: v.optional(v.string()),
});

const BroughtSchema = v.object({
  /** The object of the inbox that it came in. */
  file: v.string(),
  takenAt: Instant,
  issuer: v.string(),
  /** It was taken although a better one was in place, because a person insisted. */
  insisted: v.optional(v.boolean()),
});

export const RecordSchema = v.object({
  version: Version,
  name: v.string(),
  certificate: v.optional(StoredCertificateSchema),
  /** Set for a certificate that its owner brought: nobody renews it. */
  brought: v.optional(BroughtSchema),
  advice: v.optional(AdviceSchema),
  failures: v.optional(FailuresSchema),
  /** Domain -> CertName under which the product has the certificate. */
  deployed: v.record(v.string(), v.string()),
});

const IndexSchema = v.object({
  version: Version,
  working: v.array(v.string()),
  /** Checked as they are and not copied: of thousands, the copies would be much of what a run holds in memory. */
  records: v.array(v.custom<CertificateRecord>((record) => v.is(RecordSchema, record))),
});

const BundleSchema = v.object({ version: Version, chain: v.string(), privateKey: v.string() });

const ChallengeSchema = v.object({ identifier: v.string(), token: v.string(), keyAuthorization: v.string() });

const OrderSchema = v.object({
  version: Version,
  directoryUrl: v.string(),
  identifiers: v.array(v.string()),
  keyType: v.string(),
  profile: v.optional(v.string()),
  replaces: v.optional(v.string()),
  privateKey: v.string(),
  createdAt: Instant,
  /** Absent until the CA answered newOrder. */
  url: v.optional(v.string()),
  /** What was, or may have been, presented and is not yet known to be cleaned up. */
  challenges: v.array(ChallengeSchema),
});

const AccountSchema = v.object({
  version: Version,
  directoryUrl: v.string(),
  privateKey: v.string(),
  /** Absent until the CA answered newAccount. */
  url: v.optional(v.string()),
});

export type StoredCertificate = v.InferOutput<typeof StoredCertificateSchema>;
export type RenewalAdvice = v.InferOutput<typeof AdviceSchema>;
export type Failures = v.InferOutput<typeof FailuresSchema>;
export type CertificateRecord = v.InferOutput<typeof RecordSchema>;

/** An order in progress, saved before each side effect so that a killed run is resumed and never repeated. */
export interface OrderInProgress extends Omit<v.InferOutput<typeof OrderSchema>, 'privateKey' | 'version'> {
  readonly privateKey: Secret;
}

export interface StoredAccount {
  readonly directoryUrl: string;
  readonly privateKey: Secret;
  readonly url?: string | undefined;
}

export interface Bundle {
  readonly chain: string;
  readonly privateKey: Secret;
}

export interface Index {
  /** Names whose own record is newer than this index: a run that was killed leaves them here. */
  readonly working: ReadonlySet<string>;
  readonly records: ReadonlyMap<string, CertificateRecord>;
}

const INDEX_KEY = 'index.json';
const recordKey = (name: string) => `certificates/${name}/record.json`;
/** One for each CA: falling back to another must not lose what the first may have issued already. */
const orderKey = (name: string, directoryUrl: string) => `certificates/${name}/order-${digest(directoryUrl)}.json`;
const bundleKey = (name: string, fingerprint: string) => `certificates/${name}/${fingerprint}.json`;

/** The record of a certificate that nothing is known of yet. */
export function emptyRecord(name: string): CertificateRecord {
  return { version: 1, name, deployed: {} };
}

/**
 * All records in one read: what a run that has nothing to do costs the store. It is derived from the records, each of
 * which is the truth about its certificate, and is written at the end of a run that changed any. Where it is missing or
 * damaged the records are read instead; a damaged one goes into the quarantine, if there is one.
 */
export async function readIndex(store: Store, quarantine?: Quarantine): Promise<Index> {
  const index = await readOrSetAside(store, INDEX_KEY, IndexSchema, quarantine);
  if (index) return { working: new Set(index.working), records: byName(index.records) };
  const keys = await store.list('certificates/');
  const names = keys.filter((key) => key.endsWith('/record.json')).map((key) => key.split('/').at(-2) ?? '');
  const read = await Promise.allSettled(names.map((name) => readRecord(store, name)));
  const records = read.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  return { working: new Set(names), records: byName(records) };
}

function byName(records: readonly CertificateRecord[]): Map<string, CertificateRecord> {
  return new Map(records.map((record) => [record.name, record]));
}

export async function writeIndex(store: Store, index: Index): Promise<void> {
  const records = [...index.records.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  await writeJson(store, INDEX_KEY, { version: 1, working: [...index.working], records });
}

export async function readRecord(store: Store, name: string): Promise<CertificateRecord> {
  return (await readJson(store, recordKey(name), RecordSchema)) ?? emptyRecord(name);
}

export async function writeRecord(store: Store, record: CertificateRecord): Promise<void> {
  await writeJson(store, recordKey(record.name), record);
}

/** The certificate and its key. Throws STORE_CORRUPT when they are not there or do not belong together. */
export async function readBundle(store: Store, name: string, fingerprint: string): Promise<Bundle> {
  const key = bundleKey(name, fingerprint);
  const otherwise = name.startsWith('_inbox.')
    ? 'put the certificate into the inbox again'
    : `run with {"only": ["${name}"], "force": true} to have it issued anew`;
  const remedy = `Restore ${key} from a backup, or ${otherwise}.`;
  const stored = await readJson(store, key, BundleSchema);
  if (!stored) throw corrupt(key, 'the record names it, but it does not exist', remedy);
  const bundle = { chain: stored.chain, privateKey: new Secret(stored.privateKey) };
  const problem = problemOf(bundle, fingerprint);
  if (problem !== undefined) throw corrupt(key, problem, remedy);
  return bundle;
}

function problemOf({ chain, privateKey }: Bundle, fingerprint: string): string | undefined {
  try {
    if (certificateFacts(chain).fingerprint !== fingerprint) return 'its certificate is another one';
    return isKeyOf(privateKey, chain) ? undefined : "its private key is not the certificate's";
  } catch (thrown) {
    if (thrown instanceof AutocertError) return thrown.message.replace(/\.$/, '');
    throw thrown;
  }
}

/** Deletes all that is stored of a certificate. */
export async function forget(store: Store, name: string): Promise<void> {
  for (const key of await store.list(`certificates/${name}/`)) await store.delete(key);
}

export async function writeBundle(store: Store, name: string, fingerprint: string, bundle: Bundle): Promise<void> {
  const privateKey = bundle.privateKey.reveal();
  await writeJson(store, bundleKey(name, fingerprint), { version: 1, chain: bundle.chain, privateKey });
}

/** Deletes every bundle of a certificate but those named: the one in force and the one before it. */
export async function pruneBundles(store: Store, name: string, keep: readonly string[]): Promise<void> {
  const kept = keep.map((fingerprint) => bundleKey(name, fingerprint));
  const bundles = (await store.list(`certificates/${name}/`)).filter((key) => /\/[0-9a-f]{64}\.json$/.test(key));
  for (const key of bundles) if (!kept.includes(key)) await store.delete(key);
}

/** An order that is damaged goes into the quarantine: what is lost with it is made anew by another one. */
export async function readOrder(
  store: Store,
  name: string,
  directoryUrl: string,
  quarantine?: Quarantine,
): Promise<OrderInProgress | undefined> {
  const order = await readOrSetAside(store, orderKey(name, directoryUrl), OrderSchema, quarantine);
  return order && { ...order, privateKey: new Secret(order.privateKey) };
}

export async function writeOrder(store: Store, name: string, order: OrderInProgress): Promise<void> {
  const value = { ...order, version: 1, privateKey: order.privateKey.reveal() };
  await writeJson(store, orderKey(name, order.directoryUrl), value);
}

export async function deleteOrder(store: Store, name: string, directoryUrl: string): Promise<void> {
  await store.delete(orderKey(name, directoryUrl));
}

/** One account for each CA and external account; kept for ever. */
export async function readAccount(store: Store, directoryUrl: string, kid = ''): Promise<StoredAccount | undefined> {
  const account = await readJson(store, accountKey(directoryUrl, kid), AccountSchema);
  return account && { ...account, privateKey: new Secret(account.privateKey) };
}

export async function writeAccount(
  store: Store,
  account: StoredAccount,
  kid = '',
  options: { readonly ifAbsent?: boolean } = {},
): Promise<void> {
  const value = { ...account, version: 1, privateKey: account.privateKey.reveal() };
  await store.put(accountKey(account.directoryUrl, kid), encode(value), options);
}

function accountKey(directoryUrl: string, kid: string): string {
  return `accounts/${digest(`${directoryUrl}\n${kid}`)}.json`;
}

/** What names an object after something longer: the first 16 hex digits of its SHA-256. */
export function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

/** Undefined also for an object that is damaged and is one that can be made anew. */
export async function readOrSetAside<const T extends v.GenericSchema>(
  store: Store,
  key: string,
  schema: T,
  quarantine: Quarantine | undefined,
): Promise<v.InferOutput<T> | undefined> {
  try {
    return await readJson(store, key, schema);
  } catch (thrown) {
    if (!(thrown instanceof AutocertError) || thrown.code !== 'STORE_CORRUPT') throw thrown;
    await quarantine?.setAside(key, thrown);
    return undefined;
  }
}

/** A JSON object of the store, checked against its schema. Throws STORE_CORRUPT or STORE_NEWER_VERSION, both naming the object. */
export async function readJson<const T extends v.GenericSchema>(
  store: Store,
  key: string,
  schema: T,
): Promise<v.InferOutput<T> | undefined> {
  const bytes = await store.get(key);
  if (bytes === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    // The parser's own message quotes the text, which may be a key.
    throw corrupt(key, `it is not JSON (${cause instanceof Error ? cause.name : 'unreadable'})`);
  }
  if (isNewerVersion(value)) {
    throw new AutocertError({
      code: 'STORE_NEWER_VERSION',
      message: `${key} was written by a newer version of this program.`,
      retryable: false,
      remedy: 'Deploy the newer version again, or point `store` at a fresh folder.',
    });
  }
  const result = v.safeParse(schema, value);
  if (!result.success) throw corrupt(key, `${v.getDotPath(result.issues[0]) ?? 'the object'} is not what it must be`);
  return result.output;
}

export async function writeJson(store: Store, key: string, value: unknown): Promise<void> {
  await store.put(key, encode(value));
}

export function encode(value: unknown): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(value)}\n`);
}

function isNewerVersion(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'version' in value && Number(value.version) > 1;
}

function corrupt(
  key: string,
  what: string,
  remedy = `Restore ${key} from a backup, or move it away to begin anew.`,
): AutocertError {
  return new AutocertError({
    code: 'STORE_CORRUPT',
    message: `${key} in the store cannot be used: ${what}.`,
    retryable: false,
    remedy,
  });
}
