import { isDeepStrictEqual } from 'node:util';
import pLimit from 'p-limit';
import type { Config } from './config.ts';
import type { Decision } from './decide.ts';
import { type Deployment, deploy, type TargetDomain } from './deploy.ts';
import { type Deps, timeLeft } from './deps.ts';
import { AutocertError, toAutocertError } from './errors.ts';
import { withoutFailures } from './failures.ts';
import type { Errand, Settled } from './fanout/paper.ts';
import { type InboxResult, takeInbox } from './inbox.ts';
import { type Inventory, inventory, select } from './inventory.ts';
import { type Lease, takeLease } from './lease.ts';
import type { DomainObservation, Observation } from './observe.ts';
import { failedOutcome, outcomeOf, withStanding } from './outcome.ts';
import {
  asOutcome,
  createObservers,
  createTurn,
  endsFirst,
  isDecided,
  isPlan,
  LOOKS_AT_ONCE,
  type Looked,
  look,
  lookAtAll,
  nameOf,
  type Plan,
  type Ports,
  type RunContext,
  type RunRequest,
  withReminder,
} from './plan.ts';
import { createQuarantine } from './quarantine.ts';
import {
  type CertificateRecord,
  type Index,
  pruneBundles,
  readBundle,
  readIndex,
  readRecord,
  writeIndex,
  writeRecord,
} from './record.ts';
import { remember, rememberFailure } from './remember.ts';
import { type Outcome, type RunReport, reported, type Step } from './report.ts';
import { verify } from './verify.ts';

/** A lease or a share of one: what is asked before each side effect. */
type Held = Omit<Lease, 'release'>;

/** Milliseconds that an order takes at least: with less left, none is begun. */
const ORDER_TAKES = 20_000;
/** The lease outlives the deadline by the margin in which a run writes its records. */
const LEASE_MARGIN = 60_000;

/**
 * The whole flow: which certificates there are, what is known of each, what is to be done, and doing it. One certificate
 * that fails stops no other. A run that finds nothing to do reads and writes nothing more than it must to know that.
 */
export async function reconcileAll(config: Config, ports: Ports, request: RunRequest, deps: Deps): Promise<RunReport> {
  const startedAt = deps.now();
  const quarantine = createQuarantine(ports.store, deps);
  const report = (outcomes: readonly Outcome[], more: Pick<RunReport, 'ignored' | 'error'> = {}): RunReport => ({
    version: 1,
    runId: request.runId,
    startedAt: startedAt.toISOString(),
    finishedAt: deps.now().toISOString(),
    outcomes,
    ...(quarantine.objects.length > 0 && { setAside: quarantine.objects }),
    ...more,
  });

  if (request.only?.length === 0) {
    deps.log.info('nothing_asked');
    return report([]);
  }
  let step: Step = 'inventory';
  try {
    const account = new Map((await ports.target.list()).map((entry) => [entry.domain, entry]));
    step = 'record';
    const known = await readIndex(ports.store, request.plan ? undefined : quarantine);
    const leaseEnd = new Date(deps.deadline.getTime() + LEASE_MARGIN);
    const { target, store } = ports;
    const inbox = await takeInbox(known, { config, account, target, store, request, leaseEnd, deps });
    const { index } = inbox;
    const stock = await takeStock(config, account, inbox, request, deps);
    const isTurn = createTurn(stock.specs, index, config, request, deps);
    const observers = createObservers(ports, account, isTurn, deps);
    const context: RunContext = { config, ports, request, quarantine, deps, observers };
    const looked = await lookAtAll(stock.specs, index, context);
    const outcomes = request.plan ? looked.planned.map(asOutcome) : await act(looked, index, context);
    const problems = stock.problems.map((error): Outcome => failedOutcome('inventory', error, 'inventory'));
    return report(
      [...problems, ...inbox.outcomes, ...outcomes],
      stock.ignored.length > 0 ? { ignored: stock.ignored } : {},
    );
  } catch (thrown) {
    const error = toAutocertError(thrown);
    deps.log.error('run_failed', { step, error });
    return report([], { error: reported(error, step) });
  }
}

