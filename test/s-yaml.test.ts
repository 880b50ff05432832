import { describe, expect, test } from 'vitest';
import { isMap, type Json, type JsonMap } from './template/read.ts';
import { findingsIn, readServerlessDevs, resolved, type ServerlessDevs } from './template/serverless-devs.ts';
import { handlerNames } from './template/sources.ts';
import { evaluated, GIVEN, resourcesOf } from './template/stack.ts';

/** The minutes are those that the stack of the tests draws. */
const ENVIRONMENT = {
  AUTOCERT_MINUTE: '42',
  AUTOCERT_WATCH_MINUTE: '12',
  AUTOCERT_KEY: Buffer.alloc(32, 7).toString('base64'),
  EAB_HMAC_KEY: 'ZWFiLWtleQ',
  DINGTALK_URL: 'https://oapi.dingtalk.com/robot/send?access_token=0123456789abcdef',
  DINGTALK_SECRET: 'SEC0123456789abcdef',
  INBOX_PASSWORD: 'a password',
};
const PARAMETERS = {
  EncryptionKey: ENVIRONMENT.AUTOCERT_KEY,
  EabHmacKey: ENVIRONMENT.EAB_HMAC_KEY,
  DingtalkUrl: ENVIRONMENT.DINGTALK_URL,
  DingtalkSecret: ENVIRONMENT.DINGTALK_SECRET,
  InboxPassword: ENVIRONMENT.INBOX_PASSWORD,
};

/** Resources of ROS that belong to a function, and where fc3 has their properties. */
const PARTS = {
  'ALIYUN::FC3::ConcurrencyConfig': 'concurrencyConfig',
  'ALIYUN::FC3::AsyncInvokeConfig': 'asyncInvokeConfig',
} as const;
/** Maps of free keys: both write them as they are. */
const FREE = ['EnvironmentVariables', 'TriggerConfig'];

/** `MemorySize` as `memorySize`. */
function asFc3(properties: JsonMap): JsonMap {
  const entries = Object.entries(properties).map(([key, value]): [string, Json] => [
    key.charAt(0).toLowerCase() + key.slice(1),
    isMap(value) && !FREE.includes(key) ? asFc3(value) : value,
  ]);
  return Object.fromEntries(entries);
}

/** The functions of template.yml as fc3 would have them, by their names; without region and code. */
async function ofTemplate(): Promise<Record<string, JsonMap>> {
  const stack = await evaluated(PARAMETERS);
  const functions = resourcesOf('ALIYUN::FC3::Function', stack).map(({ Code: _, ...properties }) => {
    const name = properties['FunctionName'];
    const belonging = (type: string) =>
      resourcesOf(type, stack)
        .filter(({ FunctionName }) => FunctionName === name)
        .map(({ FunctionName: __, ...part }) => asFc3(part));
    const parts = Object.entries(PARTS).flatMap(([type, key]) => belonging(type).map((part) => [key, part] as const));
    const triggers = belonging('ALIYUN::FC3::Trigger');
    const whole = { ...asFc3(properties), ...Object.fromEntries(parts), ...(triggers.length > 0 && { triggers }) };
    return [String(name), whole] as const;
  });
  return Object.fromEntries(functions);
}

function ofServerlessDevs({ resources }: ServerlessDevs): Record<string, object> {
  const functions = Object.values(resources).map(({ props: { region: _, code: __, ...props } }) => [
    props.functionName,
    props,
  ]);
  return Object.fromEntries(functions);
}

describe('s.yaml', () => {
  test('has no property that fc3 does not know, and none of another type', () => {
    expect(findingsIn(readServerlessDevs())).toEqual([]);
  });

  test.each<[string, readonly string[], unknown]>([
    ['a property with a typo', ['renew', 'props', 'memorysize'], 256],
    ['a property in the case of ROS', ['renew', 'props', 'Timeout'], 60],
    ['a trigger key with a typo', ['renew', 'props', 'triggers', '0', 'triggerConfig', 'cron'], '@every 6h'],
    ['a trigger key of the wrong type', ['renew', 'props', 'triggers', '0', 'triggerConfig', 'enable'], 'true'],
    ['a type of trigger that does not exist', ['status', 'props', 'triggers', '0', 'triggerType'], 'https'],
    ['a number that is a text', ['renew', 'props', 'asyncInvokeConfig', 'maxAsyncRetryAttempts'], '0'],
    ['memory that FC does not have', ['renew', 'props', 'memorySize'], 200],
    ['a reserved variable', ['renew', 'props', 'environmentVariables', 'FC_REGION'], 'cn-hangzhou'],
    ['another component', ['renew', 'component'], 'fc'],
  ])('%s would be found', (_, path, value) => {
    const file = readServerlessDevs();
    const parent = path
      .slice(0, -1)
      .reduce<object>((at, key) => Object(Reflect.get(at, key)), Object(file['resources']));
    Reflect.set(parent, path.at(-1) ?? '', value);
    expect(findingsIn(file).join('\n')).toContain(`resources.${path[0]}.`);
  });

  test('has the functions of template.yml, equal in every property', async () => {
    const ours = ofServerlessDevs(resolved(ENVIRONMENT, GIVEN.account));
    expect(Object.keys(ours).sort()).toEqual(handlerNames().map((name) => `autocert-${name}`));
    expect(ours).toEqual(await ofTemplate());
  });

  test('deploys the built zip, all of it to one region', () => {
    const { resources } = resolved({ ...ENVIRONMENT, AUTOCERT_REGION: 'cn-shanghai' }, GIVEN.account);
    for (const { props } of Object.values(resources)) {
      expect(props.code).toBe('./dist/autocert.zip');
      expect(props.region).toBe('cn-shanghai');
      expect(JSON.stringify(props)).not.toContain('cn-hangzhou');
    }
  });

  test('makes the destination of failures before what names it', () => {
    expect(Object.keys(Object(readServerlessDevs()['resources']))[0]).toBe('alert');
  });

  test('does not guess the minute: everybody would have the same', () => {
    const { AUTOCERT_MINUTE: _, ...rest } = ENVIRONMENT;
    expect(() => resolved(rest, GIVEN.account)).toThrow('AUTOCERT_MINUTE');
  });
});
