import { describe, expect, test } from 'vitest';
import { createAccountKey } from '../../src/acme/keys.ts';
import { AcmeProblem } from '../../src/acme/problem.ts';
import { createCsr } from '../../src/acme/signing.ts';
import { makeCa, makeCertificate } from '../sandbox/certificates.ts';
import { change, type Fault, loseAnswer, problem, type Reply, reply } from './hostile-ca.ts';
import { failureOf, hostileSession, readyOrder, register, validOrder } from './session.ts';

const csr = (identifiers: readonly string[] = ['example.com']) =>
  createCsr({ identifiers, privateKey: createAccountKey() });

describe('polling', () => {
  test('A5 polls begin within half a second, become rarer, and end at the deadline with the order kept for the next run', async () => {
    const { ca, acme, deps } = await hostileSession({ secondsLeft: 20, random: 0 });
    const account = await register(acme);
    const order = await account.newOrder({ identifiers: ['example.com'] });
    const error = await failureOf(account.pollOrder(order.url, ['ready']));
    expect(error).toMatchObject({ code: 'ACME_ORDER_PENDING', retryable: true });
    expect(error.message).toContain(order.url);
    expect(deps.sleeps).toEqual([250, 375, 562.5, 843.75, 1265.625, 1898.4375, 2847.65625, 4271.484375, 5000]);
    expect(deps.now().getTime()).toBeLessThan(deps.deadline.getTime());
    expect(ca.count('order')).toBe(deps.sleeps.length);
  });

  test('A5 the CA says when to ask again', async () => {
    const { ca, acme, deps } = await hostileSession();
    const account = await register(acme);
    const order = await account.newOrder({ identifiers: ['example.com'] });
    ca.misbehave('order', change({ status: 'processing' }, { 'retry-after': '7' }), 3);
    ca.misbehave('order', change({ status: 'processing' }), 1);
    await failureOf(account.pollOrder(order.url, ['ready']));
    expect(deps.sleeps.slice(1, 5)).toEqual([562.5, 7000, 7000, 7000]);
  });

  test('A4 a Retry-After beyond the deadline ends the poll at once and is handed on', async () => {
    const { ca, acme, deps } = await hostileSession({ secondsLeft: 120 });
    const account = await register(acme);
    const order = await account.newOrder({ identifiers: ['example.com'] });
    ca.misbehave('order', change({ status: 'processing' }, { 'retry-after': '2147484' }));
    const error = await failureOf(account.pollOrder(order.url, ['ready']));
    expect(error).toMatchObject({ code: 'ACME_ORDER_PENDING', retryAfter: new Date('2026-03-08T00:00:00.375Z') });
    expect(deps.sleeps).toHaveLength(1);
  });

  test('F7 an order stuck in processing is finished by the next run without another one', async () => {
    const { ca, acme } = await hostileSession({ secondsLeft: 20 });
    const key = createAccountKey();
    const account = await register(acme, key);
    const ready = await readyOrder(account);
    ca.misbehave('finalize', change({ status: 'processing', certificate: undefined }), 1);
    ca.misbehave('order', change({ status: 'processing', certificate: undefined }), 30);
    const finalized = await account.finalize(ready, await csr());
    expect(finalized.status).toBe('processing');
    expect(await failureOf(account.pollOrder(ready.url, ['valid']))).toMatchObject({ code: 'ACME_ORDER_PENDING' });

    ca.misbehave('order', ({ honest }) => honest());
    const nextRun = await hostileSession({ directoryUrl: ca.directoryUrl, caBundle: ca.caBundle });
    const again = await nextRun.acme.account(key, { accountUrl: account.url, termsOfServiceAgreed: true });
    expect(await again.certificate(await again.pollOrder(ready.url, ['valid']))).toBe(ca.chain);
    expect(ca.orders).toBe(1);
    expect(ca.count('newAccount')).toBe(1);
  });

  test.each([403, 404])('A6 a permanent %i while polling is asked once', async (status) => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    const order = await account.newOrder({ identifiers: ['example.com'] });
    ca.misbehave('order', problem(status, 'unauthorized'));
    expect(await failureOf(account.pollOrder(order.url, ['ready']))).toMatchObject({ status, retryable: false });
    expect(ca.count('order')).toBe(1);
  });

  test('A20 every status of RFC 8555 is told apart, and one it does not know is no answer', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    const order = await account.newOrder({ identifiers: ['example.com'] });
    for (const status of ['pending', 'ready', 'processing', 'valid', 'invalid']) {
      ca.misbehave('order', change({ status }));
      expect(await account.order(order.url)).toMatchObject({ status });
    }
    const [url = ''] = order.authorizations;
    for (const status of ['pending', 'valid', 'invalid', 'deactivated', 'expired', 'revoked']) {
      ca.misbehave('authorization', change({ status }));
      expect(await account.authorization(url)).toMatchObject({ status });
    }
    ca.misbehave('order', change({ status: 'constructor' }));
    expect(await failureOf(account.order(order.url))).toMatchObject({
      code: 'ACME_RESPONSE_INVALID',
      retryable: false,
    });
  });

  test('A20 "ready" does not stand for "valid"', async () => {
    const { acme } = await hostileSession({ secondsLeft: 10 });
    const account = await register(acme);
    const ready = await readyOrder(account);
    expect(await failureOf(account.pollOrder(ready.url, ['valid']))).toMatchObject({ code: 'ACME_ORDER_PENDING' });
  });
});

