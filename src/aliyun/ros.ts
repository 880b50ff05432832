import * as v from 'valibot';
import type { Secret } from '../secret.ts';
import { readAnswer } from './answer.ts';
import { hasApiCode } from './errors.ts';
import type { Rpc, RpcCall } from './rpc.ts';

export interface RosOptions {
  readonly rpc: Pick<Rpc, 'call'>;
  /** `https://ros.aliyuncs.com` */
  readonly endpoint: string;
  /** Of the stack: `cn-hangzhou`. */
  readonly region: string;
}

/** A template and the values of its parameters. */
export interface StackContent {
  /** JSON or YAML, at most 524,288 bytes. */
  readonly templateBody: string;
  readonly parameters: Readonly<Record<string, string | Secret>>;
}

const service = v.object({
  ServiceName: v.string(),
  /** Enabled, Disabled or Unknown. */
  Status: v.string(),
  EnableURL: v.optional(v.nullable(v.string())),
});
export type ServiceProvision = v.InferOutput<typeof service>;

const summary = v.object({ StackId: v.string(), StackName: v.string(), Status: v.string() });
const text = v.optional(v.nullable(v.string()));
const stack = v.object({
  ...summary.entries,
  StatusReason: text,
  Parameters: v.optional(v.array(v.object({ ParameterKey: v.string(), ParameterValue: text })), []),
  Outputs: v.optional(v.nullable(v.array(v.object({ OutputKey: v.string(), OutputValue: v.unknown() }))), []),
});
/** What GetStack gives. The values of parameters with NoEcho are masked. */
export type Stack = v.InferOutput<typeof stack>;

const change = v.object({
  LogicalResourceId: v.string(),
  ResourceType: v.string(),
  /** Add, Modify, Remove or None; the preview of a new stack may leave it out. */
  Action: text,
  /** True, False or Conditional: whether Modify makes a new resource in place of the old one. */
  Replacement: text,
});
export type ResourceChange = v.InferOutput<typeof change>;

const event = v.object({
  EventId: v.string(),
  LogicalResourceId: v.string(),
  ResourceType: v.string(),
  Status: v.string(),
  StatusReason: text,
  /** ISO 8601 without a zone, in UTC. */
  CreateTime: v.string(),
});
export type StackEvent = v.InferOutput<typeof event>;

/** The actions of Resource Orchestration Service 2019-09-10 that are in use. Field names are the API's. */
export interface Ros {
  /** Which services the template needs, and which of them are activated. */
  getServiceProvisions(content: StackContent): Promise<ServiceProvision[]>;
  /** The id and status of the stack of exactly this name; undefined when there is none, or only deleted ones. */
  findStack(name: string): Promise<v.InferOutput<typeof summary> | undefined>;
  /** Undefined when there is none. */
  getStack(stackId: string): Promise<Stack | undefined>;
  /** What would happen to each resource. Undefined where nothing at all would change. */
  previewStack(
    which: { readonly StackId: string } | { readonly StackName: string },
    content: StackContent,
  ): Promise<ResourceChange[] | undefined>;
  /** Begins to create the stack, rolled back when it fails, and gives its id. */
  createStack(name: string, content: StackContent, clientToken: string): Promise<string>;
  /** Begins to update the stack; parameters that are not given keep their values. False when nothing would change. */
  updateStack(stackId: string, content: StackContent, clientToken: string): Promise<boolean>;
  /** Begins to delete the stack. Resources with the deletion policy Retain stay. One that is gone is no error. */
  deleteStack(stackId: string): Promise<void>;
  /** The events whose EventId is not in `seen`, oldest first. */
  listStackEvents(stackId: string, seen: ReadonlySet<string>): Promise<StackEvent[]>;
}

const VERSION = '2019-09-10';
/** The most that a page of events holds. */
const PAGE_SIZE = 50;
const MAX_PAGES = 40;
/** A stack of this kind takes some two minutes. */
const TIMEOUT_IN_MINUTES = '30';

/** ROS answers an update that changes nothing with NotSupported. */
const SAME_STACK = /completely same stack/i;

