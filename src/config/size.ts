/** How large a configuration may be. What is made to take long is refused by counts that take milliseconds. */

const MAX_BYTES = 1024 * 1024;
/** Ten thousand certificates have some eighty thousand, and what costs time is the number of values, not of bytes. */
const MAX_ENTRIES = 100_000;
/** Ten thousand certificates have some 160,000. */
const MAX_ENCLOSERS = 250_000;
const MAX_VARIABLES = 10_000;
/** Parts that a parser takes a text into: some thirty-five to a certificate. The counts above are there to refuse it sooner. */
export const MAX_PARTS = 400_000;
/** Characters of one value or comment. */
export const MAX_LENGTH = 65_536;
export const MAX_DEPTH = 20;

/** Why the text is too large to be looked at any further. */
export function tooLarge(text: string): { readonly found: string; readonly allowed: string } | undefined {
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_BYTES) return { found: `${bytes} bytes`, allowed: `at most ${MAX_BYTES} bytes` };
  const [much] = countParts(text).filter(([count, most]) => count > most);
  if (!much) return undefined;
  const [count, most, what] = much;
  return { found: `${count} ${what}`, allowed: `at most ${most} ${what}` };
}

/** What costs the parser time, at the cost of one look: each with how many there may be, and what it is called. */
function countParts(text: string): readonly (readonly [count: number, most: number, what: string])[] {
  let [entries, enclosers, variables] = [0, 0, 0];
  let before = '';
  for (let at = 0; at < text.length; at += 1) {
    const character = text.charAt(at);
    if (character === '\n' || character === ',') entries += 1;
    // A key without quotes; one with them is counted by those.
    else if (character === ':' && before !== '"' && before !== "'" && text.charCodeAt(at + 1) <= SPACE) entries += 1;
    else if (ENCLOSERS.includes(character)) enclosers += 1;
    if (character === '{' && before === '$') variables += 1;
    before = character;
  }
  return [
    [entries, MAX_ENTRIES, 'lines, keys and entries'],
    [enclosers, MAX_ENCLOSERS, 'quotes and brackets'],
    [variables, MAX_VARIABLES, 'variables'],
  ];
}

const SPACE = 32;
const ENCLOSERS = '"\'[]{}';
