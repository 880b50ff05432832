import { jsonOf, postJson, refusal, type Send, throttled } from './channel.ts';
import { plainText } from './message.ts';

/** https://core.telegram.org/bots/api#sendmessage: 4096 characters at most, of which none has less than a byte. */
const MOST_BYTES = 4096;

/** A Telegram bot; the url is `https://api.telegram.org/bot<token>/sendMessage`. As plain text, which nothing can break. */
export const sendTelegram: Send = async (entry, message, transport) => {
  const text = plainText(message, MOST_BYTES);
  const body = { chat_id: entry.chatId, text, link_preview_options: { is_disabled: true } };
  const answered = await postJson(entry, JSON.stringify(body), transport);
  const answer = jsonOf(answered);
  if (answered.status === 200 && answer['ok'] === true) return;
  const code = Number(answer['error_code'] ?? answered.status);
  const words = String(answer['description'] ?? '');
  if (code === 429) throw throttled(entry, words);
  throw refusal(entry, code, words, 'Check the token in the url, chatId, and that the bot is a member of the chat.');
};
