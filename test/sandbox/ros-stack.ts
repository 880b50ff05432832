/** Stacks and what becomes of them: one operation at a time, resource by resource, with events, rolled back when one fails. */
import { randomUUID } from 'node:crypto';
import type { Evaluated } from '../template/evaluate.ts';
import type { Template } from '../template/read.ts';
import { ApiError } from './product.ts';
import type { ResourceEvent } from './ros.ts';

export interface StackEvent {
  readonly EventId: string;
  readonly StackId: string;
  readonly StackName: string;
  readonly LogicalResourceId: string;
  readonly PhysicalResourceId: string;
  readonly ResourceType: string;
  readonly Status: string;
  readonly StatusReason: string;
  /** `2026-01-02T03:04:05`, UTC. */
  readonly CreateTime: string;
}

export interface Stack {
  readonly id: string;
  readonly name: string;
  status: string;
  statusReason: string;
  body: string;
  template: Template;
  /** Every parameter, defaults too. */
  parameters: Readonly<Record<string, string>>;
  evaluated: Evaluated;
  /** Logical ids of what is there. */
  readonly present: Set<string>;
  readonly events: StackEvent[];
  /** What is left of the operation. */
  steps: (() => void)[];
}

interface Content {
  readonly body: string;
  readonly template: Template;
  readonly values: Readonly<Record<string, string>>;
  readonly evaluated: Evaluated;
  readonly now: Date;
}

type Verb = 'CREATE' | 'UPDATE' | 'DELETE';

