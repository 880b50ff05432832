import { postJson, refusal, type Send } from './channel.ts';
import { escapeMarkdown, type Message } from './message.ts';

/** A card of more than 28 KB is refused; facts of one certificate are about 1 KB. */
const MOST_SECTIONS = 12;

/**
 * A Teams workflow ("when a Teams webhook request is received"), which takes an Adaptive Card and answers 202. The older
 * connectors answer 200 and `1`, and also 200 with a text when they did not deliver.
 */
export const sendTeams: Send = async (entry, message, transport) => {
  const attachment = {
    contentType: 'application/vnd.microsoft.card.adaptive',
    contentUrl: null,
    content: card(message),
  };
  const answer = await postJson(entry, JSON.stringify({ type: 'message', attachments: [attachment] }), transport);
  const words = answer.body.trim();
  if (answer.status === 202 || (answer.status === 200 && (words === '' || words === '1'))) return;
  throw refusal(
    entry,
    answer.status,
    words,
    'Make the workflow for this channel again in Teams and put its url into this entry of `notify`.',
  );
};

const COLOURS = { bad: 'Attention', good: 'Good', test: 'Default' };

/** https://adaptivecards.io/explorer/: version 1.4 is what Teams shows on every device. Its texts are Markdown. */
function card({ title, severity, sections, remarks }: Message): object {
  const text = (value: string, more: object = {}): object => ({
    type: 'TextBlock',
    text: escapeMarkdown(value),
    wrap: true,
    ...more,
  });
  const shown = sections.slice(0, MOST_SECTIONS);
  const left = sections.length - shown.length;
  return {
    $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
    type: 'AdaptiveCard',
    version: '1.4',
    body: [
      text(title, { weight: 'Bolder', size: 'Medium', color: COLOURS[severity] }),
      ...shown.flatMap(({ heading, facts }) => [
        text(heading, { weight: 'Bolder', separator: true }),
        { type: 'FactSet', facts: facts.map(([label, value]) => ({ title: label, value: escapeMarkdown(value) })) },
      ]),
      ...(left > 0 ? [text(`+ ${left}`)] : []),
      ...remarks.map((remark) => text(remark, { isSubtle: true, size: 'Small' })),
    ],
  };
}
