import { createHash, createHmac } from 'node:crypto';
import OSS from 'ali-oss';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type Oss, type OssAccount, type OssOptions, startOss } from './oss.ts';
import { OssError } from './oss-api.ts';

const ACCOUNT: OssAccount = { accessKeyId: 'ak', accessKeySecret: 'secret' };

async function sandboxOss(options: Partial<OssOptions> = {}): Promise<Oss> {
  const oss = await startOss({ accounts: [ACCOUNT], buckets: { autocert: {} }, ...options });
  onTestFinished(() => oss.close());
  return oss;
}

/** What @types/ali-oss leaves out of the SDK. */
interface VersioningCalls {
  getBucketVersioning(bucket: string): Promise<{ versionStatus: string | undefined }>;
  listObjectVersions(query: object): Promise<{ objects: { versionId: string }[]; deleteMarker: object[] }>;
}

/** The official SDK. */
function sdk(oss: Oss, options: Partial<OSS.Options> = {}): OSS & VersioningCalls {
  return new OSS({
    accessKeyId: 'ak',
    accessKeySecret: 'secret',
    endpoint: oss.url,
    region: 'oss-cn-hangzhou',
    bucket: 'autocert',
    timeout: 5000,
    ...options,
  }) as OSS & VersioningCalls;
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

async function failureOf(call: Promise<unknown>): Promise<{ status: unknown; code: unknown }> {
  const error = await call.then(
    () => 'succeeded',
    (reason: unknown) => reason,
  );
  if (!(error instanceof Error)) throw new Error(`Not an error: ${String(error)}`);
  return { status: 'status' in error ? error.status : undefined, code: 'code' in error ? error.code : undefined };
}

const SIGNATURES = [
  { name: 'version 1', options: {} },
  { name: 'version 4', options: { authorizationV4: true } },
];

describe.each(SIGNATURES)('ali-oss with signature $name', ({ options }) => {
  test('an object is written, read, listed and deleted, with odd characters in its name', async () => {
    const oss = await sandboxOss();
    const client = sdk(oss, options);
    const key = 'certs/例子 (1)+&=%?~*.json';
    const body = Buffer.from('{"a":"ü"}');
    const etag = `"${createHash('md5').update(body).digest('hex').toUpperCase()}"`;
    const { res } = await client.put(key, body);
    expect(res).toMatchObject({
      status: 200,
      headers: { etag, 'x-oss-request-id': expect.stringMatching(/^[0-9A-F]{24}$/) },
    });
    expect((await client.get(key)).content).toEqual(body);
    expect((await client.head(key)).res.headers).toMatchObject({
      etag,
      'content-length': '10',
      'content-type': 'application/json',
    });
    expect((await client.list({ 'max-keys': 10 }, {})).objects).toMatchObject([{ name: key, etag, size: 10 }]);
    expect((await client.listV2({ prefix: 'certs/例' })).objects).toMatchObject([{ name: key }]);
    expect((await client.delete(key)).res.status).toBe(204);
    expect((await client.delete(key)).res.status).toBe(204);
    expect(await failureOf(client.get(key))).toEqual({ status: 404, code: 'NoSuchKey' });
    expect(await failureOf(client.head(key))).toEqual({ status: 404, code: 'NoSuchKey' });
  });

  test('create-only: of ten writers one succeeds, the others get FileAlreadyExists', async () => {
    const oss = await sandboxOss();
    const client = sdk(oss, options);
    const headers = { 'x-oss-forbid-overwrite': 'true' };
    const writers = Array.from({ length: 10 }, (_, n) => client.put('lease', Buffer.from(`${n}`), { headers }));
    const results = await Promise.allSettled(writers);
    const winner = results.findIndex(({ status }) => status === 'fulfilled');
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const result of results) {
      if (result.status === 'rejected')
        expect(result.reason).toMatchObject({ status: 409, code: 'FileAlreadyExists', ecCode: '0026-00000201' });
    }
    expect(oss.read('autocert', 'lease')).toEqual(Buffer.from(`${winner}`));
    await client.delete('lease');
    expect((await client.put('lease', Buffer.from('next'), { headers })).res.status).toBe(200);
  });

  test('lists go page by page, by prefix and by folder', async () => {
    const keys = ['a/1', 'a/2', 'a/b/3', 'a/b/4', 'a/c/5', 'b/6'];
    const oss = await sandboxOss({
      buckets: { autocert: { objects: Object.fromEntries(keys.map((key) => [key, key])) } },
    });
    const client = sdk(oss, options);
    const pages: string[][] = [];
    let marker: string | undefined;
    do {
      const page = await client.list({ prefix: 'a/', 'max-keys': 2, ...(marker && { marker }) }, {});
      pages.push(page.objects.map(({ name }) => name));
      marker = page.nextMarker ?? undefined;
    } while (marker);
    expect(pages).toEqual([['a/1', 'a/2'], ['a/b/3', 'a/b/4'], ['a/c/5']]);

    const pagesV2: string[][] = [];
    let token: string | undefined;
    do {
      const page = await client.listV2({
        prefix: 'a/',
        'max-keys': '2',
        ...(token && { 'continuation-token': token }),
      });
      pagesV2.push(page.objects.map(({ name }) => name));
      token = page.nextContinuationToken || undefined;
    } while (token);
    expect(pagesV2).toEqual(pages);

    const folder = await client.list({ prefix: 'a/', delimiter: '/', 'max-keys': 3 }, {});
    expect(folder.objects.map(({ name }) => name)).toEqual(['a/1', 'a/2']);
    expect(folder).toMatchObject({ prefixes: ['a/b/'], isTruncated: true, nextMarker: 'a/b/' });
    const rest = await client.list({ prefix: 'a/', delimiter: '/', marker: 'a/b/', 'max-keys': 3 }, {});
    expect(rest).toMatchObject({ objects: [], prefixes: ['a/c/'], isTruncated: false });
    const all = await client.list({ prefix: 'a/', delimiter: '/', 'max-keys': 10 }, {});
    expect(all).toMatchObject({ prefixes: ['a/b/', 'a/c/'], isTruncated: false });
    expect((await client.listV2({ 'start-after': 'a/c/5' })).objects.map(({ name }) => name)).toEqual(['b/6']);
    expect((await client.list({ prefix: 'none', 'max-keys': 1 }, {})).objects).toEqual([]);
    expect(await failureOf(client.list({ 'max-keys': 1001 }, {}))).toEqual({ status: 400, code: 'InvalidArgument' });
  });

  test('a wrong secret, an unknown AccessKey and a clock 16 minutes off are refused', async () => {
    const oss = await sandboxOss();
    const get = (client: OSS) => failureOf(client.get('key'));
    expect(await get(sdk(oss, { ...options, accessKeySecret: 'wrong' }))).toEqual({
      status: 403,
      code: 'SignatureDoesNotMatch',
    });
    expect(await get(sdk(oss, { ...options, accessKeyId: 'nobody' }))).toEqual({
      status: 403,
      code: 'InvalidAccessKeyId',
    });
    for (const [minutes, expected] of [
      [16, { status: 403, code: 'RequestTimeTooSkewed' }],
      [-16, { status: 403, code: 'RequestTimeTooSkewed' }],
      [14, { status: 404, code: 'NoSuchKey' }],
    ] as const) {
      const late = await sandboxOss({ now: () => new Date(Date.now() + minutes * 60_000) });
      expect(await get(sdk(late, options))).toEqual(expected);
    }
  });

  test('temporary credentials need their token, until it ends', async () => {
    const temporary: OssAccount = {
      accessKeyId: 'STS.ak',
      accessKeySecret: 'secret',
      securityToken: 'token',
      expiresAt: new Date('2100-01-02T03:04:05Z'),
    };
    const accounts = [ACCOUNT, temporary];
    const oss = await sandboxOss({ accounts });
    const sts = { ...options, accessKeyId: 'STS.ak', refreshSTSTokenInterval: 1e9 };
    const put = (more: Partial<OSS.Options>) => sdk(oss, { ...sts, ...more }).put('key', Buffer.from('x'));
    expect((await put({ stsToken: 'token' })).res.status).toBe(200);
    expect(await failureOf(put({}))).toEqual({ status: 403, code: 'InvalidAccessKeyId' });
    expect(await failureOf(put({ stsToken: 'other' }))).toEqual({ status: 403, code: 'InvalidSecurityToken' });
    expect(await failureOf(put({ stsToken: 'token', accessKeyId: 'ak' }))).toEqual({
      status: 403,
      code: 'InvalidAccessKeyId',
    });
    accounts[1] = { ...temporary, expiresAt: new Date('2026-01-02T03:04:05Z') };
    expect(await failureOf(put({ stsToken: 'token' }))).toEqual({ status: 403, code: 'SecurityTokenExpired' });
  });
});

