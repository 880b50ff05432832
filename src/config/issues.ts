import { closest, distance } from 'fastest-levenshtein';
import type * as v from 'valibot';
import {
  CONFIG_PROBLEM_CODES,
  type ConfigProblem,
  type ConfigProblemCode,
  describe,
  MAX_PROBLEMS,
  type Path,
  pathText,
  quote,
} from './problem.ts';
import type { Tree } from './text.ts';

type Described = Omit<ConfigProblem, 'path' | 'line' | 'found'> & { readonly found?: string | undefined };

/** A problem at its place: what is there and on which line. */
export function place(problem: Described, path: Path, tree: Tree): ConfigProblem {
  const text = pathText(path);
  const found = problem.found ?? describe(valueAt(tree.value, path), path, tree.fromEnvironment.has(text));
  return { ...problem, found, path: text, line: tree.lineOf(path) };
}

export function valueAt(value: unknown, path: Path): unknown {
  let found = value;
  for (const part of path) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, part)) return undefined;
    found = Reflect.get(found, part);
  }
  return found;
}

/** An issue of the schema as problems of the configuration. */
export function toProblems(issue: v.BaseIssue<unknown>, tree: Tree): ConfigProblem[] {
  const path = (issue.path ?? []).map(({ key }) => (typeof key === 'number' ? key : String(key)));
  if (issue.type !== 'strict_object' || issue.expected !== 'never') return [toProblem(issue, path, tree)];
  // valibot names the first unknown key of a map only.
  const [map, known] = [valueAt(tree.value, path.slice(0, -1)), issue.message.split(', ')];
  if (Array.isArray(map)) return [place({ code: 'TYPE_WRONG', allowed: 'a map' }, path.slice(0, -1), tree)];
  const unknown = Object.keys(Object(map))
    .filter((key) => !known.includes(key))
    .slice(0, MAX_PROBLEMS);
  return unknown.map((key) => unknownKey(known, [...path.slice(0, -1), key], tree));
}

function toProblem(issue: v.BaseIssue<unknown>, path: Path, tree: Tree): ConfigProblem {
  const expected = (issue.expected ?? '')
    .replaceAll('"', '')
    .replaceAll(' | ', ', ')
    .replace(/^\((.*)\)$/, 'one of $1');
  if (issue.type === 'raw_transform') {
    const isLength = issue.message === 'KEY_LENGTH';
    return place(
      { code: codeOf(issue.message), allowed: expected, found: isLength ? issue.received : undefined },
      path,
      tree,
    );
  }
  if (issue.type === 'strict_object' && issue.received === 'undefined' && path.length > 0) {
    return place({ code: 'KEY_MISSING', allowed: 'a value: this key has no default' }, path, tree);
  }
  if (issue.type === 'picklist' || issue.type === 'literal')
    return place({ code: 'VALUE_NOT_ALLOWED', allowed: expected }, path, tree);
  if (issue.type === 'min_value' || issue.type === 'max_value') {
    return place({ code: 'NUMBER_OUT_OF_RANGE', allowed: `a number ${expected}` }, path, tree);
  }
  if (issue.type === 'max_length')
    return place({ code: 'VALUE_NOT_ALLOWED', allowed: `a text of ${expected} characters` }, path, tree);
  return place({ code: 'TYPE_WRONG', allowed: TYPES[issue.type] ?? expected, ...remedyFor(issue) }, path, tree);
}

const TYPES: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  integer: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  strict_object: 'a map',
  union: 'a text or a list of texts',
};

/** YAML reads a name such as 12 or true as something else. */
function remedyFor(issue: v.BaseIssue<unknown>): { readonly remedy?: string } {
  const isScalar = typeof issue.input === 'number' || typeof issue.input === 'boolean';
  return issue.type === 'string' && isScalar ? { remedy: 'Put it in quotes.' } : {};
}

function codeOf(message: string): ConfigProblemCode {
  return CONFIG_PROBLEM_CODES.find((code) => code === message) ?? 'VALUE_NOT_ALLOWED';
}

function unknownKey(known: readonly string[], path: Path, tree: Tree): ConfigProblem {
  const key = String(path.at(-1) ?? '');
  const nearest = closest(key.slice(0, 64), [...known]);
  const isNear = distance(key.slice(0, 64), nearest) <= Math.max(2, nearest.length / 3);
  return place(
    {
      code: 'KEY_UNKNOWN',
      found: `the unknown key ${quote(key)}`,
      allowed: known.join(', '),
      ...(isNear ? { remedy: `Did you mean ${nearest}?` } : {}),
    },
    path,
    tree,
  );
}
