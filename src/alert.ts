import { parseNotifying } from './config/notify.ts';
import { parseDestination } from './destination.ts';
import { AutocertError } from './errors.ts';
import { configText, createDeps, credentialsOf, type Invocation, inMargin, secretsOf } from './invocation.ts';
import type { Delivery } from './notify/deliver.ts';

/** Where the log of this function, and of its neighbours, goes, as FC's context says it. */
export interface LogPlace {
  readonly logProject?: string | undefined;
  readonly logStore?: string | undefined;
}

export interface AlertResult {
  /** Channels that took the message; empty when the run itself had told people. */
  readonly sent: readonly string[];
  readonly failed: readonly string[];
}

/**
 * Tells people that an invocation failed for good. It shares no state with the run that failed and needs no more of the
 * configuration than whom to tell; what is wrong with the rest may be why it was called. A run that ended with an error
 * and told people itself is not told again. Throws when no channel took the message, so that FC counts a failure here too.
 */
export async function alert(
  event: Uint8Array,
  invocation: Invocation,
  { logProject, logStore }: LogPlace,
): Promise<AlertResult> {
  const startedAt = invocation.now();
  const secrets = secretsOf(invocation);
  const deps = inMargin(createDeps(invocation, startedAt, secrets), invocation);
  const open: { close(): void }[] = [];
  try {
    const destination = parseDestination(event);
    const crash = { ...destination.crash, logProject: logProject || undefined, logStore: logStore || undefined };
    deps.log.error('invocation_failed', { ...crash, told: destination.told });
    if (destination.told) return { sent: [], failed: [] };
    const config = await parseNotifying(await configText(invocation, deps, open), invocation);
    for (const { url, secret } of config.notify) secrets.push(...[url, secret].filter((value) => value !== undefined));
    const { openChannels } = await import('./notify/deliver.ts');
    const { crashMessage } = await import('./notify/crash.ts');
    const channels = openChannels({ config, credentials: async () => credentialsOf(invocation), secrets, deps });
    open.push(channels);
    const now = invocation.now();
    const deliveries = await channels.send((language) => crashMessage(crash, language, invocation.runId, now));
    return resultOf(deliveries);
  } finally {
    for (const connection of open) connection.close();
  }
}

function resultOf(deliveries: readonly Delivery[]): AlertResult {
  const sent = deliveries.filter(({ error }) => !error).map(({ channel }) => channel);
  const failed = deliveries.filter(({ error }) => error);
  if (sent.length > 0) return { sent, failed: failed.map(({ channel }) => channel) };
  const [first] = failed;
  if (first?.error) throw first.error;
  throw new AutocertError({
    code: 'CONFIG_INVALID',
    message: 'An invocation failed, and `notify` names no channel to tell anybody of it.',
    retryable: false,
    remedy: 'Add a channel to `notify` in the configuration of this function.',
  });
}
