import type { Secret } from './secret.ts';

/** A product that serves certificates. */
export interface Target {
  readonly type: 'cdn';
  /** What the product's API says about every domain of the account. Called once a run. */
  list(): Promise<TargetDomain[]>;
  /** The certificate that the API says is bound to one domain, or undefined when there is none. */
  current(domain: string): Promise<ConfiguredCertificate | undefined>;
  /** Binds the certificate to one domain, replacing what is there. Throws AutocertError. */
  deploy(domain: string, certificate: DeployableCertificate): Promise<Deployed>;
}

/** One domain of the account, from the product's lists alone: no call per domain. */
export interface TargetDomain {
  /** As a DNS name: the API's `.example.com` is `*.example.com` here. Lower case, A-labels. */
  readonly domain: string;
  /** The API's DomainStatus: online, offline, configuring, ... */
  readonly status: string;
  readonly https: boolean;
  /** The name that the product's edges answer under, when the API gives one. */
  readonly cname?: string;
  readonly certificate?: {
    readonly name: string;
    /** upload, cas or free. */
    readonly type: string;
    /** As the API writes it: its zone is not documented, so only its distance to a known instant in whole hours is meaningful. */
    readonly expireTime: string;
  };
}

export interface ConfiguredCertificate {
  readonly name: string;
  readonly type: string;
  /** The public certificate that the API returns, PEM. */
  readonly pem: string;
}

export interface DeployableCertificate {
  /** PEM, leaf first, no root, LF, no blank lines. */
  readonly chain: string;
  /** PEM: PKCS#1 for RSA, SEC1 for EC. */
  readonly privateKey: Secret;
  /** SHA-256 of the leaf, lower-case hex. */
  readonly fingerprint: string;
}

export interface Deployed {
  /** The API's action that did it. */
  readonly api: string;
  readonly certName: string;
  readonly requestId: string;
}
