// Not the package's index: that loads the client of the other API style, too, and an XML parser with it.
import RPCClient from '@alicloud/pop-core/lib/rpc.js';
import { type Deps, timeLeft } from '../deps.ts';
import { AutocertError } from '../errors.ts';
import type { CallLimiter } from '../ratelimit.ts';
import { type Pace, retry } from '../retry.ts';
import { Secret } from '../secret.ts';
import { isRecord, plain } from './answer.ts';
import type { Credentials, CredentialsProvider } from './credentials.ts';
import { AliyunError, hasApiCode, isSecurityTokenRefused } from './errors.ts';
import { badStatus, type FailureContext, invalid, responseOf, toAliyunError } from './failure.ts';
import { createSockets } from './sockets.ts';

export interface RpcCall {
  /** `https://cdn.aliyuncs.com` */
  readonly endpoint: string;
  /** `2018-05-10` */
  readonly version: string;
  readonly action: string;
  /** The action's own parameters by their documented names. What is undefined is left out. */
  readonly parameters?: Readonly<Record<string, string | Secret | undefined>>;
  /** The limiter of what this action shares its limit with; every attempt passes it. */
  readonly limiter?: CallLimiter;
  readonly policy?: Partial<Pace>;
  /** May be made past the deadline: it takes away what this run has made. Default false. */
  readonly cleanUp?: boolean;
  /**
   * For a write: asks whether an earlier attempt with an unknown outcome (no answer, a broken one) was carried out. An
   * answer stands in for the write's own; undefined means that it was not.
   */
  readonly readBack?: () => Promise<Record<string, unknown> | undefined>;
}

export interface Rpc {
  /**
   * Calls one action of an RPC API and gives its answer as plain data, integers of more than 15 digits as strings.
   * Throttling, short failures and a stale security token are tried again, each time signed anew. Throws AliyunError, or
   * CREDENTIALS_MISSING, or DEADLINE_REACHED.
   */
  call(call: RpcCall): Promise<Record<string, unknown>>;
  /** Closes every socket of this run. */
  close(): void;
}

export interface RpcOptions {
  readonly credentials: CredentialsProvider;
  readonly deps: Deps;
  /** Milliseconds for one request altogether. Default 15000: pushing a certificate takes several seconds at times. */
  readonly timeout?: number;
}

/** Milliseconds that a clean-up gets even when the deadline has passed. */
const CLEAN_UP_TIMEOUT = 5_000;
/** Milliseconds up to which a wrong clock is corrected by the server's; no decision of a run turns on an hour. */
const CORRECTABLE_SKEW = 3_600_000;

/** The common parameters of the RPC signature, version 1.0. Those are ours alone, in whatever case. */
const RESERVED = new Set(
  ['Action', 'Version', 'Format', 'AccessKeyId', 'Signature', 'SignatureMethod', 'SignatureVersion', 'SignatureNonce']
    .concat('SignatureType', 'Timestamp', 'SecurityToken')
    .map((name) => name.toLowerCase()),
);
const PARAMETER_NAME = /^[A-Z][A-Za-z0-9]*(\.[A-Za-z0-9]+)*$/;

