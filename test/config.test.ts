import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { CONFIG_PROBLEM_CODES, ConfigError, type ConfigProblem } from '../src/config/problem.ts';
import { configSecrets, loadConfig, type ParseOptions, parseConfig } from '../src/config.ts';
import { Secret } from '../src/secret.ts';
import { makeCa } from './sandbox/certificates.ts';

const KEY = Buffer.alloc(32, 7).toString('base64');
const ENV = {
  EAB: 'ZWFiLWhtYWMta2V5',
  AES: KEY,
  ROBOT: 'https://oapi.dingtalk.com/robot/send?access_token=tokentoken',
  SIGN: 'SECsignsign',
};

const LEAST = `acme: { contact: [mailto:ops@example.com] }
store: file:///var/lib/autocert
certificates: [{ identifiers: [www.example.com] }]
`;

/** LEAST with other lines in place of some of its own, by their first key, and with more. */
function config(...lines: readonly string[]): string {
  const keyOf = (line: string) => line.split(':')[0];
  const replaced = new Set(lines.map(keyOf));
  return [
    ...LEAST.trim()
      .split('\n')
      .filter((line) => !replaced.has(keyOf(line))),
    ...lines,
  ].join('\n');
}

async function problems(text: string, options: Partial<ParseOptions> = {}): Promise<readonly ConfigProblem[]> {
  try {
    await parseConfig(text, { env: ENV, ...options });
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

const brief = async (text: string, options?: Partial<ParseOptions>) =>
  (await problems(text, options)).map(({ code, path }) => `${code} ${path}`);

describe('a configuration with nothing but what it needs', () => {
  test('has a default for everything else', async () => {
    expect(await parseConfig(LEAST, { env: {} })).toEqual({
      acme: {
        directoryUrl: 'https://acme-v02.api.letsencrypt.org/directory',
        contact: ['mailto:ops@example.com'],
        termsOfServiceAgreed: true,
        rehearsal: 'https://acme-staging-v02.api.letsencrypt.org/directory',
        concurrency: 100,
        fallback: [],
      },
      challenge: { type: 'dns-01', solver: 'alidns' },
      dns: { resolvers: ['223.5.5.5', '223.6.6.6'], propagation: 'authoritative' },
      certificates: [
        {
          name: 'www.example.com',
          identifiers: ['www.example.com'],
          keyType: 'rsa2048',
          targets: [{ type: 'cdn', domains: ['www.example.com'] }],
        },
      ],
      renewal: { interval: 21_600_000 },
      cdn: { api: 'auto', callsPerSecond: 10 },
      verify: { patience: 600_000 },
      store: { type: 'file', path: '/var/lib/autocert' },
      inbox: { passwords: [] },
      notify: [],
      endpoints: { cdn: 'https://cdn.aliyuncs.com', alidns: 'https://alidns.aliyuncs.com' },
    });
  });

  test('is the same in YAML and in JSON, with a byte order mark and tabs where JSON has them', async () => {
    const json = JSON.stringify(
      {
        acme: { contact: ['mailto:ops@example.com'] },
        store: 'file:///var/lib/autocert',
        certificates: [{ identifiers: ['www.example.com'] }],
      },
      null,
      '\t',
    );
    expect(await parseConfig(`\uFEFF${json}`, { env: {} })).toEqual(await parseConfig(LEAST, { env: {} }));
  });
});

describe('a full configuration', () => {
  const full = `acme:
  directoryUrl: zerossl
  contact: [mailto:ops@example.com]
  externalAccountBinding: { kid: abc, hmacKey: "\${EAB}" }
  profile: tlsserver
  preferredChain: ISRG Root X1
  fallback: [{ directoryUrl: letsencrypt-staging }]
dns: { resolvers: ["192.0.2.53", "127.0.0.1:8053", "[2001:db8::1]:53"], propagation: resolvers }
certificates:
  - name: www
    identifiers: [www.example.com, "*.example.com", BÜCHER.example., www.example.com]
    keyType: ec256
    targets: [{ domains: [.example.com, WWW.example.com] }, { type: cdn, domains: [bücher.example] }]
  - identifiers: ["*.example.org"]
discover: { include: [".Example.net", "img*.example.com"], exclude: [old.example.net], group: zone, keyType: ec384 }
renewal: { interval: 30m }
cdn: { api: SetDomainServerCertificate, callsPerSecond: 2.5 }
verify: { patience: 90s, connect: ["127.0.0.1:8443", "::1", edge.example.com] }
store: oss://my-bucket/a/b/
encryption: { key: "\${AES}", previousKeys: ["\${AES}"] }
notify:
  - { channel: dingtalk, url: "\${ROBOT}", secret: "\${SIGN}" }
  - { channel: slack, url: https://hooks.slack.com/services/x, language: zh }
heartbeat: https://example.com/ping
`;

  test('comes out normalised', async () => {
    expect(await parseConfig(full, { env: ENV, region: 'cn-shanghai' })).toMatchObject({
      acme: {
        directoryUrl: 'https://acme.zerossl.com/v2/DV90',
        profile: 'tlsserver',
        preferredChain: 'ISRG Root X1',
        fallback: [
          {
            directoryUrl: 'https://acme-staging-v02.api.letsencrypt.org/directory',
            contact: ['mailto:ops@example.com'],
          },
        ],
      },
      dns: { resolvers: ['192.0.2.53', '127.0.0.1:8053', '2001:db8::1'], propagation: 'resolvers' },
      certificates: [
        {
          name: 'www',
          identifiers: ['*.example.com', 'xn--bcher-kva.example'],
          keyType: 'ec256',
          targets: [
            { type: 'cdn', domains: ['*.example.com', 'www.example.com'] },
            { type: 'cdn', domains: ['xn--bcher-kva.example'] },
          ],
        },
        { name: 'wildcard.example.org', targets: [{ type: 'cdn', domains: ['*.example.org'] }] },
      ],
      discover: {
        include: ['*.example.net', 'img*.example.com'],
        exclude: ['old.example.net'],
        group: 'zone',
        keyType: 'ec384',
      },
      renewal: { interval: 1_800_000 },
      cdn: { api: 'SetDomainServerCertificate', callsPerSecond: 2.5 },
      verify: { patience: 90_000, connect: ['127.0.0.1:8443', '[::1]:443', 'edge.example.com:443'] },
      store: { type: 'oss', bucket: 'my-bucket', prefix: 'a/b' },
      notify: [
        { channel: 'dingtalk', language: 'zh' },
        { channel: 'slack', language: 'zh' },
      ],
      region: 'cn-shanghai',
      endpoints: { oss: 'https://oss-cn-shanghai.aliyuncs.com', kms: 'https://kms.cn-shanghai.aliyuncs.com' },
    });
  });

  test('a fallback has the contact of the CA before it, but neither its profile nor its account binding', async () => {
    const [fallback] = (await parseConfig(full, { env: ENV, region: 'cn-shanghai' })).acme.fallback;
    expect(fallback).toMatchObject({
      contact: ['mailto:ops@example.com'],
      profile: undefined,
      externalAccountBinding: undefined,
    });
  });

  test('keeps its secrets in Secret, and nothing of them in what it prints', async () => {
    const parsed = await parseConfig(full, { env: ENV, region: 'cn-shanghai' });
    const secrets = configSecrets(parsed).map((secret) => secret.reveal());
    expect(secrets).toEqual([
      ENV.EAB,
      KEY,
      KEY,
      ENV.ROBOT,
      ENV.SIGN,
      'https://hooks.slack.com/services/x',
      'https://example.com/ping',
    ]);
    const printed = JSON.stringify(parsed);
    for (const secret of secrets) expect(printed).not.toContain(secret);
  });
});

describe('every problem is reported at once', () => {
  const wrong = `acme: { directoryUrl: "http://ca.example", contact: [ops@example.com] }
certificates:
  - { name: A b, identifiers: ["*.com", a_b.example] }
  - { identifiers: [www.example.com], keytype: rsa1024 }
renewal: { interval: 6 hours }
cdn: { callsPerSecond: fast }
store: s3://bucket
hartbeat: https://example.com
`;

  test('ten mistakes are ten lines, each with its place, what is there and what is allowed', async () => {
    const error = await (async () => {
      try {
        return await parseConfig(wrong, { env: {} });
      } catch (thrown) {
        return thrown;
      }
    })();
    if (!(error instanceof ConfigError)) throw new Error('It was taken for good');
    expect(error).toMatchObject({ code: 'CONFIG_INVALID', retryable: false });
    const lines = error.message.split('\n');
    expect(lines).toHaveLength(10);
    expect(error.problems).toHaveLength(10);
    for (const line of lines) expect(line).toMatch(/^\S+ \(line \d\): found .+; allowed: .+\.$|Did you mean/);
    expect(lines).toContain(
      'certificates[0].identifiers[0] (line 3): found "*.com"; allowed: a name below a public suffix, not the suffix itself.',
    );
    expect(lines).toContain('store (line 7): found "s3://bucket"; allowed: oss://bucket/prefix or file:///path.');
  });

  test('of two unknown keys in one map, both are named, with the key that was meant', async () => {
    const found = await problems(config('cdn: { apis: auto, callspersecond: 1 }'));
    expect(found.map(({ code, path, remedy }) => [code, path, remedy])).toEqual([
      ['KEY_UNKNOWN', 'cdn.apis', 'Did you mean api?'],
      ['KEY_UNKNOWN', 'cdn.callspersecond', 'Did you mean callsPerSecond?'],
    ]);
  });

  test('what the environment lacks is not reported a second time as a wrong value', async () => {
    expect(await brief(config('encryption: { key: "${NO_SUCH}" }'))).toEqual(['ENV_MISSING encryption.key']);
  });
});

describe('each kind of mistake has a code', () => {
  const hundredAndOne = Array.from({ length: 101 }, (_, index) => `d${index}.example.com`);
  const situations: readonly (readonly [string, string, ...string[]])[] = [
    ['TEXT_SYNTAX', '', 'acme: [1'],
    ['TEXT_SYNTAX', '', ''],
    ['TEXT_SYNTAX', '', 'a: 1\n---\nb: 2'],
    ['TEXT_SYNTAX', '', '%YAML 1.1\n---\na: 1'],
    ['TYPE_WRONG', '', '[1]'],
    ['KEY_MISSING', 'acme', 'store: file:///x\ncertificates: [{ identifiers: [www.example.com] }]'],
    [
      'KEY_MISSING',
      'store',
      'acme: { contact: [mailto:a@example.com] }\ncertificates: [{ identifiers: [www.example.com] }]',
    ],
    ['KEY_MISSING', 'acme.contact', config('acme: {}')],
    ['KEY_DUPLICATE', 'store', `${LEAST}store: file:///other`],
    ['ENV_SYNTAX', 'region', config('region: "cn-${1}"')],
    ['VALUE_NOT_ALLOWED', 'cdn.api', config('cdn: { api: Batch }')],
    [
      'VALUE_NOT_ALLOWED',
      'certificates[0].targets[0].type',
      config('certificates: [{ identifiers: [www.example.com], targets: [{ type: oss }] }]'),
    ],
    ['NUMBER_OUT_OF_RANGE', 'cdn.callsPerSecond', config('cdn: { callsPerSecond: 0 }')],
    ['NUMBER_OUT_OF_RANGE', 'acme.concurrency', config('acme: { contact: [mailto:a@example.com], concurrency: 0 }')],
    ['TYPE_WRONG', 'acme.concurrency', config('acme: { contact: [mailto:a@example.com], concurrency: 1.5 }')],
    ['TEXT_EMPTY', 'acme.preferredChain', config('acme: { contact: [mailto:a@example.com], preferredChain: "" }')],
    ['LIST_EMPTY', 'acme.contact', config('acme: { contact: [] }')],
    ['LIST_EMPTY', 'certificates[0].identifiers', config('certificates: [{ name: a, identifiers: [] }]')],
    ['DURATION_INVALID', 'renewal.interval', config('renewal: { interval: 8d }')],
    ['DURATION_INVALID', 'verify.patience', config('verify: { patience: 10 m }')],
    ['URL_INVALID', 'endpoints.cdn', config('endpoints: { cdn: "http://cdn.example.com" }')],
    ['URL_INVALID', 'endpoints.cdn', config('endpoints: { cdn: "https://cdn.example.com/path" }')],
    ['URL_INVALID', 'heartbeat', config('heartbeat: http://example.com/ping')],
    [
      'DIRECTORY_INVALID',
      'acme.directoryUrl',
      config('acme: { contact: [mailto:a@example.com], directoryUrl: letsencript }'),
    ],
    ['ADDRESS_INVALID', 'dns.resolvers[1]', config('dns: { resolvers: [192.0.2.1, dns.example] }')],
    ['ADDRESS_INVALID', 'verify.connect', config('verify: { connect: "127.0.0.1:99999" }')],
    ['CONTACT_INVALID', 'acme.contact[0]', config('acme: { contact: [ops@example.com] }')],
    [
      'TERMS_NOT_AGREED',
      'acme.termsOfServiceAgreed',
      config('acme: { contact: [mailto:a@example.com], termsOfServiceAgreed: false }'),
    ],
    ['STORE_INVALID', 'store', config('store: file://relative/path')],
    ['STORE_INVALID', 'store', config('store: oss://bucket/../x')],
    ['KEY_LENGTH', 'encryption.key', config('encryption: { key: c2hvcnQ= }')],
    [
      'KEY_ENCODING',
      'encryption.previousKeys[0]',
      config(`encryption: { key: "${KEY}", previousKeys: ["not base64!"] }`),
    ],
    ['NAME_INVALID', 'certificates[0].name', config('certificates: [{ name: ../x, identifiers: [www.example.com] }]')],
    [
      'IDENTIFIER_INVALID',
      'certificates[0].identifiers[0]',
      config('certificates: [{ identifiers: [_x.example.com] }]'),
    ],
    ['PATTERN_INVALID', 'discover.include[0]', config('discover: { include: ["a b"] }')],
    ['BUCKET_INVALID', 'challenge.bucket', config('challenge: { type: http-01, bucket: A_b }', 'region: cn-beijing')],
    ['NOTHING_TO_MANAGE', '', 'acme: { contact: [mailto:a@example.com] }\nstore: file:///x\ncertificates: []'],
    [
      'NAME_DUPLICATE',
      'certificates[1].name',
      config('certificates: [{ name: x, identifiers: [a.example.com] }, { name: x, identifiers: [b.example.com] }]'),
    ],
    [
      'NAME_DUPLICATE',
      'certificates[1].name',
      config('certificates: [{ identifiers: [a.example.com] }, { name: a.example.com, identifiers: [b.example.com] }]'),
    ],
    [
      'IDENTIFIERS_TOO_MANY',
      'certificates[0].identifiers',
      config(`certificates: [{ name: a, identifiers: [${hundredAndOne}] }]`),
    ],
    [
      'IDENTIFIERS_TOO_MANY',
      'certificates[0].identifiers',
      config(`certificates: [{ name: a, profile: tlsserver, identifiers: [${hundredAndOne.slice(0, 26)}] }]`),
    ],
    [
      'TARGET_NOT_COVERED',
      'certificates[0].targets[0].domains[0]',
      config('certificates: [{ identifiers: ["*.example.com"], targets: [{ domains: [a.b.example.com] }] }]'),
    ],
    [
      'TARGET_DUPLICATE',
      'certificates[1].identifiers',
      config('certificates: [{ identifiers: [a.example.com] }, { name: b, identifiers: [A.example.com] }]'),
    ],
    [
      'TARGET_DUPLICATE',
      'certificates[0].targets[1].domains[0]',
      config(
        'certificates: [{ identifiers: ["*.example.com"], targets: [{ domains: [.example.com] }, { domains: ["*.example.com"] }] }]',
      ),
    ],
    [
      'WILDCARD_NEEDS_DNS01',
      'certificates[0].identifiers[0]',
      config(
        'certificates: [{ identifiers: ["*.example.com"] }]',
        'challenge: { type: http-01, bucket: origin }',
        'region: cn-beijing',
      ),
    ],
    ['CHALLENGE_INCOMPLETE', 'challenge.bucket', config('challenge: { type: http-01 }', 'region: cn-beijing')],
    ['CHALLENGE_INCOMPLETE', 'challenge.solver', config('challenge: { type: dns-01, solver: oss }')],
    ['ENCRYPTION_INCOMPLETE', 'encryption', config('encryption: {}')],
    [
      'ENCRYPTION_INCOMPLETE',
      'encryption',
      config(`encryption: { key: "${KEY}", kmsKeyId: alias/a }`, 'region: cn-beijing'),
    ],
    ['CHANNEL_INCOMPLETE', 'notify[0].url', config('notify: [{ channel: wecom }]')],
    ['CHANNEL_INCOMPLETE', 'notify[0].to', config('notify: [{ channel: directmail, from: a@example.com }]')],
    [
      'EXTERNAL_ACCOUNT_BINDING_MISSING',
      'acme.externalAccountBinding',
      config('acme: { contact: [mailto:a@example.com], directoryUrl: google }'),
    ],
    ['REGION_MISSING', 'region', config('store: oss://bucket/prefix')],
    ['REGION_MISSING', 'region', config('encryption: { kmsKeyId: alias/a }')],
    [
      'CA_BUNDLE_UNREADABLE',
      'acme.caBundle',
      config('acme: { contact: [mailto:a@example.com], caBundle: /no/such.pem }'),
    ],
  ];

  test.each(situations)('%s at %s', async (code, path, text = '') => {
    expect(await brief(text)).toContain(`${code} ${path}`);
    expect(new Set(await brief(text)).size).toBe((await problems(text)).length);
  });

  test('and the list of codes holds each of them once', () => {
    expect(new Set(CONFIG_PROBLEM_CODES).size).toBe(CONFIG_PROBLEM_CODES.length);
    for (const [code] of situations) expect(CONFIG_PROBLEM_CODES).toContain(code);
  });

  test('100 identifiers are good, and 25 with a short profile', async () => {
    const certificate = (count: number, profile: string) =>
      brief(config(`certificates: [{ name: a, ${profile} identifiers: [${hundredAndOne.slice(0, count)}] }]`));
    expect(await certificate(100, '')).toEqual([]);
    expect(await certificate(25, 'profile: shortlived,')).toEqual([]);
  });

  test('a number where a text belongs is told to be put in quotes', async () => {
    expect(await problems(config('certificates: [{ name: 12, identifiers: [www.example.com] }]'))).toMatchObject([
      { code: 'TYPE_WRONG', path: 'certificates[0].name', found: '12', remedy: 'Put it in quotes.' },
    ]);
  });
});

describe('F66 a text that is made to do harm', () => {
  const bomb = [
    'a: &a [x,x,x,x,x,x,x,x,x]',
    ...'bcdefghi'.split('').map((name, index) => `${name}: &${name} [${`*${'abcdefgh'[index]},`.repeat(9)}]`),
  ].join('\n');

  test.each([
    { situation: 'of 5 MB', text: `a: ${'x'.repeat(5 << 20)}`, code: 'TEXT_TOO_LARGE' },
    { situation: 'with aliases that multiply to 9^9', text: bomb, code: 'TEXT_ALIASES' },
    { situation: 'with an alias inside itself', text: 'a: &a [*a]', code: 'TEXT_TOO_DEEP' },
    { situation: 'with 200 000 brackets', text: '['.repeat(200_000), code: 'TEXT_TOO_DEEP' },
    { situation: 'with 100 000 levels of lists', text: '- '.repeat(100_000), code: 'TEXT_TOO_DEEP' },
    { situation: 'with 21 levels', text: `${'{a: '.repeat(21)}1${'}'.repeat(21)}`, code: 'TEXT_TOO_DEEP' },
    { situation: 'with a tag that asks for a function', text: 'a: !!js/function "function () {}"', code: 'TEXT_TAG' },
    { situation: 'with a tag of binary data', text: 'a: !!binary aGVsbG8=', code: 'TEXT_TAG' },
    { situation: 'with a key twice', text: 'a: 1\na: 2', code: 'KEY_DUPLICATE' },
    { situation: 'with __proto__ as a key', text: '{ "__proto__": { "polluted": true } }', code: 'KEY_REFUSED' },
    {
      situation: 'with constructor as a key',
      text: 'acme: { constructor: { prototype: { polluted: true } } }',
      code: 'KEY_REFUSED',
    },
    { situation: 'with a merge key', text: 'a: &a { b: 1 }\nc: { <<: *a }', code: 'KEY_REFUSED' },
    { situation: 'with a map as a key', text: '? { a: 1 }\n: b', code: 'KEY_REFUSED' },
  ])('$situation is refused', async ({ text, code }) => {
    expect((await problems(text)).map((problem) => problem.code)).toContain(code);
    expect(Reflect.get({}, 'polluted')).toBeUndefined();
  });

  test('with tabs as indentation is refused, and the tab is named', async () => {
    expect(await problems('acme:\n\tcontact: []')).toMatchObject([
      { code: 'TEXT_SYNTAX', found: 'a tab used as indentation at column 1', line: 2 },
    ]);
  });

  test('may use an anchor as it is meant', async () => {
    const text = config(
      'certificates: [{ identifiers: [a.example.com], keyType: &type ec256 }, { identifiers: [b.example.com], keyType: *type }]',
    );
    expect((await parseConfig(text, { env: {} })).certificates.map(({ keyType }) => keyType)).toEqual([
      'ec256',
      'ec256',
    ]);
  });
});

describe('a value from the environment', () => {
  const region = async (text: string, env: Record<string, string | undefined>) =>
    (await parseConfig(config(`region: "${text}"`), { env })).region;

  test('stands for ${NAME}, also within a text and more than once', async () => {
    expect(await region('${A}-${B}', { A: 'cn', B: 'hangzhou' })).toBe('cn-hangzhou');
  });

  test('is never read as YAML or as another variable', async () => {
    const found = await problems(config('region: ${A}'), { env: { A: '[x]\nheartbeat: ${B}', B: 'b' } });
    expect(found).toMatchObject([
      { code: 'VALUE_NOT_ALLOWED', path: 'region', found: 'a text of 19 characters from the environment' },
    ]);
  });

  test('is left out by $${', async () => {
    expect(await problems(config('region: "$${A}"'), { env: { A: 'cn-hangzhou' } })).toMatchObject([
      { found: '"${A}"' },
    ]);
  });

  test('that is not there is a problem with its name, and what every object inherits is not there', async () => {
    expect(await problems(config('region: "${A}"'), { env: {} })).toMatchObject([
      { code: 'ENV_MISSING', found: '${A}, which is not set' },
    ]);
    expect(await problems(config('region: "${toString}"'), { env: {} })).toMatchObject([{ code: 'ENV_MISSING' }]);
  });

  test('F68 100 KB of ${ is read once', async () => {
    expect((await problems(config(`region: "${'${'.repeat(50_000)}"`))).length).toBeGreaterThan(0);
  });
});

describe('F70 no secret is ever in what is found', () => {
  const canary = 'canary-5ecret-value';
  test.each([
    `acme: { contact: [mailto:a@example.com], externalAccountBinding: { kid: a, hmacKey: "${canary}!" } }`,
    `encryption: { key: ${canary} }`,
    `encryption: { key: "${KEY}", previousKeys: ["${canary}"] }`,
    `notify: [{ channel: dingtalk, url: "http://${canary}", secret: [${canary}] }]`,
    `notify: [{ channel: sms, url: "ftp://${canary}" }]`,
    `heartbeat: "ftp://${canary}"`,
    'renewal: { interval: "${CANARY}" }',
    `notify: "${canary}" x`,
    `notify: [{ ${canary}`,
  ])('%s', async (line) => {
    const found = await problems(config(line), { env: { CANARY: canary } });
    expect(found.length).toBeGreaterThan(0);
    expect(new ConfigError(found).message).not.toContain(canary);
  });
});

describe('F69 a message may not go', () => {
  test.each([
    'https://100.100.100.200/latest/meta-data/',
    'https://169.254.169.254/',
    'https://127.0.0.1/',
    'https://0x7f000001/',
    'https://127.1/',
    'https://0/',
    'https://[::1]/',
    'https://[::ffff:127.0.0.1]/',
    'https://[::ffff:100.100.100.200]/',
    'https://[fe80::1]/',
    'https://localhost/',
    'https://localhost./',
    'https://a.localhost/',
  ])('to %s', async (url) => {
    expect(await brief(config(`notify: [{ channel: webhook, url: "${url}" }]`))).toEqual([
      'URL_HOST_REFUSED notify[0].url',
    ]);
    expect(await brief(config(`heartbeat: "${url}"`))).toEqual(['URL_HOST_REFUSED heartbeat']);
  });

  test.each(['http://example.com/', 'file:///etc/passwd', 'https://user:password@example.com/', 'example.com'])(
    'by %s',
    async (url) => {
      expect(await brief(config(`notify: [{ channel: webhook, url: "${url}" }]`))).toEqual([
        'URL_INVALID notify[0].url',
      ]);
    },
  );

  test('to this machine, but in a sandbox whose cloud is on this machine too', async () => {
    const local = [
      'notify: [{ channel: webhook, url: "http://127.0.0.1:8080/hook" }]',
      'heartbeat: "http://localhost:8080/ping"',
    ];
    expect(await brief(config(...local, 'endpoints: { cdn: "http://127.0.0.1:9000" }'))).toEqual([]);
    expect(await brief(config(...local))).toHaveLength(2);
    const metadata = 'notify: [{ channel: webhook, url: "http://100.100.100.200/" }]';
    expect(await brief(config(metadata, 'endpoints: { cdn: "http://127.0.0.1:9000" }'))).toEqual([
      'URL_HOST_REFUSED notify[0].url',
    ]);
  });
});

describe('the trust for the ACME endpoint', () => {
  const ca = makeCa('Trust CA');
  const text = config(
    'acme: { contact: [mailto:a@example.com], caBundle: /ca.pem, fallback: [{ directoryUrl: "https://b.example/dir" }] }',
  );

  test('is read from the file, and holds for the fallback too', async () => {
    const { acme } = await parseConfig(text, { env: {}, readFile: (path) => (path === '/ca.pem' ? ca.root : '') });
    expect([acme.caBundle, acme.fallback[0]?.caBundle]).toEqual([ca.root, ca.root]);
  });

  test('is a problem when the file holds no certificate', async () => {
    expect(await problems(text, { readFile: () => 'hello' })).toMatchObject([
      { code: 'CA_BUNDLE_UNREADABLE', found: '"/ca.pem", a file without a PEM certificate' },
    ]);
  });
});

describe('the source of the configuration', () => {
  const nothing = async () => undefined;
  const expected = () => parseConfig(LEAST, { env: {} });

  test('is the text itself', async () => {
    expect(await loadConfig(LEAST, { env: {}, readObject: nothing })).toEqual(await expected());
    const json = JSON.stringify({
      acme: { contact: ['mailto:ops@example.com'] },
      store: 'file:///var/lib/autocert',
      certificates: [{ identifiers: ['www.example.com'] }],
    });
    expect(await loadConfig(json, { env: {}, readObject: nothing })).toEqual(await expected());
  });

  test('is a path or a file URL', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'config-'));
    try {
      const path = join(folder, 'auto cert.yml');
      await writeFile(path, LEAST);
      expect(await loadConfig(path, { env: {}, readObject: nothing })).toEqual(await expected());
      expect(await loadConfig(pathToFileURL(path).href, { env: {}, readObject: nothing })).toEqual(await expected());
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test('is an object of OSS', async () => {
    const asked: unknown[] = [];
    const readObject = async (object: { readonly bucket: string; readonly key: string }) => {
      asked.push(object);
      return LEAST;
    };
    expect(await loadConfig('oss://my-bucket/conf/autocert.yml', { env: {}, readObject })).toEqual(await expected());
    expect(asked).toEqual([{ bucket: 'my-bucket', key: 'conf/autocert.yml' }]);
  });

  test.each(['', '/no/such/file.yml', 'file:///no/such/file.yml', 'oss://my-bucket/no-such-key', 'oss://bucket'])(
    'that is not there is a ConfigError that says where it was looked for: %s',
    async (source) => {
      const error = await loadConfig(source, { env: {}, readObject: nothing }).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({
        code: 'CONFIG_INVALID',
        problems: [{ code: 'SOURCE_UNREADABLE', path: 'AUTOCERT_CONFIG' }],
      });
    },
  );
});

test('a secret that was given is a Secret', async () => {
  expect((await parseConfig(config('heartbeat: https://example.com/x'), { env: {} })).heartbeat).toBeInstanceOf(Secret);
});
