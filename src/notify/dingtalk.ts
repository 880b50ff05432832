import { createHmac } from 'node:crypto';
import { postJson, refusal, type Send, throttled, verdictOf } from './channel.ts';
import { plainText } from './message.ts';

/** https://open.dingtalk.com/document/robots/custom-robot-access: a message has 20000 bytes at most. */
const MOST_BYTES = 18_000;
/** `send too fast, exceed 20 times per minute`. */
const TOO_FAST = new Set([130_101, 410_100, 660_026]);

/**
 * A DingTalk robot. With a secret the call is signed: HMAC-SHA256 with the secret as the key over the time in
 * milliseconds, a line break and the secret. As text, so that the notification on a locked phone shows it.
 */
export const sendDingtalk: Send = async (entry, message, transport) => {
  const body = JSON.stringify({ msgtype: 'text', text: { content: plainText(message, MOST_BYTES) } });
  const query = signature(entry.secret?.reveal(), transport.deps.now());
  const { code, words } = verdictOf(await postJson(entry, body, transport, { query }), ['errcode'], ['errmsg']);
  if (code === 0) return;
  if (TOO_FAST.has(code)) throw throttled(entry, words);
  throw refusal(
    entry,
    code,
    words,
    'Check url and secret against the robot, and that its keyword, if it has one, is autocert.',
  );
};

function signature(secret: string | undefined, now: Date): Record<string, string> {
  if (secret === undefined) return {};
  const timestamp = String(now.getTime());
  return { timestamp, sign: createHmac('sha256', secret).update(`${timestamp}\n${secret}`).digest('base64') };
}
