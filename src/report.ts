import type { Decision } from './decide.ts';
import { type Deployment, domainNotFound } from './deploy.ts';
import { AutocertError, type ErrorCode } from './errors.ts';
import type { IgnoredDomain } from './inventory.ts';
import type { DomainObservation, Observation } from './observe.ts';
import type { SetAside } from './quarantine.ts';
import type { CertificateRecord, Failures } from './record.ts';
import { isServed, judge, type Verification } from './verify.ts';

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

export function failedOutcome(name: string, error: AutocertError, step: Step): Outcome {
  return { name, status: 'failed', error: reported(error, step) };
}

/** Nothing was done. A domain that the config names and the account does not have is an error all the same. */
export function keptOutcome(observation: Observation, decision: Decision): Outcome {
  const { spec, record, domains } = observation;
  const { name } = spec;
  const absent = domains.find(({ status }) => status === 'absent');
  if (absent) return { name, status: 'failed', decision, error: reported(domainNotFound(absent.domain), 'observe') };
  if (decision.reason === 'Ended') {
    return { name, status: 'failed', decision, error: reported(ended(observation), 'decide') };
  }
  const isOpen = decision.reason === 'BackingOff' || decision.reason === 'NotServed';
  const status = decision.action === 'keep' && !isOpen ? 'kept' : 'deferred';
  const read = domains.flatMap(({ served }) => (served ? [served] : []));
  if (!record.certificate || read.length === 0) return { name, status, decision };
  const { fingerprint } = record.certificate;
  return { name, status, decision, verifications: read.flatMap((served) => judge(served, fingerprint)) };
}

function ended({ spec, record }: Observation): AutocertError {
  const stem = spec.name.replace(/^_inbox\./, '');
  const what = `The certificate that was brought ended at ${record.certificate?.notAfter}`;
  return new AutocertError({
    code: 'CERTIFICATE_ENDED',
    message: `${what}, and nobody brought another for ${spec.domains.join(', ')}.`,
    retryable: false,
    remedy: `Put a new certificate into inbox/ of the store, or an empty file inbox/${stem}.remove to have it forgotten.`,
  });
}

/** The certificate was pushed. It is good when no push failed and every domain's edges serve it. */
export function outcomeOf(
  name: string,
  decision: Decision,
  deployments: readonly Deployment[],
  verifications: readonly Verification[],
): Outcome {
  const told = deployments.map(({ error, ...deployment }) =>
    error ? { ...deployment, error: reported(error, 'deploy') } : deployment,
  );
  const pushFailed = deployments.find(({ error }) => error)?.error;
  const domains = [...new Set(verifications.map(({ domain }) => domain))];
  const unserved = domains.filter((domain) => !isServed(verifications.filter((one) => one.domain === domain)));
  const shared = { name, decision, deployments: told, verifications };
  if (pushFailed) return { ...shared, status: 'failed', error: reported(pushFailed, 'deploy') };
  if (unserved.length > 0)
    return { ...shared, status: 'failed', error: reported(notServed(unserved, verifications), 'verify') };
  return { ...shared, status: decision.action === 'renew' ? 'renewed' : 'redeployed' };
}

function notServed(domains: readonly string[], verifications: readonly Verification[]): AutocertError {
  const edges = verifications
    .filter(({ domain, status }) => domains.includes(domain) && status !== 'served')
    .map(({ domain, edge, status }) => `${domain} at ${edge} is ${status}`);
  return new AutocertError({
    code: 'NOT_SERVED',
    message: `The CDN took the certificate, but it was not served in time: ${edges.join(', ')}.`,
    retryable: true,
    remedy: "Wait for the next run, which deploys it again; if it stays so, ask the CDN's support with the request id.",
  });
}

/** The outcome with its standing, unless there is nothing to tell. `record` is what the run left in the store. */
export function withStanding(outcome: Outcome, { spec, domains }: Observation, record: CertificateRecord): Outcome {
  if (outcome.status === 'kept') return outcome;
  const { failures } = record;
  const isGood = outcome.status === 'renewed' || outcome.status === 'redeployed';
  const endsAt = isGood ? record.certificate?.notAfter : endOf(domains, outcome, record);
  const standing = {
    identifiers: spec.identifiers,
    ...(endsAt !== undefined && { endsAt }),
    ...(failures && { failures }),
  };
  return { ...outcome, standing };
}

/** The first end of what the domains were seen with, those left out that serve the stored certificate by now. */
function endOf(
  domains: readonly DomainObservation[],
  { verifications = [] }: Outcome,
  { certificate }: CertificateRecord,
): string | undefined {
  const waiting = domains.filter(({ domain }) => !isServed(verifications.filter((one) => one.domain === domain)));
  const ends = (waiting.length > 0 ? waiting : domains).flatMap(({ configured }) => {
    if (!configured) return [];
    const end = configured.facts?.notAfter.toISOString() ?? certificate?.notAfter;
    return end === undefined ? [] : [end];
  });
  return ends.sort((a, b) => Date.parse(a) - Date.parse(b))[0];
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
