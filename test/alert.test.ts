import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type AlertResult, alert } from '../src/alert.ts';
import type { Invocation } from '../src/invocation.ts';
import { RunFailed, type RunReport } from '../src/report.ts';
import { WatchFailed, type WatchReport } from '../src/watch.ts';
import { type Receivers, startReceivers } from './sandbox/receivers.ts';

let receivers: Receivers;
const lines: string[] = [];
beforeAll(async () => {
  receivers = await startReceivers({ secure: false });
});
afterAll(() => receivers.close());
afterEach(() => {
  receivers.messages.length = 0;
  lines.length = 0;
  receivers.answer('wecom', undefined);
});

/** As documented at https://help.aliyun.com/zh/functioncompute/user-guide/result-callback. */
const EVENT = {
  timestamp: 1_767_323_045_000,
  requestContext: {
    requestId: '5e1f9b0c-3b51-4f0e-9a55-0d3c2b1a4f6e',
    functionArn: 'acs:fc:cn-hangzhou:1234567890123456:functions/autocert-renew',
    condition: 'UnhandledInvocationError',
    approximateInvokeCount: 1,
  },
  requestPayload: '{"payload":"request-canary"}',
  responseContext: { statusCode: 200, functionError: 'UnhandledInvocationError' },
  responsePayload: '{"errorMessage":"Function timed out after 60 seconds (maxMemoryUsage: 93.14MB)"}',
};

const FAILED: RunReport = {
  version: 1,
  runId: 'r',
  startedAt: '2026-01-02T03:04:05Z',
  finishedAt: '2026-01-02T03:05:05Z',
  outcomes: [
    {
      name: 'www',
      status: 'failed',
      error: { code: 'ACME_CAA', step: 'issue', message: 'canary text', remedy: 'x', retryable: false },
    },
    {
      name: 'shop',
      status: 'failed',
      error: { code: 'NOT_SERVED', step: 'verify', message: 'more canary', remedy: 'x', retryable: true },
    },
    { name: 'blog', status: 'kept' },
  ],
};

/** As FC tells of a handler that threw. */
function thrown(report: RunReport): string {
  const error = new RunFailed(report);
  return JSON.stringify({ errorMessage: error.message, errorType: error.name, stackTrace: error.stack });
}

type Entry = Record<string, unknown>;
const wecom = (more: Entry = {}): Entry => ({ channel: 'wecom', url: receivers.url('wecom'), language: 'en', ...more });

function config(notify: readonly Entry[], more: Record<string, unknown> = {}): string {
  return JSON.stringify({
    acme: { contact: ['mailto:ops@example.com'] },
    certificates: [{ identifiers: ['www.example.com'] }],
    store: 'file:///var/lib/autocert',
    endpoints: { cdn: 'http://127.0.0.1:1' },
    notify,
    ...more,
  });
}

function invocation(text: string): Invocation {
  return {
    runId: 'alert-7',
    env: { AUTOCERT_CONFIG: text },
    region: 'cn-hangzhou',
    credentials: undefined,
    endsAt: new Date(Date.now() + 60_000),
    now: () => new Date(),
    random: () => 0.5,
    write: (line) => lines.push(line),
    plan: false,
  };
}

function send(event: unknown, text = config([wecom()]), place = {}): Promise<AlertResult> {
  return alert(Buffer.from(typeof event === 'string' ? event : JSON.stringify(event)), invocation(text), place);
}

test('an invocation that timed out is told with its function, its id and its log', async () => {
  expect(await send(EVENT, undefined, { logProject: 'autocert-log', logStore: 'runs' })).toEqual({
    sent: ['wecom'],
    failed: [],
  });
  expect(receivers.messages.map(({ text }) => text)).toEqual([
    `[autocert] RUN FAILED: autocert-renew

autocert-renew: a run failed, and nothing that it was to do is certain to be done.
Why: it was not done when its time was over, and was killed (UnhandledInvocationError)
When: 2026-01-02 03:04 UTC
What to do: Raise the timeout of the function; if it is long already, look in the log for what hangs.
Log: autocert-log/runs: search for 5e1f9b0c-3b51-4f0e-9a55-0d3c2b1a4f6e

The timer starts the next run by itself, and that run takes up what this one left.`,
  ]);
});

