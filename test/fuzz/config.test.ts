import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseNotifying } from '../../src/config/notify.ts';
import { ConfigError } from '../../src/config/problem.ts';
import { parseConfig } from '../../src/config.ts';
import { broken, garbled, LONGEST, survives, times } from './hostile.ts';

const GOOD = {
  acme: {
    directoryUrl: 'zerossl',
    contact: ['mailto:ops@example.com'],
    externalAccountBinding: { kid: 'kid', hmacKey: 'zWNDZM6eQGHWpSRTPal5eIUYFTu7EajV' },
    fallback: [{ directoryUrl: 'letsencrypt-staging', profile: 'shortlived' }],
  },
  challenge: { type: 'dns-01', solver: 'alidns' },
  dns: { resolvers: ['223.5.5.5', '[2001:db8::1]:53'], propagation: 'resolvers' },
  certificates: [
    {
      name: 'www',
      identifiers: ['www.example.com', '*.example.com'],
      keyType: 'ec256',
      targets: [{ type: 'cdn', domains: ['.example.com'] }],
    },
    { identifiers: ['bücher.example'] },
  ],
  discover: { include: ['*.example.net'], exclude: ['old.example.net'], group: 'zone' },
  renewal: { interval: '6h' },
  cdn: { api: 'auto', callsPerSecond: 10 },
  verify: { patience: '10m', connect: ['127.0.0.1:8443'] },
  store: 'oss://my-bucket/autocert',
  encryption: { key: '${KEY}', previousKeys: ['${KEY}'] },
  notify: [
    { channel: 'dingtalk', url: 'https://oapi.dingtalk.com/robot/send?access_token=${TOKEN}', secret: '${TOKEN}' },
  ],
  heartbeat: 'https://example.com/ping',
  region: 'cn-hangzhou',
  endpoints: { cdn: 'https://cdn.aliyuncs.com', kms: 'https://kms.cn-hangzhou.aliyuncs.com' },
};
const env = { KEY: Buffer.alloc(32, 7).toString('base64'), TOKEN: 'abc' };
const WORDS = [
  '&a ',
  '*a',
  '<<: ',
  '!!js/function ',
  '__proto__: ',
  'constructor: ',
  '${',
  '${KEY}',
  '{',
  '[',
  '- ',
  ': ',
  '\t',
  '|\n',
  '? ',
  '---\n',
  '#',
  '"',
  "'",
  '%YAML 1.1\n',
  '\uFEFF',
  '!!binary ',
];

/** The block form of YAML, as people write it. */
const YAML = `acme:
  contact: [mailto:ops@example.com]
certificates: &list
  - name: www
    identifiers: [www.example.com, "*.example.com"]
  - identifiers:
      - example.org
store: file:///var/lib/autocert # here
encryption: { key: "\${KEY}" }
`;

async function parses(text: string): Promise<void> {
  await survives(() => parseConfig(text, { env, readFile: () => 'no certificate' }));
  await survives(() => parseNotifying(text, { env, region: undefined }));
}

const property = (texts: fc.Arbitrary<string>, runs: number) => fc.assert(fc.asyncProperty(texts, parses), times(runs));

test('the good configuration is one', async () => {
  expect((await parseConfig(JSON.stringify(GOOD), { env })).certificates).toHaveLength(2);
  expect((await parseConfig(YAML, { env })).certificates).toHaveLength(2);
});

test(
  'F66 bytes of any kind',
  () =>
    property(
      fc.oneof(
        fc.string({ unit: 'binary' }),
        fc.uint8Array({ maxLength: 300 }).map((bytes) => new TextDecoder().decode(bytes)),
      ),
      500,
    ),
  LONGEST,
);
test(
  'F66 what YAML is made of, in any order',
  () =>
    property(
      fc.array(fc.constantFrom(...WORDS, 'acme', 'store', '\n', ' ', 'a')).map((words) => words.join('')),
      500,
    ),
  LONGEST,
);
test(
  'F66 F44 good JSON with values that are not',
  () =>
    property(
      broken(GOOD).map((value) => JSON.stringify(value) ?? ''),
      500,
    ),
  LONGEST,
);
test('F66 good JSON, garbled', () => property(garbled(JSON.stringify(GOOD), WORDS), 200), LONGEST);
test('F66 good YAML, garbled', () => property(garbled(YAML, WORDS), 500), LONGEST);

const foundIn = async (text: string) => {
  try {
    await parseConfig(text, { env: {} });
  } catch (error) {
    if (error instanceof ConfigError) return error.problems[0];
    throw error;
  }
  return undefined;
};
const problemOf = async (text: string) => (await foundIn(text))?.code;

