import { randomUUID } from 'node:crypto';
import { environmentCredentials, toCredentials } from '../src/aliyun/credentials.ts';
import { AutocertError } from '../src/errors.ts';
import type { Invocation, WorkersAddress } from '../src/invocation.ts';
import { createLogger } from '../src/log.ts';

/** The part of FC's nodejs20 context that is used (https://www.alibabacloud.com/help/en/functioncompute/context-1-1). */
export interface FunctionContext {
  readonly requestId?: string;
  /** Of the function's role; empty strings when it has none. */
  readonly credentials?: {
    readonly accessKeyId?: string;
    readonly accessKeySecret?: string;
    readonly securityToken?: string;
  };
  /** `timeout` in seconds. */
  readonly function?: { readonly timeout?: number };
  readonly region?: string;
  /** The account that the function belongs to. */
  readonly accountId?: string;
  /** Where the log goes; empty in functions that keep none. */
  readonly service?: { readonly logProject?: string; readonly logStore?: string };
}

/** Seconds. A context that names no timeout is not FC's. */
const TIMEOUT_WITHOUT_CONTEXT = 600;

/** What the invocation and its log begin with. */
type Start = Pick<Invocation, 'runId' | 'env' | 'now' | 'write'>;

/** What FC gives, in our words. */
export function invocationOf(context: FunctionContext, env: NodeJS.ProcessEnv): Invocation {
  const timeout = (context.function?.timeout ?? TIMEOUT_WITHOUT_CONTEXT) * 1000;
  const start: Start = {
    runId: context.requestId ?? randomUUID(),
    env,
    now: () => new Date(),
    write: (line) => process.stdout.write(`${line}\n`),
  };
  return {
    ...start,
    region: context.region || env['FC_REGION'],
    endsAt: new Date(Date.now() + timeout),
    credentials: toCredentials(context.credentials ?? {}) ?? environmentCredentials(env),
    random: Math.random,
    plan: false,
    workers: workersOf(context, start),
  };
}

/**
 * `AUTOCERT_WORK_FUNCTION` is `function` of FC 3.0, or `service/function` of FC 2.0. What cannot be used is said and ends no
 * run: one without workers renews all the same.
 */
function workersOf({ accountId, region }: FunctionContext, { env, ...line }: Start): WorkersAddress | undefined {
  const count = Number(env['AUTOCERT_WORKERS'] || 1);
  const [name, service] = (env['AUTOCERT_WORK_FUNCTION'] ?? '').split('/').reverse();
  if (!Number.isInteger(count) || count < 1) {
    const remedy = 'Set AUTOCERT_WORKERS to how many instances of work may run at once, 1 for none.';
    warn(line, 'AUTOCERT_WORKERS is no whole number from 1 on', remedy);
    return undefined;
  }
  if (count === 1 || !accountId || !region) return undefined;
  if (!name) {
    const remedy = 'Set AUTOCERT_WORK_FUNCTION to function or service/function, or AUTOCERT_WORKERS to 1.';
    warn(line, 'AUTOCERT_WORK_FUNCTION names no function', remedy);
    return undefined;
  }
  return { count, address: { accountId, region, service, function: name } };
}

function warn(line: Omit<Start, 'env'>, problem: string, remedy: string): void {
  const message = `${problem}: this run does all of its work itself.`;
  const error = new AutocertError({ code: 'CONFIG_INVALID', message, retryable: false, remedy });
  createLogger(line).warn('workers_ignored', { error });
}