describe('an order that failed', () => {
  const failed =
    (type: string, detail: string): Fault =>
    ({ honest }): Reply => {
      const answer = honest();
      const authorization = JSON.parse(answer.body ?? '{}');
      const [challenge] = authorization.challenges;
      const error = { type: `urn:ietf:params:acme:error:${type}`, detail, status: 403 };
      const body = { ...authorization, status: 'invalid', challenges: [{ ...challenge, status: 'invalid', error }] };
      return { ...answer, body: JSON.stringify(body) };
    };

  test('A10 the problem of the authorization that failed is thrown, with its identifier, type, status and URL', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    const order = await account.newOrder({ identifiers: ['good.example.com', '*.bad.example.com'] });
    ca.misbehave('order', change({ status: 'invalid' }));
    ca.misbehave('authorization', ({ request, response, honest }) => {
      if (request.path.endsWith('-0')) return honest();
      return failed('dns', 'SERVFAIL looking up TXT')({ request, response, honest });
    });
    const error = await failureOf(account.pollOrder(order.url, ['ready']));
    expect(error).toBeInstanceOf(AcmeProblem);
    expect(error).toMatchObject({
      code: 'ACME_DNS',
      retryable: false,
      type: 'urn:ietf:params:acme:error:dns',
      status: 403,
      detail: 'SERVFAIL looking up TXT',
      identifier: '*.bad.example.com',
      url: order.authorizations[1],
    });
    expect(error.message).toContain('for *.bad.example.com: dns; SERVFAIL looking up TXT');
    expect(error.remedy).toContain('_acme-challenge.bad.example.com');
  });

  test('F20 several authorizations that failed are all named', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    const order = await account.newOrder({ identifiers: ['a.example.com', 'b.example.com'] });
    ca.misbehave('order', change({ status: 'invalid' }));
    ca.misbehave('authorization', ({ request, response, honest }) => {
      return request.path.endsWith('-0')
        ? failed('caa', 'CAA forbids')({ request, response, honest })
        : failed('unauthorized', 'wrong TXT')({ request, response, honest });
    });
    const error = await failureOf(account.pollOrder(order.url, ['ready']));
    expect(error).toMatchObject({
      code: 'ACME_CAA',
      subproblems: [
        { identifier: 'a.example.com', type: 'urn:ietf:params:acme:error:caa', detail: 'CAA forbids' },
        { identifier: 'b.example.com', type: 'urn:ietf:params:acme:error:unauthorized', detail: 'wrong TXT' },
      ],
    });
    expect(error.message).toContain('b.example.com: unauthorized: wrong TXT');
    expect(error.remedy).toContain('a.example.com CAA 0 issue "ca.example"');
  });

  test('F20 subproblems of newOrder keep their identifiers', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    const subproblems = [
      {
        type: 'urn:ietf:params:acme:error:rejectedIdentifier',
        detail: 'policy',
        identifier: { type: 'dns', value: 'bad.example' },
      },
    ];
    ca.misbehave('newOrder', problem(400, 'compound', { subproblems }));
    expect(await failureOf(account.newOrder({ identifiers: ['bad.example', 'good.example'] }))).toMatchObject({
      code: 'ACME_COMPOUND',
      identifier: 'bad.example',
      subproblems: [
        { identifier: 'bad.example', type: 'urn:ietf:params:acme:error:rejectedIdentifier', detail: 'policy' },
      ],
    });
  });

  test('an order that failed by itself gives its own error, and one without any is ACME_ORDER_INVALID', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    const order = await account.newOrder({ identifiers: ['example.com'] });
    ca.misbehave(
      'order',
      change({ status: 'invalid', error: { type: 'urn:ietf:params:acme:error:badCSR', detail: 'weak key' } }),
    );
    expect(await failureOf(account.pollOrder(order.url, ['ready']))).toMatchObject({
      code: 'ACME_BAD_CSR',
      detail: 'weak key',
    });
    ca.misbehave('order', change({ status: 'invalid', error: undefined }));
    expect(await failureOf(account.pollOrder(order.url, ['ready']))).toMatchObject({
      code: 'ACME_ORDER_INVALID',
      retryable: false,
    });
  });

  test('F21 alreadyReplaced is told apart, so that the order can be opened without `replaces`', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    ca.misbehave('newOrder', problem(409, 'alreadyReplaced'), 1);
    const error = await failureOf(account.newOrder({ identifiers: ['example.com'], replaces: 'AAAA.BBBB' }));
    expect(error).toMatchObject({ code: 'ACME_ALREADY_REPLACED', status: 409, retryable: false });
    expect((await account.newOrder({ identifiers: ['example.com'] })).status).toBe('pending');
    expect(
      ca.requests.filter(({ endpoint }) => endpoint === 'newOrder').map(({ payload }) => payload?.['replaces']),
    ).toEqual(['AAAA.BBBB', undefined]);
  });

  test('F25 invalidProfile is told apart', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    ca.misbehave('newOrder', problem(400, 'invalidProfile'));
    expect(await failureOf(account.newOrder({ identifiers: ['example.com'], profile: 'gold' }))).toMatchObject({
      code: 'ACME_INVALID_PROFILE',
    });
    expect(ca.requests.at(-1)?.payload).toMatchObject({ profile: 'gold' });
  });

  test('an order for other names than the ones asked for is refused', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    ca.misbehave('newOrder', change({ identifiers: [{ type: 'dns', value: 'evil.example' }] }));
    expect(await failureOf(account.newOrder({ identifiers: ['example.com'] }))).toMatchObject({
      code: 'ACME_RESPONSE_INVALID',
      retryable: false,
    });
  });

  test('a token that is not base64url never reaches a solver', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    const { authorizations } = await account.newOrder({ identifiers: ['example.com'] });
    const challenges = [
      {
        type: 'http-01',
        url: `${new URL(ca.directoryUrl).origin}/challenge/0-0`,
        status: 'pending',
        token: '../../etc/passwd',
      },
    ];
    ca.misbehave('authorization', change({ challenges }));
    expect(await failureOf(account.authorization(authorizations[0] ?? ''))).toMatchObject({
      code: 'ACME_RESPONSE_INVALID',
    });
  });
});

