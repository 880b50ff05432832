import { readFileSync } from 'node:fs';
import { unzipSync } from 'fflate';
import { beforeAll, describe, expect, test } from 'vitest';
import { parseConfig } from '../src/config.ts';
import { parseRedeployEvent } from '../src/redeploy-event.ts';
import { bundled } from './bundle.ts';
import type { Evaluated } from './template/evaluate.ts';
import { problemsOf } from './template/problems.ts';
import { isMap, type Json, readTemplate, type Template } from './template/read.ts';
import { handlerNames } from './template/sources.ts';
import { BUCKET, evaluated, GIVEN, resourcesOf, template } from './template/stack.ts';

/** A copy with one place changed; undefined takes the place out. */
function changed(path: readonly string[], value: Json | undefined): Template {
  const copy = readTemplate();
  const parent = path.slice(0, -1).reduce<object>((at, key) => Object(Reflect.get(at, key)), copy);
  const last = path.at(-1) ?? '';
  if (value === undefined) Reflect.deleteProperty(parent, last);
  else Reflect.set(parent, last, value);
  return copy;
}

describe('the template against the official definitions', () => {
  test('has no unknown property, no missing one, no wrong type and no name that leads nowhere', () => {
    expect(problemsOf(template)).toEqual([]);
  });

  test.each<[string, readonly string[], Json | undefined, string]>([
    [
      'a property with a typo',
      ['Resources', 'Bucket', 'Properties', 'AcessControl'],
      'private',
      'AcessControl is not defined',
    ],
    [
      'a property in the wrong case',
      ['Resources', 'Bucket', 'Properties', 'accessControl'],
      'private',
      'accessControl is not defined',
    ],
    [
      'a nested property with a typo',
      ['Resources', 'RenewFunction', 'Properties', 'LogConfig', 'LogStore'],
      'functions',
      'LogConfig.LogStore is not defined',
    ],
    [
      'a typo inside a policy',
      ['Resources', 'RenewRole', 'Properties', 'Policies', '0', 'PolicyDocument', 'Statement', '0', 'Resources'],
      ['*'],
      'Statement[0].Resources is not defined',
    ],
    [
      'a number that is a text',
      ['Resources', 'RenewAsync', 'Properties', 'MaxAsyncRetryAttempts'],
      '0',
      'should be a number',
    ],
    ['a text that is a number', ['Resources', 'RenewFunction', 'Properties', 'Handler'], 1, 'should be a string'],
    ['a number out of its range', ['Resources', 'AlertFunction', 'Properties', 'MemorySize'], 64, 'memorySize'],
    [
      'a property that is required and missing',
      ['Resources', 'RenewFunction', 'Properties', 'Runtime'],
      undefined,
      'required but missing',
    ],
    [
      'a type of resource that does not exist',
      ['Resources', 'Bucket', 'Type'],
      'ALIYUN::OSS::Buckets',
      'is not defined',
    ],
    [
      'a key of a resource with a typo',
      ['Resources', 'Bucket', 'DeletePolicy'],
      'Retain',
      'DeletePolicy is not defined',
    ],
    ['a key of a parameter with a typo', ['Parameters', 'EabHmacKey', 'NoEko'], true, 'NoEko is not defined'],
    [
      'a trigger key with a typo',
      ['Resources', 'RenewTimer', 'Properties', 'TriggerConfig', 'cron'],
      '@every 6h',
      'timer trigger.cron is not defined',
    ],
    [
      'a trigger key of the wrong type',
      ['Resources', 'RenewTimer', 'Properties', 'TriggerConfig', 'enable'],
      'true',
      'timer trigger.enable is no boolean',
    ],
    [
      'a type of trigger that does not exist',
      ['Resources', 'StatusUrl', 'Properties', 'TriggerType'],
      'https',
      'is no type of trigger',
    ],
    [
      'a Ref to nothing',
      ['Resources', 'RenewFunction', 'Properties', 'Timeout'],
      { Ref: 'Timeout' },
      'Timeout leads nowhere',
    ],
    [
      'a Fn::GetAtt of an attribute that does not exist',
      ['Resources', 'RenewFunction', 'Properties', 'Role'],
      { 'Fn::GetAtt': ['RenewRole', 'ARN'] },
      'has no attribute ARN',
    ],
    [
      'a Fn::GetAtt of a resource that does not exist',
      ['Outputs', 'StatusUrl', 'Value'],
      { 'Fn::GetAtt': ['Status', 'UrlInternet'] },
      'Status.UrlInternet leads nowhere',
    ],
    [
      'a Fn::Sub of nothing',
      ['Resources', 'Bucket', 'Properties', 'BucketName'],
      { 'Fn::Sub': '${name}' },
      'name leads nowhere',
    ],
    [
      'a Fn::GetAtt of a resource that is not always there',
      ['Resources', 'RenewFunction', 'Properties', 'Description'],
      { 'Fn::GetAtt': ['Bucket', 'Name'] },
      'Bucket is not always there',
    ],
    [
      'a function that ROS does not have',
      ['Outputs', 'StatusUrl', 'Value'],
      { 'Fn::Random': 60 },
      'Fn::Random is no function',
    ],
    [
      'a condition that does not exist',
      ['Resources', 'Bucket', 'Condition'],
      'BucketIsOld',
      'no condition BucketIsOld',
    ],
    ['a DependsOn on nothing', ['Resources', 'LogAlert', 'DependsOn'], 'LogIndices', 'LogIndices, which is not there'],
  ])('%s is found', (_, path, value, problem) => {
    expect(problemsOf(changed(path, value)).join('\n')).toContain(problem);
  });
});

