import { domainToASCII } from 'node:url';
import { edgeChild, edgeLength, edgeStart, labelText, nodeFlags, rulesRoot } from 'tldts/dist/es6/src/data/trie.js';
import { expect, test } from 'vitest';
import { mayBeSuffix } from '../src/config/suffixes.ts';
import { isPublicSuffix, registrableDomain } from '../src/suffix.ts';

test.each([
  ['www.example.com', 'example.com'],
  ['*.example.com', 'example.com'],
  ['a.b.example.com.cn', 'example.com.cn'],
  ['a.b.github.io', 'b.github.io'],
  ['com.cn', undefined],
])('the registrable domain of %s is %s', (name, domain) => {
  expect(registrableDomain(name)).toBe(domain);
});

test.each([
  ['com.cn', true],
  ['*.co.uk', true],
  ['city.kawasaki.jp', false],
  ['any.kawasaki.jp', true],
  ['example.com.cn', false],
  ['example.cn', false],
  ['github.io', false],
  ['example.nowhere', false],
])('%s is a public suffix: %s', (name, is) => {
  expect(isPublicSuffix(name)).toBe(is);
});

/** The suffixes of the list's first part, as the package has them: a trie of labels from the top down. */
function suffixes(): string[] {
  const offsets: number[] = [];
  for (let offset = 0, edge = 0; edge < edgeLength.length; edge += 1) {
    offsets.push(offset);
    offset += edgeLength[edge] ?? 0;
  }
  const below = (node: number, name: string): string[] => {
    const own = ((nodeFlags[node] ?? 0) & 1) === 1 && name !== '' ? [name] : [];
    const [from = 0, to = 0] = [edgeStart[node], edgeStart[node + 1]];
    const children = Array.from({ length: to - from }, (_, nth) => {
      const at = offsets[from + nth] ?? 0;
      const label = labelText.slice(at, at + (edgeLength[from + nth] ?? 0)).replace('*', 'any');
      return below(edgeChild[from + nth] ?? 0, name === '' ? label : `${label}.${name}`);
    });
    return [...own, ...children.flat()];
  };
  return below(rulesRoot, '');
}

test('no suffix of several labels is taken for a name by its form, and of common names the list is not asked', () => {
  const several = suffixes()
    .filter((name) => name.includes('.'))
    .map(domainToASCII);
  expect(several.length).toBeGreaterThan(5_000);
  expect(several.filter((name) => !mayBeSuffix(name) || !mayBeSuffix(`*.${name}`))).toEqual([]);
  const common = [
    'example.com',
    'www.example.com',
    '*.example.net',
    'example.cn',
    '*.example.cn',
    'www.example.com.cn',
  ];
  expect(common.filter(mayBeSuffix)).toEqual([]);
});
