import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Channel, NotifyConfig } from '../../src/config.ts';
import type { Deps } from '../../src/deps.ts';
import { type Delivery, openChannels } from '../../src/notify/deliver.ts';
import type { Message } from '../../src/notify/message.ts';
import { Secret } from '../../src/secret.ts';
import { createCloudmonitor } from '../sandbox/cloudmonitor.ts';
import { createDirectmail } from '../sandbox/directmail.ts';
import { type ReceiverName, type Receivers, startReceivers } from '../sandbox/receivers.ts';
import { type RpcServer, startRpcServer } from '../sandbox/rpc-server.ts';

const NOW = new Date('2026-01-02T03:04:05Z');
const CREDENTIALS = { accessKeyId: 'LTAI-alert', accessKeySecret: new Secret('alert-access-key-secret') };
const RECEIVERS: readonly ReceiverName[] = [
  'dingtalk',
  'feishu',
  'lark',
  'wecom',
  'slack',
  'teams',
  'telegram',
  'webhook',
];

const mail = createDirectmail(['alerts@mail.example.com']);
const monitor = createCloudmonitor();
const logged: string[] = [];
let receivers: Receivers;
let cloud: RpcServer;

beforeAll(async () => {
  receivers = await startReceivers({ now: () => NOW });
  cloud = await startRpcServer({
    products: [mail, monitor],
    accounts: [{ accessKeyId: 'LTAI-alert', accessKeySecret: 'alert-access-key-secret', userId: '1' }],
  });
});
afterAll(async () => {
  await Promise.all([receivers.close(), cloud.close()]);
});
afterEach(() => {
  receivers.messages.length = 0;
  logged.length = 0;
  for (const receiver of RECEIVERS) receivers.answer(receiver, undefined);
});

/** `now` for what is signed; a wait is over at once. */
function depsAt(now: () => Date): Deps {
  const log = (event: string, fields?: Record<string, unknown>): void => {
    const { error } = fields ?? {};
    logged.push(
      `${event} ${JSON.stringify(fields)} ${error instanceof Error ? `${error.message} ${String(error.stack)}` : ''}`,
    );
  };
  return {
    now,
    random: () => 0.5,
    sleep: async () => undefined,
    deadline: new Date(now().getTime() + 30_000),
    log: { debug: log, info: log, warn: log, error: log },
  };
}

function entry(channel: Channel, more: Partial<NotifyConfig> = {}): NotifyConfig {
  return {
    channel,
    url:
      channel === 'directmail' || channel === 'cloudmonitor'
        ? new Secret(cloud.url)
        : new Secret(receivers.url(channel)),
    secret: secretOf(channel),
    language: 'en',
    template: undefined,
    chatId: channel === 'telegram' ? receivers.chatId : undefined,
    from: 'alerts@mail.example.com',
    to: ['ops@example.com', 'boss@example.com'],
    ...more,
  };
}

function secretOf(channel: Channel): Secret | undefined {
  const { dingtalk, feishu, webhook } = receivers.secrets;
  const known: Partial<Record<Channel, string>> = { dingtalk, feishu, lark: feishu, webhook };
  const secret = known[channel];
  return secret === undefined ? undefined : new Secret(secret);
}

const MESSAGE: Message = {
  language: 'en',
  title: '[autocert] FAILING: www',
  severity: 'bad',
  sections: [
    {
      heading: 'www: the certificate cannot be renewed.',
      facts: [
        ['Domains', '*.example.com, *.example.org'],
        ['Cause', 'ACME_CAA: <said> "no" & left'],
      ],
    },
  ],
  remarks: ['Run 42.'],
  fields: { names: 'www', cause: 'CAA says "no"\nand\\or' },
  data: { runId: '42' },
};

async function send(
  entries: readonly NotifyConfig[],
  message: Message = MESSAGE,
  now: () => Date = () => NOW,
): Promise<Delivery[]> {
  const config = { notify: entries, region: 'cn-hangzhou', endpoints: { cdn: 'http://127.0.0.1:1' } };
  // The API of the cloud has its own clock, the real one.
  const deps = entries.some(({ channel }) => channel === 'directmail' || channel === 'cloudmonitor')
    ? depsAt(() => new Date())
    : depsAt(now);
  const channels = openChannels({
    config,
    credentials: async () => CREDENTIALS,
    secrets: [new Secret('hunter2-secret')],
    deps,
    ca: receivers.ca,
  });
  try {
    return await channels.send(() => message);
  } finally {
    channels.close();
  }
}

test.each(RECEIVERS)('%s takes a message, signed where it wants that', async (channel) => {
  expect(await send([entry(channel)])).toEqual([{ channel }]);
  const [message] = receivers.messages;
  expect(message?.receiver).toBe(channel);
  expect(message?.text).toContain('FAILING: www');
  expect(message?.text).toContain('the certificate cannot be renewed.');
  expect(receivers.messages).toHaveLength(1);
});

