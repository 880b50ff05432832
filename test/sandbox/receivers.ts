/** Where alerts arrive: doubles of the chat services that check what the real ones check and refuse in their own words. */
import { createHmac } from 'node:crypto';
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { defaultCa, makeCertificate } from './certificates.ts';

export type ReceiverName = 'dingtalk' | 'feishu' | 'lark' | 'wecom' | 'slack' | 'teams' | 'telegram' | 'webhook';

export interface ReceivedMessage {
  readonly receiver: ReceiverName;
  /** What a person reads. */
  readonly text: string;
  readonly body: Record<string, unknown>;
  readonly headers: NodeJS.Dict<string | string[]>;
}

export interface Receivers {
  /** The URL to configure, token included. */
  url(receiver: ReceiverName): string;
  readonly secrets: { readonly dingtalk: string; readonly feishu: string; readonly webhook: string };
  readonly chatId: string;
  /** Only what was taken. */
  readonly messages: ReceivedMessage[];
  /** Every request, as `METHOD /path`, without its query. */
  readonly requests: string[];
  /** From now on this receiver answers so, whatever it gets; undefined ends it. */
  answer(receiver: ReceiverName, answer: Answer | undefined): void;
  /** PEM of the root that the receivers' certificate comes from. */
  readonly ca: string;
  readonly origin: string;
  close(): Promise<void>;
}

export interface Answer {
  readonly status: number;
  readonly body: string | object;
  readonly headers?: Readonly<Record<string, string>>;
}

interface Call {
  readonly query: URLSearchParams;
  readonly path: string;
  readonly raw: string;
  readonly body: Record<string, unknown>;
  readonly headers: NodeJS.Dict<string | string[]>;
}

/** What one service makes of a call: the text that it shows, or how it refuses. */
type Judge = (call: Call) => { readonly shown: string; readonly answer: Answer } | Answer;

const TOKEN = '3f1c0e77a9b24c5d8e6f';
const SECRETS = { dingtalk: 'SEC7c1e9a52f0b84d63', feishu: 'vQm3xT8uLr2Wp6Zk', webhook: 'whsec-4b7d1f90c2e8' };
const CHAT_ID = '-1001234567890';
const HOUR = 3_600_000;

/** What DingTalk and Feishu robots can demand of each text. */
const KEYWORD = 'autocert';

export interface ReceiversOptions {
  readonly now?: () => Date;
  /** False for http, which alerts take on loopback alone. Default true. */
  readonly secure?: boolean;
}

