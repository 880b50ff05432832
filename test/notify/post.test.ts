import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createPost, type Incoming, type PostOptions } from '../../src/notify/post.ts';
import { Secret } from '../../src/secret.ts';
import { type Receivers, startReceivers } from '../sandbox/receivers.ts';

const NOW = new Date('2026-01-02T03:04:05Z');
const deps = { now: () => NOW, deadline: new Date('2026-01-02T03:05:05Z') };

let receivers: Receivers;
beforeAll(async () => {
  receivers = await startReceivers();
});
afterAll(() => receivers.close());

function get(url: string, options: Partial<PostOptions> = {}): Promise<Incoming> {
  return createPost({ deps, allowLoopback: true, ca: receivers.ca, ...options })({
    method: 'GET',
    url: new Secret(url),
  });
}

describe('F69 never sends to', () => {
  test.each([
    'https://10.1.2.3/',
    'https://172.31.0.1/',
    'https://192.168.1.1/',
    'https://169.254.169.254/latest/meta-data/',
    'https://100.100.100.200/latest/',
    'https://100.64.0.1/',
    'https://[fe80::1]/',
    'https://[fd00::1]/',
    'https://[::ffff:10.0.0.1]/',
    'https://[64:ff9b::a9fe:a9fe]/',
    'https://[2002:0a00:0001::]/',
    'https://0.0.0.0/',
    'https://0xa9fea9fe/',
    'https://224.0.0.1/',
    'https://[::]/',
    'https://[::7f00:1]/',
    'https://[64:ff9b:1::a9fe:a9fe]/',
    'https://[fec0::1]/',
    'https://192.0.2.1/',
    'https://[2001:db8::1]/',
  ])('%s, even where loopback is allowed', async (url) => {
    await expect(get(url)).rejects.toMatchObject({
      code: 'REQUEST_REFUSED',
      message: expect.stringContaining('private network'),
    });
  });

  test.each([
    'https://127.0.0.1:1/',
    'https://localhost:1/',
    'https://0x7f000001:1/',
    'https://2130706433:1/',
    'https://127.1:1/',
    'https://[::1]:1/',
    'https://[::ffff:127.0.0.1]:1/',
  ])('%s, unless the whole cloud is on loopback', async (url) => {
    await expect(get(url, { allowLoopback: false })).rejects.toMatchObject({ code: 'REQUEST_REFUSED' });
  });

  test('a name that resolves to such an address, among others', async () => {
    const resolve = async () => [
      { address: '93.184.215.14', family: 4 },
      { address: '169.254.169.254', family: 4 },
    ];
    await expect(get('https://hooks.example.com/x', { resolve })).rejects.toMatchObject({ code: 'REQUEST_REFUSED' });
  });

  test.each(['file:///etc/passwd', 'ftp://127.0.0.1/', 'data:,x', 'javascript:0', 'gopher://127.0.0.1:70/'])(
    '%s, even where loopback is allowed',
    async (url) => {
      await expect(get(url, { resolve: async () => [{ address: '127.0.0.1', family: 4 }] })).rejects.toMatchObject({
        code: 'REQUEST_REFUSED',
        message: expect.stringContaining('https'),
      });
    },
  );

  test('a public host by http', async () => {
    const resolve = async () => [{ address: '93.184.215.14', family: 4 }];
    await expect(get('http://hooks.example.com/x', { resolve })).rejects.toMatchObject({
      message: expect.stringContaining('https'),
    });
  });
});

test('F69 a name that turns to this machine right after it was looked at (DNS rebinding) leads nobody there', async () => {
  let asked = 0;
  const resolve = async () => {
    asked += 1;
    // Nothing listens at the first one.
    return [{ address: asked === 1 ? '127.0.0.2' : '127.0.0.1', family: 4 }];
  };
  const before = receivers.requests.length;
  const { port } = new URL(receivers.origin);
  await expect(get(`https://localhost:${port}/ping`, { resolve })).rejects.toMatchObject({
    code: 'SERVICE_UNREACHABLE',
    message: 'it cannot be reached (ECONNREFUSED)',
  });
  expect([asked, receivers.requests.length]).toEqual([1, before]);
});