describe('finalize', () => {
  test('A9 a finalize whose answer is lost is a success, and the certificate is there', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    const ready = await readyOrder(account);
    ca.misbehave('finalize', loseAnswer);
    const order = await account.finalize(ready, await csr());
    expect(order.status).toBe('valid');
    expect(await account.certificate(order)).toBe(ca.chain);
    expect(ca.count('finalize')).toBe(1);
    expect(ca.orders).toBe(1);
  });

  test('F26 an order that another process finalized is downloaded', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    const ready = await readyOrder(account);
    await account.finalize(ready, await csr());
    const order = await account.finalize(ready, await csr());
    expect(await account.certificate(order)).toBe(ca.chain);
    expect(ca.orders).toBe(1);
  });

  test('F26 an order that another process finalized, and one machine of the CA still shows as it was, is downloaded', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    const ready = await readyOrder(account);
    await account.finalize(ready, await csr());
    ca.misbehave('order', change({ status: 'ready', certificate: undefined }), 2);
    const order = await account.finalize(ready, await csr());
    expect(await account.certificate(order)).toBe(ca.chain);
    expect(ca.count('finalize')).toBe(4);
  });

  test('an order that the CA never takes for ready is asked for five times', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    const ready = await readyOrder(account);
    ca.misbehave('finalize', problem(403, 'orderNotReady', { detail: 'the status is "pending"' }));
    ca.misbehave('order', change({ status: 'pending' }));
    expect(await failureOf(account.finalize(ready, await csr()))).toMatchObject({ code: 'ACME_ORDER_NOT_READY' });
    expect(ca.count('finalize')).toBe(5);
  });

  test('F26 an order that another process may have finalized and that cannot be read is no refusal: the next run reads it', async () => {
    const { ca, acme } = await hostileSession({ secondsLeft: 60 });
    const account = await register(acme);
    const ready = await readyOrder(account);
    ca.misbehave('finalize', problem(403, 'orderNotReady', { detail: 'the status is "valid"' }));
    ca.misbehave('order', reply(502, '<html>Bad Gateway</html>'));
    expect(await failureOf(account.finalize(ready, await csr()))).toMatchObject({
      code: 'ACME_UNAVAILABLE',
      retryable: true,
    });
    expect(ca.count('finalize')).toBe(1);
  });

  test('a finalize that failed before it was heard is sent again', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    const ready = await readyOrder(account);
    ca.misbehave('finalize', reply(502, '<html>Bad Gateway</html>'), 2);
    expect((await account.finalize(ready, await csr())).status).toBe('valid');
    expect(ca.count('finalize')).toBe(3);
  });

  test('a CSR that the CA refuses is not sent again', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    const ready = await readyOrder(account);
    ca.misbehave('finalize', problem(400, 'badCSR', { detail: 'weak key' }));
    expect(await failureOf(account.finalize(ready, await csr()))).toMatchObject({
      code: 'ACME_BAD_CSR',
      detail: 'weak key',
    });
    expect(ca.count('finalize')).toBe(1);
  });

  test('F32 a CAA record that forbids at finalize is asked once and says which record to add', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    const ready = await readyOrder(account);
    ca.misbehave('finalize', problem(403, 'caa', { detail: 'CAA record for example.com prevents issuance' }));
    const error = await failureOf(account.finalize(ready, await csr()));
    expect(error).toMatchObject({ code: 'ACME_CAA', retryable: false });
    expect(error.remedy).toContain('CAA 0 issue "ca.example"');
    expect(ca.count('finalize')).toBe(1);
  });

  test('F27 an order that expired between two runs is 404 or invalid, never a wait', async () => {
    const { ca, acme, deps } = await hostileSession();
    const account = await register(acme);
    expect(await failureOf(account.order(`${new URL(ca.directoryUrl).origin}/order/99`))).toMatchObject({
      status: 404,
      retryable: false,
    });
    const ready = await readyOrder(account);
    const before = deps.sleeps.length;
    ca.misbehave('finalize', problem(404, 'malformed'));
    ca.misbehave('order', change({ status: 'invalid' }));
    expect(await failureOf(account.finalize(ready, await csr()))).toMatchObject({
      code: 'ACME_MALFORMED',
      status: 404,
    });
    expect(deps.sleeps.length).toBe(before);
  });

  test('F12 a challenge whose answer is lost is not reported as failed', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    const { authorizations } = await account.newOrder({ identifiers: ['example.com'] });
    const { challenges } = await account.authorization(authorizations[0] ?? '');
    ca.misbehave('challenge', loseAnswer, 1);
    expect(await account.respond(challenges[0]?.url ?? '')).toMatchObject({ status: 'valid' });
  });
});

