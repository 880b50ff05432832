import { timeLeft } from '../deps.ts';
import { toAutocertError } from '../errors.ts';
import type { InboxContext, InboxResult } from '../inbox.ts';
import { takeLease } from '../lease.ts';
import {
  type CertificateRecord,
  forget,
  type Index,
  readIndex,
  type Store,
  writeBundle,
  writeIndex,
  writeRecord,
} from '../record.ts';
import { type Outcome, reported } from '../report.ts';
import { type Brought, examine } from './examine.ts';
import { inboxFailed } from './failure.ts';
import { type Material, readMaterial } from './material.ts';
import { type Contents, INBOX, isParcelName, isReadable, type Parcel } from './parcel.ts';
import { receiptText, waitingSince, waitingText } from './receipt.ts';
import { type Refusal, refusalError, refusals, refusalText } from './refusal.ts';
import { weakness } from './weakness.ts';

/** Bytes of one file. */
const MOST_BYTES = 256 * 1024;
const MOST_FILES = 10;
/** Certificates looked at in one run; the rest wait for the next. */
const MOST_PARCELS = 50;
/** Milliseconds for the second of two files to come. */
const PATIENCE = 3_600_000;
/** Milliseconds: with less left, nothing is begun. */
const LOOK_TAKES = 5_000;

/** What is to become of a parcel. */
type Verdict =
  | { readonly type: 'taken'; readonly parcel: Parcel; readonly brought: Brought; readonly record: CertificateRecord }
  | { readonly type: 'removed'; readonly parcel: Parcel }
  | { readonly type: 'refused'; readonly parcel: Parcel; readonly refusal: Refusal; readonly isNews: boolean }
  | { readonly type: 'waiting'; readonly parcel: Parcel; readonly note: string | undefined };

/**
 * What is good becomes a certificate like every other, stored (and encrypted) as those are, and its files are deleted; of
 * what is not, a file beside it says why. Never throws.
 */
export async function takeParcels(
  { parcels, stale, notes }: Contents,
  index: Index,
  context: InboxContext,
): Promise<InboxResult> {
  const { request, deps } = context;
  const { only } = request;
  const outcomes: Outcome[] = [];
  try {
    const concerned = parcels.filter(({ name }) => only?.includes(name) ?? true);
    if (concerned.length > MOST_PARCELS) deps.log.warn('inbox_full', { left: concerned.length - MOST_PARCELS });
    const verdicts: Verdict[] = [];
    for (const parcel of concerned.slice(0, MOST_PARCELS)) {
      try {
        if (timeLeft(deps) >= LOOK_TAKES) verdicts.push(await judge(parcel, index, notes, context));
      } catch (thrown) {
        outcomes.push(inboxFailed(parcel.label, toAutocertError(thrown), deps));
      }
    }
    outcomes.push(...verdicts.flatMap(outcomeOf));
    const changes = verdicts.filter(
      (one) => one.type === 'taken' || one.type === 'removed' || (one.type === 'refused' ? one.isNews : one.note),
    );
    const decided = verdicts.filter(({ type }) => type !== 'waiting').map(({ parcel }) => parcel.waitingKey);
    const litter = [...stale, ...notes.filter((key) => decided.includes(key))];
    const settled = concerned.map(({ name }) => name);
    if (request.plan) return { index: indexAfter(index, verdicts), outcomes, settled };
    if (changes.length === 0 && litter.length === 0) return { index, outcomes, settled };
    return { index: await apply(changes, litter, index, context), outcomes, settled };
  } catch (thrown) {
    const error = toAutocertError(thrown);
    return {
      index,
      outcomes: [...outcomes, inboxFailed(INBOX, error, deps)],
      settled: only?.filter(isParcelName) ?? [],
    };
  }
}

async function judge(parcel: Parcel, index: Index, notes: readonly string[], context: InboxContext): Promise<Verdict> {
  const { store, config, deps } = context;
  const { name, removal, refusalKey, waitingKey } = parcel;
  const refuse = async (refusal: Refusal): Promise<Verdict> => {
    const before = notes.includes(refusalKey) ? await bytesOf(store).get(refusalKey) : undefined;
    const isNews = before === undefined || Buffer.from(before).toString() !== refusalText(refusal);
    return { type: 'refused', parcel, refusal, isNews };
  };
  if (removal !== undefined) {
    if (index.records.get(name)?.brought) return { type: 'removed', parcel };
    const known = [...index.records.values()].flatMap((record) => (record.brought ? [record.name] : []));
    return refuse(refusals.nothingToRemove(known.map((one) => one.replace('_inbox.', '')).join(', ')));
  }
  const material = await materialOf(parcel, context);
  if ('en' in material) return refuse(material);
  if (material.certificates.length === 0 || material.keys.length === 0) {
    const since = notes.includes(waitingKey) ? waitingSince(await bytesOf(store).get(waitingKey)) : undefined;
    const lacks = material.keys.length === 0 ? ('key' as const) : ('certificate' as const);
    const isRefused = notes.includes(refusalKey) || (since && deps.now().getTime() - since.getTime() >= PATIENCE);
    if (!isRefused) return { type: 'waiting', parcel, note: since ? undefined : waitingText(lacks, deps.now()) };
  }
  const brought = examine(material, deps.now());
  if ('en' in brought) return refuse(brought);
  const isInsisted = context.request.force && context.request.only?.includes(name) === true;
  const named = new Set(config.certificates.flatMap(({ targets }) => targets.flatMap(({ domains }) => domains)));
  const weak = await weakness(name, brought.facts, { ...context, named, isInsisted });
  if (weak) return refuse(weak);
  return { type: 'taken', parcel, brought, record: recordOf(parcel, brought, isInsisted, deps.now()) };
}

