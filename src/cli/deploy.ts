import { createHash } from 'node:crypto';
import type { ResourceChange, Ros, Stack, StackContent } from '../aliyun/ros.ts';
import { AutocertError } from '../errors.ts';
import type { Invocation } from '../invocation.ts';
import { isGoodRun } from '../report.ts';
import { run } from '../run.ts';
import { type Examined, examine, type StackOptions } from './doctor.ts';
import { counted, findingText, good, thrownFindings } from './finding.ts';
import type { Ground } from './ground.ts';
import { eventsSoFar, explainFailure, followStack } from './stack-progress.ts';
import { readBuilt } from './stack-template.ts';
import { outcomeTable } from './table.ts';

export interface DeployOptions extends StackOptions {
  /** Where the zip goes; made when it is missing. Default: `<name>-code-<account>-<region>`. */
  readonly codeBucket?: string | undefined;
  readonly dryRun: boolean;
}

/** A stack that never came to be: ROS updates none of these. */
const NEVER_CREATED = /^(CREATE_FAILED|CREATE_ROLLBACK_COMPLETE|CREATE_ROLLBACK_FAILED)$/;
const DONE = /^(CREATE|UPDATE)_COMPLETE$/;
/** Enough of the SHA-256 to tell builds apart. */
const HASH_LENGTH = 16;

/**
 * Brings the functions to the account, or up to date: the doctor's rounds, the zip to OSS, the stack, the configuration,
 * and a look at what the first run would do. The same again changes nothing. Exit code 0 all good, 1 something failed,
 * 2 configuration.
 */
export async function deploy(options: DeployOptions, invocation: Invocation): Promise<number> {
  const { print } = options;
  const open: { close(): void }[] = [];
  try {
    const { exitCode, examined } = await examine(options, invocation, open);
    if (examined) return await deployExamined(options, examined, invocation);
    print('\nNothing was changed: correct what is marked ✗, and run `autocert deploy` again.');
    return exitCode;
  } catch (thrown) {
    for (const finding of thrownFindings(thrown)) print(findingText(finding));
    return 1;
  } finally {
    for (const connection of open) connection.close();
  }
}

async function deployExamined(options: DeployOptions, examined: Examined, invocation: Invocation): Promise<number> {
  const { print, name, folder, dryRun } = options;
  const { ground, template, parameters, storeExists } = examined;
  const { ros, place } = ground;
  const zip = await readBuilt(folder, 'autocert.zip');
  const hash = createHash('sha256').update(zip).digest('hex').slice(0, HASH_LENGTH);
  const code = {
    CodeBucket: options.codeBucket ?? `${name}-code-${place.account}-${place.region}`,
    CodeObject: `autocert-${hash}.zip`,
  };

  const found = await ros.findStack(name);
  const leftover = found && NEVER_CREATED.test(found.Status) ? found : undefined;
  const existing = leftover ? undefined : found;
  if (existing && !/_(COMPLETE|FAILED)$/.test(existing.Status)) throw underWay(name, existing.Status);
  const content: StackContent = {
    templateBody: template.text,
    // An existing stack keeps the bucket it has or has not made.
    parameters: { ...parameters, ...code, ...(!existing && { CreateBucket: String(!storeExists) }) },
  };

  if (leftover) print(`\nThe stack ${name} of an earlier attempt is ${leftover.Status}: it is deleted first.`);
  else {
    const changes = await ros.previewStack(existing ? { StackId: existing.StackId } : { StackName: name }, content);
    for (const line of changeLines(changes ?? [], existing === undefined)) print(line);
  }
  if (dryRun) {
    print('\nNothing was changed: this was --dry-run.');
    return 0;
  }
  if (leftover) await remove(ros, leftover.StackId, options, ground);

  await uploadCode(zip, code, examined, print);
  const inPlace = await putInPlace(existing?.StackId, content, options, ground, invocation);
  if (inPlace === undefined) return 1;
  const { stack, changed } = inPlace;
  const isConfigNew = await uploadConfig(examined, stack);
  if (!changed && !isConfigNew) {
    print('\nNothing to do: code, stack and configuration are as they should be.');
    return 0;
  }
  if (isConfigNew) print(findingText(good(`configuration: written to ${template.url('ConfigUrl', place)}`)));
  return look(examined, stack, invocation, print);
}

/** What the preview says, a line for each resource that would change. */
function changeLines(changes: readonly ResourceChange[], isNew: boolean): string[] {
  const lines = changes.flatMap(({ LogicalResourceId, ResourceType, Action, Replacement }) => {
    const what = `${LogicalResourceId} (${ResourceType.replace('ALIYUN::', '')})`;
    switch (Action ?? (isNew ? 'Add' : 'None')) {
      case 'Add':
        return [`  + ${what}`];
      case 'Modify':
        return [`  ~ ${what}${Replacement === 'True' ? ', replaced by a new one' : ''}`];
      case 'Remove':
        return [`  - ${what}`];
      default:
        return [];
    }
  });
  const total = isNew ? 'A new stack' : 'Changes to the stack';
  return lines.length === 0
    ? ['\nNo resource changes.']
    : [`\n${total}: ${counted(lines.length, 'resource')}`, ...lines];
}

