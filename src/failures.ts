import type { Deps } from './deps.ts';
import type { AutocertError } from './errors.ts';
import type { CertificateRecord } from './record.ts';

const FIRST_WAIT = 15 * 60_000;
const LONGEST_WAIT = 24 * 3_600_000;

/**
 * The record with one more failed attempt: the next one waits 15 minutes, then four times as long each time up to a day,
 * with up to a quarter more so that certificates that failed together do not come back together. When the CA or the
 * cloud said when to come back, not before that. Well inside five failed validations an hour (Let's Encrypt).
 */
export function withFailure(record: CertificateRecord, error: AutocertError, deps: Pick<Deps, 'now' | 'random'>): CertificateRecord {
  const now = deps.now();
  const count = (record.failures?.count ?? 0) + 1;
  const wait = Math.min(FIRST_WAIT * 4 ** (count - 1), LONGEST_WAIT) * (1 + deps.random() / 4);
  const next = Math.max(now.getTime() + wait, error.retryAfter?.getTime() ?? 0);
  const failures = {
    count,
    since: record.failures?.since ?? now.toISOString(),
    nextAttemptAt: new Date(next).toISOString(),
    code: error.code,
    message: error.message,
  };
  return { ...record, failures };
}
