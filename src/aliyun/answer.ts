import * as v from 'valibot';
import { AliyunError } from './errors.ts';

/** Deeper than any answer of the APIs in use; what is deeper was not written by them. */
const DEEPEST = 32;

/**
 * pop-core's answer as plain data. Its JSON parser gives objects without a prototype and makes an integer of more than 15
 * digits (`CertId`) an object of a big-number library: here such a number is its digits, as a string. A field that would
 * become a prototype is left out. Throws RangeError when the answer is nested deeper than any that the APIs give.
 */
export function plain(value: unknown, depth = 0): unknown {
  if (depth > DEEPEST) throw new RangeError('nested too deeply');
  if (value === null || typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map((entry: unknown) => plain(entry, depth + 1));
  if (isBigNumber(value)) return value.toFixed();
  // By hand: Object.fromEntries takes eight times as long, and a list of thousands passes through here.
  const copy: Record<string, unknown> = {};
  for (const [key, entry] of Object.entries(value)) if (key !== '__proto__') copy[key] = plain(entry, depth + 1);
  return copy;
}

function isBigNumber(value: object): value is { toFixed(): string } {
  return Object.getPrototypeOf(value) !== null && 'toFixed' in value && typeof value.toFixed === 'function';
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

/**
 * A text that is kept. What the JSON parser cuts out of an answer is a window into it, and keeps the whole of it in
 * memory: of a list of thousands all its pages. This is a copy.
 */
export const keptText = v.pipe(
  v.string(),
  v.transform((text) => Buffer.from(text).toString()),
);

/** A number, or its digits: always as a string. */
export const digits = v.pipe(v.union([v.number(), v.string()]), v.transform(String));

/** A list that is left out, or an empty string in its place, when it has no entries. */
export function list<S extends v.GenericSchema>(container: string, entry: S) {
  const empty: v.InferOutput<S>[] = [];
  return v.pipe(
    v.optional(v.union([v.record(v.string(), v.unknown()), v.literal(''), v.null()]), null),
    v.transform((value): unknown => (isRecord(value) ? (value[container] ?? empty) : empty)),
    v.array(entry),
  );
}

/** The part of an answer that is used. Throws RESPONSE_INVALID that names the first field that is not as documented. */
export function readAnswer<S extends v.GenericSchema>(
  schema: S,
  answer: Record<string, unknown>,
  action: string,
): v.InferOutput<S> {
  const parsed = v.safeParse(schema, answer);
  if (parsed.success) return parsed.output;
  const issue = parsed.issues[0];
  throw new AliyunError({
    code: 'RESPONSE_INVALID',
    message: `${action}: the answer is not as documented at ${v.getDotPath(issue) ?? 'its top'}`,
    retryable: false,
    remedy: 'Check the endpoint of this product; if it is right, report the request id to aliyun-cdn-autocert.',
    action,
    requestId: typeof answer['RequestId'] === 'string' ? answer['RequestId'] : undefined,
  });
}
