import { once } from 'node:events';
import { createServer } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openAcme } from '../../src/acme.ts';
import { makeCa } from '../sandbox/certificates.ts';
import { freePorts } from '../sandbox/ports.ts';
import { manualDeps, realDeps } from './deps.ts';
import {
  change,
  cutAnswer,
  type Endpoint,
  type Fault,
  halveAnswer,
  loseAnswer,
  problem,
  reply,
  startHostileCa,
  staySilent,
} from './hostile-ca.ts';
import { failureOf, hostileSession, readyOrder, register, validOrder } from './session.ts';

const caBundle = makeCa('Unrelated CA').root;

describe('a peer that does not answer', () => {
  test('A1 a CA that takes the request and stays silent is given up after the request timeout', async () => {
    const { ca, acme } = await hostileSession({ requestTimeout: 500 });
    ca.misbehave('directory', staySilent);
    const error = await failureOf(acme.directory());
    expect(error).toMatchObject({ code: 'ACME_UNREACHABLE', retryable: true });
    expect(error.message).toContain('no answer within 500 ms (ETIMEDOUT)');
    expect(ca.count('directory')).toBe(6);
  });

  test('A1 a port that accepts and never speaks TLS is given up as well, at the deadline at the latest', async () => {
    const sockets = createServer().listen(0, '127.0.0.1');
    await once(sockets, 'listening');
    onTestFinished(() => void sockets.close());
    sockets.on('connection', (socket) => onTestFinished(() => void socket.destroy()));
    const address = sockets.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const acme = openAcme({
      directoryUrl: `https://127.0.0.1:${port}/dir`,
      caBundle,
      deps: manualDeps({ secondsLeft: 0.05 }),
    });
    onTestFinished(() => acme.close());
    expect(await failureOf(acme.directory())).toMatchObject({ code: 'ACME_UNREACHABLE' });
  });

  test('A2 a refused connection keeps its cause and says which host to look at', async () => {
    const [port] = await freePorts(1);
    const acme = openAcme({ directoryUrl: `https://127.0.0.1:${port}/dir`, caBundle, deps: manualDeps() });
    onTestFinished(() => acme.close());
    const error = await failureOf(acme.directory());
    expect(error).toMatchObject({ code: 'ACME_UNREACHABLE', retryable: true, cause: { code: 'ECONNREFUSED' } });
    expect(error.message).toContain('ECONNREFUSED');
    expect(error.remedy).toContain(`127.0.0.1:${port}`);
  });

  test('A3 a refused connection costs seconds of waiting, and never more than the run has', async () => {
    const [port] = await freePorts(1);
    const ask = async (secondsLeft: number): Promise<number> => {
      const deps = manualDeps({ secondsLeft, random: 0.999 });
      const acme = openAcme({ directoryUrl: `https://127.0.0.1:${port}/dir`, caBundle, deps });
      onTestFinished(() => acme.close());
      await failureOf(acme.directory());
      return deps.sleeps.reduce((sum, each) => sum + each, 0);
    };
    expect(await ask(600)).toBeLessThan(31_000);
    expect(await ask(4)).toBeLessThan(4000);
  });

  test('a name that does not resolve is ACME_UNREACHABLE', async () => {
    const acme = openAcme({ directoryUrl: 'https://no-such-host.invalid/dir', caBundle, deps: manualDeps() });
    onTestFinished(() => acme.close());
    expect(await failureOf(acme.directory())).toMatchObject({ code: 'ACME_UNREACHABLE' });
  });

  test('a run whose time is over asks nothing', async () => {
    const { ca, acme } = await hostileSession({ secondsLeft: 0 });
    expect(await failureOf(acme.directory())).toMatchObject({ code: 'DEADLINE_REACHED', retryable: true });
    expect(ca.requests).toEqual([]);
  });

  test('an aborted signal ends a request that hangs', async () => {
    const controller = new AbortController();
    const { ca, acme } = await hostileSession({ signal: controller.signal });
    ca.misbehave('directory', () => {
      controller.abort(new Error('the instance is about to be stopped'));
      return undefined;
    });
    const error = await failureOf(acme.directory());
    expect(error).toMatchObject({
      code: 'DEADLINE_REACHED',
      cause: { message: 'the instance is about to be stopped' },
    });
  });
});

