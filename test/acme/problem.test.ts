import { describe, expect, test } from 'vitest';
import { AcmeProblem, type ProblemContext, parseProblem } from '../../src/acme/problem.ts';
import { AutocertError, ERROR_CODES, type ErrorCode } from '../../src/errors.ts';
import { problem, reply } from './hostile-ca.ts';
import { failureOf, hostileSession, register } from './session.ts';

/** RFC 8555 section 6.7, RFC 8739, RFC 9115, RFC 9773, RFC 9799, the profiles draft, and Boulder's own. */
const TYPES: readonly (readonly [type: string, code: ErrorCode, retryable: boolean, remedy: RegExp])[] = [
  ['accountDoesNotExist', 'ACME_ACCOUNT_DOES_NOT_EXIST', false, /register the account again/],
  ['alreadyReplaced', 'ACME_ALREADY_REPLACED', false, /without `replaces`/],
  ['alreadyRevoked', 'ACME_ALREADY_REVOKED', false, /is revoked/],
  ['autoRenewalCanceled', 'ACME_AUTO_RENEWAL_CANCELED', false, /STAR/],
  ['autoRenewalCancellationInvalid', 'ACME_AUTO_RENEWAL_CANCELLATION_INVALID', false, /STAR/],
  ['autoRenewalExpired', 'ACME_AUTO_RENEWAL_EXPIRED', false, /STAR/],
  ['autoRenewalRevocationNotSupported', 'ACME_AUTO_RENEWAL_REVOCATION_NOT_SUPPORTED', false, /STAR/],
  ['badCSR', 'ACME_BAD_CSR', false, /keyType/],
  ['badNonce', 'ACME_BAD_NONCE', true, /next run/],
  ['badPublicKey', 'ACME_BAD_PUBLIC_KEY', false, /keyType/],
  ['badRevocationReason', 'ACME_BAD_REVOCATION_REASON', false, /another reason/],
  ['badSignatureAlgorithm', 'ACME_BAD_SIGNATURE_ALGORITHM', false, /P-256/],
  ['caa', 'ACME_CAA', false, /`www\.example\.com CAA 0 issue "ca\.example"`/],
  ['compound', 'ACME_COMPOUND', false, /for each name/],
  ['conflict', 'ACME_CONFLICT', false, /fresh order/],
  ['connection', 'ACME_CONNECTION', false, /www\.example\.com answers on port 80/],
  ['dns', 'ACME_DNS', false, /TXT _acme-challenge\.www\.example\.com/],
  ['externalAccountRequired', 'ACME_EXTERNAL_ACCOUNT_REQUIRED', false, /acme\.externalAccountBinding\.kid/],
  ['incorrectResponse', 'ACME_INCORRECT_RESPONSE', false, /TXT _acme-challenge\.www\.example\.com/],
  ['invalidContact', 'ACME_INVALID_CONTACT', false, /acme\.contact/],
  ['invalidProfile', 'ACME_INVALID_PROFILE', false, /acme\.profile/],
  ['malformed', 'ACME_MALFORMED', false, /report it/],
  ['onionCAARequired', 'ACME_ONION_CAA_REQUIRED', false, /\.onion/],
  ['orderNotReady', 'ACME_ORDER_NOT_READY', false, /resume the order/],
  ['rateLimited', 'ACME_RATE_LIMITED', true, /2026-03-02T00:00:00\.000Z/],
  ['rejectedIdentifier', 'ACME_REJECTED_IDENTIFIER', false, /Remove www\.example\.com/],
  ['serverInternal', 'ACME_SERVER_INTERNAL', true, /next run/],
  ['tls', 'ACME_TLS', false, /port 443/],
  ['unauthorized', 'ACME_UNAUTHORIZED', false, /TXT _acme-challenge\.www\.example\.com/],
  ['unknownDelegation', 'ACME_UNKNOWN_DELEGATION', false, /delegation/],
  ['unsupportedContact', 'ACME_UNSUPPORTED_CONTACT', false, /mailto:/],
  ['unsupportedIdentifier', 'ACME_UNSUPPORTED_IDENTIFIER', false, /Remove www\.example\.com/],
  ['userActionRequired', 'ACME_USER_ACTION_REQUIRED', false, /terms of service/],
];

const context: ProblemContext = {
  url: 'https://ca.example/order/1',
  purpose: 'open the order',
  identifier: 'www.example.com',
  caaIdentities: ['ca.example'],
  retryAfter: new Date('2026-03-02T00:00:00Z'),
};

function problemOf(body: unknown, more: Partial<ProblemContext> = {}): AcmeProblem {
  const document = parseProblem(body, 400);
  if (document === undefined) throw new Error('no problem document');
  return new AcmeProblem(document, { ...context, ...more });
}

