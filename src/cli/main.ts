import { parseArgs } from 'node:util';
import { environmentCredentials } from '../aliyun/credentials.ts';
import type { Invocation } from '../invocation.ts';
import { isGoodRun } from '../report.ts';
import { run } from '../run.ts';
import { outcomeTable } from './table.ts';

const USAGE = `autocert: certificates for Alibaba Cloud CDN, from a terminal

  autocert plan   [--only NAME]... [--json]            what would be done, and why; changes nothing
  autocert renew  [--only NAME]... [--force] [--json]  what the timer does
  autocert notify --test                               one test message to each channel of the configuration
  autocert invoke --account ID --region REGION --function NAME [--service NAME] [--only NAME]... [--force] [--json]
                                                       the deployed function, now; a service is one of FC 2.0
  autocert schema                                      the JSON Schema of the configuration

NAME is a certificate's name or a domain. The configuration is AUTOCERT_CONFIG: the text itself, a path,
file:///... or oss://bucket/key. Credentials are ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and
ALIBABA_CLOUD_SECURITY_TOKEN. The log goes to standard error with --verbose.

Exit: 0 all good, 1 something failed, 2 usage or configuration.
`;

/** Milliseconds that a run from a terminal may take; a person is there to stop it. */
const TIME = 30 * 60_000;

process.exitCode = await main(process.argv.slice(2));

async function main(args: string[]): Promise<number> {
  const parsed = parse(args);
  if ('usage' in parsed) {
    process.stderr.write(`${parsed.usage}\n\n${USAGE}`);
    return 2;
  }
  const { command, values } = parsed;
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  if (command === 'schema') {
    const { configJsonSchema } = await import('./schema.ts');
    process.stdout.write(`${JSON.stringify(configJsonSchema(), null, 2)}\n`);
    return 0;
  }
  if (command === 'invoke') {
    const { invokeFunction } = await import('./invoke.ts');
    const { text, exitCode } = await invokeFunction(values, eventOf(values), fromTerminal(values, false));
    process.stdout.write(text);
    return exitCode;
  }
  const invocation = fromTerminal(values, command === 'plan');
  if (command === 'notify') {
    const { testChannels } = await import('./notify.ts');
    const { text, exitCode } = await testChannels(invocation, values);
    process.stdout.write(text);
    return exitCode;
  }
  const report = await run(eventOf(values), invocation);
  process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : outcomeTable(report));
  if (report.error?.step === 'config' || report.error?.step === 'event') return 2;
  return isGoodRun(report) ? 0 : 1;
}

interface Values {
  readonly only?: string[];
  readonly force?: boolean;
  readonly json?: boolean;
  readonly verbose?: boolean;
  readonly help?: boolean;
  readonly test?: boolean;
  readonly account?: string;
  readonly region?: string;
  readonly function?: string;
  readonly service?: string;
}

type Parsed =
  | { readonly usage: string }
  | { readonly command: 'plan' | 'renew' | 'invoke' | 'notify' | 'schema'; readonly values: Values };

function parse(args: string[]): Parsed {
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        only: { type: 'string', multiple: true },
        force: { type: 'boolean' },
        json: { type: 'boolean' },
        verbose: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
        test: { type: 'boolean' },
        account: { type: 'string' },
        region: { type: 'string' },
        function: { type: 'string' },
        service: { type: 'string' },
      },
    });
    const [command = values.help ? 'plan' : '', ...rest] = positionals;
    if (rest.length > 0) return { usage: `autocert: ${rest.join(' ')} is not understood` };
    if (command === 'notify' && !values.test && !values.help)
      return { usage: 'autocert: notify sends nothing but tests: give --test' };
    if (values.test && command !== 'notify') return { usage: 'autocert: --test belongs to notify' };
    if (isCommand(command)) return { command, values };
    return { usage: command === '' ? 'autocert: a command is missing' : `autocert: there is no command ${command}` };
  } catch (thrown) {
    return { usage: `autocert: ${thrown instanceof Error ? thrown.message : 'the options are not understood'}` };
  }
}

function isCommand(word: string): word is 'plan' | 'renew' | 'invoke' | 'notify' | 'schema' {
  return ['plan', 'renew', 'invoke', 'notify', 'schema'].includes(word);
}

function eventOf({ only, force }: Values): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ ...(only && { only }), force: force ?? false }));
}

function fromTerminal({ verbose }: Values, plan: boolean): Invocation {
  const startedAt = new Date();
  return {
    runId: `terminal-${startedAt.toISOString()}`,
    env: process.env,
    region: process.env['ALIBABA_CLOUD_REGION_ID'],
    credentials: environmentCredentials(process.env),
    endsAt: new Date(startedAt.getTime() + TIME),
    now: () => new Date(),
    random: Math.random,
    write: (line) => {
      if (verbose) process.stderr.write(`${line}\n`);
    },
    plan,
    attended: true,
  };
}