test.each([
  ['half a million entries in brackets', `[${'1,'.repeat(500_000)}1]`],
  ['300,000 empty lists', `certificates: [${'[],'.repeat(300_000)}]`],
  ['200,000 keys that are the same', 'a: 1\n'.repeat(200_000)],
  ['250,000 documents', '---\n'.repeat(250_000)],
  ['half a million comments', '#\n'.repeat(500_000)],
  ['300,000 aliases', `a: &a [1]\nb: [${'*a,'.repeat(300_000)}]`],
  ['more than a megabyte', ' '.repeat(1024 * 1024 + 1)],
])('F66 %s are refused by their size', async (_, text) => {
  expect(await problemOf(text)).toBe('TEXT_TOO_LARGE');
});

const megabyteOf = (unit: string) => unit.repeat(Math.floor((1024 * 1024) / unit.length));

// Only the look before the parser knows how many there are in the whole text: the parser was not entered.
test.each([
  ['quotes', megabyteOf('"" '), '699050 quotes and brackets'],
  ['brackets', megabyteOf('['), '1048576 quotes and brackets'],
  ['empty lists without commas', megabyteOf('[] '), '699050 quotes and brackets'],
  ['keys without quotes', 'a1: 1\n'.repeat(99_000), '198000 lines, keys and entries'],
  ['keys on one line', megabyteOf('{a: '), '262144 lines, keys and entries'],
  ['variables', `a: "${'${A}'.repeat(12_000)}"`, '12000 variables'],
])('F66 a text of nothing but %s is refused before it is parsed', async (_, text, found) => {
  expect(await foundIn(text)).toMatchObject({ code: 'TEXT_TOO_LARGE', found });
});

// The parser ends at the first that is too much.
test.each([
  ['anchors', megabyteOf('&a ')],
  ['tags', megabyteOf('! ')],
  ['aliases', `a: &a 1\nb: [${'*a,'.repeat(90_000)}]`],
])('F66 a text of nothing but %s is refused after a thousand of them', async (_, text) => {
  expect(await foundIn(text)).toMatchObject({
    code: 'TEXT_ALIASES',
    found: 'more than 1000 anchors, aliases and tags',
  });
});

test.each([
  ['in quotes', `a: "${'x'.repeat(70_000)}"`],
  ['without quotes', `a: ${'x '.repeat(35_000)}`],
  ['of many lines', `a: |\n${'  x\n'.repeat(20_000)}`],
])('F66 a value of 70,000 characters is refused as one: %s', async (_, text) => {
  expect(await foundIn(text)).toMatchObject({ code: 'TEXT_TOO_LARGE', found: 'a value of more than 65536 characters' });
});

test('F66 aliases that multiply a long list are refused by what they would become', async () => {
  const text = `a: &a [${'1,'.repeat(9_000)}1]\nb: [${'*a,'.repeat(99)}]`;
  expect(await foundIn(text)).toMatchObject({
    code: 'TEXT_ALIASES',
    found: 'more than 20000 values that aliases stand for',
  });
});

test('F66 a configuration that is wrong in thousands of places is refused with the first hundred', async () => {
  const text = Array.from({ length: 50_000 }, (_, nth) => `key${nth}: 1\n`).join('');
  try {
    await parseConfig(text, { env: {} });
    expect.unreachable();
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    if (error instanceof ConfigError) expect(error.problems).toHaveLength(100);
  }
});

const TEN_THOUSAND = Array.from({ length: 10_000 }, (_, nth) => `d${nth}.example.com`);
const certificates = TEN_THOUSAND.map((name) => ({ identifiers: [name] }));
const wildcards = TEN_THOUSAND.map((name) => ({ identifiers: [name, `*.${name}`], keyType: 'ec256' }));

test.each([
  ['JSON', JSON.stringify({ ...GOOD, certificates: wildcards })],
  ['JSON with a line for each value', JSON.stringify({ ...GOOD, certificates }, null, 1)],
  [
    'YAML with a line for each value',
    [
      YAML.slice(0, YAML.indexOf('certificates')),
      'certificates:\n',
      ...TEN_THOUSAND.map(
        (name) => `- identifiers:\n  - ${name}\n  - "*.${name}"\n  keyType: ec256 # as all of them\n`,
      ),
      YAML.slice(YAML.indexOf('store')),
    ].join(''),
  ],
])('F66 ten thousand certificates are read: %s', async (_, text) => {
  expect((await parseConfig(text, { env })).certificates).toHaveLength(10_000);
});
