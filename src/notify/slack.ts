import { postJson, refusal, type Send } from './channel.ts';
import { type Message, plainText } from './message.ts';

/** Slack cuts a text at 4000 characters. */
const MOST_BYTES = 3900;

/**
 * A Slack incoming webhook (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks). It answers with
 * a word: `ok`, or with a status of 400 and more `invalid_token`, `no_service`, `channel_is_archived` and others.
 */
export const sendSlack: Send = async (entry, message, transport) => {
  const text = withoutMarkUp(plainText(emphasised(message), MOST_BYTES));
  const answer = await postJson(entry, JSON.stringify({ text, unfurl_links: false, unfurl_media: false }), transport);
  if (answer.status === 200 && answer.body.trim() === 'ok') return;
  throw refusal(
    entry,
    answer.status,
    answer.body,
    'Make the incoming webhook again in Slack and put its url into this entry of `notify`.',
  );
};

/** Bold in Slack's own mark-up. The headings hold no star: those are in the names of domains, which are facts. */
function emphasised(message: Message): Message {
  const bold = (text: string): string => `*${text.replaceAll('*', '')}*`;
  return {
    ...message,
    title: bold(message.title),
    sections: message.sections.map(({ heading, facts }) => ({ heading: bold(heading), facts })),
  };
}

/** https://docs.slack.dev/messaging/formatting-message-text: these three begin mark-up of its own, `<!channel>` among it. */
function withoutMarkUp(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