async function takeStock(
  config: Config,
  account: ReadonlyMap<string, TargetDomain>,
  { index, settled }: InboxResult,
  { only, intent }: RunRequest,
  deps: Deps,
): Promise<Inventory> {
  const all = await inventory(config, [...account.values()], { records: [...index.records.values()], now: deps.now() });
  if (!only) return all;
  // Of what was refused or taken back there is no certificate, and all is said already.
  const isSaid = (word: string) => settled.includes(word) && !all.specs.some(({ name }) => name === word);
  const selected = select(
    all.specs,
    only.filter((word) => !isSaid(word)),
  );
  if (intent !== 'react') return selected;
  // What a person names must match something; what an event of the cloud names may be nobody's work.
  const ignored = all.ignored.filter(({ domain }) => only.includes(domain));
  for (const { message } of selected.problems) deps.log.info('not_ours', { message, ignored });
  return { ...selected, ignored, problems: [] };
}

/**
 * Does what was decided, the certificate that ends first going first. In `planned` the outcome takes the place of its plan,
 * which nobody holds any more then: of thousands of certificates, the most of what a run has in memory is to be its report.
 */
async function act({ planned, unindexed }: Looked, index: Index, context: RunContext): Promise<Outcome[]> {
  const { ports, request, deps } = context;
  // A name whose work is undone or unknown, and is not looked at in this run, stays one.
  const seen = new Set(planned.filter(isDecided).map(nameOf));
  const unseen = [...index.working].filter((name) => !seen.has(name));
  if (!planned.some(isPlan) && unseen.length === index.working.size) return planned.map(asOutcome);
  const conclude = (plan: Plan, outcome: Outcome, record: CertificateRecord): void => {
    planned[planned.indexOf(plan)] = withStanding(outcome, plan.observation, record);
  };
  try {
    const lease = await takeLease(ports.store, request.runId, new Date(deps.deadline.getTime() + LEASE_MARGIN), deps);
    const { store } = lease;
    const holding: RunContext = { ...context, ports: { ...ports, store } };
    try {
      // What is left of a run that was killed while others worked for it: by the lease they are stopped.
      if (index.working.size > 0) await (await import('./fanout.ts')).clearWork(store, context);
      // Another run may have taken a certificate from the inbox since: the index alone knows of it.
      const records = new Map((await readIndex(store)).records);
      for (const record of unindexed) records.set(record.name, record);
      await writeIndex(store, { working: new Set([...unseen, ...planned.filter(isPlan).map(nameOf)]), records });
      const elsewhere = await handOut(planned.filter(isPlan), lease, holding);
      const settle = (plan: Plan, { outcome, record }: Settled): void => {
        const told = elsewhere ? asOfThisRun(outcome, record, plan) : outcome;
        conclude(plan, withReminder(told, plan), record);
        records.set(plan.spec.name, record);
      };
      if (elsewhere) {
        for (const plan of planned.filter(isPlan)) {
          const settled = elsewhere.get(plan.spec.name);
          if (settled) settle(plan, settled);
        }
      }
      await reconcileEach(planned.filter(isPlan), lease, holding, settle);
      await writeIndex(store, { working: new Set(unseen), records });
    } finally {
      await lease.release();
    }
  } catch (thrown) {
    const error = toAutocertError(thrown);
    deps.log.warn('not_started', { error });
    const status = error.code === 'LEASE_HELD' || error.code === 'LEASE_LOST' ? 'deferred' : 'failed';
    for (const plan of planned.filter(isPlan)) {
      const { spec, decision, record } = plan;
      conclude(plan, { name: spec.name, status, decision, error: reported(error, 'record') }, record);
    }
  }
  return planned.map(asOutcome);
}

/**
 * Has others do what one invocation has no time for; undefined when nobody was asked. An order is reckoned at ORDER_TAKES,
 * the least that it is begun with, and `acme.concurrency` of them go on together; pushes fit in between.
 */
