import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createPieces, PIECE } from '../src/pieces.ts';
import { withoutSecrets } from '../src/redact.ts';
import { Secret } from '../src/secret.ts';
import { bytesHeld } from './garbage.ts';

/** How many are known at least, whatever else comes after them. */
const KNOWN = 196_608;

const numbered = (number: number) => String(number).padStart(PIECE, 'x');

describe('a set of pieces', () => {
  test('has what was added to it, wherever it stands in a text, and nothing else', () => {
    const piece = fc.stringMatching(/^[A-Za-z0-9]{16}$/);
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 50 }), fc.array(piece), fc.string(), (added, others, around) => {
        const pieces = createPieces();
        for (const one of added) pieces.add(`${around}${one}${around}`, around.length);
        for (const one of [...added, ...others]) expect(pieces.has(`-${one}-`, 1)).toBe(added.includes(one));
      }),
    );
  });

  test('has all of as many as the keys of a run have', () => {
    const pieces = createPieces();
    for (let number = 0; number < KNOWN; number += 1) pieces.add(numbered(number), 0);
    let known = 0;
    let strange = 0;
    for (let number = 0; number < KNOWN; number += 1) {
      if (pieces.has(numbered(number), 0)) known += 1;
      if (pieces.has(numbered(number + KNOWN), 0)) strange += 1;
    }
    expect({ known, strange }).toEqual({ known: KNOWN, strange: 0 });
  });

  test('has the last of them, however many come, and forgets the oldest', () => {
    const pieces = createPieces();
    const all = 2 * KNOWN + 1_000;
    for (let number = 0; number < all; number += 1) pieces.add(numbered(number), 0);
    let known = 0;
    for (let number = all - KNOWN; number < all; number += 1) if (pieces.has(numbered(number), 0)) known += 1;
    expect(known).toBe(KNOWN);
    expect(pieces.has(numbered(0), 0)).toBe(false);
  });

  test('one that is added again is not forgotten with those it first came with', () => {
    const pieces = createPieces();
    for (let number = 0; number < KNOWN; number += 1) pieces.add(numbered(number), 0);
    pieces.add(numbered(0), 0);
    for (let number = KNOWN; number < 2 * KNOWN; number += 1) pieces.add(numbered(number), 0);
    expect(pieces.has(numbered(0), 0)).toBe(true);
    expect(pieces.has(numbered(1), 0)).toBe(false);
  });
});

describe('F70 the keys of a large run', () => {
  /** As long as one of 2048 bits. What is in it must only be another for each. */
  function keyOf(nth: number): string {
    const body = Buffer.concat(
      Array.from({ length: 37 }, (_, part) => createHash('sha256').update(`${nth} ${part}`).digest()),
    );
    return `-----BEGIN RSA PRIVATE KEY-----\n${body.toString('base64')}\n-----END RSA PRIVATE KEY-----\n`;
  }

  test('are all taken out, by any 31 letters and digits of them, and are held in few bytes', async () => {
    const [keys, bytes] = [1_900, 6 * 2 ** 20];
    const before = await bytesHeld();
    for (let nth = 0; nth < keys; nth += 1) new Secret(keyOf(nth));
    expect((await bytesHeld()) - before).toBeLessThan(bytes);
    for (let nth = 0; nth < keys; nth += 1) {
      const letters =
        keyOf(nth)
          .split('\n')[1]
          ?.replace(/[^A-Za-z0-9]/g, '') ?? '';
      const at = (nth * 7) % (letters.length - 31);
      expect(withoutSecrets(`<${letters.slice(at, at + 31)}>`)).toBe('<[redacted]>');
    }
  });
});
