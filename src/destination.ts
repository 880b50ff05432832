import * as v from 'valibot';
import { ERROR_CODES } from './errors.ts';
import type { Crash, CrashReason, Finding } from './notify/crash.ts';
import { TOLD } from './report.ts';

/** A field that is not what it should be is as good as none: an alert about half an event is better than none. */
function lenient<const S extends v.GenericSchema>(schema: S) {
  return v.fallback(v.optional(schema), undefined);
}

const text = lenient(v.pipe(v.string(), v.maxLength(4096)));

const DestinationSchema = v.object({
  timestamp: lenient(v.union([v.number(), v.string()])),
  requestContext: lenient(
    v.object({
      requestId: text,
      functionArn: text,
      condition: text,
      approximateInvokeCount: lenient(v.pipe(v.number(), v.integer(), v.minValue(0))),
    }),
  ),
  responseContext: lenient(v.object({ statusCode: lenient(v.number()), functionError: text })),
  responsePayload: lenient(v.union([v.string(), v.record(v.string(), v.unknown())])),
});

export interface Destination {
  readonly crash: Crash;
  /** The run itself has told people, so that nobody need hear of it twice. */
  readonly told: boolean;
}

/**
 * FC's event to a failure destination
 * (https://help.aliyun.com/zh/functioncompute/user-guide/result-callback). Whatever it is, there is an answer. Of the
 * payloads, which may hold anything, only names, error codes and findings of our own error texts are taken.
 */
export function parseDestination(event: Uint8Array): Destination {
  const parsed = v.safeParse(DestinationSchema, parseJson(event));
  if (!parsed.success) return { crash: { reason: 'unknown', failed: [], noticed: [] }, told: false };
  const { timestamp, requestContext: context, responseContext: response, responsePayload } = parsed.output;
  const error = errorOf(responsePayload);
  const condition = word(context?.condition) ?? word(error.type);
  const names = functionOf(context?.functionArn);
  const noticed = error.type === 'WatchFailed' ? noticedIn(error.message) : [];
  const signs = [context?.condition, response?.functionError, error.type, error.message];
  return {
    crash: {
      ...names,
      requestId: id(context?.requestId),
      at: instant(timestamp),
      reason: noticed.length > 0 ? 'noticed' : reasonOf(signs, response?.statusCode),
      condition,
      tries: context?.approximateInvokeCount,
      failed: failedIn(error.message),
      noticed,
    },
    told: TELLERS.includes(error.type) && error.message.trimEnd().endsWith(TOLD),
  };
}

function parseJson(event: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(event));
  } catch {
    return undefined;
  }
}

/** What FC tells of a handler that threw: `{errorMessage, errorType, stackTrace}`, as text. */
function errorOf(payload: string | Record<string, unknown> | undefined): {
  readonly message: string;
  readonly type: string;
} {
  const value = typeof payload === 'string' ? parseJson(new TextEncoder().encode(payload)) : payload;
  if (typeof value !== 'object' || value === null)
    return { message: typeof payload === 'string' ? payload : '', type: '' };
  const { errorMessage, errorType }: { errorMessage?: unknown; errorType?: unknown } = value;
  return {
    message: typeof errorMessage === 'string' ? errorMessage : '',
    type: typeof errorType === 'string' ? errorType : '',
  };
}

/** Errors of ours whose last word on whether people were told is to be believed; of a worker's shard its coordinator tells. */
const TELLERS = ['RunFailed', 'WorkFailed'];

const SIGNS: readonly (readonly [CrashReason, RegExp])[] = [
  ['timeout', /timed?[\s_-]*out/i],
  ['memory', /out\s*of\s*memory|\boom\b|memory (limit|exceed|exhaust)|heap/i],
  ['crashed', /exited unexpectedly|process (exited|crashed)|unexpected exit|instance ended|health check/i],
  ['throttled', /throttl|concurrency|QuotaExceeded|AccountSuspended|ResourceThrottled/i],
  // FC's one word for an instance that used up time or memory; without more words it was the memory.
  ['memory', /ResourceExhausted/i],
  ['failed', /./],
];

/** A handler's own words come last: what it says may name anything. */
function reasonOf(signs: readonly (string | undefined)[], statusCode: number | undefined): CrashReason {
  const text = signs.filter((sign) => sign !== undefined && sign !== '').join('\n');
  if (text.includes('RunFailed')) return 'failed';
  const found = SIGNS.find(([, sign]) => sign.test(text));
  if (found) return found[0];
  return statusCode === undefined || statusCode === 200 ? 'unknown' : 'throttled';
}

const CODES: ReadonlySet<string> = new Set(ERROR_CODES);

/** `name (CODE: ...)`, as the summary of a run has it, or the code at the beginning of one that did not start. */
function failedIn(message: string): { readonly name: string; readonly code: string }[] {
  const all = [...message.matchAll(/(?:^|[:;] )([a-z0-9][a-z0-9._-]{0,63}) \(([A-Z][A-Z0-9_]{2,60}):/g)];
  const failed = all.flatMap(([, name = '', code = '']) => (CODES.has(code) ? [{ name, code }] : []));
  const [, first = ''] = /^([A-Z][A-Z0-9_]{2,60}): /.exec(message) ?? [];
  return failed.length === 0 && CODES.has(first) ? [{ name: 'run', code: first }] : failed.slice(0, 20);
}

const FINDINGS: readonly Finding[] = ['overdue', 'expired', 'stale', 'unreachable', 'mismatch'];
const MOST_NOTICED = 20;

/** `<domain> at <edge> is <finding> (...)`, as `watch` sums up. Of a domain the first, which is what the API or an edge shows. */
function noticedIn(message: string): { readonly domain: string; readonly finding: Finding }[] {
  const found = new Map<string, Finding>();
  for (const [, domain = '', word] of message.matchAll(
    /(?:^|; )(\*?[a-z0-9.-]{1,253})(?: at [^ ;()]{1,80})? is ([a-z]+) \(/g,
  )) {
    const finding = FINDINGS.find((one) => one === word);
    if (finding && !found.has(domain)) found.set(domain, finding);
  }
  return [...found].slice(0, MOST_NOTICED).map(([domain, finding]) => ({ domain, finding }));
}

/** `acs:fc:<region>:<account>:functions/<name>`; in FC 2.0 `services/<service>.<qualifier>/functions/<name>`. */
function functionOf(arn: string | undefined): Pick<Crash, 'region' | 'functionName'> {
  const match =
    /^acs:fc:([a-z0-9-]{1,40}):[^:]{0,40}:(?:services\/[^/]{1,140}\/)?functions\/([A-Za-z0-9_-]{1,128})/.exec(
      arn ?? '',
    );
  return { region: match?.[1], functionName: match?.[2] };
}

function word(value: string | undefined): string | undefined {
  return value !== undefined && /^[A-Za-z][A-Za-z0-9._-]{0,80}$/.test(value) ? value : undefined;
}

function id(value: string | undefined): string | undefined {
  return value !== undefined && /^[A-Za-z0-9-]{1,64}$/.test(value) ? value : undefined;
}

/** Milliseconds; older pages show a text. */
function instant(timestamp: number | string | undefined): Date | undefined {
  const date = timestamp === undefined ? undefined : new Date(timestamp);
  return date && Number.isFinite(date.getTime()) ? date : undefined;
}