test('the documented example of signature version 1 verifies', async () => {
  // https://www.alibabacloud.com/help/en/oss/developer-reference/include-signatures-in-the-authorization-header
  const oss = await sandboxOss({
    accounts: [{ accessKeyId: '44CF9590006BF252F707', accessKeySecret: 'OtxrzxIsfpFjA7SwPzILwy8Bw21TLhquhboDYROV' }],
    buckets: { 'oss-example': {} },
    now: () => new Date('2005-11-17T18:49:58Z'),
  });
  const headers = {
    'Content-MD5': 'ODBGOERFMDMzQTczRUY3NUE3NzA5QzdFNUYzMDQxNEM=',
    'Content-Type': 'text/html',
    Date: 'Thu, 17 Nov 2005 18:49:58 GMT',
    'X-OSS-Meta-Author': 'foo@bar.com',
    'X-OSS-Magic': 'abracadabra',
  };
  const put = (signature: string) =>
    fetch(`${oss.url}/oss-example/nelson`, {
      method: 'PUT',
      headers: { ...headers, Authorization: `OSS 44CF9590006BF252F707:${signature}` },
    });
  // The example gives a digest of no body, so what passes the signature fails on the digest.
  expect(await (await put('26NBxoKdsyly4EDv6inkoDft/yA=')).text()).toContain('<Code>InvalidDigest</Code>');
  expect(await (await put('26NBxoKdsyly4EDv6inkoDft/yB=')).text()).toContain('<Code>SignatureDoesNotMatch</Code>');
});

