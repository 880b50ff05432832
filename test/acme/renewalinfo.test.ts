import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { selectRenewalTime } from '../../src/acme/renewalinfo.ts';
import { change, problem, reply } from './hostile-ca.ts';
import { failureOf, hostileSession } from './session.ts';

const certId = 'aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE';

describe('renewalInfo', () => {
  test('F22 is asked by a plain GET at the certID and gives the window', async () => {
    const { ca, acme } = await hostileSession();
    ca.misbehave('renewalInfo', change({ explanationURL: 'https://ca.example/incident' }, { 'retry-after': '21600' }));
    expect(await acme.renewalInfo(certId)).toEqual({
      suggestedWindow: { start: new Date('2026-03-20T00:00:00Z'), end: new Date('2026-03-22T00:00:00Z') },
      explanationURL: 'https://ca.example/incident',
      retryAfter: new Date('2026-03-01T06:00:00Z'),
    });
    expect(ca.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'GET /directory',
      `GET /renewalInfo/${certId}`,
    ]);
  });

  test.each([
    ['one second is one minute', '1', '2026-03-01T00:01:00.000Z'],
    ['thirty days are one day', '2592000', '2026-03-02T00:00:00.000Z'],
    ['two hours stay', '7200', '2026-03-01T02:00:00.000Z'],
    ['nothing is six hours', undefined, '2026-03-01T06:00:00.000Z'],
    ['garbage is six hours', 'soon', '2026-03-01T06:00:00.000Z'],
  ])('F22 a Retry-After of %s', async (_, header, instant) => {
    const { ca, acme } = await hostileSession();
    ca.misbehave('renewalInfo', change({}, { 'retry-after': header }));
    expect((await acme.renewalInfo(certId))?.retryAfter.toISOString()).toBe(instant);
  });

  test.each([
    ['a window in the past', '2020-01-01T00:00:00Z', '2020-01-02T00:00:00Z'],
    ['a window in 2099', '2099-01-01T00:00:00Z', '2099-01-02T00:00:00Z'],
  ])('F22 %s is given as it is: the expiry is the floor of the caller', async (_, start, end) => {
    const { ca, acme } = await hostileSession();
    ca.misbehave('renewalInfo', change({ suggestedWindow: { start, end } }));
    expect((await acme.renewalInfo(certId))?.suggestedWindow).toEqual({ start: new Date(start), end: new Date(end) });
  });

  test.each([
    [
      'a window that ends when it starts',
      '{"suggestedWindow":{"start":"2026-03-20T00:00:00Z","end":"2026-03-20T00:00:00Z"}}',
    ],
    [
      'a window that ends before it starts',
      '{"suggestedWindow":{"start":"2026-03-20T00:00:00Z","end":"2026-03-19T00:00:00Z"}}',
    ],
    ['a window without an end', '{"suggestedWindow":{"start":"2026-03-20T00:00:00Z"}}'],
    ['instants that are numbers', '{"suggestedWindow":{"start":1,"end":2}}'],
    ['instants that are words', '{"suggestedWindow":{"start":"now","end":"later"}}'],
    ['a month thirteen', '{"suggestedWindow":{"start":"2026-13-20T00:00:00Z","end":"2026-14-20T00:00:00Z"}}'],
    ['null', 'null'],
    ['a list', '[]'],
    ['no JSON', '{"suggestedWindow"'],
    ['nothing', ''],
    ['HTML', '<html>'],
    ['ten megabytes', 'x'.repeat(10 * 1024 * 1024)],
  ])('F22 %s is ACME_RESPONSE_INVALID', async (_, body) => {
    const { ca, acme } = await hostileSession();
    ca.misbehave('renewalInfo', reply(200, body));
    expect(await failureOf(acme.renewalInfo(certId))).toMatchObject({ code: 'ACME_RESPONSE_INVALID' });
    expect(ca.count('renewalInfo')).toBeLessThanOrEqual(2);
  });

  test.each([
    ['an explanation that is no URL', 'javascript:alert(1)'],
    ['an explanation with white space in it', 'https://ca.example/ <script>'],
    ['an explanation that is a number', 7],
  ])('%s is left out, the window stays', async (_, explanationURL) => {
    const { ca, acme } = await hostileSession();
    ca.misbehave('renewalInfo', change({ explanationURL }));
    expect(await acme.renewalInfo(certId)).toMatchObject({
      explanationURL: undefined,
      suggestedWindow: { start: new Date('2026-03-20T00:00:00Z') },
    });
  });

  test('F22 404 and 409 are what the CA says, asked once', async () => {
    const { ca, acme } = await hostileSession();
    ca.misbehave('renewalInfo', problem(404, 'malformed'));
    expect(await failureOf(acme.renewalInfo(certId))).toMatchObject({ code: 'ACME_MALFORMED', status: 404 });
    expect(ca.count('renewalInfo')).toBe(1);
  });

  test('F22 500 is asked twice and never waited for', async () => {
    const { ca, acme, deps } = await hostileSession();
    ca.misbehave('renewalInfo', reply(500));
    expect(await failureOf(acme.renewalInfo(certId))).toMatchObject({ code: 'ACME_UNAVAILABLE', retryable: true });
    expect(ca.count('renewalInfo')).toBe(2);
    ca.misbehave('renewalInfo', reply(503, '', { 'retry-after': '30' }));
    const before = deps.sleeps.length;
    expect(await failureOf(acme.renewalInfo(certId))).toMatchObject({ retryAfter: expect.any(Date) });
    expect(deps.sleeps.length).toBe(before);
  });

  test.each(['', '..', 'a/b.c', 'a.b?c', 'a.b.c', 'nodot', 'a.b\n'])(
    'a certID of %j is never part of a URL',
    async (wrong) => {
      const { ca, acme } = await hostileSession();
      expect(await failureOf(acme.renewalInfo(wrong))).toMatchObject({ code: 'STORE_CORRUPT' });
      expect(ca.requests).toEqual([]);
    },
  );
});

describe('RFC 9773 section 4.2: the time that is selected', () => {
  const window = { start: new Date('2026-03-20T00:00:00Z'), end: new Date('2026-03-22T00:00:00Z') };

  test.each([
    [0, '2026-03-20T00:00:00.000Z'],
    [0.5, '2026-03-21T00:00:00.000Z'],
    [0.75, '2026-03-21T12:00:00.000Z'],
  ])('a random number of %d gives %s', (random, instant) => {
    expect(selectRenewalTime(window, random).toISOString()).toBe(instant);
  });

  test('it lies within the window, whatever the window', () => {
    const dates = fc.date({ noInvalidDate: true });
    fc.assert(
      fc.property(dates, dates, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (one, other, random) => {
        const [start, end] = one < other ? [one, other] : [other, one];
        const selected = selectRenewalTime({ start, end }, random);
        expect(selected.getTime()).toBeGreaterThanOrEqual(start.getTime());
        expect(selected.getTime()).toBeLessThanOrEqual(end.getTime());
      }),
    );
  });
});
