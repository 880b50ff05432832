/** `template.yml`, as plain data. */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type JsonMap = Readonly<Record<string, Json>>;

export interface Resource {
  readonly Type: string;
  readonly Condition?: string;
  readonly DependsOn?: string | readonly string[];
  readonly DeletionPolicy?: string;
  readonly Properties: JsonMap;
}

export interface Parameter {
  readonly Type: string;
  readonly Default?: string | number;
  readonly Label: Readonly<Record<string, string>>;
  readonly Description: Readonly<Record<string, string>>;
  readonly NoEcho?: boolean;
  readonly AllowedPattern?: string;
  readonly AllowedValues?: readonly (string | number)[];
  readonly MinValue?: number;
  readonly MaxValue?: number;
}

export interface ParameterGroup {
  readonly Label: { readonly default: Readonly<Record<string, string>> };
  readonly Parameters: readonly string[];
}

export interface Template {
  readonly ROSTemplateFormatVersion: string;
  readonly Description: Readonly<Record<string, string>>;
  readonly Metadata: { readonly 'ALIYUN::ROS::Interface': { readonly ParameterGroups: readonly ParameterGroup[] } };
  readonly Parameters: Readonly<Record<string, Parameter>>;
  readonly Conditions: JsonMap;
  readonly Resources: Readonly<Record<string, Resource>>;
  readonly Outputs: Readonly<
    Record<string, { readonly Description: Readonly<Record<string, string>>; readonly Value: Json }>
  >;
}

export const templateText = readFileSync(new URL('../../template.yml', import.meta.url), 'utf8');

/** A fresh copy, without what the YAML itself would hide: keys that are there twice are errors. */
export function readTemplate(): Template {
  return parse(templateText, { strict: true, uniqueKeys: true });
}

export function isMap(value: unknown): value is JsonMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A function of ROS by its name and argument; undefined for plain data. */
export function intrinsic(value: unknown): readonly [string, Json] | undefined {
  const [only, ...others] = isMap(value) ? Object.entries(value) : [];
  if (!only || others.length > 0) return undefined;
  return only[0] === 'Ref' || only[0].startsWith('Fn::') ? only : undefined;
}
