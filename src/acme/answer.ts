import { AutocertError } from '../errors.ts';
import type { Answer } from './https.ts';

/** The URL, or ACME_RESPONSE_INVALID when it is none or not https: nothing of ACME goes over plain HTTP (RFC 8555 section 6.1). */
export function checkedUrl(text: string): URL {
  if (URL.canParse(text)) {
    const url = new URL(text);
    if (url.protocol === 'https:' && url.username === '' && url.password === '') return url;
  }
  throw new AutocertError({
    code: 'ACME_RESPONSE_INVALID',
    message: `Not an https URL without credentials: ${text.replace(/\/\/[^/@]*@/, '//').slice(0, 200)}`,
    retryable: false,
    remedy: 'Check acme.directoryUrl: every URL of a CA begins with https://.',
  });
}

/** The one value of a header, or the first of several. */
export function header(answer: Answer, name: string): string | undefined {
  const value = answer.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** The body as JSON. Throws ACME_RESPONSE_INVALID, retryable: it may be the half of an answer. */
export function json(answer: Answer): unknown {
  try {
    return JSON.parse(answer.body.toString('utf8'));
  } catch {
    throw invalidAnswer(answer.url, 'answered something that is not JSON', true);
  }
}

/** The CA, or something between it and us, answered what RFC 8555 does not allow. */
export function invalidAnswer(url: string, what: string, retryable: boolean): AutocertError {
  return new AutocertError({
    code: 'ACME_RESPONSE_INVALID',
    message: `The CA ${what} (${url})`,
    retryable,
    remedy:
      'Check that acme.directoryUrl is an ACME directory (RFC 8555) and that no proxy or portal answers in its place.',
  });
}

/** The body as JSON, or undefined: an error need not be a problem document. */
export function jsonOrUndefined(answer: Answer): unknown {
  try {
    return JSON.parse(answer.body.toString('utf8'));
  } catch {
    return undefined;
  }
}
