import { describe, expect, test } from 'vitest';
import { parseConfig } from '../src/config.ts';
import type { Deps } from '../src/deps.ts';
import { AutocertError } from '../src/errors.ts';
import { type CertificateRecord, encode, type Store } from '../src/record.ts';
import type { EdgeReading } from '../src/verify.ts';
import { isGoodWatch, WatchFailed, type WatchPorts, type WatchReport, watchAll } from '../src/watch.ts';
import { judgeConfigured, judgeEdge } from '../src/watched.ts';
import { makeCertificate } from './sandbox/certificates.ts';

const DOMAIN = 'www.example.com';
const HOUR = 3_600_000;

/** 90 days: the last third begins on 2026-03-02, the last twentieth on 2026-03-27T12:00. */
const ours = makeCertificate({
  names: [DOMAIN],
  notBefore: new Date('2026-01-01T00:00:00Z'),
  notAfter: new Date('2026-04-01T00:00:00Z'),
});
const theirs = makeCertificate({
  names: [DOMAIN],
  notBefore: new Date('2026-01-01T00:00:00Z'),
  notAfter: new Date('2027-01-01T00:00:00Z'),
});
const record: CertificateRecord = {
  version: 1,
  name: 'www',
  certificate: {
    fingerprint: ours.fingerprint,
    serial: ours.serialNumber,
    identifiers: [DOMAIN],
    keyType: 'ec256',
    directoryUrl: 'https://acme.example/directory',
    notBefore: '2026-01-01T00:00:00.000Z',
    notAfter: '2026-04-01T00:00:00.000Z',
  },
  deployed: { [DOMAIN]: 'autocert-cdn-www_example_com' },
};
const advice = (selectedTime: string) => ({
  start: selectedTime,
  end: selectedTime,
  selectedTime,
  retryAfter: '2026-02-01T06:00:00.000Z',
});
const failures = {
  count: 3,
  since: '2026-03-02T00:00:00.000Z',
  nextAttemptAt: '2026-03-03T00:00:00.000Z',
  code: 'ACME_DNS',
  message: 'no TXT record',
};

function serving(pem: string): EdgeReading {
  return { domain: DOMAIN, edge: '192.0.2.1:443', pem };
}

interface Situation {
  readonly now?: string;
  readonly reading?: EdgeReading;
  readonly record?: Partial<CertificateRecord>;
  readonly origin?: 'configured' | 'discovered';
  readonly answered?: boolean;
}

function judged(situation: Situation) {
  const { origin = 'configured', answered = true, reading = serving(ours.leaf) } = situation;
  return judgeEdge(reading, answered, {
    spec: { origin },
    record: { ...record, ...situation.record },
    now: new Date(situation.now ?? '2026-02-01T00:00:00Z'),
    interval: 6 * HOUR,
  });
}

