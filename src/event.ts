import * as v from 'valibot';
import { AutocertError } from './errors.ts';

/** What an invocation of `renew` may ask for. Without anything: every certificate, by the rules. */
export interface RenewEvent {
  /** Certificate names or domains. */
  readonly only?: readonly string[] | undefined;
  readonly force: boolean;
}

const RenewPayload = v.strictObject({
  only: v.optional(v.pipe(v.array(v.pipe(v.string(), v.nonEmpty(), v.maxLength(253))), v.nonEmpty())),
  force: v.optional(v.boolean(), false),
});

/** An asynchronous invocation carries at most 128 KB. */
const MAX_BYTES = 128 * 1024;

/**
 * FC's timer event (`{triggerTime, triggerName, payload}`, whose payload may be a JSON text), or the payload itself from
 * an invocation by hand. A payload that is no JSON object asks for nothing: consoles fill it with a word of their own.
 * Throws EVENT_INVALID.
 */
export function parseRenewEvent(event: Uint8Array): RenewEvent {
  if (event.byteLength > MAX_BYTES) throw invalid(`it has ${event.byteLength} bytes`);
  const outer = parseObject(new TextDecoder().decode(event));
  if (!outer) return { force: false };
  const inner =
    'triggerName' in outer ? parseObject(typeof outer['payload'] === 'string' ? outer['payload'] : '') : outer;
  if (!inner) return { force: false };
  const result = v.safeParse(RenewPayload, inner);
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw invalid(`${v.getDotPath(issue) ?? 'it'}: ${issue.message}`);
}

/** Undefined for a text that does not even begin like an object or a list; throws for one that does and is no object. */
function parseObject(text: string): Record<string, unknown> | undefined {
  if (text.trimStart().startsWith('[')) throw invalid('it is a list');
  if (!text.trimStart().startsWith('{')) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    throw invalid('it begins like JSON, and is not');
  }
}

function invalid(what: string): AutocertError {
  return new AutocertError({
    code: 'EVENT_INVALID',
    message: `The event cannot be used: ${what}.`,
    retryable: false,
    remedy: 'Give the timer\'s payload as {"only": ["name or domain"], "force": false}, or leave it empty.',
  });
}
