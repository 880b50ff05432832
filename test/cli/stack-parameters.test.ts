import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { stackParameters } from '../../src/cli/stack-parameters.ts';
import { readStackTemplate, STACK_NAME } from '../../src/cli/stack-template.ts';
import { parseConfig } from '../../src/config.ts';
import { Secret } from '../../src/secret.ts';
import { readTemplate } from '../template/read.ts';

const template = await readStackTemplate(fileURLToPath(new URL('../..', import.meta.url)));
const PLACE = { name: 'autocert', account: '1234567890123456', region: 'cn-hangzhou' };
const KEY = Buffer.alloc(32, 7).toString('base64');
const ENV = { AUTOCERT_KEY: KEY, HOOK: 'https://hooks.example.com/very-secret', EAB_HMAC_KEY: 'ZWFiLWhtYWMta2V5' };

async function derive(lines: readonly string[], more: { given?: readonly string[]; zones?: readonly string[] } = {}) {
  const text = [
    'acme: { contact: ["mailto:ops@example.com"] }',
    'store: oss://autocert-1234567890123456-cn-hangzhou/autocert',
    ...(lines.some((line) => /^(certificates|discover)/.test(line))
      ? []
      : ['certificates: [{ identifiers: [www.example.com] }]']),
    ...lines,
  ].join('\n');
  const config = await parseConfig(text, { env: ENV, region: 'cn-hangzhou' });
  const { zones = ['example.com'], given = [] } = more;
  const { parameters, problems } = stackParameters({
    config,
    text,
    env: ENV,
    template,
    name: 'autocert',
    zones,
    given,
  });
  const revealed = Object.entries(parameters).map(([key, value]) => [
    key,
    value instanceof Secret ? `secret ${value.reveal()}` : value,
  ]);
  return { parameters: Object.fromEntries(revealed), problems: problems.map(({ text: said }) => said) };
}

