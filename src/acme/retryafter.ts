/** No limit of a CA lasts longer than a week; a longer wait is a mistake of the server and must not end up in a record. */
const LONGEST_WAIT = 7 * 24 * 3600 * 1000;

/**
 * The instant a `Retry-After` header names (RFC 9110 section 10.2.3: seconds or an HTTP-date), always after `now` and
 * at most seven days after it. Undefined for a header that is absent, malformed, or names no instant in the future.
 */
export function parseRetryAfter(header: string | undefined, now: Date): Date | undefined {
  if (header === undefined || header.length > 64) return undefined;
  const text = header.trim();
  let wait: number;
  if (/^\d+$/.test(text)) {
    wait = Number(text) * 1000;
  } else if (/^[A-Z][a-z]{2,8},? .* GMT$/.test(text)) {
    wait = Date.parse(text) - now.getTime();
  } else {
    return undefined;
  }
  return bounded(wait, now);
}

/**
 * The same for a problem's text, in which Boulder names the instant too, for when the header is lost on the way: `..., retry
 * after 2026-01-02 03:04:05 UTC: see https://letsencrypt.org/docs/rate-limits/#...` (`Decision.Result` in
 * https://github.com/letsencrypt/boulder/blob/main/ratelimits/limiter.go).
 */
export function retryAfterInText(detail: string, now: Date): Date | undefined {
  const [, day, time] = /\bretry after (\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?: ?UTC|Z)/i.exec(detail) ?? [];
  return day === undefined ? undefined : bounded(Date.parse(`${day}T${time}Z`) - now.getTime(), now);
}

function bounded(wait: number, now: Date): Date | undefined {
  return wait > 0 ? new Date(now.getTime() + Math.min(wait, LONGEST_WAIT)) : undefined;
}
