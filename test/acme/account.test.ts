import { createHash, createPublicKey } from 'node:crypto';
import { createSocket } from 'node:dgram';
import dns from 'node:dns';
import { once } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { createAccountKey } from '../../src/acme/keys.ts';
import { Secret } from '../../src/secret.ts';
import { change, loseAnswer, problem, reply } from './hostile-ca.ts';
import { failureOf, hostileSession, register, validOrder } from './session.ts';

test('A16 a key that the CA knows opens its account, with or without a contact', async () => {
  const { ca, acme } = await hostileSession();
  const key = createAccountKey();
  const first = await register(acme, key);
  const again = await acme.account(key, { termsOfServiceAgreed: true });
  const withContact = await acme.account(key, { contact: ['mailto:new@example.com'], termsOfServiceAgreed: true });
  expect([again.url, withContact.url]).toEqual([first.url, first.url]);
  expect(ca.accountKeys).toHaveLength(1);
  expect(ca.requests.filter(({ endpoint }) => endpoint === 'newAccount')[1]?.payload).toEqual({
    termsOfServiceAgreed: true,
  });
});

test('A16 an account whose URL is known costs no request', async () => {
  const { ca, acme } = await hostileSession();
  const account = await acme.account(createAccountKey(), {
    accountUrl: 'https://ca.example/account/7',
    termsOfServiceAgreed: true,
  });
  expect(account.url).toBe('https://ca.example/account/7');
  expect(ca.requests).toEqual([]);
});

test('F17 a CA that has forgotten the account says so, and the same key registers again', async () => {
  const { ca, acme } = await hostileSession();
  const key = createAccountKey();
  const accountUrl = `${new URL(ca.directoryUrl).origin}/account/77`;
  const forgotten = await acme.account(key, { accountUrl, termsOfServiceAgreed: true });
  const error = await failureOf(forgotten.newOrder({ identifiers: ['example.com'] }));
  expect(error).toMatchObject({ code: 'ACME_ACCOUNT_DOES_NOT_EXIST', retryable: false });
  const account = await register(acme, key);
  expect((await account.newOrder({ identifiers: ['example.com'] })).status).toBe('pending');
});

test('F18 a CA that wants a binding makes no account without one: one request, and the remedy names the keys', async () => {
  const { ca, acme } = await hostileSession();
  ca.misbehave('directory', change({ meta: { externalAccountRequired: true } }));
  const error = await failureOf(register(acme));
  expect(error).toMatchObject({ code: 'ACME_EXTERNAL_ACCOUNT_REQUIRED', retryable: false });
  expect(error.remedy).toContain('acme.externalAccountBinding.kid');
  expect(ca.requests.filter(({ endpoint }) => endpoint === 'newAccount').map(({ payload }) => payload)).toEqual([
    { onlyReturnExisting: true },
  ]);
});

test('F18 an account that exists needs no binding any more', async () => {
  const { ca, acme } = await hostileSession();
  const key = createAccountKey();
  const { url } = await register(acme, key);
  const later = await hostileSession({ directoryUrl: ca.directoryUrl, caBundle: ca.caBundle });
  ca.misbehave('directory', change({ meta: { externalAccountRequired: true } }));
  expect((await register(later.acme, key)).url).toBe(url);
});

test('terms that are not agreed to are asked for, and no account is made', async () => {
  const { ca, acme } = await hostileSession();
  ca.misbehave('directory', change({ meta: { termsOfService: 'https://ca.example/terms' } }));
  const error = await failureOf(acme.account(createAccountKey(), { termsOfServiceAgreed: false }));
  expect(error).toMatchObject({ code: 'ACME_USER_ACTION_REQUIRED' });
  expect(error.message).toContain('https://ca.example/terms');
  expect(error.remedy).toContain('acme.termsOfServiceAgreed');
  expect(ca.accountKeys).toEqual([]);
});

test('terms that changed name the page to open', async () => {
  const { ca, acme } = await hostileSession();
  ca.misbehave('newAccount', problem(403, 'userActionRequired', { instance: 'https://ca.example/agree' }));
  expect((await failureOf(register(acme))).remedy).toContain('https://ca.example/agree');
});