describe('Retry-After', () => {
  const soon = new Date('2026-03-01T00:00:03Z');

  test.each([
    ['F8 seconds are waited', '3', 3000],
    ['F8 an HTTP-date is waited for', soon.toUTCString(), 3000],
    ['F8 zero is our own backoff', '0', 500],
    ['F8 a negative number is our own backoff', '-1', 500],
    ['F8 words are our own backoff', 'abc', 500],
    ['F8 nothing is our own backoff', '', 500],
    ['F8 a date in the past is our own backoff', 'Sun, 01 Mar 2020 00:00:00 GMT', 500],
  ])('%s', async (_, value, wait) => {
    const { ca, acme, deps } = await hostileSession();
    ca.misbehave('directory', reply(503, '<html>busy</html>', { 'retry-after': value }), 1);
    await acme.directory();
    expect(deps.sleeps).toEqual([wait]);
    expect(ca.count('directory')).toBe(2);
  });

  test.each([
    ['a day', '86400', '2026-03-02T00:00:00.000Z'],
    ['A4 more than setTimeout can hold', '2147484', '2026-03-08T00:00:00.000Z'],
    ['A4 the year 2099', 'Thu, 01 Jan 2099 00:00:00 GMT', '2026-03-08T00:00:00.000Z'],
    ['more digits than a number has', '9'.repeat(60), '2026-03-08T00:00:00.000Z'],
  ])('F8 a wait longer than the run (%s) is thrown at once, with an instant to remember', async (_, value, instant) => {
    const { ca, acme, deps } = await hostileSession();
    ca.misbehave('directory', reply(503, '', { 'retry-after': value }));
    const error = await failureOf(acme.directory());
    expect(error).toMatchObject({ code: 'ACME_UNAVAILABLE', retryable: true });
    expect(error.retryAfter?.toISOString()).toBe(instant);
    expect(deps.sleeps).toEqual([]);
    expect(ca.count('directory')).toBe(1);
  });

  test('A4 a CA that says "one second" for ever is asked a bounded number of times', async () => {
    const { ca, acme, deps } = await hostileSession({ secondsLeft: 86_400 });
    ca.misbehave('directory', reply(503, '', { 'retry-after': '1' }));
    await failureOf(acme.directory());
    expect(ca.count('directory')).toBe(21);
    expect(deps.sleeps).toEqual(Array.from({ length: 20 }, () => 1000));
  });
});

describe('a CA in trouble', () => {
  test('F9 a rate limit on newOrder says when it ends', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    const detail = 'too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s';
    ca.misbehave('newOrder', problem(429, 'rateLimited', { detail }, { 'retry-after': '3600' }));
    const error = await failureOf(account.newOrder({ identifiers: ['example.com'] }));
    expect(error).toMatchObject({ code: 'ACME_RATE_LIMITED', retryable: true, status: 429, detail });
    expect(error.retryAfter).toEqual(new Date('2026-03-01T01:00:00Z'));
    expect(error.remedy).toContain('2026-03-01T01:00:00.000Z');
    expect(ca.count('newOrder')).toBe(1);
  });

  test.each(['directory', 'newNonce'] as const)(
    'F10 a %s that is busy for two seconds is waited for',
    async (endpoint) => {
      const { ca, acme, deps } = await hostileSession();
      ca.misbehave(endpoint, reply(503, '<html>busy</html>', { 'retry-after': '2' }), 1);
      await register(acme);
      expect(deps.sleeps).toEqual([2000]);
    },
  );

  test('F10 a CA that is down is ACME_UNAVAILABLE after a bounded number of tries', async () => {
    const { ca, acme } = await hostileSession();
    ca.misbehave('directory', reply(502, '<html>Bad Gateway</html>'));
    expect(await failureOf(acme.directory())).toMatchObject({ code: 'ACME_UNAVAILABLE', retryable: true });
    expect(ca.count('directory')).toBe(6);
  });

  test('F10 a 503 with a problem document is ACME_UNAVAILABLE too', async () => {
    const { ca, acme } = await hostileSession();
    ca.misbehave('directory', problem(503, 'serverInternal', {}, { 'retry-after': '7200' }));
    const error = await failureOf(acme.directory());
    expect(error).toMatchObject({ code: 'ACME_UNAVAILABLE', retryAfter: new Date('2026-03-01T02:00:00Z') });
  });

  const endpoints: readonly Endpoint[] = [
    'directory',
    'newNonce',
    'newAccount',
    'newOrder',
    'order',
    'authorization',
    'challenge',
    'finalize',
    'certificate',
  ];

  test.each(endpoints)(
    'F11 a 500 from %s is tried again with a new nonce, and the certificate comes',
    async (endpoint) => {
      const { ca, acme } = await hostileSession();
      ca.misbehave(endpoint, problem(500, 'serverInternal'), 1);
      const account = await register(acme);
      expect(await account.certificate(await validOrder(account))).toBe(ca.chain);
      expect(ca.orders).toBe(1);
    },
  );

  test.each(endpoints)('F12 the lost answer of %s costs no certificate and at most one order', async (endpoint) => {
    const { ca, acme } = await hostileSession();
    ca.misbehave(endpoint, loseAnswer, 1);
    const account = await register(acme);
    expect(await account.certificate(await validOrder(account))).toBe(ca.chain);
    expect(ca.orders).toBe(endpoint === 'newOrder' ? 2 : 1);
    expect(ca.accountKeys).toHaveLength(1);
  });

  test('F12 a second lost answer to newOrder is not tried a third time', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    ca.misbehave('newOrder', loseAnswer);
    expect(await failureOf(account.newOrder({ identifiers: ['example.com'] }))).toMatchObject({
      code: 'ACME_UNREACHABLE',
    });
    expect(ca.orders).toBe(2);
  });

  test.each(endpoints.filter((each) => each !== 'newNonce'))(
    'F13 an answer of %s that is cut off is not taken for an answer',
    async (endpoint) => {
      const { ca, acme } = await hostileSession();
      ca.misbehave(endpoint, cutAnswer, 1);
      const account = await register(acme);
      expect(await account.certificate(await validOrder(account))).toBe(ca.chain);
      expect(ca.orders).toBeLessThanOrEqual(2);
    },
  );

  test.each(endpoints.filter((each) => each !== 'newNonce'))(
    'F13 half an answer of %s that looks complete is asked for again',
    async (endpoint) => {
      const { ca, acme } = await hostileSession();
      ca.misbehave(endpoint, halveAnswer, 1);
      const account = await register(acme);
      expect(await account.certificate(await validOrder(account))).toBe(ca.chain);
      // The Location header of newOrder arrived: the order is read there and not opened again.
      expect(ca.orders).toBe(1);
    },
  );
});

