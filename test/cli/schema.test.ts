import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import { configJsonSchema } from '../../src/cli/schema.ts';
import { ConfigSchema } from '../../src/config/schema.ts';

type Node = Record<string, unknown>;

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Every map of a schema with the keys it takes, by its path. */
function maps(schema: unknown, path = ''): [path: string, keys: string[]][] {
  if (!isNode(schema)) return [];
  const { properties, items } = schema;
  if (isNode(items)) return maps(items, `${path}[]`);
  if (!isNode(properties)) return [];
  const inside = Object.entries(properties).flatMap(([key, value]) => maps(value, `${path}.${key}`));
  return [[path, Object.keys(properties).sort()], ...inside];
}

describe('the JSON Schema of the configuration', () => {
  const schema = configJsonSchema();

  test('is draft-07 and takes no key that the program does not take', () => {
    expect(schema['$schema']).toBe('http://json-schema.org/draft-07/schema#');
    const text = JSON.stringify(schema);
    const [objects, closed] = [text.match(/"type":"object"/g) ?? [], text.match(/"additionalProperties":false/g) ?? []];
    expect(closed).toHaveLength(objects.length);
    expect(objects.length).toBeGreaterThan(10);
  });

  test('has the keys that the definition has', () => {
    const top = maps(schema).find(([path]) => path === '');
    expect(top?.[1]).toEqual(Object.keys(ConfigSchema.entries).sort());
    expect(maps(schema).map(([path]) => path)).toEqual(
      expect.arrayContaining([
        '.acme',
        '.acme.fallback[]',
        '.certificates[]',
        '.certificates[].targets[]',
        '.notify[]',
        '.endpoints',
      ]),
    );
  });

  test('needs only what has no default, and one of certificates and discover', () => {
    expect(schema['required']).toEqual(['acme', 'store']);
    expect(schema['anyOf']).toEqual([{ required: ['certificates'] }, { required: ['discover'] }]);
    expect(
      isNode(schema['properties']) && isNode(schema['properties']['acme']) && schema['properties']['acme']['required'],
    ).toEqual(['contact']);
  });

  test('gives defaults that the program itself takes', () => {
    const least = { acme: { contact: ['mailto:a@example.com'] }, store: 'file:///x' };
    expect(v.safeParse(ConfigSchema, least).success).toBe(true);
    expect(JSON.stringify(schema)).toContain('"interval":{"type":"string","default":"6h"}');
  });
});
