import { describe, expect, test } from 'vitest';
import { problemsOf } from './template/problems.ts';
import { type Json, readTemplate, type Template } from './template/read.ts';
import { BUCKET, evaluated, resourcesOf, template } from './template/stack.ts';

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
      'a trigger key with a typo, deep inside',
      ['Resources', 'RedeployInbox', 'Properties', 'TriggerConfig', 'filter', 'key', 'Prefix'],
      'autocert/inbox/',
      'oss trigger.filter.key.Prefix is not defined',
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
      'a Fn::If whose other branch wants what is not there',
      ['Resources', 'RenewFunction', 'Properties', 'Description'],
      { 'Fn::If': ['BucketIsNew', '', { 'Fn::GetAtt': ['Bucket', 'Name'] }] },
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
    expect(hidden).toEqual([
      ...['EncryptionKey', 'EabHmacKey', 'InboxPassword', 'Environment'],
      ...['DingtalkUrl', 'DingtalkSecret'],
    ]);
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
