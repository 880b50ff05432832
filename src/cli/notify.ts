import { configSecrets, loadConfig } from '../config.ts';
import { toAutocertError } from '../errors.ts';
import { createDeps, credentialsOf, type Invocation, inMargin, loadOptions, secretsOf } from '../invocation.ts';
import { type Delivery, openChannels } from '../notify/deliver.ts';
import { testMessage } from '../notify/wording.ts';

/** Sends one test message to every channel, and says which took it. Exit code 0 all did, 1 one did not, 2 configuration. */
export async function testChannels(
  invocation: Invocation,
  { json = false }: { readonly json?: boolean },
): Promise<{ readonly text: string; readonly exitCode: number }> {
  const { runId, now } = invocation;
  const secrets = secretsOf(invocation);
  const deps = inMargin(createDeps(invocation, now(), secrets), invocation);
  const open: { close(): void }[] = [];
  try {
    const config = await loadConfig(invocation.env['AUTOCERT_CONFIG'] ?? '', loadOptions(invocation, deps, open));
    if (config.notify.length === 0) return { text: '`notify` in the configuration names no channel.\n', exitCode: 2 };
    secrets.push(...configSecrets(config));
    const channels = openChannels({ config, credentials: async () => credentialsOf(invocation), secrets, deps });
    open.push(channels);
    const sentAt = now();
    const deliveries = await channels.send((language) => testMessage({ language, runId, now: sentAt }));
    const exitCode = deliveries.some(({ error }) => error) ? 1 : 0;
    return { text: json ? `${JSON.stringify(deliveries.map(asJson))}\n` : table(deliveries), exitCode };
  } catch (thrown) {
    const { code, message, remedy } = toAutocertError(thrown);
    return {
      text: json ? `${JSON.stringify({ error: { code, message, remedy } })}\n` : `${code}: ${message}\n  ${remedy}\n`,
      exitCode: 2,
    };
  } finally {
    for (const connection of open) connection.close();
  }
}

function asJson({ channel, error }: Delivery): object {
  return error
    ? { channel, sent: false, error: { code: error.code, message: error.message, remedy: error.remedy } }
    : { channel, sent: true };
}

function table(deliveries: readonly Delivery[]): string {
  const width = Math.max(...deliveries.map(({ channel }) => channel.length));
  const lines = deliveries.flatMap(({ channel, error }) => {
    const name = channel.padEnd(width);
    return error ? [`${name}  failed  ${error.code}: ${error.message}`, `  ${error.remedy}`] : [`${name}  sent`];
  });
  return `${lines.join('\n')}\n`;
}
