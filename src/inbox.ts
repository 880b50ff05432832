import type { Config } from './config.ts';
import type { Target, TargetDomain } from './deploy.ts';
import type { Deps } from './deps.ts';
import { toAutocertError } from './errors.ts';
import { inboxFailed } from './inbox/failure.ts';
import { contentsOf, INBOX, isParcelName } from './inbox/parcel.ts';
import type { Index, Store } from './record.ts';
import type { Outcome } from './report.ts';

/** What a run gives to the inbox. */
export interface InboxContext {
  readonly config: Pick<Config, 'certificates' | 'inbox'>;
  readonly account: ReadonlyMap<string, TargetDomain>;
  readonly target: Pick<Target, 'current'>;
  readonly store: Store;
  readonly request: {
    readonly runId: string;
    readonly only?: readonly string[] | undefined;
    readonly force: boolean;
    readonly plan?: boolean;
  };
  /** When the lease of this run ends. */
  readonly leaseEnd: Date;
  readonly deps: Deps;
}

export interface InboxResult {
  /** With the certificates that were taken, and without those that were taken back. */
  readonly index: Index;
  /** Of what was not taken, under the names of the files. */
  readonly outcomes: readonly Outcome[];
  /** Names of certificates whose files are dealt with, and that need not exist. */
  readonly settled: readonly string[];
}

/**
 * Takes the certificates that their owners put below `inbox/` of the store. A listing and nothing more when there is
 * nothing. What cannot be known now, because the store or the API fails, is an outcome that says so, and is looked at again
 * by the next run. Never throws.
 */
export async function takeInbox(index: Index, context: InboxContext): Promise<InboxResult> {
  const { store, request, deps } = context;
  const { only } = request;
  if (only && !only.some(isParcelName)) return { index, outcomes: [], settled: [] };
  try {
    const contents = contentsOf(await store.list(INBOX));
    if (contents.parcels.length === 0 && contents.notes.length === 0) return { index, outcomes: [], settled: [] };
    const { takeParcels } = await import('./inbox/take.ts');
    return await takeParcels(contents, index, context);
  } catch (thrown) {
    return {
      index,
      outcomes: [inboxFailed(INBOX, toAutocertError(thrown), deps)],
      settled: only?.filter(isParcelName) ?? [],
    };
  }
}
