import { createHmac, randomUUID } from 'node:crypto';
import RPCClient from '@alicloud/pop-core';
import { afterEach, describe, expect, test } from 'vitest';
import { ApiError, type Product } from './product.ts';
import type { Account } from './rpc-account.ts';
import { type RpcServer, type RpcServerOptions, startRpcServer } from './rpc-server.ts';

const servers: RpcServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

const NOW = new Date('2026-01-02T03:04:05Z');
const USER: Account = { accessKeyId: 'testid', accessKeySecret: 'testsecret', userId: 'user' };
const ROLE: Account = {
  accessKeyId: 'STS.role',
  accessKeySecret: 'rolesecret',
  securityToken: 'token-of-role',
  expiresAt: new Date('2026-01-02T04:00:00Z'),
  userId: 'role',
};

/** A product whose actions tell what they were given, and how often. */
function echo(): Product & { readonly applied: string[] } {
  const applied: string[] = [];
  const action = (name: string, callsPerSecond: number) => ({
    callsPerSecond,
    handle: (parameters: Readonly<Record<string, string>>, now: Date) => {
      applied.push(name);
      if (parameters['Fail'] === 'api') throw new ApiError(403, 'ServiceBusy', 'The domain is configuring.');
      if (parameters['Fail'] === 'bug') throw new TypeError('a defect of the sandbox');
      return { Echo: { ...parameters }, At: now.toISOString() };
    },
  });
  return {
    name: 'cdn',
    version: '2018-05-10',
    applied,
    actions: {
      SetDomainServerCertificate: action('SetDomainServerCertificate', 10),
      DescribeUserDomains: action('DescribeUserDomains', 100),
    },
  };
}

async function start(options: Partial<RpcServerOptions> = {}): Promise<RpcServer> {
  const server = await startRpcServer({ products: [echo()], accounts: [USER, ROLE], now: () => NOW, ...options });
  servers.push(server);
  return server;
}

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

async function post(server: RpcServer, parameters: Record<string, string>): Promise<Answer> {
  const response = await fetch(server.url, { method: 'POST', body: new URLSearchParams(parameters) });
  return { status: response.status, body: JSON.parse(await response.text()) };
}

/** A call signed by an implementation of its own, so that each part of it can be wrong. */
function signed(parameters: Record<string, string>, secret = 'testsecret', method = 'POST'): Record<string, string> {
  const encode = (text: string): string =>
    encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  const all: Record<string, string> = {
    AccessKeyId: 'testid',
    Action: 'DescribeUserDomains',
    Format: 'JSON',
    SignatureMethod: 'HMAC-SHA1',
    SignatureNonce: randomUUID(),
    SignatureVersion: '1.0',
    Timestamp: '2026-01-02T03:04:05Z',
    Version: '2018-05-10',
    ...parameters,
  };
  const query = Object.keys(all)
    .sort()
    .map((name) => `${encode(name)}=${encode(all[name] ?? '')}`)
    .join('&');
  const stringToSign = `${method}&%2F&${encode(query)}`;
  return { ...all, Signature: createHmac('sha1', `${secret}&`).update(stringToSign).digest('base64') };
}

function without(parameters: Record<string, string>, name: string): Record<string, string> {
  return Object.fromEntries(Object.entries(parameters).filter(([key]) => key !== name));
}

const PRIVATE_KEY = '-----BEGIN RSA PRIVATE KEY-----\nab+/=\n-----END RSA PRIVATE KEY-----\n';
const GOLDEN = {
  AccessKeyId: 'testid',
  Action: 'SetDomainServerCertificate',
  DomainName: 'example.com',
  ForceSet: '1',
  Format: 'JSON',
  PrivateKey: PRIVATE_KEY,
  SignatureMethod: 'HMAC-SHA1',
  SignatureNonce: 'nonce-1',
  SignatureVersion: '1.0',
  Timestamp: '2026-01-02T03:04:05Z',
  Version: '2018-05-10',
};