test('the same in Chinese, where FC names no log', async () => {
  await send(EVENT, config([wecom({ language: 'zh' })]));
  expect(receivers.messages[0]?.text).toBe(`[autocert] 运行失败：autocert-renew

autocert-renew：一次运行失败，其任务可能未完成。
原因：运行超时，已被终止（UnhandledInvocationError）
时间：2026-01-02 11:04（北京时间）
处理办法：请调大函数的超时时间；若已足够长，请在日志中查看卡在何处。
日志：函数 cn-hangzhou/autocert-renew 的日志，搜索 5e1f9b0c-3b51-4f0e-9a55-0d3c2b1a4f6e

定时器会自动开始下一次运行，并继续完成未完成的任务。`);
});

describe('why it failed is read from', () => {
  test.each<[string, object, RegExp]>([
    [
      'an out-of-memory text',
      { responsePayload: '{"errorMessage":"Process exited unexpectedly: out of memory (limit: 256 MB)"}' },
      /ran out of memory/,
    ],
    [
      'the condition',
      { requestContext: { ...EVENT.requestContext, condition: 'FunctionResourceExhausted' }, responsePayload: '' },
      /ran out of memory/,
    ],
    [
      'a process that ended',
      { responsePayload: '{"errorMessage":"Process exited unexpectedly before completing request"}' },
      /process ended without an answer/,
    ],
    [
      'retries that are used up',
      { requestContext: { ...EVENT.requestContext, approximateInvokeCount: 3 }, responsePayload: '' },
      /Tried: 3 times/,
    ],
    [
      'a status that is not 200',
      {
        responseContext: { statusCode: 429 },
        requestContext: { ...EVENT.requestContext, condition: undefined },
        responsePayload: '',
      },
      /did not start it/,
    ],
    [
      'an error of the handler',
      { responsePayload: '{"errorMessage":"x is not a function","errorType":"TypeError"}' },
      /ended with an error/,
    ],
  ])('%s', async (_, change, words) => {
    await send({ ...EVENT, ...change });
    expect(receivers.messages[0]?.text).toMatch(words);
  });

  test('the timestamp as text, and a function of FC 2.0', async () => {
    const functionArn = 'acs:fc:cn-hangzhou:1234567890123456:services/cdn.LATEST/functions/renew';
    await send({
      ...EVENT,
      timestamp: '2026-01-02T03:04:05Z',
      requestContext: { ...EVENT.requestContext, functionArn },
    });
    expect(receivers.messages[0]?.text).toMatch(/RUN FAILED: renew\n(.*\n)*When: 2026-01-02 03:04 UTC/);
  });
});

test('what watch has noticed is told with the domains, whatever words the reasons have, in both languages', async () => {
  const at = { name: 'www', domain: 'www.example.com', edge: '127.0.0.1:8443' };
  const report: WatchReport = {
    version: 1,
    runId: 'watch-1',
    startedAt: '2026-01-02T03:04:05.000Z',
    finishedAt: '2026-01-02T03:04:06.000Z',
    certificates: [
      { ...at, status: 'overdue', message: 'canary' },
      { ...at, edge: '127.0.0.1:8444', status: 'stale', message: 'canary' },
      { ...at, name: 'shop', domain: '*.shop.example.com', status: 'unreachable', message: 'canary: it timed out' },
      { ...at, name: 'good', domain: 'good.example.com', status: 'ok', message: 'canary' },
    ],
  };
  const { message, name } = new WatchFailed(report);
  const responsePayload = JSON.stringify({ errorMessage: message, errorType: name, stackTrace: 'canary' });
  await send({ ...EVENT, responsePayload }, config([wecom(), wecom({ language: 'zh' })]));
  const [english = '', chinese = ''] = receivers.messages.map(({ text }) => text);
  expect(english).toMatch(/^\[autocert\] NOT WELL: autocert-renew\n/);
  expect(english).toContain('\nNot renewed in time: www.example.com\nNo answer of an edge: *.shop.example.com\n');
  expect(english).toMatch(/\nWhat to do: Look whether the timer of renew fires\./);
  expect(chinese).toMatch(/^\[autocert\] 巡检异常：autocert-renew\n/);
  expect(chinese).toContain('\n未按时续期：www.example.com\n节点无响应：*.shop.example.com\n');
  expect(`${english}${chinese}`).not.toMatch(/canary|good\.example\.com|timed out|超时/);
});

