/** The double as the official SDK sees it. */
import { createRequire } from 'node:module';
import { $OpenApiUtil } from '@alicloud/openapi-core';
import type * as Sdk from '@alicloud/ros20190910';
import { describe, expect, onTestFinished, test } from 'vitest';
import { templateText } from '../template/read.ts';
import { createRos, type RosOptions } from './ros.ts';
import { startRpcServer } from './rpc-server.ts';

/** As CommonJS: Node and Vite do not agree on what such a module has as its default import. */
const {
  default: RosClient,
  CreateStackRequest,
  CreateStackRequestParameters,
  DeleteStackRequest,
  GetServiceProvisionsRequest,
  GetServiceProvisionsRequestParameters,
  GetStackRequest,
  ListStackEventsRequest,
  ListStacksRequest,
  PreviewStackRequest,
  PreviewStackRequestParameters,
  UpdateStackRequest,
  UpdateStackRequestParameters,
}: (typeof Sdk)['default'] = createRequire(import.meta.url)('@alicloud/ros20190910');

const regionId = 'cn-hangzhou';
const PARAMETERS = { CdnDomains: 'www.example.com', DnsZones: 'example.com', CodeBucket: 'builds' };

async function situation(options: Partial<RosOptions> = {}) {
  const ros = createRos({ account: '1234567890123456', ...options });
  const server = await startRpcServer({
    products: [ros],
    accounts: [{ accessKeyId: 'ak', accessKeySecret: 'secret', userId: 'user' }],
  });
  onTestFinished(() => server.close());
  const sdk = new RosClient(
    new $OpenApiUtil.Config({
      accessKeyId: 'ak',
      accessKeySecret: 'secret',
      endpoint: server.endpoint,
      protocol: 'HTTP',
      // The first evaluation of a template loads jq.
      readTimeout: 30_000,
    }),
  );
  const create = async (given: Record<string, string> = PARAMETERS, stackName = 'autocert') => {
    const parameters = Object.entries(given).map(
      ([parameterKey, parameterValue]) => new CreateStackRequestParameters({ parameterKey, parameterValue }),
    );
    const request = new CreateStackRequest({ regionId, stackName, templateBody: templateText, parameters });
    return (await sdk.createStack(request)).body?.stackId ?? '';
  };
  const look = async (stackId: string) => (await sdk.getStack(new GetStackRequest({ regionId, stackId }))).body;
  return { ros, sdk, create, look };
}

