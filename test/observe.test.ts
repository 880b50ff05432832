import { describe, expect, test } from 'vitest';
import type { TargetDomain } from '../src/deploy.ts';
import { type Observers, observe, withAdvice } from '../src/observe.ts';
import { type CertificateRecord, emptyRecord } from '../src/record.ts';
import type { EdgeReading } from '../src/verify.ts';
import { manualDeps } from './acme/deps.ts';
import { makeCertificate } from './sandbox/certificates.ts';

const DOMAIN = 'www.example.com';
const NOW = new Date('2026-02-01T00:00:00Z');
const spec = {
  name: 'www',
  identifiers: [DOMAIN],
  keyType: 'ec256',
  profile: undefined,
  domains: [DOMAIN],
  origin: 'discovered',
} as const;

const inPlace = makeCertificate({
  names: [DOMAIN],
  notBefore: new Date('2026-01-10T00:00:00Z'),
  notAfter: new Date('2026-04-10T07:08:09Z'),
});
const another = makeCertificate({
  names: [DOMAIN],
  notBefore: new Date('2026-01-10T00:00:00Z'),
  notAfter: new Date('2026-04-11T00:00:00Z'),
});

function reading(
  edge: string,
  { leaf, fingerprint }: { readonly leaf: string; readonly fingerprint: string },
): EdgeReading {
  return { domain: DOMAIN, edge, fingerprint, pem: leaf };
}

/** The domain as the lists show it, with what its edges serve; the API's own answer is `another`, so that it can be told. */
async function configured(expireTime: string, served: readonly EdgeReading[]) {
  const entry: TargetDomain = {
    domain: DOMAIN,
    status: 'online',
    https: true,
    certificate: { name: 'by-hand', type: 'upload', expireTime },
  };
  const asked: string[] = [];
  const observers: Observers = {
    account: new Map([[DOMAIN, entry]]),
    target: {
      type: 'cdn',
      list: async () => [entry],
      current: async (domain) => {
        asked.push(domain);
        return { name: 'by-hand', type: 'upload', pem: another.leaf };
      },
      deploy: () => Promise.reject(new Error('nothing is deployed here')),
    },
    edges: { read: async () => [...served] },
    isTurn: () => true,
    renewalAdvice: async () => undefined,
    deps: manualDeps({ now: NOW }),
  };
  const { domains } = await observe(spec, emptyRecord('www'), observers);
  return { asked, fingerprint: domains[0]?.configured?.fingerprint, certName: domains[0]?.configured?.certName };
}

describe('the certificate that the account has on a domain', () => {
  test.each([
    ['to the second', '2026-04-10 07:08:09'],
    ['in the time of Beijing', '2026-04-10 15:08:09'],
  ])('is the one that all edges serve, when the list says the same end %s', async (_, expireTime) => {
    const seen = await configured(expireTime, [reading('a', inPlace), reading('b', inPlace)]);
    expect(seen).toEqual({ asked: [], fingerprint: inPlace.fingerprint, certName: 'by-hand' });
  });

  test.each<[string, string, readonly EdgeReading[]]>([
    ['the list says another end', '2026-04-11 00:00:00', [reading('a', inPlace)]],
    ['the list says an end a second later', '2026-04-10 07:08:10', [reading('a', inPlace)]],
    ['the edges serve different ones', '2026-04-10 07:08:09', [reading('a', inPlace), reading('b', another)]],
    ['no edge answers', '2026-04-10 07:08:09', [{ domain: DOMAIN, edge: 'a', unreachable: 'no answer' }]],
    [
      'what an edge shows cannot be read',
      '2026-04-10 07:08:09',
      [{ domain: DOMAIN, edge: 'a', fingerprint: 'f', pem: '-' }],
    ],
  ])('is asked for when %s', async (_, expireTime, served) => {
    expect(await configured(expireTime, served)).toMatchObject({ asked: [DOMAIN], fingerprint: another.fingerprint });
  });
});

