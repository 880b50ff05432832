import { randomUUID } from 'node:crypto';
import type { Invocation } from '../src/run.ts';
import { Secret } from '../src/secret.ts';

/** The part of FC's nodejs20 context that is used (https://www.alibabacloud.com/help/en/functioncompute/context-1-1). */
export interface FunctionContext {
  readonly requestId?: string;
  readonly credentials?: { readonly accessKeyId?: string; readonly accessKeySecret?: string; readonly securityToken?: string };
  /** `timeout` in seconds. */
  readonly function?: { readonly timeout?: number };
  readonly region?: string;
}

/** FC's default timeout is 3 s, in which nothing can be done; a context that names none is not FC's. */
const TIMEOUT_WITHOUT_CONTEXT = 600;

/**
 * What FC gives, in our words. Credentials are those of the function's role; where there is none, the environment's, as on
 * a machine of one's own.
 */
export function invocationOf(context: FunctionContext, env: NodeJS.ProcessEnv): Invocation {
  const startedAt = Date.now();
  const timeout = (context.function?.timeout ?? TIMEOUT_WITHOUT_CONTEXT) * 1000;
  return {
    runId: context.requestId ?? randomUUID(),
    env,
    region: context.region || env['FC_REGION'],
    endsAt: new Date(startedAt + timeout),
    credentials: credentialsOf(context) ?? credentialsOf({ credentials: fromEnvironment(env) }),
    now: () => new Date(),
    random: Math.random,
    write: (line) => process.stdout.write(`${line}\n`),
  };
}

function credentialsOf({ credentials }: FunctionContext): Invocation['credentials'] {
  if (!credentials?.accessKeyId || !credentials.accessKeySecret) return undefined;
  const { accessKeyId, accessKeySecret, securityToken } = credentials;
  return {
    accessKeyId,
    accessKeySecret: new Secret(accessKeySecret),
    ...(securityToken && { securityToken: new Secret(securityToken) }),
  };
}

function fromEnvironment(env: NodeJS.ProcessEnv): NonNullable<FunctionContext['credentials']> {
  return {
    accessKeyId: env['ALIBABA_CLOUD_ACCESS_KEY_ID'] ?? '',
    accessKeySecret: env['ALIBABA_CLOUD_ACCESS_KEY_SECRET'] ?? '',
    securityToken: env['ALIBABA_CLOUD_SECURITY_TOKEN'] ?? '',
  };
}
