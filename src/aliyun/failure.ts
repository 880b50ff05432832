import type { Secret } from '../secret.ts';
import { isRecord } from './answer.ts';
import { AliyunError, meaningOf, meaningOfStatus, ramAction } from './errors.ts';
import { redact } from './redact.ts';

export interface FailureContext {
  readonly action: string;
  readonly version: string;
  readonly host: string;
  /** What must not show in any message: the secrets and the AccessKey of this request. */
  readonly secrets: readonly (Secret | string | undefined)[];
  readonly now: Date;
  /** Milliseconds that the call had, when it ran into its own time limit. */
  readonly timedOutAfter: number | undefined;
}

/** Nothing was sent: the name did not resolve, nobody listened, or the TLS handshake failed. */
const NOT_SENT = /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL)$/;
const TLS = /^(CERT_|ERR_TLS|ERR_SSL|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|HOSTNAME_MISMATCH|EPROTO)/;

/** Whatever pop-core throws, as one of ours: what it threw itself holds headers, the body or the URL and is not kept. */
export function toAliyunError(thrown: unknown, context: FailureContext): AliyunError {
  if (thrown instanceof AliyunError) return thrown;
  const { action, host, timedOutAfter } = context;
  if (timedOutAfter !== undefined || nameOf(thrown) === 'RequestTimeoutError') {
    const limit = timedOutAfter === undefined ? '' : ` within ${timedOutAfter} ms`;
    return unreachable(context, `${host} did not answer${limit}`, {
      retryable: true,
      outcomeUnknown: true,
      cause: 'ETIMEDOUT',
    });
  }
  if (thrown instanceof Error && 'data' in thrown && isRecord(thrown.data))
    return refusal(thrown, thrown.data, context);
  const errno =
    thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : undefined;
  if (errno !== undefined && TLS.test(errno)) {
    return unreachable(context, `the TLS handshake with ${host} failed`, {
      retryable: false,
      outcomeUnknown: false,
      cause: errno,
    });
  }
  if (errno !== undefined) {
    const outcomeUnknown = !NOT_SENT.test(errno);
    const what = outcomeUnknown ? `the connection to ${host} broke off` : `${host} cannot be reached`;
    return unreachable(context, what, { retryable: true, outcomeUnknown, cause: errno });
  }
  if (thrown instanceof URIError) {
    return new AliyunError({
      code: 'REQUEST_REFUSED',
      message: `${action}: a parameter is not well-formed text and was not sent`,
      retryable: false,
      remedy: 'Remove broken characters from the names in the configuration.',
      action,
    });
  }
  return invalid(context, 'the answer is not a JSON object', undefined);
}

/** The API's own refusal: `{RequestId, HostId, Code, Message, Recommend}`. */
function refusal(thrown: Error, data: Record<string, unknown>, context: FailureContext): AliyunError {
  const { status, headers } = responseOf(thrown);
  const apiCode = wordOr(data['Code'], 'UnknownCode');
  const meaning = meaningOf(apiCode, status);
  const message = redact(typeof data['Message'] === 'string' ? data['Message'] : '', context.secrets);
  return new AliyunError({
    ...meaning,
    // The operator needs the action as a RAM policy writes it.
    remedy: meaning.remedy.replace('this action', ramAction(context.version, context.action)),
    message: `${context.action}: ${apiCode}: ${message}`,
    action: context.action,
    apiCode,
    httpStatus: status,
    outcomeUnknown: meaning.code === 'SERVICE_UNAVAILABLE',
    retryAfter: retryAfter(headers, context.now),
    requestId: requestIdOf(data),
  });
}

/** An answer with a bad status and no `Code`: pop-core takes it for a success. */
export function badStatus(status: number, data: unknown, context: FailureContext): AliyunError {
  const meaning = meaningOfStatus(status);
  return new AliyunError({
    ...meaning,
    message: `${context.action}: ${context.host} answered HTTP ${status} without a code`,
    action: context.action,
    httpStatus: status,
    outcomeUnknown: status >= 500,
    requestId: requestIdOf(data),
  });
}

/** An answer that no API of Alibaba Cloud gives: a proxy's page, a cut body, JSON without RequestId. */
export function invalid(context: FailureContext, what: string, httpStatus: number | undefined): AliyunError {
  return new AliyunError({
    code: 'RESPONSE_INVALID',
    message: `${context.action}: ${what} (${context.host})`,
    retryable: true,
    remedy: 'Check that the endpoint of this product is the API itself and that no proxy answers in its place.',
    action: context.action,
    httpStatus,
    outcomeUnknown: true,
  });
}

function unreachable(
  { action, host }: FailureContext,
  what: string,
  { cause, ...how }: { readonly retryable: boolean; readonly outcomeUnknown: boolean; readonly cause: string },
): AliyunError {
  return new AliyunError({
    ...how,
    code: 'SERVICE_UNREACHABLE',
    message: `${action}: ${what} (${cause})`,
    remedy: `Check that the function reaches ${host} and that the endpoint of this product and its region are right.`,
    action,
    cause: new Error(cause),
  });
}

function nameOf(thrown: unknown): unknown {
  return isRecord(thrown) || thrown instanceof Error ? thrown.name : undefined;
}

function requestIdOf(data: unknown): string | undefined {
  return wordOr(isRecord(data) ? data['RequestId'] : undefined, undefined);
}

/** Codes and request ids are words. Whatever else stands in their place is not repeated. */
function wordOr<T>(value: unknown, otherwise: T): string | T {
  return typeof value === 'string' && /^[A-Za-z0-9._-]{1,64}$/.test(value) ? value : otherwise;
}

/** Status and headers of the answer that pop-core attaches as `entry`. */
export function responseOf(thrown: unknown): { status: number | undefined; headers: Record<string, unknown> } {
  const entry = thrown instanceof Error && 'entry' in thrown ? thrown.entry : thrown;
  const response = isRecord(entry) ? entry['response'] : undefined;
  const status = isRecord(response) && typeof response['statusCode'] === 'number' ? response['statusCode'] : undefined;
  const headers = isRecord(response) && isRecord(response['headers']) ? response['headers'] : {};
  return { status, headers };
}

/** `x-acs-retry-after` is milliseconds; `Retry-After` (RFC 9110 section 10.2.3) is seconds or a date. */
function retryAfter(headers: Record<string, unknown>, now: Date): Date | undefined {
  const milliseconds = headers['x-acs-retry-after'];
  if (typeof milliseconds === 'string' && /^\d{1,9}$/.test(milliseconds))
    return new Date(now.getTime() + Number(milliseconds));
  const plain = headers['retry-after'];
  if (typeof plain !== 'string') return undefined;
  if (/^\d{1,6}$/.test(plain)) return new Date(now.getTime() + Number(plain) * 1_000);
  const date = new Date(plain);
  return Number.isNaN(date.getTime()) ? undefined : date;
}
