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

test('the good configuration is one', () => {
  expect(parseConfig(JSON.stringify(GOOD), { env }).certificates).toHaveLength(2);
  expect(parseConfig(YAML, { env }).certificates).toHaveLength(2);
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

const problemOf = (text: string) => {
  try {
    parseConfig(text, { env: {} });
  } catch (error) {
    if (error instanceof ConfigError) return error.problems[0]?.code;
    throw error;
  }
  return undefined;
};

test.each([
  ['half a million entries in brackets', `[${'1,'.repeat(500_000)}1]`],
  ['300,000 empty lists', `certificates: [${'[],'.repeat(300_000)}]`],
  ['200,000 keys that are the same', 'a: 1\n'.repeat(200_000)],
  ['250,000 documents', '---\n'.repeat(250_000)],
  ['half a million comments', '#\n'.repeat(500_000)],
  ['300,000 aliases', `a: &a [1]\nb: [${'*a,'.repeat(300_000)}]`],
  ['more than a megabyte', ' '.repeat(1024 * 1024 + 1)],
])('F66 %s are refused by their size', (_, text) => {
  expect(problemOf(text)).toBe('TEXT_TOO_LARGE');
});

test('F66 aliases that multiply a long list are refused by what they would become', () => {
  expect(problemOf(`a: &a [${'1,'.repeat(9_000)}1]\nb: [${'*a,'.repeat(99)}]`)).toBe('TEXT_ALIASES');
});

test('F66 a configuration that is wrong in thousands of places is refused with the first hundred', () => {
  const text = Array.from({ length: 50_000 }, (_, nth) => `key${nth}: 1\n`).join('');
  try {
    parseConfig(text, { env: {} });
    expect.unreachable();
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    if (error instanceof ConfigError) expect(error.problems).toHaveLength(100);
  }
});

test('F66 ten thousand certificates are read', () => {
  const certificates = Array.from({ length: 10_000 }, (_, nth) => ({ identifiers: [`d${nth}.example.com`] }));
  const config = parseConfig(JSON.stringify({ ...GOOD, certificates }), { env });
  expect(config.certificates).toHaveLength(10_000);
});