describe('objects', () => {
  test('encryption headers are kept and given back, unknown algorithms refused', async () => {
    const client = sdk(await sandboxOss());
    const headers = { 'x-oss-server-side-encryption': 'KMS', 'x-oss-server-side-encryption-key-id': 'key-1' };
    expect((await client.put('key', Buffer.from('x'), { headers })).res.headers).toMatchObject(headers);
    expect((await client.get('key')).res.headers).toMatchObject(headers);
    expect((await client.head('key')).res.headers).toMatchObject(headers);
    const unknown = { headers: { 'x-oss-server-side-encryption': 'ROT13' } };
    expect(await failureOf(client.put('key', Buffer.from('x'), unknown))).toMatchObject({ status: 400 });
  });

  test('metadata comes back', async () => {
    const client = sdk(await sandboxOss());
    await client.put('key', Buffer.from('x'), { meta: { run: 'r1', uid: 1, pid: 2 } });
    expect((await client.head('key')).meta).toEqual({ run: 'r1', uid: '1', pid: '2' });
  });

  test('a body that is not what Content-MD5 says is refused, and nothing stored', async () => {
    const oss = await sandboxOss();
    const headers = { 'Content-MD5': createHash('md5').update('other').digest('base64') };
    expect(await failureOf(sdk(oss).put('key', Buffer.from('x'), { headers }))).toEqual({
      status: 400,
      code: 'InvalidDigest',
    });
    expect(oss.read('autocert', 'key')).toBeUndefined();
  });

  test('reads are conditional, writes are not', async () => {
    const oss = await sandboxOss();
    const client = sdk(oss);
    const { res } = await client.put('key', Buffer.from('x'));
    const etag = 'etag' in res.headers ? String(res.headers.etag) : '';
    expect((await client.get('key', { headers: { 'If-Match': etag } })).content).toEqual(Buffer.from('x'));
    expect((await client.get('key', { headers: { 'If-None-Match': etag } })).res.status).toBe(304);
    const other = { headers: { 'If-Match': '"00"' } };
    expect(await failureOf(client.get('key', other))).toEqual({ status: 412, code: 'PreconditionFailed' });
    expect(await failureOf(client.put('key', Buffer.from('y'), other))).toEqual({
      status: 501,
      code: 'NotImplemented',
    });
    expect(oss.read('autocert', 'key')).toEqual(Buffer.from('x'));
  });

  test.each(['Enabled', 'Suspended'] as const)(
    'with versioning %s, forbid-overwrite has no effect',
    async (versioning) => {
      const oss = await sandboxOss({ buckets: { autocert: { versioning } } });
      const client = sdk(oss);
      const headers = { 'x-oss-forbid-overwrite': 'true' };
      await client.put('lease', Buffer.from('one'), { headers });
      await client.put('lease', Buffer.from('two'), { headers });
      expect(oss.read('autocert', 'lease')).toEqual(Buffer.from('two'));
      expect(await client.getBucketVersioning('autocert')).toMatchObject({ versionStatus: versioning });
    },
  );

  test('a versioned bucket keeps what was overwritten and deleted', async () => {
    const client = sdk(await sandboxOss({ buckets: { autocert: { versioning: 'Enabled', objects: { key: 'one' } } } }));
    await client.put('key', Buffer.from('two'));
    await client.delete('key');
    expect(await failureOf(client.get('key'))).toEqual({ status: 404, code: 'NoSuchKey' });
    const { objects, deleteMarker } = await client.listObjectVersions({ prefix: 'key' });
    expect(deleteMarker).toHaveLength(1);
    const versions = objects.map(({ versionId }) => versionId);
    expect(versions).toHaveLength(2);
    const content = async (versionId: string) => (await client.get('key', { versionId })).content;
    expect(await Promise.all(versions.map(content))).toEqual([Buffer.from('two'), Buffer.from('one')]);
    expect(await failureOf(content('nothing'))).toEqual({ status: 404, code: 'NoSuchVersion' });
  });
});

