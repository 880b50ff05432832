import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Deps } from '../src/deps.ts';
import { AutocertError, ERROR_CODES } from '../src/errors.ts';
import { mayTellBlindly, NOTHING_TOLD, type NoticeContext, noticesOf, type Told } from '../src/notices.ts';
import { chineseCause } from '../src/notify/chinese.ts';
import { type Channels, openChannels } from '../src/notify/deliver.ts';
import { plainText } from '../src/notify/message.ts';
import { noticeMessage } from '../src/notify/wording.ts';
import { beat, notify } from '../src/notify.ts';
import { emptyRecord, type Store, writeIndex } from '../src/record.ts';
import type { Outcome, ReportedError, RunReport } from '../src/report.ts';
import { Secret } from '../src/secret.ts';
import { createFileStore } from '../src/store/file.ts';
import { type Receivers, startReceivers } from './sandbox/receivers.ts';

const SIX_HOURS = 6 * 3_600_000;
const FIRST = '2026-01-02T03:04:05Z';

const CAA: ReportedError = {
  code: 'ACME_CAA',
  step: 'issue',
  message: 'CAA record for example.com prevents issuance',
  remedy: 'Add the CA to the CAA records of example.com.',
  retryable: false,
  requestId: '0A1B-22',
};
const DENIED: ReportedError = {
  code: 'PERMISSION_DENIED',
  step: 'inventory',
  message: 'DescribeUserDomains: Forbidden.RAM',
  remedy: 'Allow the role of the function this action.',
  retryable: false,
};

const IDENTIFIERS = ['www.example.com', '*.example.com'];
const failed: Outcome = {
  name: 'www',
  status: 'failed',
  error: CAA,
  standing: {
    identifiers: IDENTIFIERS,
    endsAt: '2026-01-22T03:04:05Z',
    failures: {
      since: '2026-01-02T03:04:05Z',
      nextAttemptAt: '2026-01-02T09:30:00Z',
      code: 'ACME_CAA',
      message: CAA.message,
    },
  },
};
const backingOff: Outcome = {
  name: 'www',
  status: 'deferred',
  decision: { action: 'keep', reason: 'BackingOff', message: '' },
  standing: {
    ...failed.standing,
    identifiers: IDENTIFIERS,
    failures: {
      since: '2026-01-02T03:04:05Z',
      nextAttemptAt: '2026-01-02T09:30:00Z',
      code: 'ACME_CAA',
      message: CAA.message,
      remedy: CAA.remedy,
    },
  },
};
const renewed: Outcome = {
  name: 'www',
  status: 'renewed',
  standing: { identifiers: IDENTIFIERS, endsAt: '2026-04-02T00:00:00Z' },
};
const kept: Outcome = { name: 'www', status: 'kept' };
const leaseHeld: Outcome = { name: 'www', status: 'deferred', error: { ...CAA, code: 'LEASE_HELD', step: 'record' } };

function report(startedAt: string, outcomes: readonly Outcome[], error?: ReportedError): RunReport {
  return { version: 1, runId: 'run-42', startedAt, finishedAt: startedAt, outcomes, ...(error && { error }) };
}

function context(now: string, more: Partial<NoticeContext> = {}): NoticeContext {
  return { now: new Date(now), interval: SIX_HOURS, full: true, ...more };
}

/** What each of the runs tells, one after the other: `kind key` of each notice. */
function told(
  ...runs: readonly (readonly [at: string, outcomes: readonly Outcome[], error?: ReportedError])[]
): string[][] {
  let memory: Told = NOTHING_TOLD;
  return runs.map(([at, outcomes, error]) => {
    const { notices, next } = noticesOf(report(at, outcomes, error), memory, context(at));
    memory = next;
    return notices.map(
      ({ kind, subject }) => `${kind} ${subject.type === 'certificate' ? subject.name : subject.type}`,
    );
  });
}

