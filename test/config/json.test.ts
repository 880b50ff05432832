import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readJson } from '../../src/config/json.ts';
import { ConfigError } from '../../src/config/problem.ts';
import { readTree } from '../../src/config/text.ts';
import { parseConfig } from '../../src/config.ts';

const ENV = { REGION: 'cn-hangzhou', QUOTES: '"], "region": "${REGION}"' };
const LEAST = {
  acme: { contact: ['mailto:ops@example.com'] },
  store: 'file:///var/lib/autocert',
  certificates: [{ identifiers: ['www.example.com'] }],
};

/** LEAST with another line before its end, on line 15. */
function withLine(line: string): string {
  return JSON.stringify(LEAST, null, 2).replace(/\n\}$/, `,\n  ${line}\n}`);
}

async function problemsOf(text: string) {
  try {
    await parseConfig(text, { env: ENV });
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

describe('JSON', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc
      .array(fc.constantFrom('${REGION}', '${QUOTES}', '$${', '${NO}', '${', '"', '\\', ':', 'a'))
      .map((parts) => parts.join('')),
  );
  const key = fc.oneof(text, fc.constantFrom('a', 'b', '__proto__', '<<', '1'));
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: 'small' },
      text,
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.maxSafeInteger(),
      fc.boolean(),
      fc.constant(null),
      fc.array(tie('value'), { maxLength: 4 }),
      fc.array(fc.tuple(key, tie('value')), { maxLength: 4 }).map((entries) => Object.fromEntries(entries)),
    ),
  }));

  test('is read as the reader of YAML reads it, and left to that when there is anything to be said against it', () => {
    let read = 0;
    const map = fc.array(fc.tuple(key, value), { maxLength: 4 }).map((entries) => Object.fromEntries(entries));
    fc.assert(
      fc.property(map, fc.nat(3), (written, indent) => {
        const json = JSON.stringify(written, null, indent);
        const tree = readTree(json, ENV);
        const isGood = tree.problems.length === 0;
        expect(readJson(json, ENV)).toEqual(isGood ? tree.value : undefined);
        if (isGood) read += 1;
      }),
      { numRuns: 500 },
    );
    expect(read, 'some are good').toBeGreaterThan(50);
  });

  test('that is good has its values, and what stands in a variable is no JSON', async () => {
    const config = await parseConfig(withLine('"region": "${REGION}"'), { env: ENV });
    expect(config).toMatchObject({ region: 'cn-hangzhou', store: { path: '/var/lib/autocert' } });
    expect(readJson('{"a": "${QUOTES}"}', ENV)).toEqual({ a: '"], "region": "${REGION}"' });
  });

  test.each([
    ['"store": "file:///elsewhere"', 'KEY_DUPLICATE', 'store'],
    ['"endpoints": { "cdn": "https://a.example", "cdn": "https://b.example" }', 'KEY_DUPLICATE', 'endpoints.cdn'],
    ['"__proto__": {}', 'KEY_REFUSED', ''],
    ['"region": "${NO_SUCH}"', 'ENV_MISSING', 'region'],
    ['"region": "${"', 'ENV_SYNTAX', 'region'],
    ['"regoin": "cn-hangzhou"', 'KEY_UNKNOWN', 'regoin'],
    ['"heartbeat": 1', 'TYPE_WRONG', 'heartbeat'],
    [`"cdn": ${'['.repeat(21)}${']'.repeat(21)}`, 'TEXT_TOO_DEEP', 'cdn'],
  ])('with %s is refused at its line', async (line, code, path) => {
    expect(await problemsOf(withLine(line))).toContainEqual(expect.objectContaining({ code, path, line: 15 }));
  });

  test.each([
    [
      'of too many parts',
      `{${Array.from({ length: 60_000 }, (_, nth) => `"k${nth}" : [ 1 , 2 ]`).join(' ')}}`.replaceAll('] "', '], "'),
    ],
    ['with a text that is too long', JSON.stringify({ ...LEAST, region: 'x'.repeat(70_000) })],
    ['of too many bytes', JSON.stringify({ ...LEAST, region: 'x '.repeat(600_000) })],
    ['with too many entries', JSON.stringify({ ...LEAST, region: Array.from({ length: 110_000 }, () => 1) })],
  ])('%s is refused as too large', async (_, json) => {
    JSON.parse(json);
    expect(await problemsOf(json)).toMatchObject([{ code: 'TEXT_TOO_LARGE' }]);
  });
});

describe('a public suffix among the names', () => {
  const withNames = (identifiers: readonly string[], domains: readonly string[]) =>
    JSON.stringify({ ...LEAST, certificates: [{ name: 'a', identifiers, targets: [{ domains }] }] }, null, 2);

  test.each([
    [['*.co.uk'], ['www.co.uk'], 'certificates[0].identifiers[0]'],
    [['com.cn'], ['com.cn'], 'certificates[0].targets[0].domains[0]'],
    [['*.example.com', 'city.hokkaido.jp'], ['www.example.com'], undefined],
  ])('%j, %j: %s', async (identifiers, domains, path) => {
    const found = (await problemsOf(withNames(identifiers, domains))).filter(
      ({ code }) => code === 'IDENTIFIER_INVALID',
    );
    const allowed = 'a name below a public suffix, not the suffix itself';
    expect(found.map((one) => one.path).includes(path ?? '')).toBe(path !== undefined);
    for (const one of found) expect(one).toMatchObject({ allowed, line: expect.any(Number) });
  });
});
