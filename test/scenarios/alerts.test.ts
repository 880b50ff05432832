import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { bundled } from '../bundle.ts';
import { invoke } from '../sandbox/fc.ts';
import { decisionsOf, errorsOf, ordersAt, statusesOf, treeOf } from '../sandbox/footprint.ts';
import { freePorts } from '../sandbox/ports.ts';
import { type Receivers, startReceivers } from '../sandbox/receivers.ts';
import { autocert } from '../sandbox/terminal.ts';
import { CREDENTIALS, type Renewal, startWorld, type World } from '../sandbox/world.ts';

let world: World;
/** By https, whose CA the functions trust by NODE_EXTRA_CA_CERTS; the other one is for the terminal. */
let receivers: Receivers;
let plain: Receivers;
let folder: string;
let trust: { readonly NODE_EXTRA_CA_CERTS: string };
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'autocert-alerts-'));
  [world, receivers, plain] = await Promise.all([
    startWorld({ zones: ['example.com'] }),
    startReceivers(),
    startReceivers({ secure: false }),
  ]);
  trust = { NODE_EXTRA_CA_CERTS: join(folder, 'receivers.pem') };
  await writeFile(trust.NODE_EXTRA_CA_CERTS, receivers.ca);
});
afterAll(async () => {
  await Promise.all([world.close(), receivers.close(), plain.close()]);
  await rm(folder, { recursive: true, force: true });
});
beforeEach(() => {
  for (const one of [receivers, plain]) {
    one.messages.length = 0;
    one.requests.length = 0;
  }
});

function notifyingConfig(domain: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  const { secrets } = receivers;
  return world.config({
    certificates: [{ name: domain.split('.')[0], identifiers: [domain], keyType: 'ec256' }],
    notify: [
      { channel: 'dingtalk', url: receivers.url('dingtalk'), secret: secrets.dingtalk },
      { channel: 'webhook', url: receivers.url('webhook'), secret: secrets.webhook, language: 'en' },
    ],
    heartbeat: `${receivers.origin}/ping`,
    ...more,
  });
}

function renew(config: unknown, payload?: { only?: readonly string[]; force?: boolean }): Promise<Renewal> {
  receivers.messages.length = 0;
  receivers.requests.length = 0;
  return world.renew(config, { environment: trust, ...(payload && { payload }) });
}

/** First lines of what arrived, by receiver. */
function titles(): Record<string, string | undefined> {
  return Object.fromEntries(receivers.messages.map(({ receiver, text }) => [receiver, text.split('\n')[0]]));
}

function heartbeats(): number {
  return receivers.requests.filter((request) => request === 'GET /ping').length;
}

test('the CA is stopped: one message with cause and cure, then silence, then one message that all is well', async () => {
  world.cdn.set('stopped.example.com');
  const good = notifyingConfig('stopped.example.com');
  const [port] = await freePorts(1);
  const stopped = { ...good, acme: { ...(good['acme'] as object), directoryUrl: `https://127.0.0.1:${port}/dir` } };

  const first = await renew(stopped);
  expect(errorsOf(first)).toEqual({ stopped: 'ACME_UNREACHABLE' });
  expect(first.report.told).toBe(true);
  expect(first.error?.errorMessage).toMatch(/\[people were told\]$/);
  expect(titles()).toEqual({ dingtalk: '[autocert] 证书故障：stopped', webhook: '[autocert] FAILING: stopped' });
  const texts = new Map(receivers.messages.map(({ receiver, text }) => [receiver, text]));
  expect(texts.get('dingtalk')).toContain('原因：无法连接证书颁发机构（ACME_UNREACHABLE）');
  expect(texts.get('dingtalk')).toContain('处理办法：请检查函数的公网访问');
  const { message = '', remedy = '' } = first.report.outcomes[0]?.error ?? {};
  expect(texts.get('webhook')).toContain(`Cause: ACME_UNREACHABLE: ${message}\nWhat to do: ${remedy}\n`);
  expect(texts.get('webhook')).toMatch(/Domains: stopped\.example\.com\nTime left: no certificate is in place\n/);
  expect(texts.get('webhook')).toMatch(
    /What comes next: tried again without you at about \d{4}-\d\d-\d\d \d\d:\d\d UTC/,
  );
  expect(texts.get('webhook')).toContain(first.report.runId);
  expect(heartbeats()).toBe(0);

  const second = await renew(stopped);
  expect(decisionsOf(second)).toEqual({ stopped: 'keep BackingOff' });
  expect(receivers.messages).toEqual([]);

  const back = await renew(good, { only: ['stopped'], force: true });
  expect(statusesOf(back)).toEqual({ stopped: 'renewed' });
  expect(titles()).toEqual({ dingtalk: '[autocert] 已恢复：stopped', webhook: '[autocert] RECOVERED: stopped' });
  expect(heartbeats()).toBe(1);

  const tree = await treeOf(world.storePath);
  const last = await renew(good);
  expect(statusesOf(last)).toEqual({ stopped: 'kept' });
  expect(receivers.messages).toEqual([]);
  expect(heartbeats()).toBe(1);
  expect(await treeOf(world.storePath), 'a good run leaves the store as it is').toEqual(tree);
  const output = [first, second, back, last].flatMap(({ lines }) => lines).join('\n');
  expect(output).not.toContain(receivers.origin);
  expect(output).not.toContain(receivers.secrets.dingtalk);
}, 180_000);