describe('it is told', () => {
  test('once that a certificate fails, and once that it is well', () => {
    expect(
      told(
        [FIRST, [failed]],
        ['2026-01-02T09:04:05Z', [backingOff]],
        ['2026-01-02T15:04:05Z', [failed]],
        ['2026-01-02T21:04:05Z', [renewed]],
        ['2026-01-03T03:04:05Z', [kept]],
      ),
    ).toEqual([['failing www'], [], [], ['recovered www'], []]);
  });

  test('a second time when half of the time that was left is over, and a last time when there is none', () => {
    expect(
      told(
        [FIRST, [failed]],
        ['2026-01-12T03:04:04Z', [failed]],
        ['2026-01-12T03:04:05Z', [failed]],
        ['2026-01-20T00:00:00Z', [backingOff]],
        ['2026-01-22T03:04:05Z', [failed]],
        ['2026-01-23T00:00:00Z', [failed]],
      ),
    ).toEqual([['failing www'], [], ['still-failing www'], [], ['expired www'], []]);
  });

  test('of a certificate that has ended already only that', () => {
    expect(told(['2026-02-01T00:00:00Z', [failed]], ['2026-02-02T00:00:00Z', [failed]])).toEqual([['expired www'], []]);
  });

  test('of a failure that no message told of, as soon as one can be sent', () => {
    expect(told(['2026-01-02T09:04:05Z', [backingOff]])).toEqual([['failing www']]);
  });

  test('nothing of work that was put off, in either direction', () => {
    expect(
      told([FIRST, [leaseHeld]], ['2026-01-02T09:04:05Z', [failed]], ['2026-01-02T15:04:05Z', [leaseHeld]]),
    ).toEqual([[], ['failing www'], []]);
  });

  test('nothing when it fails on after a run that put it off', () => {
    expect(told([FIRST, [failed]], ['2026-01-02T09:04:05Z', [leaseHeld]], ['2026-01-02T15:04:05Z', [failed]])).toEqual([
      ['failing www'],
      [],
      [],
    ]);
  });

  test('30, 14, 7, 3 and 1 days before the end of a certificate that nobody renews, each once', () => {
    const ending = (endsAt: string): Outcome => ({ ...kept, reminder: { identifiers: IDENTIFIERS, endsAt } });
    const runs = [
      '2026-03-02T00:00:01Z',
      '2026-03-02T06:00:01Z',
      '2026-03-18T00:00:00Z',
      '2026-03-18T06:00:00Z',
      '2026-03-24T23:00:00Z',
      '2026-03-25T05:00:00Z',
      '2026-03-29T00:00:00Z',
      '2026-03-31T00:00:00Z',
      '2026-03-31T06:00:00Z',
    ].map((at) => [at, [ending('2026-04-01T00:00:00Z')]] as const);
    const once = ['ending www'];
    expect(told(...runs)).toEqual([once, [], once, [], [], once, once, once, []]);
    const replaced = [['2026-03-31T12:00:00Z', [ending('2026-04-10T00:00:00Z')]]] as const;
    expect(told(...runs.slice(-2), ...replaced), 'the next one').toEqual([once, [], once]);
  });

  test('of a refused file once, and that it is well when it is gone; not when the inbox cannot be read', () => {
    const name = 'inbox/www.pem';
    const refused: Outcome = {
      name,
      status: 'failed',
      error: { ...CAA, code: 'CERTIFICATE_FILE_REFUSED', step: 'inbox' },
    };
    const still: Outcome = {
      ...refused,
      status: 'deferred',
      decision: { action: 'keep', reason: 'Refused', message: '' },
    };
    const unreadable: Outcome = { name: 'inbox/', status: 'failed', error: { ...CAA, step: 'inbox' } };
    expect(
      told(
        [FIRST, [kept, refused]],
        ['2026-01-02T09:04:05Z', [kept, still]],
        ['2026-01-02T15:04:05Z', [kept, unreadable]],
        ['2026-01-02T21:04:05Z', [kept, still]],
        ['2026-01-03T03:04:05Z', [kept]],
        ['2026-01-03T09:04:05Z', [kept]],
      ),
    ).toEqual([[`failing ${name}`], [], ['failing inbox/'], ['recovered inbox/'], [`recovered ${name}`], []]);
    expect(told([FIRST, [still]]), 'what no message told of').toEqual([[`failing ${name}`]]);
  });

  test('nothing when the cause of a failure changes', () => {
    expect(
      told([FIRST, [failed]], ['2026-01-02T09:04:05Z', [{ ...failed, error: { ...CAA, code: 'ACME_DNS' } }]]),
    ).toEqual([['failing www'], []]);
  });

  test('nothing of a certificate that the configuration names no more', () => {
    expect(told([FIRST, [failed]], ['2026-01-02T09:04:05Z', []], ['2026-01-02T15:04:05Z', [failed]])).toEqual([
      ['failing www'],
      [],
      ['failing www'],
    ]);
  });

  test('once that a run could not start, and once that one could', () => {
    expect(told([FIRST, [], DENIED], ['2026-01-02T09:04:05Z', [], DENIED], ['2026-01-02T15:04:05Z', [kept]])).toEqual([
      ['failing run'],
      [],
      ['recovered run'],
    ]);
  });

  test('of each filter that finds nothing by itself', () => {
    const filter = (pattern: string): Outcome => ({
      name: 'inventory',
      status: 'failed',
      error: { ...CAA, code: 'FILTER_MATCHED_NOTHING', step: 'inventory', message: `${pattern} matches no domain` },
    });
    expect(
      told(
        [FIRST, [filter('*.a.com')]],
        ['2026-01-02T09:04:05Z', [filter('*.a.com'), filter('*.b.com')]],
        ['2026-01-02T15:04:05Z', [filter('*.b.com')]],
      ),
    ).toEqual([['failing inventory'], ['failing inventory'], ['recovered inventory']]);
  });

  test('a run that was asked for one certificate says nothing of the others', () => {
    const { next } = noticesOf(report(FIRST, [failed]), NOTHING_TOLD, context(FIRST));
    const one = noticesOf(report(FIRST, [{ ...kept, name: 'shop' }]), next, context(FIRST, { full: false }));
    expect(one).toEqual({ notices: [], next });
  });

  test('the worst first', () => {
    const shop: Outcome = {
      ...failed,
      name: 'shop',
      standing: { identifiers: ['shop.example.com'], endsAt: '2026-01-01T00:00:00Z' },
    };
    const blog: Outcome = {
      ...failed,
      name: 'blog',
      standing: { identifiers: ['blog.example.com'], endsAt: '2026-01-05T00:00:00Z' },
    };
    expect(told([FIRST, [failed, blog, shop]])).toEqual([['expired shop', 'failing blog', 'failing www']]);
  });
});

