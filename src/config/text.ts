import {
  Composer,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type ParsedNode,
  Parser,
} from 'yaml';
import { REFUSED_KEYS } from './json.ts';
import { type ConfigProblem, type ConfigProblemCode, MAX_PROBLEMS, type Path, pathText, quote } from './problem.ts';
import { MAX_DEPTH, MAX_LENGTH, MAX_PARTS, tooLarge } from './size.ts';
import { type Environment, substitute } from './variables.ts';

/** A YAML or JSON text as plain values, with `${NAME}` replaced. */
export interface Tree {
  readonly value: unknown;
  readonly problems: readonly ConfigProblem[];
  /** Paths of the texts that hold something from the environment. */
  readonly fromEnvironment: ReadonlySet<string>;
  /** Names of the environment variables that the texts ask for. */
  readonly variables: ReadonlySet<string>;
  /** The line at which a path stands, or its nearest parent that stands in the text. */
  lineOf(path: Path): number | undefined;
}

/** Anchors, aliases and tags, those in keys and in values that are thrown away included. */
const MAX_MARKS = 1000;
/** What aliases may stand for, altogether. */
const MAX_ALIASED = 20_000;
const MAX_ALIASES = 100;
const MAX_SYNTAX_PROBLEMS = 10;
/** A parser's stack holds up to three entries for one level of the text. */
const MAX_STACK = MAX_DEPTH * 3 + 4;
const TAGS: ReadonlySet<string> = new Set(
  ['str', 'int', 'float', 'bool', 'null', 'map', 'seq'].map((name) => `tag:yaml.org,2002:${name}`),
);

/**
 * YAML 1.2 (and so JSON) within limits: 1 MB, 100,000 entries, 20 levels, 100 aliases, no tags of its own, no merge keys,
 * no key twice. What is made to take long is refused by counts that take milliseconds, before anything is parsed; a text
 * that is as large as an honest one takes as long as that.
 * A text with a syntax error has no value.
 */
export function readTree(text: string, environment: Environment): Tree {
  const lines = new LineCounter();
  const failed = (code: ConfigProblemCode, found: string, allowed: string, line?: number): Tree => ({
    value: undefined,
    problems: [{ code, path: '', found, allowed, line }],
    fromEnvironment: new Set(),
    variables: new Set(),
    lineOf: () => undefined,
  });
  const large = tooLarge(text);
  if (large) return failed('TEXT_TOO_LARGE', large.found, large.allowed);
  const document = compose(text, lines);
  if (document === 'too many')
    return failed('TEXT_TOO_LARGE', `more than ${MAX_PARTS} parts`, `at most ${MAX_PARTS} parts`);
  if (document === 'too long')
    return failed('TEXT_TOO_LARGE', `a value of more than ${MAX_LENGTH} characters`, `at most ${MAX_LENGTH}`);
  if (document === 'too many marks') {
    const what = 'anchors, aliases and tags';
    return failed('TEXT_ALIASES', `more than ${MAX_MARKS} ${what}`, `at most ${MAX_MARKS} ${what}`);
  }
  if (document === 'too deep')
    return failed('TEXT_TOO_DEEP', `more than ${MAX_DEPTH} levels`, `at most ${MAX_DEPTH} levels`);
  if (document === 'two documents') return failed('TEXT_SYNTAX', 'a second document', 'one document');
  if (document === undefined || document.contents === null)
    return failed('TEXT_SYNTAX', 'an empty text', 'a YAML or JSON map');
  const faults = [...document.errors, ...document.warnings].slice(0, MAX_SYNTAX_PROBLEMS);
  if (document.directives?.yaml.explicit === true && document.directives.yaml.version !== '1.2') {
    return failed('TEXT_SYNTAX', `YAML ${document.directives.yaml.version}`, 'YAML 1.2');
  }
  if (faults.length > 0) {
    return {
      ...failed('TEXT_SYNTAX', '', ''),
      // The parser's own message may quote the text, and the text may hold a secret.
      problems: faults.map(({ code, pos }) => {
        const { line, col } = lines.linePos(pos[0]);
        const isTag = code === 'TAG_RESOLVE_FAILED';
        const found = `${SYNTAX[code] ?? `a YAML syntax error (${code})`} at column ${col}`;
        const allowed = isTag ? 'no tags' : code === 'TAB_AS_INDENT' ? 'spaces' : 'YAML 1.2 or JSON';
        return { code: isTag ? 'TEXT_TAG' : 'TEXT_SYNTAX', path: '', found, allowed, line };
      }),
    };
  }
  return toTree(document, lines, environment);
}

const SYNTAX: Readonly<Record<string, string>> = {
  TAB_AS_INDENT: 'a tab used as indentation',
  BAD_INDENT: 'a wrong indentation',
  MISSING_CHAR: 'a missing character (a bracket, a quote, a space or a comma)',
  TAG_RESOLVE_FAILED: 'a tag',
  BAD_ALIAS: 'an alias to an anchor that does not exist',
};

type Composed = Document.Parsed | 'too deep' | 'too long' | 'too many' | 'too many marks' | 'two documents' | undefined;