/** Stacks of one region. Every call throws AliyunError. */
export function createRos({ rpc, endpoint, region }: RosOptions): Ros {
  function call(action: string, parameters: RpcCall['parameters']) {
    return rpc.call({ endpoint, version: VERSION, action, parameters: { RegionId: region, ...parameters } });
  }

  return {
    async getServiceProvisions(content) {
      const action = 'GetServiceProvisions';
      const answer = await call(action, wire(content));
      return readAnswer(v.object({ ServiceProvisions: v.array(service) }), answer, action).ServiceProvisions;
    },

    async findStack(name) {
      const action = 'ListStacks';
      const answer = await call(action, { 'StackName.1': name, PageSize: String(PAGE_SIZE) });
      const { Stacks } = readAnswer(v.object({ Stacks: v.array(summary) }), answer, action);
      // The filter takes patterns, and deleted stacks stay in the list for a while.
      return Stacks.find(({ StackName, Status }) => StackName === name && Status !== 'DELETE_COMPLETE');
    },

    async getStack(stackId) {
      const action = 'GetStack';
      try {
        return readAnswer(stack, await call(action, { StackId: stackId }), action);
      } catch (error) {
        if (hasApiCode(error, 'StackNotFound')) return undefined;
        throw error;
      }
    },

    async previewStack(which, content) {
      const action = 'PreviewStack';
      const previous = 'StackId' in which ? { UsePreviousParameters: 'true' } : {};
      try {
        const answer = await call(action, { ...which, ...previous, ...wire(content) });
        return readAnswer(v.object({ Stack: v.object({ Resources: v.array(change) }) }), answer, action).Stack
          .Resources;
      } catch (error) {
        if (isSameStack(error)) return undefined;
        throw error;
      }
    },

    async createStack(name, content, clientToken) {
      const action = 'CreateStack';
      const parameters = {
        StackName: name,
        DisableRollback: 'false',
        TimeoutInMinutes: TIMEOUT_IN_MINUTES,
        ClientToken: clientToken,
        ...wire(content),
      };
      return readAnswer(v.object({ StackId: v.string() }), await call(action, parameters), action).StackId;
    },

    async updateStack(stackId, content, clientToken) {
      const action = 'UpdateStack';
      const parameters = {
        StackId: stackId,
        UsePreviousParameters: 'true',
        DisableRollback: 'false',
        TimeoutInMinutes: TIMEOUT_IN_MINUTES,
        ClientToken: clientToken,
        ...wire(content),
      };
      try {
        await call(action, parameters);
        return true;
      } catch (error) {
        if (isSameStack(error)) return false;
        throw error;
      }
    },

    async deleteStack(stackId) {
      try {
        await call('DeleteStack', { StackId: stackId });
      } catch (error) {
        if (!hasApiCode(error, 'StackNotFound')) throw error;
      }
    },

    async listStackEvents(stackId, seen) {
      const action = 'ListStackEvents';
      const fresh = new Map<string, StackEvent>();
      for (let page = 1; page <= MAX_PAGES; page += 1) {
        const parameters = { StackId: stackId, PageNumber: String(page), PageSize: String(PAGE_SIZE) };
        const { Events } = readAnswer(v.object({ Events: v.array(event) }), await call(action, parameters), action);
        for (const entry of Events) if (!seen.has(entry.EventId)) fresh.set(entry.EventId, entry);
        // The newest come first.
        if (Events.length < PAGE_SIZE || Events.some(({ EventId }) => seen.has(EventId))) break;
      }
      const oldestFirst = [...fresh.values()].reverse();
      return oldestFirst.sort((one, other) => one.CreateTime.localeCompare(other.CreateTime));
    },
  };
}

/** Lists are numbered from 1: https://www.alibabacloud.com/help/en/ros/developer-reference/api-ros-2019-09-10-createstack */
function wire({ templateBody, parameters }: StackContent): Record<string, string | Secret> {
  const numbered = Object.entries(parameters).flatMap(([key, value], index) => [
    [`Parameters.${index + 1}.ParameterKey`, key] as const,
    [`Parameters.${index + 1}.ParameterValue`, value] as const,
  ]);
  return { TemplateBody: templateBody, ...Object.fromEntries(numbered) };
}

function isSameStack(error: unknown): boolean {
  return hasApiCode(error, 'NotSupported') && SAME_STACK.test(error.message);
}
