/**
 * `s.yaml`: what the fc3 component of Serverless Devs takes, strictly, and the values that its variables stand for.
 * https://github.com/devsapp/fc3/blob/master/docs/zh/yaml/readme.md and .../yaml/triggers.md
 */
import { readFileSync } from 'node:fs';
import * as v from 'valibot';
import { parse } from 'yaml';

const TEXT = readFileSync(new URL('../../s.yaml', import.meta.url), 'utf8');

/** The component's own schema lets unknown keys pass; these do not. */
const trigger = { triggerName: v.pipe(v.string(), v.regex(/^[A-Za-z_][\w-]{0,127}$/)), description: v.string() };
const Destination = v.strictObject({ destination: v.string() });
const TriggerSchema = v.variant('triggerType', [
  v.strictObject({
    ...trigger,
    triggerType: v.literal('timer'),
    triggerConfig: v.strictObject({ cronExpression: v.string(), enable: v.boolean(), payload: v.string() }),
  }),
  v.strictObject({
    ...trigger,
    triggerType: v.literal('http'),
    triggerConfig: v.strictObject({
      authType: v.picklist(['anonymous', 'function']),
      methods: v.array(v.picklist(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'])),
      disableURLInternet: v.boolean(),
    }),
  }),
  v.strictObject({
    ...trigger,
    triggerType: v.literal('eventbridge'),
    triggerConfig: v.strictObject({
      triggerEnable: v.boolean(),
      asyncInvocationType: v.boolean(),
      eventRuleFilterPattern: v.string(),
      eventSourceConfig: v.strictObject({ eventSourceType: v.picklist(['Default', 'MNS', 'RocketMQ', 'RabbitMQ']) }),
    }),
  }),
  v.strictObject({
    ...trigger,
    triggerType: v.literal('oss'),
    invocationRole: v.pipe(v.string(), v.regex(/^acs:ram::/)),
    sourceArn: v.pipe(v.string(), v.regex(/^acs:oss:/)),
    triggerConfig: v.strictObject({
      events: v.array(
        v.picklist([
          'oss:ObjectCreated:PutObject',
          'oss:ObjectCreated:PostObject',
          'oss:ObjectCreated:CopyObject',
          'oss:ObjectCreated:CompleteMultipartUpload',
        ]),
      ),
      filter: v.strictObject({ key: v.strictObject({ prefix: v.string(), suffix: v.string() }) }),
    }),
  }),
]);

const PropsSchema = v.strictObject({
  region: v.string(),
  functionName: v.pipe(v.string(), v.maxLength(64)),
  description: v.pipe(v.string(), v.maxLength(256)),
  runtime: v.literal('nodejs20'),
  handler: v.string(),
  code: v.string(),
  cpu: v.pipe(v.number(), v.minValue(0.05), v.maxValue(16)),
  memorySize: v.pipe(v.number(), v.minValue(128), v.maxValue(32_768), v.multipleOf(64)),
  diskSize: v.picklist([512, 10_240]),
  timeout: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(86_400)),
  role: v.pipe(v.string(), v.regex(/^acs:ram::/)),
  environmentVariables: v.record(v.pipe(v.string(), v.regex(/^(?!FC_)[A-Za-z]\w*$/)), v.string()),
  logConfig: v.strictObject({
    project: v.string(),
    logstore: v.string(),
    enableRequestMetrics: v.boolean(),
    enableInstanceMetrics: v.boolean(),
  }),
  concurrencyConfig: v.optional(v.strictObject({ reservedConcurrency: v.pipe(v.number(), v.integer()) })),
  asyncInvokeConfig: v.optional(
    v.strictObject({
      maxAsyncRetryAttempts: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(8)),
      maxAsyncEventAgeInSeconds: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(604_800)),
      destinationConfig: v.optional(v.strictObject({ onFailure: Destination, onSuccess: v.optional(Destination) })),
    }),
  ),
  triggers: v.optional(v.array(TriggerSchema)),
});

const FileSchema = v.strictObject({
  edition: v.literal('3.0.0'),
  name: v.string(),
  access: v.string(),
  vars: v.record(v.string(), v.string()),
  resources: v.record(v.string(), v.strictObject({ component: v.literal('fc3'), props: PropsSchema })),
});

export type ServerlessDevs = v.InferOutput<typeof FileSchema>;

/** A fresh copy as plain data, not checked. */
export function readServerlessDevs(): Record<string, unknown> {
  return parse(TEXT, { strict: true, uniqueKeys: true });
}

/** What the component would not take, one line a finding: the place and the reason. */
export function findingsIn(file: unknown): string[] {
  const { issues = [] } = v.safeParse(FileSchema, file);
  return issues.map((issue) => `${v.getDotPath(issue) ?? ''}: ${issue.message}`);
}

/**
 * The file with its variables replaced as Serverless Devs does: `vars`, the environment, the account's id.
 * Throws for a variable that leads nowhere.
 * https://github.com/Serverless-Devs/Serverless-Devs/blob/master/docs/zh/variables.md
 */
export function resolved(environment: Readonly<Record<string, string>>, accountId: string): ServerlessDevs {
  const { vars, ...rest } = v.parse(FileSchema, readServerlessDevs());
  const values = Object.fromEntries(Object.entries(vars).map(([name, value]) => [name, replaced(value, {})]));

  function replaced(text: string, known: Readonly<Record<string, string>>): string {
    return text.replace(/\$\{([^}]*)\}/g, (_, expression: string) => {
      if (expression === "config('AccountID')") return accountId;
      const variable = /^vars\.(\w+)$/.exec(expression)?.[1];
      const [, name, fallback] = /^env\('(\w+)'(?:, '([^']*)')?\)$/.exec(expression) ?? [];
      const value = variable === undefined ? (environment[name ?? ''] ?? fallback) : known[variable];
      if (value === undefined) throw new Error(`${expression} leads nowhere`);
      return value;
    });
  }

  const walk = (value: unknown): unknown => {
    if (typeof value === 'string') return replaced(value, values);
    if (Array.isArray(value)) return value.map(walk);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, walk(inner)]));
  };
  return v.parse(FileSchema, { ...Object(walk(rest)), vars: values });
}
