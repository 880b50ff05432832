/** What ROS makes of the template with given parameters, as far as the template goes. jq itself runs its scripts. */
import { createRequire } from 'node:module';
import { intrinsic, isMap, type Json, type JsonMap, type Resource, type Template } from './read.ts';

const require = createRequire(import.meta.url);
/** The package is a promise, which an import would await as a module. `json` gives the one result of a script. */
const jq: Promise<{ json(input: unknown, script: string): unknown }> = require('jq-web');

/** Script and input -> result: jq takes its time, and all functions of a stack have the same variables. */
const known = new Map<string, unknown>();

async function jqResults(input: Json, script: string): Promise<unknown> {
  const key = JSON.stringify([script, input]);
  if (!known.has(key)) known.set(key, (await jq).json(input, script));
  return known.get(key);
}

export interface Given {
  /** A CommaDelimitedList as one text, as a person types it. */
  readonly parameters: Readonly<Record<string, string | number>>;
  readonly region: string;
  readonly account: string;
  readonly stackId: string;
  /** Whether Ref gives a Json parameter as the text that was typed, not as its value: the documentation leaves it open. */
  readonly jsonAsText?: boolean;
}

export interface Evaluated {
  /** Those whose condition holds, by their logical id. */
  readonly resources: Readonly<Record<string, { readonly Type: string; readonly Properties: JsonMap }>>;
  readonly outputs: JsonMap;
}

export async function evaluate(template: Template, given: Given): Promise<Evaluated> {
  const values = new Map<string, Json>([
    ['ALIYUN::Region', given.region],
    ['ALIYUN::TenantId', given.account],
    ['ALIYUN::StackId', given.stackId],
  ]);
  for (const [name, { Type, Default }] of Object.entries(template.Parameters)) {
    const value = given.parameters[name] ?? Default;
    if (value === undefined) throw new Error(`${name} has no value`);
    if (Type === 'CommaDelimitedList') values.set(name, String(value).split(','));
    else if (Type === 'Json' && !given.jsonAsText) values.set(name, JSON.parse(String(value)));
    else values.set(name, value);
  }

  function holds(condition: Json): boolean {
    const [name, argument] = intrinsic(condition) ?? [];
    if (name === 'Fn::Not') return !holds(argument ?? null);
    if (name !== 'Fn::Equals' || !Array.isArray(argument)) throw new Error(`a condition of ${String(name)}`);
    const [left, right] = argument.map((side: Json) => {
      const [reference, target] = intrinsic(side) ?? [];
      return reference === 'Ref' ? values.get(String(target)) : side;
    });
    return left === right;
  }

  async function resolve(value: Json): Promise<Json> {
    if (Array.isArray(value)) return Promise.all(value.map(resolve));
    if (!isMap(value)) return value;
    const [name, argument] = intrinsic(value) ?? [];
    if (name === undefined || argument === undefined) return resolveMap(value);
    if (name === 'Ref') return targetOf(String(argument));
    if (name === 'Fn::GetAtt' && Array.isArray(argument)) return targetOf(argument.join('.'));
    if (name === 'Fn::If' && Array.isArray(argument)) {
      const [condition, yes = null, no = null] = argument;
      return resolve(holds(template.Conditions[String(condition)] ?? null) ? yes : no);
    }
    if (name === 'Fn::Sub') {
      const [text, variables] = Array.isArray(argument) ? argument : [argument, {}];
      return substitute(String(text), await resolveMap(isMap(variables) ? variables : {}));
    }
    if (name === 'Fn::Jq' && Array.isArray(argument)) {
      const [method, script, input = null] = argument;
      if (method !== 'First') throw new Error(`Fn::Jq with ${String(method)}`);
      // A list around it: a script may have several results, and the first counts.
      const results = await jqResults(await resolve(input), `[${String(script)}]`);
      return Array.isArray(results) ? results[0] : null;
    }
    throw new Error(`${name} is not evaluated`);
  }

  async function resolveMap(map: JsonMap): Promise<JsonMap> {
    const entries = Object.entries(map).map(async ([key, value]) => [key, await resolve(value)] as const);
    return Object.fromEntries(await Promise.all(entries));
  }

  async function substitute(text: string, variables: JsonMap): Promise<string> {
    let result = text;
    for (const [match, variable = ''] of text.matchAll(/\$\{([^}]*)\}/g)) {
      result = result.replace(match, String(variables[variable] ?? (await targetOf(variable))));
    }
    return result;
  }

  async function targetOf(target: string): Promise<Json> {
    const known = values.get(target);
    if (known !== undefined) return known;
    const [name = '', attribute = ''] = target.split('.');
    const resource = template.Resources[name];
    if (!resource) throw new Error(`${target} leads nowhere`);
    return attributeOf(await resolveMap(resource.Properties), resource, attribute);
  }

  function attributeOf(properties: JsonMap, { Type }: Resource, attribute: string): Json {
    if (Type === 'ALIYUN::RAM::Role' && attribute === 'Arn') {
      return `acs:ram::${given.account}:role/${String(properties['RoleName'])}`;
    }
    if (Type === 'ALIYUN::FC3::Function' && attribute === 'ARN') {
      return `acs:fc:${given.region}:${given.account}:functions/${String(properties['FunctionName'])}`;
    }
    if (attribute === 'UrlInternet') return 'https://status-page.fcapp.run';
    const same = Type === 'ALIYUN::OSS::Bucket' ? properties[`Bucket${attribute}`] : properties[attribute];
    if (same === undefined) throw new Error(`${Type} gives no ${attribute}`);
    return same;
  }

  const resources: Record<string, { Type: string; Properties: JsonMap }> = {};
  for (const [name, { Type, Condition, Properties }] of Object.entries(template.Resources)) {
    if (Condition !== undefined && !holds(template.Conditions[Condition] ?? null)) continue;
    resources[name] = { Type, Properties: await resolveMap(Properties) };
  }
  const outputs = Object.entries(template.Outputs).map(
    async ([name, { Value }]) => [name, await resolve(Value)] as const,
  );
  return { resources, outputs: Object.fromEntries(await Promise.all(outputs)) };
}
