import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { shardsOf } from '../../src/fanout/shards.ts';
import { registrableDomain } from '../../src/suffix.ts';

interface One {
  readonly name: string;
  readonly spec: { readonly identifiers: readonly string[] };
}

const one = (name: string, ...identifiers: readonly string[]): One => ({ name, spec: { identifiers } });
const namesOf = (shards: readonly (readonly One[])[]) => shards.map((shard) => shard.map(({ name }) => name));

describe('shards', () => {
  test('have what ends first first, whatever they were filled by', () => {
    const work = [one('a', 'x.one.com'), one('b', 'x.two.com'), one('c', 'y.two.com'), one('d', 'y.one.com')];
    expect(namesOf(shardsOf(work, 2))).toEqual([
      ['a', 'd'],
      ['b', 'c'],
    ]);
  });

  test('keep together what another certificate binds', () => {
    const work = [one('a', 'one.com'), one('b', 'two.com'), one('c', 'two.com', 'one.com'), one('d', 'three.com')];
    expect(namesOf(shardsOf(work, 3))).toEqual([['a', 'b', 'c'], ['d']]);
  });

  test('go by registered domains, not by the last two labels', () => {
    const work = [one('a', 'www.one.com.cn'), one('b', 'www.two.com.cn'), one('c', '*.one.com.cn')];
    expect(namesOf(shardsOf(work, 2))).toEqual([['a', 'c'], ['b']]);
  });

  const work = fc
    .array(fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 3 }), { maxLength: 60 })
    .map((all) => all.map((zones, index) => one(`n${index}`, ...zones.map((zone) => `n${index}.zone-${zone}.com`))));

  test('have every certificate once, and every registered domain in one of them', () => {
    fc.assert(
      fc.property(work, fc.integer({ min: 1, max: 8 }), (all, count) => {
        const shards = shardsOf(all, count);
        expect(shards.length).toBeLessThanOrEqual(count);
        expect(shards.every(({ length }) => length > 0)).toBe(true);
        expect(namesOf(shards).flat().sort()).toEqual(all.map(({ name }) => name).sort());
        const owners = new Map<string, number>();
        for (const [index, shard] of shards.entries()) {
          for (const domain of shard.flatMap(({ spec }) => spec.identifiers.map(registrableDomain))) {
            expect(owners.get(domain ?? '') ?? index).toBe(index);
            owners.set(domain ?? '', index);
          }
        }
      }),
    );
  });

  test('differ by no more than the largest set of certificates that belong together', () => {
    fc.assert(
      fc.property(work, fc.integer({ min: 1, max: 8 }), (all, count) => {
        const largest = Math.max(0, ...namesOf(shardsOf(all, all.length + 1)).map(({ length }) => length));
        const sizes = shardsOf(all, count).map(({ length }) => length);
        const least = sizes.length < count ? 0 : Math.min(...sizes);
        expect(Math.max(0, ...sizes) - least).toBeLessThanOrEqual(largest);
      }),
    );
  });
});
