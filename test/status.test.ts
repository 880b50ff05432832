import { describe, expect, test } from 'vitest';
import { answer, parseHttpEvent } from '../src/http.ts';
import type { CertificateRecord, Index, StoredCertificate } from '../src/record.ts';
import { statusReport } from '../src/status.ts';
import { failurePage, statusPage } from '../src/status-page.ts';

const NOW = new Date('2026-02-01T00:00:00Z');
const stored: StoredCertificate = {
  fingerprint: 'a'.repeat(64),
  serial: '01',
  identifiers: ['www.example.com'],
  keyType: 'rsa2048',
  directoryUrl: 'https://acme-v02.api.letsencrypt.org/directory',
  notBefore: '2026-01-01T00:00:00.000Z',
  notAfter: '2026-04-01T00:00:00.000Z',
};
const failures = {
  count: 3,
  since: '2026-01-31T00:00:00.000Z',
  nextAttemptAt: '2026-02-01T06:00:00.000Z',
  code: 'ACME_DNS',
  message: 'no TXT record for <script>alert("a")</script> & more',
  remedy: "Add the record, or 'ask'.",
};

function recordOf(name: string, more: Partial<CertificateRecord> = {}): CertificateRecord {
  return { version: 1, name, certificate: stored, deployed: { 'www.example.com': 'autocert' }, ...more };
}

function indexOf(records: readonly CertificateRecord[], working: readonly string[] = []): Index {
  return { working: new Set(working), records: new Map(records.map((record) => [record.name, record])) };
}

const discover = { include: ['*'], exclude: [], group: 'domain' as const, keyType: 'rsa2048' as const };
const reportOf = (index: Index) => statusReport({ certificates: [], discover }, index, NOW);

describe('the state of a certificate', () => {
  test.each<[string, Partial<CertificateRecord>]>([
    ['good', {}],
    ['due', { certificate: { ...stored, notAfter: '2026-02-02T00:00:00.000Z' } }],
    ['failing', { failures }],
    ['failing', { certificate: undefined, failures }],
    ['missing', { certificate: undefined }],
    ['expired', { certificate: { ...stored, notAfter: '2026-02-01T00:00:00.000Z' } }],
    ['expired', { certificate: { ...stored, notAfter: '2026-01-30T00:00:00.000Z' }, failures }],
  ])('is %s', (state, more) => {
    expect(reportOf(indexOf([recordOf('www', more)])).certificates.map((one) => one.state)).toEqual([state]);
  });

  test('that was brought is due in its last month, is renewed by nobody, and hides the one that it stands in for', () => {
    const theirs = (notAfter: string) =>
      recordOf('_inbox.www', {
        certificate: { ...stored, directoryUrl: '', notAfter },
        brought: { file: 'inbox/www.pem', takenAt: '2026-01-05T00:00:00.000Z', issuer: 'CN=A CA' },
      });
    const [good, ...none] = reportOf(indexOf([recordOf('www'), theirs('2026-03-04T00:00:00.000Z')])).certificates;
    expect(none).toEqual([]);
    expect(good).toMatchObject({ name: '_inbox.www', state: 'good', authority: 'CN=A CA', brought: true });
    expect(good).not.toHaveProperty('nextRenewal');
    const statesAt = (notAfter: string) =>
      reportOf(indexOf([recordOf('www'), theirs(notAfter)])).certificates.map(({ name, state }) => `${name} ${state}`);
    expect(statesAt('2026-03-03T00:00:00.000Z')).toEqual(['_inbox.www due']);
    expect(statesAt('2026-02-01T00:00:00.000Z')).toEqual(['_inbox.www expired', 'www good']);
    const config = { certificates: [], discover: undefined };
    const shown = statusReport(config, indexOf([theirs('2026-03-04T00:00:00.000Z')]), NOW).certificates;
    expect(shown.map(({ name }) => name)).toEqual(['_inbox.www']);
  });

  test('says all that is known', () => {
    const advice = {
      start: '2026-02-20T00:00:00.000Z',
      end: '2026-02-22T00:00:00.000Z',
      selectedTime: '2026-02-21T03:04:05.000Z',
      retryAfter: '2026-02-01T06:00:00.000Z',
    };
    const { count: attempts, ...failure } = failures;
    expect(reportOf(indexOf([recordOf('www', { advice, failures })], ['www']))).toEqual({
      version: 1,
      generatedAt: '2026-02-01T00:00:00.000Z',
      certificates: [
        {
          name: 'www',
          state: 'failing',
          inProgress: true,
          identifiers: ['www.example.com'],
          domains: ['www.example.com'],
          authority: 'letsencrypt',
          keyType: 'rsa2048',
          fingerprint: stored.fingerprint,
          notBefore: stored.notBefore,
          notAfter: stored.notAfter,
          daysLeft: 59,
          nextRenewal: { at: '2026-02-21T03:04:05.000Z', by: 'the CA' },
          failure: { ...failure, attempts },
        },
      ],
    });
  });

  test('without advice of the CA is renewed by its lifetime', () => {
    const [certificate] = reportOf(indexOf([recordOf('www')])).certificates;
    expect(certificate?.nextRenewal).toEqual({ at: '2026-03-02T00:00:00.000Z', by: 'lifetime' });
  });

  test('of what needs a person comes first, then what ends first', () => {
    const soon = { certificate: { ...stored, notAfter: '2026-03-20T00:00:00.000Z' } };
    const index = indexOf([recordOf('b'), recordOf('a'), recordOf('soon', soon), recordOf('wrong', { failures })]);
    expect(reportOf(index).certificates.map(({ name }) => name)).toEqual(['wrong', 'soon', 'a', 'b']);
  });

  test('is told of what the configuration names and nothing else', () => {
    const certificates = [
      { name: 'new', identifiers: ['new.example.com'], keyType: 'rsa2048' as const, profile: undefined, targets: [] },
    ];
    const index = indexOf([recordOf('given-up')]);
    expect(statusReport({ certificates, discover: undefined }, index, NOW).certificates).toEqual([
      { name: 'new', state: 'missing', inProgress: false, identifiers: ['new.example.com'], domains: [] },
    ]);
    expect(statusReport({ certificates, discover }, index, NOW).certificates.length).toBe(2);
  });
});

