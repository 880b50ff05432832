import type { Deps } from './deps.ts';
import type { CertificateRecord, Failures } from './record.ts';
import type { ReportedError } from './report.ts';

const FIRST_WAIT = 15 * 60_000;
const LONGEST_WAIT = 24 * 3_600_000;
/** Milliseconds. The resolvers of a CA keep a CAA record as long as its TTL says, an hour as a rule: sooner is in vain. */
const LEAST_WAIT: Readonly<Record<string, number>> = { ACME_CAA: 3_600_000 };
/** The CA is down: no try was counted there, and the next run may find it well. */
const NOTHING_TRIED = ['ACME_UNREACHABLE', 'ACME_UNAVAILABLE'];

/**
 * The record with one more failed attempt: the next one waits 15 minutes, then four times as long each time up to a day,
 * with up to a quarter more so that certificates that failed together do not come back together. When the CA or the
 * cloud said when to come back, not before that. Well inside five failed validations an hour (Let's Encrypt). A CA that
 * is down makes nothing wait longer and counts for itself; one that a CAA record forbids to issue is left alone for an hour.
 */
export function withFailure(
  record: CertificateRecord,
  error: Failure,
  deps: Pick<Deps, 'now' | 'random'>,
): CertificateRecord {
  const now = deps.now();
  const isDown = NOTHING_TRIED.includes(error.code);
  const isFirst = record.failures !== undefined && NOTHING_TRIED.includes(record.failures.code) !== isDown;
  const count = isFirst ? 1 : countWith(record, 'issue');
  const growing = Math.min(FIRST_WAIT * 4 ** (isDown ? 0 : count - 1), LONGEST_WAIT);
  const wait = Math.max(growing, LEAST_WAIT[error.code] ?? 0) * (1 + deps.random() / 4);
  const next = Math.max(now.getTime() + wait, error.retryAfter?.getTime() ?? 0);
  return {
    ...record,
    failures: { ...factsOf(error), count, since: sinceOf(record, now), nextAttemptAt: new Date(next).toISOString() },
  };
}

/** The record with one more failed deployment or verification. Such a failure makes nothing wait: the next run tries again. */
export function withDeployFailure(
  record: CertificateRecord,
  error: Failure & { readonly step: 'deploy' | 'verify' },
  interval: number,
  deps: Pick<Deps, 'now'>,
): CertificateRecord {
  const now = deps.now();
  const { step } = error;
  const nextAttemptAt = new Date(now.getTime() + interval).toISOString();
  return {
    ...record,
    failures: { ...factsOf(error), step, count: countWith(record, step), since: sinceOf(record, now), nextAttemptAt },
  };
}

/** Is there a failed issuance, which later runs wait for? */
export function backsOff(failures: Failures): boolean {
  return (failures.step ?? 'issue') === 'issue';
}

type Failure = Pick<ReportedError, 'code' | 'message' | 'remedy'> & {
  readonly requestId?: string | undefined;
  readonly retryAfter?: Date | undefined;
};

function factsOf({
  code,
  message,
  remedy,
  requestId,
}: Failure): Pick<Failures, 'code' | 'message' | 'remedy' | 'requestId'> {
  return { code, message, remedy, ...(requestId !== undefined && { requestId }) };
}

function countWith({ failures }: CertificateRecord, step: string): number {
  return failures && (failures.step ?? 'issue') === step ? failures.count + 1 : 1;
}

function sinceOf({ failures }: CertificateRecord, now: Date): string {
  return failures?.since ?? now.toISOString();
}

/** The same object when there are none: nothing is written then. */
export function withoutFailures(record: CertificateRecord): CertificateRecord {
  if (!record.failures) return record;
  const { failures: _, ...well } = record;
  return well;
}
