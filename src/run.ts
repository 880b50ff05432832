import { connectCloud } from './cloud.ts';
import { parseNotifying } from './config/notify.ts';
import { type Config, configSecrets, loadConfig } from './config.ts';
import type { Deps } from './deps.ts';
import { toAutocertError } from './errors.ts';
import { parseRenewEvent } from './event.ts';
import {
  configText,
  createDeps,
  credentialsOf,
  type Invocation,
  inMargin,
  loadOptions,
  secretsOf,
} from './invocation.ts';
import type { RunRequest } from './plan.ts';
import { asLogged, isGoodRun, type RunReport, reported, type Step, summary } from './report.ts';
import type { Secret } from './secret.ts';

/** One invocation while it lasts. */
interface Running {
  readonly invocation: Invocation;
  readonly startedAt: Date;
  /** Grows with what the configuration holds. */
  readonly secrets: Secret[];
  readonly deps: Deps;
  /** What is closed at the end. */
  readonly open: { close(): void }[];
}

/** How a run ended, and what is needed to tell of it. */
interface Ended {
  readonly report: RunReport;
  /** Undefined when the run did not come so far. */
  readonly config: Config | undefined;
  readonly asked: Asked | undefined;
}

/** What a run is asked for. */
export type Asked = Omit<RunRequest, 'runId' | 'plan'>;

/** Reads an event before the configuration is read; what it means may depend on that. Throws EVENT_INVALID. */
export type EventReader = (event: Uint8Array) => (config: Config) => Asked;

/** One run, from event and environment to the report. Never throws: what ends it is in the report. */
export async function run(
  event: Uint8Array,
  invocation: Invocation,
  readEvent: EventReader = readRenewEvent,
): Promise<RunReport> {
  const startedAt = invocation.now();
  const secrets = secretsOf(invocation);
  const deps = createDeps(invocation, startedAt, secrets);
  const running: Running = { invocation, startedAt, secrets, deps, open: [] };
  try {
    const ended = await attempt(event, running, readEvent);
    const told = invocation.plan ? undefined : await tell(ended, running);
    const report = told === undefined ? ended.report : { ...ended.report, told };
    deps.log[isGoodRun(report) ? 'info' : 'error']('run_finished', {
      summary: summary(report),
      report: asLogged(report),
    });
    return report;
  } finally {
    for (const connection of running.open) connection.close();
  }
}

function readRenewEvent(event: Uint8Array): () => Asked {
  const asked = parseRenewEvent(event);
  return () => asked;
}

async function attempt(
  event: Uint8Array,
  { invocation, startedAt, secrets, deps, open }: Running,
  readEvent: EventReader,
): Promise<Ended> {
  const { runId, plan } = invocation;
  let step: Step = 'event';
  let config: Config | undefined;
  let asked: Asked | undefined;
  try {
    const askedOf = readEvent(event);
    step = 'config';
    config = await loadConfig(invocation.env['AUTOCERT_CONFIG'] ?? '', loadOptions(invocation, deps, open));
    secrets.push(...configSecrets(config));
    asked = askedOf(config);
    const credentials = async () => credentialsOf(invocation);
    const cloud = connectCloud(config, credentials, deps);
    open.push(cloud.rpc);
    step = 'inventory';
    // What deals with the answer is loaded while the cloud makes it; it finds it in the target.
    const isAsked = asked.only?.length !== 0;
    const [{ connect, connectWorkers }, { reconcileAll }] = await Promise.all([
      import('./connect.ts'),
      import('./reconcile.ts'),
      isAsked && cloud.target.list(),
    ]);
    step = 'config';
    const ports = connect(config, credentials, deps, { cloud });
    open.push(ports);
    const workers = invocation.workers && connectWorkers(invocation.workers, config, credentials, deps);
    const report = await reconcileAll(config, { ...ports, workers }, { runId, ...asked, plan }, deps);
    return { report, config, asked };
  } catch (thrown) {
    const error = toAutocertError(thrown);
    deps.log.error('run_failed', { step, error });
    const finishedAt = invocation.now().toISOString();
    const report: RunReport = {
      version: 1,
      runId,
      startedAt: startedAt.toISOString(),
      finishedAt,
      outcomes: [],
      error: reported(error, step),
    };
    return { report, config, asked };
  }
}

/**
 * Events come from outside too: one that is rubbish, or names what there is not, must wake nobody from here. Nor is it
 * said that people were told: whoever sent it is answered, and of an asynchronous one FC's failure destination tells.
 */
function isAskersFault({ error, outcomes }: RunReport, asked: Asked | undefined): boolean {
  if (error) return error.code === 'EVENT_INVALID';
  return asked?.only !== undefined && outcomes.some((outcome) => outcome.error?.step === 'inventory');
}

/** Tells people and the heartbeat, in the time that was kept for it. Undefined when there is nobody to tell. */
async function tell({ report, config, asked }: Ended, running: Running): Promise<boolean | undefined> {
  const { invocation, secrets, open } = running;
  const deps = inMargin(running.deps, invocation);
  // At a terminal whoever is to repair a run that did not start sees it.
  if (!config && invocation.attended) return undefined;
  const askersFault = isAskersFault(report, asked);
  if (report.error && askersFault) return undefined;
  if (config?.notify.length === 0 && !config.heartbeat) return undefined;
  try {
    const credentials = async () => credentialsOf(invocation);
    const notifying = config ?? (await parseNotifying(await configText(invocation, deps, open), invocation));
    for (const { url, secret } of notifying.notify)
      secrets.push(...[url, secret].filter((value) => value !== undefined));
    const { openChannels } = await import('./notify/deliver.ts');
    const { beat, notify } = await import('./notify.ts');
    const channels = openChannels({ config: notifying, credentials, secrets, deps });
    open.push(channels);
    let told: boolean | undefined;
    if (notifying.notify.length > 0) {
      const { connect } = await import('./connect.ts');
      // The run's own connections end with its deadline.
      const ports = config && connect(config, credentials, deps);
      if (ports) open.push(ports);
      told = await notify(report, {
        config: notifying,
        channels,
        store: ports?.store,
        full: asked?.only === undefined,
        deps,
      });
    }
    // An event says nothing of the timer, whose silence the heartbeat is there to reveal.
    const isTimers = (asked?.intent ?? 'renew') === 'renew';
    if (config?.heartbeat && isTimers && isGoodRun(report)) await beat(config.heartbeat, channels, deps);
    return askersFault ? undefined : told;
  } catch (thrown) {
    deps.log.error('notify_failed', { error: toAutocertError(thrown) });
    return undefined;
  }
}
