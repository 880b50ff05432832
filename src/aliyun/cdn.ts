import { createHash, X509Certificate } from 'node:crypto';
import * as v from 'valibot';
import type { Deps } from '../deps.ts';
import { createCallLimiter } from '../ratelimit.ts';
import type { Pace } from '../retry.ts';
import type { Secret } from '../secret.ts';
import { digits, keptText, list, readAnswer } from './answer.ts';
import { certName } from './certname.ts';
import { AliyunError, hasApiCode } from './errors.ts';
import { allPages } from './pages.ts';
import type { Rpc, RpcCall } from './rpc.ts';

export type CdnCertificateApi = 'SetDomainServerCertificate' | 'SetCdnDomainSSLCertificate';

export interface CdnOptions {
  readonly rpc: Rpc;
  /** `https://cdn.aliyuncs.com` */
  readonly endpoint: string;
  readonly api: 'auto' | CdnCertificateApi;
  /** Of the certificate writes. Documented: 10 for SetDomainServerCertificate, 30 for SetCdnDomainSSLCertificate. */
  readonly callsPerSecond: number;
  /** The part of all rates that is this run's: several may share the account. Default: all. */
  readonly share?: number;
  readonly deps: Deps;
}

export interface CdnCertificate {
  /** As CDN writes it: a wildcard is `.example.com`. */
  readonly domainName: string;
  /** The name for SetDomainServerCertificate; the other action takes one that no other certificate has. */
  readonly certName: string;
  /** PEM, leaf first. */
  readonly chain: string;
  readonly privateKey: Secret;
  /** SHA-256 of the leaf, lower-case hex. */
  readonly fingerprint: string;
}

export interface SetCertificateResult {
  readonly api: CdnCertificateApi;
  readonly certName: string;
  readonly requestId: string;
}

/** The actions of CDN 2018-05-10 that are in use. Field names are the API's. */
export interface Cdn {
  describeUserDomains(): Promise<UserDomain[]>;
  describeCdnHttpsDomainList(): Promise<HttpsDomain[]>;
  /** Undefined when the API knows no certificate for the domain. */
  describeDomainCertificateInfo(domainName: string): Promise<DomainCertificateInfo | undefined>;
  /**
   * Binds the certificate to one domain. An attempt whose outcome is unknown is read back by fingerprint before it is
   * made again. With `auto`, SetDomainServerCertificate until the API says that it is gone, then
   * SetCdnDomainSSLCertificate for the rest of the run.
   */
  setCertificate(certificate: CdnCertificate): Promise<SetCertificateResult>;
}

const VERSION = '2018-05-10';
/** Calls a second; documented: 100 for each of the reads, 30 for the list of certificates. Half is left to others. */
const READS_PER_SECOND = 50;
const CERTIFICATE_LISTS_PER_SECOND = 15;
/** Entries of a page. Documented as the most of DescribeUserDomains, and of DCDN's twin of DescribeCdnHttpsDomainList. */
const LARGE_PAGE = '500';
/** For the case that DescribeCdnHttpsDomainList, whose page names no bound, takes no such number. */
const SMALL_PAGE = '100';

const userDomain = v.object({
  DomainName: keptText,
  DomainStatus: keptText,
  SslProtocol: v.optional(keptText, 'off'),
  Cname: v.optional(keptText, ''),
  CdnType: v.optional(keptText, ''),
});
export type UserDomain = v.InferOutput<typeof userDomain>;

const httpsDomain = v.object({
  DomainName: keptText,
  CertName: v.optional(keptText, ''),
  CertType: v.optional(keptText, ''),
  CertExpireTime: v.optional(keptText, ''),
});
export type HttpsDomain = v.InferOutput<typeof httpsDomain>;

const domainCertificateInfo = v.object({
  CertName: v.optional(v.string(), ''),
  CertType: v.optional(v.string(), ''),
  ServerCertificate: v.optional(v.string(), ''),
  ServerCertificateStatus: v.optional(v.string(), ''),
});
export type DomainCertificateInfo = v.InferOutput<typeof domainCertificateInfo>;

