import fc from 'fast-check';
import { expect, test } from 'vitest';
import { linkTargets } from '../../src/acme/link.ts';

const base = 'https://ca.example/certificate/1';

test.each<[string, string[], string[]]>([
  ['one header, one link', ['<https://ca.example/c/1/1>;rel="alternate"'], ['https://ca.example/c/1/1']],
  [
    'relations without quotes, in capitals, one of several',
    ['</a>; REL=alternate, </b>; rel="up Alternate"'],
    ['https://ca.example/a', 'https://ca.example/b'],
  ],
  [
    'several headers, other relations left out',
    ['</dir>;rel="index"', '</a>;rel="alternate"'],
    ['https://ca.example/a'],
  ],
  [
    'a comma and a bracket within quotes',
    ['</a>; title="x, <y>; rel=up"; rel="alternate", </b>;rel="alternate"'],
    ['https://ca.example/a', 'https://ca.example/b'],
  ],
  ['a comma within the URL', ['</a,b>;rel="alternate"'], ['https://ca.example/a,b']],
  ['no relation', ['</a>'], []],
  ['no bracket', ['/a; rel="alternate"'], []],
  ['an open bracket', ['</a; rel="alternate"'], []],
  ['a target that is no URL', ['<https://[>;rel="alternate"'], []],
  ['an empty header', [''], []],
])('%s', (_, headers, targets) => {
  expect(linkTargets(headers, 'alternate', base)).toEqual(targets);
});

/** Counts how often a character is read: the work that is done, on any machine. */
function readsOf(text: string): number {
  let reads = 0;
  const counted = new Proxy(new String(text), {
    get(target, key) {
      const value: unknown = Reflect.get(target, key);
      if (key === 'indexOf') {
        return (needle: string, from: number) => {
          const found = target.indexOf(needle, from);
          reads += (found === -1 ? text.length : found) - from;
          return found;
        };
      }
      if (key === 'slice') {
        return (from: number, to: number) => {
          reads += to - from;
          return target.slice(from, to);
        };
      }
      if (typeof key === 'string' && /^\d+$/.test(key)) reads += 1;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  linkTargets([counted as string], 'alternate', base);
  return reads;
}

test.each(['<', '<>', '<>;', '<a>;rel=b,', '<a>"', ';', '<a>; rel="', '\\"<>', ', <'])(
  'A18 68 a header of %j over and over is read a bounded number of times a character',
  (pattern) => {
    const text = pattern.repeat(Math.ceil(100_000 / pattern.length));
    expect(readsOf(text)).toBeLessThan(4 * text.length);
  },
);

test('whatever the header, the targets are https or other absolute URLs and nothing is thrown', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.string({ unit: fc.constantFrom('<', '>', ';', ',', '"', '\\', 'r', 'e', 'l', '=', ' ', '/', 'alternate') }),
      ),
      (headers) => {
        for (const target of linkTargets(headers, 'alternate', base)) expect(URL.canParse(target)).toBe(true);
      },
    ),
  );
});