describe('who may', () => {
  test('a bucket that is not there', async () => {
    const client = sdk(await sandboxOss(), { bucket: 'another' });
    expect(await failureOf(client.get('key'))).toEqual({ status: 404, code: 'NoSuchBucket' });
    expect(await failureOf(client.put('key', Buffer.from('x')))).toEqual({ status: 404, code: 'NoSuchBucket' });
  });

  test('a policy decides by action and key', async () => {
    const allows: OssAccount['allows'] = (action, bucket, key) =>
      bucket === 'autocert' && key.startsWith('state/') && ['oss:GetObject', 'oss:PutObject'].includes(action);
    const client = sdk(await sandboxOss({ accounts: [{ ...ACCOUNT, allows }] }));
    await client.put('state/a', Buffer.from('x'));
    expect((await client.get('state/a')).content).toEqual(Buffer.from('x'));
    const denied = { status: 403, code: 'AccessDenied' };
    expect(await failureOf(client.put('other/a', Buffer.from('x')))).toEqual(denied);
    expect(await failureOf(client.delete('state/a'))).toEqual(denied);
    expect(await failureOf(client.list({ 'max-keys': 1 }, {}))).toEqual(denied);
    expect(await failureOf(client.head('other/a'))).toEqual(denied);
  });

  test('unsigned readers get the objects of a public bucket by path, and can write nothing', async () => {
    const token = '.well-known/acme-challenge/token';
    const objects = { [token]: 'key authorization' };
    const oss = await sandboxOss({ buckets: { origin: { acl: 'public-read', objects }, autocert: { objects } } });
    const read = await fetch(`${oss.url}/origin/${token}`);
    expect([read.status, await read.text()]).toEqual([200, 'key authorization']);
    expect((await fetch(`${oss.url}/origin/none`)).status).toBe(404);
    const statuses = await Promise.all([
      fetch(`${oss.url}/autocert/${token}`),
      fetch(`${oss.url}/origin/${token}`, { method: 'PUT', body: 'x' }),
      fetch(`${oss.url}/origin/${token}`, { method: 'DELETE' }),
    ]);
    expect(statuses.map(({ status }) => status)).toEqual([403, 403, 403]);
    expect(oss.read('origin', token)).toEqual(Buffer.from('key authorization'));
  });

  test('one object of a private bucket can be public', async () => {
    const oss = await sandboxOss();
    await sdk(oss).put('public', Buffer.from('x'), { headers: { 'x-oss-object-acl': 'public-read' } });
    await sdk(oss).put('secret', Buffer.from('x'));
    expect((await fetch(`${oss.url}/autocert/public`)).status).toBe(200);
    expect((await fetch(`${oss.url}/autocert/secret`)).status).toBe(403);
  });

  test('a signature covers the key: one for another key is refused', async () => {
    const oss = await sandboxOss({ buckets: { autocert: { objects: { a: 'a', b: 'b' } } } });
    const date = new Date().toUTCString();
    const signature = createHmac('sha1', 'secret').update(`GET\n\n\n${date}\n/autocert/a`).digest('base64');
    const get = (key: string) =>
      fetch(`${oss.url}/autocert/${key}`, { headers: { Date: date, Authorization: `OSS ak:${signature}` } });
    expect((await get('a')).status).toBe(200);
    expect((await get('b')).status).toBe(403);
  });
});

