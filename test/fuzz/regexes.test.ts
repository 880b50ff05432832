import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createContext, runInContext } from 'node:vm';
import { transformSync } from 'esbuild';
import { describe, expect, test } from 'vitest';
import { injected } from '../sandbox/injections.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Characters of a pathological text. */
const LENGTH = 100_000;
/** Milliseconds, of a search that ought to take one or two: an expression that backtracks takes minutes. */
const HANG = 3_000;

interface Expression {
  readonly file: string;
  readonly source: string;
  readonly flags: string;
}

/** Every expression that is written in the program, found in what esbuild leaves of a file: no types, no templates. */
function expressionsIn(file: string): Expression[] {
  const { code } = transformSync(readFileSync(file, 'utf8'), {
    loader: 'ts',
    legalComments: 'none',
    format: 'esm',
    target: 'node20',
    supported: { 'template-literal': false },
  });
  const found: Expression[] = [];
  let before = '';
  for (let at = 0; at < code.length; ) {
    const rest = code.slice(at);
    const text = /^(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|\/\/[^\n]*|\/\*[\s\S]*?\*\/)/.exec(rest)?.[0];
    const isOperand = /[\w$)\]"'`]$/.test(before) && !/\b(?:return|typeof|case|of|in)$/.test(before);
    const expression =
      rest.startsWith('/') && !isOperand ? /^\/((?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+)\/([a-z]*)/.exec(rest) : null;
    if (text === undefined && expression !== null) {
      found.push({ file: relative(ROOT, file), source: expression[1] ?? '', flags: expression[2] ?? '' });
    }
    const step = text ?? expression?.[0] ?? rest.slice(0, 1);
    if (step.trim() !== '' && !/^\/[/*]/.test(step)) before = (before + step).slice(-12);
    at += step.length;
  }
  return found;
}

function sources(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name));
}

const FILES = [...sources(join(ROOT, 'src')), ...sources(join(ROOT, 'functions'))];
const EXPRESSIONS = FILES.flatMap(expressionsIn);

/** What the expression itself names, and one of each kind of character: repeated, these make it go back and forth. */
function pumps(source: string): string[] {
  const literals = source
    .replace(/\\[dwsbDWSB]|\\[pP]\{[^}]*\}|\(\?[:=!<]*|\{\d*,?\d*\}/g, ' ')
    .replace(/\\n/g, '\n')
    .replace(/\\(.)/g, '$1')
    .split(/[[\]()|*+?^$ ]+/)
    .filter(Boolean);
  const units = [
    ...new Set([
      ...literals.map((text) => text.slice(0, 24)),
      'a',
      'A',
      '0',
      ' ',
      '.',
      '-',
      '\\',
      '"',
      '/',
      '\n',
      'é',
      '%25',
    ]),
  ].slice(0, 28);
  return [...units, ...units.slice(0, 9).flatMap((one) => units.slice(0, 9).map((two) => one + two))];
}

describe('F68 expressions', () => {
  test('the scan finds them all', () => {
    expect(EXPRESSIONS.length).toBeGreaterThan(100);
    const written = FILES.map((file) => readFileSync(file, 'utf8')).join('\n');
    // What is put together at run time would not be seen here.
    expect(written).not.toMatch(/\bRegExp\(/);
    const uses = written.match(/[^\w/]\/[^/*\s][^\n]*\/[a-z]*\.(?:test|exec)\(/g) ?? [];
    expect(EXPRESSIONS.length).toBeGreaterThan(uses.length);
  });

  test('one that goes back and forth is found out', () => {
    expect(() => search({ file: '', source: '^(a+)+$', flags: '' }, `${'a'.repeat(60)}!`)).toThrow('timed out');
  });

  test.each([...new Set(EXPRESSIONS.map(({ file }) => file))])('of %s take no time for 100 KB of anything', (file) => {
    for (const expression of EXPRESSIONS.filter((one) => one.file === file)) {
      for (const pump of pumps(expression.source)) {
        const text = pump.repeat(Math.ceil(LENGTH / pump.length)).slice(0, LENGTH);
        for (const whole of [`${text}\0`, `x${text}`]) search(expression, whole);
      }
    }
  });
});

const context = createContext({});

/** Throws when the search hangs. */
function search({ file, source, flags }: Expression, text: string): void {
  injected();
  Object.assign(context, { expression: new RegExp(source, flags.replaceAll(/[gy]/g, '')), text });
  try {
    runInContext('expression.test(text)', context, { timeout: HANG });
  } catch (cause) {
    throw new Error(`${file}: /${source}/${flags} timed out on ${JSON.stringify(text.slice(0, 40))}`, { cause });
  }
}
