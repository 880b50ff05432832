import { afterEach, describe, expect, test } from 'vitest';
import type { Credentials } from '../../src/aliyun/credentials.ts';
import { createOss, type Oss } from '../../src/aliyun/oss.ts';
import { Secret } from '../../src/secret.ts';
import { createOssStore } from '../../src/store/oss.ts';
import { type OssAccount, type OssOptions, type Oss as OssServer, startOss } from '../sandbox/oss.ts';
import { OssError } from '../sandbox/oss-api.ts';
import { fastDeps, type Loopback, listen, realDeps } from './loopback.ts';

const BUCKET = 'autocert-state';
const account: OssAccount = { accessKeyId: 'LTAIsandbox', accessKeySecret: 'canary-secret' };
const bytes = new TextEncoder().encode('hello');

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function sandbox(options: Partial<OssOptions> = {}): Promise<OssServer> {
  const server = await startOss({ accounts: [account], buckets: { [BUCKET]: {} }, ...options });
  closing.push(() => server.close());
  return server;
}

function client(
  endpoint: string,
  options: { readonly account?: () => OssAccount; readonly timeout?: number; readonly bucket?: string } = {},
): Oss {
  const credentials = async (): Promise<Credentials> => {
    const { accessKeyId, accessKeySecret, securityToken } = (options.account ?? (() => account))();
    const token = securityToken === undefined ? {} : { securityToken: new Secret(securityToken) };
    return { accessKeyId, accessKeySecret: new Secret(accessKeySecret), ...token };
  };
  const { bucket = BUCKET, timeout } = options;
  const oss = createOss({ endpoint, bucket, credentials, deps: fastDeps(), ...(timeout !== undefined && { timeout }) });
  closing.push(() => oss.close());
  return oss;
}

/** A server that is no OSS at all, however it answers. */
async function stranger(answer: Parameters<typeof listen>[0]): Promise<Loopback> {
  const server = await listen(answer);
  closing.push(() => server.close());
  return server;
}

describe('an object', () => {
  test('is encrypted at rest by OSS, typed, and signed over', async () => {
    const server = await sandbox();
    const oss = client(server.url);
    await oss.put('a/b.json', bytes, { contentType: 'application/json' });
    expect(server.bucket(BUCKET).latest('a/b.json')?.object?.headers).toMatchObject({
      'content-type': 'application/json',
      'x-oss-server-side-encryption': 'AES256',
    });
    expect(server.requests.map(({ method, status }) => [method, status])).toEqual([['PUT', 200]]);
  });

  test('list pages are followed to the end', async () => {
    const keys = Array.from({ length: 2_345 }, (_, index) => `k/${String(index).padStart(4, '0')}`);
    const server = await sandbox({
      buckets: { [BUCKET]: { objects: Object.fromEntries(keys.map((key) => [key, 'x'])) } },
    });
    expect(await client(server.url).list('k/')).toEqual(keys);
    expect(server.requests).toHaveLength(3);
  });
});

describe('F12 a lost answer', () => {
  test('to a creation that took place is no refusal: what is there is what was written', async () => {
    const server = await sandbox();
    server.intercept(({ method, nth }) => (method === 'PUT' && nth === 1 ? 'reset-after' : undefined));
    expect(await client(server.url).put('lease/1', bytes, { forbidOverwrite: true })).toBe(true);
    expect(server.requests.map(({ method, code }) => `${method} ${code}`)).toEqual([
      'PUT reset-after',
      'PUT FileAlreadyExists',
      'GET OK',
    ]);
  });

  test('to a creation that another was faster to make is a refusal', async () => {
    const server = await sandbox();
    server.intercept(({ method, nth }) => {
      if (method !== 'PUT' || nth !== 1) return undefined;
      server.write(BUCKET, 'lease/1', 'of another run');
      return 'reset';
    });
    expect(await client(server.url).put('lease/1', bytes, { forbidOverwrite: true })).toBe(false);
    expect(server.read(BUCKET, 'lease/1')?.toString()).toBe('of another run');
  });
});

