import { expect, onTestFinished, test } from 'vitest';
import { createBucket } from '../../src/aliyun/bucket.ts';
import { Secret } from '../../src/secret.ts';
import { type OssAccount, startOss } from '../sandbox/oss.ts';
import type { BucketOptions } from '../sandbox/oss-bucket.ts';
import { fastDeps, listen } from './loopback.ts';

const account: OssAccount = { accessKeyId: 'LTAIsandbox', accessKeySecret: 'canary-secret' };

async function situation(buckets: Record<string, BucketOptions>, more: Partial<OssAccount> = {}) {
  const server = await startOss({ accounts: [{ ...account, ...more }], buckets });
  onTestFinished(() => server.close());
  return { server, bucket: open(server.url) };
}

function open(endpoint: string) {
  const credentials = () => ({ accessKeyId: 'LTAIsandbox', accessKeySecret: new Secret('canary-secret') });
  const bucket = createBucket({ endpoint, bucket: 'autocert-state', credentials, deps: fastDeps() });
  onTestFinished(() => bucket.close());
  return bucket;
}

test.each<[string, BucketOptions, string]>([
  ['without versioning', {}, 'never'],
  ['with versioning', { versioning: 'Enabled' }, 'Enabled'],
  ['whose versioning was stopped', { versioning: 'Suspended' }, 'Suspended'],
])('a bucket %s', async (_, options, versioning) => {
  const { bucket } = await situation({ 'autocert-state': options });
  expect(await bucket.versioning()).toBe(versioning);
});

test('a bucket that is not there is made, private, and making it again is no error', async () => {
  const { server, bucket } = await situation({});
  expect(await bucket.versioning()).toBeUndefined();
  await bucket.create();
  await bucket.create();
  expect(await bucket.versioning()).toBe('never');
  expect(server.bucket('autocert-state').acl).toBe('private');
});

test.each([
  ['looked at', 'oss:GetBucketVersioning', (bucket: ReturnType<typeof open>) => bucket.versioning()],
  ['made', 'oss:PutBucket', (bucket: ReturnType<typeof open>) => bucket.create()],
])('one that may not be %s names the action and the bucket', async (_, action, act) => {
  const { bucket } = await situation({ 'autocert-state': {} }, { allows: () => false });
  await expect(act(bucket)).rejects.toMatchObject({
    code: 'PERMISSION_DENIED',
    message: `${action} on autocert-state: AccessDenied (HTTP 403)`,
    remedy: expect.stringContaining(`${action} on acs:oss:*:*:autocert-state in`),
  });
});

test('a page that is not from OSS is taken for nothing', async () => {
  const stranger = await listen((_, response) => response.end('<html>hello</html>'));
  onTestFinished(() => stranger.close());
  await expect(open(stranger.url).versioning()).rejects.toMatchObject({ code: 'RESPONSE_INVALID' });
  await expect(open(stranger.url).create()).rejects.toMatchObject({ code: 'RESPONSE_INVALID' });
});