async function remove(ros: Ros, stackId: string, { print }: DeployOptions, { deps }: Ground): Promise<void> {
  const seen = await eventsSoFar(ros, stackId);
  await ros.deleteStack(stackId);
  const { stack } = await followStack({ ros, stackId, seen, print, deps });
  if (stack === undefined || stack.Status === 'DELETE_COMPLETE') return;
  throw new AutocertError({
    code: 'REQUEST_REFUSED',
    message: `The stack ${stack.StackName} cannot be deleted: ${stack.StatusReason ?? stack.Status}.`,
    retryable: false,
    remedy: 'Delete it in the ROS console, or choose another --name.',
  });
}

/** The key has the hash of the zip in it: what is there already is the same. */
async function uploadCode(
  zip: Uint8Array,
  { CodeBucket, CodeObject }: { readonly CodeBucket: string; readonly CodeObject: string },
  { ground }: Examined,
  print: DeployOptions['print'],
): Promise<void> {
  const bucket = ground.bucket(CodeBucket);
  if ((await bucket.versioning()) === undefined) {
    await bucket.create();
    print(findingText(good(`code: the bucket ${CodeBucket} was made`)));
  }
  const isNew = await ground.oss(CodeBucket).put(CodeObject, zip, { forbidOverwrite: true });
  print(findingText(good(`code: oss://${CodeBucket}/${CodeObject} ${isNew ? 'uploaded' : 'is there already'}`)));
}

/** Creates or updates the stack and waits for its end; a failure is explained. */
async function putInPlace(
  existing: string | undefined,
  content: StackContent,
  { name, print }: DeployOptions,
  { ros, deps }: Ground,
  { runId }: Invocation,
): Promise<{ readonly stack: Stack; readonly changed: boolean } | undefined> {
  const token = createHash('sha256').update(`${runId} ${name} ${existing}`).digest('hex');
  let stackId: string;
  let seen = new Set<string>();
  if (existing === undefined) stackId = await ros.createStack(name, content, token);
  else {
    stackId = existing;
    seen = await eventsSoFar(ros, existing);
    if (!(await ros.updateStack(existing, content, token))) {
      const stack = await ros.getStack(existing);
      if (stack) return { stack, changed: false };
    }
  }
  print(`\nThe stack ${name} is being ${existing === undefined ? 'created' : 'updated'}:`);
  const followed = await followStack({ ros, stackId, seen, print, deps });
  const { stack } = followed;
  if (stack !== undefined && DONE.test(stack.Status)) {
    print(findingText(good(`stack: ${name} is ${stack.Status}`)));
    return { stack, changed: true };
  }
  print(`\nThe stack ${name} is ${stack?.Status ?? 'gone'}, because:`);
  for (const finding of explainFailure(followed)) print(findingText(finding));
  return undefined;
}

/** Writes the configuration to where the functions read it. False when the same is there. */
async function uploadConfig({ ground, template }: Examined, stack: Stack): Promise<boolean> {
  const url = outputOf(stack, 'ConfigUrl') ?? template.url('ConfigUrl', ground.place);
  const [bucket = '', ...key] = url.replace('oss://', '').split('/');
  const oss = ground.oss(bucket);
  const bytes = Buffer.from(ground.text);
  const there = await oss.get(key.join('/'));
  if (there !== undefined && bytes.equals(there)) return false;
  await oss.put(key.join('/'), bytes, { contentType: 'application/yaml; charset=utf-8' });
  return true;
}

function outputOf({ Outputs }: Stack, key: string): string | undefined {
  const value = (Outputs ?? []).find(({ OutputKey }) => OutputKey === key)?.OutputValue;
  return typeof value === 'string' ? value : undefined;
}

/** What the first run would do, and what happens from here on. */
async function look(
  { ground, parameters }: Examined,
  stack: Stack,
  invocation: Invocation,
  print: DeployOptions['print'],
): Promise<number> {
  const { place, text } = ground;
  const env = { ...invocation.env, AUTOCERT_CONFIG: text };
  const report = await run(Buffer.from('{}'), { ...invocation, region: place.region, env, plan: true });
  print(`\nWhat the next run would do:\n${outcomeTable(report).trimEnd()}`);
  const hours = String(parameters['RenewalIntervalHours']);
  const renew = outputOf(stack, 'RenewFunctionName') ?? `${place.name}-renew`;
  const status = outputOf(stack, 'StatusUrl');
  const log = outputOf(stack, 'LogProjectName');
  const every = hours === '1' ? 'hour' : `${hours} hours`;
  print(
    [
      '',
      `The timer starts renew every ${every}, the first time within the next ${every}. Now instead:`,
      `  autocert invoke --account ${place.account} --region ${place.region} --function ${renew}`,
      ...(status === undefined ? [] : [`Status page: ${status}`]),
      ...(log === undefined ? [] : [`Log: the project ${log} of Simple Log Service`]),
    ].join('\n'),
  );
  return isGoodRun(report) ? 0 : 1;
}

function underWay(name: string, status: string): AutocertError {
  return new AutocertError({
    code: 'SERVICE_BUSY',
    message: `The stack ${name} is ${status}.`,
    retryable: false,
    remedy: 'Wait until that is over, then run `autocert deploy` again.',
  });
}
