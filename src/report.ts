import type { Decision } from './decide.ts';
import type { Deployment } from './deploy.ts';
import type { AutocertError, ErrorCode } from './errors.ts';
import type { IgnoredDomain } from './inventory.ts';
import type { SetAside } from './quarantine.ts';
import type { Failures } from './record.ts';
import type { Verification } from './verify.ts';

export type Step =
  | 'event'
  | 'config'
  | 'inventory'
  | 'inbox'
  | 'observe'
  | 'decide'
  | 'issue'
  | 'deploy'
  | 'verify'
  | 'record';

export type Status = 'kept' | 'renewed' | 'redeployed' | 'deferred' | 'failed';

/** An error as it is told outside: no cause, no stack, nothing secret. */
export interface ReportedError {
  readonly code: ErrorCode;
  readonly step: Step;
  readonly message: string;
  readonly remedy: string;
  readonly retryable: boolean;
  readonly requestId?: string;
}

/** What became of one certificate. */
export interface Outcome {
  readonly name: string;
  readonly status: Status;
  /** Absent only when the run ended before anything could be decided. */
  readonly decision?: Decision;
  readonly deployments?: readonly (Omit<Deployment, 'error'> & { readonly error?: ReportedError })[];
  readonly verifications?: readonly Verification[];
  readonly error?: ReportedError;
  /** Absent for a certificate that is well and stayed as it was. */
  readonly standing?: Standing;
  /** Of a certificate that was brought, in its last month. */
  readonly reminder?: Reminder;
}

/** What the owner of a certificate has to know before it ends. */
export interface Reminder {
  readonly identifiers: readonly string[];
  /** ISO 8601. */
  readonly endsAt: string;
  /** When a CA's certificate takes its place. Absent when none will. */
  readonly replacedAt?: string;
}

/** What a person who is told of a certificate has to know of it. */
export interface Standing {
  readonly identifiers: readonly string[];
  /** ISO 8601: when what clients get now ends, the earliest of its domains. Absent when no certificate is in place. */
  readonly endsAt?: string;
  /** Failures in a row that are not over. */
  readonly failures?: Pick<Failures, 'since' | 'nextAttemptAt' | 'code' | 'message' | 'step' | 'remedy' | 'requestId'>;
}

/** The result of a run: a contract. */
export interface RunReport {
  readonly version: 1;
  readonly runId: string;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly outcomes: readonly Outcome[];
  /** Domains of the account that discovery leaves alone, and why. */
  readonly ignored?: readonly IgnoredDomain[];
  /** Objects of the store that were damaged, and where they are now: what they held was made anew. */
  readonly setAside?: readonly SetAside[];
  /** What ended the run before it came to the certificates. */
  readonly error?: ReportedError;
  /** Does everybody who is to know of it know? Absent when nobody is configured, and for a plan. */
  readonly told?: boolean;
}

/** Certificates up to which the log has the whole report. */
const MOST_LOGGED = 50;

/** At the end of FC's error text: the run has told people itself, and whoever hears of it from FC need not. */
export const TOLD = '[people were told]';

/** Thrown by a run that is not wholly good, so that whoever called it cannot take it for a success. */
export class RunFailed extends Error {
  override readonly name = 'RunFailed';
  readonly report: RunReport;

  constructor(report: RunReport) {
    super(report.told ? `${summary(report)} ${TOLD}` : summary(report));
    this.report = report;
  }
}

export function reported(error: AutocertError, step: Step): ReportedError {
  const { code, message, remedy, retryable, requestId } = error;
  return { code, step, message, remedy, retryable, ...(requestId !== undefined && { requestId }) };
}

/** A log line has no room for thousands that are well: there they are a number in the summary, and the others are named. */
export function asLogged(report: RunReport): RunReport {
  const { outcomes } = report;
  if (outcomes.length <= MOST_LOGGED) return report;
  return { ...report, outcomes: outcomes.filter(({ status }) => status === 'deferred' || status === 'failed') };
}

export function isGoodRun(report: RunReport): boolean {
  return report.error === undefined && report.outcomes.every(({ status }) => status !== 'failed');
}

/** The one sentence that stands in FC's error and in the last log line. */
export function summary({ outcomes, error }: RunReport): string {
  if (error) return `${error.code}: ${error.message} ${error.remedy}`;
  const failed = outcomes.filter(({ status }) => status === 'failed');
  if (failed.length === 0) return `${outcomes.length} certificates: ${tally(outcomes)}.`;
  const causes = failed.map((outcome) => `${outcome.name} (${outcome.error?.code}: ${outcome.error?.message})`);
  return `${failed.length} of ${outcomes.length} certificates failed: ${causes.join('; ')}`;
}

function tally(outcomes: readonly Outcome[]): string {
  const statuses: readonly Status[] = ['renewed', 'redeployed', 'deferred', 'kept'];
  const counted = statuses.map(
    (status) => [status, outcomes.filter((outcome) => outcome.status === status).length] as const,
  );
  return counted.flatMap(([status, count]) => (count > 0 ? [`${count} ${status}`] : [])).join(', ') || 'none';
}
