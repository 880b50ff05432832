import { describe, expect, onTestFinished, test } from 'vitest';
import { createRos } from '../../src/aliyun/ros.ts';
import { createRpc } from '../../src/aliyun/rpc.ts';
import { getCallerIdentity } from '../../src/aliyun/sts.ts';
import { Secret } from '../../src/secret.ts';
import { createRos as createRosSandbox, type RosOptions } from '../sandbox/ros.ts';
import { startRpcServer } from '../sandbox/rpc-server.ts';
import { createSts } from '../sandbox/sts.ts';
import { templateText } from '../template/read.ts';
import { ACCOUNT, credentials } from './account.ts';
import { steppedDeps } from './loopback.ts';

const PARAMETERS = { CdnDomains: 'www.example.com', DnsZones: 'example.com', CodeBucket: 'builds' };
const CONTENT = { templateBody: templateText, parameters: PARAMETERS };

async function situation(options: Partial<RosOptions> = {}) {
  const sandbox = createRosSandbox({ account: '1234567890123456', ...options });
  const products = [sandbox, createSts({ accountId: '1234567890123456' })];
  const server = await startRpcServer({ products, accounts: [ACCOUNT] });
  const rpc = createRpc({ credentials, deps: steppedDeps() });
  onTestFinished(async () => {
    rpc.close();
    await server.close();
  });
  const ros = createRos({ rpc, endpoint: server.url, region: 'cn-hangzhou' });
  const created = async () => {
    const id = await ros.createStack('autocert', CONTENT, 'token-1');
    while ((await ros.getStack(id))?.Status === 'CREATE_IN_PROGRESS');
    return id;
  };
  return { sandbox, server, rpc, ros, created };
}

describe('a stack', () => {
  test('is created from the template and has its outputs', async () => {
    const { ros, created } = await situation();
    const stack = await ros.getStack(await created());
    expect(stack?.Status).toBe('CREATE_COMPLETE');
    expect(stack?.Outputs).toContainEqual({
      OutputKey: 'ConfigUrl',
      OutputValue: 'oss://autocert-1234567890123456-cn-hangzhou/config.yaml',
    });
  });

  test('is found by its exact name alone, and no more once it is deleted', async () => {
    const { ros, created } = await situation();
    const id = await created();
    expect((await ros.findStack('autocert'))?.StackId).toBe(id);
    expect(await ros.findStack('auto*')).toBeUndefined();
    await ros.deleteStack(id);
    while ((await ros.getStack(id))?.Status === 'DELETE_IN_PROGRESS');
    expect(await ros.findStack('autocert')).toBeUndefined();
  });

  test('with the same ClientToken is created once', async () => {
    const { sandbox, ros } = await situation();
    const one = await ros.createStack('autocert', CONTENT, 'token-1');
    expect(await ros.createStack('autocert', CONTENT, 'token-1')).toBe(one);
    expect(sandbox.stacks).toHaveLength(1);
  });

  test('keeps the parameters that an update does not give', async () => {
    const { sandbox, ros, created } = await situation();
    const id = await created();
    const parameters = { LogRetentionDays: '30' };
    expect(await ros.updateStack(id, { templateBody: templateText, parameters }, 'token-2')).toBe(true);
    expect(sandbox.stacks[0]?.parameters).toMatchObject({ ...PARAMETERS, LogRetentionDays: '30' });
  });

  test('that would stay the same is not updated, which is no error', async () => {
    const { ros, created } = await situation();
    expect(await ros.updateStack(await created(), CONTENT, 'token-2')).toBe(false);
  });

  test('another NotSupported is an error all the same', async () => {
    const { sandbox, ros } = await situation();
    sandbox.failures.set('RenewRole', 'Quota');
    const id = await ros.createStack('autocert', CONTENT, 'token-1');
    while ((await ros.getStack(id))?.Status !== 'CREATE_ROLLBACK_COMPLETE');
    await expect(ros.updateStack(id, CONTENT, 'token-2')).rejects.toMatchObject({ apiCode: 'NotSupported' });
  });

  test('that is gone is no error to delete, and undefined to look at', async () => {
    const { ros } = await situation();
    expect(await ros.getStack('nowhere')).toBeUndefined();
    await expect(ros.deleteStack('nowhere')).resolves.toBeUndefined();
  });

  test.each([
    [
      'StackExists',
      'another deployment',
      async ({ ros, created }: Situation) => {
        await created();
        await ros.createStack('autocert', CONTENT, 'token-2');
      },
    ],
    [
      'ActionInProgress',
      'under way',
      async ({ ros }: Situation) => {
        const id = await ros.createStack('autocert', CONTENT, 'token-1');
        await ros.updateStack(id, { ...CONTENT, parameters: { LogRetentionDays: '30' } }, 'token-2');
      },
    ],
    [
      'StackValidationFailed',
      'parameter',
      async ({ ros }: Situation) => {
        await ros.createStack('autocert', { ...CONTENT, parameters: { ...PARAMETERS, Name: 'No' } }, 'token-1');
      },
    ],
  ] as const)('%s is an error with a remedy', async (apiCode, words, act) => {
    const { rpc: _, ...rest } = await situation();
    await expect(act(rest)).rejects.toMatchObject({
      apiCode,
      retryable: false,
      remedy: expect.stringContaining(words),
    });
  });
});

