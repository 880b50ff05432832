import { postJson, refusal, type Send, throttled, verdictOf } from './channel.ts';
import { plainText } from './message.ts';

/** https://developer.work.weixin.qq.com/document/path/91770: a text has 2048 bytes at most. */
const MOST_BYTES = 2048;
/** `api freq out of limit`: 20 a minute. */
const TOO_FAST = 45_009;

/** A WeCom group robot. As text: WeChat, in which many read WeCom at night, does not show Markdown. */
export const sendWecom: Send = async (entry, message, transport) => {
  const body = JSON.stringify({ msgtype: 'text', text: { content: plainText(message, MOST_BYTES) } });
  const { code, words } = verdictOf(await postJson(entry, body, transport), ['errcode'], ['errmsg']);
  if (code === 0) return;
  if (code === TOO_FAST) throw throttled(entry, words);
  throw refusal(
    entry,
    code,
    words,
    'Check the key in the url against the group robot, and that the robot is still in the group.',
  );
};
