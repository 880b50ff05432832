import { createHmac } from 'node:crypto';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { afterEach, describe, expect, test } from 'vitest';
import type { Credentials } from '../../src/aliyun/credentials.ts';
import { AliyunError } from '../../src/aliyun/errors.ts';
import { createRpc, type Rpc, type RpcCall } from '../../src/aliyun/rpc.ts';
import type { Deps } from '../../src/deps.ts';
import { type CallLimiter, createCallLimiter } from '../../src/ratelimit.ts';
import { Secret } from '../../src/secret.ts';
import { json, type Loopback, listen, type Received, realDeps, refuse, steppedDeps } from './loopback.ts';

const PRIVATE_KEY = '-----BEGIN RSA PRIVATE KEY-----\nMIIEpAcanarycanary+/=\n-----END RSA PRIVATE KEY-----\n';
const CREDENTIALS: Credentials = {
  accessKeyId: 'canary-access-key-id',
  accessKeySecret: new Secret('canary-access-key-secret'),
  securityToken: new Secret('canary-security-token'),
};
const SECRETS = ['canary', PRIVATE_KEY, encodeURIComponent(PRIVATE_KEY)];

const opened: { close(): unknown }[] = [];
afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each.close();
});

interface Situation {
  readonly server: Loopback;
  readonly rpc: Rpc;
  /** Calls SetDomainServerCertificate with a private key. */
  call(overrides?: Partial<RpcCall>): Promise<Record<string, unknown>>;
}

async function situation(
  answer: (request: Received, response: ServerResponse) => void,
  options: { deps?: Deps; timeout?: number; credentials?: () => Promise<Credentials> } = {},
): Promise<Situation> {
  const server = await listen(answer);
  const { deps = steppedDeps(), credentials = async () => CREDENTIALS, timeout } = options;
  const rpc = createRpc({ credentials, deps, ...(timeout !== undefined && { timeout }) });
  opened.push(server, rpc);
  return {
    server,
    rpc,
    call: (overrides = {}) =>
      rpc.call({
        endpoint: server.url,
        version: '2018-05-10',
        action: 'SetDomainServerCertificate',
        parameters: { DomainName: 'example.com', PrivateKey: new Secret(PRIVATE_KEY) },
        ...overrides,
      }),
  };
}

const ok = (_: Received, response: ServerResponse) => json(response, 200, { RequestId: 'R-1' });

async function failureOf(promise: Promise<unknown>): Promise<AliyunError> {
  const thrown = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (thrown instanceof AliyunError) return thrown;
  throw new Error(`expected an AliyunError, got ${inspect(thrown)}`);
}

/** Everything of an error that a log, a console or a report could print. */
function printed(error: Error): string {
  return [
    inspect(error, { depth: 10, showHidden: true }),
    JSON.stringify(error),
    error.stack,
    String(error.cause),
  ].join('\n');
}