describe('without a memory the clock says who may speak', () => {
  const speakers = (interval: number, from: string, runs: number) =>
    Array.from({ length: runs }, (_, n) => new Date(Date.parse(from) + n * interval))
      .filter((now) => mayTellBlindly({ now, interval }))
      .map((now) => now.toISOString().slice(11, 16));

  test('the first run of each six hours', () => {
    expect(speakers(3_600_000, '2026-01-02T00:30:00Z', 24)).toEqual(['00:30', '06:30', '12:30', '18:30']);
  });

  test('every run of a timer that is slower', () => {
    expect(speakers(12 * 3_600_000, '2026-01-02T05:00:00Z', 3)).toEqual(['05:00', '17:00', '05:00']);
  });
});

describe('the text', () => {
  function text(
    language: 'zh' | 'en',
    at: string,
    run: RunReport,
    memory: Told = NOTHING_TOLD,
    more: Partial<NoticeContext> = {},
  ): string {
    const { notices } = noticesOf(run, memory, context(at, more));
    return plainText(noticeMessage(notices, { language, runId: 'run-42', now: new Date(at), dead: [] }));
  }
  const afterFirst = noticesOf(report(FIRST, [failed]), NOTHING_TOLD, context(FIRST)).next;

  test('of a failure, in English', () => {
    expect(text('en', FIRST, report(FIRST, [failed]))).toBe(`[autocert] FAILING: www, 20 days left

www: the certificate cannot be renewed.
Domains: www.example.com, *.example.com
Time left: 20 days (until 2026-01-22 03:04 UTC)
Failing since: 2026-01-02 03:04 UTC
Cause: ACME_CAA: CAA record for example.com prevents issuance
What to do: Add the CA to the CAA records of example.com.
Request id: 0A1B-22
What comes next: tried again without you at about 2026-01-02 15:04 UTC

Until it is well you will hear of it again when half of the time left is over, and when the certificate ends.
Run run-42; its log lines carry this id.`);
  });

  test('of a failure, in Chinese', () => {
    expect(text('zh', FIRST, report(FIRST, [failed]))).toBe(`[autocert] 证书故障：www，剩余 20 天

www：证书续期失败。
域名：www.example.com、*.example.com
剩余时间：20 天，到期时间 2026-01-22 11:04（北京时间）
故障开始：2026-01-02 11:04（北京时间）
原因：CAA 记录禁止该机构签发（ACME_CAA）
详情：CAA record for example.com prevents issuance
处理办法：请在 DNS 的 CAA 记录中加入该证书颁发机构。
请求 ID：0A1B-22
接下来：约 2026-01-02 23:04（北京时间）自动重试，无需手动触发

恢复之前，只会在剩余时间过半和证书到期时再次提醒。
运行 ID：run-42（可用它搜索日志）`);
  });

  test('of a certificate that ended, from what the store remembers of the cause', () => {
    const at = '2026-01-22T06:04:05Z';
    expect(text('en', at, report(at, [backingOff]), afterFirst)).toBe(`[autocert] EXPIRED: www

www: the certificate cannot be renewed. THE CERTIFICATE HAS EXPIRED: browsers refuse these domains.
Domains: www.example.com, *.example.com
Time left: none, it ended 3 hours ago (2026-01-22 03:04 UTC)
Failing since: 2026-01-02 03:04 UTC
Cause: ACME_CAA: CAA record for example.com prevents issuance
What to do: Add the CA to the CAA records of example.com.
What comes next: tried again without you at about 2026-01-22 12:04 UTC

You will hear of it again when it is well.
Run run-42; its log lines carry this id.`);
  });

  test.each([
    ['2026-03-29T00:00:00Z', '于 2026-03-29 08:00', 'a certificate of the CA takes its place at 2026-03-29 00:00 UTC'],
    [undefined, '将于 2026-04-01 08:00', 'it ends at 2026-04-01 00:00 UTC, and browsers refuse its domains then'],
  ])('of a certificate that will end, in both languages (replaced at %s)', (replacedAt, chinese, english) => {
    const reminder = { identifiers: IDENTIFIERS, endsAt: '2026-04-01T00:00:00Z', ...(replacedAt && { replacedAt }) };
    const now = new Date('2026-03-25T12:00:00Z');
    const at = now.toISOString();
    const { notices } = noticesOf(report(at, [{ ...kept, reminder }]), NOTHING_TOLD, context(at));
    const text = (language: 'en' | 'zh') =>
      plainText(noticeMessage(notices, { language, runId: 'run-42', now, dead: [] }));
    expect(text('en')).toMatch(/^\[autocert\] ENDING SOON: www, 6 days left\n/);
    expect(text('en')).toContain(english);
    expect(text('en')).not.toContain('You will hear of it again');
    expect(text('zh')).toMatch(/^\[autocert\] 证书即将到期：www/);
    expect(text('zh')).toContain(chinese);
    expect(text('zh')).toContain('不会自动续期');
  });

  test('of a recovery, in both languages', () => {
    expect(text('en', FIRST, report(FIRST, [renewed]), afterFirst)).toBe(`[autocert] RECOVERED: www

www: well again. There is nothing to do.
Domains: www.example.com, *.example.com
Valid until: 2026-04-02 00:00 UTC
Was failing since: 2026-01-02 03:04 UTC

Run run-42; its log lines carry this id.`);
    expect(text('zh', FIRST, report(FIRST, [kept]), afterFirst)).toBe(`[autocert] 已恢复：www

www：已恢复正常，无需处理。
域名：www.example.com、*.example.com
故障曾始于：2026-01-02 11:04（北京时间）

运行 ID：run-42（可用它搜索日志）`);
  });

  test('of a run that could not start, with the end of the first certificate', () => {
    const more = { firstEnd: new Date('2026-01-10T03:04:05Z') };
    expect(
      text('en', FIRST, report(FIRST, [], DENIED), NOTHING_TOLD, more),
    ).toBe(`[autocert] FAILING: the whole run, 8 days left

The run stopped before it came to any certificate. Nothing is renewed until this is repaired.
Time left: 8 days (until 2026-01-10 03:04 UTC)
Failing since: 2026-01-02 03:04 UTC
Cause: PERMISSION_DENIED: DescribeUserDomains: Forbidden.RAM
What to do: Allow the role of the function this action.
What comes next: tried again without you at about 2026-01-02 09:04 UTC

Until it is well you will hear of it again when half of the time left is over, and when the certificate ends.
Run run-42; its log lines carry this id.`);
  });

  test.each([
    ['deploy', 'the certificate is there, but cannot be put on CDN', '证书已签发，但部署到 CDN 失败'],
    [
      'verify',
      'the new certificate was put on CDN, but is not served everywhere',
      '新证书已提交到 CDN，但尚未在所有节点生效',
    ],
    ['observe', 'its present state cannot be read', '无法读取当前状态'],
    ['record', 'its state cannot be stored', '无法保存状态'],
  ] as const)('says at which step it fails: %s', (step, english, chinese) => {
    const run = report(FIRST, [{ ...failed, error: { ...CAA, step } }]);
    expect(text('en', FIRST, run)).toContain(english);
    expect(text('zh', FIRST, run)).toContain(chinese);
  });

  test('of several certificates counts them in its first line', () => {
    const names = ['a', 'b', 'c', 'd', 'e'];
    const run = report(
      FIRST,
      names.map((name) => ({ ...failed, name })),
    );
    expect(text('en', FIRST, run).split('\n')[0]).toBe('[autocert] FAILING 5: a, b, c and 2 more');
    expect(text('zh', FIRST, run).split('\n')[0]).toBe('[autocert] 证书故障 5：a、b、c 等，另有 2 个');
  });

  test('every error code has a cause and a remedy in Chinese', () => {
    for (const code of ERROR_CODES) {
      expect(chineseCause(code)?.cause, code).toMatch(/\p{Script=Han}/u);
      expect(chineseCause(code)?.remedy, code).toMatch(/\p{Script=Han}.*。$/u);
    }
    expect(chineseCause('constructor')).toBeUndefined();
  });
});