describe('what the SDK reads', () => {
  test('a stack over its life, with outputs, and without what NoEcho hides', async () => {
    const { sdk, create, look } = await situation({ pace: 15 });
    const id = await create({ ...PARAMETERS, EncryptionKey: 'the-key' });
    const statuses = [(await look(id))?.status, (await look(id))?.status];
    const stack = await look(id);
    expect([...statuses, stack?.status]).toEqual(['CREATE_IN_PROGRESS', 'CREATE_IN_PROGRESS', 'CREATE_COMPLETE']);
    expect(stack?.outputs?.map(({ OutputKey }) => OutputKey)).toContain('StatusUrl');
    const key = stack?.parameters?.find(({ parameterKey }) => parameterKey === 'EncryptionKey');
    expect(key?.parameterValue).toBe('******');

    const list = await sdk.listStacks(new ListStacksRequest({ regionId, stackName: ['auto*'] }));
    expect(list.body?.stacks?.map(({ stackId, status }) => [stackId, status])).toEqual([[id, 'CREATE_COMPLETE']]);

    await sdk.deleteStack(new DeleteStackRequest({ regionId, stackId: id }));
    while ((await look(id))?.status === 'DELETE_IN_PROGRESS');
    expect((await look(id))?.status).toBe('DELETE_COMPLETE');
  });

  test('the events of a failure: what failed, what was broken off, what was taken back', async () => {
    const { ros, sdk, create, look } = await situation();
    ros.failures.set('LogIndex', 'ProjectNotExist');
    const stackId = await create();
    while ((await look(stackId))?.status !== 'CREATE_ROLLBACK_COMPLETE');
    const request = new ListStackEventsRequest({ regionId, stackId, pageSize: 50 });
    const events = (await sdk.listStackEvents(request)).body?.events ?? [];
    const told = events.map((event) => `${event.logicalResourceId} ${event.status} ${event.statusReason}`).reverse();
    expect(told.filter((line) => /FAILED|DELETE_COMPLETE/.test(line))).toEqual([
      'LogIndex CREATE_FAILED ProjectNotExist',
      'LogAlert CREATE_FAILED CREATE cancelled',
      'Logstore DELETE_COMPLETE state changed',
      'LogProject DELETE_COMPLETE state changed',
    ]);
    expect((await look(stackId))?.statusReason).toBe('Resource CREATE failed: ProjectNotExist');
  });

  test('a preview and the services that the template needs', async () => {
    const { sdk } = await situation({ services: { SLS: 'Disabled' } });
    const entries = Object.entries(PARAMETERS).map(([parameterKey, parameterValue]) => ({
      parameterKey,
      parameterValue,
    }));
    const preview = await sdk.previewStack(
      new PreviewStackRequest({
        regionId,
        stackName: 'autocert',
        templateBody: templateText,
        parameters: entries.map((entry) => new PreviewStackRequestParameters(entry)),
      }),
    );
    const bucket = preview.body?.stack?.resources?.find(({ logicalResourceId }) => logicalResourceId === 'Bucket');
    expect(bucket).toMatchObject({ resourceType: 'ALIYUN::OSS::Bucket', action: 'Add' });
    const services = await sdk.getServiceProvisions(
      new GetServiceProvisionsRequest({
        regionId,
        templateBody: templateText,
        parameters: entries.map((entry) => new GetServiceProvisionsRequestParameters(entry)),
      }),
    );
    const sls = services.body?.serviceProvisions?.find(({ serviceName }) => serviceName === 'SLS');
    expect(sls).toMatchObject({ status: 'Disabled', enableURL: expect.stringMatching(/^https:/) });
  });
});

describe('what it refuses', () => {
  test.each([
    ['a value that is not allowed', { ...PARAMETERS, RenewalIntervalHours: '5' }, "Parameter 'RenewalIntervalHours'"],
    ['a pattern that does not match', { ...PARAMETERS, Name: '9lives' }, "Parameter 'Name'"],
    ['a number out of its range', { ...PARAMETERS, LogRetentionDays: '1' }, "Parameter 'LogRetentionDays'"],
    ['a parameter without value', { CdnDomains: 'www.example.com' }, 'The Parameter (DnsZones) was not provided.'],
    ['a parameter that is not defined', { ...PARAMETERS, Nmae: 'a' }, 'The Parameter (Nmae) was not defined'],
  ])('%s', async (_, parameters, words) => {
    const { ros, create } = await situation();
    await expect(create(parameters)).rejects.toThrow(words);
    expect(ros.stacks).toEqual([]);
  });

  test('a name that is taken, a change during a change, and a change that changes nothing', async () => {
    const { sdk, create, look } = await situation();
    const stackId = await create();
    await expect(create()).rejects.toMatchObject({ code: 'StackExists' });
    const parameters = [new UpdateStackRequestParameters({ parameterKey: 'LogRetentionDays', parameterValue: '90' })];
    const request = new UpdateStackRequest({
      regionId,
      stackId,
      templateBody: templateText,
      parameters,
      usePreviousParameters: true,
    });
    await expect(sdk.updateStack(request)).rejects.toMatchObject({ code: 'ActionInProgress' });
    while ((await look(stackId))?.status !== 'CREATE_COMPLETE');
    await expect(sdk.updateStack(request)).rejects.toMatchObject({ code: 'NotSupported' });
    await expect(look('nowhere')).rejects.toMatchObject({ code: 'StackNotFound' });
  });
});
