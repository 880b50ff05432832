import * as v from 'valibot';
import type { Channel, Config, NotifyConfig } from '../config.ts';
import { readJson } from './json.ts';
import { ConfigSchema, type ParsedConfig } from './schema.ts';
import type { Environment } from './variables.ts';

/** What it takes to tell people something. */
export type NotifyingConfig = Pick<Config, 'notify' | 'region'> & {
  readonly renewal: Pick<Config['renewal'], 'interval'>;
  readonly endpoints: Pick<Config['endpoints'], 'cdn'>;
};

/** Channels whose readers mostly read Chinese. */
const CHINESE: ReadonlySet<Channel> = new Set<Channel>(['dingtalk', 'feishu', 'wecom']);

export function toNotify(entry: ParsedConfig['notify'][number]): NotifyConfig {
  return {
    channel: entry.channel,
    url: entry.url,
    secret: entry.secret,
    language: entry.language ?? (CHINESE.has(entry.channel) ? 'zh' : 'en'),
    template: entry.template,
    chatId: entry.chatId,
    from: entry.from,
    to: entry.to ?? [],
  };
}

/**
 * The parts that say whom to tell, out of a configuration that may be wrong everywhere else: a mistake in it must not be
 * what keeps people from hearing of the mistake. A part that is wrong itself is its default; of `notify`, each entry
 * stands for itself.
 */
export async function parseNotifying(
  text: string,
  options: { readonly env: Environment; readonly region?: string | undefined },
): Promise<NotifyingConfig> {
  const plain = readJson(text, options.env);
  const value = plain ?? (await import('./text.ts')).readTree(text, options.env).value;
  const tree: Readonly<Record<string, unknown>> = typeof value === 'object' && value !== null ? { ...value } : {};
  const { notify, endpoints, renewal, region } = ConfigSchema.entries;
  const entries = Array.isArray(tree['notify']) ? tree['notify'] : [];
  const regionRead = v.safeParse(region, tree['region']);
  return {
    notify: entries.flatMap((entry) => {
      const read = v.safeParse(notify, [entry]);
      return read.success ? read.output.map(toNotify) : [];
    }),
    endpoints: readOr(endpoints, tree['endpoints'], {}),
    renewal: readOr(renewal, tree['renewal'], {}),
    region: (regionRead.success ? regionRead.output : undefined) ?? options.region,
  };
}

function readOr<const S extends v.GenericSchema>(
  schema: S,
  value: unknown,
  otherwise: v.InferInput<S>,
): v.InferOutput<S> {
  const read = v.safeParse(schema, value);
  return read.success ? read.output : v.parse(schema, otherwise);
}
