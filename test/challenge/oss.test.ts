import { expect, onTestFinished, test } from 'vitest';
import { createOss } from '../../src/aliyun/oss.ts';
import { createOssSolver } from '../../src/challenge/oss.ts';
import { ACCOUNT, credentials } from '../aliyun/account.ts';
import { realDeps } from '../aliyun/loopback.ts';
import { startOss } from '../sandbox/oss.ts';

const KEY = '.well-known/acme-challenge/token-1';
const CHALLENGE = { identifier: 'www.example.com', token: 'token-1', keyAuthorization: 'token-1.thumbprint' };

async function situation() {
  const sandbox = await startOss({ accounts: [ACCOUNT], buckets: { origin: {} } });
  const oss = createOss({ endpoint: sandbox.url, bucket: 'origin', credentials, deps: realDeps() });
  onTestFinished(async () => {
    oss.close();
    await sandbox.close();
  });
  return { sandbox, solver: createOssSolver({ prefix: '', oss }) };
}

test('the key authorization is exactly what the object of the token holds (RFC 8555 section 8.3)', async () => {
  const { sandbox, solver } = await situation();
  await solver.present(CHALLENGE);
  expect(sandbox.read('origin', KEY)?.toString()).toBe('token-1.thumbprint');
});

test('presenting twice is harmless, and cleanUp takes the object away and nothing else', async () => {
  const { sandbox, solver } = await situation();
  sandbox.write('origin', '.well-known/acme-challenge/token-2', 'of somebody else');
  await solver.present(CHALLENGE);
  await solver.present(CHALLENGE);
  await solver.cleanUp(CHALLENGE);
  expect(sandbox.read('origin', KEY)).toBeUndefined();
  expect(sandbox.read('origin', '.well-known/acme-challenge/token-2')?.toString()).toBe('of somebody else');
});

test('cleanUp of what was never there is no error', async () => {
  const { solver } = await situation();
  await solver.cleanUp(CHALLENGE);
});

test('a bucket that refuses the object is an error of the present step', async () => {
  const { sandbox, solver } = await situation();
  sandbox.intercept(({ method }) =>
    method === 'PUT'
      ? { status: 403, body: '<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>no</Message></Error>' }
      : undefined,
  );
  await expect(solver.present(CHALLENGE)).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
});
