import type { Authorities } from './authorities.ts';
import type { Config } from './config.ts';
import { type Decision, decide, type Intent } from './decide.ts';
import type { Target } from './deploy.ts';
import type { Deps } from './deps.ts';
import { toAutocertError } from './errors.ts';
import { withoutFailures } from './failures.ts';
import type { Workers } from './fanout.ts';
import type { CertificateSpec } from './inventory.ts';
import { type Observation, type Observers, observe } from './observe.ts';
import { failedOutcome, keptOutcome, withStanding } from './outcome.ts';
import type { Quarantine } from './quarantine.ts';
import { type CertificateRecord, emptyRecord, type Index, readRecord, type Store } from './record.ts';
import { reminderOf } from './reminder.ts';
import type { Outcome, Reminder } from './report.ts';
import { inTurn } from './turn.ts';
import type { Edges } from './verify.ts';

/** The world, as far as the flow touches it. */
export interface Ports {
  readonly target: Target;
  readonly edges: Edges;
  readonly store: Store;
  readonly authorities: Authorities;
  /** Who does a part of what is too much for one invocation. */
  readonly workers?: Workers | undefined;
}

/** What this run is asked for. */
export interface RunRequest {
  readonly runId: string;
  /** Default: renew. */
  readonly intent?: Intent;
  /** Certificate names and domains; undefined means all, none at all that there is nothing to do. */
  readonly only?: readonly string[] | undefined;
  /** Do it whatever the rules say, and push what they would refuse. */
  readonly force: boolean;
  /** Observe and decide, and change nothing. */
  readonly plan?: boolean;
}

/** A certificate before anything is done about it. */
export interface Plan {
  readonly spec: CertificateSpec;
  readonly record: CertificateRecord;
  readonly observation: Observation;
  readonly decision: Decision;
  readonly reminder: Reminder | undefined;
}

/** What the first look at all certificates gave. */
export interface Looked {
  /** Of each certificate, in their order: what is to be done, or where there is nothing to do what became of it. */
  readonly planned: (Plan | Outcome)[];
  /** Records that the index does not have as they are. */
  readonly unindexed: readonly CertificateRecord[];
}

export interface RunContext {
  readonly config: Config;
  readonly ports: Ports;
  readonly observers: Observers;
  readonly request: RunRequest;
  readonly quarantine: Quarantine;
  readonly deps: Deps;
}

/** Certificates looked at at once: each opens a connection to every edge of its domains. */
export const LOOKS_AT_ONCE = 50;
/** Of what is well, and that is all of a large account as a rule, no more is kept than its outcome. */
export async function lookAtAll(specs: readonly CertificateSpec[], index: Index, context: RunContext): Promise<Looked> {
  const planned: (Plan | Outcome)[] = [];
  const unindexed: CertificateRecord[] = [];
  const queue = specs.entries();
  const lookOn = async () => {
    for (const [at, spec] of queue) {
      const plan = await planOne(spec, index, context);
      if (isPlan(plan) && plan.record !== index.records.get(spec.name)) unindexed.push(plan.record);
      planned[at] = isPlan(plan) && !isWork(plan) ? asOutcome(plan) : plan;
    }
  };
  await Promise.all(Array.from({ length: LOOKS_AT_ONCE }, lookOn));
  return { planned, unindexed };
}

/**
 * Observe, then decide. A name that a killed run left in the index's `working` is read from its own record, and so is one
 * that is to be redeployed: the event may tell of a record that is newer than the index.
 */
async function planOne(spec: CertificateSpec, index: Index, context: RunContext): Promise<Plan | Outcome> {
  const { ports, request } = context;
  try {
    const trusted = index.records.get(spec.name) ?? emptyRecord(spec.name);
    const isNewer = index.working.has(spec.name) || (request.intent ?? 'renew') !== 'renew';
    return await look(spec, isNewer ? await readRecord(ports.store, spec.name) : trusted, context);
  } catch (thrown) {
    const error = toAutocertError(thrown);
    context.deps.log.error('observe_failed', { name: spec.name, error });
    const endsAt = index.records.get(spec.name)?.certificate?.notAfter;
    return {
      ...failedOutcome(spec.name, error, 'observe'),
      standing: { identifiers: spec.identifiers, ...(endsAt !== undefined && { endsAt }) },
    };
  }
}

export async function look(spec: CertificateSpec, record: CertificateRecord, context: RunContext): Promise<Plan> {
  const { config, observers, ports, request, deps } = context;
  const observed = await observe(spec, record, observers);
  const decision = decide(observed, {
    now: deps.now(),
    interval: config.renewal.interval,
    directoryUrls: ports.authorities.directoryUrls,
    force: request.force,
    intent: request.intent ?? 'renew',
  });
  // That all is well is in the report: a line for each of thousands would cost more than finding it out.
  if (decision.reason !== 'Current') deps.log.info('decided', { name: spec.name, ...decision });
  const observation =
    decision.reason === 'Current' ? { ...observed, record: withoutFailures(observed.record) } : observed;
  return { spec, record, observation, decision, reminder: reminderOf(observation, deps.now()) };
}

export function createObservers(
  { target, edges, authorities }: Ports,
  account: Observers['account'],
  isTurn: Observers['isTurn'],
  deps: Deps,
): Observers {
  return { target, edges, account, isTurn, deps, renewalAdvice: authorities.renewalAdvice };
}

/** Whatever is asked for, or was left behind by a run that was killed, does not wait for its turn. */
export function createTurn(
  specs: readonly CertificateSpec[],
  index: Index,
  { renewal: { interval } }: Config,
  { only, force, intent = 'renew' }: RunRequest,
  deps: Deps,
): Observers['isTurn'] {
  if (only || force || intent !== 'renew') return () => true;
  const domains = specs.reduce((sum, spec) => sum + spec.domains.length, 0);
  const turn = inTurn({ domains, now: deps.now(), interval });
  return (domain, certificate) => index.working.has(certificate) || turn(domain);
}

export function isPlan(plan: Plan | Outcome): plan is Plan {
  return 'observation' in plan;
}

function isWork({ decision, observation, record }: Plan): boolean {
  return decision.action !== 'keep' || observation.record !== record;
}

/** Not what could not be looked at. */
export function isDecided({ decision }: Plan | Outcome): boolean {
  return decision !== undefined;
}

export function nameOf(plan: Plan | Outcome): string {
  return isPlan(plan) ? plan.spec.name : plan.name;
}

export function asOutcome(plan: Plan | Outcome): Outcome {
  if (!isPlan(plan)) return plan;
  const { observation, decision } = plan;
  return withReminder(withStanding(keptOutcome(observation, decision), observation, observation.record), plan);
}

/** What fails is told as that. */
export function withReminder(outcome: Outcome, { reminder }: Plan): Outcome {
  return reminder && outcome.status !== 'failed' ? { ...outcome, reminder } : outcome;
}

/** What has no certificate at all goes before everything. */
export function endsFirst(a: Plan, b: Plan): number {
  return endOf(a) - endOf(b);
}

function endOf({ record: { certificate } }: Plan): number {
  return certificate ? Date.parse(certificate.notAfter) : 0;
}
