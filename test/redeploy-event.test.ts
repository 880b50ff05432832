import { describe, expect, test } from 'vitest';
import type { StoreLocation } from '../src/config.ts';
import { askedOf } from '../src/redeploy.ts';
import { parseRedeployEvent } from '../src/redeploy-event.ts';

const ACCOUNT = '1234567890123456';
const parse = (value: unknown, accountId: string | undefined = ACCOUNT) =>
  parseRedeployEvent(new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value)), accountId);

/** As EventBridge delivers what ActionTrail saw. */
function cloudEvent(eventName: string, data: Record<string, unknown> = {}, more: Record<string, unknown> = {}) {
  return {
    id: '3F44719F-9858-5016-AC54-794BBEE449C3',
    source: 'acs.cdn',
    specversion: '1.0',
    type: 'cdn:ActionTrail:ApiCall',
    subject: `acs:cdn:cn-hangzhou:${ACCOUNT}:domain/www.example.com`,
    time: '2026-01-02T03:04:05Z',
    aliyunaccountid: ACCOUNT,
    aliyuneventbusname: 'default',
    aliyunregionid: 'cn-hangzhou',
    data: {
      eventId: '3F44719F-9858-5016-AC54-794BBEE449C3',
      eventName,
      eventRW: 'Write',
      serviceName: 'Cdn',
      userAgent: 'cdnnext.console.aliyun.com',
      userIdentity: { type: 'root-account', accountId: ACCOUNT },
      ...data,
    },
    ...more,
  };
}

function cdnTrigger(eventName: string, domain = 'www.example.com') {
  return {
    events: [
      {
        eventName,
        eventVersion: '1.0.0',
        eventSource: 'cdn',
        region: 'cn-hangzhou',
        eventTime: '2026-01-02T11:04:05+08:00',
        traceId: 'c6459282-6a4d-4413-894c-e4ea39686738',
        resource: { domain },
        eventParameter: { domain, status: 'online' },
        userIdentity: { aliUid: ACCOUNT },
      },
    ],
  };
}

function ossTrigger(key: string, eventName = 'ObjectCreated:PutObject', bucket = 'my-bucket') {
  return {
    events: [
      {
        eventName,
        eventSource: 'acs:oss',
        eventTime: '2026-01-02T03:04:05.000Z',
        eventVersion: '1.0',
        oss: { bucket: { arn: `acs:oss:cn-hangzhou:${ACCOUNT}:${bucket}`, name: bucket }, object: { key, size: 122 } },
        region: 'cn-hangzhou',
      },
    ],
  };
}

const nothing = { askedBy: 'cloud', domains: [], names: [], objects: [], force: false };

