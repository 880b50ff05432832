import { withoutSecrets } from '../redact.ts';
import { Secret } from '../secret.ts';

const REDACTED = '[redacted]';
const LONGEST = 300;
/** A message of an API has a few hundred characters, a string to sign with a certificate some twenty thousand. */
const LONGEST_READ = 100_000;

/**
 * An API's `Message` made fit to be shown. A refused signature is answered with the whole string to sign, which holds
 * every parameter of the request, the private key among them; other messages quote parts of a parameter. So: what looks
 * like a key, a token or an encoded request goes, the secrets of this very request go, and the rest is cut.
 */
export function redact(message: string, secrets: readonly (Secret | string | undefined)[]): string {
  let text = withoutSecrets(message.slice(0, LONGEST_READ)).replace(/string\s*to\s*sign.*$/is, REDACTED);
  for (const secret of secrets) {
    const value = secret instanceof Secret ? secret.reveal() : secret;
    if (value === undefined || value === '') continue;
    for (const form of [value, encodeURIComponent(value), encodeURIComponent(encodeURIComponent(value))]) {
      text = text.replaceAll(form, REDACTED);
    }
  }
  text = text
    .replace(/-----BEGIN.*?(-----END[A-Z ]*-----|$)/gis, REDACTED)
    .replace(/[A-Za-z0-9+/=_%]{40,}/g, REDACTED)
    .replace(/\s+/g, ' ')
    .trim();
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}...` : text;
}