test('domains with stars and foreign mark-up arrive as they are', async () => {
  await send(RECEIVERS.map((channel) => entry(channel)));
  const texts = new Map(receivers.messages.map(({ receiver, text }) => [receiver, text]));
  for (const plain of ['dingtalk', 'feishu', 'lark', 'wecom', 'telegram', 'webhook'] as const) {
    expect(texts.get(plain), plain).toContain('Domains: *.example.com, *.example.org');
    expect(texts.get(plain), plain).toContain('ACME_CAA: <said> "no" & left');
  }
  expect(texts.get('slack')).toContain('&lt;said&gt; "no" &amp; left');
  expect(texts.get('teams')).toContain('\\*.example.com, \\*.example.org');
});

describe('in the words of the real ones', () => {
  const wrongUrl = (channel: ReceiverName) =>
    new Secret(receivers.url(channel).replaceAll('3f1c0e77a9b24c5d8e6f', 'no-such-token-000000'));

  test.each<[ReceiverName, Partial<NotifyConfig>, RegExp]>([
    ['dingtalk', { secret: new Secret('SEC-wrong-secret') }, /310000: sign not match/],
    ['feishu', { secret: new Secret('wrong-secret') }, /19021: sign match fail/],
    ['lark', { secret: undefined }, /19021: sign match fail/],
    ['telegram', { chatId: '7' }, /400: Bad Request: chat not found/],
    ['webhook', { secret: new Secret('whsec-wrong') }, /401: bad signature/],
  ])('%s refuses a wrong setting, and the error says what to check', async (channel, more, words) => {
    const [delivery] = await send([entry(channel, more)]);
    expect(delivery?.error).toMatchObject({ code: 'REQUEST_REFUSED', retryable: false });
    expect(delivery?.error?.message).toMatch(words);
    expect(delivery?.error?.remedy).toMatch(/[Cc]heck/);
    expect(receivers.messages).toEqual([]);
  });

  test.each<[ReceiverName, RegExp]>([
    ['dingtalk', /300005: token is not exist/],
    ['feishu', /19001/],
    ['wecom', /93000: invalid webhook url/],
    ['slack', /403: invalid_token/],
    ['teams', /401: .*DirectApiAuthorizationRequired/],
    ['telegram', /401: Unauthorized/],
  ])('%s refuses a token that is gone', async (channel, words) => {
    const [delivery] = await send([entry(channel, { url: wrongUrl(channel) })]);
    expect(delivery?.error?.code).toBe('REQUEST_REFUSED');
    expect(delivery?.error?.message).toMatch(words);
  });

  test.each<[ReceiverName, { status: number; body: string | object; headers?: Record<string, string> }]>([
    ['dingtalk', { status: 200, body: { errcode: 130_101, errmsg: 'send too fast, exceed 20 times per minute' } }],
    ['feishu', { status: 200, body: { code: 11_232, msg: 'frequency limited psm[lark.oapi.app_platform_runtime]' } }],
    ['wecom', { status: 200, body: { errcode: 45_009, errmsg: 'api freq out of limit' } }],
    ['slack', { status: 429, body: 'rate_limited', headers: { 'retry-after': '30' } }],
    [
      'telegram',
      {
        status: 429,
        body: {
          ok: false,
          error_code: 429,
          description: 'Too Many Requests: retry after 5',
          parameters: { retry_after: 5 },
        },
      },
    ],
  ])('%s that is asked too often is not asked again', async (channel, answer) => {
    receivers.answer(channel, answer);
    const asked = receivers.requests.length;
    const [delivery] = await send([entry(channel)]);
    expect(delivery?.error).toMatchObject({ code: 'CALL_THROTTLED' });
    expect(receivers.requests.length - asked).toBe(1);
  });

  test('a Teams connector that answers 200 with a failure in its text has not delivered', async () => {
    receivers.answer('teams', {
      status: 200,
      body: 'Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 413',
    });
    const [delivery] = await send([entry('teams')]);
    expect(delivery?.error?.message).toContain('HTTP error 413');
  });

  test('a service that is down is asked once more, and no more', async () => {
    receivers.answer('wecom', { status: 502, body: '<html>bad gateway</html>' });
    const asked = receivers.requests.length;
    const [delivery] = await send([entry('wecom')]);
    expect(delivery?.error).toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    expect(receivers.requests.length - asked).toBe(2);
  });

  test.each<ReceiverName>(['dingtalk', 'feishu'])(
    '%s refuses a message from a clock that is two hours off',
    async (channel) => {
      const [delivery] = await send([entry(channel)], MESSAGE, () => new Date('2026-01-02T05:04:06Z'));
      expect(delivery?.error?.message).toMatch(/timestamp/);
    },
  );
});

test('one dead channel keeps no other from its message', async () => {
  const deliveries = await send([
    entry('slack', { url: new Secret('https://127.0.0.1:1/services/T0/B0/secret-token-77') }),
    entry('wecom'),
  ]);
  expect(deliveries.map(({ channel, error }) => [channel, error?.code])).toEqual([
    ['slack', 'SERVICE_UNREACHABLE'],
    ['wecom', undefined],
  ]);
});