describe('the parameters of a stack', () => {
  test('of the least configuration', async () => {
    expect(await derive([])).toEqual({
      parameters: {
        Name: 'autocert',
        CdnDomains: 'www.example.com',
        DnsZones: 'example.com',
        RenewalIntervalHours: '6',
        CloudMonitor: 'false',
        DirectMail: 'false',
      },
      problems: [],
    });
  });

  test.each<[string, readonly string[], Record<string, string>]>([
    [
      'domains of targets',
      ['certificates: [{ identifiers: ["*.a.com"], targets: [{ domains: ["*.a.com", b.a.com] }] }]'],
      {
        CdnDomains: '*.a.com,b.a.com',
      },
    ],
    ['discovery of whatever comes', ['discover: {}'], { CdnDomains: '*' }],
    ['discovery by a pattern', ['discover: { include: ["*.example.com"] }'], { CdnDomains: '*' }],
    [
      'discovery of named domains',
      ['discover: { include: [a.example.com, b.example.com] }'],
      {
        CdnDomains: 'a.example.com,b.example.com',
      },
    ],
    ['a key of KMS', ['encryption: { kmsKeyId: key-hzz0001 }'], { KmsKeyId: 'key-hzz0001' }],
    ['a channel with a permission', ['notify: [{ channel: cloudmonitor }]'], { CloudMonitor: 'true' }],
    ['another interval', ['renewal: { interval: 60m }'], { RenewalIntervalHours: '1' }],
    ['a variable with a parameter', ['encryption: { key: "${AUTOCERT_KEY}" }'], { EncryptionKey: `secret ${KEY}` }],
    ['a variable without one', ['heartbeat: "${HOOK}"'], { Environment: `secret {"HOOK":"${ENV.HOOK}"}` }],
    ['http-01', ['challenge: { type: http-01, bucket: origin }'], { ChallengeBucket: 'origin' }],
  ])('for %s', async (_, lines, parameters) => {
    const derived = await derive(lines);
    expect(derived.parameters).toMatchObject(parameters);
    expect(derived.problems).toEqual([]);
  });

  test('more domains than the policy has room for are all of them', async () => {
    const domains = Array.from({ length: 61 }, (_, n) => `d${n}.example.com`);
    expect((await derive([`certificates: [{ identifiers: [${domains.join(', ')}] }]`])).parameters['CdnDomains']).toBe(
      '*',
    );
  });

  test('without zones, as for http-01, name one that cannot be', async () => {
    expect((await derive(['challenge: { type: http-01, bucket: origin }'], { zones: [] })).parameters['DnsZones']).toBe(
      'none.invalid',
    );
  });

  test('a variable in a comment is no variable', async () => {
    expect(await derive(['# heartbeat: ${SOMETHING}'])).toMatchObject({ problems: [] });
  });

  test.each<[string, readonly string[], readonly string[], string]>([
    [
      'an interval that no timer has',
      ['renewal: { interval: 90m }'],
      [],
      'no timer of Function Compute has the interval',
    ],
    ['a parameter that is not there', [], ['Nmae=a'], 'the template has no parameter Nmae'],
    ['a parameter without value', [], ['LogRetentionDays'], '--parameter LogRetentionDays has no value'],
    ['a number that is none', [], ['RenewTimeout=long'], 'the parameter RenewTimeout cannot be "long"'],
    ['a number out of its range', [], ['RenewTimeout=60'], 'the parameter RenewTimeout cannot be "60"'],
    [
      'what the configuration says',
      [],
      ['CdnDomains=*'],
      '--parameter CdnDomains is worked out from the configuration',
    ],
    ['a secret that does not fit', [], ['KmsKeyId=a'], '--parameter KmsKeyId is worked out from the configuration'],
  ])('%s is a problem, and is not passed on', async (_, lines, given, words) => {
    const { parameters, problems } = await derive(lines, { given });
    expect(problems).toEqual([expect.stringContaining(words)]);
    expect(Object.keys(parameters)).not.toContain(
      given[0]?.split('=')[0] === 'CdnDomains' ? '' : given[0]?.split('=')[0],
    );
  });

  test('variables that are too long together are a problem that shows none of them', async () => {
    const env = { ...ENV, HOOK: `https://hooks.example.com/${'x'.repeat(900)}`, LONG: 'y'.repeat(1000) };
    const names = ['HOOK', 'LONG', 'A', 'B', 'C', 'D'];
    const all = { ...env, ...Object.fromEntries(names.slice(2).map((name) => [name, 'z'.repeat(1000)])) };
    const text = names.map((name) => `${name}: "\${${name}}"`).join('\n');
    const config = await parseConfig('acme: { contact: ["mailto:ops@example.com"] }\nstore: file:///x\ndiscover: {}', {
      env: all,
      region: 'cn-hangzhou',
    });
    const { problems } = stackParameters({ config, text, env: all, template, name: 'autocert', zones: [], given: [] });
    expect(problems.map(({ text: said }) => said)).toEqual([
      'the variables HOOK, LONG, A, B, C, D have more than 4096 bytes',
    ]);
  });
});

describe('the template', () => {
  test('says where the configuration and the store are before there is a stack', () => {
    expect(template.url('ConfigUrl', PLACE)).toBe('oss://autocert-1234567890123456-cn-hangzhou/config.yaml');
    expect(template.url('StoreUrl', PLACE)).toBe('oss://autocert-1234567890123456-cn-hangzhou/autocert');
  });

  test('says which parameter each variable of the functions comes from', () => {
    expect(Object.fromEntries(template.variables)).toMatchObject({
      AUTOCERT_KEY: 'EncryptionKey',
      EAB_HMAC_KEY: 'EabHmacKey',
      DINGTALK_URL: 'DingtalkUrl',
      DINGTALK_SECRET: 'DingtalkSecret',
    });
  });

  test('takes the names that the command line takes', () => {
    expect(readTemplate().Parameters['Name']?.AllowedPattern).toBe(STACK_NAME.source);
  });

  test('that was not built is an error that says what to do', async () => {
    await expect(readStackTemplate('/nowhere')).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      remedy: expect.stringContaining('npm run build'),
    });
  });
});