describe('the page', () => {
  test('writes nothing that a browser would take for markup', () => {
    const name = '<img src=x onerror=alert(1)>';
    const page = statusPage(reportOf(indexOf([recordOf(name, { failures })])));
    expect(page).not.toContain('<img');
    expect(page).not.toContain('<script');
    expect(page).toContain('&lt;script&gt;alert(&quot;a&quot;)&lt;/script&gt; &amp; more');
    expect(page).toContain('Add the record, or &#39;ask&#39;.');
    expect(failurePage('<b>', '"&')).toContain('&quot;&amp;');
  });

  test('loads nothing and runs nothing', () => {
    const page = statusPage(reportOf(indexOf([recordOf('www')])));
    expect(page).not.toMatch(/<script|<link|<img|@import|url\(|\bsrc=|\bhref=|\bon\w+=/i);
  });

  test('says how many are not well', () => {
    expect(statusPage(reportOf(indexOf([recordOf('a'), recordOf('b', { failures })])))).toContain(
      '<h1>1 of 2 certificates failing</h1>',
    );
    expect(statusPage(reportOf(indexOf([recordOf('a')])))).toContain('<h1>1 certificate</h1>');
    expect(statusPage(reportOf(indexOf([])))).toContain('Nothing is stored yet');
  });
});

describe('an HTTP event', () => {
  const parse = (value: unknown) => parseHttpEvent(new TextEncoder().encode(JSON.stringify(value)));
  const event = {
    version: 'v1',
    rawPath: '/status.json',
    headers: { Accept: 'text/html' },
    body: 'aGVsbG8=',
    isBase64Encoded: true,
    requestContext: { http: { method: 'get', path: '/' } },
  };

  test('is read', () => {
    const request = parse(event);
    expect(request).toMatchObject({ method: 'GET', path: '/status.json', headers: new Map([['accept', 'text/html']]) });
    expect(new TextDecoder().decode(request?.body)).toBe('hello');
    expect(new TextDecoder().decode(parse({ ...event, isBase64Encoded: false })?.body)).toBe('aGVsbG8=');
  });

  test.each([
    ['another version', { ...event, version: 'v2' }],
    ['no request', { ...event, requestContext: {} }],
    ['a timer', { triggerName: 'every-6h', payload: '' }],
    ['a list', [event]],
  ])('is not %s', (_, value) => {
    expect(parse(value)).toBeUndefined();
  });

  test('is answered so that nothing is kept, sniffed, run or loaded', () => {
    expect(answer(200, 'text/html', '<p>').headers).toMatchObject({
      'cache-control': 'no-store',
      'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'",
      'x-content-type-options': 'nosniff',
    });
  });
});
