import { setTimeout } from 'node:timers/promises';
import type { Credentials } from './aliyun/credentials.ts';
import { createOss } from './aliyun/oss.ts';
import { type Config, configSecrets, loadConfig } from './config.ts';
import { connect } from './connect.ts';
import type { Deps } from './deps.ts';
import { AutocertError, toAutocertError } from './errors.ts';
import { parseRenewEvent } from './event.ts';
import { createLogger } from './log.ts';
import { reconcileAll } from './reconcile.ts';
import { isGoodRun, type RunReport, reported, type Step, summary } from './report.ts';
import type { Secret } from './secret.ts';

/** What the outside gives to a run, whoever starts it: FC or a terminal. */
export interface Invocation {
  readonly runId: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly region: string | undefined;
  readonly credentials: Credentials | undefined;
  /** When the process is ended from outside. */
  readonly endsAt: Date;
  readonly now: () => Date;
  readonly random: () => number;
  /** Takes one log line. */
  readonly write: (line: string) => void;
  /** Observe and decide, and change nothing. */
  readonly plan: boolean;
}

/** The share of the time that is kept for records, report and alert, and its bounds in milliseconds. */
const MARGIN = { share: 0.1, least: 3_000, most: 60_000 };

/** One run, from event and environment to the report. Never throws: what ends it is in the report. */
export async function run(event: Uint8Array, invocation: Invocation): Promise<RunReport> {
  const startedAt = invocation.now();
  const secrets = secretsOf(invocation.credentials);
  const deps = createDeps(invocation, startedAt, secrets);
  const report = await attempt(event, invocation, startedAt, secrets, deps);
  deps.log[isGoodRun(report) ? 'info' : 'error']('run_finished', { summary: summary(report), report });
  return report;
}

async function attempt(
  event: Uint8Array,
  invocation: Invocation,
  startedAt: Date,
  secrets: Secret[],
  deps: Deps,
): Promise<RunReport> {
  const { runId, plan } = invocation;
  const open: { close(): void }[] = [];
  let step: Step = 'event';
  try {
    const { only, force } = parseRenewEvent(event);
    step = 'config';
    const config = await readConfig(invocation, deps, open);
    secrets.push(...configSecrets(config));
    const ports = connect(config, () => credentialsOf(invocation), deps);
    open.push(ports);
    return await reconcileAll(config, ports, { runId, only, force, plan }, deps);
  } catch (thrown) {
    const error = toAutocertError(thrown);
    deps.log.error('run_failed', { step, error });
    const finishedAt = invocation.now().toISOString();
    return {
      version: 1,
      runId,
      startedAt: startedAt.toISOString(),
      finishedAt,
      outcomes: [],
      error: reported(error, step),
    };
  } finally {
    for (const connection of open) connection.close();
  }
}

function createDeps(
  { runId, endsAt, now, random, write }: Invocation,
  startedAt: Date,
  secrets: readonly Secret[],
): Deps {
  const time = endsAt.getTime() - startedAt.getTime();
  const margin = Math.min(Math.max(time * MARGIN.share, MARGIN.least), MARGIN.most);
  return {
    now,
    random,
    sleep: (milliseconds, signal) => setTimeout(milliseconds, undefined, signal && { signal }),
    deadline: new Date(endsAt.getTime() - margin),
    log: createLogger({ write, now, runId, secrets }),
  };
}

/** The configuration may itself be an object of OSS; then the run's own credentials read it. */
async function readConfig(invocation: Invocation, deps: Deps, open: { close(): void }[]): Promise<Config> {
  const { env, region } = invocation;
  return loadConfig(env['AUTOCERT_CONFIG'] ?? '', {
    env,
    region,
    async readObject({ bucket, key }) {
      const oss = createOss({
        endpoint: `https://oss-${region ?? 'cn-hangzhou'}.aliyuncs.com`,
        bucket,
        credentials: () => credentialsOf(invocation),
        deps,
      });
      open.push(oss);
      const bytes = await oss.get(key);
      return bytes && new TextDecoder().decode(bytes);
    },
  });
}

function credentialsOf({ credentials }: Invocation): Credentials {
  if (credentials) return credentials;
  throw new AutocertError({
    code: 'CREDENTIALS_MISSING',
    message: 'There are no credentials for the cloud API.',
    retryable: false,
    remedy: 'Give the function a role, or set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET.',
  });
}

function secretsOf(credentials: Credentials | undefined): Secret[] {
  if (!credentials) return [];
  const { accessKeySecret, securityToken } = credentials;
  return securityToken ? [accessKeySecret, securityToken] : [accessKeySecret];
}