describe('the form that a person fills in', () => {
  const names = Object.keys(template.Parameters);

  test('has every parameter in exactly one group, and none that nothing uses', () => {
    const grouped = template.Metadata['ALIYUN::ROS::Interface'].ParameterGroups.flatMap(({ Parameters }) => Parameters);
    const rest = JSON.stringify([template.Conditions, template.Resources, template.Outputs]);
    expect(grouped.toSorted()).toEqual(names.toSorted());
    expect(names.filter((name) => !rest.includes(`{"Ref":"${name}"}`) && !rest.includes(`\${${name}}`))).toEqual([]);
    expect(Object.keys(template.Conditions).filter((name) => !rest.includes(`"Condition":"${name}"`))).toEqual([]);
  });

  test('speaks English and Chinese', () => {
    const { Parameters, Outputs, Metadata, Description } = template;
    const texts = [
      Description,
      ...Object.values(Parameters).flatMap((parameter) => [parameter.Label, parameter.Description]),
      ...Object.values(Outputs).map((output) => output.Description),
      ...Metadata['ALIYUN::ROS::Interface'].ParameterGroups.map(({ Label }) => Label.default),
    ];
    for (const text of texts) {
      expect(Object.keys(text)).toEqual(['en', 'zh-cn']);
      expect(text['en']).toMatch(/^[\x20-\x7e]+$/);
      expect(text['zh-cn']).not.toBe('');
    }
    const chinese = Object.values(Parameters).map((parameter) => parameter.Description['zh-cn'] ?? '');
    expect(chinese.filter((text) => !/\p{Script=Han}/u.test(text))).toEqual([]);
  });

  test('asks for what nobody can guess, and has an allowed default for the rest', () => {
    const asked = names.filter((name) => template.Parameters[name]?.Default === undefined);
    expect(asked).toEqual(['CdnDomains', 'DnsZones', 'CodeBucket']);
    for (const { Default, Type, AllowedValues, AllowedPattern, MinValue, MaxValue } of Object.values(
      template.Parameters,
    )) {
      if (Default === undefined) continue;
      expect(typeof Default).toBe(Type === 'Number' ? 'number' : 'string');
      if (AllowedValues) expect(AllowedValues).toContain(Default);
      if (AllowedPattern) expect(String(Default)).toMatch(new RegExp(AllowedPattern));
      if (MinValue !== undefined) expect(Number(Default)).toBeGreaterThanOrEqual(MinValue);
      if (MaxValue !== undefined) expect(Number(Default)).toBeLessThanOrEqual(MaxValue);
    }
  });

  test('shows no secret on the console', () => {
    const hidden = names.filter((name) => template.Parameters[name]?.NoEcho === true);
    expect(hidden).toEqual(['EncryptionKey', 'EabHmacKey', 'DingtalkUrl', 'DingtalkSecret']);
  });
});

