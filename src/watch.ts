import pLimit from 'p-limit';
import { type Config, configSecrets, loadConfig } from './config.ts';
import { connect } from './connect.ts';
import type { Target, TargetDomain } from './deploy.ts';
import { type Deps, timeLeft } from './deps.ts';
import { toAutocertError } from './errors.ts';
import { type CertificateSpec, inventory } from './inventory.ts';
import { createDeps, credentialsOf, type Invocation, loadOptions, secretsOf } from './invocation.ts';
import { type CertificateRecord, emptyRecord, type Index, readIndex, readRecord, type Store } from './record.ts';
import { type ReportedError, reported, type Step } from './report.ts';
import type { Edges } from './verify.ts';
import { judgeConfigured, judgeEdge, type Watched } from './watched.ts';

/** The result of a look: a contract. */
export interface WatchReport {
  readonly version: 1;
  readonly runId: string;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly certificates: readonly Watched[];
  /** What kept it from looking at the certificates, or at all of them. */
  readonly error?: ReportedError;
}

/** Thrown by a look that found something wrong, so that FC counts a failure and its destination tells a person. */
export class WatchFailed extends Error {
  override readonly name = 'WatchFailed';
  readonly report: WatchReport;

  constructor(report: WatchReport) {
    super(watchSummary(report));
    this.report = report;
  }
}

/** What a look reads. It writes nothing. */
export interface WatchPorts {
  readonly target: Pick<Target, 'list' | 'current'>;
  readonly edges: Edges;
  readonly store: Store;
}

const DOMAINS_AT_ONCE = 32;
/** One look, from the environment to the report. Never throws: what keeps it from looking is in the report. */
export async function watch(invocation: Invocation): Promise<WatchReport> {
  const startedAt = invocation.now();
  const secrets = secretsOf(invocation);
  const deps = createDeps(invocation, startedAt, secrets);
  const open: { close(): void }[] = [];
  let found: Found;
  try {
    const config = await loadConfig(invocation.env['AUTOCERT_CONFIG'] ?? '', loadOptions(invocation, deps, open));
    secrets.push(...configSecrets(config));
    const ports = connect(config, async () => credentialsOf(invocation), deps);
    open.push(ports);
    found = await watchAll(config, ports, deps);
  } catch (thrown) {
    found = { certificates: [], error: reported(toAutocertError(thrown), 'config') };
  } finally {
    for (const connection of open) connection.close();
  }
  const report: WatchReport = {
    version: 1,
    runId: invocation.runId,
    startedAt: startedAt.toISOString(),
    finishedAt: invocation.now().toISOString(),
    ...found,
  };
  deps.log[isGoodWatch(report) ? 'info' : 'error']('watch_finished', { summary: watchSummary(report), report });
  return report;
}

export function isGoodWatch({ certificates, error }: WatchReport): boolean {
  return error === undefined && certificates.every(({ status }) => status === 'ok');
}

/** The one sentence that stands in FC's error and in the last log line. */
function watchSummary({ certificates, error }: WatchReport): string {
  const wrong = certificates.filter(({ status }) => status !== 'ok');
  const told = wrong.map(({ domain, edge, status, message }) => {
    return `${domain}${edge === undefined ? '' : ` at ${edge}`} is ${status} (${message})`;
  });
  if (error) told.unshift(`${error.code}: ${error.message} ${error.remedy}`);
  return told.length > 0 ? told.join('; ') : `${certificates.length} readings, all as they should be.`;
}

type Found = Pick<WatchReport, 'certificates' | 'error'>;

/**
 * What clients get, against what is stored: read anew, and judged without asking what the renewal decided or did.
 *
 * A renewal that finds nothing to do writes nothing, so the store does not tell whether its timer still fires. What does
 * tell is a certificate that is due: the timer acts on it at most one interval after its time, which is the time that
 * the CA suggests (RFC 9773) or the last third of its life. One that is still there two intervals after that has not
 * been renewed, because the timer has stopped or because what it starts fails. Either way a person must know.
 *
 * What may be a deployment under way, or an edge that is gone for a moment, is looked at once more after
 * `verify.patience`.
 */