describe('F36 a failure that passes', () => {
  test.each([
    { situation: 'a connection that is cut', interception: 'reset' as const },
    {
      situation: 'an internal error',
      interception: new OssError(500, 'InternalError', 'We encountered an internal error.'),
    },
    {
      situation: 'a service that is unavailable',
      interception: new OssError(503, 'ServiceUnavailable', 'Please try again.'),
    },
    { situation: 'too many requests', interception: new OssError(503, 'SlowDown', 'Reduce your request rate.') },
    { situation: 'a page of a proxy', interception: { status: 502, body: '<html><body>Bad Gateway</body></html>' } },
  ])('is tried again: $situation', async ({ interception }) => {
    const server = await sandbox({ buckets: { [BUCKET]: { objects: { a: 'hello' } } } });
    server.intercept(({ nth }) => (nth === 1 ? interception : undefined));
    expect(Buffer.from((await client(server.url).get('a')) ?? []).toString()).toBe('hello');
    expect(server.requests).toHaveLength(2);
  });

  test('is tried again when nothing answers in time', async () => {
    const server = await sandbox({ buckets: { [BUCKET]: { objects: { a: 'hello' } } } });
    server.intercept(({ nth }) => (nth === 1 ? 'hang' : undefined));
    expect(await client(server.url, { timeout: 300 }).get('a')).toHaveLength(5);
  });

  test('F13 is tried again when the answer ends too early', async () => {
    const whole = await stranger((request, response) => {
      response.writeHead(200, { 'x-oss-request-id': 'R1', 'content-length': 5 });
      if (request.nth > 1) response.end('hello');
      else response.write('he', () => response.destroy());
    });
    expect(Buffer.from((await client(whole.url).get('a')) ?? []).toString()).toBe('hello');
  });
});

describe('F46 an answer that is not one of OSS', () => {
  test.each([
    { situation: 'a page with status 200', status: 200, body: '<html>Log in</html>' },
    { situation: 'an empty 404', status: 404, body: '' },
    { situation: 'a page with status 404', status: 404, body: '<html>Not found</html>' },
    { situation: 'an empty 200', status: 200, body: '' },
  ])('is never taken for an object, for none, or for a listing: $situation', async ({ status, body }) => {
    const server = await stranger((_, response) => response.writeHead(status).end(body));
    const oss = client(server.url);
    for (const call of [() => oss.get('a'), () => oss.list(''), () => oss.put('a', bytes), () => oss.delete('a')]) {
      await expect(call()).rejects.toMatchObject({
        code: 'RESPONSE_INVALID',
        message: expect.not.stringContaining('html'),
      });
    }
  });

  test('and its text is in no message', async () => {
    const server = await stranger((_, response) => response.writeHead(500).end('<html>canary-page</html>'));
    const error = await client(server.url)
      .get('a')
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'RESPONSE_INVALID' });
    expect(`${String(error)}${String(Reflect.get(Object(error), 'cause'))}`).not.toContain('canary-page');
  });
});

