import type { Logger } from './deps.ts';
import { AutocertError } from './errors.ts';
import { remember, withoutSecrets } from './redact.ts';
import { Secret } from './secret.ts';

export interface LoggerOptions {
  /** Takes one JSON line, without the line break. */
  readonly write: (line: string) => void;
  readonly now: () => Date;
  readonly runId: string;
  /** The lowest level that is written. Default info. */
  readonly level?: Level | undefined;
  /** Values that are taken out of every line in whatever form they stand. Read at each line: it may grow. */
  readonly secrets?: readonly Secret[];
}

type Level = (typeof LEVELS)[number];

const REDACTED = '[redacted]';
/** From the lowest. */
const LEVELS = ['debug', 'info', 'warn', 'error'] as const;
/** Function Compute cuts a log line at 32 KB. */
const LONGEST_LINE = 30_000;
const LONGEST_TEXT = 4_000;
const DEEPEST = 8;

/** One JSON line an event: time, level, event, runId, then the fields. No secret is in it, in whatever field it came. */
export function createLogger({ write, now, runId, level = 'info', secrets = [] }: LoggerOptions): Logger {
  const redact = createRedactor(secrets);
  const at =
    (own: Level) =>
    (event: string, fields: Record<string, unknown> = {}) => {
      if (LEVELS.indexOf(own) < LEVELS.indexOf(level)) return;
      // Our own names are nobody else's.
      const { time: _time, level: _level, event: _event, runId: _runId, ...rest } = fields;
      const line = { level: own, time: now().toISOString(), event, runId, ...shortened(rest, redact) };
      write(redact(JSON.stringify(line)));
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** The fields as plain JSON. When the line would be cut, its longest part goes. */
function shortened(fields: Record<string, unknown>, redact: (text: string) => string): Record<string, unknown> {
  const values = Object.entries(fields).map(([key, value]): [string, unknown] => [
    redact(key),
    plain(value, redact, 0, new Set()),
  ]);
  const size = (value: unknown) => Buffer.byteLength(JSON.stringify(value) ?? '');
  let total = values.reduce((sum, [, value]) => sum + size(value), 0);
  for (const entry of values.toSorted(([, a], [, b]) => size(b) - size(a))) {
    if (total <= LONGEST_LINE) break;
    total -= size(entry[1]);
    entry[1] = `[${size(entry[1])} bytes left out]`;
  }
  return Object.fromEntries(values);
}

function plain(value: unknown, redact: (text: string) => string, depth: number, seen: Set<object>): unknown {
  if (typeof value === 'string') {
    // Before it is cut: half a secret would not be found any more.
    const text = redact(value);
    return text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT)}...` : text;
  }
  if (typeof value === 'bigint') return String(value);
  if (typeof value !== 'object' || value === null)
    return typeof value === 'function' || typeof value === 'symbol' ? undefined : value;
  if (value instanceof Secret) return REDACTED;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'no date' : value.toISOString();
  if (value instanceof Uint8Array) return `[${value.byteLength} bytes]`;
  if (depth >= DEEPEST || seen.has(value)) return '[...]';
  const inside = new Set(seen).add(value);
  if (value instanceof Error) return plain(errorFields(value), redact, depth, inside);
  if (value instanceof Map || value instanceof Set) return plain([...value], redact, depth, inside);
  if (Array.isArray(value)) return value.map((item) => plain(item, redact, depth + 1, inside));
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [redact(key), plain(item, redact, depth + 1, inside)]),
  );
}

/** What of an error is worth a line; nothing of a foreign one but its name and message. */
function errorFields(error: Error): Record<string, unknown> {
  const causes: string[] = [];
  for (let cause = error.cause; cause !== undefined && cause !== null && causes.length < DEEPEST; ) {
    causes.push(
      cause instanceof Error ? `${cause.name}: ${cause.message}` : typeof cause === 'string' ? cause : typeof cause,
    );
    cause = cause instanceof Error ? cause.cause : undefined;
  }
  const chain = causes.length > 0 ? { causes } : {};
  if (!(error instanceof AutocertError)) return { name: error.name, message: error.message, ...chain };
  const { code, message, remedy, retryable, requestId } = error;
  return { code, message, remedy, retryable, ...(requestId !== undefined && { requestId }), ...chain };
}

/** As `withoutSecrets`, for these secrets in any case: what an instance remembers is bounded. */
export function createRedactor(secrets: readonly Secret[]): (text: string) => string {
  let of = 0;
  return (text) => {
    if (of !== secrets.length) for (const secret of secrets) remember(secret.reveal());
    of = secrets.length;
    return withoutSecrets(text);
  };
}