function compose(text: string, lines: LineCounter): Composed {
  const parser = new Parser(lines.addNewLine);
  const tokens = [];
  lines.addNewLine(0);
  let lexemes = 0;
  let marks = 0;
  for (const lexeme of new Lexer().lex(text)) {
    lexemes += 1;
    if (lexemes > MAX_PARTS) return 'too many';
    if (lexeme.length > MAX_LENGTH) return 'too long';
    if (/^[&*!]/.test(lexeme)) marks += 1;
    if (marks > MAX_MARKS) return 'too many marks';
    for (const token of parser.next(lexeme)) tokens.push(token);
    // Composing is recursive: the stack is bounded before it is entered.
    if (parser.stack.length > MAX_STACK) return 'too deep';
  }
  for (const token of parser.end()) tokens.push(token);
  const composer = new Composer({
    version: '1.2',
    schema: 'core',
    merge: false,
    uniqueKeys: false,
    strict: true,
    logLevel: 'silent',
  });
  const [first, second] = [...composer.compose(tokens, true, text.length)];
  return second !== undefined && first?.errors.length === 0 ? 'two documents' : first;
}

function toTree(document: Document.Parsed, lines: LineCounter, environment: Environment): Tree {
  const problems: ConfigProblem[] = [];
  const fromEnvironment = new Set<string>();
  const variables = new Set<string>();
  const offsets = new Map<string, number>();
  /** The last node of each anchor that was passed; yaml's own look-up walks through the whole document each time. */
  const anchors = new Map<string, ParsedNode>();
  let insideAlias = 0;
  let aliases = 0;
  let aliased = 0;

  function problem(
    code: ConfigProblemCode,
    path: Path,
    offset: number | undefined,
    found: string,
    allowed: string,
  ): void {
    if (problems.length >= MAX_PROBLEMS) return;
    const line = offset === undefined ? undefined : lines.linePos(offset).line;
    problems.push({ code, path: pathText(path), found, allowed, line });
  }

  /** Said once. */
  function tooManyAliased(): undefined {
    if (aliased > MAX_ALIASED) return;
    aliased = MAX_ALIASED + 1;
    const what = 'values that aliases stand for';
    problem('TEXT_ALIASES', [], undefined, `more than ${MAX_ALIASED} ${what}`, `at most ${MAX_ALIASED} ${what}`);
  }

  function plain(node: ParsedNode | null | undefined, path: Path): unknown {
    const offset = node?.range[0];
    if (insideAlias > 0) {
      if (aliased >= MAX_ALIASED) return tooManyAliased();
      aliased += 1;
    }
    if (offset !== undefined && !offsets.has(pathText(path))) offsets.set(pathText(path), offset);
    if (path.length > MAX_DEPTH) {
      problem(
        'TEXT_TOO_DEEP',
        path.slice(0, 1),
        offset,
        `more than ${MAX_DEPTH} levels`,
        `at most ${MAX_DEPTH} levels`,
      );
      return undefined;
    }
    if (isAlias(node)) {
      if (aliased >= MAX_ALIASED) return tooManyAliased();
      aliases += 1;
      if (aliases <= MAX_ALIASES) {
        insideAlias += 1;
        const value = plain(anchors.get(node.source), path);
        insideAlias -= 1;
        return value;
      }
      if (aliases === MAX_ALIASES + 1)
        problem('TEXT_ALIASES', path, offset, `more than ${MAX_ALIASES} aliases`, `at most ${MAX_ALIASES}`);
      return undefined;
    }
    if (node?.anchor !== undefined && insideAlias === 0) anchors.set(node.anchor, node);
    if (node?.tag !== undefined && !TAGS.has(node.tag)) {
      problem('TEXT_TAG', path, offset, `the tag ${quote(node.tag)}`, 'no tags');
      return undefined;
    }
    if (isMap(node)) return plainMap(node.items, path);
    if (isSeq(node)) return node.items.map((item, index) => plain(item as ParsedNode, [...path, index]));
    if (!isScalar(node)) return null;
    return typeof node.value === 'string' ? withVariables(node.value, path, offset) : node.value;
  }

  function plainMap(
    items: readonly { readonly key: unknown; readonly value: unknown }[],
    path: Path,
  ): Record<string, unknown> {
    const entries = new Map<string, unknown>();
    for (const { key: keyNode, value } of items) {
      const key = isScalar(keyNode) ? keyNode.value : undefined;
      const offset = isScalar(keyNode) ? keyNode.range?.[0] : undefined;
      if (isScalar(keyNode) && keyNode.anchor !== undefined && insideAlias === 0)
        anchors.set(keyNode.anchor, keyNode as ParsedNode);
      if (typeof key !== 'string') {
        problem('KEY_REFUSED', path, offset, 'a key that is no text', 'texts as keys');
      } else if (REFUSED_KEYS.has(key)) {
        problem('KEY_REFUSED', path, offset, `the key ${quote(key)}`, 'any other key');
      } else if (entries.has(key)) {
        problem('KEY_DUPLICATE', [...path, key], offset, 'the same key a second time', 'each key once');
      } else {
        entries.set(key, plain(value as ParsedNode | null, [...path, key]));
        if (offset !== undefined) offsets.set(pathText([...path, key]), offset);
      }
    }
    return Object.fromEntries(entries);
  }

  function withVariables(text: string, path: Path, offset: number | undefined): string {
    const substituted = substitute(text, environment);
    for (const name of substituted.names) {
      fromEnvironment.add(pathText(path));
      variables.add(name);
    }
    for (const { code, found, allowed } of substituted.faults) problem(code, path, offset, found, allowed);
    return substituted.text;
  }

  const value = plain(document.contents, []);
  return {
    value,
    problems,
    fromEnvironment,
    variables,
    lineOf(path) {
      for (let length = path.length; length > 0; length -= 1) {
        const offset = offsets.get(pathText(path.slice(0, length)));
        if (offset !== undefined) return lines.linePos(offset).line;
      }
      return undefined;
    },
  };
}
