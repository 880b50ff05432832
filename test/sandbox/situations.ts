/** The account of `npm run sandbox`: one domain for every state that a CDN domain's certificate can be in. */
import type { CertificateRecord } from '../../src/record.ts';
import { writeBundle, writeRecord } from '../../src/record.ts';
import { Secret } from '../../src/secret.ts';
import { createFileStore } from '../../src/store/file.ts';
import { makeCertificate, type TestCertificate } from './certificates.ts';
import type { World } from './world.ts';

export interface Situation {
  readonly domain: string;
  /** What the operator would say of it before the run. */
  readonly before: string;
  /** `action reason` of the decision, or why discovery leaves it alone. */
  readonly expected: string;
}

export const ZONES = ['example.com', 'shop.com.cn', 'acme.example.net', 'example.org'];

/** `example.org` is served by another DNS provider: this account cannot write there, and delegates the challenge. */
const FOREIGN_ZONE = 'example.org';

export const SITUATIONS: readonly Situation[] = [
  { domain: 'new.example.com', before: 'no certificate yet', expected: 'renew NotIssued' },
  { domain: 'five.example.com', before: '5 days left', expected: 'renew ExpiryImminent' },
  { domain: 'expired.example.com', before: 'expired 3 days ago', expected: 'renew ExpiryImminent' },
  { domain: 'healthy.example.com', before: 'healthy', expected: 'keep Current' },
  { domain: 'names.example.com', before: 'wrong names', expected: 'renew IdentifiersChanged' },
  { domain: '*.wild.example.com', before: 'wildcard and apex', expected: 'renew NotIssued' },
  { domain: 'wild.example.com', before: 'wildcard and apex', expected: 'renew NotIssued' },
  { domain: 'www.shop.com.cn', before: 'by hand, 2 days left', expected: 'renew NotIssued' },
  { domain: 'www.example.org', before: 'delegated by CNAME', expected: 'renew NotIssued' },
  { domain: 'undeployed.example.com', before: 'stored, never deployed', expected: 'deploy NotDeployed' },
  { domain: 'overwritten.example.com', before: 'overwritten by hand', expected: 'deploy NotDeployed' },
  { domain: 'halfway.example.com', before: 'edge-b is behind', expected: 'deploy NotServed' },
  { domain: 'off.example.com', before: 'HTTPS is off', expected: 'HTTPS is off' },
  { domain: 'offline.example.com', before: 'the domain is offline', expected: 'the domain is offline' },
  {
    domain: 'bought.example.com',
    before: 'purchased',
    expected: 'its certificate is of type cas, not uploaded',
  },
];

/** Issued yesterday, in a run of their own, by the same CA: then something happened to three of them. */
export const YESTERDAY = [
  'healthy.example.com',
  'undeployed.example.com',
  'overwritten.example.com',
  'halfway.example.com',
];

/** What the config names; all other domains are found by discovery. */
export const CERTIFICATES = [
  { name: 'new', identifiers: ['new.example.com'] },
  {
    name: 'names',
    identifiers: ['names.example.com', 'www.names.example.com'],
    targets: [{ type: 'cdn', domains: ['names.example.com'] }],
  },
  { name: 'wild', identifiers: ['*.wild.example.com', 'wild.example.com'] },
  { name: 'delegated', identifiers: ['www.example.org'] },
  { name: 'undeployed', identifiers: ['undeployed.example.com'] },
];

const DAY = 86_400_000;

/** The account as it was yesterday. */
export function build({ cdn, dns, alidns }: World, now: Date): void {
  alidns.setDomain(FOREIGN_ZONE, { owner: 'other' });
  dns.addRecord(FOREIGN_ZONE, {
    name: `_acme-challenge.www.${FOREIGN_ZONE}`,
    type: 'CNAME',
    value: 'www-example-org.acme.example.net',
  });
  for (const { domain } of SITUATIONS) cdn.set(toDomainName(domain));
  for (const domain of YESTERDAY.filter((one) => one !== 'undeployed.example.com')) {
    upload(cdn, domain, ending(domain, new Date(now.getTime() + DAY)));
  }
  cdn.set('offline.example.com', { status: 'offline' });
  upload(cdn, 'www.shop.com.cn', ending('www.shop.com.cn', new Date(now.getTime() + 2 * DAY)));
  cdn.purchase('bought.example.com', ending('bought.example.com', new Date(now.getTime() + 300 * DAY)));
}

/** What happened since. */
export async function disturb(world: World, directoryUrl: string, now: Date): Promise<void> {
  const { cdn, edges } = world;
  await remember(world, directoryUrl, 'five.example.com', ['five.example.com'], new Date(now.getTime() + 5 * DAY));
  await remember(
    world,
    directoryUrl,
    'expired.example.com',
    ['expired.example.com'],
    new Date(now.getTime() - 3 * DAY),
  );
  await remember(
    world,
    directoryUrl,
    'names.example.com',
    ['names.example.com'],
    new Date(now.getTime() + 80 * DAY),
    'names',
  );
  cdn.set('undeployed.example.com', { sslProtocol: 'off', certName: undefined });
  upload(cdn, 'overwritten.example.com', ending('overwritten.example.com', new Date(now.getTime() + 20 * DAY)));
  edges[1].override('halfway.example.com', ending('halfway.example.com', new Date(now.getTime() + DAY)));
  const stop = cdn.onChange((domain) => {
    if (domain !== 'halfway.example.com') return;
    edges[1].override(domain, undefined);
    stop();
  });
}

/** `*.example.com` as the CDN writes it. */
export function toDomainName(domain: string): string {
  return domain.replace(/^\*/, '');
}

function ending(domain: string, notAfter: Date): TestCertificate {
  return makeCertificate({
    names: [domain],
    notBefore: new Date(notAfter.getTime() - 90 * DAY),
    notAfter,
    keyType: 'rsa2048',
  });
}

function upload(cdn: World['cdn'], domain: string, certificate: TestCertificate, certName?: string): void {
  cdn.purchase(domain, { ...certificate, certType: 'upload', ...(certName !== undefined && { certName }) });
}

/** A certificate that an earlier version of this account issued, stored and deployed. */
async function remember(
  { cdn, storePath }: World,
  directoryUrl: string,
  domain: string,
  identifiers: string[],
  notAfter: Date,
  name = domain,
): Promise<void> {
  const certificate = ending(domain, notAfter);
  const certName = `autocert-cdn-${domain.replaceAll('.', '_')}`;
  upload(cdn, domain, certificate, certName);
  const store = createFileStore({ path: storePath });
  await writeBundle(store, name, certificate.fingerprint, {
    chain: certificate.chain,
    privateKey: new Secret(certificate.privateKey),
  });
  const record: CertificateRecord = {
    version: 1,
    name,
    certificate: {
      fingerprint: certificate.fingerprint,
      serial: certificate.serialNumber,
      identifiers,
      keyType: 'rsa2048',
      profile: 'default',
      directoryUrl,
      notBefore: new Date(notAfter.getTime() - 90 * DAY).toISOString(),
      notAfter: notAfter.toISOString(),
    },
    deployed: { [domain]: certName },
  };
  await writeRecord(store, record);
}