describe('what an edge serves', () => {
  const nothing = { certificate: undefined, deployed: {} };
  test.each<[string, string, Situation]>([
    ['is the stored certificate', 'ok', {}],
    ['has been due for two intervals', 'ok', { now: '2026-03-02T12:00:00Z' }],
    ['has been due for longer than that', 'overdue', { now: '2026-03-02T12:00:01Z' }],
    [
      'was to be renewed earlier, as the CA suggested',
      'overdue',
      { record: { advice: advice('2026-01-31T00:00:00.000Z') } },
    ],
    [
      'is to be renewed later, as the CA suggests',
      'ok',
      { now: '2026-03-20T00:00:00Z', record: { advice: advice('2026-03-20T00:00:00.000Z') } },
    ],
    [
      'is in its last twentieth, whatever the CA suggests',
      'overdue',
      { now: '2026-03-27T12:00:01Z', record: { advice: advice('2026-03-31T00:00:00.000Z') } },
    ],
    ['has ended', 'expired', { now: '2026-04-01T00:00:00Z' }],
    ['is another certificate than the stored one', 'stale', { reading: serving(theirs.leaf) }],
    ['has ended, and is another', 'expired', { now: '2027-02-01T00:00:00Z', reading: serving(theirs.leaf) }],
    ['is for another name', 'mismatch', { reading: { ...serving(ours.leaf), domain: 'other.example.com' } }],
    ['was never issued', 'overdue', { record: nothing, reading: serving(theirs.leaf) }],
    [
      'was found with a certificate from elsewhere',
      'ok',
      { origin: 'discovered', record: nothing, reading: serving(theirs.leaf) },
    ],
    [
      'was found with one from elsewhere that outlasts ours',
      'ok',
      { origin: 'discovered', reading: serving(theirs.leaf) },
    ],
    [
      'was found with one from elsewhere that is due',
      'overdue',
      { now: '2026-09-03T00:00:00Z', origin: 'discovered', record: nothing, reading: serving(theirs.leaf) },
    ],
    [
      'does not answer',
      'unreachable',
      { reading: { domain: DOMAIN, edge: '192.0.2.1:443', unreachable: 'ECONNREFUSED' } },
    ],
    [
      'has an address there is no way to, and others answer',
      'ok',
      { reading: { domain: DOMAIN, edge: '[2001:db8::1]:443', unreachable: 'ENETUNREACH' } },
    ],
    [
      'has only addresses there is no way to',
      'unreachable',
      { answered: false, reading: { domain: DOMAIN, edge: '[2001:db8::1]:443', unreachable: 'ENETUNREACH' } },
    ],
  ])('%s: %s', (_, status, situation) => {
    expect(judged(situation).status).toBe(status);
  });

  test('is told with what a person needs', () => {
    expect(judged({ now: '2026-03-10T00:00:00Z' })).toEqual({
      status: 'overdue',
      message:
        'It was to be renewed at 2026-03-02T00:00:00.000Z, and was not. No failure is recorded: look whether the timer of renew still fires.',
      daysLeft: 22,
      fingerprint: ours.fingerprint,
    });
    expect(judged({ now: '2026-03-10T00:00:00Z', record: { failures } }).message).toContain(
      'The last try failed (ACME_DNS: no TXT record).',
    );
    expect(judged({ now: '2026-04-03T00:00:00Z' })).toMatchObject({ daysLeft: -2, status: 'expired' });
  });
});

describe('what the API shows', () => {
  const context = { record, now: new Date('2026-02-01T00:00:00Z'), interval: 6 * HOUR };
  const shown = (pem: string) => ({ name: 'by-hand', type: 'upload', pem });

  test.each([
    ['the stored certificate', 'configured' as const, shown(ours.leaf), []],
    ['another', 'configured' as const, shown(theirs.leaf), ['mismatch']],
    ['nothing', 'configured' as const, undefined, ['mismatch']],
    ['one from elsewhere that outlasts ours', 'discovered' as const, shown(theirs.leaf), []],
  ])('%s', (_, origin, configured, statuses) => {
    expect(judgeConfigured(configured, { ...context, spec: { origin } }).map(({ status }) => status)).toEqual(statuses);
  });
});

const CONFIG = await parseConfig(
  JSON.stringify({
    acme: { contact: ['mailto:ops@example.com'], termsOfServiceAgreed: true },
    certificates: [
      { name: 'www', identifiers: [DOMAIN] },
      { name: 'off', identifiers: ['off.example.com', 'gone.example.com', 'stopped.example.com'] },
    ],
    verify: { patience: '10m' },
    store: 'file:///var/lib/autocert',
  }),
  { env: {} },
);

