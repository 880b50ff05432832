import { environmentCredentials } from '../aliyun/credentials.ts';
import type { Invocation } from '../invocation.ts';
import { withoutSecrets } from '../redact.ts';
import { isGoodRun } from '../report.ts';
import { run } from '../run.ts';
import { parseArguments, USAGE, type Values } from './arguments.ts';
import { outcomeTable } from './table.ts';

/** Milliseconds that a run from a terminal may take; a person is there to stop it. */
const TIME = 30 * 60_000;
/** A deployment waits for ROS, which gives up after half an hour itself. */
const DEPLOYMENT_TIME = 60 * 60_000;

process.exitCode = await main(process.argv.slice(2));

async function main(args: string[]): Promise<number> {
  const parsed = parseArguments(args);
  if ('usage' in parsed) {
    process.stderr.write(`${parsed.usage}\n\n${USAGE}`);
    return 2;
  }
  const { command, values } = parsed;
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  switch (command) {
    case 'schema': {
      const { configJsonSchema } = await import('./schema.ts');
      process.stdout.write(`${JSON.stringify(configJsonSchema(), null, 2)}\n`);
      return 0;
    }
    case 'invoke': {
      const { invokeFunction } = await import('./invoke.ts');
      return tell(await invokeFunction(values, eventOf(values), fromTerminal(values)));
    }
    case 'notify': {
      const { testChannels } = await import('./notify.ts');
      return tell(await testChannels(fromTerminal(values), values));
    }
    case 'doctor': {
      const { doctor } = await import('./doctor.ts');
      return doctor({ ...stackOptions(values), test: values.test ?? false }, fromTerminal(values));
    }
    case 'deploy': {
      const { deploy } = await import('./deploy.ts');
      const options = {
        ...stackOptions(values),
        codeBucket: values['code-bucket'],
        dryRun: values['dry-run'] ?? false,
      };
      return deploy(options, fromTerminal(values, { time: DEPLOYMENT_TIME }));
    }
    case 'destroy': {
      const { destroy } = await import('./destroy.ts');
      const options = { ...stackOptions(values), yes: values.yes ?? false, ask };
      return destroy(options, fromTerminal(values, { time: DEPLOYMENT_TIME }));
    }
    case 'plan':
    case 'renew': {
      const report = await run(eventOf(values), fromTerminal(values, { plan: command === 'plan' }));
      process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : outcomeTable(report));
      if (report.error?.step === 'config' || report.error?.step === 'event') return 2;
      return isGoodRun(report) ? 0 : 1;
    }
  }
}

function tell({ text, exitCode }: { readonly text: string; readonly exitCode: number }): number {
  process.stdout.write(text);
  return exitCode;
}

function stackOptions({ name = 'autocert', region, parameter = [] }: Values) {
  return {
    name,
    region,
    parameter,
    // What was built beside this file.
    folder: import.meta.dirname,
    print: (text: string) => {
      process.stdout.write(`${withoutSecrets(text)}\n`);
    },
  };
}

async function ask(question: string): Promise<string | undefined> {
  if (!process.stdin.isTTY) return undefined;
  const { createInterface } = await import('node:readline/promises');
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return await terminal.question(question);
  } finally {
    terminal.close();
  }
}

function eventOf({ only, force }: Values): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ ...(only && { only }), force: force ?? false }));
}

function fromTerminal({ verbose, config }: Values, { plan = false, time = TIME } = {}): Invocation {
  const startedAt = new Date();
  return {
    runId: `terminal-${startedAt.toISOString()}`,
    env: config === undefined ? process.env : { ...process.env, AUTOCERT_CONFIG: config },
    region: process.env['ALIBABA_CLOUD_REGION_ID'] || undefined,
    credentials: environmentCredentials(process.env),
    endsAt: new Date(startedAt.getTime() + time),
    now: () => new Date(),
    random: Math.random,
    write: (line) => {
      if (verbose) process.stderr.write(`${line}\n`);
    },
    plan,
    attended: true,
  };
}
