import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { configJsonSchema } from '../src/cli/schema.ts';

const README = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const REASONS = readFileSync(new URL('../src/decide.ts', import.meta.url), 'utf8');

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly default?: unknown;
  readonly enum?: readonly string[];
}

interface Leaf {
  readonly path: string;
  readonly schema: Schema;
  readonly required: boolean;
}

/** Every key that takes a value, by its path as README writes it. */
function leaves(schema: Schema, path = ''): Leaf[] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, value]) => {
    const place = path === '' ? key : `${path}.${key}`;
    if (value.properties) return leaves(value, place);
    if (value.items?.properties) return leaves(value.items, `${place}[]`);
    return [{ path: place, schema: value, required: schema.required?.includes(key) ?? false }];
  });
}

/** The rows of the table below a heading, without its head. */
function tableBelow(heading: string): string[][] {
  const lines = (README.split(`## ${heading}\n`)[1] ?? '').split('\n## ')[0]?.split('\n') ?? [];
  const rows = lines.filter((line) => line.startsWith('|')).slice(2);
  return rows.map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

describe('the README', () => {
  const rows = tableBelow('Configuration');
  const keys = leaves(configJsonSchema() as Schema);

  test('lists every key of the configuration, and no other', () => {
    expect(rows.map(([key]) => key?.replaceAll('`', '')).sort()).toEqual(keys.map(({ path }) => path).sort());
  });

  test.each(keys)('tells the default of $path', ({ path, schema, required }) => {
    const cell = rows.find(([key]) => key === `\`${path}\``)?.[1] ?? '';
    if (required && schema.default === undefined) expect(cell).toBe('required');
    else if (Array.isArray(schema.default)) {
      expect(cell).toBe(schema.default.map((value) => `\`${value}\``).join(', ') || 'none');
    } else if (schema.default !== undefined) expect(cell).toBe(`\`${String(schema.default)}\``);
    else expect(cell).not.toMatch(/required|none/);
  });

  test.each(keys.filter(({ schema }) => schema.enum))('names every value that $path takes', ({ path, schema }) => {
    const row = rows.find(([key]) => key === `\`${path}\``)?.join(' ') ?? '';
    // A value that is a key type is named once, where the certificates are.
    if (path === 'discover.keyType') return expect(row).toContain('rsa2048');
    for (const value of schema.enum ?? []) expect(row).toContain(`\`${value}\``);
    return undefined;
  });

  test('lists every reason of a decision, in the order of the rules', () => {
    const reasons = /export type Reason =([^;]+);/.exec(REASONS)?.[1]?.match(/\w+/g);
    expect(tableBelow('What is decided, and when').map(([reason]) => reason?.replaceAll('`', ''))).toEqual(reasons);
  });
});
