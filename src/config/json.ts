import { MAX_DEPTH, MAX_LENGTH, MAX_PARTS, tooLarge } from './size.ts';
import { type Environment, substitute } from './variables.ts';

/** Keys that mean something to JavaScript itself, and the merge key of older YAML. */
export const REFUSED_KEYS: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype', '<<']);

/**
 * The map that a JSON text stands for, with `${NAME}` replaced, or undefined when it is no JSON or there is anything to be
 * said against it. JSON is YAML: what this leaves, the reader of YAML judges, who knows on which line it stands. It is
 * there because that reader is half as much code again as all else that a run loads at its start.
 */
export function readJson(text: string, environment: Environment): Readonly<Record<string, unknown>> | undefined {
  if (tooLarge(text) || !/^\s*\{/.test(text)) return undefined;
  const written = parse(text);
  if (written === undefined) return undefined;
  const marks = countMarks(text);
  if (marks.parts > MAX_PARTS || marks.longest > MAX_LENGTH) return undefined;

  let keys = 0;
  let isGood = true;
  function plain(value: unknown, depth: number): unknown {
    isGood &&= depth <= MAX_DEPTH;
    if (!isGood) return undefined;
    if (typeof value === 'string') {
      const { text: replaced, faults } = substitute(value, environment);
      isGood &&= faults.length === 0;
      return replaced;
    }
    if (Array.isArray(value)) return value.map((item) => plain(item, depth + 1));
    if (typeof value !== 'object' || value === null) return value;
    const entries = Object.entries(value).map(([key, item]) => {
      keys += 1;
      isGood &&= !REFUSED_KEYS.has(key);
      return [key, plain(item, depth + 1)] as const;
    });
    return Object.fromEntries(entries);
  }

  const value = plain(written, 0);
  // Of a key that stands there twice JSON.parse keeps the last and says nothing.
  return isGood && keys === marks.colons ? Object(value) : undefined;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

interface Marks {
  /** Those between a key and its value. */
  readonly colons: number;
  /** At least as many as the lexer of YAML makes of it. */
  readonly parts: number;
  /** Characters of the longest text, with its quotes. */
  readonly longest: number;
}

/** Counts in a text that is JSON. */
function countMarks(text: string): Marks {
  let [colons, parts, longest] = [0, 2, 0];
  for (const [part] of text.matchAll(PART)) {
    const first = part.charAt(0);
    // What has no quotes comes with a mark of its own.
    parts += /[-0-9a-z]/.test(first) ? 2 : 1;
    if (first === ':') colons += 1;
    longest = Math.max(longest, part.length);
  }
  return { colons, parts, longest };
}

/** A text with its quotes, a number or word, blanks, or one other character. */
const PART = /"(?:[^"\\]+|\\.)*"|[-+.0-9A-Za-z]+|[ \t\r]+|./gs;
