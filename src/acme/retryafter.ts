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
  if (!(wait > 0)) return undefined;
  return new Date(now.getTime() + Math.min(wait, LONGEST_WAIT));
}
