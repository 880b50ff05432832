import { styleText } from 'node:util';
import { ConfigError } from '../config/problem.ts';
import { toAutocertError } from '../errors.ts';

/** One thing that was looked at: good, worth knowing, or in the way. */
export interface Finding {
  readonly mark: '✓' | '!' | '✗';
  readonly text: string;
  /** One sentence in the imperative. */
  readonly remedy?: string | undefined;
}

export function good(text: string): Finding {
  return { mark: '✓', text };
}

export function warning(text: string, remedy: string): Finding {
  return { mark: '!', text, remedy };
}

export function problem(text: string, remedy: string): Finding {
  return { mark: '✗', text, remedy };
}

/** What was thrown, as findings: a configuration says several things at once. */
export function thrownFindings(thrown: unknown): Finding[] {
  if (thrown instanceof ConfigError) {
    return thrown.problems.map(({ path, line, found, allowed, remedy }) => {
      const where = path === '' ? 'the configuration' : path;
      const at = line === undefined ? '' : ` (line ${line})`;
      return problem(`${where}${at}: found ${found}`, remedy ?? `Write ${allowed}.`);
    });
  }
  const { code, message, remedy } = toAutocertError(thrown);
  // The code that made the error does not know that no function asks.
  return [problem(`${code}: ${message}`, remedy.replace('the role of the function', 'the user of these credentials'))];
}

/** `1 name`, `2 names`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

const COLOURS = { '✓': 'green', '!': 'yellow', '✗': 'red' } as const;

/** As a person reads it; the remedy on a line of its own. */
export function findingText({ mark, text, remedy }: Finding): string {
  const line = `${styleText(COLOURS[mark], mark)} ${text}`;
  return remedy === undefined ? line : `${line}\n    ${remedy}`;
}