const listedCertificate = v.object({
  CertId: digits,
  CertName: v.optional(v.string(), ''),
  CertRegion: v.optional(v.string()),
  Fingerprint: v.optional(v.string(), ''),
});
type ListedCertificate = v.InferOutput<typeof listedCertificate>;

const count = v.pipe(digits, v.transform(Number), v.integer(), v.minValue(0));

export function createCdn({ rpc, endpoint, api, callsPerSecond, share = 1, deps }: CdnOptions): Cdn {
  const writes = createCallLimiter({ callsPerSecond: callsPerSecond * share, deps });
  const reads = createCallLimiter({ callsPerSecond: READS_PER_SECOND * share, deps });
  const certificateLists = createCallLimiter({ callsPerSecond: CERTIFICATE_LISTS_PER_SECOND * share, deps });
  let current: CdnCertificateApi = api === 'auto' ? 'SetDomainServerCertificate' : api;

  function call(action: string, parameters: RpcCall['parameters'] = {}, how: Partial<RpcCall> = {}) {
    return rpc.call({ endpoint, version: VERSION, action, parameters, limiter: reads, ...how });
  }

  async function readCertificateInfo(domainName: string, policy: Partial<Pace> = {}) {
    const action = 'DescribeDomainCertificateInfo';
    const answer = await call(action, { DomainName: domainName }, { policy });
    const schema = v.object({ CertInfos: list('CertInfo', domainCertificateInfo) });
    return { answer, info: readAnswer(schema, answer, action).CertInfos[0] };
  }

  /** Stands in for the write's answer, if the domain has this very certificate by now. */
  async function readBack({ domainName, fingerprint }: CdnCertificate): Promise<Record<string, unknown> | undefined> {
    const { answer, info } = await readCertificateInfo(domainName, { attempts: 2 });
    return info?.ServerCertificateStatus === 'on' && fingerprintOf(info.ServerCertificate) === fingerprint
      ? answer
      : undefined;
  }

  async function setDomainServerCertificate(certificate: CdnCertificate): Promise<SetCertificateResult> {
    const action = 'SetDomainServerCertificate';
    const answer = await call(
      action,
      {
        DomainName: certificate.domainName,
        CertName: certificate.certName,
        CertType: 'upload',
        ServerCertificateStatus: 'on',
        ServerCertificate: certificate.chain,
        PrivateKey: certificate.privateKey,
        ForceSet: '1',
      },
      { limiter: writes, readBack: () => readBack(certificate) },
    );
    return { api: action, certName: certificate.certName, requestId: String(answer['RequestId']) };
  }

  /** No ForceSet here: each certificate has a name of its own, and one that is there already is bound by its CertId. */
  async function setCdnDomainSSLCertificate(certificate: CdnCertificate): Promise<SetCertificateResult> {
    const action = 'SetCdnDomainSSLCertificate';
    const name = certName(certificate.domainName, certificate.fingerprint.slice(0, 12));
    const how = { limiter: writes, readBack: () => readBack(certificate) };
    const common = { DomainName: certificate.domainName, SSLProtocol: 'on' };
    try {
      const upload = { CertName: name, CertType: 'upload', SSLPub: certificate.chain, SSLPri: certificate.privateKey };
      const answer = await call(action, { ...common, ...upload }, how);
      return { api: action, certName: name, requestId: String(answer['RequestId']) };
    } catch (error) {
      if (!hasApiCode(error, 'CertNameAlreadyExists', 'CertificateContent.Duplicated', 'Certificate.Duplicated'))
        throw error;
      const uploaded = await findUploaded(certificate, name);
      if (!uploaded) throw error;
      const { CertId, CertName, CertRegion = regionOf(endpoint) } = uploaded;
      const answer = await call(action, { ...common, CertType: 'cas', CertId, CertName, CertRegion }, how);
      return { api: action, certName: CertName, requestId: String(answer['RequestId']) };
    }
  }

  async function findUploaded(certificate: CdnCertificate, name: string): Promise<ListedCertificate | undefined> {
    const action = 'DescribeCdnSSLCertificateList';
    const schema = v.object({
      CertificateListModel: v.object({ Count: count, CertList: list('Cert', listedCertificate) }),
    });
    const all = await allPages(
      action,
      (entry: ListedCertificate) => `${entry.CertId} ${entry.CertRegion}`,
      async (PageNumber) => {
        const parameters = { DomainName: certificate.domainName, PageNumber, PageSize: '1000' };
        const answer = await call(action, parameters, { limiter: certificateLists });
        const { Count, CertList } = readAnswer(schema, answer, action).CertificateListModel;
        return { total: Count, items: CertList };
      },
    );
    const prints = fingerprintsOf(certificate.chain);
    return (
      all.find((entry) => entry.CertName === name) ??
      all.find((entry) => prints.has(entry.Fingerprint.replaceAll(':', '').toLowerCase()))
    );
  }

  function httpsDomains(PageSize: string): Promise<HttpsDomain[]> {
    const action = 'DescribeCdnHttpsDomainList';
    const schema = v.object({ TotalCount: count, CertInfos: list('CertInfo', httpsDomain) });
    return allPages(
      action,
      (domain: HttpsDomain) => domain.DomainName,
      async (PageNumber) => {
        const { TotalCount, CertInfos } = readAnswer(schema, await call(action, { PageNumber, PageSize }), action);
        return { total: TotalCount, items: CertInfos };
      },
    );
  }

  return {
    describeUserDomains() {
      const action = 'DescribeUserDomains';
      const schema = v.object({ TotalCount: count, Domains: list('PageData', userDomain) });
      return allPages(
        action,
        (domain: UserDomain) => domain.DomainName,
        async (PageNumber) => {
          const { TotalCount, Domains } = readAnswer(
            schema,
            await call(action, { PageNumber, PageSize: LARGE_PAGE }),
            action,
          );
          return { total: TotalCount, items: Domains };
        },
      );
    },

    async describeCdnHttpsDomainList() {
      try {
        return await httpsDomains(LARGE_PAGE);
      } catch (error) {
        if (!(error instanceof AliyunError) || !/^InvalidPa(rameter|geSize)/.test(error.apiCode ?? '')) throw error;
        deps.log.warn('page_size_refused', { action: error.action, pageSize: LARGE_PAGE, apiCode: error.apiCode });
        return httpsDomains(SMALL_PAGE);
      }
    },

    async describeDomainCertificateInfo(domainName) {
      return (await readCertificateInfo(domainName)).info;
    },

    async setCertificate(certificate) {
      if (current === 'SetDomainServerCertificate') {
        try {
          return await setDomainServerCertificate(certificate);
        } catch (error) {
          if (api !== 'auto' || !(error instanceof AliyunError) || error.code !== 'API_GONE') throw error;
          current = 'SetCdnDomainSSLCertificate';
          deps.log.warn('cdn_api_gone', { action: error.action, apiCode: error.apiCode, instead: current });
        }
      }
      return setCdnDomainSSLCertificate(certificate);
    },
  };
}

/** The certificates of the international site are in ap-southeast-1, all others in cn-hangzhou. */
function regionOf(endpoint: string): string {
  return endpoint.includes('ap-southeast-1') ? 'ap-southeast-1' : 'cn-hangzhou';
}

/** SHA-256 of the first certificate of a PEM text, lower-case hex; undefined when there is none. */
function fingerprintOf(pem: string): string | undefined {
  try {
    return new X509Certificate(pem).fingerprint256.replaceAll(':', '').toLowerCase();
  } catch {
    return undefined;
  }
}

/** The API's `Fingerprint` is documented without its algorithm. */
function fingerprintsOf(pem: string): Set<string> {
  const { raw } = new X509Certificate(pem);
  return new Set(['sha256', 'sha1', 'md5'].map((algorithm) => createHash(algorithm).update(raw).digest('hex')));
}
