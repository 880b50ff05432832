import { createHmac } from 'node:crypto';
import type { NotifyConfig } from '../config.ts';
import { failure, postJson, refusal, type Send } from './channel.ts';
import { type Message, markdown, plainText } from './message.ts';

const MOST_BYTES = 60_000;

/**
 * Any receiver. The body is the entry's template with each `{{field}}` in it replaced, made safe for a JSON string, or
 * without a template the message with its facts. With a secret two headers tell that it is ours and new:
 * `X-Autocert-Timestamp`, seconds, and `X-Autocert-Signature`, `sha256=` and the hexadecimal HMAC-SHA256 over
 * `<timestamp>.<body>`. Every 2xx is success.
 */
export const sendWebhook: Send = async (entry, message, transport) => {
  const body =
    entry.template === undefined ? JSON.stringify(defaultBody(message)) : fill(entry, entry.template, message);
  const timestamp = String(Math.floor(transport.deps.now().getTime() / 1000));
  const headers = { 'x-autocert-timestamp': timestamp, ...signature(entry.secret?.reveal(), timestamp, body) };
  const answer = await postJson(entry, body, transport, { headers });
  if (answer.status >= 200 && answer.status < 300) return;
  throw refusal(
    entry,
    answer.status,
    answer.body,
    'Look into the log of the receiver; check url, secret and template of this entry of `notify`.',
  );
};

function signature(secret: string | undefined, timestamp: string, body: string): Record<string, string> {
  if (secret === undefined) return {};
  return {
    'x-autocert-signature': `sha256=${createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex')}`,
  };
}

function defaultBody(message: Message): object {
  const { title, severity, data } = message;
  return { version: 1, title, severity, text: plainText(message, MOST_BYTES), ...data };
}

/** Throws CONFIG_INVALID for a field that there is not, and for a result that is no JSON. */
function fill(entry: NotifyConfig, template: string, message: Message): string {
  const fields: Readonly<Record<string, string>> = {
    ...message.fields,
    title: message.title,
    severity: message.severity,
    text: plainText(message, MOST_BYTES),
    markdown: markdown(message, MOST_BYTES),
  };
  const body = template.replace(/\{\{\s*([A-Za-z]+)\s*\}\}/g, (_, name: string) => {
    const value = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (value === undefined) throw badTemplate(entry, `there is no field ${name}`, fields);
    return JSON.stringify(value).slice(1, -1);
  });
  try {
    JSON.parse(body);
    return body;
  } catch {
    throw badTemplate(entry, 'it is no JSON when it is filled in', fields);
  }
}

function badTemplate(entry: NotifyConfig, what: string, fields: Readonly<Record<string, string>>): Error {
  const known = Object.keys(fields).sort().join(', ');
  return failure(
    entry,
    'CONFIG_INVALID',
    `the template cannot be used: ${what}`,
    `Write the template as JSON; its fields are ${known}.`,
  );
}