describe('the signature', () => {
  test('the known request is accepted with exactly its known signature', async () => {
    const server = await start();
    const wrong = await post(server, { ...GOLDEN, Signature: '7xaY4NIOOWYqYPmGCnDMJS3koCt=' });
    expect(wrong).toMatchObject({ status: 400, body: { Code: 'SignatureDoesNotMatch' } });
    const right = await post(server, { ...GOLDEN, Signature: '7xaY4NIOOWYqYPmGCnDMJS3koCs=' });
    expect(right.status).toBe(200);
    expect(right.body['RequestId']).toMatch(/^[0-9A-F-]{36}$/);
    expect(right.body['Echo']).toEqual({ DomainName: 'example.com', ForceSet: '1', PrivateKey: PRIVATE_KEY });
  });

  test('any change after signing is noticed, and the answer quotes what was signed, as the real one does', async () => {
    const server = await start();
    const { status, body } = await post(server, { ...signed({ DomainName: 'a.example.com' }), DomainName: 'b' });
    expect(status).toBe(400);
    expect(body).toMatchObject({ Code: 'SignatureDoesNotMatch', HostId: 'cdn.aliyuncs.com' });
    expect(body['Message']).toContain('server string to sign is:POST&%2F&AccessKeyId%3Dtestid');
    expect(Object.keys(body)).toEqual(['RequestId', 'HostId', 'Code', 'Message', 'Recommend']);
  });

  test('pop-core is understood by POST, whatever characters its parameters have', async () => {
    const server = await start({ now: () => new Date() });
    const client = new RPCClient({
      endpoint: server.url,
      apiVersion: '2018-05-10',
      accessKeyId: 'testid',
      accessKeySecret: 'testsecret',
    });
    const parameters = { Odd: "a+b c*(d)!'~%2B=&/\r\n", Chinese: '证书', A: '1', a: '2' };
    const answer = await client.request('DescribeUserDomains', parameters, { method: 'POST' });
    expect(answer).toMatchObject({ Echo: { Odd: parameters.Odd, Chinese: '证书' } });
    expect(server.violations).toEqual([]);
  });

  test('pop-core throws what the error answers say', async () => {
    const server = await start({ now: () => new Date() });
    const config = { endpoint: server.url, apiVersion: '2018-05-10', accessKeyId: 'testid' };
    const good = new RPCClient({ ...config, accessKeySecret: 'testsecret' });
    const bad = new RPCClient({ ...config, accessKeySecret: 'other' });
    await expect(good.request('DescribeUserDomains', { Fail: 'api' }, { method: 'POST' })).rejects.toMatchObject({
      code: 'ServiceBusy',
      entry: { response: { statusCode: 403 } },
    });
    await expect(bad.request('DescribeUserDomains', {}, { method: 'POST' })).rejects.toMatchObject({
      code: 'SignatureDoesNotMatch',
    });
    expect(server.calls.map(({ code, status }) => [code, status])).toEqual([
      ['ServiceBusy', 403],
      ['SignatureDoesNotMatch', 400],
    ]);
  });
});