export async function startReceivers({
  now = () => new Date(),
  secure = true,
}: ReceiversOptions = {}): Promise<Receivers> {
  const ca = defaultCa();
  const day = 86_400_000;
  const { chain, privateKey } = makeCertificate({
    names: ['127.0.0.1', 'localhost'],
    issuer: ca,
    notBefore: new Date(Date.now() - day),
    notAfter: new Date(Date.now() + 30 * day),
  });
  const messages: ReceivedMessage[] = [];
  const requests: string[] = [];
  const overrides = new Map<ReceiverName, Answer>();
  const judges = createJudges(now);

  const receive = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const url = new URL(incoming.url ?? '/', 'https://receiver.invalid');
    requests.push(`${incoming.method} ${url.pathname}`);
    const raw = await text(incoming);
    const receiver = receiverOf(url.pathname);
    const reply = ({ status, body, headers = {} }: Answer): void => {
      const isText = typeof body === 'string';
      outgoing.writeHead(status, { 'content-type': isText ? 'text/plain' : 'application/json', ...headers });
      outgoing.end(isText ? body : JSON.stringify(body));
    };
    if (incoming.method === 'GET' && url.pathname === '/ping') return reply({ status: 200, body: 'OK' });
    if (receiver === undefined || incoming.method !== 'POST') return reply({ status: 404, body: 'not found' });
    const override = overrides.get(receiver);
    if (override) return reply(override);
    const call: Call = {
      query: url.searchParams,
      path: url.pathname,
      raw,
      body: parse(raw),
      headers: incoming.headers,
    };
    const verdict = judges[receiver](call);
    if (!('shown' in verdict)) return reply(verdict);
    messages.push({ receiver, text: verdict.shown, body: call.body, headers: incoming.headers });
    reply(verdict.answer);
  };
  const answer = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    receive(incoming, outgoing).catch(() => outgoing.destroy());
  };
  const server = secure ? createHttpsServer({ cert: chain, key: privateKey }, answer) : createHttpServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const origin = `${secure ? 'https' : 'http'}://127.0.0.1:${port}`;

  return {
    url: (receiver) => origin + PATHS[receiver],
    secrets: SECRETS,
    chatId: CHAT_ID,
    messages,
    requests,
    answer(receiver, answer) {
      if (answer) overrides.set(receiver, answer);
      else overrides.delete(receiver);
    },
    ca: ca.root,
    origin,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const PATHS: Readonly<Record<ReceiverName, string>> = {
  dingtalk: `/robot/send?access_token=${TOKEN}`,
  feishu: `/open-apis/bot/v2/hook/${TOKEN}`,
  lark: `/lark/open-apis/bot/v2/hook/${TOKEN}`,
  wecom: `/cgi-bin/webhook/send?key=${TOKEN}`,
  slack: `/services/T0001/B0001/${TOKEN}`,
  teams: `/workflows/${TOKEN}/triggers/manual/paths/invoke?sig=${TOKEN}`,
  telegram: `/bot123456:${TOKEN}/sendMessage`,
  webhook: `/hooks/${TOKEN}`,
};

const FIRST_SEGMENTS: readonly (readonly [string, ReceiverName])[] = [
  ['/robot/', 'dingtalk'],
  ['/open-apis/', 'feishu'],
  ['/lark/', 'lark'],
  ['/cgi-bin/', 'wecom'],
  ['/services/', 'slack'],
  ['/workflows/', 'teams'],
  ['/bot', 'telegram'],
  ['/hooks/', 'webhook'],
];

function receiverOf(path: string): ReceiverName | undefined {
  return FIRST_SEGMENTS.find(([prefix]) => path.startsWith(prefix))?.[1];
}

function createJudges(now: () => Date): Readonly<Record<ReceiverName, Judge>> {
  const recent = (milliseconds: number) => Math.abs(now().getTime() - milliseconds) <= HOUR;

  /** https://open.dingtalk.com/document/robots/custom-robot-access */
  const dingtalk: Judge = ({ query, body }) => {
    const refuse = (errcode: number, errmsg: string): Answer => ({ status: 200, body: { errcode, errmsg } });
    if (query.get('access_token') !== TOKEN) return refuse(300_005, 'token is not exist');
    const timestamp = query.get('timestamp') ?? '';
    if (!/^\d{13}$/.test(timestamp) || !recent(Number(timestamp))) return refuse(310_000, 'invalid timestamp');
    const sign = createHmac('sha256', SECRETS.dingtalk).update(`${timestamp}\n${SECRETS.dingtalk}`).digest('base64');
    if (query.get('sign') !== sign) return refuse(310_000, 'sign not match');
    const shown = textAt(body, body['msgtype'] === 'markdown' ? ['markdown', 'text'] : ['text', 'content']);
    if (shown === undefined) return refuse(400_101, 'message must have content');
    if (!shown.includes(KEYWORD)) return refuse(310_000, 'keywords not in content');
    if (Buffer.byteLength(shown) > 20_000) return refuse(460_101, 'message too long, exceed 20000 bytes');
    return { shown, answer: { status: 200, body: { errcode: 0, errmsg: 'ok' } } };
  };

  /** https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot */
  const feishu: Judge = ({ path, body }) => {
    const refuse = (code: number, msg: string): Answer => ({ status: 200, body: { code, msg, data: {} } });
    if (!path.endsWith(`/${TOKEN}`)) return refuse(19_001, 'param invalid: incoming webhook access token invalid');
    const { timestamp, sign } = body;
    const expected = createHmac('sha256', `${timestamp}\n${SECRETS.feishu}`).update('').digest('base64');
    if (
      typeof timestamp !== 'string' ||
      !/^\d{10}$/.test(timestamp) ||
      !recent(Number(timestamp) * 1000) ||
      sign !== expected
    ) {
      return refuse(19_021, 'sign match fail or timestamp is not within one hour from current time');
    }
    const shown = textAt(body, ['content', 'text']);
    if (body['msg_type'] !== 'text' || shown === undefined) return refuse(9499, 'Bad Request');
    if (!shown.includes(KEYWORD)) return refuse(19_024, 'Key Words Not Found');
    return {
      shown,
      answer: { status: 200, body: { StatusCode: 0, StatusMessage: 'success', code: 0, data: {}, msg: 'success' } },
    };
  };

  /** https://developer.work.weixin.qq.com/document/path/91770 */
  const wecom: Judge = ({ query, body }) => {
    const refuse = (errcode: number, errmsg: string): Answer => ({ status: 200, body: { errcode, errmsg } });
    if (query.get('key') !== TOKEN)
      return refuse(93_000, 'invalid webhook url, hint: [1767323045123456789], from ip: 127.0.0.1');
    const shown = textAt(body, ['text', 'content']);
    if (body['msgtype'] !== 'text' || shown === undefined) return refuse(40_008, 'invalid message type');
    if (Buffer.byteLength(shown) > 2048)
      return refuse(40_058, 'text.content exceed max length 2048. invalid Request Parameter');
    return { shown, answer: { status: 200, body: { errcode: 0, errmsg: 'ok' } } };
  };

  /** https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks */
  const slack: Judge = ({ path, body }) => {
    if (!path.endsWith(`/${TOKEN}`)) return { status: 403, body: 'invalid_token' };
    const shown = textAt(body, ['text']);
    if (shown === undefined) return { status: 400, body: 'invalid_payload' };
    if (shown === '') return { status: 400, body: 'no_text' };
    return { shown, answer: { status: 200, body: 'ok' } };
  };

  const teams: Judge = ({ query, body }) => {
    if (query.get('sig') !== TOKEN) {
      const error = {
        code: 'DirectApiAuthorizationRequired',
        message: 'The request must be authenticated only by Shared Access scheme.',
      };
      return { status: 401, body: { error } };
    }
    const card = cardOf(body);
    if (!card)
      return {
        status: 400,
        body: { error: { code: 'TriggerInputSchemaMismatch', message: 'Required property missing.' } },
      };
    return { shown: card, answer: { status: 202, body: '' } };
  };

  /** https://core.telegram.org/bots/api#making-requests */
  const telegram: Judge = ({ path, body }) => {
    const refuse = (code: number, description: string): Answer => ({
      status: code,
      body: { ok: false, error_code: code, description },
    });
    if (path !== PATHS.telegram)
      return refuse(
        path.endsWith('/sendMessage') ? 401 : 404,
        path.endsWith('/sendMessage') ? 'Unauthorized' : 'Not Found',
      );
    if (body['chat_id'] !== CHAT_ID) return refuse(400, 'Bad Request: chat not found');
    const shown = textAt(body, ['text']);
    if (!shown) return refuse(400, 'Bad Request: message text is empty');
    if (shown.length > 4096) return refuse(400, 'Bad Request: message is too long');
    return { shown, answer: { status: 200, body: { ok: true, result: { message_id: 1 } } } };
  };

  const webhook: Judge = ({ raw, headers, body }) => {
    const timestamp = String(headers['x-autocert-timestamp']);
    const expected = createHmac('sha256', SECRETS.webhook).update(`${timestamp}.${raw}`).digest('hex');
    if (!/^\d{10}$/.test(timestamp) || !recent(Number(timestamp) * 1000))
      return { status: 400, body: 'stale timestamp' };
    if (headers['x-autocert-signature'] !== `sha256=${expected}`) return { status: 401, body: 'bad signature' };
    return { shown: textAt(body, ['text']) ?? raw, answer: { status: 204, body: '' } };
  };

  return { dingtalk, feishu, lark: feishu, wecom, slack, teams, telegram, webhook };
}

function parse(raw: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(raw);
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textAt(value: unknown, path: readonly string[]): string | undefined {
  let found: unknown = value;
  for (const key of path) found = isObject(found) ? found[key] : undefined;
  return typeof found === 'string' ? found : undefined;
}

/** The texts of an Adaptive Card as Teams demands it, or undefined for what is none. */
function cardOf({ type, attachments }: Record<string, unknown>): string | undefined {
  const [attachment]: unknown[] = Array.isArray(attachments) ? attachments : [];
  if (type !== 'message' || !isObject(attachment)) return undefined;
  if (attachment['contentType'] !== 'application/vnd.microsoft.card.adaptive') return undefined;
  const { content } = attachment;
  if (!isObject(content) || content['type'] !== 'AdaptiveCard' || !Array.isArray(content['body'])) return undefined;
  const lines = content['body'].filter(isObject).flatMap((element) => {
    if (element['type'] === 'TextBlock') return [String(element['text'])];
    const facts = Array.isArray(element['facts']) ? element['facts'].filter(isObject) : [];
    return facts.map((fact) => `${String(fact['title'])}: ${String(fact['value'])}`);
  });
  return lines.join('\n');
}
