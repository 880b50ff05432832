/**
 * The two calls that put a certificate on a domain: SetDomainServerCertificate (10 calls a second, deprecated, knows
 * ForceSet) and SetCdnDomainSSLCertificate (30 a second, no ForceSet). Codes and messages are those of their pages.
 */
import type { X509Certificate } from 'node:crypto';
import { checkCertificate, checkCertificateName } from './cdn-certificate.ts';
import {
  type CdnCertificate,
  type CdnDomain,
  type CdnState,
  fingerprint,
  statusAt,
  storeCertificate,
} from './cdn-state.ts';
import { type Action, ApiError, required } from './product.ts';

type Parameters = Readonly<Record<string, string>>;

export function setActions(
  state: CdnState,
  changed: (domainName: string) => void,
  clock: (() => Date) | undefined,
): Record<string, Action> {
  /** Binds, switches HTTPS on, and tells every domain that uses the name: an overwritten certificate reaches them all. */
  function bind(domain: CdnDomain, certificate: CdnCertificate, now: Date): void {
    domain.certName = certificate.certName;
    domain.sslProtocol = 'on';
    applied(domain, now);
    for (const other of state.domains.values()) {
      if (other.certName === certificate.certName) changed(other.domainName);
    }
  }

  function switchOff(domain: CdnDomain, now: Date): void {
    domain.sslProtocol = 'off';
    applied(domain, now);
    changed(domain.domainName);
  }

  function applied(domain: CdnDomain, now: Date): void {
    domain.gmtModified = now;
    domain.configuringUntil = new Date(now.getTime() + state.configuringMilliseconds);
  }

  return {
    SetDomainServerCertificate: {
      callsPerSecond: 10,
      handle: (parameters, serverNow) => {
        const now = clock?.() ?? serverNow;
        const domainName = required(parameters, 'DomainName');
        const status = required(parameters, 'ServerCertificateStatus');
        if (status !== 'on' && status !== 'off') {
          throw new ApiError(
            400,
            'InvalidServerCertificateStatus.ValueNotSupported',
            'The specified value of parameter Enable is not supported.',
          );
        }
        const domain = writableDomain(state, domainName, now);
        // The Chinese page: domains of live streaming may not use this call.
        if (domain.cdnType === 'liveStream') throw illegalOperation();
        if (status === 'off') switchOff(domain, now);
        else bind(domain, serverCertificate(state, parameters, now), now);
        return {};
      },
    },
    SetCdnDomainSSLCertificate: {
      callsPerSecond: 30,
      handle: (parameters, serverNow) => {
        const now = clock?.() ?? serverNow;
        const domainName = required(parameters, 'DomainName');
        const protocol = required(parameters, 'SSLProtocol');
        if (protocol !== 'on' && protocol !== 'off') {
          throw new ApiError(
            400,
            'InvalidSSLProtocol.ValueNotSupported',
            'The specified value of parameter SSLProtocol is not supported.',
          );
        }
        const env = parameters['Env'] ?? '';
        if (env !== '' && env !== 'staging') throw new ApiError(400, 'InvalidEnv', 'The specified Env is invalid.');
        const domain = writableDomain(state, domainName, now);
        if (protocol === 'off') switchOff(domain, now);
        else {
          const certificate = sslCertificate(state, parameters, now);
          // A grey release reaches no edge of production.
          if (env === '') bind(domain, certificate, now);
        }
        return {};
      },
    },
  };
}

/** The domain, if a certificate may be set on it now. */
function writableDomain(state: CdnState, domainName: string, now: Date): CdnDomain {
  if (state.suspended) throw new ApiError(403, 'OperationDenied', 'Your CDN service is suspended.');
  const domain = state.domains.get(domainName);
  if (domain === undefined) {
    throw new ApiError(404, 'InvalidDomain.NotFound', 'The domain provided does not belong to you.');
  }
  switch (statusAt(domain, now)) {
    case 'online':
      break;
    case 'configuring':
      throw new ApiError(403, 'ServiceBusy', 'The specified Domain is configuring, please retry later.');
    case 'offline':
      throw new ApiError(400, 'InvalidDomain.Offline', 'The domain provided is offline.');
    case 'configure_failed':
      throw new ApiError(400, 'InvalidDomain.Configure_failed', 'Failed to configure the domain provided.');
    default:
      throw illegalOperation();
  }
  if (!domain.httpsRequests) throw illegalOperation();
  return domain;
}