type Situation = Pick<Awaited<ReturnType<typeof situation>>, 'ros' | 'created'>;

describe('events', () => {
  test('come oldest first, each once, over all pages', async () => {
    const { sandbox, ros, created } = await situation();
    const id = await created();
    const all = await ros.listStackEvents(id, new Set());
    expect(all.map(({ EventId }) => EventId)).toEqual(sandbox.stacks[0]?.events.map(({ EventId }) => EventId));
    expect(all.length).toBeGreaterThan(50);
    const seen = new Set(all.slice(0, -3).map(({ EventId }) => EventId));
    expect(await ros.listStackEvents(id, seen)).toEqual(all.slice(-3));
  });

  test('that are known cost one call', async () => {
    const { server, ros, created } = await situation();
    const id = await created();
    const seen = new Set((await ros.listStackEvents(id, new Set())).map(({ EventId }) => EventId));
    const before = server.callsOf('ListStackEvents').length;
    expect(await ros.listStackEvents(id, seen)).toEqual([]);
    expect(server.callsOf('ListStackEvents')).toHaveLength(before + 1);
  });
});

describe('a preview', () => {
  test('of a new stack adds every resource that its conditions let in', async () => {
    const { ros } = await situation();
    const changes = await ros.previewStack({ StackName: 'autocert' }, CONTENT);
    expect(new Set(changes?.map(({ Action }) => Action))).toEqual(new Set(['Add']));
    expect(changes?.map(({ LogicalResourceId }) => LogicalResourceId)).not.toContain('KmsPolicy');
  });

  test('of an update says what is added, changed and taken away', async () => {
    const { ros, created } = await situation();
    const StackId = await created();
    const parameters = { CdnEvents: 'false', CloudMonitor: 'true', LogRetentionDays: '30' };
    const changes = await ros.previewStack({ StackId }, { templateBody: templateText, parameters });
    const changed = changes?.filter(({ Action }) => Action !== 'None');
    expect(
      Object.fromEntries(changed?.map(({ LogicalResourceId, Action }) => [LogicalResourceId, Action]) ?? []),
    ).toEqual({ Logstore: 'Modify', RedeployCdnEvents: 'Remove', CloudMonitorPolicy: 'Add' });
  });
});

test('a secret goes into the request and into no message', async () => {
  const { sandbox, ros } = await situation();
  const secret = new Secret('dGhlLXZlcnktc2VjcmV0LWtleS1vZi0zMi1ieXRlcyE=');
  const parameters = { ...PARAMETERS, EncryptionKey: secret };
  await ros.createStack('autocert', { templateBody: templateText, parameters }, 'token-1');
  expect(sandbox.stacks[0]?.parameters['EncryptionKey']).toBe(secret.reveal());
  const wrong = { ...parameters, CloudMonitor: secret };
  const refused = ros.createStack('other', { templateBody: templateText, parameters: wrong }, 'token-2');
  await expect(refused).rejects.toThrow('StackValidationFailed');
  await expect(refused).rejects.not.toThrow(secret.reveal());
});

test('whose credentials they are is asked of STS', async () => {
  const { rpc, server } = await situation();
  expect(await getCallerIdentity(rpc, server.url)).toEqual({
    AccountId: '1234567890123456',
    Arn: 'acs:ram::1234567890123456:user/ops',
  });
});