describe('an event of EventBridge', () => {
  test.each<[string, string, Record<string, unknown>, string[]]>([
    [
      'a domain that was added',
      'AddCdnDomain',
      { requestParameters: { DomainName: 'www.example.com' } },
      ['www.example.com'],
    ],
    [
      'several domains that were added',
      'BatchAddCdnDomain',
      { requestParameters: { DomainName: 'a.example.com, B.example.com' } },
      ['a.example.com', 'b.example.com'],
    ],
    [
      'a wildcard domain that was started',
      'StartCdnDomain',
      { requestParameters: { DomainName: '.example.com' } },
      ['*.example.com'],
    ],
    [
      'an internationalised domain',
      'StartCdnDomain',
      { referencedResources: { 'ACS::CDN::Domain': ['bücher.example.com'] } },
      ['xn--bcher-kva.example.com'],
    ],
    [
      'a domain named in two places',
      'AddCdnDomain',
      {
        requestParameters: { DomainName: 'www.example.com', Sources: [{ Port: 80 }] },
        referencedResources: { 'ACS::CDN::Domain': ['www.example.com'] },
      },
      ['www.example.com'],
    ],
    [
      'a certificate that was set',
      'SetCdnDomainSSLCertificate',
      { requestParameters: { DomainName: 'www.example.com', CertName: 'by-hand' } },
      ['www.example.com'],
    ],
  ])('names %s', (_, eventName, data, domains) => {
    expect(parse(cloudEvent(eventName, data))).toEqual({ ...nothing, domains });
  });

  test('of the console is one of the API', () => {
    const event = cloudEvent(
      'AddCdnDomain',
      { requestParameters: { DomainName: 'www.example.com' } },
      { type: 'cdn:ActionTrail:ConsoleOperation' },
    );
    expect(parse(event).domains).toEqual(['www.example.com']);
  });

  test('may come in a batch', () => {
    const added = (domain: string) => cloudEvent('AddCdnDomain', { requestParameters: { DomainName: domain } });
    const batch = [
      added('a.example.com'),
      cloudEvent('DeleteCdnDomain'),
      added('b.example.com'),
      added('a.example.com'),
    ];
    expect(parse(batch)).toEqual({ ...nothing, domains: ['a.example.com', 'b.example.com'] });
  });

  test.each<[string, unknown]>([
    ['of another call', cloudEvent('ModifyCdnDomain', { requestParameters: { DomainName: 'www.example.com' } })],
    ['of a call that was refused', cloudEvent('AddCdnDomain', { errorCode: 'DomainAlreadyExist' })],
    ['of another type', cloudEvent('AddCdnDomain', {}, { type: 'cdn:Config:ConfigurationItemChangeNotification' })],
    ['of another type without data', cloudEvent('', {}, { type: 'cdn:CloudMonitor:Alarm', data: undefined })],
  ])('%s asks for nothing', (_, event) => {
    expect(parse(event)).toEqual(nothing);
  });

  test('of the same account is taken, whether it is known or not, a number or a text', () => {
    const event = (accountId: unknown) =>
      cloudEvent(
        'AddCdnDomain',
        { requestParameters: { DomainName: 'a.example.com' } },
        { aliyunaccountid: accountId },
      );
    expect(parse(event(1234567890123456)).domains).toEqual(['a.example.com']);
    expect(parse(event(undefined)).domains).toEqual(['a.example.com']);
    expect(parse(event('999'), '').domains).toEqual(['a.example.com']);
  });

  test.each<[string, unknown, RegExp]>([
    ['from another source', cloudEvent('AddCdnDomain', {}, { source: 'acs.oss' }), /its source is "acs\.oss"/],
    ['of another account', cloudEvent('AddCdnDomain', {}, { aliyunaccountid: '999' }), /it is of account "999"/],
    ['of another version', cloudEvent('AddCdnDomain', {}, { specversion: '0.3' }), /specversion/],
    ['without an id', cloudEvent('AddCdnDomain', {}, { id: undefined }), /id/],
    ['that names no domain', cloudEvent('AddCdnDomain'), /AddCdnDomain names no domain/],
    ['whose domain is none', cloudEvent('AddCdnDomain', { requestParameters: { DomainName: 'a b' } }), /no domain/],
    ['whose data is text', cloudEvent('AddCdnDomain', {}, { data: 'AddCdnDomain' }), /cannot be used/],
    ['in an empty batch', [], /empty list/],
    ['in a batch with a stranger', [cloudEvent('DeleteCdnDomain'), { hello: 'world' }], /specversion/],
  ])('%s is refused', (_, event, why) => {
    expect(() => parse(event)).toThrow(
      expect.objectContaining({ code: 'EVENT_INVALID', message: expect.stringMatching(why) }),
    );
  });
});

