import type { Ros, Stack, StackEvent } from '../aliyun/ros.ts';
import { type Deps, timeLeft } from '../deps.ts';
import { AutocertError } from '../errors.ts';
import { type Finding, findingText, good, problem } from './finding.ts';

export interface Following {
  readonly ros: Pick<Ros, 'getStack' | 'listStackEvents'>;
  readonly stackId: string;
  /** EventIds of what happened before; what is printed is added. */
  readonly seen: Set<string>;
  readonly print: (line: string) => void;
  readonly deps: Pick<Deps, 'now' | 'sleep' | 'deadline'>;
}

export interface Followed {
  /** Undefined once a deleted stack is gone. */
  readonly stack: Stack | undefined;
  readonly events: readonly StackEvent[];
}

/** Milliseconds between two looks: at first few, for what is over at once. */
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 5_000;
const UNDER_WAY = /_IN_PROGRESS$/;
const FAILED = /_FAILED$/;
/** ROS stops what else is under way when one resource has failed. */
const FOLLOWED_FROM_ANOTHER = /cancel/i;

/** The EventIds of all that has happened to a stack. */
export async function eventsSoFar(ros: Pick<Ros, 'listStackEvents'>, stackId: string): Promise<Set<string>> {
  return new Set((await ros.listStackEvents(stackId, new Set())).map(({ EventId }) => EventId));
}

/** Prints what becomes of each resource until the operation is over. Throws DEADLINE_REACHED, AliyunError. */
export async function followStack({ ros, stackId, seen, print, deps }: Following): Promise<Followed> {
  const events: StackEvent[] = [];
  for (let pause = FIRST_PAUSE; ; pause = Math.min(LONGEST_PAUSE, pause * 1.5)) {
    // The state is asked first: what then comes as an event belongs to it or to what was before it.
    const stack = await ros.getStack(stackId);
    const fresh = stack === undefined ? [] : await ros.listStackEvents(stackId, seen);
    for (const event of fresh) {
      seen.add(event.EventId);
      const line = eventLine(event);
      if (line !== undefined) print(line);
    }
    events.push(...fresh);
    if (stack === undefined || !UNDER_WAY.test(stack.Status)) return { stack, events };
    if (timeLeft(deps) <= pause) throw stillUnderWay(stack);
    await deps.sleep(pause);
  }
}

/** What ended well or badly; beginnings say nothing. */
function eventLine(event: StackEvent): string | undefined {
  const { LogicalResourceId, ResourceType, Status, StatusReason } = event;
  if (isOfTheStack(event) || UNDER_WAY.test(Status)) return undefined;
  const what = `${LogicalResourceId} (${ResourceType.replace('ALIYUN::', '')}) ${Status.toLowerCase().replaceAll('_', ' ')}`;
  const finding = FAILED.test(Status) ? problem(`${what}: ${StatusReason ?? 'no reason given'}`, '') : good(what);
  return `  ${findingText({ ...finding, remedy: undefined })}`;
}

function isOfTheStack({ ResourceType }: StackEvent): boolean {
  return ResourceType === 'ALIYUN::ROS::Stack';
}

/** Why the operation failed, by its events: the resources that failed by themselves, each with what to do. */
export function explainFailure({ stack, events }: Followed): Finding[] {
  const failed = events.filter((event) => FAILED.test(event.Status) && !isOfTheStack(event));
  const own = failed.filter(({ StatusReason }) => !FOLLOWED_FROM_ANOTHER.test(StatusReason ?? ''));
  const roots = own.length > 0 ? own : failed;
  const explained = roots.map(({ LogicalResourceId, ResourceType, StatusReason }) => {
    const reason = StatusReason ?? 'no reason given';
    return problem(`${LogicalResourceId} (${ResourceType}): ${reason}`, remedyOf(reason));
  });
  if (explained.length > 0) return explained;
  const reason = stack?.StatusReason ?? 'no reason given';
  return [problem(`the stack is ${stack?.Status ?? 'gone'}: ${reason}`, remedyOf(reason))];
}

/** By the error codes that the products behind a resource answer with; the first that fits. */
const REMEDIES: readonly (readonly [RegExp, string])[] = [
  [
    /EntityAlreadyExist|RoleAlready|PolicyAlready|FunctionAlreadyExists|ProjectAlreadyExist|already exists/i,
    'Choose another --name, or delete what has this name already.',
  ],
  [
    /NotActivated|NotEnabled|not (been )?(activated|enabled|opened)|has not opened|UserNotExist|ServiceNotOpen/i,
    'Activate the service that the reason names in the console, then run `autocert deploy` again.',
  ],
  [
    /NoPermission|Forbidden|AccessDenied|not authorized|Unauthorized|UserDisable/i,
    'Give the user that deploys the permission that the reason names, then run `autocert deploy` again.',
  ],
  [
    /Quota|LimitExceed|exceed/i,
    'Delete what is no longer needed or raise the quota, then run `autocert deploy` again.',
  ],
  [/Arrears|InDebt|overdue/i, 'Settle the bill of the account, then run `autocert deploy` again.'],
  [/EventBridge|EventBus/i, 'Activate EventBridge, or deploy with --parameter CdnEvents=false.'],
  [/Bucket/i, 'Check that the bucket exists in the region of the stack and belongs to this account.'],
  [/Throttling|ServiceUnavailable|InternalError|timed? ?out/i, 'Run `autocert deploy` again.'],
];

function remedyOf(reason: string): string {
  const [, remedy = undefined] = REMEDIES.find(([pattern]) => pattern.test(reason)) ?? [];
  return remedy ?? 'Correct what the reason names, then run `autocert deploy` again.';
}

function stillUnderWay({ StackName, Status }: Stack): AutocertError {
  return new AutocertError({
    code: 'DEADLINE_REACHED',
    message: `The stack ${StackName} is still ${Status}.`,
    retryable: false,
    remedy: 'Look at its events in the ROS console, and run the command again when it is over.',
  });
}
