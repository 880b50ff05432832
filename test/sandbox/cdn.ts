/**
 * A double of Alibaba Cloud CDN, API version 2018-05-10: accelerated domains, certificates stored by name, and the calls
 * that set and read them. Written from https://www.alibabacloud.com/help/en/cdn/developer-reference/api-cdn-2018-05-10
 * and the page of SetDomainServerCertificate, https://www.alibabacloud.com/help/en/cdn/api-setdomainservercertificate.
 */
import { describeActions } from './cdn-describe.ts';
import { setActions } from './cdn-set.ts';
import {
  type CdnCertificate,
  type CdnDomain,
  type CdnState,
  fingerprint,
  newDomain,
  type Served,
  storeCertificate,
} from './cdn-state.ts';
import type { Product } from './product.ts';

export interface Cdn extends Product {
  readonly state: CdnState;
  /** Changes a domain by hand, or adds it; listeners are told. */
  set(domainName: string, change?: Partial<Omit<CdnDomain, 'domainName'>>): CdnDomain;
  /** Stores a certificate as the console would, unchecked, and binds it to the domain, whose HTTPS goes on. */
  purchase(domainName: string, certificate: PurchasedCertificate): CdnCertificate;
  /** What the edges are to serve for a domain; undefined while HTTPS is off. */
  served(domainName: string): Served | undefined;
  /** Calls `listener` with every domain whose certificate may have changed. Returns what removes it. */
  onChange(listener: (domainName: string) => void): () => void;
}

export interface PurchasedCertificate {
  readonly chain: string;
  readonly privateKey: string;
  /** Default: cas, one bought from SSL Certificates Service. */
  readonly certType?: CdnCertificate['certType'];
  /** Default: `cert-` and the id. */
  readonly certName?: string;
}

export interface CdnOptions {
  /** Names, or domains with what differs from the defaults. */
  readonly domains?: readonly (string | (Partial<CdnDomain> & { readonly domainName: string }))[];
  /** The clock of certificates and of `configuring`. Default: the gateway's. */
  readonly now?: () => Date;
  /** Default: 0. */
  readonly configuringMilliseconds?: number;
  /** Default: false, as users who upload one certificate for many domains report. */
  readonly refuseDuplicateContent?: boolean;
}

export function createCdn(options: CdnOptions = {}): Cdn {
  const state: CdnState = {
    domains: new Map(),
    certificates: new Map(),
    suspended: false,
    configuringMilliseconds: options.configuringMilliseconds ?? 0,
    refuseDuplicateContent: options.refuseDuplicateContent ?? false,
  };
  const listeners = new Set<(domainName: string) => void>();
  const clock = options.now;
  const now = clock ?? (() => new Date());

  function changed(domainName: string): void {
    for (const listener of listeners) listener(domainName);
  }

  function set(domainName: string, change: Partial<Omit<CdnDomain, 'domainName'>> = {}): CdnDomain {
    const domain = state.domains.get(domainName) ?? newDomain(domainName, now());
    Object.assign(domain, change);
    state.domains.set(domainName, domain);
    changed(domainName);
    return domain;
  }

  for (const domain of options.domains ?? []) {
    if (typeof domain === 'string') set(domain);
    else set(domain.domainName, domain);
  }

  return {
    name: 'cdn',
    version: '2018-05-10',
    actions: { ...setActions(state, changed, clock), ...describeActions(state, clock) },
    state,
    set,
    purchase: (domainName, { chain, privateKey, certType = 'cas', certName }) => {
      const stored = storeCertificate(state, {
        certName,
        certType,
        certRegion: 'cn-hangzhou',
        certificate: chain,
        privateKey,
        updated: now(),
      });
      set(domainName, { certName: stored.certName, sslProtocol: 'on' });
      return stored;
    },
    served: (domainName) => {
      const domain = state.domains.get(domainName);
      const certificate = state.certificates.get(domain?.certName ?? '');
      if (domain?.sslProtocol !== 'on' || domain.status === 'offline' || certificate === undefined) return undefined;
      return {
        certificate: certificate.certificate,
        privateKey: certificate.privateKey,
        fingerprint: fingerprint(certificate.certificate),
      };
    },
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
