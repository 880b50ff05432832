import { describe, expect, test } from 'vitest';
import { certificateFacts } from '../src/certificate.ts';
import { type DeployableCertificate, deploy, type Target } from '../src/deploy.ts';
import { AutocertError } from '../src/errors.ts';
import type { CertificateSpec } from '../src/inventory.ts';
import type { DomainObservation, Observation } from '../src/observe.ts';
import type { CertificateRecord, StoredCertificate } from '../src/record.ts';
import { Secret } from '../src/secret.ts';
import { makeCa, makeCertificate, type TestCertificate } from './sandbox/certificates.ts';

const NOW = new Date('2026-02-01T00:00:00Z');

const good = makeCertificate({
  names: ['www.example.com'],
  notBefore: new Date('2026-01-20T00:00:00Z'),
  notAfter: new Date('2026-04-20T00:00:00Z'),
});
const longer = makeCertificate({
  names: ['www.example.com'],
  notBefore: new Date('2026-01-01T00:00:00Z'),
  notAfter: new Date('2027-01-01T00:00:00Z'),
});
const ending = makeCertificate({
  names: ['www.example.com'],
  notBefore: new Date('2025-02-10T00:00:00Z'),
  notAfter: new Date('2026-05-10T00:00:00Z'),
});
const ended = makeCertificate({
  names: ['www.example.com'],
  notBefore: new Date('2025-01-01T00:00:00Z'),
  notAfter: new Date('2026-01-31T00:00:00Z'),
});
const otherName = makeCertificate({
  names: ['example.com'],
  notBefore: new Date('2026-01-20T00:00:00Z'),
  notAfter: new Date('2026-04-20T00:00:00Z'),
});
const staging = makeCertificate({
  names: ['www.example.com'],
  notBefore: new Date('2026-01-20T00:00:00Z'),
  notAfter: new Date('2026-04-20T00:00:00Z'),
  issuer: makeCa('(STAGING) Counterfeit Cashew'),
});

interface Situation {
  readonly push: TestCertificate;
  readonly inPlace?: TestCertificate;
  readonly inPlaceName?: string;
  readonly origin?: CertificateSpec['origin'];
  readonly forced?: boolean;
  readonly leaseLost?: boolean;
  /** What the store says is in force. */
  readonly stored?: TestCertificate;
}

function toStored({ chain, fingerprint }: TestCertificate): StoredCertificate {
  const { serial, identifiers, notBefore, notAfter } = certificateFacts(chain);
  const lasting = { notBefore: notBefore.toISOString(), notAfter: notAfter.toISOString() };
  const directoryUrl = 'https://acme.example/directory';
  return { fingerprint, serial, identifiers: [...identifiers], keyType: 'ec256', directoryUrl, ...lasting };
}

/** What was pushed, and what became of it. */
async function deployIn({
  push,
  inPlace,
  inPlaceName = 'by-hand',
  origin = 'configured',
  forced = false,
  leaseLost = false,
  stored,
}: Situation) {
  const pushed: string[] = [];
  const target: Target = {
    type: 'cdn',
    list: async () => [],
    current: async () => undefined,
    deploy: async (domain, { fingerprint }) => {
      pushed.push(`${domain} ${fingerprint}`);
      return { api: 'SetDomainServerCertificate', certName: 'autocert-cdn-www_example_com', requestId: 'request-1' };
    },
  };
  const domain: DomainObservation = {
    domain: 'www.example.com',
    status: 'online',
    https: true,
    cname: undefined,
    configured: inPlace && {
      fingerprint: inPlace.fingerprint,
      certName: inPlaceName,
      type: 'upload',
      facts: certificateFacts(inPlace.chain),
    },
    served: [],
  };
  const spec = {
    name: 'www',
    identifiers: ['www.example.com'],
    keyType: 'ec256',
    profile: undefined,
    domains: ['www.example.com'],
    origin,
  } as const;
  const record: CertificateRecord = {
    version: 1,
    name: 'www',
    deployed: { 'www.example.com': 'autocert-cdn-www_example_com' },
    ...(stored && { certificate: toStored(stored) }),
  };
  const observation: Observation = { spec, record, domains: [domain] };
  const certificate: DeployableCertificate = {
    chain: push.chain,
    privateKey: new Secret(push.privateKey),
    fingerprint: push.fingerprint,
  };
  const lost = new AutocertError({
    code: 'LEASE_LOST',
    message: 'another run took over',
    retryable: false,
    remedy: 'Nothing.',
  });
  const lease = { check: async () => (leaseLost ? Promise.reject(lost) : undefined) };
  const silent = { debug() {}, info() {}, warn() {}, error() {} };
  const deps = {
    now: () => NOW,
    random: () => 0,
    sleep: async () => {},
    deadline: new Date('2026-02-01T00:10:00Z'),
    log: silent,
  };
  const [deployment] = await deploy(observation, certificate, { target, lease, forced, deps });
  return {
    pushed: pushed.length,
    status: deployment?.status,
    code: deployment?.error?.code,
    reason: deployment?.reason,
  };
}

