/** What a channel is given to send, in one language. Each channel writes it as its receiver takes it. */
export interface Message {
  readonly language: 'zh' | 'en';
  /** One line, without a line break. It begins with `[autocert]`, which serves as the keyword that DingTalk can demand. */
  readonly title: string;
  /** `bad` when something got worse, `good` when everything in it got well, `test` for a message that says nothing. */
  readonly severity: 'bad' | 'good' | 'test';
  /** One for each certificate or run that it is about. */
  readonly sections: readonly Section[];
  /** What concerns the message as a whole. */
  readonly remarks: readonly string[];
  /** What a template may ask for: names to plain texts. */
  readonly fields: Readonly<Record<string, string>>;
  /** The same for a machine; plain JSON values. */
  readonly data: Readonly<Record<string, unknown>>;
}

export interface Section {
  readonly heading: string;
  readonly facts: readonly (readonly [label: string, value: string])[];
}

const MORE = {
  en: (count: number) => `... and ${count} more: see the log of this run.`,
  zh: (count: number) => `……另有 ${count} 项，请查看本次运行的日志。`,
};
const COLON = { en: ': ', zh: '：' };

/** As plain text of at most `most` bytes of UTF-8: sections that do not fit are counted, never cut in half. */
export function plainText(message: Message, most = Number.POSITIVE_INFINITY): string {
  return fitted(message, most, (shown, left) => {
    const { language, title, remarks } = message;
    const sections = shown.map(({ heading, facts }) =>
      [heading, ...facts.map(([label, value]) => `${label}${COLON[language]}${value}`)].join('\n'),
    );
    const more = left > 0 ? [MORE[language](left)] : [];
    return [title, ...sections, ...more, ...(remarks.length > 0 ? [remarks.join('\n')] : [])].join('\n\n');
  });
}

/** As CommonMark of at most `most` bytes. */
export function markdown(message: Message, most = Number.POSITIVE_INFINITY): string {
  return fitted(message, most, (shown, left) => {
    const { language, title, remarks } = message;
    const sections = shown.map(({ heading, facts }) => {
      const lines = facts.map(
        ([label, value]) => `- **${escapeMarkdown(label)}**${COLON[language]}${escapeMarkdown(value)}`,
      );
      return [`**${escapeMarkdown(heading)}**`, lines.join('\n')].join('\n\n');
    });
    const more = left > 0 ? [MORE[language](left)] : [];
    return [`### ${escapeMarkdown(title)}`, ...sections, ...more, ...remarks.map(escapeMarkdown)].join('\n\n');
  });
}

/** `*.example.com, *.example.org` would lose its stars. */
export function escapeMarkdown(text: string): string {
  return text.replace(/[\\`*_[\]<>#|~]/g, '\\$&');
}

function fitted(message: Message, most: number, write: (shown: readonly Section[], left: number) => string): string {
  const { sections } = message;
  for (let count = sections.length; count > 0; count -= 1) {
    const text = write(sections.slice(0, count), sections.length - count);
    if (Buffer.byteLength(text) <= most) return text;
  }
  return cut(write(sections.slice(0, 1), Math.max(0, sections.length - 1)), most);
}

/** At most `most` bytes of UTF-8, no character broken. */
export function cut(text: string, most: number): string {
  if (Buffer.byteLength(text) <= most) return text;
  const mark = '...';
  const bytes = Buffer.from(text).subarray(0, Math.max(0, most - mark.length));
  // A decoder that is told of more to come keeps back the character that the cut broke.
  return new TextDecoder().decode(bytes, { stream: true }) + mark;
}
