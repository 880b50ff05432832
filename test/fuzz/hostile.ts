import fc from 'fast-check';
import { expect } from 'vitest';
import { AutocertError } from '../../src/errors.ts';

/** `AUTOCERT_SOAK=1` runs the long form; `AUTOCERT_SEED` replays what a failure printed. */
const isSoak = process.env['AUTOCERT_SOAK'] === '1';
const seed = process.env['AUTOCERT_SEED'];

/** How often a property is tried: `runs` in CI, a hundred times that in the long form. What does not end is a failure. */
export function times(runs: number): fc.Parameters<unknown> {
  return {
    numRuns: isSoak ? runs * 100 : runs,
    interruptAfterTimeLimit: isSoak ? 3_600_000 : 50_000,
    markInterruptAsFailure: true,
    ...(seed !== undefined && { seed: Number(seed) }),
  };
}

/** For `testTimeout`, in milliseconds. */
export const LONGEST = isSoak ? 3_700_000 : 60_000;

/** Whatever it is given, it gives a result or throws one of ours, and leaves no trace in what every object inherits. */
export async function survives(run: () => unknown): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (!(error instanceof AutocertError)) throw new Error(`Not one of ours: ${String(error)}`, { cause: error });
    expect(error.message).not.toBe('');
    expect(error.remedy).not.toBe('');
    expect(error.code).not.toBe('INTERNAL');
  }
  expect(Reflect.get({}, 'polluted')).toBeUndefined();
  expect(Reflect.get([], 'polluted')).toBeUndefined();
}

const POLLUTING: readonly unknown[] = [
  JSON.parse('{"__proto__":{"polluted":1}}'),
  JSON.parse('{"constructor":{"prototype":{"polluted":1}}}'),
  JSON.parse('{"toString":"no","hasOwnProperty":1,"toFixed":{}}'),
];
const nested = (depth: number) => Array.from({ length: depth }).reduce<unknown>((inner) => [inner], 0);

/** What no server sends by mistake. */
export const hostileValue: fc.Arbitrary<unknown> = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom(
    ...POLLUTING,
    null,
    '',
    ' ',
    0,
    -1,
    1.5,
    1e308,
    [],
    {},
    [[]],
    true,
    'x'.repeat(10_000),
    '\0',
    '\ud800',
    '__proto__',
    nested(200),
  ),
  fc.constantFrom(
    'http://127.0.0.1/',
    'https://ca.example:99999/',
    'javascript:alert(1)',
    '2026-99-99T99:99:99Z',
    '9999-12-31T23:59:59Z',
    '-1',
    '1e9',
  ),
  fc.bigInt().map(String),
  fc.string({ unit: 'binary', maxLength: 50 }),
);

/** `sample` with one to four of its values replaced, removed or added to. */
export function broken<T>(sample: T): fc.Arbitrary<unknown> {
  const edit = fc.record({ at: fc.nat(), value: hostileValue, how: fc.constantFrom('replace', 'remove', 'add') });
  return fc
    .array(edit, { minLength: 1, maxLength: 4 })
    .map((edits) => edits.reduce<unknown>(applied, structuredClone(sample)));
}

function applied(root: unknown, edit: { readonly at: number; readonly value: unknown; readonly how: string }): unknown {
  const { at, how } = edit;
  // A copy: the next edit may write into it, and the generator gives the same object again.
  const value = structuredClone(edit.value);
  const places: [object, string][] = [];
  const walk = (node: unknown, depth: number): void => {
    if (typeof node !== 'object' || node === null || depth > 12) return;
    for (const key of Object.keys(node)) {
      places.push([node, key]);
      walk(Reflect.get(node, key), depth + 1);
    }
  };
  walk(root, 0);
  const [holder, key] = places[at % Math.max(1, places.length)] ?? [];
  if (holder === undefined || key === undefined) return value;
  if (how === 'remove') Reflect.deleteProperty(holder, key);
  else
    Object.defineProperty(holder, how === 'add' ? `${key}x` : key, {
      value,
      enumerable: true,
      writable: true,
      configurable: true,
    });
  return root;
}

/** `sample` with some of its characters cut out, repeated, exchanged or added. */
export function garbled(sample: string, words: readonly string[] = []): fc.Arbitrary<string> {
  const inserted = fc.oneof(
    fc.constantFrom('', ...words),
    fc.string({ unit: 'binary', maxLength: 6 }),
    fc.string({ maxLength: 6 }),
  );
  const edit = fc.record({
    at: fc.nat(sample.length),
    length: fc.oneof(fc.nat(4), fc.nat(sample.length)),
    text: inserted,
    again: fc.nat(2),
  });
  return fc.array(edit, { minLength: 1, maxLength: 5 }).map((edits) =>
    edits.reduce((text, { at, length, text: insert, again }) => {
      const cut = text.slice(at, at + length);
      return (
        text.slice(0, at) +
        insert +
        (again === 2 ? cut + cut : '') +
        text.slice(at + (again === 0 ? 0 : length))
      ).slice(0, 300_000);
    }, sample),
  );
}
