import { describe, expect, test } from 'vitest';
import type { CertificateFacts } from '../src/certificate.ts';
import { type DecisionContext, decide } from '../src/decide.ts';
import type { CertificateSpec } from '../src/inventory.ts';
import type { DomainObservation, Observation } from '../src/observe.ts';
import type { CertificateRecord, StoredCertificate } from '../src/record.ts';

const DIRECTORY = 'https://acme.example/directory';
const STAGING = 'https://acme-staging.example/directory';
const HOUR = 3_600_000;
const [OURS, THEIRS] = ['a'.repeat(64), 'b'.repeat(64)];

/** 90 days: the last third begins on 2026-03-02, the last tenth on 2026-03-23. */
const stored: StoredCertificate = {
  fingerprint: OURS,
  serial: '01',
  identifiers: ['www.example.com'],
  keyType: 'rsa2048',
  directoryUrl: DIRECTORY,
  notBefore: '2026-01-01T00:00:00.000Z',
  notAfter: '2026-04-01T00:00:00.000Z',
  certId: 'aki.serial',
};
const spec: CertificateSpec = {
  name: 'www',
  identifiers: ['www.example.com'],
  keyType: 'rsa2048',
  profile: undefined,
  domains: ['www.example.com'],
  origin: 'configured',
};
const served: DomainObservation = {
  domain: 'www.example.com',
  status: 'online',
  https: true,
  cname: 'www.example.com.w.kunlun.example',
  configured: { fingerprint: OURS, certName: 'autocert-cdn-www_example_com', type: 'upload', facts: undefined },
  served: [{ domain: 'www.example.com', edge: '192.0.2.1:443', fingerprint: OURS }],
};
const elsewheres: CertificateFacts = {
  identifiers: ['www.example.com'],
  serial: '02',
  fingerprint: THEIRS,
  notBefore: new Date('2026-01-01T00:00:00Z'),
  notAfter: new Date('2027-01-01T00:00:00Z'),
  issuer: 'CN=DigiCert',
  subject: 'CN=www.example.com',
  selfSigned: false,
  keyType: 'rsa2048',
  certId: undefined,
};

interface Situation {
  readonly now?: string;
  readonly spec?: Partial<CertificateSpec>;
  readonly certificate?: Partial<StoredCertificate> | null;
  readonly record?: Partial<CertificateRecord>;
  readonly domain?: Partial<DomainObservation>;
  readonly context?: Partial<DecisionContext>;
}

function decideIn(situation: Situation) {
  const record: CertificateRecord = {
    version: 1,
    name: 'www',
    deployed: { 'www.example.com': 'autocert-cdn-www_example_com' },
    ...(situation.certificate !== null && { certificate: { ...stored, ...situation.certificate } }),
    ...situation.record,
  };
  const observation: Observation = {
    spec: { ...spec, ...situation.spec },
    record,
    domains: [{ ...served, ...situation.domain }],
  };
  const { action, reason, message } = decide(observation, {
    now: new Date(situation.now ?? '2026-02-01T00:00:00Z'),
    interval: 6 * HOUR,
    directoryUrls: [DIRECTORY],
    force: false,
    intent: 'renew',
    ...situation.context,
  });
  return { decision: `${action} ${reason}`, message };
}

const advice = (selectedTime: string) => ({
  start: '2026-02-20T00:00:00.000Z',
  end: '2026-02-22T00:00:00.000Z',
  selectedTime,
  retryAfter: '2026-02-01T06:00:00.000Z',
});
const past = {
  ...advice('2025-12-01T12:00:00.000Z'),
  start: '2025-12-01T00:00:00.000Z',
  end: '2025-12-02T00:00:00.000Z',
};
const failures = (nextAttemptAt: string) => ({
  count: 2,
  since: '2026-01-31T00:00:00.000Z',
  nextAttemptAt,
  code: 'ACME_DNS',
  message: 'no TXT record',
});
const foreign = { fingerprint: THEIRS, certName: 'uploaded-by-hand', type: 'upload', facts: elsewheres };

