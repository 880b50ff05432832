/**
 * The calls that read domains and certificates, with the fields and the date formats of their pages: `...Z` in
 * DescribeDomainCertificateInfo, a time without a zone in DescribeCdnHttpsDomainList, `... +0000 UTC` in
 * DescribeCertificateInfoByID.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { covers, issuerName, primaryName } from './cdn-certificate.ts';
import { type CdnCertificate, type CdnDomain, type CdnState, statusAt } from './cdn-state.ts';
import { type Action, ApiError, integer, required } from './product.ts';

type Parameters = Readonly<Record<string, string>>;

const DAY = 86_400_000;
const EXPIRES_SOON = 30 * DAY;

export function describeActions(state: CdnState, clock: (() => Date) | undefined): Record<string, Action> {
  const action = (callsPerSecond: number, read: (parameters: Parameters, now: Date) => object): Action => ({
    callsPerSecond,
    handle: (parameters, now) => read(parameters, clock?.() ?? now),
  });
  return {
    DescribeUserDomains: action(100, (parameters, now) => userDomains(state, parameters, now)),
    DescribeDomainCertificateInfo: action(100, (parameters) => domainCertificateInfo(state, parameters)),
    DescribeCdnHttpsDomainList: action(100, (parameters, now) => httpsDomainList(state, parameters, now)),
    DescribeCdnCertificateList: action(30, (parameters) => certificateList(state, parameters)),
    // No number of calls a second is documented for this one; it replaces the one above.
    DescribeCdnSSLCertificateList: action(30, (parameters) => sslCertificateList(state, parameters)),
    DescribeCdnCertificateDetail: action(20, (parameters) => certificateDetail(state, parameters)),
    DescribeCertificateInfoByID: action(100, (parameters) => certificateInfoById(state, parameters)),
    DescribeUserCertificateExpireCount: action(100, (_, now) => expireCount(state, now)),
  };
}

/** https://www.alibabacloud.com/help/en/cdn/developer-reference/api-cdn-2018-05-10-describeuserdomains */
function userDomains(state: CdnState, parameters: Parameters, now: Date): object {
  const PageSize = integer(parameters, 'PageSize', { minimum: 1, maximum: 500, otherwise: 20 });
  const PageNumber = pageNumber(parameters);
  const matches = domainNameFilter(parameters);
  const cdnTypes = (parameters['CdnType'] ?? '').split(',').filter((type) => type !== '');
  const coverage = parameters['Coverage'] ?? '';
  const wantedStatus = parameters['DomainStatus'] ?? '';
  const found = [...state.domains.values()].filter(
    (domain) =>
      matches(domain.domainName) &&
      (wantedStatus === '' || statusAt(domain, now) === wantedStatus) &&
      (cdnTypes.length === 0 || cdnTypes.includes(domain.cdnType)) &&
      (coverage === '' || domain.coverage === coverage),
  );
  return {
    PageNumber,
    PageSize,
    TotalCount: found.length,
    Domains: { PageData: page(found, PageNumber, PageSize).map((domain) => pageData(domain, now)) },
  };
}

function pageData(domain: CdnDomain, now: Date): object {
  return {
    DomainName: domain.domainName,
    DomainStatus: statusAt(domain, now),
    SslProtocol: domain.sslProtocol,
    Cname: domain.cname,
    CdnType: domain.cdnType,
    Coverage: domain.coverage,
    GmtCreated: iso(domain.gmtCreated),
    GmtModified: iso(domain.gmtModified),
    Description: '',
    ResourceGroupId: 'rg-acfmyuji4b6r4ty',
    Sandbox: 'normal',
    Sources: { Source: [{ Content: '192.0.2.1', Port: 80, Priority: '20', Type: 'ipaddr', Weight: '10' }] },
  };
}

function domainNameFilter(parameters: Parameters): (name: string) => boolean {
  const wanted = parameters['DomainName'] ?? '';
  if (wanted === '') return () => true;
  const mode = parameters['DomainSearchType'] || 'full_match';
  switch (mode) {
    case 'full_match':
      return (name) => wanted.split(',').includes(name);
    case 'fuzzy_match':
      return (name) => name.includes(wanted);
    case 'pre_match':
      return (name) => name.startsWith(wanted);
    case 'suf_match':
      return (name) => name.endsWith(wanted);
    default:
      throw new ApiError(400, 'InvalidParameter', 'The specified parameter "DomainSearchType" is not valid.');
  }
}