export function createStackStore({
  failures,
  pace,
  onResource,
}: {
  readonly failures: ReadonlyMap<string, string>;
  readonly pace: number;
  readonly onResource: (change: ResourceEvent) => void;
}) {
  const stacks: Stack[] = [];

  function emit(stack: Stack, id: string, type: string, status: string, reason: string, now: Date): void {
    stack.events.push({
      EventId: randomUUID(),
      StackId: stack.id,
      StackName: stack.name,
      LogicalResourceId: id,
      PhysicalResourceId: id === stack.name ? stack.id : `${stack.name}-${id}`,
      ResourceType: type,
      Status: status,
      StatusReason: reason,
      CreateTime: now.toISOString().slice(0, 19),
    });
  }

  function setStatus(stack: Stack, status: string, reason: string, now: Date): void {
    Object.assign(stack, { status, statusReason: reason });
    emit(stack, stack.name, 'ALIYUN::ROS::Stack', status, reason, now);
  }

  /** One resource; false when it failed. */
  function settle(stack: Stack, verb: Verb, id: string, evaluated: Evaluated, now: Date): boolean {
    const resource = evaluated.resources[id];
    if (resource === undefined) return true;
    emit(stack, id, resource.Type, `${verb}_IN_PROGRESS`, 'state changed', now);
    const failure = verb === 'DELETE' ? undefined : failures.get(id);
    if (failure !== undefined) {
      emit(stack, id, resource.Type, `${verb}_FAILED`, failure, now);
      return false;
    }
    emit(stack, id, resource.Type, `${verb}_COMPLETE`, 'state changed', now);
    if (verb === 'DELETE') stack.present.delete(id);
    else stack.present.add(id);
    onResource({ action: verb, type: resource.Type, properties: resource.Properties });
    return true;
  }

  function deletions(stack: Stack, evaluated: Evaluated, ids: readonly string[], now: Date): (() => void)[] {
    const going = ids.filter((id) => stack.template.Resources[id]?.DeletionPolicy !== 'Retain');
    return going.toReversed().map((id) => () => {
      settle(stack, 'DELETE', id, evaluated, now);
    });
  }

  return {
    stacks,

    named(id: string): Stack {
      const stack = stacks.find((candidate) => candidate.id === id);
      if (!stack) throw new ApiError(404, 'StackNotFound', `The Stack (${id}) could not be found.`);
      return stack;
    },

    refuseTaken(name: string): void {
      if (stacks.some((stack) => stack.name === name && stack.status !== 'DELETE_COMPLETE')) {
        throw new ApiError(409, 'StackExists', `The Stack (${name}) already exists.`);
      }
    },

    refuseBusy({ name, status }: Stack): void {
      if (!status.endsWith('_IN_PROGRESS')) return;
      const action = status.replace('_IN_PROGRESS', '');
      throw new ApiError(409, 'ActionInProgress', `Stack ${name} already has an action (${action}) in progress.`);
    },

    /** The words of this refusal are not documented. */
    refuseNeverCreated({ status }: Stack): void {
      if (!/^(CREATE_FAILED|CREATE_ROLLBACK_|DELETE_)/.test(status)) return;
      throw new ApiError(400, 'NotSupported', `Updating a stack in the state ${status} is not supported.`);
    },

    create({ id, name, body, template, values, evaluated, now }: Content & { id: string; name: string }): void {
      const stack: Stack = {
        id,
        name,
        status: '',
        statusReason: '',
        body,
        template,
        parameters: values,
        evaluated,
        present: new Set(),
        events: [],
        steps: [],
      };
      stacks.push(stack);
      setStatus(stack, 'CREATE_IN_PROGRESS', 'Stack CREATE started', now);
      const rollBack = (failed: string) => {
        setStatus(stack, 'CREATE_ROLLBACK_IN_PROGRESS', `Resource CREATE failed: ${failed}`, now);
        stack.steps = [
          ...deletions(stack, evaluated, [...stack.present], now),
          () => setStatus(stack, 'CREATE_ROLLBACK_COMPLETE', `Resource CREATE failed: ${failed}`, now),
        ];
      };
      stack.steps = [
        ...Object.keys(evaluated.resources).map((resource) => () => {
          if (settle(stack, 'CREATE', resource, evaluated, now)) return;
          // What else was under way is broken off.
          const next = Object.keys(evaluated.resources).find(
            (other) => !stack.present.has(other) && other !== resource,
          );
          const type = next === undefined ? '' : (evaluated.resources[next]?.Type ?? '');
          if (next !== undefined) emit(stack, next, type, 'CREATE_FAILED', 'CREATE cancelled', now);
          rollBack(failures.get(resource) ?? '');
        }),
        () => setStatus(stack, 'CREATE_COMPLETE', 'Stack CREATE completed successfully', now),
      ];
    },

    update(stack: Stack, { body, template, values, evaluated, now }: Content): void {
      const before = {
        body: stack.body,
        template: stack.template,
        parameters: stack.parameters,
        evaluated: stack.evaluated,
      };
      Object.assign(stack, { body, template, parameters: values, evaluated });
      setStatus(stack, 'UPDATE_IN_PROGRESS', 'Stack UPDATE started', now);
      const old = before.evaluated.resources;
      const changed = Object.entries(evaluated.resources).filter(
        ([id, resource]) => JSON.stringify(resource) !== JSON.stringify(old[id]),
      );
      const removed = Object.keys(old).filter((id) => evaluated.resources[id] === undefined);
      stack.steps = [
        ...changed.map(([id]) => () => {
          const verb = old[id] === undefined ? 'CREATE' : 'UPDATE';
          if (settle(stack, verb, id, evaluated, now)) return;
          const reason = `Resource ${verb} failed: ${failures.get(id)}`;
          setStatus(stack, 'ROLLBACK_IN_PROGRESS', reason, now);
          stack.steps = [
            () => {
              Object.assign(stack, before);
              setStatus(stack, 'ROLLBACK_COMPLETE', reason, now);
            },
          ];
        }),
        ...deletions(stack, before.evaluated, removed, now),
        () => setStatus(stack, 'UPDATE_COMPLETE', 'Stack UPDATE completed successfully', now),
      ];
    },

    delete(stack: Stack, now: Date): void {
      setStatus(stack, 'DELETE_IN_PROGRESS', 'Stack DELETE started', now);
      stack.steps = [
        ...deletions(stack, stack.evaluated, [...stack.present], now),
        () => setStatus(stack, 'DELETE_COMPLETE', 'Stack DELETE completed successfully', now),
      ];
    },

    /** Goes on with the operation by so many steps as the pace says. */
    advance(stack: Stack): void {
      for (let done = 0; done < pace; done += 1) {
        const step = stack.steps.shift();
        if (!step) return;
        step();
      }
    },
  };
}
