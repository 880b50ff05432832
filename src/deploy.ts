import { type CertificateFacts, certificateFacts } from './certificate.ts';
import { deployable, isGood, isNewerThanStored, isStagingIssuer } from './decide.ts';
import type { Deps } from './deps.ts';
import { AutocertError, toAutocertError } from './errors.ts';
import { covers } from './identifier.ts';
import type { Lease } from './lease.ts';
import type { DomainObservation, Observation } from './observe.ts';
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

/** What became of one domain. */
export interface Deployment {
  readonly domain: string;
  readonly status: 'deployed' | 'in-place' | 'skipped' | 'failed';
  readonly api?: string;
  readonly certName?: string;
  readonly requestId?: string;
  /** Why it was skipped. */
  readonly reason?: string;
  readonly error?: AutocertError;
}

export interface DeployContext {
  readonly target: Target;
  readonly lease: Pick<Lease, 'check'>;
  /** The push was asked for by name: a worse certificate goes out too, if only it fits the domain. */
  readonly forced: boolean;
  /** Push it also to a domain that has it already. */
  readonly again?: boolean;
  readonly deps: Deps;
}

/**
 * Puts the certificate on every domain of the observation that does not have it, or on all of them. Every domain is tried; one that fails
 * is an entry of the answer and stops no other.
 */
export async function deploy(
  observation: Observation,
  certificate: DeployableCertificate,
  context: DeployContext,
): Promise<Deployment[]> {
  const able = new Set(deployable(observation, context.deps.now()));
  return Promise.all(
    observation.domains.map(async (domain): Promise<Deployment> => {
      if (!able.has(domain)) return notAble(domain);
      if (!context.again && hasIt(domain, certificate.fingerprint))
        return { domain: domain.domain, status: 'in-place' };
      if (!context.forced && isNewerThanStored(domain, observation, context.deps.now())) {
        return { domain: domain.domain, status: 'skipped', reason: 'a later certificate of ours is in place' };
      }
      try {
        await refuseWorse(domain, certificateFacts(certificate.chain), context);
        await context.lease.check();
        const deployed = await context.target.deploy(domain.domain, certificate);
        context.deps.log.info('deployed', { name: observation.spec.name, domain: domain.domain, ...deployed });
        return { domain: domain.domain, status: 'deployed', ...deployed };
      } catch (thrown) {
        const error = toAutocertError(thrown);
        context.deps.log.error('deploy_failed', { name: observation.spec.name, domain: domain.domain, error });
        return { domain: domain.domain, status: 'failed', error };
      }
    }),
  );
}

function hasIt({ configured, served = [] }: DomainObservation, fingerprint: string): boolean {
  return (
    configured?.fingerprint === fingerprint &&
    !served.some((edge) => edge.fingerprint && edge.fingerprint !== fingerprint)
  );
}

function notAble({ domain, status }: DomainObservation): Deployment {
  if (status === 'online' || status === 'configuring') {
    return { domain, status: 'skipped', reason: 'a certificate from elsewhere is in place' };
  }
  if (status !== 'absent') return { domain, status: 'skipped', reason: `the domain is ${status}` };
  return { domain, status: 'failed', error: domainNotFound(domain) };
}

export function domainNotFound(domain: string): AutocertError {
  return new AutocertError({
    code: 'DOMAIN_NOT_FOUND',
    message: `${domain} is not a CDN domain of this account.`,
    retryable: false,
    remedy: `Add ${domain} to the CDN, or take it out of the certificate's targets.`,
  });
}

/**
 * Never worse: what would not cover the domain, or has ended, is never pushed; what comes from a staging CA replaces a
 * good certificate only when that is forced by name. That one from elsewhere which lasts longer stays where discovery
 * found it is decided by `deployable`. Throws WORSE_CERTIFICATE.
 */
async function refuseWorse(
  { domain, configured }: DomainObservation,
  next: CertificateFacts,
  { forced, target, deps }: DeployContext,
): Promise<void> {
  if (!covers(next.identifiers, domain)) throw worse(domain, 'does not cover it');
  if (next.notAfter <= deps.now()) throw worse(domain, 'has ended');
  if (forced || !configured || !isStagingIssuer(next.issuer)) return;
  // Nobody has looked at the one in place yet where the account's list agreed with the record.
  const facts = configured.facts ?? (await factsInPlace(domain, target));
  if (facts && isGood(facts, domain, deps.now())) {
    throw worse(domain, 'is from a staging CA, and a good one is in place');
  }
}

async function factsInPlace(domain: string, target: Target): Promise<CertificateFacts | undefined> {
  const current = await target.current(domain);
  return current && certificateFacts(current.pem);
}

function worse(domain: string, why: string): AutocertError {
  return new AutocertError({
    code: 'WORSE_CERTIFICATE',
    message: `The certificate was not put on ${domain}: it ${why}.`,
    retryable: false,
    remedy: `Leave it, or run with {"only": ["${domain}"], "force": true} to push it all the same.`,
  });
}