const REFUSED = { pushed: 0, status: 'failed', code: 'WORSE_CERTIFICATE', reason: undefined };
const DEPLOYED = { pushed: 1, status: 'deployed', code: undefined, reason: undefined };

describe('a push is refused', () => {
  test.each<[string, Situation]>([
    ['of a certificate that does not cover the domain', { push: otherName }],
    ['of one that does not cover it, also when forced', { push: otherName, forced: true }],
    ['of one that has ended', { push: ended }],
    ['of a staging certificate over a good one', { push: staging, inPlace: longer }],
  ])('%s', async (_, situation) => {
    expect(await deployIn(situation)).toEqual(REFUSED);
  });

  test('when the lease was lost before it', async () => {
    expect(await deployIn({ push: good, leaseLost: true })).toMatchObject({ pushed: 0, code: 'LEASE_LOST' });
  });
});

describe('a push goes out', () => {
  test.each<[string, Situation]>([
    ['where nothing is', { push: good }],
    ['over one that ends later, where the config names the domain', { push: good, inPlace: longer }],
    ['over one that is in its last third', { push: good, inPlace: ending, origin: 'discovered' }],
    ['over one that has ended', { push: good, inPlace: ended, origin: 'discovered' }],
    [
      'over one of our own that ends later',
      { push: good, inPlace: longer, inPlaceName: 'autocert-cdn-www_example_com', origin: 'discovered' },
    ],
    ['of a staging certificate where the one in place has ended', { push: staging, inPlace: ended }],
    ['of a staging certificate over a good one, when forced', { push: staging, inPlace: longer, forced: true }],
  ])('%s', async (_, situation) => {
    expect(await deployIn(situation)).toEqual(DEPLOYED);
  });
});

test('a good certificate from elsewhere on a discovered domain is left alone', async () => {
  expect(await deployIn({ push: good, inPlace: longer, origin: 'discovered' })).toEqual({
    pushed: 0,
    status: 'skipped',
    code: undefined,
    reason: 'a certificate from elsewhere is in place',
  });
});

describe('F51 over a later certificate of ours, which the store does not know of', () => {
  const later = makeCertificate({
    names: ['www.example.com'],
    notBefore: new Date('2026-01-25T00:00:00Z'),
    notAfter: new Date('2026-04-25T00:00:00Z'),
  });
  const behind: Situation = {
    push: good,
    stored: good,
    inPlace: later,
    inPlaceName: 'autocert-cdn-www_example_com',
  };

  test('the stored one is not pushed', async () => {
    const reason = 'a later certificate of ours is in place';
    expect(await deployIn(behind)).toEqual({ pushed: 0, status: 'skipped', code: undefined, reason });
  });

  test.each<[string, Partial<Situation>]>([
    ['it is, when that is forced by name', { forced: true }],
    ['it is, when the one in place has another name', { inPlaceName: 'by-hand' }],
    ['it is, when it is the later one itself', { push: later, stored: later, inPlace: good }],
  ])('%s', async (_, more) => {
    expect(await deployIn({ ...behind, ...more })).toEqual(DEPLOYED);
  });
});

test('what is in place already is not pushed again', async () => {
  expect(await deployIn({ push: good, inPlace: good })).toMatchObject({ pushed: 0, status: 'in-place' });
});