test('a deployment that fails is told once, tried again by the very next run, and told when it is well', async () => {
  const domain = 'refused.example.com';
  world.cdn.set(domain);
  const config = notifyingConfig(domain);
  const resume = world.rpc.intercept(({ action }) =>
    action.startsWith('Set')
      ? {
          status: 400,
          body: JSON.stringify({
            Code: 'InvalidSSLPri',
            Message: 'The private key is malformed.',
            RequestId: 'R-1',
            HostId: 'cdn.aliyuncs.com',
          }),
        }
      : undefined,
  );
  const first = await renew(config);
  const second = await renew(config);
  resume();
  expect(errorsOf(first)).toEqual({ refused: 'PRIVATE_KEY_REFUSED' });
  expect(decisionsOf(second)).toEqual({ refused: 'deploy NotDeployed' });
  expect(errorsOf(second)).toEqual({ refused: 'PRIVATE_KEY_REFUSED' });
  expect(receivers.messages, 'the second run').toEqual([]);

  const orders = ordersAt(world);
  const third = await renew(config);
  expect(statusesOf(third)).toEqual({ refused: 'redeployed' });
  expect(ordersAt(world)).toBe(orders);
  expect(titles()).toMatchObject({ webhook: '[autocert] RECOVERED: refused' });
});

test('a certificate that a later run finds well by itself is forgotten as a failure', async () => {
  const domain = 'slow.example.com';
  world.cdn.set(domain);
  world.edges[1].hold();
  const verify = { patience: '1s', connect: world.edges.map(({ address }) => address) };
  const config = notifyingConfig(domain, { verify });
  const first = await renew(config);
  world.edges[1].release();
  expect(errorsOf(first)).toEqual({ slow: 'NOT_SERVED' });
  expect(titles()).toMatchObject({ webhook: expect.stringContaining('FAILING: slow') });

  const second = await renew(config);
  expect(statusesOf(second)).toEqual({ slow: 'kept' });
  expect(titles()).toMatchObject({ webhook: '[autocert] RECOVERED: slow' });
  const tree = await treeOf(world.storePath);
  await renew(config);
  expect(await treeOf(world.storePath)).toEqual(tree);
});

test('a run that may not list the domains says so once, and once that it may again', async () => {
  const config = notifyingConfig('stopped.example.com');
  const [account] = world.accounts;
  if (!account) throw new Error('the world has no account');
  world.accounts[0] = { ...account, denied: ['DescribeUserDomains'] };
  const first = await renew(config);
  expect(first.report.error).toMatchObject({ code: 'PERMISSION_DENIED', step: 'inventory' });
  expect(titles()).toMatchObject({
    webhook: expect.stringMatching(/^\[autocert\] FAILING: the whole run, \d+ days left$/),
  });
  await renew(config);
  expect(receivers.messages).toEqual([]);
  world.accounts[0] = account;
  await renew(config);
  expect(titles()).toMatchObject({ webhook: '[autocert] RECOVERED: the whole run' });
});