/** One run's access to the RPC APIs of Alibaba Cloud. Only here is `@alicloud/pop-core` used, and only with `POST`. */
export function createRpc({ credentials, deps, timeout = 15_000 }: RpcOptions): Rpc {
  const sockets = createSockets(deps);
  /** What is added to `deps.now()` in a signature once the server has said that this clock is wrong. */
  let clockOffset: number | undefined;

  async function call(request: RpcCall): Promise<Record<string, unknown>> {
    checkParameters(request);
    let outcomeUnknown = false;
    let credentialsReread = false;

    const written = async () => (outcomeUnknown ? request.readBack?.() : undefined);
    const write = async () => {
      try {
        return await attempt(request);
      } catch (error) {
        outcomeUnknown ||= error instanceof AliyunError && error.outcomeUnknown;
        throw error;
      }
    };
    const operation = async (): Promise<Record<string, unknown>> => {
      const found = await written();
      if (found) return found;
      const offsetBefore = clockOffset;
      try {
        return await write();
      } catch (error) {
        if (hasApiCode(error, 'InvalidTimeStamp.Expired') && clockOffset !== offsetBefore) return write();
        if (!isSecurityTokenRefused(error) || credentialsReread) throw error;
        credentialsReread = true;
        deps.log.info('credentials_reread', { action: request.action });
        return write();
      }
    };
    try {
      return await retry(operation, { deps, policy: request.policy });
    } catch (error) {
      // The last write may be the one that was carried out.
      const found = timeLeft(deps) > 0 ? await written().catch(() => undefined) : undefined;
      if (found) return found;
      throw error;
    }
  }

  async function attempt(request: RpcCall): Promise<Record<string, unknown>> {
    const { action, endpoint, version, limiter, cleanUp = false } = request;
    const turn = await limiter?.take({ pastDeadline: cleanUp });
    const left = Math.max(timeLeft(deps), cleanUp ? CLEAN_UP_TIMEOUT : 0);
    if (left <= 0) throw deadlineReached(action);
    const { accessKeyId, accessKeySecret, securityToken } = await readCredentials(credentials, action);
    const parameters = wireParameters(request);
    if (clockOffset !== undefined) parameters['Timestamp'] = timestamp(new Date(deps.now().getTime() + clockOffset));

    const base = endpoint.replace(/(?<!\/)\/+$/, '');
    const client = new RPCClient({
      endpoint: base,
      apiVersion: version,
      accessKeyId,
      accessKeySecret: accessKeySecret.reveal(),
      ...(securityToken && { securityToken: securityToken.reveal() }),
    });
    // Not in pop-core's declarations: with it the answer comes with its HTTP status, which pop-core itself ignores.
    Object.assign(client, { verbose: true });

    const agent = sockets.take(base);
    const limit = Math.min(timeout, left);
    let timedOutAfter: number | undefined;
    const watchdog = setTimeout(() => {
      timedOutAfter = limit;
      sockets.drop(agent);
    }, limit);
    const context = (): FailureContext => ({
      action,
      version,
      host: new URL(base).host,
      secrets: [accessKeyId, accessKeySecret, securityToken, ...secretsOf(request)],
      now: deps.now(),
      timedOutAfter,
    });
    try {
      // pop-core's own limits only count when closing the socket did not end the request.
      const answered = await client.request<unknown>(action, parameters, {
        method: 'POST',
        formatAction: false,
        formatParams: false,
        timeout: limit + 1_000,
        agent,
      });
      const answer = checkAnswer(answered, context());
      sockets.keep(base, agent);
      return answer;
    } catch (thrown) {
      const error = toAliyunError(thrown, context());
      if (error.apiCode === undefined) sockets.drop(agent);
      else sockets.keep(base, agent);
      if (error.code === 'CALL_THROTTLED') turn?.throttled();
      if (error.apiCode === 'InvalidTimeStamp.Expired') throw skewed(error, responseOf(thrown).headers['date']);
      throw error;
    } finally {
      clearTimeout(watchdog);
    }
  }

  /** Says how far the clock is off, and corrects later signatures when that is little enough. */
  function skewed(error: AliyunError, date: unknown): AliyunError {
    const server = typeof date === 'string' ? new Date(date).getTime() : Number.NaN;
    if (Number.isNaN(server)) return error;
    const offset = server - deps.now().getTime();
    const seconds = Math.round(Math.abs(offset) / 1_000);
    if (clockOffset === undefined && Math.abs(offset) <= CORRECTABLE_SKEW) {
      clockOffset = offset;
      deps.log.warn('clock_skewed', { action: error.action, offsetSeconds: Math.round(offset / 1_000) });
    }
    return new AliyunError({
      code: 'CLOCK_SKEWED',
      message: `${error.action}: this clock is ${seconds} s ${offset > 0 ? 'behind' : 'ahead of'} the server's`,
      retryable: false,
      remedy: error.remedy,
      action: error.action,
      apiCode: error.apiCode,
      httpStatus: error.httpStatus,
      requestId: error.requestId,
    });
  }

  return { call, close: sockets.close };
}

async function readCredentials(provider: CredentialsProvider, action: string): Promise<Credentials> {
  try {
    const credentials = await provider();
    if (credentials.accessKeyId !== '' && credentials.accessKeySecret.reveal() !== '') return credentials;
  } catch (error) {
    if (error instanceof AutocertError) throw error;
  }
  throw new AliyunError({
    code: 'CREDENTIALS_MISSING',
    message: `${action}: there are no credentials to sign the call with`,
    retryable: false,
    remedy: 'Give the function a role, or set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET.',
    action,
  });
}

/** Nothing that comes from outside decides what is called, by whom or how it is signed. */
function checkParameters({ action, parameters = {} }: RpcCall): void {
  for (const [name, value] of Object.entries(parameters)) {
    const usable = PARAMETER_NAME.test(name) && !RESERVED.has(name.toLowerCase());
    if (usable && (value === undefined || typeof value === 'string' || value instanceof Secret)) continue;
    throw new AliyunError({
      code: 'INTERNAL',
      message: `${action}: ${JSON.stringify(name.slice(0, 40))} is no parameter that may be sent`,
      retryable: false,
      remedy: 'This is a defect of aliyun-cdn-autocert: please report it with the log line of this run.',
      action,
    });
  }
}

function wireParameters({ parameters = {} }: RpcCall): Record<string, string> {
  const wire: Record<string, string> = {};
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined) wire[name] = value instanceof Secret ? value.reveal() : value;
  }
  return wire;
}

function secretsOf({ parameters = {} }: RpcCall): Secret[] {
  return Object.values(parameters).filter((value) => value instanceof Secret);
}

/** `YYYY-MM-DDThh:mm:ssZ`, without milliseconds, as the signature's `Timestamp` is written. */
function timestamp(instant: Date): string {
  return instant.toISOString().replace(/\.\d+Z$/, 'Z');
}

/** pop-core calls anything a success that is JSON without `Code`: status, shape and RequestId are looked at here. */
function checkAnswer(answered: unknown, context: FailureContext): Record<string, unknown> {
  const [json, entry]: unknown[] = Array.isArray(answered) ? answered : [];
  const { status } = responseOf(entry);
  if (status === undefined || status < 200 || status > 299) throw badStatus(status ?? 0, json, context);
  const answer = plain(json);
  if (!isRecord(answer)) throw invalid(context, 'the answer is not a JSON object', status);
  if (typeof answer['RequestId'] !== 'string' || !/^[A-Za-z0-9._-]{1,64}$/.test(answer['RequestId'])) {
    throw invalid(context, 'the answer has no RequestId', status);
  }
  return answer;
}

function deadlineReached(action: string): AliyunError {
  return new AliyunError({
    code: 'DEADLINE_REACHED',
    message: `${action}: the run has no time left for this call`,
    retryable: false,
    remedy: 'Let the next run go on from here, or raise the timeout of the function.',
    action,
  });
}
