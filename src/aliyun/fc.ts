import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type { Deps } from '../deps.ts';
import type { CredentialsProvider } from './credentials.ts';
import { AliyunError, meaningOf, meaningOfStatus } from './errors.ts';

/** A deployed function. With a service it is one of FC 2.0, without one of FC 3.0: the two have different APIs. */
export interface FunctionAddress {
  readonly accountId: string;
  readonly region: string;
  readonly service?: string | undefined;
  readonly function: string;
}

export interface FunctionResult {
  /** What the handler returned, or FC's description of its error. */
  readonly payload: string;
  /** `x-fc-error-type`: set when the handler threw or the instance ended. */
  readonly errorType: string | undefined;
  readonly requestId: string;
}

export interface FcOptions {
  readonly credentials: CredentialsProvider;
  /** Instead of `https://<account>.<region>.fc.aliyuncs.com`. */
  readonly endpoint: string | undefined;
  readonly deps: Pick<Deps, 'log'>;
}

export interface Fc {
  /** Invokes a function and waits for its result. Throws AliyunError when FC did not run it. */
  invoke(address: FunctionAddress, event: string): Promise<FunctionResult>;
  /** Has FC invoke the function later, at least once: gives the request id. The event may have 128 KB. Throws AliyunError. */
  invokeAsync(address: FunctionAddress, event: string): Promise<string>;
}

interface Call {
  readonly address: FunctionAddress;
  readonly event: string;
  readonly how: 'Sync' | 'Async';
  readonly endpoint: string;
  readonly credentials: CredentialsProvider;
}

/** Milliseconds. A run may take as long as the function's own timeout; to queue an event takes none. */
const TIMEOUTS = { Sync: 15 * 60_000, Async: 10_000 };

/** The invocation of a function. Neither SDK is loaded before it is used. */
export function createFc({ credentials, endpoint, deps }: FcOptions): Fc {
  async function call(address: FunctionAddress, event: string, how: Call['how']): Promise<FunctionResult> {
    const base = endpoint ?? `https://${address.accountId}.${address.region}.fc.aliyuncs.com`;
    deps.log.info('invoking', { function: address.function, service: address.service, how });
    try {
      const invoke = address.service === undefined ? invokeFunction : invokeServiceFunction;
      return await invoke({ address, event, how, endpoint: base, credentials });
    } catch (thrown) {
      throw refusal(address, thrown);
    }
  }

  return {
    invoke: (address, event) => call(address, event, 'Sync'),
    async invokeAsync(address, event) {
      return (await call(address, event, 'Async')).requestId;
    },
  };
}

/** FC 2.0, API 2016-08-15. `secure`: without it the SDK sends the security token in clear. */
async function invokeServiceFunction({ address, event, how, endpoint, credentials }: Call): Promise<FunctionResult> {
  const { default: Client } = await import('@alicloud/fc2');
  const { accessKeyId, accessKeySecret, securityToken } = await credentials();
  const client = new Client(address.accountId, {
    accessKeyID: accessKeyId,
    accessKeySecret: accessKeySecret.reveal(),
    ...(securityToken && { securityToken: securityToken.reveal() }),
    region: address.region,
    endpoint,
    secure: true,
    timeout: TIMEOUTS[how],
  });
  const { headers, data } = await client.invokeFunction(
    address.service ?? '',
    address.function,
    event,
    { 'X-Fc-Invocation-Type': how },
    undefined,
    { rawBuf: true },
  );
  // What is JSON comes parsed, whatever was asked for.
  const payload = typeof data === 'string' || Buffer.isBuffer(data) ? data.toString() : JSON.stringify(data);
  return { payload, errorType: headers['x-fc-error-type'], requestId: headers['x-fc-request-id'] ?? '' };
}

/** FC 3.0, API 2023-03-30. */
async function invokeFunction({ address, event, how, endpoint, credentials }: Call): Promise<FunctionResult> {
  // A bundled CommonJS module has its exports on `default` alone; Node gives them there, too.
  const { default: sdk } = await import('@alicloud/fc20230330');
  const { Config } = (await import('@alicloud/openapi-core')).default.$OpenApiUtil;
  const { RuntimeOptions } = (await import('@darabonba/typescript')).default;
  const { accessKeyId, accessKeySecret, securityToken } = await credentials();
  const client = new sdk.default(
    new Config({
      accessKeyId,
      accessKeySecret: accessKeySecret.reveal(),
      ...(securityToken && { securityToken: securityToken.reveal() }),
      endpoint: new URL(endpoint).host,
    }),
  );
  const request = new sdk.InvokeFunctionRequest({ body: Readable.from([Buffer.from(event)]) });
  const headers = new sdk.InvokeFunctionHeaders({ xFcInvocationType: how });
  const runtime = new RuntimeOptions({ readTimeout: TIMEOUTS[how], connectTimeout: 10_000 });
  const response = await client.invokeFunctionWithOptions(address.function, request, headers, runtime);
  const payload = response.body ? (await buffer(response.body)).toString() : '';
  const told = response.headers ?? {};
  return { payload, errorType: told['x-fc-error-type'], requestId: told['x-fc-request-id'] ?? '' };
}

/** Both SDKs put what they know into the error's `code` and message; neither message holds a secret. */
function refusal({ function: name, service }: FunctionAddress, thrown: unknown): AliyunError {
  const code = thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : undefined;
  const status =
    Number(/failed with (\d{3})|code: (\d{3})/.exec(String(thrown))?.slice(1).find(Boolean) ?? 0) || undefined;
  const meaning = code === undefined ? meaningOfStatus(status ?? 503) : meaningOf(code, status ?? 400);
  const where = service === undefined ? name : `${service}/${name}`;
  return new AliyunError({
    ...meaning,
    message: `InvokeFunction: ${where}: ${code ?? (thrown instanceof Error ? thrown.name : 'no answer')}`,
    action: 'InvokeFunction',
    apiCode: code,
    httpStatus: status,
  });
}
