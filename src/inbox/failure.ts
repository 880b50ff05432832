import type { Deps } from '../deps.ts';
import type { AutocertError } from '../errors.ts';
import { type Outcome, reported } from '../report.ts';

/** What kept the inbox, or one file of it, from being looked at. */
export function inboxFailed(name: string, error: AutocertError, { log }: Pick<Deps, 'log'>): Outcome {
  log.error('inbox_failed', { name, error });
  const status = error.code === 'LEASE_HELD' || error.code === 'LEASE_LOST' ? 'deferred' : 'failed';
  return { name, status, error: reported(error, 'inbox') };
}