describe('nonces', () => {
  test('A12 a hundred identifiers cost no more than eight new nonces', async () => {
    const { ca, acme } = await hostileSession({ deps: realDeps() });
    const account = await register(acme);
    const identifiers = Array.from({ length: 100 }, (_, index) => `host-${index}.example.com`);
    await validOrder(account, identifiers);
    expect(ca.count('authorization')).toBe(100);
    expect(ca.count('challenge')).toBe(100);
    expect(ca.count('newNonce')).toBeLessThanOrEqual(8);
  });

  test('one certificate with a known account takes eight requests and one new nonce', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    const before = ca.requests.length;
    await account.certificate(await validOrder(account));
    expect(ca.requests.slice(before).map(({ endpoint }) => endpoint)).toEqual([
      'newOrder',
      'authorization',
      'challenge',
      'order',
      'finalize',
      'certificate',
    ]);
    expect(ca.requests.slice(0, before).map(({ endpoint }) => endpoint)).toEqual([
      'directory',
      'newNonce',
      'newAccount',
    ]);
  });

  test('A11 a nonce refused a hundred times in a row is replaced a hundred times, without waiting', async () => {
    const { ca, acme, deps } = await hostileSession();
    ca.misbehave('newAccount', problem(400, 'badNonce'), 100);
    await register(acme);
    expect(ca.count('newAccount')).toBe(101);
    expect(ca.count('newNonce')).toBe(1);
    expect(deps.sleeps).toEqual([]);
  });

  test('A11 a CA that refuses every nonce is given up', async () => {
    const { ca, acme } = await hostileSession();
    ca.misbehave('newAccount', problem(400, 'badNonce'));
    expect(await failureOf(register(acme))).toMatchObject({ code: 'ACME_BAD_NONCE', retryable: true });
    expect(ca.count('newAccount')).toBe(200);
  });

  test('F3 when the time is over with a nonce refused, it is the time that ended the run', async () => {
    const { ca, acme, deps } = await hostileSession({ secondsLeft: 60 });
    const refuse = problem(400, 'badNonce');
    ca.misbehave('newAccount', (exchange) => {
      void deps.sleep(61_000);
      return refuse(exchange);
    });
    expect(await failureOf(register(acme))).toMatchObject({ code: 'DEADLINE_REACHED', retryable: true });
    expect(ca.count('newAccount')).toBe(1);
  });

  test('F3 a refused nonce without a new one is followed by new-nonce', async () => {
    const { ca, acme } = await hostileSession();
    ca.misbehave('newAccount', problem(400, 'badNonce', {}, { 'replay-nonce': undefined }), 2);
    await register(acme);
    expect(ca.requests.map(({ endpoint }) => endpoint)).toEqual([
      'directory',
      'newNonce',
      'newAccount',
      'newNonce',
      'newAccount',
      'newNonce',
      'newAccount',
    ]);
  });

  test.each([undefined, 'not base64url!'])(
    'F4 a good answer with the nonce %s is followed by new-nonce',
    async (nonce) => {
      const { ca, acme } = await hostileSession();
      ca.misbehave('newAccount', change({}, { 'replay-nonce': nonce }));
      const account = await register(acme);
      await account.newOrder({ identifiers: ['example.com'] });
      expect(ca.count('newNonce')).toBe(2);
    },
  );

  test('new-nonce without a nonce is asked again, then ACME_RESPONSE_INVALID', async () => {
    const { ca, acme } = await hostileSession();
    ca.misbehave('newNonce', reply(200, undefined, { 'replay-nonce': undefined }));
    expect(await failureOf(register(acme))).toMatchObject({ code: 'ACME_RESPONSE_INVALID' });
    expect(ca.count('newNonce')).toBe(6);
    expect(ca.count('newAccount')).toBe(0);
  });

  test('eight accounts that wait for a first nonce at once all get one', async () => {
    const { acme } = await hostileSession();
    const accounts = await Promise.all(Array.from({ length: 12 }, () => register(acme)));
    expect(new Set(accounts.map(({ url }) => url)).size).toBe(12);
  });
});

