import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import fc2 from '@alicloud/fc2';
import fc3, { InvokeFunctionHeaders, InvokeFunctionRequest } from '@alicloud/fc20230330';
import { $OpenApiUtil } from '@alicloud/openapi-core';
import { RuntimeOptions } from '@darabonba/typescript';
import { strToU8, zipSync } from 'fflate';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type FcApi, startFcApi } from './fc-api.ts';
import { type FunctionConfig, type Host, type HostOptions, startFcHost } from './fc-host.ts';
import { nextTime } from './fc-timer.ts';
import { ApiError } from './product.ts';

// A CommonJS module has its class on `default` of the default export, or not, by who loads it.
const Fc3 = 'default' in fc3 ? fc3.default : fc3;

/** What is deployed: handlers that show what they got, or do what a handler must not do. */
const PROBE = `
import { setTimeout as pause } from 'node:timers/promises';
let calls = 0;
const kept = [];
export const about = async (event, context) => ({
  isBuffer: Buffer.isBuffer(event), event: event.toString(), context, calls: ++calls, time: new Date().toISOString(),
  variables: Object.fromEntries(Object.entries(process.env).filter(([name]) => name.startsWith('FC_') || name === 'MINE')),
});
export const speak = async () => { console.log('to the log'); console.error('to the log, too'); process.stdout.write('no end'); return 'said'; };
export const fail = async () => { throw new TypeError('x is not a function'); };
export const hang = () => new Promise(() => setInterval(() => {}, 1000));
export const spin = () => { for (;;) {} };
export const eat = async (event) => { for (let rest = Number(event); rest > 0; rest -= 8) kept.push(Buffer.alloc(8 << 20, 1)); return kept.length; };
export const leave = () => process.exit(3);
export const nap = async () => { const start = Date.now(); await Promise.all([pause(3_600_000), pause(60_000)]); return Date.now() - start; };
export const later = (event) => new Promise((resolve) => setTimeout(resolve, Number(event), { done: event.toString() }));
`;

const CREDENTIALS = {
  accessKeyId: 'STS.NProbe',
  accessKeySecret: 'probe-secret-1c7d',
  securityToken: 'probe-token-5a0e',
};

let folder: string;
let zip: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'autocert-probe-'));
  zip = join(folder, 'probe.zip');
  await writeFile(zip, zipSync({ 'probe.mjs': strToU8(PROBE) }));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

function probe(name: string, more: Partial<FunctionConfig> = {}): FunctionConfig {
  return { handler: `probe.${name}`, memorySize: 256, timeout: 30, environmentVariables: {}, ...more };
}

async function start(functions: HostOptions['functions'], more: Partial<HostOptions> = {}): Promise<Host> {
  const host = await startFcHost({ zip, functions, credentials: () => CREDENTIALS, ...more });
  open.push(host);
  return host;
}

