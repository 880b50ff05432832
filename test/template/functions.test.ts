import { readFileSync } from 'node:fs';
import { unzipSync } from 'fflate';
import { beforeAll, describe, expect, test } from 'vitest';
import { invocationOf } from '../../functions/context.ts';
import { parseConfig } from '../../src/config.ts';
import { createLogger } from '../../src/log.ts';
import { parseRedeployEvent } from '../../src/redeploy-event.ts';
import { bundled } from '../bundle.ts';
import type { Evaluated } from './evaluate.ts';
import { isMap, type Json, type JsonMap } from './read.ts';
import { handlerNames } from './sources.ts';
import { BUCKET, evaluated, GIVEN, resourcesOf, template } from './stack.ts';

/** What renew alone is told: where its workers are. */
function workersOf(functionName: Json | undefined): Record<string, string> {
  return functionName === 'autocert-renew' ? { AUTOCERT_WORK_FUNCTION: 'autocert-work', AUTOCERT_WORKERS: '4' } : {};
}

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

  test('have the memory and the time that README says', () => {
    const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8').replaceAll('\n', ' ');
    const [, memory, timeout] = /`renew` has (\d+) MB .*? a timeout of (\d+) s/.exec(readme) ?? [];
    const [renew] = resourcesOf('ALIYUN::FC3::Function', stack);
    expect([String(renew?.['MemorySize']), String(renew?.['Timeout'])]).toEqual([memory, timeout]);
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
      InboxPassword: 'a password',
    };
    const expected = {
      AUTOCERT_CONFIG: `oss://${BUCKET}/config.yaml`,
      AUTOCERT_KEY: secrets.EncryptionKey,
      EAB_HMAC_KEY: secrets.EabHmacKey,
      DINGTALK_URL: secrets.DingtalkUrl,
      DINGTALK_SECRET: secrets.DingtalkSecret,
      INBOX_PASSWORD: secrets.InboxPassword,
    };
    for (const { FunctionName, EnvironmentVariables } of resourcesOf('ALIYUN::FC3::Function', await evaluated(secrets)))
      expect(EnvironmentVariables).toEqual({ ...expected, ...workersOf(FunctionName) });
    const config = await parseConfig(
      `acme:
  directoryUrl: zerossl
  contact: [mailto:ops@example.com]
  externalAccountBinding: { kid: kid, hmacKey: "\${EAB_HMAC_KEY}" }
certificates: [{ identifiers: [www.example.com] }]
store: ${String((await evaluated()).outputs['StoreUrl'])}
encryption: { key: "\${AUTOCERT_KEY}" }
inbox: { passwords: ["\${INBOX_PASSWORD}"] }
notify: [{ channel: dingtalk, url: "\${DINGTALK_URL}", secret: "\${DINGTALK_SECRET}" }]
`,
      { env: expected, region: 'cn-hangzhou' },
    );
    expect(config.acme.externalAccountBinding?.hmacKey.reveal()).toBe(secrets.EabHmacKey);
    expect(config.encryption && 'key' in config.encryption && config.encryption.key.reveal()).toBe(
      secrets.EncryptionKey,
    );
    expect(config.inbox.passwords.map((password) => password.reveal())).toEqual([secrets.InboxPassword]);
    expect(config.notify[0]?.url?.reveal()).toBe(secrets.DingtalkUrl);
    expect(config.notify[0]?.secret?.reveal()).toBe(secrets.DingtalkSecret);
    expect(config.store).toEqual({ type: 'oss', bucket: BUCKET, prefix: 'autocert' });
  });

  test.each([
    { title: 'ROS reads the map', jsonAsText: false },
    { title: 'ROS passes its text on', jsonAsText: true },
  ])("have further variables that a person passes, but not in place of the stack's own: $title", async (how) => {
    const Environment = JSON.stringify({
      SLACK_URL: 'https://hooks.slack.com/services/T0/B0/x',
      RETRIES: 3,
      AUTOCERT_CONFIG: 'elsewhere',
      EAB_HMAC_KEY: 'ZWFiLWtleQ',
    });
    const functions = resourcesOf('ALIYUN::FC3::Function', await evaluated({ Environment }, how));
    expect(functions.map(({ EnvironmentVariables }) => EnvironmentVariables)).toEqual(
      functions.map(({ FunctionName }) => ({
        ...workersOf(FunctionName),
        SLACK_URL: 'https://hooks.slack.com/services/T0/B0/x',
        RETRIES: '3',
        AUTOCERT_CONFIG: `oss://${BUCKET}/config.yaml`,
        EAB_HMAC_KEY: 'ZWFiLWtleQ',
      })),
    );
  });

  test('have no variable without a value: a configuration that names one must hear that it is missing', () => {
    for (const { FunctionName, EnvironmentVariables } of resourcesOf('ALIYUN::FC3::Function', stack))
      expect(EnvironmentVariables).toEqual({
        ...workersOf(FunctionName),
        AUTOCERT_CONFIG: `oss://${BUCKET}/config.yaml`,
      });
  });

  test('are told of workers, renew alone, as many as may run: a worker starts none, and an event has little to do', async () => {
    const workers = await evaluated({ Workers: 7 });
    const functions = resourcesOf('ALIYUN::FC3::Function', workers);
    const [renew, ...others] = functions
      .filter(({ EnvironmentVariables }) => JSON.stringify(EnvironmentVariables).includes('WORK'))
      .map(({ FunctionName, EnvironmentVariables, ...rest }) => ({
        name: FunctionName,
        ...rest,
        found: invocationOf(
          { accountId: GIVEN.account, region: GIVEN.region },
          EnvironmentVariables as Record<string, string>,
        ).workers,
      }));
    expect(others).toEqual([]);
    expect(renew?.found).toEqual({
      count: 7,
      address: {
        accountId: GIVEN.account,
        region: GIVEN.region,
        service: undefined,
        function: String(functions.find(({ Handler }) => Handler === 'work.handler')?.['FunctionName']),
      },
    });
    expect(resourcesOf('ALIYUN::FC3::ConcurrencyConfig', workers)).toContainEqual({
      FunctionName: renew?.found?.address.function,
      ReservedConcurrency: 7,
    });
  });

  test('are started by a timer each at a minute of its own, the same for the life of the stack', async () => {
    const crons = async (stackId: string, hours: Readonly<Record<string, number>> = {}) =>
      resourcesOf('ALIYUN::FC3::Trigger', await evaluated(hours, { stackId })).flatMap(({ TriggerConfig }) =>
        isMap(TriggerConfig) && typeof TriggerConfig['cronExpression'] === 'string'
          ? [TriggerConfig['cronExpression']]
          : [],
      );
    const other = '4a6c9851-3b0f-4f5f-b4ca-a14bf692ab02';
    expect(await crons(GIVEN.stackId)).toEqual(['0 42 */6 * * *', '0 12 */1 * * *']);
    expect(await crons(GIVEN.stackId, { RenewalIntervalHours: 12 })).toEqual(['0 42 */12 * * *', '0 12 */1 * * *']);
    expect(await crons(GIVEN.stackId, { WatchIntervalHours: 6 })).toEqual(['0 42 */6 * * *', '0 12 */6 * * *']);
    expect(await crons(other)).toEqual(['0 43 */6 * * *', '0 13 */1 * * *']);
  });

  test('run one renewal and one redeployment at a time, and as many workers as renew is told of', () => {
    const reserved = resourcesOf('ALIYUN::FC3::ConcurrencyConfig', stack);
    expect(reserved).toEqual([
      { FunctionName: 'autocert-renew', ReservedConcurrency: 1 },
      { FunctionName: 'autocert-redeploy', ReservedConcurrency: 1 },
      { FunctionName: 'autocert-work', ReservedConcurrency: 4 },
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
      ['autocert-work', 0, alert],
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
      const code = readFileSync(new URL('../../src/redeploy-event.ts', import.meta.url), 'utf8');
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

  describe('hear of what is put into the inbox', () => {
    const inboxOf = (from: Evaluated): JsonMap => {
      const [only, ...others] = resourcesOf('ALIYUN::FC3::Trigger', from).filter(
        ({ TriggerType }) => TriggerType === 'oss',
      );
      expect(others).toEqual([]);
      return only ?? {};
    };

    test('by redeploy, from the store and nowhere else in the bucket', () => {
      expect(inboxOf(stack)).toMatchObject({
        FunctionName: 'autocert-redeploy',
        InvocationRole: 'acs:ram::1234567890123456:role/autocert-inbox',
        SourceArn: `acs:oss:cn-hangzhou:1234567890123456:${BUCKET}`,
        TriggerConfig: { filter: { key: { prefix: 'autocert/inbox/', suffix: '' } } },
      });
      expect(stack.outputs['InboxUrl']).toBe(`${String(stack.outputs['StoreUrl'])}/inbox/`);
    });

    test('in a bucket that was there before, too', async () => {
      expect(inboxOf(await evaluated({ CreateBucket: 'false' }))['SourceArn']).toBe(inboxOf(stack)['SourceArn']);
    });

    test('when an object is whole, by events that redeploy understands', () => {
      const { TriggerConfig } = inboxOf(stack);
      const events = isMap(TriggerConfig) && Array.isArray(TriggerConfig['events']) ? TriggerConfig['events'] : [];
      expect(events).toHaveLength(4);
      expect(events.filter((event) => /\*|Part|Initiate/.test(String(event)))).toEqual([]);
      for (const event of events) {
        const key = 'autocert/inbox/shop.pfx';
        const eventName = String(event).replace(/^oss:/, '');
        const one = { eventName, eventSource: 'acs:oss', oss: { bucket: { name: BUCKET }, object: { key } } };
        const { objects } = parseRedeployEvent(Buffer.from(JSON.stringify({ events: [one] })));
        expect(objects).toEqual([{ bucket: BUCKET, key }]);
      }
    });
  });
});

describe('the logs', () => {
  test('of every function go to one Logstore, whose errors make an alert', async () => {
    const stack = await evaluated();
    const [project, store] = ['autocert-log-1234567890123456-cn-hangzhou', 'functions'];
    for (const { LogConfig } of resourcesOf('ALIYUN::FC3::Function', stack))
      expect(LogConfig).toMatchObject({ Project: project, Logstore: store });
    const [alert] = resourcesOf('ALIYUN::SLS::Alert', stack);
    expect(alert).toMatchObject({
      Project: project,
      Detail: {
        State: 'Enabled',
        Configuration: {
          QueryList: [{ Project: project, Store: store }],
          PolicyConfiguration: { ActionPolicyId: 'sls.builtin' },
        },
      },
    });
  });

  test('are indexed by what the alert asks for, and an error line of ours has it', async () => {
    const stack = await evaluated();
    const query = /"Query":"([^"]*)"/.exec(JSON.stringify(resourcesOf('ALIYUN::SLS::Alert', stack)))?.[1] ?? '';
    const [, field = '', key = '', value = ''] = /^(\w+)\.(\w+): (\w+) \|/.exec(query) ?? [];
    const [, grouped = ''] = /GROUP BY (\w+)$/.exec(query) ?? [];
    expect(resourcesOf('ALIYUN::SLS::Index', stack)).toMatchObject([
      {
        LogstoreName: 'functions',
        KeyIndices: expect.arrayContaining([
          expect.objectContaining({ Name: grouped, EnableAnalytics: true }),
          expect.objectContaining({
            Name: field,
            Type: 'json',
            JsonKeyIndices: expect.arrayContaining([expect.objectContaining({ Name: key })]),
          }),
        ]),
      },
    ]);
    const lines: string[] = [];
    const now = () => new Date('2026-01-02T03:04:05Z');
    const log = createLogger({ write: (line) => lines.push(line), now, runId: 'r' });
    log.error('deploy_failed');
    log.warn('looking_again');
    expect(lines.map((line) => JSON.parse(line)[key] === value)).toEqual([true, false]);
  });
});