describe('a look', () => {
  const config = CONFIG;

  /** A world that stands still, in which the edges serve one reading after the other. */
  function standing(readings: readonly EdgeReading[][], fails: { index?: boolean; current?: boolean } = {}) {
    const slept: number[] = [];
    const left = [...readings];
    const refuse = (): never => {
      throw new Error('a look writes nothing');
    };
    const failure = (code: 'STORE_UNREADABLE' | 'PERMISSION_DENIED') =>
      new AutocertError({ code, message: 'it is not there', retryable: false, remedy: 'Look.' });
    const store: Store = {
      async get(key) {
        if (fails.index) throw failure('STORE_UNREADABLE');
        return key === 'index.json' ? encode({ version: 1, working: [], records: [record] }) : undefined;
      },
      list: async () => [],
      put: refuse,
      delete: refuse,
    };
    const ports: WatchPorts = {
      store,
      target: {
        list: async () => [
          { domain: DOMAIN, status: 'online', https: true },
          { domain: 'off.example.com', status: 'online', https: false },
          { domain: 'stopped.example.com', status: 'offline', https: true },
        ],
        async current() {
          if (fails.current) throw failure('PERMISSION_DENIED');
          return { name: 'autocert-cdn-www_example_com', type: 'upload', pem: ours.leaf };
        },
      },
      edges: { read: async () => (left.length > 1 ? left.shift() : left[0]) ?? [] },
    };
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    const deps: Deps = {
      now: () => new Date('2026-02-01T00:00:00Z'),
      random: () => 0,
      async sleep(milliseconds) {
        slept.push(milliseconds);
      },
      deadline: new Date('2026-02-01T00:10:00Z'),
      log,
    };
    return { slept, look: () => watchAll(config, ports, deps) };
  }

  test('tells of a domain that is stopped, one without HTTPS and one that is gone', async () => {
    const { certificates } = await standing([[serving(ours.leaf)]]).look();
    const told = certificates.map(({ domain, status, message }) => `${domain} ${status}: ${message}`);
    expect(told.sort()).toEqual([
      'gone.example.com mismatch: It is no CDN domain of this account.',
      'off.example.com mismatch: HTTPS is off: no certificate is served.',
      'stopped.example.com ok: The domain is offline: nothing is served.',
      `www.example.com ok: It serves the stored certificate.`,
    ]);
  });

  test('is repeated for what may pass, in no more than half of the time that is left', async () => {
    const world = standing([[serving(theirs.leaf)], [serving(ours.leaf)]]);
    const { certificates } = await world.look();
    expect(world.slept).toEqual([300_000]);
    expect(certificates.filter(({ name }) => name === 'www')).toEqual([
      expect.objectContaining({ domain: DOMAIN, edge: '192.0.2.1:443', status: 'ok' }),
    ]);
  });

  test('that finds the same again says so', async () => {
    const { certificates } = await standing([[serving(theirs.leaf)]]).look();
    expect(certificates.filter(({ name }) => name === 'www').map(({ status }) => status)).toEqual(['stale']);
  });

  test('goes on when one domain cannot be judged', async () => {
    const { certificates, error } = await standing([[serving(ours.leaf)]], { current: true }).look();
    expect(error).toBeUndefined();
    expect(certificates.find(({ domain }) => domain === DOMAIN)).toMatchObject({
      status: 'unreachable',
      message: 'It cannot be judged (PERMISSION_DENIED: it is not there)',
    });
    expect(certificates.length).toBe(4);
  });

  test('without the store is no look', async () => {
    expect(await standing([[serving(ours.leaf)]], { index: true }).look()).toEqual({
      certificates: [],
      error: expect.objectContaining({ code: 'STORE_UNREADABLE', step: 'record' }),
    });
  });
});

test('a look that found something wrong fails with what it found', () => {
  const report: WatchReport = {
    version: 1,
    runId: 'run-1',
    startedAt: '2026-02-01T00:00:00.000Z',
    finishedAt: '2026-02-01T00:00:01.000Z',
    certificates: [
      {
        name: 'www',
        domain: DOMAIN,
        edge: '192.0.2.1:443',
        status: 'ok',
        message: 'It serves the stored certificate.',
      },
      { name: 'www', domain: DOMAIN, status: 'mismatch', message: 'The CDN API shows no certificate for it.' },
    ],
  };
  expect(isGoodWatch(report)).toBe(false);
  expect(new WatchFailed(report).message).toBe(
    'www.example.com is mismatch (The CDN API shows no certificate for it.)',
  );
});