test('no URL, token or secret is in any error or log line', async () => {
  const echo = RECEIVERS.map((channel) => {
    const body = `you sent ${receivers.url(channel)} with canary-secret-5 to 3f1c0e77a9b24c5d8e6f`;
    receivers.answer(channel, { status: 400, body });
    return entry(channel, { secret: new Secret('canary-secret-5') });
  });
  const dead = entry('slack', { url: new Secret('https://canary-host.invalid/services/canary-path') });
  const deliveries = await send([...echo, dead]);
  const said =
    deliveries.map(({ channel, error }) => `${channel} ${error?.message} ${error?.remedy} ${error?.stack}`).join('\n') +
    logged.join('\n');
  expect(deliveries.every(({ error }) => error)).toBe(true);
  expect(said).toContain('you sent [redacted]');
  for (const secret of ['3f1c0e77a9b24c5d8e6f', 'canary', receivers.origin]) {
    expect(said).not.toContain(secret);
  }
});

test('a secret that got into a text leaves no machine in it', async () => {
  await send([entry('webhook')], {
    ...MESSAGE,
    sections: [
      {
        heading: 'key hunter2-secret',
        facts: [['Cause', '-----BEGIN PRIVATE KEY-----\nMIIcanary\n-----END PRIVATE KEY-----']],
      },
    ],
  });
  const [message] = receivers.messages;
  expect(message?.text).toContain('key [redacted]');
  expect(JSON.stringify(message?.body)).not.toMatch(/hunter2|MIIcanary/);
});

describe('a message longer than the channel takes', () => {
  const facts: [string, string][] = [['Cause', '证书颁发机构拒绝。'.repeat(20)]];
  const long: Message = {
    ...MESSAGE,
    language: 'zh',
    sections: Array.from({ length: 40 }, (_, n) => ({ heading: `证书 ${n}`, facts })),
  };

  test.each<ReceiverName>(['wecom', 'telegram', 'slack', 'dingtalk'])(
    'is cut between certificates for %s, and says how many are left out',
    async (channel) => {
      expect(await send([entry(channel)], long)).toEqual([{ channel }]);
      const text = receivers.messages[0]?.text ?? '';
      const shown = text.match(/证书 \d+\D/g)?.length ?? 0;
      const left = /另有 (\d+) 项/.exec(text)?.[1];
      expect(shown).toBeGreaterThan(0);
      expect(shown + Number(left ?? 0)).toBe(40);
    },
  );

  test('one certificate that is too long by itself is cut without half a character', async () => {
    const one: Message = { ...long, sections: [{ heading: '证书', facts: [['原因', '拒'.repeat(3000)]] }] };
    expect(await send([entry('wecom')], one)).toEqual([{ channel: 'wecom' }]);
    const text = receivers.messages[0]?.text ?? '';
    expect(text).toMatch(/拒\.\.\.$/);
    expect(text).not.toContain('\uFFFD');
    expect(Buffer.byteLength(text)).toBeGreaterThan(2040);
  });
});

describe('a template', () => {
  test('is filled in, each field made safe for JSON', async () => {
    const template = '{"summary": "{{title}}", "who": ["{{ names }}"], "why": "{{cause}}", "text": "{{text}}"}';
    expect(await send([entry('webhook', { template })])).toEqual([{ channel: 'webhook' }]);
    expect(receivers.messages[0]?.body).toMatchObject({
      summary: '[autocert] FAILING: www',
      who: ['www'],
      why: 'CAA says "no"\nand\\or',
    });
  });

  test.each([
    ['{"a": "{{nothing}}"}', /no field nothing/],
    ['{"a": {{cause}}}', /no JSON/],
    ['{"a": "{{constructor}}"}', /no field constructor/],
  ])('%s is refused before anything is sent', async (template, words) => {
    const asked = receivers.requests.length;
    const [delivery] = await send([entry('webhook', { template })]);
    expect(delivery?.error).toMatchObject({ code: 'CONFIG_INVALID' });
    expect(delivery?.error?.message).toMatch(words);
    expect(delivery?.error?.remedy).toContain('title');
    expect(receivers.requests.length).toBe(asked);
  });
});

describe('through the cloud', () => {
  test('DirectMail sends one mail to all receivers', async () => {
    expect(await send([entry('directmail')])).toEqual([{ channel: 'directmail' }]);
    expect(mail.mails).toEqual([
      {
        from: 'alerts@mail.example.com',
        to: ['ops@example.com', 'boss@example.com'],
        subject: '[autocert] FAILING: www',
        text: expect.stringContaining('*.example.org'),
      },
    ]);
  });

  test('DirectMail that does not know the sender says so', async () => {
    const [delivery] = await send([entry('directmail', { from: 'nobody@example.com' })]);
    expect(delivery?.error?.message).toContain('InvalidMailAddress.NotFound');
  });

  test('CloudMonitor gets an event whose name a rule can tell from good news', async () => {
    expect(await send([entry('cloudmonitor')])).toEqual([{ channel: 'cloudmonitor' }]);
    await send([entry('cloudmonitor')], { ...MESSAGE, severity: 'good' });
    expect(monitor.events.map(({ name }) => name)).toEqual(['autocert-failing', 'autocert-recovered']);
    expect(monitor.events[0]?.content).toContain('the certificate cannot be renewed.');
  });
});