test('a run that failed and could tell nobody is told with names and codes, and nothing else of it', async () => {
  await send({ ...EVENT, responsePayload: thrown({ ...FAILED, told: false }) });
  const text = receivers.messages[0]?.text;
  expect(text).toContain('What failed: www (ACME_CAA), shop (NOT_SERVED)');
  expect(text).toContain('Why: it ended with an error');
  expect(text).not.toContain('canary');
});

test('a run that ended with an error is not taken for one that was killed, whatever its error says', async () => {
  const [www] = FAILED.outcomes;
  const error = {
    code: 'ACME_CONNECTION',
    step: 'issue',
    message: 'timed out; out of memory',
    remedy: 'x',
    retryable: true,
  } as const;
  const outcomes = [{ name: www?.name ?? '', status: 'failed', error } as const];
  await send({ ...EVENT, responsePayload: thrown({ ...FAILED, outcomes, told: false }) });
  expect(receivers.messages[0]?.text).toContain('Why: it ended with an error');
  expect(receivers.messages[0]?.text).toContain('What failed: www (ACME_CONNECTION)');
});

test('a run that could not start is told with its code', async () => {
  const error = {
    code: 'PERMISSION_DENIED',
    step: 'inventory',
    message: 'canary',
    remedy: 'x',
    retryable: false,
  } as const;
  await send({ ...EVENT, responsePayload: thrown({ ...FAILED, outcomes: [], error }) });
  expect(receivers.messages[0]?.text).toContain('What failed: run (PERMISSION_DENIED)');
});

test('a run that told people itself is not told again', async () => {
  expect(await send({ ...EVENT, responsePayload: thrown({ ...FAILED, told: true }) })).toEqual({
    sent: [],
    failed: [],
  });
  expect(receivers.messages).toEqual([]);
  expect(lines.join()).toContain('invocation_failed');
});

test.each([
  ['nothing', ''],
  ['no JSON', 'rubbish-canary'],
  ['another JSON', '[1, "canary"]'],
  [
    'fields of other kinds',
    {
      timestamp: {},
      requestContext: { requestId: 7, functionArn: ['canary'], condition: 'two words canary' },
      responsePayload: 5,
    },
  ],
  ['a requestContext that is a text', { ...EVENT, requestContext: 'canary', responsePayload: 'canary' }],
])('of an event that is %s it is still told that something failed', async (_, event) => {
  expect(await send(event)).toMatchObject({ sent: ['wecom'] });
  expect(receivers.messages[0]?.text).toMatch(/a run failed/);
  expect(receivers.messages[0]?.text).not.toContain('canary');
});

test('nothing of the payloads is in the message or in the log', async () => {
  await send({
    ...EVENT,
    responsePayload: '{"errorMessage":"secret-canary timed out","stackTrace":"canary","other":"canary"}',
  });
  expect(receivers.messages[0]?.text + lines.join('\n')).not.toContain('canary');
});

test('a configuration that is wrong elsewhere does not keep the message back', async () => {
  const text = config([{ channel: 'carrier-pigeon' }, wecom()], { store: 'nowhere', acme: {}, certificates: 'no' });
  expect(await send(EVENT, text)).toEqual({ sent: ['wecom'], failed: [] });
});

test('a channel that is dead does not keep the others from theirs', async () => {
  const dead = { channel: 'slack', url: 'http://127.0.0.1:1/services/x' };
  expect(await send(EVENT, config([dead, wecom()]))).toEqual({ sent: ['wecom'], failed: ['slack'] });
});

describe('it throws, so that FC counts a failure,', () => {
  test('when no channel took the message', async () => {
    receivers.answer('wecom', { status: 200, body: { errcode: 93_000, errmsg: 'invalid webhook url' } });
    await expect(send(EVENT)).rejects.toMatchObject({ code: 'REQUEST_REFUSED' });
  });

  test('when there is no channel', async () => {
    await expect(send(EVENT, config([]))).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });

  test('when there is no configuration', async () => {
    await expect(send(EVENT, '')).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});