describe('what is not ACME', () => {
  test('A17 a redirect is not followed, neither for GET nor for POST', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    ca.misbehave('newOrder', reply(307, '', { location: `${new URL(ca.directoryUrl).origin}/order/0` }));
    ca.misbehave('renewalInfo', reply(302, '', { location: ca.directoryUrl }));
    expect(await failureOf(account.newOrder({ identifiers: ['example.com'] }))).toMatchObject({
      code: 'ACME_RESPONSE_INVALID',
      retryable: false,
    });
    expect(await failureOf(acme.renewalInfo('AAAA.BBBB'))).toMatchObject({ code: 'ACME_RESPONSE_INVALID' });
    expect(ca.count('newOrder')).toBe(1);
    expect(ca.count('order')).toBe(0);
    expect(ca.count('directory')).toBe(1);
  });

  test('A17 a body without end is cut at one megabyte', async () => {
    const { ca, acme } = await hostileSession();
    ca.misbehave('directory', ({ response }) => {
      const more = (): void => void response.write('x'.repeat(65_536), (error) => (error ? undefined : more()));
      more();
      return undefined;
    });
    const error = await failureOf(acme.directory());
    expect(error).toMatchObject({ code: 'ACME_RESPONSE_INVALID', retryable: false });
    expect(error.message).toContain('more than 1048576 bytes');
    expect(ca.count('directory')).toBe(1);
  });

  test('A17 a body of one megabyte is read, and one byte more is not', async () => {
    const { ca, acme } = await hostileSession();
    const padded = (length: number): Fault => {
      return ({ honest }) => ({ ...honest(), body: (honest().body ?? '').padEnd(length) });
    };
    ca.misbehave('directory', padded(1_048_577));
    expect(await failureOf(acme.directory())).toMatchObject({ code: 'ACME_RESPONSE_INVALID', retryable: false });
    ca.misbehave('directory', padded(1_048_576));
    expect(await acme.directory()).toMatchObject({ meta: { caaIdentities: ['ca.example'] } });
  });

  test('A18 headers of more than 16 KB are refused', async () => {
    const { ca, acme } = await hostileSession();
    ca.misbehave('directory', reply(200, '{}', { link: '<'.repeat(40_000) }));
    expect(await failureOf(acme.directory())).toMatchObject({ code: 'ACME_RESPONSE_INVALID', retryable: false });
  });

  test('A17 what the caller passes in is left as it was', async () => {
    const { acme } = await hostileSession();
    const account = await register(acme);
    const identifiers = Object.freeze(['example.com', '*.example.com']);
    const order = Object.freeze(await readyOrder(account, identifiers));
    await account.certificate(order, Object.freeze({})).catch(() => undefined);
    expect(identifiers).toEqual(['example.com', '*.example.com']);
  });

  test.each(['http://127.0.0.1/dir', 'ftp://ca.example/dir', 'not a url', 'https://user:secret@ca.example/dir'])(
    'F24 the directory %s is refused before anything is sent',
    (directoryUrl) => {
      const open = (): unknown => openAcme({ directoryUrl, deps: manualDeps() });
      expect(open).toThrow(expect.objectContaining({ code: 'ACME_RESPONSE_INVALID' }));
      expect(open).toThrow(expect.not.stringContaining('secret'));
    },
  );

  test('F24 a directory that names an http URL is refused', async () => {
    const { ca, acme } = await hostileSession();
    ca.misbehave('directory', change({ newOrder: 'http://127.0.0.1/new-order' }));
    const error = await failureOf(acme.directory());
    expect(error).toMatchObject({ code: 'ACME_RESPONSE_INVALID', retryable: false });
    expect(error.message).toContain('newOrder');
  });

  test('F24 a directory without renewalInfo and with fields nobody knows is a good one', async () => {
    const { ca, acme } = await hostileSession();
    ca.misbehave(
      'directory',
      change({ renewalInfo: undefined, r4nd0m: 'https://example.com/', newAuthz: null, meta: undefined }),
    );
    expect(await acme.directory()).toMatchObject({ meta: { externalAccountRequired: false, caaIdentities: [] } });
    expect(await acme.renewalInfo('AAAA.BBBB')).toBeUndefined();
  });

  test('F24 another origin is asked only where it is allowed', async () => {
    const other = await startHostileCa();
    onTestFinished(() => other.close());
    const newNonce = `${new URL(other.directoryUrl).origin}/newNonce`;
    const { ca, acme } = await hostileSession();
    ca.misbehave('directory', change({ newNonce }));
    const error = await failureOf(register(acme));
    expect(error).toMatchObject({ code: 'ACME_RESPONSE_INVALID', retryable: false });
    expect(error.message).toContain(new URL(newNonce).origin);
    expect(other.requests).toEqual([]);

    const allowed = await hostileSession({ allowedOrigins: [new URL(newNonce).origin] });
    allowed.ca.misbehave('directory', change({ newNonce }));
    // Its certificate is of another CA: it was asked, and not believed.
    expect(await failureOf(register(allowed.acme))).toMatchObject({ code: 'ACME_UNREACHABLE' });
  });
});