describe('the checks before a call', () => {
  const timestamps: [string, string][] = [
    ['2026-01-02T02:49:05Z', 'OK'],
    ['2026-01-02T03:19:05Z', 'OK'],
    ['2026-01-02T02:49:04Z', 'InvalidTimeStamp.Expired'],
    ['2026-01-02T03:19:06Z', 'InvalidTimeStamp.Expired'],
    ['2026-01-02T03:04:05.000Z', 'InvalidTimeStamp.Format'],
    ['2026-13-02T03:04:05Z', 'InvalidTimeStamp.Format'],
  ];
  test.each(timestamps)('the timestamp %s gives %s', async (Timestamp, code) => {
    const server = await start();
    const { status } = await post(server, signed({ Timestamp }));
    expect([status, server.calls[0]?.code]).toEqual([code === 'OK' ? 200 : 400, code]);
  });

  test('the same signed request is refused the second time', async () => {
    const server = await start();
    const call = signed({});
    expect((await post(server, call)).status).toBe(200);
    expect(await post(server, call)).toMatchObject({ status: 400, body: { Code: 'SignatureNonceUsed' } });
  });

  const refused: [string, number, string, Record<string, string>][] = [
    ['an unknown AccessKey', 404, 'InvalidAccessKeyId.NotFound', signed({ AccessKeyId: 'nobody' })],
    ['a disabled AccessKey', 400, 'InvalidAccessKeyId.Inactive', signed({ AccessKeyId: 'disabled' })],
    ['an action that does not exist', 404, 'InvalidApi.NotFound', signed({ Action: 'SetSomething' })],
    ['a name from the prototype', 404, 'InvalidApi.NotFound', signed({ Action: 'constructor' })],
    ['a version that does not exist', 400, 'InvalidVersion', signed({ Version: '2014-11-11' })],
    ['a call without action', 400, 'MissingAction', without(signed({}), 'Action')],
    ['a call without signature', 400, 'MissingSignature', without(signed({}), 'Signature')],
    ['a call without nonce', 400, 'MissingSignatureNonce', without(signed({}), 'SignatureNonce')],
    ['another signature method', 400, 'InvalidSignatureMethod', signed({ SignatureMethod: 'HMAC-SHA256' })],
    ['XML', 400, 'InvalidParameter.Format', signed({ Format: 'XML' })],
    ['an STS key without token', 400, 'MissingSecurityToken', signed({ AccessKeyId: 'STS.role' }, 'rolesecret')],
    [
      'an unknown token',
      400,
      'InvalidSecurityToken.Malformed',
      signed({ AccessKeyId: 'STS.role', SecurityToken: 'other' }, 'rolesecret'),
    ],
    [
      "another key's token",
      400,
      'InvalidSecurityToken.MismatchWithAccessKey',
      signed({ SecurityToken: 'token-of-role' }),
    ],
    [
      'an expired token',
      400,
      'InvalidSecurityToken.Expired',
      signed({ AccessKeyId: 'STS.old', SecurityToken: 'token-of-old' }),
    ],
  ];
  test.each(refused)('%s is refused with %i %s', async (_, status, Code, call) => {
    const old = { ...ROLE, accessKeyId: 'STS.old', securityToken: 'token-of-old', expiresAt: NOW };
    const disabled = { ...USER, accessKeyId: 'disabled', inactive: true };
    const server = await start({ accounts: [USER, ROLE, old, disabled] });
    expect(await post(server, call)).toMatchObject({ status, body: { Code } });
  });

  test('temporary credentials with their token are accepted, until the account is replaced', async () => {
    const accounts = [ROLE];
    const server = await start({ accounts });
    const call = (): Record<string, string> =>
      signed({ AccessKeyId: 'STS.role', SecurityToken: 'token-of-role' }, 'rolesecret');
    expect((await post(server, call())).status).toBe(200);
    accounts[0] = { ...ROLE, expiresAt: new Date('2026-01-02T03:00:00Z') };
    expect(await post(server, call())).toMatchObject({ body: { Code: 'InvalidSecurityToken.Expired' } });
    expect(JSON.stringify(server.calls)).not.toContain('token-of-role');
  });

  test('what RAM denies is refused with the details of the denial', async () => {
    const server = await start({ accounts: [{ ...USER, denied: ['DescribeUserDomains'] }] });
    expect(await post(server, signed({}))).toMatchObject({
      status: 403,
      body: {
        Code: 'Forbidden.RAM',
        AccessDeniedDetail: { AuthAction: 'cdn:DescribeUserDomains', NoPermissionType: 'ImplicitDeny' },
      },
    });
    expect((await post(server, signed({ Action: 'SetDomainServerCertificate' }))).status).toBe(200);
  });

  test('other methods and a parameter in both places are refused', async () => {
    const server = await start();
    const put = await fetch(server.url, { method: 'PUT', body: new URLSearchParams(signed({}, undefined, 'PUT')) });
    expect(put.status).toBe(403);
    const twice = await fetch(`${server.url}/?DomainName=a`, {
      method: 'POST',
      body: new URLSearchParams(signed({ DomainName: 'b' })),
    });
    expect(await twice.json()).toMatchObject({ Code: 'InvalidParameter' });
  });

  test('a defect of a handler is told as an internal error', async () => {
    const server = await start();
    expect(await post(server, signed({ Fail: 'bug' }))).toMatchObject({ status: 500, body: { Code: 'InternalError' } });
  });
});

describe('secrets', () => {
  const url = (server: RpcServer, parameters: Record<string, string>): string =>
    `${server.url}/?${new URLSearchParams(parameters)}`;

  test('a private key in the URL is refused, before anything else, and remembered as a violation', async () => {
    const server = await start();
    const named = await fetch(url(server, signed({ SSLPri: 'x' }, undefined, 'GET')));
    const hidden = await fetch(url(server, { Action: 'Anything', Other: PRIVATE_KEY }), { method: 'POST' });
    expect([named.status, hidden.status]).toEqual([400, 400]);
    expect(await named.json()).toMatchObject({ Code: 'Sandbox.PrivateKeyInUrl' });
    expect(server.violations).toEqual(['DescribeUserDomains: SSLPri in the URL', 'Anything: Other in the URL']);
  });

  test('a GET is answered, but a SecurityToken in its URL is a violation', async () => {
    const server = await start();
    const plain = signed({ DomainName: 'a' }, undefined, 'GET');
    expect((await fetch(url(server, plain))).status).toBe(200);
    expect(server.violations).toEqual([]);
    const call = signed({ AccessKeyId: 'STS.role', SecurityToken: 'token-of-role' }, 'rolesecret', 'GET');
    expect((await fetch(url(server, call))).status).toBe(200);
    expect(server.violations).toEqual(['DescribeUserDomains: SecurityToken in the URL']);
  });

  test('the record of calls has the parameters without key material, and no common parameters', async () => {
    const server = await start();
    await post(server, { ...GOLDEN, Signature: '7xaY4NIOOWYqYPmGCnDMJS3koCs=' });
    expect(server.calls).toEqual([
      {
        at: expect.any(Number),
        action: 'SetDomainServerCertificate',
        parameters: { DomainName: 'example.com', ForceSet: '1', PrivateKey: '[key material]' },
        user: 'user',
        status: 200,
        code: 'OK',
      },
    ]);
  });
});