describe('faults', () => {
  test('a hook answers instead, per request, until it is removed', async () => {
    const oss = await sandboxOss();
    const client = sdk(oss);
    const stop = oss.intercept(({ method, nth }) => {
      if (method !== 'PUT') return undefined;
      if (nth === 1) return { status: 503, body: '<html>Bad gateway</html>' };
      return nth === 2 ? new OssError(403, 'UserDisable', 'UserDisable') : undefined;
    });
    const put = () => client.put('key', Buffer.from('x'));
    expect(await failureOf(put())).toMatchObject({ status: 503 });
    expect(await failureOf(put())).toEqual({ status: 403, code: 'UserDisable' });
    expect((await put()).res.status).toBe(200);
    stop();
    expect(oss.requests.map(({ method, bucket, key, status, code }) => [method, bucket, key, status, code])).toEqual([
      ['PUT', 'autocert', 'key', 503, 'raw'],
      ['PUT', 'autocert', 'key', 403, 'UserDisable'],
      ['PUT', 'autocert', 'key', 200, 'OK'],
    ]);
  });

  test('a connection is cut before the effect, after it, or never answered', async () => {
    const oss = await sandboxOss();
    const client = sdk(oss, { timeout: 200 });
    const put = (key: string) => client.put(key, Buffer.from('x'));
    for (const fault of ['reset', 'reset-after', 'hang'] as const) {
      const stop = oss.intercept(() => fault);
      await expect(put(fault)).rejects.toThrow();
      stop();
    }
    expect(oss.bucket('autocert').keys()).toEqual(['reset-after']);
    expect(oss.requests.map(({ status, code }) => [status, code])).toEqual([
      [0, 'reset'],
      [0, 'reset-after'],
      [0, 'hang'],
    ]);
  });

  test('two writers that a hook lets go at the same moment: one wins', async () => {
    const oss = await sandboxOss();
    const { promise: both, resolve } = deferred();
    oss.intercept(async () => {
      if (oss.requests.length === 2) resolve();
      await both;
      return undefined;
    });
    const headers = { 'x-oss-forbid-overwrite': 'true' };
    const results = await Promise.allSettled(
      [1, 2].map((n) => sdk(oss).put('lease', Buffer.from(`${n}`), { headers })),
    );
    expect(results.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
  });

  test('close ends requests that hang', async () => {
    const oss = await startOss({ accounts: [ACCOUNT], buckets: { autocert: {} } });
    const { promise: arrived, resolve } = deferred();
    oss.intercept(() => {
      resolve();
      return 'hang';
    });
    const failure = expect(sdk(oss).get('key')).rejects.toThrow();
    await arrived;
    await oss.close();
    await failure;
    await expect(fetch(oss.url)).rejects.toThrow();
  });
});
