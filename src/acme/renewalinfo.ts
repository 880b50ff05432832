import * as v from 'valibot';
import { header, invalidAnswer, json } from './answer.ts';
import type { Answer } from './https.ts';
import { parseRetryAfter } from './retryafter.ts';

/** RFC 9773 section 4.2. */
export interface RenewalInfo {
  readonly suggestedWindow: RenewalWindow;
  /** A page for people that says why. */
  readonly explanationURL: string | undefined;
  /** When to ask again: the CA's Retry-After, between one minute and one day from now; six hours when it says nothing. */
  readonly retryAfter: Date;
}

/** `start` is before `end`. Either may lie in the past or far away: the expiry of the certificate is the caller's floor. */
export interface RenewalWindow {
  readonly start: Date;
  readonly end: Date;
}

const MINUTE = 60_000;
const SIX_HOURS = 6 * 60 * MINUTE;
const DAY = 24 * 60 * MINUTE;

const Timestamp = v.pipe(
  v.string(),
  v.isoTimestamp(),
  v.transform((text) => new Date(text)),
  v.date(),
);

const RenewalInfoSchema = v.object({
  suggestedWindow: v.object({ start: Timestamp, end: Timestamp }),
  explanationURL: v.optional(v.unknown()),
});

/** Throws ACME_RESPONSE_INVALID; RFC 9773 section 4.2 has a window that does not end after its start treated as no answer. */
export function parseRenewalInfo(answer: Answer, now: Date): RenewalInfo {
  const result = v.safeParse(RenewalInfoSchema, json(answer), { abortEarly: true });
  if (!result.success) throw invalidAnswer(answer.url, 'sent a renewalInfo without a readable suggestedWindow', false);
  const { suggestedWindow, explanationURL } = result.output;
  if (suggestedWindow.end <= suggestedWindow.start) {
    throw invalidAnswer(answer.url, 'sent a suggestedWindow that does not end after its start', false);
  }
  const wait =
    (parseRetryAfter(header(answer, 'retry-after'), now)?.getTime() ?? now.getTime() + SIX_HOURS) - now.getTime();
  return {
    suggestedWindow,
    explanationURL: isWebPage(explanationURL) ? explanationURL : undefined,
    retryAfter: new Date(now.getTime() + Math.min(DAY, Math.max(MINUTE, wait))),
  };
}

function isWebPage(value: unknown): value is string {
  return (
    typeof value === 'string' && value.length <= 2000 && URL.canParse(value) && /^https?:\/\/[\x21-\x7e]+$/.test(value)
  );
}

/** RFC 9773 section 4.2: a uniformly random instant within the window. `random` is in [0, 1). Draw once and keep it. */
export function selectRenewalTime({ start, end }: RenewalWindow, random: number): Date {
  return new Date(start.getTime() + Math.floor(random * (end.getTime() - start.getTime())));
}