describe('calls per second', () => {
  const set = (AccessKeyId = 'testid'): Record<string, string> =>
    signed({ Action: 'SetDomainServerCertificate', AccessKeyId });

  test('the eleventh call in one second is refused, other actions and other users are not', async () => {
    const second = { ...USER, accessKeyId: 'second' };
    const other = { ...USER, accessKeyId: 'other', userId: 'other' };
    const server = await start({ accounts: [USER, second, other], monotonicNow: () => 0 });
    const answers = await Promise.all(Array.from({ length: 10 }, () => post(server, set())));
    expect(answers.map(({ status }) => status)).toEqual(new Array(10).fill(200));
    expect(await post(server, set())).toMatchObject({
      status: 400,
      body: { Code: 'Throttling.User', Message: 'Request was denied due to user flow control.' },
    });
    expect((await post(server, set('second'))).status).toBe(400);
    expect((await post(server, set('other'))).status).toBe(200);
    expect((await post(server, signed({}))).status).toBe(200);
    expect(server.maxCallsInAnySecond('SetDomainServerCertificate')).toBe(13);
    expect(server.callsOf('SetDomainServerCertificate').filter(({ code }) => code === 'Throttling.User')).toHaveLength(
      2,
    );
  });

  test('the window slides: a call goes through once the first ten are a second old', async () => {
    let clock = 500;
    const server = await start({ monotonicNow: () => clock });
    const send = async (at: number): Promise<number> => {
      clock = at;
      return (await post(server, set())).status;
    };
    for (let i = 0; i < 10; i++) expect(await send(500 + i * 10)).toBe(200);
    expect(await send(1499.9)).toBe(400);
    // The refused call does not count against later ones.
    expect(await send(1500)).toBe(200);
    expect(await send(1509.9)).toBe(400);
    expect(await send(1510)).toBe(200);
    expect(server.maxCallsInAnySecond('SetDomainServerCertificate')).toBe(12);
  });
});

describe('interceptions', () => {
  test('an error, a raw answer, or nothing: the hook decides by action and count', async () => {
    const product = echo();
    const server = await start({ products: [product] });
    const stop = server.intercept(({ action, nth, parameters }) => {
      if (action !== 'DescribeUserDomains') return undefined;
      if (nth === 1) return new ApiError(500, 'InternalError', 'The request processing has failed.');
      if (nth === 2) return { status: 502, headers: { 'content-type': 'text/html' }, body: '<html>' };
      return parameters['Late'] === undefined ? undefined : { delayMilliseconds: 5 };
    });
    expect(await post(server, signed({}))).toMatchObject({ status: 500, body: { Code: 'InternalError' } });
    const raw = await fetch(server.url, { method: 'POST', body: new URLSearchParams(signed({})) });
    expect([raw.status, raw.headers.get('content-type'), await raw.text()]).toEqual([502, 'text/html', '<html>']);
    expect(product.applied).toEqual([]);
    expect((await post(server, signed({ Late: 'yes' }))).status).toBe(200);
    stop();
    expect((await post(server, signed({}))).status).toBe(200);
    expect(server.calls.map(({ code }) => code)).toEqual(['InternalError', 'raw', 'OK', 'OK']);
  });

  test('a reset has no effect, a reset-after has one; neither is answered', async () => {
    const product = echo();
    const server = await start({ products: [product] });
    server.intercept(({ nth }) => (nth === 1 ? 'reset' : 'reset-after'));
    await expect(post(server, signed({}))).rejects.toThrow('fetch failed');
    expect(product.applied).toEqual([]);
    await expect(post(server, signed({}))).rejects.toThrow('fetch failed');
    expect(product.applied).toEqual(['DescribeUserDomains']);
    expect(server.calls.map(({ code, status }) => [code, status])).toEqual([
      ['reset', 0],
      ['reset-after', 0],
    ]);
  });

  test('a call left hanging, or delayed for an hour, ends when the server is closed', async () => {
    for (const interception of ['hang', { delayMilliseconds: 3_600_000 }] as const) {
      const server = await start();
      const arrived = new Promise<void>((resolve) => {
        server.intercept(() => {
          resolve();
          return interception;
        });
      });
      const answer = expect(post(server, signed({}))).rejects.toThrow('fetch failed');
      await arrived;
      await server.close();
      await answer;
    }
  });

  test('an action that was switched off is not found any more', async () => {
    const server = await start();
    server.removeAction('SetDomainServerCertificate');
    const answer = await post(server, signed({ Action: 'SetDomainServerCertificate' }));
    expect(answer).toMatchObject({ status: 404, body: { Code: 'InvalidApi.NotFound' } });
    expect((await post(server, signed({}))).status).toBe(200);
  });
});
