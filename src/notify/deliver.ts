import type { CredentialsProvider } from '../aliyun/credentials.ts';
import { createRpc } from '../aliyun/rpc.ts';
import type { NotifyingConfig } from '../config/notify.ts';
import { kindOfHost } from '../config/values.ts';
import type { Channel, NotifyConfig } from '../config.ts';
import { type Deps, timeLeft } from '../deps.ts';
import { type AutocertError, toAutocertError } from '../errors.ts';
import { createRedactor } from '../log.ts';
import type { DeadChannel } from '../notices.ts';
import { retry } from '../retry.ts';
import type { Secret } from '../secret.ts';
import type { Send, Transport } from './channel.ts';
import { sendCloudmonitor } from './cloudmonitor.ts';
import { sendDingtalk } from './dingtalk.ts';
import { sendDirectmail } from './directmail.ts';
import { sendFeishu } from './feishu.ts';
import type { Message } from './message.ts';
import { createPost } from './post.ts';
import { sendSlack } from './slack.ts';
import { sendTeams } from './teams.ts';
import { sendTelegram } from './telegram.ts';
import type { Language } from './time.ts';
import { sendWebhook } from './webhook.ts';
import { sendWecom } from './wecom.ts';

const SENDERS: Readonly<Record<Channel, Send>> = {
  dingtalk: sendDingtalk,
  feishu: sendFeishu,
  lark: sendFeishu,
  wecom: sendWecom,
  slack: sendSlack,
  teams: sendTeams,
  telegram: sendTelegram,
  webhook: sendWebhook,
  directmail: sendDirectmail,
  cloudmonitor: sendCloudmonitor,
};

/** How one channel took a message. */
export interface Delivery {
  /** As people know it: `dingtalk`, or `dingtalk (notify[1])` where there are several. */
  readonly channel: string;
  /** Absent when it was taken. */
  readonly error?: AutocertError;
}

export interface Channels {
  readonly names: readonly string[];
  /**
   * Sends one message to every channel, or to those of `only`, with one more try at most each. Those of `last` get
   * theirs when the others have answered, so that it can say which of them are dead. Never throws.
   */
  send(
    compose: Compose,
    options?: { readonly only?: readonly string[]; readonly last?: string | undefined },
  ): Promise<Delivery[]>;
  /** GET, for a heartbeat. Throws AutocertError unless the answer is a 2xx. */
  get(url: Secret): Promise<number>;
  close(): void;
}

export type Compose = (language: Language, failed: readonly Delivery[]) => Message;

export interface ChannelsOptions {
  readonly config: Omit<NotifyingConfig, 'renewal'>;
  readonly credentials: CredentialsProvider;
  /** What no message may hold, in whatever field it came. */
  readonly secrets: readonly Secret[];
  /** `deadline` is when even alerts must be done. */
  readonly deps: Deps;
  /** PEM certificates that receivers are trusted by, instead of the system's. */
  readonly ca?: string | undefined;
}

interface Named {
  readonly name: string;
  readonly entry: NotifyConfig;
}

/** Nothing is opened before it is used. Loopback receivers are allowed only where the whole cloud is on loopback. */
export function openChannels({ config, credentials, secrets, deps, ca }: ChannelsOptions): Channels {
  const allowLoopback = kindOfHost(new URL(config.endpoints.cdn).hostname) === 'loopback';
  const redact = createRedactor(secrets);
  const rpc = createRpc({ credentials, deps });
  const entries = config.notify.map((entry, index): Named => ({ entry, name: nameOf(entry, index, config.notify) }));

  async function sendOne(
    { name, entry }: Named,
    compose: Compose,
    failed: readonly Delivery[],
    until: Date,
  ): Promise<Delivery> {
    const limited = { ...deps, deadline: until };
    const post = createPost({ deps: limited, allowLoopback, ca });
    const transport: Transport = { post, rpc, region: config.region, deps };
    try {
      const message = withoutSecrets(compose(entry.language, failed), redact);
      await retry(() => SENDERS[entry.channel](entry, message, transport), {
        deps: limited,
        policy: { attempts: 2, base: 1000, cap: 1000 },
      });
      return { channel: name };
    } catch (thrown) {
      const error = toAutocertError(thrown);
      deps.log.warn('channel_failed', { channel: name, error });
      return { channel: name, error };
    }
  }

  return {
    names: entries.map(({ name }) => name),
    async send(compose, { only, last } = {}) {
      const chosen = entries.filter(({ name }) => !only || only.includes(name));
      const first = chosen.filter(({ name }) => name !== last);
      const half = new Date(deps.now().getTime() + timeLeft(deps) / (first.length < chosen.length ? 2 : 1));
      const deliveries = await Promise.all(first.map((one) => sendOne(one, compose, [], half)));
      const failed = deliveries.filter(({ error }) => error);
      const rest = await Promise.all(
        chosen.filter((one) => !first.includes(one)).map((one) => sendOne(one, compose, failed, deps.deadline)),
      );
      return [...deliveries, ...rest];
    },
    async get(url) {
      const { status } = await createPost({ deps, allowLoopback, ca })({
        method: 'GET',
        url,
        headers: { 'user-agent': 'aliyun-cdn-autocert' },
      });
      return status;
    },
    close: () => rpc.close(),
  };
}

function nameOf({ channel }: NotifyConfig, index: number, all: readonly NotifyConfig[]): string {
  return all.filter((one) => one.channel === channel).length > 1 ? `${channel} (notify[${index}])` : channel;
}

/** What makes a message holds no secret; this is for the day when somebody's error text does. */
function withoutSecrets(message: Message, redact: (text: string) => string): Message {
  const clean: Message = JSON.parse(redact(JSON.stringify(message)));
  return clean;
}

export function asDead({ channel, error }: Delivery, since: Date): DeadChannel {
  const { code = 'INTERNAL', message = '', remedy = '' } = error ?? {};
  return { channel, since: since.toISOString(), code, message: `${message}. ${remedy}`, told: false };
}
