import { createHmac } from 'node:crypto';
import { postJson, refusal, type Send, throttled, verdictOf } from './channel.ts';
import { plainText } from './message.ts';

/** A request has 20 KB at most. */
const MOST_BYTES = 16_000;
/** `frequency limited`: 100 a minute, 5 a second. */
const TOO_FAST = new Set([9499, 11_232]);

/**
 * A Feishu robot, or a Lark one: the same on another host
 * (https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot). Signed the other way round than DingTalk: the
 * time in seconds, a line break and the secret are the key, and the message of the HMAC is empty.
 */
export const sendFeishu: Send = async (entry, message, transport) => {
  const content = { text: plainText(message, MOST_BYTES) };
  const signed = signature(entry.secret?.reveal(), transport.deps.now());
  const answer = await postJson(entry, JSON.stringify({ ...signed, msg_type: 'text', content }), transport);
  // Robots made years ago answer with StatusCode.
  const { code, words } = verdictOf(answer, ['code', 'StatusCode'], ['msg', 'StatusMessage']);
  if (code === 0) return;
  if (TOO_FAST.has(code)) throw throttled(entry, words);
  throw refusal(
    entry,
    code,
    words,
    'Check url and secret against the robot, and that its keyword, if it has one, is autocert.',
  );
};

function signature(secret: string | undefined, now: Date): { timestamp?: string; sign?: string } {
  if (secret === undefined) return {};
  const timestamp = String(Math.floor(now.getTime() / 1000));
  return { timestamp, sign: createHmac('sha256', `${timestamp}\n${secret}`).update('').digest('base64') };
}