test('a mistake in the configuration is told by the channels that it names all the same', async () => {
  const broken = { ...notifyingConfig('stopped.example.com'), store: 'nowhere' };
  const run = await renew(broken);
  expect(run.report.error).toMatchObject({ code: 'CONFIG_INVALID', step: 'config' });
  expect(receivers.messages.map(({ text }) => text).join('\n')).toMatch(
    /FAILING: the whole run(.*\n)*Cause: CONFIG_INVALID: .*store/,
  );
});

test('an event that is rubbish, or names what there is not, wakes nobody', async () => {
  const config = notifyingConfig('stopped.example.com');
  const unknown = await renew(config, { only: ['nowhere.example.com'] });
  expect(errorsOf(unknown)).toEqual({ inventory: 'FILTER_MATCHED_NOTHING' });
  expect(unknown.error?.errorMessage, 'so that the failure destination tells').not.toContain('people were told');
  const rubbish = await renew(config, { only: [] });
  expect(rubbish.report.error).toMatchObject({ code: 'EVENT_INVALID' });
  expect(receivers.requests).toEqual([]);
});

test('a plan tells nobody', async () => {
  world.cdn.set('planned.example.com');
  const plan = await autocert(['plan', '--json'], { config: notifyingConfig('planned.example.com') });
  expect(plan.exitCode).toBe(0);
  expect(receivers.requests).toEqual([]);
});

describe('the destination of failed invocations', () => {
  const event = {
    timestamp: 1_767_323_045_000,
    requestContext: {
      requestId: '5e1f9b0c-3b51',
      functionArn: 'acs:fc:cn-hangzhou:1234567890123456:functions/autocert-renew',
      condition: 'UnhandledInvocationError',
      approximateInvokeCount: 1,
    },
    requestPayload: '',
    responseContext: { statusCode: 200, functionError: 'UnhandledInvocationError' },
    responsePayload: JSON.stringify({ errorMessage: 'Function timed out after 60 seconds' }),
  };
  const alert = (config: unknown, payload: object) =>
    invoke({
      file: pathToFileURL(bundled('alert.mjs')).href,
      event: JSON.stringify(payload),
      environment: { AUTOCERT_CONFIG: JSON.stringify(config), ...trust },
      credentials: CREDENTIALS,
    });

  test('says which function was killed, and what its id is', async () => {
    const { result } = await alert(notifyingConfig('stopped.example.com'), event);
    expect(result).toEqual({ sent: ['dingtalk', 'webhook'], failed: [] });
    expect(titles()).toEqual({
      dingtalk: '[autocert] 运行失败：autocert-renew',
      webhook: '[autocert] RUN FAILED: autocert-renew',
    });
    for (const { text } of receivers.messages) expect(text).toContain('5e1f9b0c-3b51');
  });

  test('fails where nobody can be told', async () => {
    const { error } = await alert({ ...notifyingConfig('stopped.example.com'), notify: [] }, event);
    expect(error?.errorType).toBe('AutocertError');
  });
});

describe('autocert notify --test', () => {
  const channels = () => [
    { channel: 'wecom', url: plain.url('wecom') },
    { channel: 'slack', url: `${plain.origin}/services/T0/B0/gone` },
  ];

  test('sends one test message to each channel and says which took it', async () => {
    const config = notifyingConfig('stopped.example.com', { notify: channels() });
    const { exitCode, stdout } = await autocert(['notify', '--test'], { config });
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(
      /^wecom {2}sent\nslack {2}failed {2}REQUEST_REFUSED: .*invalid_token.*\n {2}Make the incoming webhook again/,
    );
    expect(plain.messages.map(({ text }) => text.split('\n')[0])).toEqual(['[autocert] 测试消息']);
    expect(stdout).not.toContain(plain.origin);
  });

  test('as JSON, with exit code 0 when every channel works', async () => {
    const config = notifyingConfig('stopped.example.com', { notify: channels().slice(0, 1) });
    const { exitCode, stdout } = await autocert(['notify', '--test', '--json'], { config });
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toEqual([{ channel: 'wecom', sent: true }]);
  });

  test.each([
    [['notify'], {}],
    [['notify', '--test'], { notify: [] }],
    [['notify', '--test'], { store: 'nowhere' }],
    [['renew', '--test'], {}],
  ])('%j with %j is a mistake', async (args, more) => {
    const { exitCode } = await autocert(args, {
      config: notifyingConfig('stopped.example.com', { notify: channels(), ...more }),
    });
    expect(exitCode).toBe(2);
    expect(plain.messages).toEqual([]);
  });
});