/** All that the files hold together, or why one of them cannot be read. */
async function materialOf({ files }: Parcel, { store, config }: InboxContext): Promise<Material | Refusal> {
  if (files.length > MOST_FILES) return refusals.tooMany(MOST_FILES);
  if (!files.every(isReadable)) return refusals.badName();
  const certificates: Material['certificates'][number][] = [];
  const keys: Material['keys'][number][] = [];
  for (const file of files) {
    const bytes = await bytesOf(store).get(file, { most: MOST_BYTES });
    if (bytes === undefined) continue;
    if (bytes.byteLength > MOST_BYTES) return refusals.tooBig(MOST_BYTES);
    const read = await readMaterial(bytes, file, config.inbox.passwords);
    if ('en' in read) return read;
    certificates.push(...read.certificates);
    keys.push(...read.keys);
  }
  return { certificates, keys };
}

function recordOf({ name, files }: Parcel, { facts }: Brought, isInsisted: boolean, now: Date): CertificateRecord {
  const { fingerprint, serial, identifiers, keyType, notBefore, notAfter, issuer } = facts;
  return {
    version: 1,
    name,
    certificate: {
      fingerprint,
      serial,
      identifiers: [...identifiers],
      keyType,
      directoryUrl: '',
      notBefore: notBefore.toISOString(),
      notAfter: notAfter.toISOString(),
    },
    brought: { file: files[0] ?? '', takenAt: now.toISOString(), issuer, ...(isInsisted && { insisted: true }) },
    deployed: {},
  };
}

/**
 * Saved first, and only then are the files deleted: a run that is killed in between takes the same certificate again.
 * The index is read anew under the lease, for another run may have changed it since.
 */
async function apply(
  verdicts: readonly Verdict[],
  litter: readonly string[],
  index: Index,
  { store: shared, request, leaseEnd, deps }: InboxContext,
): Promise<Index> {
  const lease = await takeLease(shared, request.runId, leaseEnd, deps);
  const { store } = lease;
  try {
    for (const verdict of verdicts) {
      if (verdict.type === 'removed') await forget(store, verdict.parcel.name);
      if (verdict.type !== 'taken') continue;
      const { parcel, brought, record } = verdict;
      await writeBundle(store, parcel.name, brought.facts.fingerprint, brought.bundle);
      await writeRecord(store, record);
      deps.log.info('inbox_taken', { name: parcel.name, files: parcel.files, ...record.certificate });
    }
    let after = index;
    if (verdicts.some(({ type }) => type === 'taken' || type === 'removed')) {
      after = indexAfter(await readIndex(store), verdicts);
      await writeIndex(store, after);
    }
    // What people put there lies in the clear, and so does what is said beside it.
    const clear = bytesOf(store);
    const write = async (key: string, text: string) => {
      await lease.check();
      await clear.put(key, Buffer.from(text));
    };
    for (const verdict of verdicts) {
      const { type, parcel } = verdict;
      if (type === 'refused') await write(parcel.refusalKey, refusalText(verdict.refusal));
      if (type === 'waiting' && verdict.note) await write(parcel.waitingKey, verdict.note);
      if (type === 'taken') await write(parcel.receiptKey, receiptText(verdict.record));
      if (type === 'removed') deps.log.info('inbox_removed', { name: parcel.name });
      for (const key of filesDone(verdict)) await store.delete(key);
    }
    for (const key of litter) await store.delete(key);
    return after;
  } finally {
    await lease.release();
  }
}

function filesDone(verdict: Verdict): readonly string[] {
  const { parcel } = verdict;
  if (verdict.type === 'taken') return [...parcel.files, parcel.refusalKey];
  if (verdict.type === 'removed') return [parcel.receiptKey, parcel.refusalKey, parcel.removal ?? []].flat();
  return [];
}

function indexAfter(index: Index, verdicts: readonly Verdict[]): Index {
  const records = new Map(index.records);
  for (const verdict of verdicts) {
    if (verdict.type === 'taken') records.set(verdict.parcel.name, verdict.record);
    if (verdict.type === 'removed') records.delete(verdict.parcel.name);
  }
  const working = [...index.working].filter((name) => records.has(name) || !isParcelName(name));
  return { working: new Set(working), records };
}

/** An encrypted store would take a file that a person put there for one from before encryption. */
function bytesOf(store: Store): Store {
  return store.beneath ?? store;
}

function outcomeOf(verdict: Verdict): Outcome[] {
  const { type, parcel } = verdict;
  const { label: name } = parcel;
  const file = parcel.removal ?? parcel.files.join(', ');
  if (type === 'waiting') {
    const message = `${file} is half of a certificate with its key: the other half is waited for.`;
    return [{ name, status: 'deferred', decision: { action: 'keep', reason: 'Incomplete', message } }];
  }
  if (type !== 'refused') return [];
  const error = refusalError(file, verdict.refusal);
  const decision = { action: 'keep', reason: 'Refused', message: error.message } as const;
  // A file that lies there harms no certificate: the run in which it came is the one that fails.
  const status = verdict.isNews ? 'failed' : 'deferred';
  return [{ name, status, decision, error: reported(error, 'inbox'), standing: { identifiers: [] } }];
}
