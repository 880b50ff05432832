/**
 * The official definitions of ROS resource types (ros-cdk) and of FC's trigger configurations (the FC 3.0 SDK), asked
 * whether properties are right. Neither tells of properties that it does not know: what it does not give back is unknown.
 */
import { rmSync } from 'node:fs';
import * as fc from '@alicloud/fc20230330';
import { App, type Construct, Stack } from '@alicloud/ros-cdk-core';
import * as fc3 from '@alicloud/ros-cdk-fc3';
import * as oss from '@alicloud/ros-cdk-oss';
import * as ram from '@alicloud/ros-cdk-ram';
import * as sls from '@alicloud/ros-cdk-sls';
import { intrinsic, isMap, type Json, type JsonMap } from './read.ts';

interface ResourceClass {
  readonly ROS_RESOURCE_TYPE_NAME: string;
  new (scope: Construct, id: string, properties: object, constrained: boolean): object;
}

function isResourceClass(value: unknown): value is ResourceClass {
  return typeof value === 'function' && 'ROS_RESOURCE_TYPE_NAME' in value;
}

const CLASSES = new Map(
  [fc3, oss, ram, sls]
    .flatMap((module) => Object.values(module))
    .filter(isResourceClass)
    .map((type) => [type.ROS_RESOURCE_TYPE_NAME, type]),
);

const INSTANCES = new Map<string, object>();

/** Nothing is ever written for it, but a folder for the output is made at once. */
const APP = new App();
rmSync(APP.outdir, { recursive: true });
const STACK = new Stack(APP, 'stack');

/** One empty resource of the type, only to be asked; undefined for a type that nobody defines. */
function instanceOf(type: string): object | undefined {
  const known = INSTANCES.get(type);
  const Resource = CLASSES.get(type);
  if (known || !Resource) return known;
  const made = new Resource(STACK, type.replaceAll('::', '-'), {}, true);
  INSTANCES.set(type, made);
  return made;
}

/** What Fn::GetAtt may ask of a type. */
export function attributesOf(type: string): string[] {
  return Object.entries(instanceOf(type) ?? {})
    .filter(([field]) => field.startsWith('attr'))
    .map(([, reference]) => String(Reflect.get(Object(reference), 'displayName')));
}

/** What is wrong with the properties of a resource, one line a finding. */
export function propertyProblems(type: string, properties: JsonMap): string[] {
  const resource = instanceOf(type);
  if (!resource) return [`${type} is not defined`];
  try {
    const rendered = Reflect.apply(Reflect.get(resource, 'renderProperties'), resource, [asPropertyBag(properties)]);
    return unknownKeys(properties, rendered, type);
  } catch (error) {
    return [`${type}: ${error instanceof Error ? error.message : String(error)}`];
  }
}

/** The definitions read `bucketName` where a template has `BucketName`; maps of free keys they read as they are. */
function asPropertyBag(value: Json): unknown {
  if (Array.isArray(value)) return value.map(asPropertyBag);
  if (!isMap(value)) return value;
  return new Proxy(value, {
    get(target, key) {
      if (typeof key === 'symbol') return Reflect.get(target, key);
      const name = Object.keys(target).find((own) => own === key || own.toLowerCase() === key.toLowerCase());
      return name === undefined ? undefined : asPropertyBag(target[name] ?? null);
    },
  });
}

function unknownKeys(given: unknown, known: unknown, path: string): string[] {
  if (Array.isArray(given))
    return given.flatMap((item, i) => unknownKeys(item, Reflect.get(Object(known), i), `${path}[${i}]`));
  if (!isMap(given) || intrinsic(given)) return [];
  return Object.entries(given).flatMap(([key, value]) => {
    const there = isMap(known) ? known[key] : undefined;
    return there === undefined ? [`${path}.${key} is not defined`] : unknownKeys(value, there, `${path}.${key}`);
  });
}

interface Model {
  names(): Record<string, string>;
  types(): Record<string, unknown>;
}

const TRIGGERS: Readonly<Record<string, Model>> = {
  timer: fc.TimerTriggerConfig,
  http: fc.HTTPTriggerConfig,
  eventbridge: fc.EventBridgeTriggerConfig,
  oss: fc.OSSTriggerConfig,
  cdn_events: fc.CDNTriggerConfig,
};

/** ROS takes any map for TriggerConfig and passes it on to FC. */
export function triggerProblems(type: Json | undefined, config: Json | undefined): string[] {
  const model = typeof type === 'string' ? TRIGGERS[type] : undefined;
  return model ? modelProblems(model, config, `${String(type)} trigger`) : [`${String(type)} is no type of trigger`];
}

function modelProblems(model: Model, value: Json | undefined, path: string): string[] {
  if (!isMap(value)) return [`${path} is no map`];
  const types = model.types();
  return Object.entries(value).flatMap(([key, item]) => {
    const field = Object.entries(model.names()).find(([, wire]) => wire === key)?.[0];
    if (field === undefined) return [`${path}.${key} is not defined`];
    return intrinsic(item) ? [] : typeProblems(types[field], item, `${path}.${key}`);
  });
}

function typeProblems(type: unknown, value: Json, path: string): string[] {
  if (isModel(type)) return modelProblems(type, value, path);
  if (typeof type === 'string') return typeof value === type ? [] : [`${path} is no ${type}`];
  if (!Array.isArray(value)) return [`${path} is no list`];
  return value.flatMap((item, i) => typeProblems(Reflect.get(Object(type), 'itemType'), item, `${path}[${i}]`));
}

function isModel(value: unknown): value is Model {
  return typeof value === 'function' && 'names' in value && 'types' in value;
}
