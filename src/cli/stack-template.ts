import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { parse } from 'yaml';
import { isRecord } from '../aliyun/answer.ts';
import { AutocertError } from '../errors.ts';

const parameter = v.object({
  Type: v.string(),
  Default: v.optional(v.union([v.string(), v.number()])),
  Description: v.object({ en: v.string() }),
  ConstraintDescription: v.optional(v.object({ en: v.string() })),
  NoEcho: v.optional(v.boolean(), false),
  AllowedValues: v.optional(v.array(v.union([v.string(), v.number()]))),
  MinValue: v.optional(v.number()),
  MaxValue: v.optional(v.number()),
});
export type TemplateParameter = v.InferOutput<typeof parameter>;

const template = v.object({
  Parameters: v.record(v.string(), parameter),
  Resources: v.record(v.string(), v.object({ Properties: v.record(v.string(), v.unknown()) })),
  Outputs: v.record(v.string(), v.object({ Value: v.unknown() })),
});

/** What the parameter Name takes. It is in the names of buckets, which are asked for before the stack is. */
export const STACK_NAME = /^[a-z][a-z0-9-]{1,18}[a-z0-9]$/;

/** Where a stack stands: what the names of its resources are made of. */
export interface StackPlace {
  readonly name: string;
  readonly account: string;
  readonly region: string;
}

export interface StackTemplate {
  /** YAML, as ROS takes it. */
  readonly text: string;
  readonly parameters: ReadonlyMap<string, TemplateParameter>;
  /** Environment variables of the functions: the parameter that each has its value from. */
  readonly variables: ReadonlyMap<string, string>;
  /** An output that is known before the stack is: `oss://autocert-1234567890123456-cn-hangzhou/config.yaml`. */
  url(output: 'ConfigUrl' | 'StoreUrl', place: StackPlace): string;
}

/** `template.yml` of the folder that the command line was built into. Throws CONFIG_INVALID when it was not. */
export async function readStackTemplate(folder: string): Promise<StackTemplate> {
  const text = await readBuilt(folder, 'template.yml').then((bytes) => bytes.toString());
  const { Parameters, Resources, Outputs } = v.parse(template, parse(text));
  const variables = new Map<string, string>();
  collectVariables(Resources['RenewFunction']?.Properties['EnvironmentVariables'], variables);
  return {
    text,
    parameters: new Map(Object.entries(Parameters)),
    variables,
    url(output, { name, account, region }) {
      const value = Outputs[output]?.Value;
      const given = isRecord(value) ? String(value['Fn::Sub']) : '';
      return given
        .replaceAll('${Name}', name)
        .replaceAll('${ALIYUN::TenantId}', account)
        .replaceAll('${ALIYUN::Region}', region);
    },
  };
}

/** A file of the folder that the command line was built into. */
export async function readBuilt(folder: string, file: string): Promise<Buffer> {
  try {
    return await readFile(join(folder, file));
  } catch (cause) {
    throw new AutocertError({
      code: 'CONFIG_INVALID',
      message: `${join(folder, file)} cannot be read.`,
      retryable: false,
      remedy: 'Run `npm run build` first, or `npm run deploy`, which does both.',
      cause,
    });
  }
}

/** `NAME: {Ref: Parameter}`, however deep: a function may merge the variables from several maps. */
function collectVariables(value: unknown, variables: Map<string, string>): void {
  if (Array.isArray(value)) for (const entry of value) collectVariables(entry, variables);
  if (!isRecord(value)) return;
  for (const [name, entry] of Object.entries(value)) {
    const reference = isRecord(entry) ? entry['Ref'] : undefined;
    if (typeof reference === 'string' && /^[A-Z][A-Z0-9_]*$/.test(name)) variables.set(name, reference);
    else collectVariables(entry, variables);
  }
}
