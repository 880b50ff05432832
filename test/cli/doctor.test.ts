import { describe, expect, onTestFinished, test } from 'vitest';
import { listen } from '../aliyun/loopback.ts';
import { CREDENTIALS } from '../sandbox/world.ts';
import { BUCKET, startDeployment } from './deployment.ts';

describe('autocert doctor', () => {
  test('says what is well, follows delegations, and writes nothing', async () => {
    const deployment = await startDeployment({
      zones: { 'example.com': [{ name: 'example.com', type: 'CAA', value: '0 issue "ca.example"' }] },
      elsewhere: {
        'example.net': [{ name: '_acme-challenge.shop.example.net', type: 'CNAME', value: 'shop.example.com' }],
      },
    });
    deployment.cdn.set('shop.example.net');
    const certificates = [
      { identifiers: ['example.com', '*.example.com'], targets: [{ domains: ['www.example.com'] }] },
    ];
    const config = deployment.config({ certificates: [...certificates, { identifiers: ['shop.example.net'] }] });

    const { stdout, exitCode } = await deployment.run(['doctor'], config);

    expect(stdout.split('\n')).toEqual([
      '✓ configuration: 2 certificates',
      '✓ account: 1234567890123456 as acs:ram::1234567890123456:user/ops, region cn-hangzhou',
      '✓ CDN: 2 of 2 domains there',
      '✓ DNS: the zone example.com takes the challenge records of 2 names',
      '✓ DNS: _acme-challenge.shop.example.net leads to shop.example.com, in the zone example.com',
      '✓ CAA: ca.example may issue for 3 of 3 names',
      `✓ store: the bucket ${BUCKET} is made with the stack`,
      '✓ services: FC, OSS, RAM, SLS are activated',
      '',
    ]);
    expect(exitCode).toBe(0);
    expect(deployment.rpc.calls.filter(({ action }) => !/^(Get|List|Describe)/.test(action))).toEqual([]);
    expect(deployment.oss.requests.map(({ method }) => method)).toEqual(['GET']);
  });

  test('says everything that is in the way at once, each with its remedy', async () => {
    const deployment = await startDeployment({
      zones: { 'example.com': [{ name: 'example.com', type: 'CAA', value: '0 issue "other.example"' }] },
      elsewhere: { 'example.net': [] },
      services: { FC: 'Disabled', SLS: 'Unknown' },
    });
    deployment.oss.addBucket(BUCKET, { versioning: 'Suspended' });
    deployment.cdn.set('old.example.com', { status: 'offline' });
    const identifiers = ['www.example.com', 'old.example.com', 'gone.example.com', 'www.example.net'];
    const config = deployment.config({
      certificates: identifiers.map((name) => ({ identifiers: [name] })),
      store: 'file:///var/lib/autocert',
      renewal: { interval: '5h' },
      heartbeat: '${FC_HEARTBEAT}',
    });

    const { stdout, exitCode } = await deployment.run(['doctor', '--parameter', 'LogRetentionDays=1'], config, {
      FC_HEARTBEAT: 'https://example.com/ping',
    });

    const lines = stdout.split('\n').filter((line) => /^[!✗]/.test(line));
    expect(lines).toEqual([
      '! CDN: old.example.com is offline',
      '✗ CDN: gone.example.com is no domain of this account',
      '✗ CDN: www.example.net is no domain of this account',
      '✗ DNS_ZONE_NOT_FOUND: no zone of this account in Alibaba Cloud DNS holds _acme-challenge.www.example.net',
      ...['www', 'old', 'gone'].map(
        (label) =>
          `✗ CAA: the records of example.com do not let ca.example issue for ${label}.example.com: 0 issue "other.example"`,
      ),
      '✗ store: a file store is not where the functions may write',
      `✗ store: versioning of the bucket ${BUCKET} is Suspended: two runs could both take the lease`,
      '✗ the configuration names ${FC_HEARTBEAT}, which Function Compute reserves',
      '✗ no timer of Function Compute has the interval of renewal.interval',
      '✗ the parameter LogRetentionDays cannot be "1"',
      '✗ services: FC is not activated',
      '! services: ROS cannot tell whether SLS is activated',
    ]);
    expect(stdout).toContain('    Activate it at https://common-buy.aliyun.com/?commodityCode=fc.\n');
    expect(stdout.match(/^ {4}\S.*\.$/gm)).toHaveLength(lines.length);
    expect(exitCode).toBe(1);
  });

  test('a configuration that is wrong is told by line, and nothing else is looked at', async () => {
    const deployment = await startDeployment();
    const config = deployment.config({ certificats: [], renewal: { interval: 'often' } });

    const { stdout, exitCode } = await deployment.run(['doctor'], config);

    expect(stdout).toContain('✗ certificats (line 1): found');
    expect(stdout).toContain('✗ renewal.interval (line 1): found "often"');
    expect(exitCode).toBe(2);
    expect(deployment.rpc.calls).toEqual([]);
  });

  test('a secret that is wrong is one finding, not ten, and is shown nowhere', async () => {
    const deployment = await startDeployment();
    deployment.accounts.splice(0, 1, { ...CREDENTIALS, accessKeySecret: 'another-secret-4711', userId: 'user' });

    const { stdout, stderr, exitCode } = await deployment.run(['doctor', '--verbose'], deployment.config());

    expect(stdout).toMatch(
      /^✗ CREDENTIALS_REFUSED: GetCallerIdentity: SignatureDoesNotMatch: .*\n {4}Check that .*\n$/,
    );
    expect(`${stdout}${stderr}`).not.toContain(CREDENTIALS.accessKeySecret);
    expect(exitCode).toBe(1);
  });

  test('a permission that is missing costs its own check alone', async () => {
    const deployment = await startDeployment();
    deployment.accounts.splice(0, 1, { ...CREDENTIALS, userId: 'user', denied: ['GetServiceProvisions'] });

    const { stdout, exitCode } = await deployment.run(['doctor'], deployment.config());

    expect(stdout).toContain('✓ CAA: ca.example may issue');
    expect(stdout).toContain('    Allow the user of these credentials ros:GetServiceProvisions on this resource');
    expect(exitCode).toBe(1);
  });

  test('a name that no stack can have is refused before anything is asked', async () => {
    const deployment = await startDeployment();

    const { stdout, exitCode } = await deployment.run(['doctor', '--name', 'My_Stack'], deployment.config());

    expect(stdout).toContain('✗ no stack can have the name "My_Stack"\n    Give --name 3 to 20');
    expect(exitCode).toBe(2);
    expect(deployment.rpc.calls).toEqual([]);
  });

  test('without a region it asks for one', async () => {
    const deployment = await startDeployment();

    const { stdout, exitCode } = await deployment.run(['doctor'], deployment.config(), {
      ALIBABA_CLOUD_REGION_ID: '',
    });

    expect(stdout).toContain('--region');
    expect(exitCode).toBe(2);
  });

  test('with --test each channel gets a message', async () => {
    const deployment = await startDeployment();
    const receiver = await listen((_, response) => response.end('{}'));
    onTestFinished(() => receiver.close());
    const config = deployment.config({ notify: [{ channel: 'webhook', url: '${HOOK}' }] });

    const { stdout, exitCode } = await deployment.run(['doctor', '--test'], config, { HOOK: `${receiver.url}/hook` });

    expect(stdout).toMatch(/webhook +sent\n$/);
    expect(receiver.received).toHaveLength(1);
    expect(exitCode).toBe(0);
  });
});

test.each([
  [['destroy', '--dry-run', '--yes'], '--dry-run belongs to deploy'],
  [['deploy', '--yes'], '--yes belongs to destroy'],
  [['renew', '--test'], '--test belongs to notify and doctor'],
])('%s is refused: an option that would be passed over does harm', async (args, words) => {
  const { autocert } = await import('../sandbox/terminal.ts');

  const { stderr, exitCode } = await autocert(args);

  expect(stderr).toContain(words);
  expect(exitCode).toBe(2);
});
