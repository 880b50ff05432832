import { setTimeout } from 'node:timers/promises';
import type { Credentials } from './aliyun/credentials.ts';
import type { FunctionAddress } from './aliyun/fc.ts';
import { type LoadOptions, readConfigText } from './config.ts';
import type { Deps } from './deps.ts';
import { AutocertError } from './errors.ts';
import { createLogger } from './log.ts';
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
  /** A person is there and reads the result. */
  readonly attended?: boolean;
  /** Where a part of the work can be done. Absent at a terminal, and in a deployment of one worker. */
  readonly workers?: WorkersAddress | undefined;
}

export interface WorkersAddress {
  readonly address: FunctionAddress;
  /** How many instances of it may run at once. */
  readonly count: number;
}

/** The share of the time that is kept for records, report and alert, and its bounds in milliseconds. */
const MARGIN = { share: 0.1, least: 3_000, most: 60_000 };
/** Milliseconds that are left to the process itself when even the alert must be done. */
const LAST_MARGIN = 1_000;

/** `secrets` may grow: what is in it at the time of a log line is taken out of that line. */
export function createDeps(
  { endsAt, now, random, write, runId }: Invocation,
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

/** The same for what is done in the margin: telling people. */
export function inMargin(deps: Deps, { endsAt }: Invocation): Deps {
  return { ...deps, deadline: new Date(endsAt.getTime() - LAST_MARGIN) };
}

/** The configuration's text. It may itself be an object of OSS; then the run's own credentials read it. */
export async function configText(invocation: Invocation, deps: Deps, open: { close(): void }[]): Promise<string> {
  return readConfigText(invocation.env['AUTOCERT_CONFIG'] ?? '', loadOptions(invocation, deps, open));
}

export function loadOptions(invocation: Invocation, deps: Deps, open: { close(): void }[]): LoadOptions {
  const { env, region } = invocation;
  return {
    env,
    region,
    async readObject({ bucket, key }) {
      const endpoint = `https://oss-${region ?? 'cn-hangzhou'}.aliyuncs.com`;
      const { createOss } = await import('./aliyun/oss.ts');
      const oss = createOss({ endpoint, bucket, credentials: () => credentialsOf(invocation), deps });
      open.push(oss);
      const bytes = await oss.get(key);
      return bytes && new TextDecoder().decode(bytes);
    },
  };
}

export function credentialsOf({ credentials }: Pick<Invocation, 'credentials'>): Credentials {
  if (credentials) return credentials;
  throw new AutocertError({
    code: 'CREDENTIALS_MISSING',
    message: 'There are no credentials for the cloud API.',
    retryable: false,
    remedy: 'Give the function a role, or set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET.',
  });
}

export function secretsOf({ credentials }: Pick<Invocation, 'credentials'>): Secret[] {
  if (!credentials) return [];
  const { accessKeySecret, securityToken } = credentials;
  return securityToken ? [accessKeySecret, securityToken] : [accessKeySecret];
}
