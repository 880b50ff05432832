import { redact } from '../aliyun/redact.ts';
import type { Rpc } from '../aliyun/rpc.ts';
import type { NotifyConfig } from '../config.ts';
import type { Deps } from '../deps.ts';
import { AutocertError, type ErrorCode } from '../errors.ts';
import { Secret } from '../secret.ts';
import type { Message } from './message.ts';
import type { Incoming, Post } from './post.ts';

/** What a channel sends with. */
export interface Transport {
  readonly post: Post;
  readonly rpc: Pick<Rpc, 'call'>;
  /** The cloud region this runs in. */
  readonly region: string | undefined;
  readonly deps: Pick<Deps, 'now'>;
}

/** Sends one message. Throws AutocertError when the receiver did not take it; says nothing of URL and secret. */
export type Send = (entry: NotifyConfig, message: Message, transport: Transport) => Promise<void>;

/** Posts JSON to the entry's URL, with `query` added to what it has. */
export async function postJson(
  entry: NotifyConfig,
  body: string,
  { post }: Transport,
  more: { readonly headers?: Readonly<Record<string, string>>; readonly query?: Readonly<Record<string, string>> } = {},
): Promise<Incoming> {
  const headers = {
    'content-type': 'application/json; charset=utf-8',
    'user-agent': 'aliyun-cdn-autocert',
    ...more.headers,
  };
  const answer = await post({
    method: 'POST',
    url: withQuery(entry, more.query ?? {}),
    headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) },
    body,
  });
  if (answer.status === 429) throw throttled(entry, answer.body, answer.headers['retry-after']);
  if (answer.status >= 500) {
    throw failure(
      entry,
      'SERVICE_UNAVAILABLE',
      `it answered with status ${answer.status}`,
      'Wait: the service of the channel is down.',
      true,
    );
  }
  return answer;
}

function withQuery(entry: NotifyConfig, query: Readonly<Record<string, string>>): Secret {
  const text = entry.url?.reveal() ?? '';
  if (!URL.canParse(text)) {
    throw failure(
      entry,
      'CONFIG_INVALID',
      'it has no usable url',
      'Give this entry of `notify` the url that the channel shows.',
    );
  }
  const url = new URL(text);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return new Secret(url.href);
}

/** What an answer in JSON says of itself, or its status and its text when it says nothing of the kind. */
export function verdictOf(
  answer: Incoming,
  codeKeys: readonly string[],
  wordKeys: readonly string[],
): { readonly code: number; readonly words: string } {
  const json = jsonOf(answer);
  const code = codeKeys.map((key) => json[key]).find((value) => typeof value === 'number');
  if (code === undefined) return { code: answer.status || -1, words: answer.body };
  const words = wordKeys.map((key) => json[key]).find((value) => typeof value === 'string');
  return { code: Number(code), words: String(words ?? '') };
}

/** The answer as a JSON object; an empty one when it is none. */
export function jsonOf({ body }: Incoming): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === 'object' && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}

/** The receiver answered and did not take the message. `words` is its own text. */
export function refusal(entry: NotifyConfig, code: string | number, words: string, remedy: string): AutocertError {
  return failure(entry, 'REQUEST_REFUSED', `it refused the message (${code}: ${quoted(entry, words)})`, remedy);
}

/** The receiver takes no more messages for now. `seconds`: when it says for how long. */
export function throttled(entry: NotifyConfig, words: string, seconds?: string | number): AutocertError {
  const wait = Number(seconds);
  const told = Number.isFinite(wait) && wait > 0 ? ` It wants a pause of ${wait} s.` : '';
  const remedy = 'Send less to this channel from elsewhere: autocert itself sends one message a run at most.';
  // Within a run there is no time for such pauses, and a second message at once would lengthen the ban.
  return failure(
    entry,
    'CALL_THROTTLED',
    `it takes no more messages for now (${quoted(entry, words)}).${told}`,
    remedy,
  );
}

export function failure(
  entry: NotifyConfig,
  code: ErrorCode,
  message: string,
  remedy: string,
  retryable = false,
): AutocertError {
  return new AutocertError({ code, message: `${entry.channel}: ${message}`, retryable, remedy });
}

/** Foreign words without what of the URL and the secret could stand in them. */
function quoted(entry: NotifyConfig, words: string): string {
  return redact(words, secretsIn(entry)).slice(0, 200) || 'no reason given';
}

/** Below this length a part of a URL is a word like `send`, not a secret. */
const SHORTEST_SECRET = 8;

function secretsIn({ url, secret, to, from, chatId }: NotifyConfig): string[] {
  const text = url?.reveal() ?? '';
  const parsed = URL.canParse(text) ? [new URL(text)] : [];
  const parts = parsed.flatMap(({ pathname, searchParams }) => [...pathname.split('/'), ...searchParams.values()]);
  const inUrl = parts.filter((part) => part.length >= SHORTEST_SECRET);
  return [text, secret?.reveal() ?? '', ...inUrl, ...to, from ?? '', chatId ?? ''].filter((part) => part !== '');
}
