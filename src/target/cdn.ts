import { domainToASCII } from 'node:url';
import type { Cdn, UserDomain } from '../aliyun/cdn.ts';
import { certName } from '../aliyun/certname.ts';
import type { Target, TargetDomain } from '../deploy.ts';
import { AutocertError } from '../errors.ts';

export interface CdnTargetOptions {
  readonly cdn: Cdn;
}

/** What the two lists of an account say, joined. */
interface Account {
  readonly domains: readonly TargetDomain[];
  /** The domains of each CertName; a push of this run adds its own. */
  readonly namesInUse: Map<string, string[]>;
  readonly liveStreaming: ReadonlySet<string>;
}

/** Alibaba Cloud CDN as a Target. One per run: the account's lists are read once. */
export function createCdnTarget({ cdn }: CdnTargetOptions): Target {
  let reading: Promise<Account> | undefined;

  function account(): Promise<Account> {
    reading ??= readAccount(cdn).catch((error: unknown) => {
      reading = undefined;
      throw error;
    });
    return reading;
  }

  return {
    type: 'cdn',

    async list() {
      return [...(await account()).domains];
    },

    async current(domain) {
      const info = await cdn.describeDomainCertificateInfo(toDomainName(domain));
      if (info === undefined || info.ServerCertificateStatus !== 'on' || info.ServerCertificate === '')
        return undefined;
      return { name: info.CertName, type: info.CertType, pem: info.ServerCertificate };
    },

    async deploy(domain, certificate) {
      const { namesInUse, liveStreaming } = await account();
      if (liveStreaming.has(domain)) throw liveStreamingDomain(domain);
      const domainName = toDomainName(domain);
      const name = certName(domainName);
      // ForceSet=1 overwrites the certificate of that name wherever it is bound: one that stands on another domain is left alone.
      const users = namesInUse.get(name) ?? [];
      const free = users.every((user) => user === domain);
      if (free) namesInUse.set(name, [domain]);
      return cdn.setCertificate({
        domainName,
        certName: free ? name : certName(domainName, certificate.fingerprint.slice(0, 8)),
        chain: certificate.chain,
        privateKey: certificate.privateKey,
        fingerprint: certificate.fingerprint,
      });
    },
  };
}

async function readAccount(cdn: Cdn): Promise<Account> {
  const [userDomains, httpsDomains] = await Promise.all([cdn.describeUserDomains(), cdn.describeCdnHttpsDomainList()]);
  const namesInUse = new Map<string, string[]>();
  const certificates = new Map<string, TargetDomain['certificate']>();
  for (const { DomainName, CertName, CertType, CertExpireTime } of httpsDomains) {
    const domain = fromDomainName(DomainName);
    if (CertName === '') continue;
    const users = namesInUse.get(CertName);
    if (users) users.push(domain);
    else namesInUse.set(CertName, [domain]);
    certificates.set(domain, { name: CertName, type: CertType, expireTime: CertExpireTime });
  }
  return {
    domains: userDomains.map((entry) => toTargetDomain(entry, certificates)),
    namesInUse,
    liveStreaming: new Set(
      userDomains
        .filter((entry) => entry.CdnType.toLowerCase() === 'livestream')
        .map((entry) => fromDomainName(entry.DomainName)),
    ),
  };
}

function toTargetDomain(
  entry: UserDomain,
  certificates: ReadonlyMap<string, TargetDomain['certificate']>,
): TargetDomain {
  const domain = fromDomainName(entry.DomainName);
  const certificate = certificates.get(domain);
  return {
    domain,
    status: entry.DomainStatus,
    https: entry.SslProtocol === 'on',
    ...(entry.Cname !== '' && { cname: entry.Cname.toLowerCase().replace(/\.$/, '') }),
    ...(certificate && { certificate }),
  };
}

/** `.Example.com` as `*.example.com`; A-labels. */
function fromDomainName(domainName: string): string {
  const wildcard = domainName.startsWith('.') || domainName.startsWith('*.');
  const rest = domainName.replace(/^\*?\./, '');
  return `${wildcard ? '*.' : ''}${domainToASCII(rest) || rest.toLowerCase()}`;
}

/** `*.example.com` as `.example.com`, the way CDN writes wildcard domains. */
function toDomainName(domain: string): string {
  const rest = domain.replace(/^\*?\./, '');
  return `${rest === domain ? '' : '.'}${domainToASCII(rest) || rest.toLowerCase()}`;
}

function liveStreamingDomain(domain: string): AutocertError {
  return new AutocertError({
    code: 'DOMAIN_REFUSED',
    message: `${domain} is a live streaming domain: the CDN API takes no certificate for it`,
    retryable: false,
    remedy: `Set the certificate of ${domain} in ApsaraVideo Live, and take it out of this configuration.`,
  });
}