test('a deactivated account is no account', async () => {
  const { ca, acme } = await hostileSession();
  ca.misbehave('newAccount', change({ status: 'deactivated' }));
  expect(await failureOf(register(acme))).toMatchObject({ code: 'ACME_UNAUTHORIZED', retryable: false });
});

test('an account without a Location is no account', async () => {
  const { ca, acme } = await hostileSession();
  ca.misbehave('newAccount', reply(201, '{"status":"valid"}'));
  expect(await failureOf(register(acme))).toMatchObject({ code: 'ACME_RESPONSE_INVALID', retryable: false });
});

test('an account key that cannot be read is STORE_CORRUPT and is not shown', async () => {
  const { acme } = await hostileSession();
  const error = await failureOf(acme.account(new Secret('-----BEGIN SECRET nonsense'), { termsOfServiceAgreed: true }));
  expect(error).toMatchObject({ code: 'STORE_CORRUPT' });
  expect(`${error.message}${String(error.cause)}${error.stack}`).not.toContain('nonsense');
});

test('the key authorization is the token and the thumbprint of RFC 7638, and its digest for dns-01', async () => {
  const { acme } = await hostileSession();
  const key = createAccountKey();
  const account = await register(acme, key);
  const { crv, kty, x, y } = createPublicKey(key.reveal()).export({ format: 'jwk' });
  const thumbprint = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url');
  expect(account.keyAuthorization('token')).toBe(`token.${thumbprint}`);
  expect(account.dnsKeyAuthorization('token')).toBe(
    createHash('sha256').update(`token.${thumbprint}`).digest('base64url'),
  );
});

test.each([
  ['at once', undefined],
  ['although the answer is lost', loseAnswer],
])('F12 the account key is changed %s', async (_, fault) => {
  const { ca, acme } = await hostileSession();
  const [oldKey, newKey] = [createAccountKey(), createAccountKey()];
  const account = await register(acme, oldKey);
  ca.misbehave('keyChange', ({ request, response, honest }) => {
    const { protected: head = '', payload = '' } = request.payload ?? {};
    expect(JSON.parse(Buffer.from(String(head), 'base64url').toString())).toMatchObject({
      url: expect.stringContaining('/keyChange'),
    });
    expect(JSON.parse(Buffer.from(String(payload), 'base64url').toString())).toMatchObject({
      account: account.url,
      oldKey: ca.accountKeys[0],
    });
    ca.replaceAccountKey(account.url, newKey.reveal());
    return fault === undefined ? honest() : fault({ request, response, honest });
  });
  const changed = await account.keyChange(newKey);
  expect(changed.url).toBe(account.url);
  expect((await changed.newOrder({ identifiers: ['example.com'] })).status).toBe('pending');
});

test('A14 no step of an order asks the DNS: a CNAME loop has nothing to loop in', async () => {
  let queries = 0;
  const server = createSocket('udp4', (query, { port, address }) => {
    queries += 1;
    // A CNAME that leads to the name that was asked for.
    const header = Buffer.concat([query.subarray(0, 2), Buffer.from('81800001000100000000', 'hex')]);
    const question = query.subarray(12, query.indexOf(0, 12) + 5);
    server.send(Buffer.concat([header, question, Buffer.from('c00c0005000100000e100002c00c', 'hex')]), port, address);
  });
  server.bind(0, '127.0.0.1');
  await once(server, 'listening');
  const servers = dns.getServers();
  dns.setServers([`127.0.0.1:${server.address().port}`]);
  onTestFinished(() => {
    dns.setServers(servers);
    server.close();
  });
  // The trap works: whoever asks is counted.
  await dns.promises.resolveTxt('_acme-challenge.loop.example').catch(() => undefined);
  const before = queries;
  expect(before).toBeGreaterThan(0);

  const { acme } = await hostileSession();
  const account = await register(acme);
  await account.certificate(await validOrder(account, ['loop.example']));
  expect(queries).toBe(before);
});
