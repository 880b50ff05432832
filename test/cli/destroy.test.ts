import { describe, expect, onTestFinished, test } from 'vitest';
import { createRos as createRosClient } from '../../src/aliyun/ros.ts';
import { createRpc } from '../../src/aliyun/rpc.ts';
import { destroy } from '../../src/cli/destroy.ts';
import { ACCOUNT, credentials } from '../aliyun/account.ts';
import { realDeps } from '../aliyun/loopback.ts';
import { createRos, type RosOptions } from '../sandbox/ros.ts';
import { startRpcServer } from '../sandbox/rpc-server.ts';
import { templateText } from '../template/read.ts';

/** A stack that stands, and a person who answers `answer`; undefined for nobody. */
async function situation(answer: string | undefined, options: Partial<RosOptions> = {}) {
  const ros = createRos({ account: '1234567890123456', ...options });
  const server = await startRpcServer({ products: [ros], accounts: [ACCOUNT] });
  const deps = realDeps();
  const rpc = createRpc({ credentials, deps });
  onTestFinished(async () => {
    rpc.close();
    await server.close();
  });
  const client = createRosClient({ rpc, endpoint: server.url, region: 'cn-hangzhou' });
  const parameters = { CdnDomains: 'www.example.com', DnsZones: 'example.com', CodeBucket: 'builds' };
  const id = await client.createStack('autocert', { templateBody: templateText, parameters }, 'token');
  while ((await client.getStack(id))?.Status !== 'CREATE_COMPLETE');

  const printed: string[] = [];
  const questions: string[] = [];
  const now = new Date();
  const run = async (more: { name?: string; yes?: boolean; region?: string | undefined } = {}) =>
    destroy(
      {
        name: 'autocert',
        region: 'cn-hangzhou',
        yes: false,
        print: (text) => printed.push(text),
        ask: async (question) => {
          questions.push(question);
          return answer;
        },
        ...more,
      },
      {
        runId: 'test',
        env: { ALIBABA_CLOUD_ROS_ENDPOINT: server.url },
        region: undefined,
        credentials: await credentials(),
        endsAt: new Date(now.getTime() + 120_000),
        now: () => new Date(),
        random: Math.random,
        write: () => undefined,
        plan: false,
      },
    );
  return { ros, server, run, printed, questions };
}

describe('autocert destroy', () => {
  test('asks, deletes all but the bucket, and says what that means', async () => {
    const { ros, run, printed, questions } = await situation('autocert');

    expect(await run()).toBe(0);

    expect(questions).toEqual(['Type autocert to delete it: ']);
    expect(ros.stacks.map(({ status, present }) => [status, [...present]])).toEqual([['DELETE_COMPLETE', ['Bucket']]]);
    expect(printed.join('\n')).toContain('nobody renews them');
  });

  test.each([
    ['another answer', 'autocret', 1, 'Nothing was changed.'],
    ['nobody to ask', undefined, 2, 'Nobody is here to be asked: give --yes.'],
  ])('%s deletes nothing', async (_, answer, exitCode, words) => {
    const { ros, server, run, printed } = await situation(answer);

    expect(await run()).toBe(exitCode);

    expect(printed.at(-1)).toBe(words);
    expect(ros.stacks.map(({ status }) => status)).toEqual(['CREATE_COMPLETE']);
    expect(server.callsOf('DeleteStack')).toEqual([]);
  });

  test('with --yes nobody is asked, and a second time there is nothing to delete', async () => {
    const { ros, run, printed, questions } = await situation(undefined);

    expect(await run({ yes: true })).toBe(0);
    expect(await run({ yes: true })).toBe(0);

    expect(questions).toEqual([]);
    expect(ros.stacks.map(({ status }) => status)).toEqual(['DELETE_COMPLETE']);
    expect(printed.at(-1)).toBe('There is no stack autocert in cn-hangzhou.');
  });

  test('a stack of a name that only begins alike is left alone', async () => {
    const { ros, run } = await situation('auto*');

    expect(await run({ name: 'auto*' })).toBe(0);

    expect(ros.stacks.map(({ status }) => status)).toEqual(['CREATE_COMPLETE']);
  });

  test('without a region nothing is asked for', async () => {
    const { server, run, printed } = await situation('autocert');
    const before = server.calls.length;

    expect(await run({ region: undefined })).toBe(2);

    expect(printed.join('\n')).toContain('Give --region cn-hangzhou');
    expect(server.calls.length).toBe(before);
  });
});