describe('the functions', () => {
  let stack: Evaluated;
  beforeAll(async () => {
    stack = await evaluated();
  });

  test('are those that the sources have, and each handler is in the zip', async () => {
    const zipped = Object.keys(unzipSync(readFileSync(bundled('autocert.zip'))));
    const functions = resourcesOf('ALIYUN::FC3::Function', stack);
    const handlers = functions.map(({ Handler }) => String(Handler).replace(/\.handler$/, '')).sort();
    expect(handlers).toEqual(handlerNames());
    expect(handlers.map((name) => `${name}.mjs`).filter((file) => !zipped.includes(file))).toEqual([]);
    for (const { FunctionName, Handler } of functions)
      expect(`${String(FunctionName)}.handler`).toBe(`autocert-${String(Handler)}`);
  });

  test('have a vCPU for one to four GB of memory, as FC wants it', async () => {
    for (const memory of template.Parameters['RenewMemorySize']?.AllowedValues ?? []) {
      for (const { Cpu, MemorySize } of resourcesOf(
        'ALIYUN::FC3::Function',
        await evaluated({ RenewMemorySize: memory }),
      )) {
        expect(Number(MemorySize) / 1024 / Number(Cpu)).toBeGreaterThanOrEqual(1);
        expect(Number(MemorySize) / 1024 / Number(Cpu)).toBeLessThanOrEqual(4);
      }
    }
  });

  test('have the variables that a configuration reads, and no other', async () => {
    const secrets = {
      EncryptionKey: Buffer.alloc(32, 7).toString('base64'),
      EabHmacKey: 'ZWFiLWtleQ',
      DingtalkUrl: 'https://oapi.dingtalk.com/robot/send?access_token=0123456789abcdef',
      DingtalkSecret: 'SEC0123456789abcdef',
    };
    const expected = {
      AUTOCERT_CONFIG: `oss://${BUCKET}/config.yaml`,
      AUTOCERT_KEY: secrets.EncryptionKey,
      EAB_HMAC_KEY: secrets.EabHmacKey,
      DINGTALK_URL: secrets.DingtalkUrl,
      DINGTALK_SECRET: secrets.DingtalkSecret,
    };
    for (const { EnvironmentVariables } of resourcesOf('ALIYUN::FC3::Function', await evaluated(secrets))) {
      expect(EnvironmentVariables).toEqual(expected);
    }
    const config = parseConfig(
      `acme:
  directoryUrl: zerossl
  contact: [mailto:ops@example.com]
  externalAccountBinding: { kid: kid, hmacKey: "\${EAB_HMAC_KEY}" }
certificates: [{ identifiers: [www.example.com] }]
store: ${String((await evaluated()).outputs['StoreUrl'])}
encryption: { key: "\${AUTOCERT_KEY}" }
notify: [{ channel: dingtalk, url: "\${DINGTALK_URL}", secret: "\${DINGTALK_SECRET}" }]
`,
      { env: expected, region: 'cn-hangzhou' },
    );
    expect(config.acme.externalAccountBinding?.hmacKey.reveal()).toBe(secrets.EabHmacKey);
    expect(config.encryption && 'key' in config.encryption && config.encryption.key.reveal()).toBe(
      secrets.EncryptionKey,
    );
    expect(config.notify[0]?.url?.reveal()).toBe(secrets.DingtalkUrl);
    expect(config.notify[0]?.secret?.reveal()).toBe(secrets.DingtalkSecret);
    expect(config.store).toEqual({ type: 'oss', bucket: BUCKET, prefix: 'autocert' });
  });

  test('are started by a timer each at a minute of its own, the same for the life of the stack', async () => {
    const crons = async (stackId: string, hours: number) =>
      resourcesOf('ALIYUN::FC3::Trigger', await evaluated({ RenewalIntervalHours: hours }, { stackId })).flatMap(
        ({ TriggerConfig }) =>
          isMap(TriggerConfig) && typeof TriggerConfig['cronExpression'] === 'string'
            ? [TriggerConfig['cronExpression']]
            : [],
      );
    expect(await crons(GIVEN.stackId, 6)).toEqual(['0 42 */6 * * *', '0 12 * * * *']);
    expect(await crons(GIVEN.stackId, 12)).toEqual(['0 42 */12 * * *', '0 12 * * * *']);
    expect(await crons('4a6c9851-3b0f-4f5f-b4ca-a14bf692ab02', 6)).toEqual(['0 43 */6 * * *', '0 13 * * * *']);
  });

  test('run one renewal and one redeployment at a time', () => {
    const reserved = resourcesOf('ALIYUN::FC3::ConcurrencyConfig', stack);
    expect(reserved).toEqual([
      { FunctionName: 'autocert-renew', ReservedConcurrency: 1 },
      { FunctionName: 'autocert-redeploy', ReservedConcurrency: 1 },
    ]);
  });

  test('are hardly ever tried again, and alert hears of what failed for good, except of itself', () => {
    const configs = resourcesOf('ALIYUN::FC3::AsyncInvokeConfig', stack).map((config) => [
      config['FunctionName'],
      config['MaxAsyncRetryAttempts'],
      JSON.stringify(config['DestinationConfig'] ?? null).match(/acs:[^"]+/)?.[0],
    ]);
    const alert = 'acs:fc:cn-hangzhou:1234567890123456:functions/autocert-alert';
    expect(configs).toEqual([
      ['autocert-renew', 0, alert],
      ['autocert-redeploy', 1, alert],
      ['autocert-watch', 0, alert],
      ['autocert-alert', 1, undefined],
    ]);
  });

  test('show their state to nobody who does not sign', () => {
    const http = resourcesOf('ALIYUN::FC3::Trigger', stack).filter(({ TriggerType }) => TriggerType === 'http');
    expect(http.map(({ FunctionName, TriggerConfig }) => [FunctionName, TriggerConfig])).toEqual([
      ['autocert-status', { authType: 'function', methods: ['GET', 'HEAD'], disableURLInternet: false }],
    ]);
  });

  describe('hear of CDN events', () => {
    const patternsOf = (from: Evaluated): string[] =>
      resourcesOf('ALIYUN::FC3::Trigger', from).flatMap(({ TriggerConfig }) =>
        isMap(TriggerConfig) && 'eventRuleFilterPattern' in TriggerConfig
          ? [String(TriggerConfig['eventRuleFilterPattern'])]
          : [],
      );

    test('that redeploy understands, and all of those', () => {
      const [pattern = ''] = patternsOf(stack);
      const { source, type, data } = JSON.parse(pattern);
      for (const eventName of data.eventName) {
        const requestParameters = { DomainName: 'www.example.com' };
        const event = {
          specversion: '1.0',
          id: '1',
          source: source[0],
          type: type[0],
          data: { eventName, requestParameters },
        };
        expect(parseRedeployEvent(Buffer.from(JSON.stringify(event))).domains).toEqual(['www.example.com']);
      }
      const code = readFileSync(new URL('../src/redeploy-event.ts', import.meta.url), 'utf8');
      const listsOf = (name: string) =>
        new RegExp(`^const ${name} = \\[([^\\]]*)\\]`, 'm').exec(code)?.[1]?.match(/[\w:]+/g);
      expect(type).toEqual(listsOf('AUDIT_TYPES'));
      const names = [...(listsOf('DOMAIN_APPEARS') ?? []), ...(listsOf('CERTIFICATE_SET') ?? [])];
      expect(data.eventName.toSorted()).toEqual(names.sort());
    });

    test('only when that is wanted', async () => {
      expect(patternsOf(await evaluated({ CdnEvents: 'false' }))).toEqual([]);
    });
  });
});

describe('the bucket', () => {
  test('is private, encrypted, not versioned, and outlives the stack', async () => {
    expect(template.Resources['Bucket']?.DeletionPolicy).toBe('Retain');
    expect(resourcesOf('ALIYUN::OSS::Bucket', await evaluated())).toEqual([
      {
        BucketName: BUCKET,
        AccessControl: 'private',
        BlockPublicAccess: true,
        ServerSideEncryptionConfiguration: { SSEAlgorithm: 'AES256' },
      },
    ]);
    expect(resourcesOf('ALIYUN::OSS::Bucket', await evaluated({ CreateBucket: 'false' }))).toEqual([]);
  });

  test('has a name that OSS and SLS take, with the longest name and region too', async () => {
    const stack = await evaluated({ Name: 'a2345678901234567890' }, { region: 'cn-shenzhen-finance-1' });
    const names = [...resourcesOf('ALIYUN::OSS::Bucket', stack), ...resourcesOf('ALIYUN::SLS::Project', stack)];
    for (const { BucketName, Name } of names) expect(BucketName ?? Name).toMatch(/^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/);
  });
});