describe('A10 every problem type', () => {
  test.each(TYPES)('%s is %s', (type, code, retryable, remedy) => {
    const error = problemOf({ type: `urn:ietf:params:acme:error:${type}`, detail: 'what went wrong' });
    expect(error).toBeInstanceOf(AutocertError);
    expect(error).toMatchObject({
      code,
      retryable,
      status: 400,
      detail: 'what went wrong',
      url: context.url,
      identifier: 'www.example.com',
    });
    expect(error.message).toBe(`The CA refused to open the order for www.example.com: ${type}; what went wrong`);
    expect(error.remedy).toMatch(remedy);
    expect(error.remedy).toMatch(/\.$/);
  });

  test('the table covers every ACME code that stands for a problem type', () => {
    const ours = [
      'ACME_UNREACHABLE',
      'ACME_UNAVAILABLE',
      'ACME_RESPONSE_INVALID',
      'ACME_LIMIT_REACHED',
      'ACME_LIMIT_OUTLASTS_CERTIFICATE',
      'ACME_ORDER_PENDING',
      'ACME_ORDER_INVALID',
      'ACME_CHALLENGE_UNAVAILABLE',
      'ACME_UNKNOWN_PROBLEM',
    ];
    const expected = ERROR_CODES.filter((code) => code.startsWith('ACME_') && !ours.includes(code));
    expect(TYPES.map(([, code]) => code).sort()).toEqual([...expected].sort());
  });

  test.each([
    'urn:ietf:params:acme:error:brandNew',
    'about:blank',
    'https://example.com/probs/out-of-credit',
    'constructor',
    '__proto__',
    'urn:ietf:params:acme:error:toString',
  ])('%s is ACME_UNKNOWN_PROBLEM', (type) => {
    expect(problemOf({ type })).toMatchObject({ code: 'ACME_UNKNOWN_PROBLEM', type, retryable: false });
  });
});

test.each([null, undefined, 7, 'text', [], {}, { type: 7 }])('%j is no problem document', (body) => {
  expect(parseProblem(body, 400)).toBeUndefined();
});

test('what the CA writes is one short line without control characters', () => {
  const error = problemOf({
    type: 'urn:ietf:params:acme:error:dns',
    detail: `a\n\u001b[31mred\u0000${'x'.repeat(5000)}`,
  });
  expect(error.message).not.toMatch(/\p{Cc}/u);
  expect(error.message.length).toBeLessThan(1200);
});

test('F20 subproblems that are garbage are left out or empty, never thrown at', () => {
  const error = problemOf(
    {
      type: 'urn:ietf:params:acme:error:compound',
      subproblems: [
        null,
        7,
        {},
        { identifier: 'x' },
        { identifier: { value: 'a.example' }, type: 'urn:ietf:params:acme:error:caa', detail: 'no' },
      ],
    },
    { identifier: undefined },
  );
  expect(error.subproblems.map(({ identifier }) => identifier)).toEqual([undefined, undefined, 'a.example']);
  expect(error.identifier).toBe('a.example');
  expect(error.message).toContain('a.example: caa: no');
});

test('a rate limit without an instant does not make one up', () => {
  const error = problemOf({ type: 'urn:ietf:params:acme:error:rateLimited' }, { retryAfter: undefined });
  expect(error.retryAfter).toBeUndefined();
  expect(error.remedy).toContain('lapses by itself');
});

test('unauthorized about no identifier is about the account', () => {
  expect(problemOf({ type: 'urn:ietf:params:acme:error:unauthorized' }, { identifier: undefined }).remedy).toContain(
    'account key',
  );
});

test.each(['unauthorized', 'malformed', 'externalAccountRequired'])(
  'F18 %s after a binding points at the binding',
  (type) => {
    const error = problemOf(
      { type: `urn:ietf:params:acme:error:${type}` },
      { externalAccountBinding: true, identifier: undefined },
    );
    expect(error.remedy).toContain('acme.externalAccountBinding.hmacKey');
  },
);

test('a 4xx that is no problem document keeps its status', async () => {
  const { ca, acme } = await hostileSession();
  const account = await register(acme);
  ca.misbehave('newOrder', reply(403, '<html>Forbidden by a firewall</html>'));
  expect(await failureOf(account.newOrder({ identifiers: ['example.com'] }))).toMatchObject({
    code: 'ACME_UNKNOWN_PROBLEM',
    status: 403,
    retryable: false,
  });
});

test('F19 a rejected identifier is named', async () => {
  const { ca, acme } = await hostileSession();
  const account = await register(acme);
  const subproblems = [
    {
      type: 'urn:ietf:params:acme:error:rejectedIdentifier',
      detail: 'policy forbids',
      identifier: { type: 'dns', value: 'bad.example' },
    },
  ];
  ca.misbehave('newOrder', problem(400, 'rejectedIdentifier', { subproblems }));
  const error = await failureOf(account.newOrder({ identifiers: ['bad.example', 'good.example'] }));
  expect(error).toMatchObject({ code: 'ACME_REJECTED_IDENTIFIER', identifier: 'bad.example', retryable: false });
  expect(error.remedy).toContain('bad.example');
});