describe("an event of FC's triggers", () => {
  test.each(['CdnDomainAdded', 'CdnDomainStarted'])('%s names the domain', (eventName) => {
    expect(parse(cdnTrigger(eventName))).toEqual({ ...nothing, domains: ['www.example.com'] });
  });

  test.each(['CdnDomainStopped', 'CdnDomainDeleted', 'LogFileCreated', 'CachedObjectsPushed'])(
    '%s asks for nothing',
    (eventName) => {
      expect(parse(cdnTrigger(eventName))).toEqual(nothing);
    },
  );

  test.each<[string, string, string[]]>([
    ['a record', 'autocert/certificates/www/record.json', ['www']],
    ['a certificate', `autocert/certificates/www/${'a'.repeat(64)}.json`, ['www']],
    ['a discovered one', 'autocert/certificates/_wildcard.example.com/record.json', ['_wildcard.example.com']],
    ['a key that is percent-encoded', 'autocert%2Fcertificates%2Fwww%2Frecord.json', ['www']],
    ['a key that is wrongly encoded', 'autocert/certificates/%/record.json', ['%']],
    ['an order', 'autocert/certificates/www/order-0123456789abcdef.json', []],
    ['a file of the inbox', 'autocert/inbox/www.pfx', ['_inbox.www']],
    ['what is said of a file of the inbox', 'autocert/inbox/www.pfx.refused.txt', []],
    ['the index', 'autocert/index.json', []],
    ['something deeper', 'autocert/certificates/www/a/record.json', []],
    ['another prefix', 'autocert2/certificates/www/record.json', []],
  ])('an object of the store, %s, names the certificate', (_, key, only) => {
    const store: StoreLocation = { type: 'oss', bucket: 'my-bucket', prefix: 'autocert' };
    expect(askedOf(parse(ossTrigger(key)), store)).toEqual({ intent: 'react', only, force: false });
  });

  test('an object of a store at the root of its bucket names the certificate', () => {
    const event = parse(ossTrigger('certificates/www/record.json'));
    expect(askedOf(event, { type: 'oss', bucket: 'my-bucket', prefix: '' }).only).toEqual(['www']);
    expect(askedOf(event, { type: 'oss', bucket: 'other', prefix: '' }).only).toEqual([]);
    expect(askedOf(event, { type: 'file', path: '/var/lib/autocert' }).only).toEqual([]);
  });

  test('an object that went asks for nothing', () => {
    expect(parse(ossTrigger('certificates/www/record.json', 'ObjectRemoved:DeleteObject'))).toEqual(nothing);
  });

  test.each<[string, unknown]>([
    ['no events', { events: [] }],
    ['an event of another source', { events: [{ eventName: 'CdnDomainAdded', eventSource: 'vod' }] }],
    ['a domain event without a domain', { events: [{ eventName: 'CdnDomainAdded', eventSource: 'cdn' }] }],
    [
      'an object without a bucket',
      { events: [{ eventName: 'ObjectCreated:PutObject', oss: { object: { key: 'a' } } }] },
    ],
  ])('%s is refused', (_, event) => {
    expect(() => parse(event)).toThrow(expect.objectContaining({ code: 'EVENT_INVALID' }));
  });
});

test.each([
  ['alone', '{"__proto__":{"force":true}}'],
  ['among what is asked for', '{"names":["www"],"__proto__":{"force":true}}'],
  ['deep inside what nobody reads', JSON.stringify(cloudEvent('DeleteCdnDomain')).replace('"eventRW"', '"__proto__"')],
])('a key that pollutes, %s, is refused for what it is', (_, text) => {
  expect(text).toContain('"__proto__"');
  expect(() => parse(text)).toThrow(
    expect.objectContaining({ code: 'EVENT_INVALID', message: expect.stringContaining('__proto__') }),
  );
});

describe("a person's payload", () => {
  const store: StoreLocation = { type: 'file', path: '/var/lib/autocert' };

  test.each<[string, unknown, unknown]>([
    ['nothing', '', { intent: 'redeploy', force: false }],
    ['an empty object', {}, { intent: 'redeploy', force: false }],
    [
      'domains',
      { domains: ['WWW.example.com.', '.example.com'] },
      { intent: 'redeploy', only: ['www.example.com', '*.example.com'], force: false },
    ],
    ['names, by force', { names: ['www'], force: true }, { intent: 'redeploy', only: ['www'], force: true }],
    ['everything, by force', { force: true }, { intent: 'redeploy', force: true }],
  ])('%s says what', (_, payload, asked) => {
    expect(askedOf(parse(payload), store)).toEqual(asked);
  });

  test.each<[string, unknown]>([
    ['an unknown key', { domain: 'www.example.com' }],
    ['an empty list', { domains: [] }],
    ['a word for a truth value', { force: 'yes' }],
    ['a domain that is none', { domains: ['192.0.2.1'] }],
    ['a number', '5'],
    ['a text', '"www"'],
    ['JSON that is cut off', '{"domains":['],
    ['what is nested too deep to be read', `${'['.repeat(60_000)}${']'.repeat(60_000)}`],
    ['more than 128 KB', { names: ['a'.repeat(131_072)] }],
  ])('%s is refused', (_, payload) => {
    expect(() => parse(payload)).toThrow(expect.objectContaining({ code: 'EVENT_INVALID', retryable: false }));
    expect(Object.hasOwn(Object.prototype, 'force')).toBe(false);
  });
});
