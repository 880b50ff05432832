/**
 * A double of Resource Orchestration Service 2019-09-10: stacks of one region, made of a template and its parameters. What
 * a resource becomes is worked out from the template itself; an operation goes on by so many resources at each GetStack.
 * https://www.alibabacloud.com/help/en/ros/developer-reference/api-ros-2019-09-10-overview
 */
import { randomUUID } from 'node:crypto';
import { parse } from 'yaml';
import { type Evaluated, evaluate } from '../template/evaluate.ts';
import type { Template } from '../template/read.ts';
import { ApiError, integer, type Product, required } from './product.ts';
import { parametersOf, readParameters } from './ros-parameters.ts';
import { createStackStore, type Stack } from './ros-stack.ts';

export interface RosOptions {
  readonly account: string;
  /** By the name that ROS has for a service: Disabled or Unknown ones. All others are Enabled. */
  readonly services?: Readonly<Record<string, 'Disabled' | 'Unknown'>>;
  /** Resources that are done at each GetStack. Default: all. */
  readonly pace?: number;
  /** Told when a resource is there, or gone. */
  readonly onResource?: (change: ResourceEvent) => void;
}

export interface ResourceEvent {
  readonly action: 'CREATE' | 'UPDATE' | 'DELETE';
  readonly type: string;
  readonly properties: Readonly<Record<string, unknown>>;
}

export interface Ros extends Product {
  readonly stacks: readonly Stack[];
  /** Logical id of a resource -> why it cannot be made or changed, from now on. */
  readonly failures: Map<string, string>;
}

const CALLS_PER_SECOND = 100;
/** Resource type -> the service that is activated for it. */
const SERVICES: Readonly<Record<string, string>> = {
  FC3: 'FC',
  OSS: 'OSS',
  SLS: 'SLS',
  RAM: 'RAM',
  EventBridge: 'EventBridge',
};

type Parameters = Readonly<Record<string, string>>;