describe('an instance', () => {
  test('gets the event as a Buffer, the documented context, and credentials anew for each invocation', async () => {
    let token = 0;
    const credentials = () => ({ ...CREDENTIALS, securityToken: `token-${++token}` });
    const functions = { one: probe('about', { timeout: 7, environmentVariables: { MINE: 'of the function' } }) };
    const host = await start(functions, { credentials });
    const [first, second] = [await host.invoke('one', 'first'), await host.invoke('one', Buffer.from('second'))];

    expect(first.error).toBeUndefined();
    expect(first.result).toEqual({
      isBuffer: true,
      event: 'first',
      calls: 1,
      time: expect.any(String),
      context: {
        requestId: first.requestId,
        credentials: { ...CREDENTIALS, securityToken: 'token-1' },
        function: { name: 'one', handler: 'probe.about', memory: 256, timeout: 7 },
        service: { name: '', logProject: '', logStore: '', qualifier: 'LATEST', versionId: '' },
        region: 'cn-hangzhou',
        accountId: '1234567890123456',
        tracing: { spanContext: '', jaegerEndpoint: '', spanBaggages: {} },
      },
      variables: {
        FC_ACCOUNT_ID: '1234567890123456',
        FC_REGION: 'cn-hangzhou',
        FC_FUNCTION_NAME: 'one',
        FC_FUNCTION_HANDLER: 'probe.about',
        FC_FUNCTION_MEMORY_SIZE: '256',
        MINE: 'of the function',
      },
    });
    expect(second.result).toMatchObject({
      event: 'second',
      calls: 2,
      context: { requestId: second.requestId, credentials: { securityToken: 'token-2' } },
    });
    expect([first.isColdStart, second.isColdStart]).toEqual([true, false]);
    expect(second.instance).toBe(first.instance);
    expect(second.requestId).not.toBe(first.requestId);
  });

  test('stands still between two invocations, and goes on with the next', async () => {
    const host = await start({ one: probe('about') });
    const { instance } = await host.invoke('one', '');
    await expect.poll(() => stateOf(instance)).toBe('T');
    expect((await host.invoke('one', '')).result).toMatchObject({ calls: 2 });
    await expect.poll(() => stateOf(instance)).toBe('T');
  });

  test('logs what is written, its last line even without an end', async () => {
    const host = await start({ one: probe('speak') });
    const { result, lines } = await host.invoke('one', '');
    expect(result).toBe('said');
    expect([...lines].sort()).toEqual(['no end', 'to the log', 'to the log, too']);
  });

  test('of a handler that throws stays, and the error is told by message, type and stack', async () => {
    const host = await start({ one: probe('fail') });
    const first = await host.invoke('one', '');
    expect(first).toMatchObject({
      result: undefined,
      error: {
        errorMessage: 'x is not a function',
        errorType: 'TypeError',
        stackTrace: expect.stringContaining('at '),
      },
      isKilled: false,
    });
    expect((await host.invoke('one', '')).isColdStart).toBe(false);
  });

  test.each(['hang', 'spin'])(
    'whose handler would %s is killed at the timeout, and the next invocation has another',
    async (handler) => {
      const host = await start({ one: probe(handler, { timeout: 1 }) });
      const first = await host.invoke('one', '');
      expect(first).toMatchObject({
        result: undefined,
        isKilled: true,
        error: {
          errorType: 'FunctionResourceExhausted',
          errorMessage: expect.stringMatching(/^Function timed out after 1 seconds \(maxMemoryUsage: \d+\.\d\dMB\)$/),
        },
      });
      const second = await host.invoke('one', '');
      expect(second.isColdStart).toBe(true);
      expect(second.instance).not.toBe(first.instance);
    },
  );

  test.each([128, 256, 512])('of %i MB is killed when it uses more, and not before', async (memorySize) => {
    const host = await start({ one: probe('eat', { memorySize }) });
    const some = await host.invoke('one', String(memorySize - 96));
    expect(some).toMatchObject({ error: undefined, result: (memorySize - 96) / 8 });
    expect(await host.invoke('one', '4096')).toMatchObject({
      isKilled: true,
      instance: some.instance,
      error: { errorType: 'FunctionResourceExhausted', errorMessage: expect.stringContaining('out of memory') },
    });
  });

  test('whose process ends is told so', async () => {
    const host = await start({ one: probe('leave') });
    expect(await host.invoke('one', '')).toMatchObject({
      isKilled: true,
      error: {
        errorMessage: expect.stringMatching(/^Process exited unexpectedly before completing request \(duration/),
      },
    });
  });

  test('that stands still in the middle of an invocation is killed at the timeout', async () => {
    const host: Host = await start({ one: probe('later', { timeout: 1 }) });
    const running = host.invoke('one', '100');
    host.stall('one');
    expect((await running).error?.errorMessage).toMatch(/^Function timed out after 1 seconds/);
  });

  test('has the clock of its host', async () => {
    let now = new Date('2031-01-01T00:00:00Z');
    const host = await start({ one: probe('about') }, { now: () => now });
    for (const [instant, hour] of [
      ['2031-01-02T03:04:05Z', '2031-01-02T03'],
      ['2031-03-04T05:06:07Z', '2031-03-04T05'],
    ] as const) {
      now = new Date(instant);
      const { result } = await host.invoke('one', '');
      expect(result).toMatchObject({ time: expect.stringMatching(`^${hour}:`) });
    }
  });
});

/** The state letter of proc(5): T is stopped. */
async function stateOf(pid: number): Promise<string | undefined> {
  return /^\d+ \(.*\) (\w)/.exec(await readFile(`/proc/${pid}/stat`, 'utf8'))?.[1];
}

test('a host that hurries skips the pauses of a function, whose clock moves by the longest of those at the same time', async () => {
  const host = await start({ one: probe('nap') }, { now: () => new Date('2031-01-01T00:00:00Z'), hurries: () => true });
  const { result } = await host.invoke('one', '');
  expect(result).toBeGreaterThanOrEqual(3_600_000);
  expect(result).toBeLessThan(3_660_000);
});

describe('concurrency', () => {
  test('without a limit, each request at the same time has an instance of its own', async () => {
    const host = await start({ one: probe('later') });
    const both = await Promise.all([host.invoke('one', '50'), host.invoke('one', '50')]);
    expect(new Set(both.map(({ instance }) => instance)).size).toBe(2);
    expect((await host.invoke('one', '0')).isColdStart).toBe(false);
  });

  test('reserved 1: a second synchronous request is throttled, asynchronous ones wait for their turn', async () => {
    const host = await start({ one: probe('later', { concurrencyConfig: { reservedConcurrency: 1 } }) });
    const first = host.invoke('one', '50');
    await expect(host.invoke('one', '0')).rejects.toMatchObject({ status: 429, code: 'ResourceExhausted' });
    for (const event of ['3', '2', '1']) host.invokeAsync('one', event);
    await first;
    await host.settled();
    expect(host.invocations.map(({ event }) => event)).toEqual(['50', '3', '2', '1']);
    expect(new Set(host.invocations.map(({ instance }) => instance)).size).toBe(1);
  });

  test('a function that is not there is not found, by either way', async () => {
    const host = await start({});
    await expect(host.invoke('none', '')).rejects.toMatchObject({ status: 404, code: 'FunctionNotFound' });
    expect(() => host.invokeAsync('none', '')).toThrow(ApiError);
  });
});

describe('an asynchronous invocation', () => {
  const NOW = new Date('2026-01-02T03:04:05.678Z');
  const told = { destination: 'acs:fc:cn-hangzhou:1234567890123456:functions/told' };
  const destinationConfig = { onSuccess: told, onFailure: told };

  /** What the destination was told. */
  async function destinationOf(handler: string, event: string, more: Partial<FunctionConfig>) {
    const functions = { one: probe(handler, more), told: probe('about') };
    let now = NOW;
    const host = await start(functions, { now: () => now });
    const requestId = host.invokeAsync('one', event);
    await host.settled();
    const [payload] = host.invocations.filter(({ functionName }) => functionName === 'told');
    const tries = host.invocations.filter(({ functionName }) => functionName === 'one');
    expect(new Set(tries.map((one) => one.requestId))).toEqual(new Set(tries.length > 0 ? [requestId] : []));
    const moveTo = (instant: Date) => {
      now = instant;
      return host.tick();
    };
    return { host, requestId, tries, payload: payload && JSON.parse(payload.event), moveTo };
  }

  test('that went well is told to the destination of success', async () => {
    const { requestId, payload } = await destinationOf('later', '1', { asyncInvokeConfig: { destinationConfig } });
    expect(payload).toEqual({
      timestamp: NOW.getTime(),
      requestContext: {
        requestId,
        functionArn: 'acs:fc:cn-hangzhou:1234567890123456:functions/one',
        condition: '',
        approximateInvokeCount: 1,
      },
      requestPayload: '1',
      responseContext: { statusCode: 200, functionError: '' },
      responsePayload: '{"done":"1"}',
    });
  });

  test.each([
    ['three times, which is the default', {}, 4],
    ['as often as it is configured', { maxAsyncRetryAttempts: 1 }, 2],
    ['never, if so configured', { maxAsyncRetryAttempts: 0 }, 1],
  ])('that failed is tried again %s, and then told to the destination of failure', async (_, retries, tries) => {
    const asyncInvokeConfig = { destinationConfig, ...retries };
    const found = await destinationOf('fail', '{"what":"to do"}', { asyncInvokeConfig });
    expect(found.tries).toHaveLength(tries);
    expect(found.payload).toMatchObject({
      requestContext: { condition: 'UnhandledInvocationError', approximateInvokeCount: tries },
      requestPayload: '{"what":"to do"}',
      responseContext: { statusCode: 200, functionError: 'UnhandledInvocationError' },
    });
    expect(JSON.parse(found.payload.responsePayload)).toMatchObject({
      errorMessage: 'x is not a function',
      errorType: 'TypeError',
    });
  });

  test('that was killed is told by the word that FC has for it, without a type', async () => {
    const asyncInvokeConfig = { destinationConfig, maxAsyncRetryAttempts: 0 };
    const { payload } = await destinationOf('hang', '', { asyncInvokeConfig, timeout: 1 });
    expect(payload.requestContext.condition).toBe('FunctionResourceExhausted');
    expect(JSON.parse(payload.responsePayload)).toEqual({
      errorMessage: expect.stringMatching(/^Function timed out after 1 seconds/),
    });
  });

  test('that finds no instance waits, until it is too old', async () => {
    const found = await destinationOf('later', '1', {
      concurrencyConfig: { reservedConcurrency: 0 },
      asyncInvokeConfig: { destinationConfig, maxAsyncEventAgeInSeconds: 3600 },
    });
    await found.moveTo(new Date('2026-01-02T04:04:05.678Z'));
    expect(found.host.invocations).toEqual([]);
    await found.moveTo(new Date('2026-01-02T04:04:06Z'));
    const [{ functionName = '', event = '' } = {}] = found.host.invocations;
    expect(functionName).toBe('told');
    expect(JSON.parse(event)).toMatchObject({
      requestContext: { requestId: found.requestId, condition: 'ResourceExhausted', approximateInvokeCount: 0 },
      responseContext: { statusCode: 429 },
    });
  });
});

describe('a timer', () => {
  test.each([
    ['@every 4m', '2026-01-01T00:09:30Z', '2026-01-01T00:12:00Z'],
    ['@every 1h', '2026-01-01T01:00:00Z', '2026-01-01T02:00:00Z'],
    ['0 17 */6 * * *', '2026-01-02T03:04:05Z', '2026-01-02T06:17:00Z'],
    ['0 0 4 * * *', '2026-01-02T04:00:00Z', '2026-01-03T04:00:00Z'],
    ['15/30 * * * * *', '2026-01-02T03:04:15Z', '2026-01-02T03:04:45Z'],
    ['0 30 9 ? * MON-FRI', '2026-01-02T10:00:00Z', '2026-01-05T09:30:00Z'],
    ['0 0 0 1 1,JUL *', '2026-01-02T00:00:00Z', '2026-07-01T00:00:00Z'],
    ['0 0 0 29 2 *', '2026-01-02T00:00:00Z', '2028-02-29T00:00:00Z'],
    ['CRON_TZ=Asia/Shanghai 0 0 4 * * *', '2026-01-02T03:04:05Z', '2026-01-02T20:00:00Z'],
    ['CRON_TZ=Asia/Kolkata 0 0 * * * *', '2026-01-02T03:04:05Z', '2026-01-02T03:30:00Z'],
    // Half past two is skipped in spring, and half past one comes twice in autumn.
    ['CRON_TZ=America/New_York 0 30 2 * * *', '2026-03-08T05:00:00Z', '2026-03-09T06:30:00Z'],
    ['CRON_TZ=America/New_York 0 30 1 * * *', '2026-11-01T05:30:00Z', '2026-11-01T06:30:00Z'],
  ])('%s fires after %s at %s', (expression, after, next) => {
    expect(nextTime(expression, new Date(after), new Date('2026-01-01T00:00:00Z'))).toEqual(new Date(next));
  });

  test.each(['* * * * *', '61 * * * * *', '@every 0m', '0 0 9-4 * * *', '', '0 0 0 31 2 *'])(
    '%j is refused',
    (expression) => {
      const start = new Date('2026-01-01T00:00:00Z');
      expect(() => nextTime(expression, start, start)).toThrow(Error);
    },
  );

  test('invokes its function when the clock has come to its time, with its payload, unless it is off', async () => {
    const triggers = (enable: boolean) => [
      {
        triggerName: 'every-6h',
        triggerConfig: { cronExpression: '0 17 */6 * * *', payload: '{"only":["www"]}', enable },
      },
    ];
    let now = new Date('2026-01-02T03:04:05Z');
    const functions = {
      on: probe('about', { triggers: triggers(true) }),
      off: probe('about', { triggers: triggers(false) }),
    };
    const host = await start(functions, { now: () => now });
    const fired = async (instant: string) => {
      now = new Date(instant);
      const before = host.invocations.length;
      await host.tick();
      return host.invocations.slice(before).map(({ functionName, event }) => [functionName, JSON.parse(event)]);
    };
    const at = (triggerTime: string) => [['on', { triggerTime, triggerName: 'every-6h', payload: '{"only":["www"]}' }]];
    expect(await fired('2026-01-02T06:16:59Z')).toEqual([]);
    expect(await fired('2026-01-02T06:17:00Z')).toEqual(at('2026-01-02T06:17:00Z'));
    expect(await fired('2026-01-02T06:17:01Z')).toEqual([]);
    expect(await fired('2026-01-03T00:00:00Z'), 'once for three').toEqual(at('2026-01-02T12:17:00Z'));
  });
});

describe('the official SDKs', () => {
  const functions = {
    one: probe('later'),
    'service/one': probe('later'),
    about: probe('about'),
    'service/about': probe('about'),
    fail: probe('fail'),
    'service/fail': probe('fail'),
    full: probe('later', { concurrencyConfig: { reservedConcurrency: 0 } }),
    'service/full': probe('later', { concurrencyConfig: { reservedConcurrency: 0 } }),
  };
  let host: Host;
  let api: FcApi;
  beforeAll(async () => {
    host = await startFcHost({ zip, functions, credentials: () => CREDENTIALS });
    api = await startFcApi({ accounts: [{ ...CREDENTIALS, userId: '1234567890123456' }], host, secure: false });
  });
  afterAll(async () => {
    await api.close();
    await host.close();
  });

  interface Called {
    readonly status?: number | undefined;
    readonly headers: Readonly<Record<string, string | undefined>>;
    readonly payload: string;
  }
  type Invoke = (name: string, event: string, type: 'Sync' | 'Async') => Promise<Called>;

  const invokeFc2: Invoke = async (name, event, type) => {
    const { accessKeyId, accessKeySecret, securityToken } = CREDENTIALS;
    const client = new fc2('1234567890123456', {
      accessKeyID: accessKeyId,
      accessKeySecret,
      securityToken,
      region: 'cn-hangzhou',
      endpoint: api.url,
      secure: false,
    });
    const headers = { 'X-Fc-Invocation-Type': type };
    const answer = await client.invokeFunction('service', name, event, headers, undefined, { rawBuf: true });
    const { data } = answer;
    const isText = typeof data === 'string' || Buffer.isBuffer(data);
    return { headers: answer.headers, payload: isText ? data.toString() : JSON.stringify(data) };
  };

  const invokeFc3: Invoke = async (name, event, type) => {
    const client = new Fc3(
      new $OpenApiUtil.Config({ ...CREDENTIALS, protocol: 'http', endpoint: new URL(api.url).host }),
    );
    const request = new InvokeFunctionRequest({ body: Readable.from([Buffer.from(event)]) });
    const headers = new InvokeFunctionHeaders({ xFcInvocationType: type });
    const response = await client.invokeFunctionWithOptions(name, request, headers, new RuntimeOptions({}));
    const payload = response.body ? (await buffer(response.body)).toString() : '';
    return { status: response.statusCode, headers: response.headers ?? {}, payload };
  };

  describe.each([
    ['@alicloud/fc20230330 (FC 3.0)', invokeFc3, ''],
    ['@alicloud/fc2 (FC 2.0)', invokeFc2, 'service'],
  ])('%s', (_, invoke, service) => {
    test('invokes a function and gets what its handler returned', async () => {
      const { payload, headers } = await invoke('about', 'an event', 'Sync');
      const context = { requestId: headers['x-fc-request-id'], service: { name: service }, credentials: CREDENTIALS };
      expect(JSON.parse(payload)).toMatchObject({ event: 'an event', context });
      expect(headers['x-fc-error-type']).toBeUndefined();
    });

    test('is told of a handler that threw', async () => {
      const { payload, headers } = await invoke('fail', '{}', 'Sync');
      expect(headers['x-fc-error-type']).toBe('UnhandledInvocationError');
      expect(JSON.parse(payload)).toMatchObject({ errorMessage: 'x is not a function', errorType: 'TypeError' });
    });

    test('queues an asynchronous invocation', async () => {
      const { headers, payload } = await invoke('one', '10', 'Async');
      expect(payload).toBe('');
      await host.settled();
      const requestId = headers['x-fc-request-id'];
      expect(host.invocations.find((one) => one.requestId === requestId)).toMatchObject({ result: { done: '10' } });
    });

    test('is told of a function that is throttled, and of one that is not there', async () => {
      await expect(invoke('full', '{}', 'Sync')).rejects.toMatchObject({ code: 'ResourceExhausted' });
      await expect(invoke('none', '{}', 'Sync')).rejects.toMatchObject({ code: 'FunctionNotFound' });
    });
  });
});
