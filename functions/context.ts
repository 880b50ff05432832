import { randomUUID } from 'node:crypto';
import { environmentCredentials, toCredentials } from '../src/aliyun/credentials.ts';
import type { Invocation, WorkersAddress } from '../src/invocation.ts';

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

/** What FC gives, in our words. */
export function invocationOf(context: FunctionContext, env: NodeJS.ProcessEnv): Invocation {
  const timeout = (context.function?.timeout ?? TIMEOUT_WITHOUT_CONTEXT) * 1000;
  return {
    runId: context.requestId ?? randomUUID(),
    env,
    region: context.region || env['FC_REGION'],
    endsAt: new Date(Date.now() + timeout),
    credentials: toCredentials(context.credentials ?? {}) ?? environmentCredentials(env),
    now: () => new Date(),
    random: Math.random,
    write: (line) => process.stdout.write(`${line}\n`),
    plan: false,
    workers: workersOf(context, env),
  };
}

/** `AUTOCERT_WORK_FUNCTION` is `function` of FC 3.0, or `service/function` of FC 2.0. */
function workersOf({ accountId, region }: FunctionContext, env: NodeJS.ProcessEnv): WorkersAddress | undefined {
  const count = Number(env['AUTOCERT_WORKERS']);
  const [name, service] = (env['AUTOCERT_WORK_FUNCTION'] ?? '').split('/').reverse();
  if (!Number.isInteger(count) || count < 2 || !name || !accountId || !region) return undefined;
  return { count, address: { accountId, region, service, function: name } };
}