export function createRos({ account, services = {}, pace = Number.POSITIVE_INFINITY, onResource }: RosOptions): Ros {
  const failures = new Map<string, string>();
  const store = createStackStore({ failures, pace, onResource: onResource ?? (() => undefined) });
  /** ClientToken -> the stack that the first request with it was about. */
  const tokens = new Map<string, string>();

  async function content(parameters: Parameters, previous?: Stack) {
    required(parameters, 'RegionId');
    const body = required(parameters, 'TemplateBody');
    if (Buffer.byteLength(body) > 524_288) throw new ApiError(400, 'TemplateBodyTooLong', 'The template is too long.');
    const template = readTemplate(body);
    const kept = parameters['UsePreviousParameters'] === 'true' ? previous?.parameters : undefined;
    const values = readParameters(template, { ...kept, ...parametersOf(parameters) });
    const given = { parameters: values, region: parameters['RegionId'] ?? '', account };
    return { body, template, values, given };
  }

  /** The evaluation of a template for a stack that has its id. */
  function evaluated({ template, given }: Awaited<ReturnType<typeof content>>, stackId: string): Promise<Evaluated> {
    return evaluate(template, { ...given, stackId });
  }

  function repeated(parameters: Parameters, action: string): string | undefined {
    const token = parameters['ClientToken'];
    if (token !== undefined && !/^[\w-]{1,64}$/.test(token)) {
      throw new ApiError(400, 'InvalidParameter', 'The specified parameter "ClientToken" is not valid.');
    }
    return token === undefined ? undefined : tokens.get(`${action} ${token}`);
  }

  function remember(parameters: Parameters, action: string, stackId: string): void {
    const token = parameters['ClientToken'];
    if (token !== undefined) tokens.set(`${action} ${token}`, stackId);
  }

  const handlers: Readonly<Record<string, (parameters: Parameters, now: Date) => Promise<object> | object>> = {
    async GetServiceProvisions(parameters) {
      const { template } = await content(parameters);
      const products = Object.values(template.Resources).map(
        ({ Type }) => SERVICES[Type.split('::')[1] ?? ''] ?? 'ROS',
      );
      const ServiceProvisions = [...new Set(products)].sort().map((ServiceName) => {
        const Status = services[ServiceName] ?? 'Enabled';
        const url = `https://common-buy.aliyun.com/?commodityCode=${ServiceName.toLowerCase()}`;
        return { ServiceName, Status, ...(Status === 'Disabled' && { EnableURL: url }), AutoEnableService: false };
      });
      return { ServiceProvisions };
    },

    ListStacks(parameters) {
      required(parameters, 'RegionId');
      const size = integer(parameters, 'PageSize', { minimum: 1, maximum: 50, otherwise: 10 });
      const name = parameters['StackName.1'];
      const found = store.stacks.filter((stack) => name === undefined || matches(name, stack.name));
      return {
        TotalCount: found.length,
        PageNumber: 1,
        PageSize: size,
        Stacks: found.slice(0, size).map(({ id, name: StackName, status, statusReason }) => ({
          StackId: id,
          StackName,
          Status: status,
          StatusReason: statusReason,
          RegionId: parameters['RegionId'],
        })),
      };
    },

    GetStack(parameters) {
      required(parameters, 'RegionId');
      const stack = store.named(required(parameters, 'StackId'));
      const answer = describe(stack, parameters['RegionId'] ?? '');
      // Whoever looks finds the stack further on the next time.
      store.advance(stack);
      return answer;
    },

    async PreviewStack(parameters) {
      const existing = parameters['StackId'] === undefined ? undefined : store.named(parameters['StackId']);
      if (existing === undefined) store.refuseTaken(required(parameters, 'StackName'));
      const read = await content(parameters, existing);
      const next = await evaluated(read, existing?.id ?? randomUUID());
      const before = existing?.evaluated.resources ?? {};
      const ids = [...new Set([...Object.keys(before), ...Object.keys(next.resources)])];
      const Resources = ids.map((id) => {
        const [old, now] = [before[id], next.resources[id]];
        const same = JSON.stringify(old) === JSON.stringify(now);
        const Action = !old ? 'Add' : !now ? 'Remove' : same ? 'None' : 'Modify';
        return {
          LogicalResourceId: id,
          ResourceType: (now ?? old)?.Type,
          Action,
          ...(Action === 'Modify' && { Replacement: 'False' }),
          Properties: now?.Properties ?? {},
          RequiredBy: [],
        };
      });
      return { Stack: { StackName: existing?.name ?? parameters['StackName'], Resources, DisableRollback: false } };
    },

    async CreateStack(parameters, now) {
      const again = repeated(parameters, 'CreateStack');
      if (again !== undefined) return { StackId: again };
      const name = required(parameters, 'StackName');
      if (!/^[A-Za-z][\w-]{0,254}$/.test(name))
        throw new ApiError(400, 'StackNameInvalid', `The name ${name} is invalid.`);
      store.refuseTaken(name);
      const read = await content(parameters);
      const id = randomUUID();
      const next = await evaluated(read, id);
      store.create({ id, name, ...read, evaluated: next, now });
      remember(parameters, 'CreateStack', id);
      return { StackId: id };
    },

    async UpdateStack(parameters, now) {
      const again = repeated(parameters, 'UpdateStack');
      if (again !== undefined) return { StackId: again };
      const stack = store.named(required(parameters, 'StackId'));
      store.refuseBusy(stack);
      store.refuseNeverCreated(stack);
      const read = await content(parameters, stack);
      if (read.body === stack.body && JSON.stringify(read.values) === JSON.stringify(stack.parameters)) {
        throw new ApiError(400, 'NotSupported', 'Update the completely same stack is not supported.');
      }
      store.update(stack, { ...read, evaluated: await evaluated(read, stack.id), now });
      remember(parameters, 'UpdateStack', stack.id);
      return { StackId: stack.id };
    },

    DeleteStack(parameters, now) {
      required(parameters, 'RegionId');
      const stack = store.named(required(parameters, 'StackId'));
      store.refuseBusy(stack);
      store.delete(stack, now);
      return {};
    },

    ListStackEvents(parameters) {
      required(parameters, 'RegionId');
      const stack = store.named(required(parameters, 'StackId'));
      const size = integer(parameters, 'PageSize', { minimum: 1, maximum: 50, otherwise: 10 });
      const page = integer(parameters, 'PageNumber', { minimum: 1, maximum: 10_000, otherwise: 1 });
      const newestFirst = stack.events.toReversed();
      return {
        TotalCount: newestFirst.length,
        PageNumber: page,
        PageSize: size,
        Events: newestFirst.slice((page - 1) * size, page * size),
      };
    },
  };

  return {
    name: 'ros',
    version: '2019-09-10',
    stacks: store.stacks,
    failures,
    actions: Object.fromEntries(
      Object.entries(handlers).map(([action, handle]) => [action, { callsPerSecond: CALLS_PER_SECOND, handle }]),
    ),
  };
}

function describe(stack: Stack, RegionId: string): object {
  const { id, name, status, statusReason, template, parameters } = stack;
  const isThere = /^(CREATE|UPDATE|ROLLBACK)_COMPLETE$/.test(status);
  return {
    StackId: id,
    StackName: name,
    RegionId,
    Status: status,
    StatusReason: statusReason,
    TimeoutInMinutes: 30,
    DisableRollback: false,
    Parameters: Object.entries(parameters).map(([ParameterKey, value]) => ({
      ParameterKey,
      ParameterValue: template.Parameters[ParameterKey]?.NoEcho ? '******' : value,
    })),
    Outputs: isThere
      ? Object.entries(stack.evaluated.outputs).map(([OutputKey, OutputValue]) => ({ OutputKey, OutputValue }))
      : [],
  };
}

function readTemplate(body: string): Template {
  try {
    const template: Template = parse(body, { strict: true, uniqueKeys: true });
    if (template.ROSTemplateFormatVersion === '2015-09-01') return template;
  } catch {
    // Said below.
  }
  throw new ApiError(400, 'InvalidTemplate', 'The specified template is invalid.');
}

/** The filter of ListStacks takes `*` for any characters. */
function matches(pattern: string, name: string): boolean {
  const parts = pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`).test(name);
}