test('F69 the connection goes to the address that was looked at, and a name is asked for once', async () => {
  let asked = 0;
  const resolve = async () => {
    asked += 1;
    return [{ address: asked === 1 ? '127.0.0.1' : '169.254.169.254', family: 4 }];
  };
  const { port } = new URL(receivers.origin);
  expect(await get(`https://localhost:${port}/ping`, { resolve })).toMatchObject({ status: 200, body: 'OK' });
  expect(asked).toBe(1);
});

test('the certificate must be for the name, whatever address it has', async () => {
  const resolve = async () => [{ address: '127.0.0.1', family: 4 }];
  const { port } = new URL(receivers.origin);
  const failure = get(`https://hooks.example.com:${port}/ping`, { resolve });
  await expect(failure).rejects.toMatchObject({
    code: 'REQUEST_REFUSED',
    message: expect.stringContaining('ERR_TLS_CERT_ALTNAME_INVALID'),
  });
});

test('a certificate of a CA that nobody knows is refused', async () => {
  await expect(get(`${receivers.origin}/ping`, { ca: undefined })).rejects.toMatchObject({
    code: 'REQUEST_REFUSED',
    retryable: false,
  });
});

test('a name without an address is no secret told', async () => {
  const resolve = async () => {
    throw Object.assign(new Error('getaddrinfo ENOTFOUND canary.example.com'), { code: 'ENOTFOUND' });
  };
  const failure = await get('https://canary.example.com/canary', { resolve }).catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 'SERVICE_UNREACHABLE', message: 'its name cannot be resolved (ENOTFOUND)' });
  expect(String(failure)).not.toContain('canary');
});

describe('a receiver that behaves badly', () => {
  test.each([301, 302, 303, 307, 308])('F69 with a redirect (%i) is not followed', async (status) => {
    const location = `${receivers.origin}/ping`;
    receivers.answer('webhook', { status, body: '', headers: { location } });
    const before = receivers.requests.length;
    const post = createPost({ deps, allowLoopback: true, ca: receivers.ca });
    const failure = post({ method: 'POST', url: new Secret(receivers.url('webhook')), body: '{}' });
    await expect(failure).rejects.toMatchObject({
      code: 'REQUEST_REFUSED',
      message: expect.stringContaining('redirect'),
    });
    expect(receivers.requests.slice(before)).toEqual([expect.stringMatching(/^POST \/hooks/)]);
    receivers.answer('webhook', undefined);
  });

  test('with an endless answer is cut off', async () => {
    const server = createServer((_, response) => {
      response.writeHead(200);
      const more = (): void => {
        if (response.destroyed) return;
        response.write('x'.repeat(8192), more);
      };
      more();
    });
    const failure = await withServer(server, (url) => get(url));
    expect(failure).toMatchObject({ code: 'REQUEST_REFUSED', message: expect.stringContaining('65536 bytes') });
  });

  test('with no answer is given up', async () => {
    const failure = await withServer(
      createServer(() => undefined),
      (url) => get(url, { timeout: 50 }),
    );
    expect(failure).toMatchObject({ code: 'SERVICE_UNREACHABLE', retryable: false });
  });

  test('that cuts the connection may be asked again', async () => {
    const failure = await withServer(
      createServer((request) => request.socket.destroy()),
      (url) => get(url),
    );
    expect(failure).toMatchObject({ code: 'SERVICE_UNREACHABLE', retryable: true });
  });
});

test('with no time left nothing is sent', async () => {
  const before = receivers.requests.length;
  await expect(get(`${receivers.origin}/ping`, { deps: { now: () => NOW, deadline: NOW } })).rejects.toMatchObject({
    code: 'SERVICE_UNREACHABLE',
  });
  expect(receivers.requests.length).toBe(before);
});

async function withServer(
  server: ReturnType<typeof createServer>,
  use: (url: string) => Promise<unknown>,
): Promise<unknown> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  try {
    return await use(`http://127.0.0.1:${port}/`).catch((error: unknown) => error);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}