/** https://www.alibabacloud.com/help/en/cdn/api-describedomaincertificateinfo; no entry for a domain never given one. */
function domainCertificateInfo(state: CdnState, parameters: Parameters): object {
  const domain = state.domains.get(required(parameters, 'DomainName'));
  if (domain === undefined) {
    throw new ApiError(404, 'InvalidDomain.NotFound', 'The domain provided does not belong to you.');
  }
  const certificate = certificateOf(state, domain);
  if (certificate === undefined) return { CertInfos: { CertInfo: [] } };
  const leaf = new X509Certificate(certificate.certificate);
  const [start, end] = validity(leaf);
  const info = {
    DomainName: domain.domainName,
    CertName: certificate.certName,
    CertId: String(certificate.certId),
    CertDomainName: primaryName(leaf),
    CertOrg: issuerName(leaf),
    CertRegion: certificate.certRegion,
    CertType: certificate.certType,
    CertLife: `${Math.max(1, Math.round((end.getTime() - start.getTime()) / (30 * DAY)))} months`,
    CertStartTime: iso(start),
    CertExpireTime: iso(end),
    CertUpdateTime: iso(certificate.updated),
    ServerCertificate: certificate.certificate,
    ServerCertificateStatus: domain.sslProtocol,
    DomainCnameStatus: 'ok',
    Status: 'success',
  };
  return { CertInfos: { CertInfo: [info] } };
}

function httpsDomainList(state: CdnState, parameters: Parameters, now: Date): object {
  // No upper bound is on the page; 500 is that of the sibling call of DCDN.
  const size = integer(parameters, 'PageSize', { minimum: 1, maximum: 500, otherwise: 20 });
  const number = pageNumber(parameters);
  const keyword = parameters['Keyword'] ?? '';
  const found = [...state.domains.values()].flatMap((domain) => {
    const certificate = certificateOf(state, domain);
    if (certificate === undefined || domain.sslProtocol !== 'on') return [];
    const isWanted = domain.domainName.includes(keyword) || certificate.certName.includes(keyword);
    return isWanted ? [{ domain, certificate }] : [];
  });
  const infos = page(found, number, size).map(({ domain, certificate }) => {
    const leaf = new X509Certificate(certificate.certificate);
    const [start, end] = validity(leaf);
    return {
      DomainName: domain.domainName,
      CertName: certificate.certName,
      CertCommonName: primaryName(leaf),
      CertType: certificate.certType,
      CertStatus: certificateStatus(leaf, domain.domainName, now),
      CertStartTime: zoneless(start),
      CertExpireTime: zoneless(end),
      CertUpdateTime: zoneless(certificate.updated),
    };
  });
  return { TotalCount: found.length, CertInfos: { CertInfo: infos } };
}

function certificateStatus(leaf: X509Certificate, domainName: string, now: Date): string {
  const left = Date.parse(leaf.validTo) - now.getTime();
  if (left <= 0) return 'expired';
  if (!covers(leaf, domainName)) return 'mismatch';
  return left <= EXPIRES_SOON ? 'expire_soon' : 'ok';
}

/** DomainName is one name or a list with commas; a certificate counts when it covers one of them. */
function certificatesFor(state: CdnState, domainNames: string): CdnCertificate[] {
  const wanted = domainNames.split(',').filter((name) => name !== '');
  return [...state.certificates.values()].filter(
    ({ certificate }) => wanted.length === 0 || wanted.some((name) => covers(new X509Certificate(certificate), name)),
  );
}

function certificateList(state: CdnState, parameters: Parameters): object {
  const found = certificatesFor(state, parameters['DomainName'] ?? '');
  return { CertificateListModel: { Count: found.length, CertList: { Cert: found.map(listed) } } };
}

