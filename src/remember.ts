import type { Deployment } from './deploy.ts';
import { type AutocertError, toAutocertError } from './errors.ts';
import { backsOff, withDeployFailure, withFailure, withoutFailures } from './failures.ts';
import { type Observation, type Observers, withAdvice } from './observe.ts';
import { type CertificateRecord, type Store, writeRecord } from './record.ts';
import type { ReportedError, Step } from './report.ts';

/** Where and how the end of one certificate's way is remembered. */
export interface Memory {
  readonly store: Store;
  readonly observers: Pick<Observers, 'renewalAdvice' | 'deps'>;
  /** Milliseconds between two runs: when a failed deployment is tried again. */
  readonly interval: number;
}

/** Saves under which names the domains have the certificate, the CA's advice on it, and the failure, if there was one. */
export async function remember(
  { record: before }: Observation,
  deployments: readonly Deployment[],
  failure: ReportedError | undefined,
  memory: Memory,
): Promise<CertificateRecord> {
  // A renewal that fails is not over because what is stored was deployed.
  const well = before.failures && backsOff(before.failures) ? before : withoutFailures(before);
  const kept = failure ? withStepFailure(before, failure, failure.step, memory) : well;
  const names = deployments.flatMap(({ domain, certName }) => (certName === undefined ? [] : [[domain, certName]]));
  const deployed = { ...kept.deployed, ...Object.fromEntries(names) };
  const record = await withAdvice({ ...kept, deployed }, memory.observers);
  await writeRecord(memory.store, record);
  return record;
}

/** A failure that cannot be remembered is still the failure that is reported. */
export async function rememberFailure(
  record: CertificateRecord,
  error: AutocertError,
  step: Step,
  memory: Memory,
): Promise<CertificateRecord> {
  const next = withStepFailure(record, error, step, memory);
  if (next === record) return record;
  try {
    await writeRecord(memory.store, next);
    return next;
  } catch (thrown) {
    memory.observers.deps.log.error('failure_not_recorded', { name: record.name, error: toAutocertError(thrown) });
    return record;
  }
}

/** The same record for a step whose failures the store is not the place for: it may be the store that failed. */
function withStepFailure(
  record: CertificateRecord,
  error: AutocertError | ReportedError,
  step: Step,
  { observers, interval }: Memory,
): CertificateRecord {
  // A store that fails has nothing to do with how often a CA may be asked.
  if (error.code.startsWith('STORE_')) return record;
  if (step === 'issue') return withFailure(record, error, observers.deps);
  if (step !== 'deploy' && step !== 'verify') return record;
  const { code, message, remedy, requestId } = error;
  return withDeployFailure(record, { code, message, remedy, requestId, step }, interval, observers.deps);
}
