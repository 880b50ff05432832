import { parseArgs } from 'node:util';

export const USAGE = `autocert: certificates for Alibaba Cloud CDN, from a terminal

  autocert plan   [--only NAME]... [--json]            what would be done, and why; changes nothing
  autocert renew  [--only NAME]... [--force] [--json]  what the timer does
  autocert doctor [--test]                             looks at the account, the domains and the DNS; changes nothing
  autocert deploy [--dry-run] [--code-bucket BUCKET]   the functions to the account, or up to date, by ROS
  autocert destroy [--yes]                             deletes them again; keys and certificates stay
  autocert notify --test                               one test message to each channel of the configuration
  autocert invoke --account ID --region REGION --function NAME [--service NAME] [--only NAME]... [--force] [--json]
                                                       the deployed function, now; a service is one of FC 2.0
  autocert schema                                      the JSON Schema of the configuration

doctor, deploy and destroy take --region REGION and --name STACK (autocert); doctor and deploy --parameter NAME=VALUE
for what the configuration does not determine in template.yml, such as LogRetentionDays=30.

NAME is a certificate's name or a domain. The configuration is --config, or AUTOCERT_CONFIG: the text itself, a path,
file:///... or oss://bucket/key. Credentials are ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and
ALIBABA_CLOUD_SECURITY_TOKEN. The log goes to standard error with --verbose.

Exit: 0 all good, 1 something failed, 2 usage or configuration.
`;

const COMMANDS = ['plan', 'renew', 'invoke', 'notify', 'schema', 'doctor', 'deploy', 'destroy'] as const;
type Command = (typeof COMMANDS)[number];

export interface Values {
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
  readonly config?: string;
  readonly name?: string;
  readonly parameter?: string[];
  readonly 'code-bucket'?: string;
  readonly 'dry-run'?: boolean;
  readonly yes?: boolean;
}

/** Options that would change what is done, where they do not belong: they are refused, not passed over. */
const BELONGS: readonly (readonly [keyof Values, readonly Command[]])[] = [
  ['test', ['notify', 'doctor']],
  ['dry-run', ['deploy']],
  ['yes', ['destroy']],
  ['code-bucket', ['deploy']],
  ['parameter', ['deploy', 'doctor']],
  ['name', ['deploy', 'doctor', 'destroy']],
];

export type Parsed = { readonly usage: string } | { readonly command: Command; readonly values: Values };

/** The arguments as a command and its options, or what is wrong with them. */
export function parseArguments(args: string[]): Parsed {
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
        config: { type: 'string' },
        name: { type: 'string' },
        parameter: { type: 'string', multiple: true },
        'code-bucket': { type: 'string' },
        'dry-run': { type: 'boolean' },
        yes: { type: 'boolean' },
      },
    });
    const [command = values.help ? 'plan' : '', ...rest] = positionals;
    if (rest.length > 0) return { usage: `autocert: ${rest.join(' ')} is not understood` };
    if (command === 'notify' && !values.test && !values.help)
      return { usage: 'autocert: notify sends nothing but tests: give --test' };
    if (!isCommand(command)) {
      return { usage: command === '' ? 'autocert: a command is missing' : `autocert: there is no command ${command}` };
    }
    for (const [option, commands] of BELONGS) {
      if (values[option] === undefined || commands.includes(command) || values.help) continue;
      return { usage: `autocert: --${option} belongs to ${commands.join(' and ')}` };
    }
    return { command, values };
  } catch (thrown) {
    return { usage: `autocert: ${thrown instanceof Error ? thrown.message : 'the options are not understood'}` };
  }
}

function isCommand(word: string): word is Command {
  return COMMANDS.some((command) => command === word);
}
