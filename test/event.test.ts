import { describe, expect, test } from 'vitest';
import { parseRenewEvent } from '../src/event.ts';

const timer = (payload: string) =>
  JSON.stringify({ triggerTime: '2026-01-02T03:04:05Z', triggerName: 'every-6h', payload });
const parse = (text: string) => parseRenewEvent(new TextEncoder().encode(text));

describe('F67 the event of renew', () => {
  test.each([
    ['nothing', ''],
    ['a timer without payload', timer('')],
    ["a timer with the console's own word", timer('awesome-fc')],
    ['a word', 'hello'],
    ['an empty object', '{}'],
    ['null', 'null'],
    ['a payload that is null', timer('null')],
  ])('%s asks for every certificate', (_, text) => {
    expect(parse(text)).toEqual({ force: false });
  });

  test.each([
    ["a timer's payload", timer('{"only":["www","a.example.com"],"force":true}')],
    ['the payload itself', '{"only":["www","a.example.com"],"force":true}'],
  ])('%s says which, and how', (_, text) => {
    expect(parse(text)).toEqual({ only: ['www', 'a.example.com'], force: true });
  });

  test.each([
    ['JSON that is cut off', '{"only":["www"'],
    ['a payload that is cut off', timer('{"only":')],
    ['an unknown key', '{"onyl":["www"]}'],
    ['an empty list', '{"only":[]}'],
    ['an empty name', '{"only":[""]}'],
    ['a name that is none', `{"only":["${'a'.repeat(254)}"]}`],
    ['a word for a truth value', '{"force":"yes"}'],
    ['a polluting key', '{"__proto__":{"force":true}}'],
    ['a polluting path', '{"constructor":{"prototype":{"force":true}}}'],
    ['a list', '[{"force":true}]'],
    ['more than 128 KB', `{"only":["${'a'.repeat(131_072)}"]}`],
  ])('%s is refused', (_, text) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ code: 'EVENT_INVALID', retryable: false }));
    expect(Object.hasOwn(Object.prototype, 'force')).toBe(false);
  });
});
