import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ApiError } from '../sandbox/product.ts';
import { ACCOUNT_ID, BUCKET, CODE_BUCKET, type Deployment, KEY, startDeployment } from './deployment.ts';

/** Writes of any kind that the two servers saw, after the first so many requests of each. */
function writes({ rpc, oss }: Deployment, since = { calls: 0, requests: 0 }): string[] {
  const calls = rpc.calls.slice(since.calls).map(({ action }) => action);
  const requests = oss.requests.slice(since.requests).filter(({ method }) => method !== 'GET');
  return [
    ...calls.filter((action) => !/^(Get|List|Describe|Preview)/.test(action)),
    ...requests.map(({ method, bucket, code }) => `${method} ${bucket} ${code}`),
  ];
}

describe('autocert deploy', () => {
  test('the first time it makes everything, and a second time it changes only what changed', async () => {
    const deployment = await startDeployment({ pace: 10 });
    const { ros, oss, rpc } = deployment;
    const config = deployment.config();

    const first = await deployment.run(['deploy', '--verbose'], config);

    expect(first.stderr).not.toContain(KEY);
    expect(first.stdout).not.toContain(KEY);
    expect(first.stdout).toContain('The stack autocert is being created:\n  ✓ Bucket (OSS::Bucket) create complete\n');
    expect(first.stdout).toMatch(/^www {2}deferred {2}renew NotIssued/m);
    expect(first.stdout).toContain(
      `autocert invoke --account ${ACCOUNT_ID} --region cn-hangzhou --function autocert-renew\n`,
    );
    expect(first.exitCode).toBe(0);
    const [stack] = ros.stacks;
    expect(stack?.status).toBe('CREATE_COMPLETE');
    const codeObject = stack?.parameters['CodeObject'] ?? '';
    expect(stack?.parameters).toMatchObject({
      Name: 'autocert',
      CdnDomains: 'www.example.com',
      DnsZones: 'example.com',
      CodeBucket: CODE_BUCKET,
      CodeObject: expect.stringMatching(/^autocert-[0-9a-f]{16}\.zip$/),
      CreateBucket: 'true',
      RenewalIntervalHours: '6',
      EncryptionKey: KEY,
      LogRetentionDays: '90',
    });
    expect(oss.bucket(CODE_BUCKET).acl).toBe('private');
    expect(oss.read(CODE_BUCKET, codeObject)?.subarray(0, 2).toString()).toBe('PK');
    expect(oss.read(BUCKET, 'config.yaml')?.toString()).toBe(JSON.stringify(config));

    const since = { calls: rpc.calls.length, requests: oss.requests.length };
    const second = await deployment.run(['deploy'], config);

    expect(second.stdout).toContain('Nothing to do: code, stack and configuration are as they should be.');
    expect(second.exitCode).toBe(0);
    // ROS itself says that there is nothing to update, and OSS that the object is there.
    expect(writes(deployment, since)).toEqual(['UpdateStack', `PUT ${CODE_BUCKET} FileAlreadyExists`]);
    expect(rpc.callsOf('UpdateStack').map(({ code }) => code)).toEqual(['NotSupported']);

    const changed = deployment.config({ renewal: { interval: '12h' } });
    const third = await deployment.run(['deploy', '--parameter', 'LogRetentionDays=30'], changed);

    expect(third.stdout).toContain('Changes to the stack: 2 resources\n  ~ Logstore (SLS::Logstore)\n');
    expect(third.stdout).toContain('The timer starts renew every 12 hours');
    expect(third.exitCode).toBe(0);
    expect(stack?.status).toBe('UPDATE_COMPLETE');
    expect(stack?.parameters).toMatchObject({ RenewalIntervalHours: '12', LogRetentionDays: '30', EncryptionKey: KEY });
    expect(oss.read(BUCKET, 'config.yaml')?.toString()).toBe(JSON.stringify(changed));
    expect(rpc.violations).toEqual([]);
  });

  test('with --dry-run it says what would be done and does none of it', async () => {
    const deployment = await startDeployment();

    const { stdout, exitCode } = await deployment.run(['deploy', '--dry-run'], deployment.config());

    expect(stdout).toContain('  + RenewFunction (FC3::Function)\n');
    expect(stdout).toContain('Nothing was changed: this was --dry-run.');
    expect(exitCode).toBe(0);
    expect(writes(deployment)).toEqual([]);
  });

  test('a stack that failed is explained by its first cause, and the next attempt clears it away', async () => {
    const deployment = await startDeployment();
    const { ros, oss } = deployment;
    ros.failures.set('RenewRole', 'EntityAlreadyExists.Role: The role already exists: autocert-renew');

    const failed = await deployment.run(['deploy'], deployment.config());

    expect(failed.exitCode).toBe(1);
    expect(failed.stdout).toMatch(
      /The stack autocert is CREATE_ROLLBACK_COMPLETE, because:\n✗ RenewRole \(ALIYUN::RAM::Role\): EntityAlreadyExists.Role: .*\n {4}Choose another --name, or delete what has this name already\.\n$/,
    );
    expect(oss.read(BUCKET, 'config.yaml')).toBeUndefined();

    ros.failures.clear();
    const { stdout, exitCode } = await deployment.run(['deploy'], deployment.config());

    expect(stdout).toContain(
      'The stack autocert of an earlier attempt is CREATE_ROLLBACK_COMPLETE: it is deleted first.',
    );
    expect(exitCode).toBe(0);
    expect(ros.stacks.map(({ status }) => status)).toEqual(['DELETE_COMPLETE', 'CREATE_COMPLETE']);
    // The bucket outlived the first attempt.
    expect(ros.stacks[1]?.parameters['CreateBucket']).toBe('false');
  });

  test('an update that fails is rolled back and explained, and the configuration stays as it was', async () => {
    const deployment = await startDeployment();
    const { ros, oss } = deployment;
    const config = deployment.config();
    await deployment.run(['deploy'], config);
    ros.failures.set('RenewTimer', 'NoPermission: You are not authorized to do this action: fc:UpdateTrigger');

    const { stdout, exitCode } = await deployment.run(['deploy'], deployment.config({ renewal: { interval: '1h' } }));

    expect(exitCode).toBe(1);
    expect(stdout).toContain(
      'The stack autocert is ROLLBACK_COMPLETE, because:\n✗ RenewTimer (ALIYUN::FC3::Trigger): NoPermission: You are',
    );
    expect(stdout).toContain('Give the user that deploys the permission that the reason names');
    expect(oss.read(BUCKET, 'config.yaml')?.toString()).toBe(JSON.stringify(config));
  });

  test('what the doctor finds stops it before anything is written', async () => {
    const deployment = await startDeployment();
    const config = deployment.config({ store: 'oss://elsewhere/autocert' });

    const { stdout, exitCode } = await deployment.run(['deploy'], config);

    expect(stdout).toContain(`✗ store: oss://elsewhere/autocert is not where the functions may write\n`);
    expect(stdout).toContain(`Set store to oss://${BUCKET}/autocert in the configuration.`);
    expect(stdout).toContain('Nothing was changed');
    expect(exitCode).toBe(1);
    expect(writes(deployment)).toEqual([]);
  });

  test('an answer that is lost does not make a second stack', async () => {
    const deployment = await startDeployment();
    const { ros, rpc } = deployment;
    rpc.intercept(({ action, nth }) => (action === 'CreateStack' && nth === 1 ? 'reset-after' : undefined));

    const { exitCode } = await deployment.run(['deploy'], deployment.config());

    expect(exitCode).toBe(0);
    expect(rpc.callsOf('CreateStack').map(({ code }) => code)).toEqual(['reset-after', 'OK']);
    expect(ros.stacks.map(({ status }) => status)).toEqual(['CREATE_COMPLETE']);
  });

  test('it leaves a stack alone that somebody else is changing', async () => {
    const deployment = await startDeployment({ pace: 0 });
    deployment.rpc.intercept(({ action, nth }) =>
      action === 'GetStack' && nth === 1 ? new ApiError(403, 'Forbidden.RAM', 'Not authorized.') : undefined,
    );
    // The first one ends before its stack does.
    const first = await deployment.run(['deploy'], deployment.config());
    expect(first.stdout).toContain('Allow the user of these credentials ros:GetStack on this resource');

    const { stdout, exitCode } = await deployment.run(['deploy'], deployment.config());

    expect(stdout).toContain('✗ SERVICE_BUSY: The stack autocert is CREATE_IN_PROGRESS.');
    expect(exitCode).toBe(1);
    expect(deployment.rpc.callsOf('UpdateStack')).toEqual([]);
  });

  test('it takes the configuration from a file, leaves it as it is, and names the stack as told', async () => {
    const deployment = await startDeployment();
    const folder = await mkdtemp(join(tmpdir(), 'autocert-config-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const path = join(folder, 'autocert.yaml');
    const text = `# Ours\n${JSON.stringify(deployment.config({ store: `oss://edge-${ACCOUNT_ID}-cn-shanghai/autocert` }))}\n`;
    await writeFile(path, text);

    const args = ['deploy', '--config', path, '--name', 'edge', '--region', 'cn-shanghai', '--code-bucket', 'builds'];
    const { stdout, exitCode } = await deployment.run(args, undefined);

    expect(stdout).toContain('✓ stack: edge is CREATE_COMPLETE');
    expect(exitCode).toBe(0);
    expect(deployment.oss.read(`edge-${ACCOUNT_ID}-cn-shanghai`, 'config.yaml')?.toString()).toBe(text);
    expect(deployment.oss.hasBucket('builds')).toBe(true);
  });
});