describe('with channels and a store', () => {
  let receivers: Receivers;
  let folder: string;
  let store: Store;
  let now = new Date(FIRST);
  const log: string[] = [];
  const opened: Channels[] = [];

  beforeAll(async () => {
    receivers = await startReceivers({ now: () => now });
  });
  afterAll(() => receivers.close());
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'autocert-notify-'));
    store = createFileStore({ path: folder });
    now = new Date(FIRST);
  });
  afterEach(async () => {
    for (const channels of opened.splice(0)) channels.close();
    for (const receiver of ['wecom', 'slack', 'webhook'] as const) receivers.answer(receiver, undefined);
    receivers.messages.length = 0;
    log.length = 0;
    await rm(folder, { recursive: true, force: true });
  });

  function depsNow(): Deps {
    const write = (event: string): void => {
      log.push(event);
    };
    return {
      now: () => now,
      random: () => 0.5,
      sleep: async () => undefined,
      deadline: new Date(now.getTime() + 20_000),
      log: { debug: write, info: write, warn: write, error: write },
    };
  }

  function channelsOf(names: readonly ('wecom' | 'slack')[]): Channels {
    const notifying = names.map((channel) => ({
      channel,
      url: new Secret(receivers.url(channel)),
      secret: undefined,
      language: 'en' as const,
      template: undefined,
      chatId: undefined,
      from: undefined,
      to: [],
    }));
    const config = { notify: notifying, region: undefined, endpoints: { cdn: 'http://127.0.0.1:1' } };
    const channels = openChannels({
      config,
      credentials: () => Promise.reject(new Error('unused')),
      secrets: [],
      deps: depsNow(),
      ca: receivers.ca,
    });
    opened.push(channels);
    return channels;
  }

  /** One run at `at`; gives what arrived with it, as `receiver: first line`. */
  async function run(
    at: string,
    outcomes: readonly Outcome[],
    options: { names?: readonly ('wecom' | 'slack')[]; error?: ReportedError; store?: Store | undefined } = {},
  ): Promise<{ told: boolean; arrived: string[] }> {
    now = new Date(at);
    receivers.messages.length = 0;
    const told = await notify(report(at, outcomes, options.error), {
      config: { renewal: { interval: SIX_HOURS } },
      channels: channelsOf(options.names ?? ['wecom']),
      store: 'store' in options ? options.store : store,
      full: true,
      deps: depsNow(),
    });
    return {
      told,
      arrived: receivers.messages
        .map(({ receiver, text }) => `${receiver}: ${text.split('\n')[0]?.replaceAll('*', '')}`)
        .sort(),
    };
  }

  test('two runs of the same failure are one message', async () => {
    expect(await run(FIRST, [failed])).toEqual({
      told: true,
      arrived: ['wecom: [autocert] FAILING: www, 20 days left'],
    });
    expect(await run('2026-01-02T09:04:05Z', [backingOff])).toEqual({ told: true, arrived: [] });
    expect(await run('2026-01-02T15:04:05Z', [renewed])).toEqual({
      told: true,
      arrived: ['wecom: [autocert] RECOVERED: www'],
    });
    expect(await run('2026-01-02T21:04:05Z', [kept])).toEqual({ told: true, arrived: [] });
  });

  test('a good run writes nothing to the store', async () => {
    await run(FIRST, [kept]);
    expect(await store.list('')).toEqual([]);
  });

  test('what nobody took is sent again by the next run', async () => {
    receivers.answer('wecom', { status: 200, body: { errcode: 45_009, errmsg: 'api freq out of limit' } });
    expect(await run(FIRST, [failed])).toEqual({ told: false, arrived: [] });
    receivers.answer('wecom', undefined);
    expect((await run('2026-01-02T09:04:05Z', [backingOff])).arrived).toEqual([
      'wecom: [autocert] FAILING: www, 19 days left',
    ]);
  });

  test('a dead channel is named in the message of the other', async () => {
    receivers.answer('slack', { status: 403, body: 'invalid_token' });
    expect((await run(FIRST, [failed], { names: ['slack', 'wecom'] })).arrived).toHaveLength(1);
    expect(receivers.messages[0]?.text).toMatch(
      /Repair the alert channel too: since 2026-01-02 03:04 UTC slack takes no messages\. .*invalid_token/,
    );
    expect((await run('2026-01-02T09:04:05Z', [failed], { names: ['slack', 'wecom'] })).arrived).toEqual([]);
  });

  test('a dead channel that no message could name is told of by the next run, once', async () => {
    receivers.answer('slack', { status: 403, body: 'invalid_token' });
    const names = ['wecom', 'slack'] as const;
    expect((await run(FIRST, [failed], { names })).arrived).toEqual(['wecom: [autocert] FAILING: www, 20 days left']);
    expect((await run('2026-01-02T09:04:05Z', [failed], { names })).arrived).toEqual([
      'wecom: [autocert] FAILING: an alert channel',
    ]);
    expect((await run('2026-01-02T15:04:05Z', [failed], { names })).arrived).toEqual([]);
    receivers.answer('slack', undefined);
    expect((await run('2026-01-02T21:04:05Z', [renewed], { names })).arrived).toEqual([
      'slack: [autocert] RECOVERED: www',
      'wecom: [autocert] RECOVERED: www',
    ]);
    expect((await run('2026-01-03T03:04:05Z', [kept], { names })).arrived).toEqual([]);
  });

  test('a run that came to no store speaks by the clock', async () => {
    const options = { store: undefined, error: DENIED };
    expect((await run('2026-01-02T06:30:00Z', [], options)).arrived).toHaveLength(1);
    expect((await run('2026-01-02T12:30:00Z', [], options)).arrived).toHaveLength(1);
  });

  test('a store that is down keeps nobody from hearing of it', async () => {
    const down = new AutocertError({ code: 'STORE_UNREADABLE', message: 'down', retryable: true, remedy: 'Look.' });
    const broken: Store = {
      get: () => Promise.reject(down),
      put: () => Promise.reject(down),
      delete: () => Promise.reject(down),
      list: () => Promise.reject(down),
    };
    const unreadable: ReportedError = { ...DENIED, code: 'STORE_UNREADABLE', step: 'record' };
    expect((await run(FIRST, [], { store: broken, error: unreadable })).arrived).toEqual([
      'wecom: [autocert] FAILING: the whole run',
    ]);
  });

  test('a memory that is rubbish is written anew', async () => {
    await store.put('notified.json', new TextEncoder().encode('{"version":1,'));
    expect((await run(FIRST, [failed])).arrived).toHaveLength(1);
    expect((await run('2026-01-02T09:04:05Z', [failed])).arrived).toEqual([]);
  });

  test('a run that could not start names the first certificate that will end', async () => {
    const certificate = {
      fingerprint: 'f'.repeat(64),
      serial: '1',
      identifiers: ['a.example.com'],
      keyType: 'ec256',
      directoryUrl: 'https://ca.example/dir',
      notBefore: '2025-12-01T00:00:00Z',
      notAfter: '2026-01-12T03:04:05Z',
    };
    await writeIndex(store, { working: new Set(), records: new Map([['a', { ...emptyRecord('a'), certificate }]]) });
    expect((await run(FIRST, [], { error: DENIED })).arrived).toEqual([
      'wecom: [autocert] FAILING: the whole run, 10 days left',
    ]);
  });

  test('the heartbeat is a GET, and its failure a line in the log', async () => {
    const channels = channelsOf([]);
    await beat(new Secret(`${receivers.origin}/ping`), channels, depsNow());
    expect(receivers.requests.at(-1)).toBe('GET /ping');
    expect(log).toEqual([]);
    await beat(new Secret(`${receivers.origin}/nothing-here`), channels, depsNow());
    await beat(new Secret('https://127.0.0.1:1/'), channels, depsNow());
    expect(log).toEqual(['heartbeat_failed', 'heartbeat_failed']);
  });
});