async function handOut(
  work: readonly Plan[],
  lease: Lease,
  { config, ports: { workers, authorities }, request, quarantine, deps }: RunContext,
): Promise<ReadonlyMap<string, Settled> | undefined> {
  const orders = work.filter(({ decision }) => decision.action === 'renew').length;
  if (!workers || Math.ceil(orders / config.acme.concurrency) * ORDER_TAKES <= timeLeft(deps)) return undefined;
  // Made before, so that they find one account and do not each ask for it.
  await authorities.openAccount();
  const { runId, intent = 'renew', only, force } = request;
  const errands = work
    .filter(({ decision }) => decision.action !== 'keep')
    .sort(endsFirst)
    .map(({ spec, record, observation }): Errand => ({ spec, record, advice: observation.record.advice }));
  const { fanOut } = await import('./fanout.ts');
  return fanOut(errands, { workers, lease, runId, request: { intent, only, force }, quarantine, deps });
}

/** A worker that died may have renewed what it told nobody of: what the next one finds and keeps, or deploys, is new all the same. */
function asOfThisRun(outcome: Outcome, { certificate }: CertificateRecord, { record, decision }: Plan): Outcome {
  const isNew = certificate?.fingerprint !== record.certificate?.fingerprint;
  return isNew && (outcome.status === 'kept' || outcome.status === 'redeployed')
    ? { ...outcome, status: 'renewed', decision }
    : outcome;
}

/** A worker's part of a run: looks at its certificates, which may have changed since the coordinator did, and does what is due. */
export async function reconcileErrands(
  errands: readonly Errand[],
  lease: Held,
  context: Omit<RunContext, 'observers'>,
  settle: (settled: Settled) => void,
): Promise<void> {
  const { ports, deps } = context;
  const account = new Map((await ports.target.list()).map((entry) => [entry.domain, entry]));
  // Each of them is there because something speaks for it.
  const observers = createObservers(ports, account, () => true, deps);
  const holding: RunContext = { ...context, ports: { ...ports, store: lease.store }, observers };
  await reconcileEach(await lookAtErrands(errands, holding, settle), lease, holding, (_, settled) => settle(settled));
}

/** What cannot be looked at is settled by that. */
async function lookAtErrands(
  errands: readonly Errand[],
  context: RunContext,
  settle: (settled: Settled) => void,
): Promise<Plan[]> {
  const looks = pLimit(LOOKS_AT_ONCE);
  const planned = await Promise.all(
    errands.map(({ spec, record, advice }) =>
      looks(async (): Promise<Plan[]> => {
        try {
          return [{ ...(await look(spec, { ...record, ...(advice && { advice }) }, context)), record }];
        } catch (thrown) {
          const error = toAutocertError(thrown);
          context.deps.log.error('observe_failed', { name: spec.name, error });
          settle({ outcome: failedOutcome(spec.name, error, 'observe'), record });
          return [];
        }
      }),
    ),
  );
  return planned.flat();
}

/**
 * Every certificate by itself, the one that ends first going first: `acme.concurrency` of them at a time until they are
 * pushed. Waiting for the edges keeps no other from its turn. `work` is emptied: what is done is held by nobody.
 */
async function reconcileEach(
  work: Plan[],
  lease: Held,
  context: RunContext,
  settle: (plan: Plan, settled: Settled) => void,
): Promise<void> {
  work.sort(endsFirst).reverse();
  const finished: Promise<void>[] = [];
  const finish = async (plan: Plan, pushed: () => void): Promise<void> => {
    const settled = await reconcileOne(plan, lease, pushed, context);
    const { name, status } = settled.outcome;
    context.deps.log.info('certificate_finished', { name, status });
    settle(plan, settled);
  };
  const begin = (plan: Plan) =>
    new Promise<void>((pushed) => {
      const end = finish(plan, pushed);
      finished.push(end);
      // A defect is thrown when all have ended. A rejection that nobody waits for until then would end the process.
      end.catch(() => undefined).finally(pushed);
    });
  const workOn = async (): Promise<void> => {
    for (let plan = work.pop(); plan; plan = work.pop()) await begin(plan);
  };
  await Promise.all(Array.from({ length: context.config.acme.concurrency }, workOn));
  await Promise.all(finished);
}