export async function watchAll(config: Config, ports: WatchPorts, deps: Deps): Promise<Found> {
  let step: Step = 'inventory';
  try {
    const account = new Map((await ports.target.list()).map((entry) => [entry.domain, entry]));
    step = 'record';
    const records = [...(await readIndex(ports.store)).records.values()];
    step = 'inventory';
    const { specs, problems } = await inventory(config, [...account.values()], { records, now: deps.now() });
    step = 'record';
    const context = { config, account, ports, deps };
    let certificates = await look(specs, context);
    const again = new Set(certificates.filter(mayPass).map(({ name }) => name));
    if (again.size > 0) {
      deps.log.info('looking_again', { names: [...again] });
      await deps.sleep(Math.min(config.verify.patience, timeLeft(deps) / 2));
      const few = specs.filter(({ name }) => again.has(name));
      const second = await look(few, context);
      certificates = [...certificates.filter(({ name }) => !again.has(name)), ...second];
    }
    const [problem] = problems;
    return { certificates, ...(problem && { error: reported(problem, 'inventory') }) };
  } catch (thrown) {
    return { certificates: [], error: reported(toAutocertError(thrown), step) };
  }
}

/** Not what only an order mends: no order is done in that time. */
function mayPass({ status }: Watched): boolean {
  return status !== 'ok' && status !== 'overdue';
}

interface LookContext {
  readonly config: Config;
  readonly account: ReadonlyMap<string, TargetDomain>;
  readonly ports: WatchPorts;
  readonly deps: Deps;
}

async function look(specs: readonly CertificateSpec[], context: LookContext): Promise<Watched[]> {
  const { ports, deps } = context;
  const index = await readIndex(ports.store);
  const slots = pLimit(DOMAINS_AT_ONCE);
  const looks = specs.flatMap((spec) =>
    spec.domains.map((domain) =>
      slots(async () => {
        const of = { name: spec.name, domain };
        const found = await lookAt(spec, domain, index, context);
        const watched = found.map((one): Watched => ({ ...of, ...one }));
        for (const one of watched) if (one.status !== 'ok') deps.log.warn('not_as_it_should_be', { ...one });
        return watched;
      }),
    ),
  );
  return (await Promise.all(looks)).flat();
}

/** One domain that cannot be judged stops no other. */
async function lookAt(
  spec: CertificateSpec,
  domain: string,
  index: Index,
  { config, account, ports, deps }: LookContext,
): Promise<Omit<Watched, 'name' | 'domain'>[]> {
  const entry = account.get(domain);
  if (!entry) return [{ status: 'mismatch', message: 'It is no CDN domain of this account.' }];
  if (entry.status !== 'online' && entry.status !== 'configuring')
    return [{ status: 'ok', message: `The domain is ${entry.status}: nothing is served.` }];
  if (!entry.https) return [{ status: 'mismatch', message: 'HTTPS is off: no certificate is served.' }];
  try {
    const record = await recordOf(spec.name, index, ports.store);
    const [configured, readings] = await Promise.all([
      record.certificate && ports.target.current(domain),
      ports.edges.read(domain, entry.cname),
    ]);
    const judge = { spec, record, now: deps.now(), interval: config.renewal.interval };
    const isAnswered = readings.some(({ pem }) => pem !== undefined);
    const served = readings.map((reading) => ({ edge: reading.edge, ...judgeEdge(reading, isAnswered, judge) }));
    return [...judgeConfigured(configured, judge), ...served];
  } catch (thrown) {
    const { code, message } = toAutocertError(thrown);
    return [{ status: 'unreachable', message: `It cannot be judged (${code}: ${message})` }];
  }
}

/** A run that was killed, or is at work, leaves the index behind the records of what it works on. */
async function recordOf(name: string, { working, records }: Index, store: Store): Promise<CertificateRecord> {
  return working.has(name) ? readRecord(store, name) : (records.get(name) ?? emptyRecord(name));
}