describe('trust', () => {
  test('a certificate of an unknown CA is refused at once, and the remedy names acme.caBundle', async () => {
    const ca = await startHostileCa();
    onTestFinished(() => ca.close());
    for (const bundle of [undefined, caBundle]) {
      const acme = openAcme({ directoryUrl: ca.directoryUrl, caBundle: bundle, deps: manualDeps() });
      onTestFinished(() => acme.close());
      const error = await failureOf(acme.directory());
      expect(error).toMatchObject({ code: 'ACME_UNREACHABLE', retryable: false });
      expect(error.remedy).toContain('acme.caBundle');
    }
    expect(ca.requests).toEqual([]);
  });

  test('NODE_TLS_REJECT_UNAUTHORIZED=0 changes nothing', async () => {
    const ca = await startHostileCa();
    onTestFinished(() => ca.close());
    const before = process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
    onTestFinished(() => {
      if (before === undefined) delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
      else process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = before;
    });
    const acme = openAcme({ directoryUrl: ca.directoryUrl, deps: manualDeps() });
    onTestFinished(() => acme.close());
    expect(await failureOf(acme.directory())).toMatchObject({ code: 'ACME_UNREACHABLE', retryable: false });
  });

  test.each(['', 'garbage', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'])(
    'a caBundle of %j is CONFIG_INVALID',
    (bundle) => {
      expect(() => openAcme({ directoryUrl: 'https://ca.example/dir', caBundle: bundle, deps: manualDeps() })).toThrow(
        expect.objectContaining({ code: 'CONFIG_INVALID' }),
      );
    },
  );

  test('F59 a connection that died while the instance was frozen is opened again without a word', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    ca.misbehave('order', ({ response, honest }) => {
      response.on('finish', () => response.socket?.destroy());
      return honest();
    });
    const order = await account.newOrder({ identifiers: ['example.com'] });
    await account.order(order.url);
    expect((await account.order(order.url)).status).toBe('pending');
  });

  test('RFC 8555 section 6.1: every request has a User-Agent, every POST is application/jose+json', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    await account.certificate(await validOrder(account));
    for (const { method, headers } of ca.requests) {
      expect(headers['user-agent']).toContain('aliyun-cdn-autocert');
      expect(headers['content-type']).toBe(method === 'POST' ? 'application/jose+json' : undefined);
    }
  });
});

test('close() ends the connections that were kept open', async () => {
  const { ca, acme } = await hostileSession();
  await acme.directory();
  expect(await ca.openConnections()).toBe(1);
  acme.close();
  await expect.poll(() => ca.openConnections()).toBe(0);
});