function sslCertificateList(state: CdnState, parameters: Parameters): object {
  const PageSize = integer(parameters, 'PageSize', { minimum: 1, maximum: 1000, otherwise: 20 });
  const PageNumber = pageNumber(parameters);
  const keyword = parameters['SearchKeyword'] ?? '';
  const found = certificatesFor(state, parameters['DomainName'] ?? '').filter(({ certName }) =>
    certName.includes(keyword),
  );
  const Cert = page(found, PageNumber, PageSize).map((one) => ({ ...listed(one), CertRegion: one.certRegion }));
  return { CertificateListModel: { Count: found.length, PageNumber, PageSize, CertList: { Cert } } };
}

function listed(certificate: CdnCertificate): object {
  const leaf = new X509Certificate(certificate.certificate);
  return {
    CertId: certificate.certId,
    CertName: certificate.certName,
    Common: primaryName(leaf),
    // The page's example has 40 digits: SHA-1.
    Fingerprint: createHash('sha1').update(leaf.raw).digest('hex'),
    Issuer: issuerName(leaf),
    // "Unit: milliseconds" says the page; its example, kept here, is in seconds.
    LastTime: Math.floor(certificate.updated.getTime() / 1000),
  };
}

function certificateDetail(state: CdnState, parameters: Parameters): object {
  const certificate = state.certificates.get(required(parameters, 'CertName'));
  if (certificate === undefined) throw notFound();
  return {
    CertName: certificate.certName,
    CertId: certificate.certId,
    Cert: certificate.certificate,
    // The examples show a short digest, never the key itself.
    Key: createHash('md5').update(certificate.privateKey).digest('hex'),
  };
}

/** A certificate that no domain with HTTPS on uses "does not exist". */
function certificateInfoById(state: CdnState, parameters: Parameters): object {
  const certId = required(parameters, 'CertId');
  const certificate = [...state.certificates.values()].find((one) => String(one.certId) === certId);
  const domains = [...state.domains.values()].filter(
    (domain) => domain.sslProtocol === 'on' && domain.certName === certificate?.certName,
  );
  if (certificate === undefined || domains.length === 0) throw notFound();
  const [start, end] = validity(new X509Certificate(certificate.certificate));
  const info = {
    CertId: certId,
    CertName: certificate.certName,
    CertType: certificate.certType,
    CreateTime: utc(start),
    CertExpireTime: utc(end),
    DomainList: JSON.stringify(domains.map(({ domainName }) => domainName)),
    HttpsCrt: certificate.certificate,
  };
  return { CertInfos: { CertInfo: [info] } };
}

function expireCount(state: CdnState, now: Date): object {
  const left = [...state.domains.values()].flatMap((domain) => {
    const certificate = certificateOf(state, domain);
    if (certificate === undefined || domain.sslProtocol !== 'on') return [];
    return [Date.parse(new X509Certificate(certificate.certificate).validTo) - now.getTime()];
  });
  return {
    ExpiredCount: left.filter((milliseconds) => milliseconds <= 0).length,
    ExpireWithin30DaysCount: left.filter((milliseconds) => milliseconds > 0 && milliseconds <= EXPIRES_SOON).length,
  };
}

function certificateOf(state: CdnState, domain: CdnDomain): CdnCertificate | undefined {
  return state.certificates.get(domain.certName ?? '');
}

function validity(leaf: X509Certificate): [Date, Date] {
  return [new Date(leaf.validFrom), new Date(leaf.validTo)];
}

function pageNumber(parameters: Parameters): number {
  return integer(parameters, 'PageNumber', { minimum: 1, maximum: 100_000, otherwise: 1 });
}

function page<T>(all: readonly T[], number: number, size: number): T[] {
  return all.slice((number - 1) * size, number * size);
}

/** `2018-06-03T22:03:39Z` */
function iso(date: Date): string {
  return date.toISOString().replace(/\.\d{3}Z$/, 'Z');
}

/** `2018-12-26 14:45:09`: no zone is documented; Beijing's, so that whoever takes it for UTC is wrong by 8 hours. */
function zoneless(date: Date): string {
  return new Date(date.getTime() + 8 * 3_600_000).toISOString().slice(0, 19).replace('T', ' ');
}

/** `2098-02-08 08:02:07 +0000 UTC` */
function utc(date: Date): string {
  return `${date.toISOString().slice(0, 19).replace('T', ' ')} +0000 UTC`;
}

function notFound(): ApiError {
  return new ApiError(400, 'Certificate.NotFind', 'Not find the certificate info.');
}