function serverCertificate(state: CdnState, parameters: Parameters, now: Date): CdnCertificate {
  const certName = parameters['CertName'] || undefined;
  const certType = parameters['CertType'] || 'upload';
  checkCertificateName(certName);
  if (certType === 'cas' || certType === 'free')
    return storedCertificate(state, ({ certName: name }) => name === certName);
  if (certType !== 'upload') {
    throw new ApiError(400, 'SetDomainServerCertificate.ParameterError', 'Parameters have error.');
  }
  const certificate = content(parameters, 'ServerCertificate');
  const privateKey = content(parameters, 'PrivateKey');
  checkCertificate(certificate, privateKey, {
    malformedCertificate: 'InvalidCertificate',
    malformedKey: 'InvalidPrivateKey',
  });
  if (certName !== undefined && parameters['ForceSet'] !== '1' && state.certificates.has(certName)) {
    throw new ApiError(400, 'Certificate.Duplicated', 'The certificate name is duplicated.');
  }
  return storeCertificate(state, {
    certName,
    certType,
    certRegion: 'cn-hangzhou',
    certificate,
    privateKey,
    updated: now,
  });
}

function sslCertificate(state: CdnState, parameters: Parameters, now: Date): CdnCertificate {
  const certName = parameters['CertName'] || undefined;
  const certType = parameters['CertType'] || 'upload';
  checkCertificateName(certName);
  if (certType === 'cas') return casCertificate(state, parameters);
  if (certType !== 'upload') {
    throw new ApiError(400, 'SetDomainCertificate.ParameterError', 'Parameters have error.');
  }
  const certificate = content(parameters, 'SSLPub');
  const privateKey = content(parameters, 'SSLPri');
  const leaf = checkCertificate(certificate, privateKey, {
    malformedCertificate: 'InvalidSSLPub',
    malformedKey: 'InvalidSSLPri',
  });
  if (isExpired(leaf, now)) throw new ApiError(400, 'Certificate.Expired', 'The certificate has expired.');
  if (certName !== undefined && state.certificates.has(certName)) {
    throw new ApiError(400, 'CertNameAlreadyExists', 'The certificate name already exists.');
  }
  const existing = [...state.certificates.values()];
  if (
    state.refuseDuplicateContent &&
    existing.some((one) => fingerprint(one.certificate) === fingerprint(certificate))
  ) {
    throw new ApiError(400, 'CertificateContent.Duplicated', 'The certificate content is duplicated.');
  }
  return storeCertificate(state, {
    certName,
    certType,
    certRegion: 'cn-hangzhou',
    certificate,
    privateKey,
    updated: now,
  });
}

function casCertificate(state: CdnState, parameters: Parameters): CdnCertificate {
  const certId = parameters['CertId'];
  if (certId === undefined || certId === '') {
    throw new ApiError(404, 'CertName.MissingParameter', 'An input parameter CertName is not supplied.');
  }
  const region = parameters['CertRegion'] || 'cn-hangzhou';
  if (region !== 'cn-hangzhou' && region !== 'ap-southeast-1') {
    throw new ApiError(400, 'Abs.CertRegion.ValueNotSupported', 'The specified CertRegion is not supported.');
  }
  return storedCertificate(state, (one) => String(one.certId) === certId && one.certRegion === region);
}

function storedCertificate(state: CdnState, matches: (certificate: CdnCertificate) => boolean): CdnCertificate {
  const found = [...state.certificates.values()].find(matches);
  if (found === undefined) throw new ApiError(400, 'Certificate.NotFind', 'Not find the certificate info.');
  return found;
}

function content(parameters: Parameters, name: string): string {
  const value = parameters[name];
  if (value !== undefined && value !== '') return value;
  throw new ApiError(
    400,
    `${name}.MissingParameter`,
    `An input parameter ${name} that is mandatory for processing the request is not supplied.`,
  );
}

function isExpired(certificate: X509Certificate, now: Date): boolean {
  return Date.parse(certificate.validTo) <= now.getTime();
}

function illegalOperation(): ApiError {
  return new ApiError(403, 'IllegalOperation', 'Illegal domain operate is not permitted.');
}