describe('defects of pop-core that do not get through', () => {
  test('P1 the private key, the token and the key id go in the body and never in the URL', async () => {
    const { server, call } = await situation(ok);
    await call();
    const [request] = server.received;
    expect(request?.method).toBe('POST');
    expect(request?.url).toBe('/');
    expect(request?.form.get('PrivateKey')).toBe(PRIVATE_KEY);
    expect(request?.form.get('SecurityToken')).toBe('canary-security-token');
  });

  test.each<[string, (request: Received, response: ServerResponse) => void]>([
    ['an error of the API', (_, response) => refuse(response, 400, 'Certificate.FormatError')],
    [
      'a refused signature that quotes the string to sign',
      ({ form }, response) =>
        json(response, 400, {
          RequestId: 'E-1',
          Code: 'SignatureDoesNotMatch',
          Message: `Specified signature is not matched with our calculation. server string to sign is:POST&%2F&${encodeURIComponent(form.toString())}`,
        }),
    ],
    [
      'a message that quotes a parameter',
      ({ form }, response) =>
        json(response, 400, {
          RequestId: 'E-1',
          Code: 'InvalidSSLPri',
          Message: `Bad: ${form.get('PrivateKey')} ${form.get('SecurityToken')}`,
        }),
    ],
    ['a page that echoes the request', ({ form }, response) => response.writeHead(502).end(`<html>${form}</html>`)],
    ['a reset connection', (_, response) => response.destroy()],
  ])('P1 nothing secret is in what is thrown after %s', async (_, answer) => {
    const { call } = await situation(answer);
    const text = printed(await failureOf(call()));
    for (const secret of SECRETS) expect(text).not.toContain(secret);
  });

  test('P2 a 503 without Code is not success', async () => {
    const { server, call } = await situation((_, response) =>
      json(response, 503, { RequestId: 'R-1', Message: 'later' }),
    );
    const error = await failureOf(call());
    expect(error).toMatchObject({
      code: 'SERVICE_UNAVAILABLE',
      retryable: true,
      httpStatus: 503,
      outcomeUnknown: true,
    });
    expect(server.received.length).toBeGreaterThan(1);
  });

  test('P2 a 500 with an accepted Code is not success', async () => {
    const { call } = await situation((_, response) => json(response, 500, { RequestId: 'R-1', Code: 'OK' }));
    expect(await failureOf(call())).toMatchObject({ code: 'SERVICE_UNAVAILABLE', httpStatus: 500 });
  });

  test('P2 a 200 without RequestId is not success', async () => {
    const { call } = await situation((_, response) => json(response, 200, {}));
    expect(await failureOf(call())).toMatchObject({ code: 'RESPONSE_INVALID', outcomeUnknown: true });
  });

  test('P3 an answer that takes longer than three seconds is waited for', async () => {
    const { call } = await situation(
      (_, response) => {
        setTimeout(() => json(response, 200, { RequestId: 'R-slow' }), 3_300);
      },
      { deps: realDeps() },
    );
    expect(await call()).toEqual({ RequestId: 'R-slow' });
  });

  test('P3 a write that was carried out and not answered is read back and not made again', async () => {
    const { server, call } = await situation((_, response) => response.destroy());
    const answer = await call({ readBack: async () => ({ RequestId: 'R-read' }) });
    expect(answer).toEqual({ RequestId: 'R-read' });
    expect(server.received).toHaveLength(1);
  });

  test('P3 a write that was not carried out is made again', async () => {
    let reads = 0;
    const { server, call } = await situation(({ nth }, response) =>
      nth === 1 ? response.destroy() : json(response, 200, { RequestId: 'R-2' }),
    );
    const answer = await call({
      readBack: async () => {
        reads += 1;
        return undefined;
      },
    });
    expect(answer).toEqual({ RequestId: 'R-2' });
    expect(server.received).toHaveLength(2);
    expect(reads).toBe(1);
  });

  test('P3 a write that the API refused is not read back', async () => {
    const { call } = await situation(({ nth }, response) =>
      nth === 1 ? refuse(response, 403, 'ServiceBusy') : ok({} as Received, response),
    );
    expect(await call({ readBack: () => Promise.reject(new Error('read back')) })).toEqual({ RequestId: 'R-1' });
  });

  test('P3 the last write is read back too when no attempt is left', async () => {
    const { server, call } = await situation((_, response) => response.destroy());
    let reads = 0;
    const readBack = async () => {
      reads += 1;
      return reads === 2 ? { RequestId: 'R-read' } : undefined;
    };
    expect(await call({ policy: { attempts: 2 }, readBack })).toEqual({ RequestId: 'R-read' });
    expect(server.received).toHaveLength(2);
  });

  test.each([
    ['an HTML page', 502, '<html>Bad Gateway</html>'],
    ['an empty answer', 200, ''],
    ['a cut answer', 200, '{"RequestId":"R-1"'],
    ['JSON null', 200, 'null'],
    ['a JSON array', 200, '[]'],
    ['a JSON string', 200, '"ok"'],
  ])('P4 %s ends in a real error that may be tried again', async (_, status, body) => {
    const { call } = await situation((_request, response) => response.writeHead(status).end(body));
    const error = await failureOf(call());
    expect(error).toBeInstanceOf(Error);
    expect(error.stack).toContain('AliyunError');
    expect(error).toMatchObject({ code: 'RESPONSE_INVALID', retryable: true, outcomeUnknown: true });
  });

  test('P5 a body that stops in the middle leaves no socket open', async () => {
    const { server, call } = await situation(
      (_, response) => {
        response.writeHead(200, { 'content-length': '100' });
        response.write('{"RequestId"');
      },
      { timeout: 150 },
    );
    const error = await failureOf(call({ policy: { attempts: 2 } }));
    expect(error).toMatchObject({ code: 'SERVICE_UNREACHABLE', retryable: true, outcomeUnknown: true });
    expect(server.received).toHaveLength(2);
    await expect.poll(() => server.openSockets()).toBe(0);
  });

  test('P5 a peer that takes the request and never answers is given up, and its socket is closed', async () => {
    const { server, call } = await situation(() => undefined, { timeout: 150 });
    expect(await failureOf(call({ policy: { attempts: 1 } }))).toMatchObject({
      code: 'SERVICE_UNREACHABLE',
      outcomeUnknown: true,
    });
    await expect.poll(() => server.openSockets()).toBe(0);
  });

  test('P5 calls that go well share one socket, and closing leaves none', async () => {
    const { server, rpc, call } = await situation(ok, { deps: realDeps() });
    for (let nth = 0; nth < 5; nth += 1) await call();
    expect(server.openSockets()).toBe(1);
    rpc.close();
    await expect.poll(() => server.openSockets()).toBe(0);
  });

  test.each([
    'Action',
    'action',
    'Version',
    'version',
    'AccessKeyId',
    'Timestamp',
    'signatureNonce',
    'SecurityToken',
    'Signature',
    'Format',
  ])('P6 the parameter %s decides nothing: the call is not made', async (name) => {
    const { server, call } = await situation(ok);
    const error = await failureOf(call({ parameters: { DomainName: 'example.com', [name]: 'DeleteCdnDomain' } }));
    expect(error).toMatchObject({ code: 'INTERNAL', retryable: false });
    expect(server.received).toHaveLength(0);
  });

  test('P6 F44 a value from outside that is not text is not sent in any form', async () => {
    const { server, call } = await situation(ok);
    const event: Record<string, string> = JSON.parse('{"DomainName": ["example.com", {"Action": "DeleteCdnDomain"}]}');
    expect(await failureOf(call({ parameters: event }))).toMatchObject({ code: 'INTERNAL' });
    expect(server.received).toHaveLength(0);
  });

  test('P6 a parameter that is undefined is left out', async () => {
    const { server, call } = await situation(ok);
    await call({ parameters: { DomainName: 'example.com', CertName: undefined } });
    expect(server.received[0]?.form.has('CertName')).toBe(false);
  });

  test('P7 F35 throttling is tried again, after the time the server asks for, and narrows the rate', async () => {
    const deps = steppedDeps();
    const limiter = createCallLimiter({ callsPerSecond: 10, deps });
    let narrowed = 0;
    const { call } = await situation(
      ({ nth }, response) =>
        nth === 1
          ? refuse(response, 400, 'Throttling.User', { 'x-acs-retry-after': '7000' })
          : json(response, 200, { RequestId: 'R-2' }),
      { deps },
    );
    const watched: CallLimiter = {
      take: async (options) => {
        const turn = await limiter.take(options);
        return {
          throttled: () => {
            narrowed += 1;
            turn.throttled();
          },
        };
      },
    };
    expect(await call({ limiter: watched })).toEqual({ RequestId: 'R-2' });
    expect(deps.waits).toContain(7_000);
    expect(narrowed).toBe(1);
  });

  test('P7 every attempt is signed anew', async () => {
    const { server, call } = await situation((_, response) => refuse(response, 400, 'SignatureNonceUsed'));
    await failureOf(call());
    expect(server.received).toHaveLength(6);
    expect(new Set(server.received.map(({ form }) => form.get('SignatureNonce'))).size).toBe(6);
    expect(new Set(server.received.map(({ form }) => form.get('Signature'))).size).toBe(6);
  });

  test('P7 F43 a clock that is 20 minutes off is set by the server’s Date and the call goes through', async () => {
    const deps = steppedDeps({ start: new Date('2026-01-02T03:04:05Z') });
    const date = 'Fri, 02 Jan 2026 03:24:05 GMT';
    const { server, call } = await situation(
      ({ form }, response) =>
        form.get('Timestamp') === '2026-01-02T03:24:05Z'
          ? json(response, 200, { RequestId: 'R-2' })
          : refuse(response, 400, 'InvalidTimeStamp.Expired', { date }),
      { deps },
    );
    expect(await call()).toEqual({ RequestId: 'R-2' });
    expect(await call()).toEqual({ RequestId: 'R-2' });
    expect(server.received).toHaveLength(3);
    expect(deps.lines).toContainEqual([
      'warn',
      'clock_skewed',
      { action: 'SetDomainServerCertificate', offsetSeconds: 1_200 },
    ]);
  });

  test('P7 F43 a clock that is a day off is an error that says how far and is not tried again', async () => {
    const { server, call } = await situation(
      (_, response) => refuse(response, 400, 'InvalidTimeStamp.Expired', { date: 'Thu, 01 Jan 2026 03:04:05 GMT' }),
      { deps: steppedDeps({ start: new Date('2026-01-02T03:04:05Z') }) },
    );
    const error = await failureOf(call());
    expect(error).toMatchObject({ code: 'CLOCK_SKEWED', retryable: false });
    expect(error.message).toContain('86400 s ahead of');
    expect(server.received).toHaveLength(1);
  });

  test('P8 an integer of more than 15 digits keeps every digit, and the answer is plain data', async () => {
    const { call } = await situation((_, response) =>
      response.end('{"RequestId":"R-1","Cert":[{"CertId":12345678901234567890,"Count":7}]}'),
    );
    const answer = await call();
    expect(answer).toStrictEqual({ RequestId: 'R-1', Cert: [{ CertId: '12345678901234567890', Count: 7 }] });
    expect(Object.getPrototypeOf(answer)).toBe(Object.prototype);
  });

  test('P8 an answer nested 20000 deep is an error like any other', async () => {
    const deep = `{"RequestId":"R-1","A":${'['.repeat(20_000)}${']'.repeat(20_000)}}`;
    const { call } = await situation((_, response) => response.end(deep));
    expect(await failureOf(call({ policy: { attempts: 1 } }))).toMatchObject({ code: 'RESPONSE_INVALID' });
  });

  test('P8 an answer that names a prototype pollutes none', async () => {
    const { call } = await situation((_, response) => response.end('{"RequestId":"R-1","__proto__":{"polluted":1}}'));
    await call({ policy: { attempts: 1 } }).catch(() => undefined);
    expect('polluted' in {}).toBe(false);
  });

  test('P9 the signature is the HMAC-SHA1 of the documented string to sign', async () => {
    const { server, call } = await situation(ok);
    await call({ parameters: { DomainName: "a!*'() b.example.com", CertName: '证书~' } });
    const form = server.received[0]?.form ?? new URLSearchParams();
    const encode = (text: string) =>
      encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
    const canonical = [...form.keys()]
      .filter((name) => name !== 'Signature')
      .sort()
      .map((name) => `${encode(name)}=${encode(form.get(name) ?? '')}`)
      .join('&');
    const expected = createHmac('sha1', 'canary-access-key-secret&')
      .update(`POST&%2F&${encode(canonical)}`)
      .digest('base64');
    expect(form.get('SignatureMethod')).toBe('HMAC-SHA1');
    expect(form.get('Signature')).toBe(expected);
  });

  test('P10 credentials are asked for at every attempt, not once', async () => {
    let asked = 0;
    const credentials = async () => {
      asked += 1;
      return { accessKeyId: `id-${asked}`, accessKeySecret: new Secret('s') };
    };
    const { server, call } = await situation(ok, { credentials });
    await call();
    await call();
    expect(server.received.map(({ form }) => form.get('AccessKeyId'))).toEqual(['id-1', 'id-2']);
    expect(server.received[0]?.form.has('SecurityToken')).toBe(false);
  });

  test('P10 F41 an expired security token is read again and the call goes through', async () => {
    let asked = 0;
    const credentials = async () => {
      asked += 1;
      return { ...CREDENTIALS, securityToken: new Secret(`token-${asked}`) };
    };
    const { server, call } = await situation(
      ({ form }, response) =>
        form.get('SecurityToken') === 'token-1'
          ? refuse(response, 400, 'InvalidSecurityToken.Expired')
          : json(response, 200, { RequestId: 'R-2' }),
      { credentials },
    );
    expect(await call()).toEqual({ RequestId: 'R-2' });
    expect(server.received).toHaveLength(2);
  });

  test('P10 F41 a token that stays expired is read again once', async () => {
    const { server, call } = await situation((_, response) => refuse(response, 400, 'InvalidSecurityToken.Expired'));
    expect(await failureOf(call())).toMatchObject({ code: 'CREDENTIALS_EXPIRED', retryable: false });
    expect(server.received).toHaveLength(2);
  });
});

