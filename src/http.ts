import * as v from 'valibot';

/** A request as FC 3.0's HTTP trigger tells of it to an event function. */
export interface HttpRequest {
  /** Upper case. */
  readonly method: string;
  readonly path: string;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Uint8Array;
}

/** What an event function answers an HTTP trigger with. */
export interface HttpAnswer {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly isBase64Encoded: false;
  readonly body: string;
}

/** https://www.alibabacloud.com/help/en/functioncompute/fc-3-0/user-guide/http-trigger-invoking-function */
const HttpEvent = v.object({
  version: v.literal('v1'),
  rawPath: v.optional(v.string(), '/'),
  headers: v.optional(v.record(v.string(), v.unknown()), {}),
  body: v.optional(v.string(), ''),
  isBase64Encoded: v.optional(v.boolean(), false),
  requestContext: v.object({ http: v.object({ method: v.string() }) }),
});

/** Undefined for an event that is not an HTTP trigger's. */
export function parseHttpEvent(event: Uint8Array): HttpRequest | undefined {
  const result = v.safeParse(HttpEvent, parseJson(event));
  if (!result.success) return undefined;
  const { rawPath, headers, body, isBase64Encoded, requestContext } = result.output;
  const fields = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)] as const);
  return {
    method: requestContext.http.method.toUpperCase(),
    path: rawPath,
    headers: new Map(fields),
    body: Buffer.from(body, isBase64Encoded ? 'base64' : 'utf8'),
  };
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}

/** What every answer carries: nothing of it is kept, framed, sniffed, run or loaded from elsewhere. */
const HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};

export function answer(
  statusCode: number,
  type: 'text/html' | 'application/json',
  body: string,
  more: Readonly<Record<string, string>> = {},
): HttpAnswer {
  const headers = { 'content-type': `${type}; charset=utf-8`, ...HEADERS, ...more };
  return { statusCode, headers, isBase64Encoded: false, body };
}

export function jsonAnswer(statusCode: number, value: unknown, more?: Readonly<Record<string, string>>): HttpAnswer {
  return answer(statusCode, 'application/json', `${JSON.stringify(value)}\n`, more);
}
