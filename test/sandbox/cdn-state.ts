/** What the double of the CDN holds: domains, and certificates by name. */
import { createHash, X509Certificate } from 'node:crypto';

export type DomainStatus =
  | 'online'
  | 'offline'
  | 'configuring'
  | 'configure_failed'
  | 'checking'
  | 'check_failed'
  | 'stopping'
  | 'deleting';

export interface CdnDomain {
  /** A wildcard domain is written `.example.com`. */
  readonly domainName: string;
  /** Default: online. */
  status: DomainStatus;
  /** Until then the domain answers `ServiceBusy` and says `configuring`. */
  configuringUntil: Date | undefined;
  /** Whether HTTPS is switched on; setting a certificate does that. Default: off. */
  sslProtocol: 'on' | 'off';
  cname: string;
  /** Default: web. */
  cdnType: 'web' | 'download' | 'video' | 'liveStream';
  /** Default: global. */
  coverage: 'domestic' | 'global' | 'overseas';
  /**
   * Whether requests by HTTPS belong to what the domain accelerates. "The type of request supported by the domain name
   * must be HTTPS": without it a certificate is refused as `IllegalOperation`. Default: true.
   */
  httpsRequests: boolean;
  /** The name of the certificate it uses: another upload of that name changes what this domain serves. */
  certName: string | undefined;
  gmtCreated: Date;
  gmtModified: Date;
}

export interface CdnCertificate {
  readonly certName: string;
  readonly certId: number;
  readonly certType: 'upload' | 'cas' | 'free';
  readonly certRegion: 'cn-hangzhou' | 'ap-southeast-1';
  /** PEM, leaf first. */
  readonly certificate: string;
  readonly privateKey: string;
  readonly updated: Date;
}

export interface CdnState {
  readonly domains: Map<string, CdnDomain>;
  /** One account's certificates; the name is the key. */
  readonly certificates: Map<string, CdnCertificate>;
  /** A service stopped for overdue payment: what sets a certificate answers `OperationDenied`. */
  suspended: boolean;
  /** How long a domain is `configuring` after a set, on the product's clock. */
  configuringMilliseconds: number;
  /** Whether SetCdnDomainSSLCertificate refuses content stored under another name, `CertificateContent.Duplicated`. */
  refuseDuplicateContent: boolean;
}

/** What an edge can take up for a domain. */
export interface Served {
  readonly certificate: string;
  readonly privateKey: string;
  /** SHA-256 of the leaf, lower-case hexadecimal. */
  readonly fingerprint: string;
}

/** SHA-256 of a PEM chain's first certificate, lower-case hexadecimal. */
export function fingerprint(chain: string): string {
  return createHash('sha256').update(new X509Certificate(chain).raw).digest('hex');
}

const FIRST_CERT_ID = 9_002_448;

/** Stores under a name; one that exists keeps its id and loses everything else. */
export function storeCertificate(
  state: CdnState,
  certificate: Omit<CdnCertificate, 'certId' | 'certName'> & { readonly certName: string | undefined },
): CdnCertificate {
  const certId =
    state.certificates.get(certificate.certName ?? '')?.certId ??
    Math.max(FIRST_CERT_ID, ...[...state.certificates.values()].map((one) => one.certId)) + 1;
  const stored = { ...certificate, certId, certName: certificate.certName ?? `cert-${certId}` };
  state.certificates.set(stored.certName, stored);
  return stored;
}

/** The status the API tells: a domain that is still being configured says so. */
export function statusAt(domain: CdnDomain, now: Date): DomainStatus {
  return domain.configuringUntil !== undefined && domain.configuringUntil.getTime() > now.getTime()
    ? 'configuring'
    : domain.status;
}

export function newDomain(domainName: string, now: Date): CdnDomain {
  return {
    domainName,
    status: 'online',
    configuringUntil: undefined,
    sslProtocol: 'off',
    cname: `${domainName.startsWith('.') ? `all${domainName}` : domainName}.w.kunlunsl.com`,
    cdnType: 'web',
    coverage: 'global',
    httpsRequests: true,
    certName: undefined,
    gmtCreated: now,
    gmtModified: now,
  };
}