describe('decide', () => {
  test.each<[string, string, Situation]>([
    ['nothing is stored', 'renew NotIssued', { certificate: null }],
    ['stored, configured, served', 'keep Current', {}],
    ['a person asks', 'renew Forced', { context: { force: true } }],
    ['a name is added', 'renew IdentifiersChanged', { spec: { identifiers: ['www.example.com', 'example.com'] } }],
    [
      'a name is taken away',
      'renew IdentifiersChanged',
      { certificate: { identifiers: ['www.example.com', 'example.com'] } },
    ],
    [
      'the names are in another order',
      'keep Current',
      {
        spec: { identifiers: ['example.com', 'www.example.com'] },
        certificate: { identifiers: ['www.example.com', 'example.com'] },
      },
    ],
    ['the key type changes', 'renew KeyOrProfileChanged', { spec: { keyType: 'ec256' } }],
    ['a profile is set', 'renew KeyOrProfileChanged', { spec: { profile: 'shortlived' } }],
    ['a staging certificate is stored', 'renew IssuerChanged', { certificate: { directoryUrl: STAGING } }],
    [
      'a fallback issued it',
      'keep Current',
      {
        certificate: { directoryUrl: STAGING },
        context: { directoryUrls: [DIRECTORY, STAGING] },
      },
    ],
    ['it was revoked', 'renew Revoked', { certificate: { revoked: true } }],
    ['nine days are left of ninety', 'renew ExpiryImminent', { now: '2026-03-23T00:00:01Z' }],
    ['it has expired', 'renew ExpiryImminent', { now: '2026-06-01T00:00:00Z' }],
    [
      'it has expired, whatever the CA advises',
      'renew ExpiryImminent',
      {
        now: '2026-04-02T00:00:00Z',
        record: { advice: advice('2099-01-01T00:00:00.000Z') },
      },
    ],
    [
      'it is about to expire while backing off',
      'renew ExpiryImminent',
      {
        now: '2026-03-31T00:00:00Z',
        record: { failures: failures('2026-03-31T12:00:00.000Z') },
      },
    ],
    [
      'it is due and backing off',
      'keep BackingOff',
      {
        now: '2026-03-10T00:00:00Z',
        record: { failures: failures('2026-03-10T00:00:01.000Z') },
      },
    ],
    [
      'it is due and has backed off',
      'renew RenewalTimeReached',
      {
        now: '2026-03-10T00:00:00Z',
        record: { failures: failures('2026-03-10T00:00:00.000Z') },
      },
    ],
    [
      'it was never issued and backs off',
      'keep BackingOff',
      {
        certificate: null,
        record: { failures: failures('2026-02-01T00:00:01.000Z') },
      },
    ],
    [
      'it is backing off and an edge serves another',
      'deploy NotServed',
      {
        now: '2026-03-10T00:00:00Z',
        record: { failures: failures('2026-03-10T00:00:01.000Z') },
        domain: { served: [{ domain: 'www.example.com', edge: '192.0.2.1:443', fingerprint: THEIRS }] },
      },
    ],
    [
      'the selected time is past',
      'renew SelectedTimeReached',
      { record: { advice: advice('2026-01-31T00:00:00.000Z') } },
    ],
    [
      'the CA wanted the one before it back at once, and now this one too',
      'keep Current',
      { certificate: { replacedAtOnce: true }, now: '2026-01-01T23:59:59Z', record: { advice: past } },
    ],
    [
      'the CA wants it back at once as the one before it, and a day has passed',
      'renew SelectedTimeReached',
      { certificate: { replacedAtOnce: true }, now: '2026-01-02T00:00:00Z', record: { advice: past } },
    ],
    [
      'the CA wants it back at once, the first time',
      'renew SelectedTimeReached',
      { now: '2026-01-01T00:10:00Z', record: { advice: past } },
    ],
    [
      'the selected time passes before the next run',
      'renew SelectedTimeReached',
      {
        record: { advice: advice('2026-02-01T06:00:00.000Z') },
      },
    ],
    [
      'the selected time is after the next run',
      'keep Current',
      { record: { advice: advice('2026-02-01T06:00:00.001Z') } },
    ],
    ['the last third begins', 'renew RenewalTimeReached', { now: '2026-03-02T00:00:00Z' }],
    ['the last third begins in a second', 'keep Current', { now: '2026-03-01T23:59:59Z' }],
    [
      'the last third begins, and the CA advises a later time',
      'keep Current',
      {
        now: '2026-03-02T00:00:00Z',
        record: { advice: advice('2026-03-10T00:00:00.000Z') },
      },
    ],
    [
      'six days of life, half of it left',
      'renew RenewalTimeReached',
      {
        now: '2026-02-04T00:00:00Z',
        certificate: { notBefore: '2026-02-01T00:00:00.000Z', notAfter: '2026-02-07T00:00:00.000Z' },
      },
    ],
    [
      'six days of life, half a day left',
      'renew ExpiryImminent',
      {
        now: '2026-02-06T13:00:00Z',
        certificate: { notBefore: '2026-02-01T00:00:00.000Z', notAfter: '2026-02-07T00:00:00.000Z' },
      },
    ],
    ['the CDN has no certificate', 'deploy NotDeployed', { domain: { configured: undefined, served: [] } }],
    ['it was overwritten by hand', 'deploy NotDeployed', { domain: { configured: foreign } }],
    [
      'one edge serves another',
      'deploy NotServed',
      {
        domain: {
          served: [
            { domain: 'www.example.com', edge: '192.0.2.1:443', fingerprint: OURS },
            { domain: 'www.example.com', edge: '192.0.2.2:443', fingerprint: THEIRS },
          ],
        },
      },
    ],
    [
      'one edge does not answer',
      'keep Current',
      {
        domain: { served: [{ domain: 'www.example.com', edge: '192.0.2.1:443', unreachable: 'ECONNREFUSED' }] },
      },
    ],
    ['its edges were not read', 'keep Current', { domain: { served: undefined } }],
    [
      'its edges were not read and the list shows another',
      'deploy NotDeployed',
      { domain: { configured: foreign, served: undefined } },
    ],
    ['every domain is offline', 'keep Current', { certificate: null, domain: { status: 'offline' } }],
    ['the domain is gone', 'keep Current', { certificate: null, domain: { status: 'absent' } }],
  ])('%s: %s', (_, expected, situation) => {
    expect(decideIn(situation).decision).toBe(expected);
  });

  const stale = { served: [{ domain: 'www.example.com', edge: '192.0.2.1:443', fingerprint: THEIRS }] };

  test.each<[string, string, Situation]>([
    ['all agrees', 'keep Current', {}],
    ['it was overwritten by hand', 'deploy NotDeployed', { domain: { configured: foreign } }],
    ['an edge serves another', 'deploy NotServed', { domain: stale }],
    ['its renewal is due', 'keep Current', { now: '2026-03-10T00:00:00Z' }],
    ['the CA suggests to renew it', 'keep Current', { record: { advice: advice('2026-01-31T00:00:00.000Z') } }],
    ['it is about to expire', 'deploy NotDeployed', { now: '2026-03-31T23:00:00Z', domain: { configured: foreign } }],
    ['it has expired', 'renew ExpiryImminent', { now: '2026-04-01T00:00:00Z' }],
    ['nothing is stored', 'renew NotIssued', { certificate: null }],
    [
      'nothing is stored, and issuing it fails',
      'keep BackingOff',
      { certificate: null, record: { failures: failures('2026-02-01T00:00:01.000Z') } },
    ],
    ['a name is added', 'renew IdentifiersChanged', { spec: { identifiers: ['www.example.com', 'example.com'] } }],
    ['only another key type is wanted', 'keep Current', { spec: { keyType: 'ec256' } }],
    ['it is from a staging CA', 'renew IssuerChanged', { certificate: { directoryUrl: STAGING } }],
    ['it was revoked', 'renew Revoked', { certificate: { revoked: true } }],
    ['it is forced, and all agrees', 'deploy Forced', { context: { force: true } }],
    [
      'it is forced, and has expired',
      'renew ExpiryImminent',
      { now: '2026-04-01T00:00:00Z', context: { force: true } },
    ],
    [
      'it is forced, and the domain is offline',
      'keep Current',
      { domain: { status: 'offline' }, context: { force: true } },
    ],
    ['its renewal fails', 'keep BackingOff', { record: { failures: failures('2026-02-01T00:00:00.000Z') } }],
  ])('asked to redeploy, and %s: %s', (_, expected, situation) => {
    const context = { intent: 'redeploy' as const, ...situation.context };
    expect(decideIn({ ...situation, context }).decision).toBe(expected);
  });

  test('an event leads to no push because an edge is slow: the push itself would come back as an event', () => {
    const context = { intent: 'react' as const };
    expect(decideIn({ domain: stale, context })).toEqual({
      decision: 'keep NotServed',
      message: "192.0.2.1:443 serves another certificate for www.example.com. The timer's next run looks again.",
    });
    expect(decideIn({ domain: { configured: foreign }, context }).decision).toBe('deploy NotDeployed');
  });

  describe('a domain that discovery found with a certificate from elsewhere', () => {
    const discovered = { spec: { origin: 'discovered' as const }, certificate: null, domain: { configured: foreign } };

    test('is left alone while that certificate is good', () => {
      expect(decideIn(discovered)).toEqual({
        decision: 'keep Current',
        message: 'A certificate from elsewhere is in place until 2027-01-01 and is left alone.',
      });
    });

    test('is taken when the config names it', () => {
      expect(decideIn({ ...discovered, spec: { origin: 'configured' } }).decision).toBe('renew NotIssued');
    });

    test.each<[string, Partial<CertificateFacts>, string]>([
      ['is in its last third', {}, '2026-09-02T00:00:00Z'],
      ['has expired', {}, '2027-01-02T00:00:00Z'],
      ['is self-signed', { selfSigned: true }, '2026-02-01T00:00:00Z'],
      [
        'is from a staging CA',
        { issuer: "O=(STAGING) Let's Encrypt\nCN=(STAGING) Counterfeit Cashew R10" },
        '2026-02-01T00:00:00Z',
      ],
      ['does not cover the name', { identifiers: ['example.com'] }, '2026-02-01T00:00:00Z'],
      ['is not valid yet', { notBefore: new Date('2026-02-02T00:00:00Z') }, '2026-02-01T00:00:00Z'],
    ])('is taken over when that certificate %s', (_, facts, now) => {
      const configured = { ...foreign, facts: { ...elsewheres, ...facts } };
      expect(decideIn({ ...discovered, now, domain: { configured } }).decision).toBe('renew NotIssued');
    });

    test('gets the stored one back when that one ends sooner', () => {
      const configured = { ...foreign, facts: { ...elsewheres, notAfter: new Date('2026-03-31T00:00:00Z') } };
      expect(decideIn({ spec: { origin: 'discovered' }, domain: { configured } }).decision).toBe('deploy NotDeployed');
    });
  });

  describe('F51 a domain with a certificate of ours that is later than the stored one', () => {
    const later: CertificateFacts = {
      ...elsewheres,
      issuer: 'CN=E7',
      notBefore: new Date('2026-01-31T00:00:00Z'),
      notAfter: new Date('2026-05-01T00:00:00Z'),
    };
    const inPlace = (facts: Partial<CertificateFacts> = {}, certName = 'autocert-cdn-www_example_com') => ({
      domain: { configured: { ...foreign, certName, facts: { ...later, ...facts } }, served: [] },
    });
    const due = '2026-03-10T00:00:00Z';

    test.each<[string, string, Situation]>([
      ['the stored one is good', 'keep StoreBehind', inPlace()],
      ['the stored one is due', 'keep StoreBehind', { ...inPlace(), now: due }],
      [
        'the stored one has ended',
        'keep StoreBehind',
        { ...inPlace({ notAfter: new Date('2026-08-01T00:00:00Z') }), now: '2026-04-02T00:00:00Z' },
      ],
      [
        'the edges serve it',
        'keep StoreBehind',
        {
          domain: {
            ...inPlace().domain,
            served: [{ domain: 'www.example.com', edge: '192.0.2.1:443', fingerprint: THEIRS }],
          },
        },
      ],
      [
        'its name ends in its fingerprint',
        'keep StoreBehind',
        inPlace({}, 'autocert-cdn-www_example_com-0123456789ab'),
      ],
      [
        'a person wants the stored one pushed',
        'deploy Forced',
        { ...inPlace(), context: { intent: 'redeploy', force: true } },
      ],
      ['a person wants a new one', 'renew Forced', { ...inPlace(), context: { force: true } }],
      ['it is due itself', 'renew ExpiryImminent', { ...inPlace(), now: '2026-04-02T00:00:00Z' }],
      ['it is for other names', 'deploy NotDeployed', inPlace({ identifiers: ['www.example.com', 'example.com'] })],
      ['its name is not ours', 'deploy NotDeployed', inPlace({}, 'uploaded-by-hand')],
      [
        'it was issued before, and lives longer',
        'deploy NotDeployed',
        inPlace({ notBefore: new Date('2025-12-31T00:00:00Z') }),
      ],
      ['it is self-signed', 'deploy NotDeployed', inPlace({ selfSigned: true })],
      [
        'the configured names changed',
        'renew IdentifiersChanged',
        { ...inPlace(), spec: { identifiers: ['example.com'] } },
      ],
    ])('%s: %s', (_, expected, situation) => {
      expect(decideIn(situation).decision).toBe(expected);
    });

    test('the message names both ends', () => {
      expect(decideIn(inPlace()).message).toBe(
        'www.example.com has a certificate of ours that ends at 2026-05-01T00:00:00.000Z, the stored one at 2026-04-01T00:00:00.000Z: it stays until it is due.',
      );
    });
  });

  test('F52 a clock that is behind the beginning of the certificate renews nothing', () => {
    expect(decideIn({ now: '2025-12-31T23:00:00Z' }).decision).toBe('keep Current');
  });

  test('the message says what a person wants to know', () => {
    expect(decideIn({ now: '2026-04-11T00:00:00Z' }).message).toBe('It ended 10 days ago.');
    expect(decideIn({ now: '2026-03-30T19:00:00Z' }).message).toBe('It ends in 29 hours.');
    expect(decideIn({ spec: { identifiers: ['example.com'] } }).message).toBe(
      'The names changed: +example.com -www.example.com.',
    );
    expect(
      decideIn({ now: '2026-03-10T00:00:00Z', record: { failures: failures('2026-03-10T00:00:01.000Z') } }).message,
    ).toBe('2 tries failed (ACME_DNS); the next is at 2026-03-10T00:00:01.000Z.');
  });
});