describe('a call', () => {
  test('without credentials is not made', async () => {
    const { server, call } = await situation(ok, {
      credentials: async () => ({ accessKeyId: '', accessKeySecret: new Secret('') }),
    });
    expect(await failureOf(call())).toMatchObject({ code: 'CREDENTIALS_MISSING', retryable: false });
    expect(server.received).toHaveLength(0);
  });

  test('F42 without permission fails at once and names the action', async () => {
    const { server, call } = await situation((_, response) => refuse(response, 403, 'Forbidden.RAM'));
    const error = await failureOf(call());
    expect(error).toMatchObject({
      code: 'PERMISSION_DENIED',
      requestId: 'E-1',
      apiCode: 'Forbidden.RAM',
      httpStatus: 403,
    });
    expect(error.message).toContain('SetDomainServerCertificate');
    expect(server.received).toHaveLength(1);
  });

  test('F40 to a port where nobody listens can be tried again and was certainly not carried out', async () => {
    const { rpc } = await situation(ok);
    const gone = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => gone.once('listening', resolve));
    const { port } = gone.address() as AddressInfo;
    await new Promise((resolve) => gone.close(resolve));
    const endpoint = `http://127.0.0.1:${port}`;
    const error = await failureOf(rpc.call({ endpoint, version: '2018-05-10', action: 'DescribeUserDomains' }));
    expect(error).toMatchObject({ code: 'SERVICE_UNREACHABLE', retryable: true, outcomeUnknown: false });
    expect(error.message).toContain('ECONNREFUSED');
  });

  test('F40 to a host name that does not exist says so', async () => {
    const { rpc } = await situation(ok);
    const endpoint = 'http://cdn.nowhere.invalid';
    const error = await failureOf(
      rpc.call({ endpoint, version: '2018-05-10', action: 'DescribeUserDomains', policy: { attempts: 1 } }),
    );
    expect(error).toMatchObject({ code: 'SERVICE_UNREACHABLE', retryable: true, outcomeUnknown: false });
    expect(error.message).toContain('cdn.nowhere.invalid');
  });

  test('F40 by https to a peer that speaks no TLS fails at once', async () => {
    const { server, rpc } = await situation(ok);
    const endpoint = server.url.replace('http:', 'https:');
    const error = await failureOf(rpc.call({ endpoint, version: '2018-05-10', action: 'DescribeUserDomains' }));
    expect(error).toMatchObject({ code: 'SERVICE_UNREACHABLE', retryable: false, outcomeUnknown: false });
  });

  test('is not begun after the deadline, unless it cleans up', async () => {
    const deps = steppedDeps({ seconds: 0 });
    const { server, call } = await situation(ok, { deps });
    expect(await failureOf(call())).toMatchObject({ code: 'DEADLINE_REACHED' });
    expect(server.received).toHaveLength(0);
    expect(await call({ cleanUp: true })).toEqual({ RequestId: 'R-1' });
  });

  test('is given up at the deadline, when that comes before the time limit', async () => {
    const { call } = await situation(() => undefined, { deps: realDeps(0.2), timeout: 15_000 });
    expect(await failureOf(call())).toMatchObject({ code: 'SERVICE_UNREACHABLE' });
  });

  test('F36 whatever a broken gateway answers, it is success only with status 200 and a RequestId', async () => {
    const broken: [number, string][] = [
      [500, '{"RequestId":"R"}'],
      [502, '<html>'],
      [503, '{}'],
      [504, ''],
      [200, '{}'],
      [200, 'OK'],
      [302, '{"RequestId":"R"}'],
      [404, '{"RequestId":"R"}'],
    ];
    for (const [status, body] of broken) {
      const { call } = await situation((_, response) => response.writeHead(status).end(body));
      await expect(call({ policy: { attempts: 1 } }), `${status} ${body}`).rejects.toBeInstanceOf(AliyunError);
    }
  });

  test('on a socket that the server has closed meanwhile goes through on another one', async () => {
    const { server, call } = await situation(
      ({ nth }, response) => {
        json(response, 200, { RequestId: `R-${nth}` });
        if (nth === 1) response.once('finish', () => response.socket?.destroy());
      },
      { deps: realDeps() },
    );
    expect(await call()).toEqual({ RequestId: 'R-1' });
    expect(await call()).toMatchObject({ RequestId: expect.stringMatching(/^R-/) });
    expect(server.received.length).toBeGreaterThanOrEqual(2);
  });
});
