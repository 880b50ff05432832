/** RAM policies, decided as RAM decides them: https://www.alibabacloud.com/help/en/ram/user-guide/policy-evaluation-process */
import type { Evaluated } from './evaluate.ts';
import { isMap, type Json } from './read.ts';

export interface Statement {
  readonly actions: readonly string[];
  readonly resources: readonly string[];
  /** Of `oss:Prefix`; undefined without a condition. */
  readonly prefixes: readonly string[] | undefined;
}

/** What a role may do: its own policies and those that are attached to it. */
export function statementsOf(role: string, { resources }: Evaluated): Statement[] {
  const roleProperties = resources[role]?.Properties;
  if (!roleProperties) throw new Error(`no role ${role}`);
  const own = list(roleProperties['Policies']).map((policy) => field(policy, 'PolicyDocument'));
  const attached = Object.values(resources)
    .filter(
      ({ Type, Properties }) =>
        Type === 'ALIYUN::RAM::ManagedPolicy' && list(Properties['Roles']).includes(roleProperties['RoleName'] ?? null),
    )
    .map(({ Properties }) => Properties['PolicyDocument'] ?? null);
  return [...own, ...attached].flatMap((document) => list(field(document, 'Statement'))).map(toStatement);
}

function toStatement(statement: Json): Statement {
  if (field(statement, 'Effect') !== 'Allow') throw new Error('a statement that does not allow');
  const condition = isMap(statement) ? statement['Condition'] : undefined;
  if (condition !== undefined && JSON.stringify(Object.keys(Object(condition))) !== '["StringLike"]')
    throw new Error('a condition that is not known');
  return {
    actions: list(field(statement, 'Action')).map(String),
    resources: list(field(statement, 'Resource')).map(String),
    prefixes:
      condition === undefined ? undefined : list(field(field(condition, 'StringLike'), 'oss:Prefix')).map(String),
  };
}

export function actionsOf(statements: readonly Statement[]): string[] {
  return [...new Set(statements.flatMap(({ actions }) => actions))].sort();
}

/** `prefix`: what a listing of OSS asks for. */
export function allows(statements: readonly Statement[], action: string, resource: string, prefix = ''): boolean {
  return statements.some(
    ({ actions, resources, prefixes }) =>
      actions.includes(action) &&
      resources.some((pattern) => matches(pattern, resource)) &&
      (prefixes === undefined || prefixes.some((pattern) => matches(pattern, prefix))),
  );
}

/** `*` stands for any characters. */
function matches(pattern: string, text: string): boolean {
  const parts = pattern.split('*').map((part) => part.replace(/[.\\+?^${}()|[\]]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`).test(text);
}

function list(value: Json | undefined): readonly Json[] {
  if (!Array.isArray(value)) throw new Error(`not a list: ${JSON.stringify(value)}`);
  return value;
}

function field(value: Json, name: string): Json {
  const found = isMap(value) ? value[name] : undefined;
  if (found === undefined) throw new Error(`no ${name} in ${JSON.stringify(value)}`);
  return found;
}
