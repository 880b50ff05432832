import { readTree } from '../config/text.ts';
import type { Config } from '../config.ts';
import { Secret } from '../secret.ts';
import { type Finding, problem } from './finding.ts';
import type { StackTemplate, TemplateParameter } from './stack-template.ts';

type Environment = Readonly<Record<string, string | undefined>>;
/** Values by the name of the template's parameter. Those with NoEcho are secrets. */
export type StackParameters = Readonly<Record<string, string | Secret>>;

export interface Derivation {
  readonly config: Config;
  /** The configuration's text: what it asks of the environment is passed on. */
  readonly text: string;
  readonly env: Environment;
  readonly template: StackTemplate;
  /** Of the stack. */
  readonly name: string;
  /** Zones in which the challenge records of today's certificates are made. */
  readonly zones: readonly string[];
  /** `Name=value` each, from the command line: what no key of the configuration determines. */
  readonly given: readonly string[];
}

/** The policy has room for so many domains. */
const MOST_DOMAINS = 60;
const HOUR = 3_600_000;
/** No zone has this name (RFC 2606): with http-01 no record is made, and the parameter wants a value. */
const NO_ZONE = 'none.invalid';
/** What is worked out, and would contradict the configuration otherwise. */
const DERIVED = new Set(['Name', 'CdnDomains', 'DnsZones', 'ChallengeBucket', 'RenewalIntervalHours', 'KmsKeyId']);
/** Function Compute takes no more, names and values together. */
const MOST_BYTES = 4096;

export interface Derived {
  /** Those that the template takes; all of them when there is no problem. */
  readonly parameters: StackParameters;
  readonly problems: readonly Finding[];
}

/** The template's parameters as the configuration wants them, and what keeps them from being right. Pure. */
export function stackParameters(derivation: Derivation): Derived {
  const { config, template, name, zones, given } = derivation;
  const { challenge, encryption, notify, renewal } = config;
  const byHand = readGiven(given);
  const fromEnvironment = variables(derivation);
  const channels = new Set(notify.map(({ channel }) => channel));
  const derived: StackParameters = {
    Name: name,
    CdnDomains: cdnDomains(config).join(','),
    DnsZones: (zones.length > 0 ? zones : [NO_ZONE]).join(','),
    ...(challenge.type === 'http-01' && { ChallengeBucket: challenge.bucket }),
    ...(encryption && 'kmsKeyId' in encryption && { KmsKeyId: encryption.kmsKeyId }),
    RenewalIntervalHours: String(renewal.interval / HOUR),
    CloudMonitor: String(channels.has('cloudmonitor')),
    DirectMail: String(channels.has('directmail')),
    ...fromEnvironment.parameters,
  };
  const checked = Object.entries({ ...derived, ...byHand.parameters }).map(([key, value]) => ({
    entry: [key, value] as const,
    problems: check(key, value, template.parameters.get(key)),
  }));
  return {
    parameters: Object.fromEntries(checked.filter(({ problems }) => problems.length === 0).map(({ entry }) => entry)),
    problems: [...byHand.problems, ...fromEnvironment.problems, ...checked.flatMap(({ problems }) => problems)],
  };
}

/** Discovery is for domains that are not there yet, so it may set the certificate of any. */
function cdnDomains({ discover, certificates }: Config): string[] {
  const named = certificates.flatMap(({ targets }) => targets.flatMap(({ domains }) => domains));
  const patterns = discover?.include ?? [];
  const domains = [...new Set([...named, ...patterns])];
  const isOpen = patterns.some((pattern) => pattern.includes('*')) || domains.length > MOST_DOMAINS;
  return isOpen ? ['*'] : domains;
}

/** What `${NAME}` in the configuration stands for reaches the functions as parameters. */
function variables({ text, env, template }: Derivation): Derived {
  const parameters: Record<string, Secret> = {};
  const more: Record<string, string> = {};
  const problems: Finding[] = [];
  for (const name of readTree(text, env).variables) {
    const value = env[name] ?? '';
    const parameter = template.variables.get(name);
    if (parameter !== undefined) parameters[parameter] = new Secret(value);
    else if (/^(FC_|ALIBABA_CLOUD_)/.test(name)) {
      const others = [...template.variables.keys()].join(', ');
      problems.push(
        problem(
          `the configuration names \${${name}}, which Function Compute reserves`,
          `Use another variable in the configuration: ${others}, or a name that does not begin so.`,
        ),
      );
    } else more[name] = value;
  }
  const names = Object.keys(more);
  if (names.length === 0) return { parameters, problems };
  if (!template.parameters.has('Environment')) {
    const remedy = `Use one of ${[...template.variables.keys()].join(', ')} in the configuration.`;
    return {
      parameters,
      problems: [...problems, problem(`no function gets the variable ${names.join(', ')}`, remedy)],
    };
  }
  const json = JSON.stringify(more);
  if (Buffer.byteLength(json) > MOST_BYTES) {
    problems.push(
      problem(
        `the variables ${names.join(', ')} have more than ${MOST_BYTES} bytes`,
        'Give fewer or shorter variables: Function Compute takes 4 KB.',
      ),
    );
  }
  return { parameters: { ...parameters, Environment: new Secret(json) }, problems };
}

function readGiven(given: readonly string[]): Derived {
  const parameters: Record<string, string> = {};
  const problems: Finding[] = [];
  for (const pair of given) {
    const at = pair.indexOf('=');
    const key = at < 0 ? pair : pair.slice(0, at);
    if (at <= 0) problems.push(problem(`--parameter ${key} has no value`, 'Write --parameter Name=value.'));
    else if (DERIVED.has(key)) {
      problems.push(
        problem(`--parameter ${key} is worked out from the configuration`, 'Change the configuration instead.'),
      );
    } else parameters[key] = pair.slice(at + 1);
  }
  return { parameters, problems };
}

/** What ROS would refuse but for patterns, before anything is sent. A secret's value is never shown. */
function check(key: string, value: string | Secret, parameter: TemplateParameter | undefined): Finding[] {
  if (parameter === undefined) {
    return [problem(`the template has no parameter ${key}`, 'Look at the parameters of template.yml.')];
  }
  const { AllowedValues, MinValue, MaxValue, Description, ConstraintDescription } = parameter;
  const text = value instanceof Secret ? value.reveal() : value;
  const isNumber = parameter.Type === 'Number';
  const fits =
    (AllowedValues === undefined || AllowedValues.map(String).includes(text)) &&
    (!isNumber || (Number.isFinite(Number(text)) && text.trim() !== '')) &&
    (MinValue === undefined || Number(text) >= MinValue) &&
    (MaxValue === undefined || Number(text) <= MaxValue);
  if (fits) return [];
  const shown = value instanceof Secret || parameter.NoEcho ? 'its value' : JSON.stringify(text);
  if (key === 'RenewalIntervalHours') {
    const hours = (AllowedValues ?? []).map((allowed) => `${allowed}h`).join(', ');
    const remedy = `Set renewal.interval to one of ${hours}.`;
    return [problem('no timer of Function Compute has the interval of renewal.interval', remedy)];
  }
  const allowed = AllowedValues === undefined ? '' : ` Allowed: ${AllowedValues.join(', ')}.`;
  return [
    problem(`the parameter ${key} cannot be ${shown}`, `${ConstraintDescription?.en ?? Description.en}${allowed}`),
  ];
}