describe('the certificate', () => {
  test('A7 a certificate download that is cut is asked for again, and is an error when it stays so', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    const order = await validOrder(account);
    const half: Fault = ({ honest }) => ({ ...honest(), body: ca.chain.slice(0, ca.chain.length - 40) });
    ca.misbehave('certificate', half, 2);
    expect(await account.certificate(order)).toBe(ca.chain);
    expect(ca.count('certificate')).toBe(3);
    ca.misbehave('certificate', half);
    const error = await failureOf(account.certificate(order));
    expect(error).toMatchObject({ code: 'ACME_RESPONSE_INVALID', retryable: true });
    expect(error.message).toContain('cut off');
  });

  const first = makeCertificate({ names: ['example.com'] });
  const block = first.leaf.replace('MII', 'MI');
  test.each([
    ['HTML', '<html>hello</html>'],
    ['nothing', ''],
    ['white space', '\n\n'],
    ['text before the chain', `hello\n${first.chain}`],
    ['text after the chain', `${first.chain}hello`],
    ['a private key in the chain', `${first.chain}${first.privateKey}`],
    ['base64 that is no certificate', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'],
    ['a damaged certificate', block],
    ['the first half of a certificate', first.leaf.slice(0, first.leaf.length / 2)],
    ['an eleventh certificate', first.leaf.repeat(11)],
  ])('A8 15 %s is not taken for a certificate', async (_, body) => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    const order = await validOrder(account);
    ca.misbehave('certificate', reply(200, body));
    expect(await failureOf(account.certificate(order))).toMatchObject({ code: 'ACME_RESPONSE_INVALID' });
  });

  test('F15 a chain of a megabyte is cut', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    const order = await validOrder(account);
    ca.misbehave('certificate', reply(200, first.leaf.repeat(2000)));
    expect(await failureOf(account.certificate(order))).toMatchObject({
      code: 'ACME_RESPONSE_INVALID',
      retryable: false,
    });
    expect(ca.count('certificate')).toBe(1);
  });

  test('A8 lines that end in CR LF are a certificate too', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    const order = await validOrder(account);
    ca.misbehave('certificate', reply(200, `\r\n${ca.chain.replaceAll('\n', '\r\n')}\r\n`));
    expect(await account.certificate(order)).toBe(ca.chain);
  });

  test('F14 a valid order without a certificate URL is read again', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    const order = { ...(await validOrder(account)), certificate: undefined };
    ca.misbehave('order', change({ certificate: undefined }), 2);
    expect(await account.certificate(order)).toBe(ca.chain);
    ca.misbehave('order', change({ certificate: undefined }));
    expect(await failureOf(account.certificate(order))).toMatchObject({
      code: 'ACME_RESPONSE_INVALID',
      retryable: true,
    });
  });

  test('F14 a certificate that is 404 at first is asked for again, and no more than five times', async () => {
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    const order = await validOrder(account);
    ca.misbehave('certificate', problem(404, 'malformed'), 2);
    expect(await account.certificate(order)).toBe(ca.chain);
    ca.misbehave('certificate', problem(404, 'malformed'));
    expect(await failureOf(account.certificate(order))).toMatchObject({ status: 404 });
    expect(ca.count('certificate')).toBe(3 + 5);
  });

  describe('F16 alternate chains', () => {
    const other = makeCertificate({ names: ['example.com'], issuer: makeCa('Other') });
    const links = {
      link: ['</alternate/0>;rel="alternate"', '<https://127.0.0.1/index>;rel="index", </alternate/1>;rel="alternate"'],
    };

    async function downloading(preferredChain: string | undefined, alternate: Fault) {
      const { ca, acme, deps } = await hostileSession();
      const account = await register(acme);
      const order = await validOrder(account);
      ca.misbehave('certificate', reply(200, ca.chain, links));
      ca.misbehave('alternate', alternate);
      return { ca, deps, chain: await account.certificate(order, { preferredChain }) };
    }

    const second: Fault = ({ request }) => ({
      status: 200,
      body: request.path === '/alternate/1' ? other.chain : first.chain,
    });

    test('the preferred issuer is looked for among them', async () => {
      expect((await downloading('Other Root', second)).chain).toBe(other.chain);
    });

    test('a default chain that is the preferred one costs no further download', async () => {
      const { ca, chain } = await downloading('Sandbox CA Root', second);
      expect(chain).toBe(ca.chain);
      expect(ca.count('alternate')).toBe(0);
    });

    test('without a preference nothing else is downloaded', async () => {
      expect((await downloading(undefined, second)).ca.count('alternate')).toBe(0);
    });

    test('a preferred issuer that no chain has gives the default chain and a warning', async () => {
      const { ca, chain, deps } = await downloading('Nobody', second);
      expect(chain).toBe(ca.chain);
      expect(deps.lines.map(({ event }) => event)).toContain('preferred_chain_absent');
    });

    test('an alternate that is garbage costs nothing', async () => {
      const { ca, chain } = await downloading('Other Root', reply(200, '<html>'));
      expect(chain).toBe(ca.chain);
    });
  });
});

test('an authorization is deactivated, a certificate revoked, and revoking it again is no error', async () => {
  const { ca, acme } = await hostileSession();
  const account = await register(acme);
  const { authorizations } = await account.newOrder({ identifiers: ['example.com'] });
  await account.deactivateAuthorization(authorizations[0] ?? '');
  expect(ca.requests.at(-1)).toMatchObject({ endpoint: 'authorization', payload: { status: 'deactivated' } });
  await account.revoke(ca.chain, 4);
  expect(ca.requests.at(-1)).toMatchObject({ endpoint: 'revokeCert', payload: { reason: 4 } });
  ca.misbehave('revokeCert', problem(400, 'alreadyRevoked'));
  await account.revoke(ca.chain);
  ca.misbehave('revokeCert', problem(400, 'badRevocationReason'));
  expect(await failureOf(account.revoke(ca.chain, 99))).toMatchObject({ code: 'ACME_BAD_REVOCATION_REASON' });
});