describe('F42 a refusal names what to do', () => {
  test.each([
    { action: 'oss:GetObject', resource: `acs:oss:*:*:${BUCKET}/a`, call: (oss: Oss) => oss.get('a') },
    { action: 'oss:PutObject', resource: `acs:oss:*:*:${BUCKET}/a`, call: (oss: Oss) => oss.put('a', bytes) },
    { action: 'oss:DeleteObject', resource: `acs:oss:*:*:${BUCKET}/a`, call: (oss: Oss) => oss.delete('a') },
    { action: 'oss:ListObjects', resource: `acs:oss:*:*:${BUCKET} `, call: (oss: Oss) => oss.list('a') },
  ])('$action', async ({ action, resource, call }) => {
    const server = await sandbox({ accounts: [{ ...account, allows: (asked) => asked !== action }] });
    const error = await call(client(server.url)).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: 'PERMISSION_DENIED',
      retryable: false,
      apiCode: 'AccessDenied',
      requestId: expect.stringMatching(/^[0-9A-F]{24}$/),
    });
    expect(Reflect.get(Object(error), 'remedy')).toContain(`${action} on ${resource}`);
    expect(server.requests).toHaveLength(1);
  });

  test('to the store, which keeps it', async () => {
    const server = await sandbox({ accounts: [{ ...account, allows: () => false }] });
    const store = createOssStore({ oss: client(server.url), prefix: 'p' });
    await expect(store.get('a')).rejects.toMatchObject({
      code: 'STORE_UNREADABLE',
      remedy: expect.stringContaining('oss:GetObject'),
      cause: { code: 'PERMISSION_DENIED' },
    });
    await expect(store.list('a')).rejects.toMatchObject({
      code: 'STORE_UNREADABLE',
      remedy: expect.stringContaining('oss:ListObjects'),
    });
    await expect(store.put('a', bytes)).rejects.toMatchObject({
      code: 'STORE_UNWRITABLE',
      remedy: expect.stringContaining('oss:PutObject'),
    });
    await expect(store.delete('a')).rejects.toMatchObject({
      code: 'STORE_UNWRITABLE',
      remedy: expect.stringContaining('oss:DeleteObject'),
    });
  });

  test.each([
    { situation: 'an unknown AccessKey', wrong: { accessKeyId: 'LTAIother' }, code: 'CREDENTIALS_REFUSED' },
    { situation: 'a wrong secret', wrong: { accessKeySecret: 'canary-other' }, code: 'CREDENTIALS_REFUSED' },
  ])('$situation, without a word of the secret or of the string to sign', async ({ wrong, code }) => {
    const server = await sandbox();
    const error = await client(server.url, { account: () => ({ ...account, ...wrong }) })
      .get('a')
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code, retryable: false });
    expect(JSON.stringify([error, String(error), Reflect.get(Object(error), 'cause') ?? ''])).not.toMatch(
      /canary|StringToSign|x-oss-date/,
    );
  });

  test('F43 a clock that is 20 minutes off', async () => {
    const server = await sandbox({ now: () => new Date(Date.now() + 20 * 60_000) });
    await expect(client(server.url).get('a')).rejects.toMatchObject({ code: 'CLOCK_SKEWED', retryable: false });
  });

  test('a bucket that is not there, which is another thing than an object that is not there', async () => {
    const server = await sandbox();
    const oss = client(server.url, { bucket: 'no-such-bucket' });
    await expect(oss.get('a')).rejects.toMatchObject({
      code: 'REQUEST_REFUSED',
      remedy: expect.stringContaining('no-such-bucket'),
    });
  });

  test('F40 an endpoint that nobody listens at', async () => {
    const server = await stranger(() => undefined);
    await server.close();
    closing.pop();
    await expect(client(server.url).get('a')).rejects.toMatchObject({ code: 'SERVICE_UNREACHABLE', retryable: true });
  });
});

describe('F41 temporary credentials', () => {
  const old: OssAccount = {
    accessKeyId: 'STS.old',
    accessKeySecret: 'old-secret',
    securityToken: 'old-token',
    expiresAt: new Date('2026-01-01T00:00:00Z'),
  };
  const fresh: OssAccount = { accessKeyId: 'STS.new', accessKeySecret: 'new-secret', securityToken: 'new-token' };

  test('that ended in the middle of a run are asked for again, once', async () => {
    const server = await sandbox({ accounts: [old, fresh], buckets: { [BUCKET]: { objects: { a: 'hello' } } } });
    const given = [old, fresh];
    const oss = client(server.url, { account: () => given.shift() ?? fresh });
    expect(await oss.get('a')).toHaveLength(5);
    expect(server.requests.map(({ code }) => code)).toEqual(['SecurityTokenExpired', 'OK']);
  });

  test('that are no good the second time either are an error, without the token', async () => {
    const server = await sandbox({ accounts: [old] });
    const error = await client(server.url, { account: () => old })
      .get('a')
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'CREDENTIALS_EXPIRED' });
    expect(JSON.stringify([error, String(error)])).not.toMatch(/old-token|old-secret/);
    expect(server.requests).toHaveLength(2);
  });
});

test('a deadline that has passed ends the tries with the error of the last one', async () => {
  const server = await sandbox();
  server.intercept(() => new OssError(503, 'ServiceUnavailable', 'Please try again.'));
  const credentials = async () => ({
    accessKeyId: account.accessKeyId,
    accessKeySecret: new Secret(account.accessKeySecret),
  });
  const oss = createOss({ endpoint: server.url, bucket: BUCKET, credentials, deps: realDeps(0) });
  closing.push(() => oss.close());
  await expect(oss.get('a')).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
  expect(server.requests).toHaveLength(1);
});