/** The way of one certificate: look again now that nobody else changes anything, issue, deploy, verify, record. */
async function reconcileOne(plan: Plan, lease: Held, pushed: () => void, context: RunContext): Promise<Settled> {
  const { config, ports, deps } = context;
  const { store } = ports;
  const { name } = plan.spec;
  const memory = { store, observers: context.observers, interval: config.renewal.interval };
  let { record, decision } = plan;
  let step: Step = 'record';
  try {
    const current = await lookAgain(plan, context);
    ({ decision, record } = current);
    let { observation } = current;
    if (decision.action === 'keep') {
      await writeRecord(store, observation.record);
      return { outcome: asOutcome(current), record: observation.record };
    }
    if (decision.action === 'renew') {
      step = 'issue';
      record = withoutFailures(await issueInTime(current, lease, context));
      observation = { ...observation, record };
    }
    step = 'deploy';
    const { fingerprint = '' } = record.certificate ?? {};
    const deployments = await deployStored(observation, fingerprint, decision, lease, context);
    pushed();
    step = 'verify';
    const verifications = await verify(
      name,
      toVerify(observation, deployments),
      fingerprint,
      ports.edges,
      config.verify.patience,
      deps,
    );
    step = 'record';
    const outcome = outcomeOf(name, decision, deployments, verifications);
    record = await remember(observation, deployments, outcome.error, memory);
    // The one before it stays until its successor is known to be served.
    if (outcome.status === 'renewed')
      await pruneBundles(store, name, [fingerprint, current.record.certificate?.fingerprint ?? '']);
    return { outcome, record };
  } catch (thrown) {
    const error = toAutocertError(thrown);
    deps.log.error('certificate_failed', { name, step, error });
    if (!isPostponement(error) && error.code !== 'ACME_LIMIT_REACHED')
      record = await rememberFailure(record, error, step, memory);
    const status = isPostponement(error) || isLimit(error) ? 'deferred' : 'failed';
    return { outcome: { name, status, decision, error: reported(error, step) }, record };
  }
}

/** Whoever waits for the edges afterwards has no key in memory any more. Throws STORE_CORRUPT. */
async function deployStored(
  observation: Observation,
  fingerprint: string,
  decision: Decision,
  lease: Held,
  { ports, request, deps }: RunContext,
): Promise<Deployment[]> {
  const bundle = await readBundle(ports.store, observation.spec.name, fingerprint);
  const forced = request.force && request.only !== undefined;
  const again = decision.reason === 'Forced';
  return deploy(observation, { ...bundle, fingerprint }, { target: ports.target, lease, forced, again, deps });
}

/** Another run may have done the work between our look and our lease: its record is the truth. */
async function lookAgain(plan: Plan, context: RunContext): Promise<Plan> {
  const record = await readRecord(context.ports.store, plan.spec.name);
  if (isDeepStrictEqual(record, plan.record)) return plan;
  // What a person insists on is done by whoever has issued since: once more would be a second order.
  const isDone = record.certificate?.fingerprint !== plan.record.certificate?.fingerprint;
  const { request } = context;
  return look(plan.spec, record, isDone ? { ...context, request: { ...request, force: false } } : context);
}

async function issueInTime(
  { spec, observation }: Plan,
  lease: Held,
  { ports, quarantine, deps }: RunContext,
): Promise<CertificateRecord> {
  if (timeLeft(deps) >= ORDER_TAKES) return ports.authorities.issue(spec, observation.record, lease, quarantine);
  throw new AutocertError({
    code: 'DEADLINE_REACHED',
    message: 'The time of this run is used up; the order is left to the next.',
    retryable: true,
    remedy: 'Nothing, if the next run does it. If it happens often, give the function a longer timeout.',
  });
}

/** Not a failure of the certificate: the run ended first, and the next one goes on. */
function isPostponement({ code }: AutocertError): boolean {
  return code === 'DEADLINE_REACHED' || code === 'LEASE_LOST' || code === 'ACME_ORDER_PENDING';
}

/** A limit of the CA whose end is known is no failure: one that the certificate cannot wait for has another code. */
function isLimit({ code, retryAfter }: AutocertError): boolean {
  return (code === 'ACME_LIMIT_REACHED' || code === 'ACME_RATE_LIMITED') && retryAfter !== undefined;
}

/** A push that failed is not looked for at the edges. */
function toVerify({ domains }: Observation, deployments: readonly Deployment[]): DomainObservation[] {
  const there = deployments.filter(({ status }) => status === 'deployed' || status === 'in-place');
  return domains.filter(({ domain }) => there.some((one) => one.domain === domain));
}