describe('the edges of a domain whose turn it is not', () => {
  const DAY = 86_400_000;
  const old = {
    fingerprint: inPlace.fingerprint,
    serial: '01',
    identifiers: [DOMAIN],
    keyType: 'ec256',
    directoryUrl: 'https://ca.example/dir',
    notBefore: '2026-01-10T00:00:00Z',
    notAfter: '2026-04-10T07:08:09Z',
  };
  const well: CertificateRecord = { ...emptyRecord('www'), certificate: old, deployed: { [DOMAIN]: 'ours' } };
  const listed: TargetDomain = {
    domain: DOMAIN,
    status: 'online',
    https: true,
    certificate: { name: 'ours', type: 'upload', expireTime: '2026-04-10 07:08:09' },
  };
  const failures = { count: 1, since: NOW.toISOString(), nextAttemptAt: NOW.toISOString(), code: 'X', message: '' };
  const brought = { file: 'inbox/www.pem', takenAt: new Date(NOW.getTime() - DAY + 1).toISOString(), issuer: 'CN=CA' };

  async function looks(record: CertificateRecord, entry: TargetDomain, isTurn: Observers['isTurn'] = () => false) {
    let looked = 0;
    const observers: Observers = {
      account: new Map([[DOMAIN, entry]]),
      target: {
        type: 'cdn',
        list: async () => [entry],
        current: async () => ({ name: 'by-hand', type: 'upload', pem: another.leaf }),
        deploy: () => Promise.reject(new Error('nothing is deployed here')),
      },
      edges: {
        read: async () => {
          looked += 1;
          return [reading('a', inPlace)];
        },
      },
      isTurn,
      renewalAdvice: async () => undefined,
      deps: manualDeps({ now: NOW }),
    };
    const { domains } = await observe(spec, record, observers);
    return { looked, served: domains[0]?.served?.length, configured: domains[0]?.configured?.fingerprint };
  }

  test('are not read, which is told apart from edges that do not answer', async () => {
    expect(await looks(well, listed)).toEqual({ looked: 0, served: undefined, configured: inPlace.fingerprint });
  });

  test('are read when it is, which the domain and its certificate decide', async () => {
    const asked: string[][] = [];
    const isTurn = (...words: string[]) => asked.push(words) > 0;
    expect(await looks(well, listed, isTurn)).toMatchObject({ looked: 1, served: 1 });
    expect(asked).toEqual([[DOMAIN, 'www']]);
  });

  test.each<[string, CertificateRecord, TargetDomain]>([
    ['no certificate is stored', emptyRecord('www'), listed],
    ['a failure is not over', { ...well, failures }, listed],
    [
      'the certificate is not a day old',
      { ...well, certificate: { ...old, notBefore: new Date(NOW.getTime() - DAY + 1).toISOString() } },
      listed,
    ],
    ['it was brought within the last day', { ...well, brought }, listed],
    [
      'the list shows another name',
      well,
      { ...listed, certificate: { name: 'by-hand', type: 'upload', expireTime: '2026-04-10 07:08:09' } },
    ],
    [
      'the list shows another end',
      well,
      { ...listed, certificate: { name: 'ours', type: 'upload', expireTime: '2026-04-11 00:00:00' } },
    ],
  ])('are read all the same when %s', async (_, record, entry) => {
    expect(await looks(record, entry)).toMatchObject({ looked: 1, served: 1 });
  });

  test.each<[string, CertificateRecord]>([
    [
      'the certificate is a day old',
      { ...well, certificate: { ...old, notBefore: new Date(NOW.getTime() - DAY).toISOString() } },
    ],
    [
      'it was brought a day ago',
      { ...well, brought: { ...brought, takenAt: new Date(NOW.getTime() - DAY).toISOString() } },
    ],
  ])('are not read any more when %s', async (_, record) => {
    expect(await looks(record, listed)).toMatchObject({ looked: 0 });
  });
});

test.each([
  ['half an hour less a second', '2026-01-31T23:30:01Z', 0],
  ['half an hour', '2026-01-31T23:30:00Z', 1],
])('a certificate that is %s old has been asked about this often', async (_, notBefore, questions) => {
  let asked = 0;
  const record: CertificateRecord = {
    ...emptyRecord('www'),
    certificate: {
      fingerprint: inPlace.fingerprint,
      serial: '01',
      identifiers: [DOMAIN],
      keyType: 'ec256',
      directoryUrl: 'https://ca.example/dir',
      notBefore,
      notAfter: '2026-04-10T07:08:09Z',
      certId: 'aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE',
    },
  };
  const renewalAdvice = async () => {
    asked += 1;
    return undefined;
  };
  await withAdvice(record, { renewalAdvice, deps: manualDeps({ now: NOW }) });
  expect(asked).toBe(questions);
});
