import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { covers, normaliseDomain, normaliseIdentifier, withoutRedundant } from '../src/identifier.ts';

describe('F63 a name is normalised', () => {
  test.each([
    ['www.example.com', 'www.example.com'],
    ['WWW.Example.COM', 'www.example.com'],
    ['www.example.com.', 'www.example.com'],
    ['*.example.com', '*.example.com'],
    ['bücher.example', 'xn--bcher-kva.example'],
    ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
    ['*.BÜCHER.xn--bcher-kva.example', '*.xn--bcher-kva.xn--bcher-kva.example'],
    ['šbc.example', 'xn--bc-kta.example'],
    ['faß.example', 'xn--fa-hia.example'],
    ['ｅｘａｍｐｌｅ.com', 'example.com'],
    ['例え。jp', 'xn--r8jz45g.jp'],
    ['中文.com.cn', 'xn--fiq228c.com.cn'],
    ['a.github.io', 'a.github.io'],
    ['github.io', 'github.io'],
    [`${'a'.repeat(63)}.example`, `${'a'.repeat(63)}.example`],
  ])('%s to %s', (text, name) => {
    expect(normaliseIdentifier(text)).toEqual(name === undefined ? { reason: expect.any(String) } : { name });
  });

  test('and stays as it is when it is normalised again', () => {
    fc.assert(
      fc.property(fc.domain(), (text) => {
        const { name } = normaliseIdentifier(text);
        if (name !== undefined) expect(normaliseIdentifier(name)).toEqual({ name });
      }),
    );
  });

  test('for a CDN domain, which the API writes with a leading dot', () => {
    expect(normaliseDomain('.Example.com')).toEqual({ name: '*.example.com' });
    expect(normaliseDomain('www.example.com')).toEqual({ name: 'www.example.com' });
  });
});

describe('F63 a text is refused as an identifier', () => {
  test.each([
    ['', 'empty'],
    ['.', 'empty'],
    ['*.', 'empty'],
    ['a b.example', 'whitespace'],
    ['a.example\n', 'whitespace'],
    ['192.0.2.1', 'ip-address'],
    ['[2001:db8::1]', 'ip-address'],
    ['0x7f.1', 'ip-address'],
    ['1.2.3', 'ip-address'],
    ['*.*.a.example', 'wildcard-position'],
    ['*', 'wildcard-position'],
    ['w*.a.example', 'wildcard-position'],
    ['a.*.example', 'wildcard-position'],
    ['a..example', 'label-empty'],
    ['.a.example', 'label-empty'],
    ['a.example..', 'label-empty'],
    ['a。。example', 'label-empty'],
    [`${'a'.repeat(64)}.example`, 'label-too-long'],
    [`${'ü'.repeat(60)}.example`, 'label-too-long'],
    ['_x.a.example', 'label-characters'],
    ['-a.example', 'label-characters'],
    ['a-.example', 'label-characters'],
    ['https://a.example', 'label-characters'],
    ['a.example:443', 'label-characters'],
    ['a%2eexample', 'label-characters'],
    ['xn--a.example', 'punycode'],
    ['xn--zzzzzz99999.example', 'punycode'],
    ['ab--cd.example', 'punycode'],
    [`${`${'a'.repeat(62)}.`.repeat(4)}ab`, 'name-too-long'],
    ['a'.repeat(2000), 'name-too-long'],
    ['com', 'single-label'],
    ['localhost', 'single-label'],
    ['*.com', 'public-suffix'],
  ])('%j: %s', (text, reason) => {
    expect(normaliseIdentifier(text)).toEqual({ reason });
  });

  test('of 254 characters, though one of 253 is good', () => {
    const longest = `${`${'a'.repeat(61)}.`.repeat(4)}a.com`; // 4 * 62 + 5
    expect(longest).toHaveLength(253);
    expect(normaliseIdentifier(longest)).toEqual({ name: longest });
    expect(normaliseIdentifier(`b${longest}`)).toEqual({ reason: 'name-too-long' });
  });

  test('F68 whatever it is: what passes has only labels of letters, digits and hyphens', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: fc.constantFrom(...'a*.-_xn。ü1[]:') })),
        (text) => {
          const { name } = normaliseIdentifier(text);
          if (name !== undefined)
            expect(name).toMatch(/^(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]*[a-z][a-z0-9-]*$/);
        },
      ),
    );
  });
});

describe('a certificate covers a domain', () => {
  test.each([
    { names: ['www.example.com'], domain: 'www.example.com', covered: true },
    { names: ['www.example.com'], domain: 'example.com', covered: false },
    { names: ['*.example.com'], domain: 'www.example.com', covered: true },
    { names: ['*.example.com'], domain: 'a.b.example.com', covered: false },
    { names: ['*.example.com'], domain: 'example.com', covered: false },
    { names: ['*.example.com'], domain: '*.example.com', covered: true },
    { names: ['www.example.com'], domain: '*.example.com', covered: false },
    { names: ['*.b.example.com'], domain: '*.example.com', covered: false },
    { names: ['*.com'], domain: '*.example.com', covered: false },
    { names: [], domain: 'example.com', covered: false },
  ])('$names, $domain: $covered', ({ names, domain, covered }) => {
    expect(covers(names, domain)).toBe(covered);
  });
});

test('names that a wildcard beside them covers are left out, for a CA may refuse an order with both', () => {
  const names = ['www.example.com', '*.example.com', 'example.com', 'a.b.example.com', '*.b.example.com'];
  expect(withoutRedundant(names)).toEqual(['*.example.com', 'example.com', '*.b.example.com']);
});
