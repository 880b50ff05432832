/** The CDN in the process: what is bound to each domain, and an edge that serves it, now and then only after a while. */
import { certificateFacts } from '../../../src/certificate.ts';
import type { Target, TargetDomain } from '../../../src/deploy.ts';
import { AutocertError } from '../../../src/errors.ts';
import type { Edges } from '../../../src/verify.ts';

export interface SimulatedCdn {
  readonly target: Target;
  readonly edges: Edges;
  /** When what the domain's clients get ends, in milliseconds; 0 for a domain that never had a certificate. */
  servedUntil(domain: string): number;
}

export interface SimulatedCdnOptions {
  readonly domains: readonly string[];
  now(): number;
  isDown(): boolean;
  /** Milliseconds that a push takes to reach the edge. */
  lag(domain: string): number;
}

interface Bound {
  readonly name: string;
  readonly pem: string;
  readonly fingerprint: string;
  readonly notAfter: Date;
  readonly arrivesAt: number;
}

export function createSimulatedCdn({ domains, now, isDown, lag }: SimulatedCdnOptions): SimulatedCdn {
  const bound = new Map<string, Bound>();
  const before = new Map<string, Bound>();
  let pushes = 0;

  function mustBeUp(): void {
    if (!isDown()) return;
    throw new AutocertError({
      code: 'SERVICE_UNAVAILABLE',
      message: 'The API does not answer.',
      retryable: true,
      remedy: 'Wait.',
    });
  }

  const served = (domain: string) => {
    const latest = bound.get(domain);
    return latest && latest.arrivesAt > now() ? before.get(domain) : latest;
  };

  return {
    servedUntil: (domain) => served(domain)?.notAfter.getTime() ?? 0,
    target: {
      type: 'cdn',
      async list() {
        mustBeUp();
        return domains.map((domain): TargetDomain => {
          const certificate = bound.get(domain);
          if (!certificate) return { domain, status: 'online', https: true };
          const expireTime = certificate.notAfter.toISOString().slice(0, 19).replace('T', ' ');
          return {
            domain,
            status: 'online',
            https: true,
            certificate: { name: certificate.name, type: 'upload', expireTime },
          };
        });
      },
      async current(domain) {
        mustBeUp();
        const certificate = bound.get(domain);
        return certificate && { name: certificate.name, type: 'upload', pem: certificate.pem };
      },
      async deploy(domain, { chain, fingerprint }) {
        mustBeUp();
        pushes += 1;
        const old = served(domain);
        if (old) before.set(domain, old);
        const { notAfter } = certificateFacts(chain);
        const certName = `${domain}-${pushes}`;
        bound.set(domain, { name: certName, pem: chain, fingerprint, notAfter, arrivesAt: now() + lag(domain) });
        return { api: 'SetDomainServerCertificate', certName, requestId: `R-${pushes}` };
      },
    },
    edges: {
      async read(domain) {
        const certificate = served(domain);
        if (!certificate) return [{ domain, edge: 'edge-a', unreachable: 'it shows no certificate' }];
        return [{ domain, edge: 'edge-a', fingerprint: certificate.fingerprint, pem: certificate.pem }];
      },
    },
  };
}
