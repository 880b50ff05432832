import type { TargetDomain } from './deploy.ts';
import { covers } from './identifier.ts';
import type { CertificateRecord, StoredCertificate } from './record.ts';

/** Milliseconds. */
const DAY = 86_400_000;
/** Days that a certificate which was brought is replaced before its end, where a CA is there to do it. */
const HAND_OVER_DAYS = 3;

/** Who else is there for the domains. */
export interface Rivals {
  /** Domains that are to have a certificate of the CA. */
  readonly managed: ReadonlySet<string>;
  /** Domains that the configuration names: HTTPS is switched on there. */
  readonly named: ReadonlySet<string>;
  readonly now: Date;
}

/**
 * Domain -> name of the certificate that was brought for it. Of several the one that was brought last. One in its last
 * days, or ended, gives the domain back to the CA where that manages it; elsewhere it keeps it, for its owner must hear of
 * it. Pure.
 */
export function claims(
  records: readonly CertificateRecord[],
  account: readonly TargetDomain[],
  { managed, named, now }: Rivals,
): Map<string, string> {
  const brought = records.filter((record) => record.brought && record.certificate).sort(lastTakenFirst);
  const owners = new Map<string, string>();
  for (const { domain, https } of account) {
    if (!https && !named.has(domain)) continue;
    const fitting = brought.filter(({ certificate }) => certificate && covers(certificate.identifiers, domain));
    const inForce = fitting.find(({ certificate }) => certificate && now < handOverAt(certificate));
    const owner = inForce ?? (managed.has(domain) ? undefined : lasting(fitting));
    if (owner) owners.set(domain, owner.name);
  }
  return owners;
}

/** When the CA's certificate takes the place of one that was brought: three days before its end, of a short life less. */
export function handOverAt({ notBefore, notAfter }: Pick<StoredCertificate, 'notBefore' | 'notAfter'>): Date {
  const [from, to] = [Date.parse(notBefore), Date.parse(notAfter)];
  return new Date(to - Math.min(HAND_OVER_DAYS * DAY, (to - from) / 10));
}

function lastTakenFirst(a: CertificateRecord, b: CertificateRecord): number {
  return Date.parse(b.brought?.takenAt ?? '') - Date.parse(a.brought?.takenAt ?? '') || (a.name < b.name ? -1 : 1);
}

function lasting(records: readonly CertificateRecord[]): CertificateRecord | undefined {
  const endOf = ({ certificate }: CertificateRecord) => Date.parse(certificate?.notAfter ?? '');
  return [...records].sort((a, b) => endOf(b) - endOf(a))[0];
}
