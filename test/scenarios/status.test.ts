import { afterAll, beforeAll, expect, test } from 'vitest';
import type { HttpAnswer } from '../../src/http.ts';
import { startWorld, type World } from '../sandbox/world.ts';

let world: World;
let config: Record<string, unknown>;
beforeAll(async () => {
  world = await startWorld({ zones: ['example.com'] });
  world.cdn.set('www.example.com');
  config = world.config({
    certificates: [
      { name: 'www', identifiers: ['www.example.com'], keyType: 'ec256' },
      { name: 'gone', identifiers: ['gone.elsewhere.example'], keyType: 'ec256' },
    ],
  });
  world.cdn.set('gone.elsewhere.example');
  await world.renew(config);
});
afterAll(() => world.close());

function request(method: string, path = '/', headers: Record<string, string> = { Accept: 'text/html,*/*;q=0.8' }) {
  return {
    version: 'v1',
    rawPath: path,
    headers,
    queryParameters: {},
    body: '',
    isBase64Encoded: false,
    requestContext: { accountId: '1234567890123456', http: { method, path, protocol: 'HTTP/1.1' }, requestId: '1' },
  };
}

async function get(event: unknown, configuration: unknown = config): Promise<HttpAnswer> {
  const { result, error } = await world.invoke('status', event, configuration);
  expect(error).toBeUndefined();
  return result as HttpAnswer;
}

test.each<[string, unknown]>([
  ['a path that ends in .json', request('GET', '/status.json')],
  ['a client that wants JSON', request('GET', '/', { accept: 'application/json' })],
  ['an invocation by hand', ''],
])('%s gets the state as JSON, without a call to the cloud or the CA', async (_, event) => {
  const [calls, requests] = [world.rpc.calls.length, world.pebble.log.length];
  const { statusCode, headers, body } = await get(event);
  expect(statusCode).toBe(200);
  expect(headers['content-type']).toBe('application/json; charset=utf-8');
  expect(JSON.parse(body)).toMatchObject({
    version: 1,
    certificates: [
      {
        name: 'gone',
        state: 'failing',
        inProgress: false,
        identifiers: ['gone.elsewhere.example'],
        failure: { code: 'DNS_LOOKUP_FAILED', attempts: 1, remedy: expect.stringMatching(/./) },
      },
      { name: 'www', state: 'good', daysLeft: 89, domains: ['www.example.com'], keyType: 'ec256' },
    ],
  });
  expect(body).not.toMatch(/PRIVATE KEY|BEGIN|sandbox-role-secret|sandbox-security-token/);
  expect([world.rpc.calls.length, world.pebble.log.length]).toEqual([calls, requests]);
});

test('a browser gets a page', async () => {
  const { statusCode, headers, body } = await get(request('GET'));
  expect(statusCode).toBe(200);
  expect(headers).toMatchObject({
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'",
  });
  expect(body).toContain('<h1>1 of 2 certificates failing</h1>');
  expect(body).toContain('www.example.com');
});

test('HEAD is GET without the body, and anything else is refused', async () => {
  const page = await get(request('HEAD'));
  expect(page).toMatchObject({ statusCode: 200, body: '' });
  expect(page.headers['content-type']).toBe('text/html; charset=utf-8');
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
    expect(await get(request(method))).toMatchObject({ statusCode: 405, headers: { allow: 'GET, HEAD' } });
  }
});

test('a configuration that is wrong is answered with its code and its remedy alone', async () => {
  const broken = { ...config, store: 'ftp://user:pass-word@example.com/' };
  const { statusCode, body } = await get(request('GET', '/status.json'), broken);
  expect(statusCode).toBe(500);
  expect(JSON.parse(body)).toEqual({ error: { code: 'CONFIG_INVALID', remedy: expect.any(String) } });
  expect(body).not.toContain('pass-word');
  expect((await get(request('GET'), broken)).body).toContain('CONFIG_INVALID');
});
