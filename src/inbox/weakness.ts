import { type CertificateFacts, certificateFacts } from '../certificate.ts';
import { isStagingIssuer } from '../decide.ts';
import type { Target, TargetDomain } from '../deploy.ts';
import type { Deps } from '../deps.ts';
import { covers } from '../identifier.ts';
import { type Refusal, refusals } from './refusal.ts';

export interface WeaknessContext {
  readonly account: ReadonlyMap<string, TargetDomain>;
  /** Domains of the configuration. */
  readonly named: ReadonlySet<string>;
  readonly target: Pick<Target, 'current'>;
  /** A person wants it although a better one is in place. */
  readonly isInsisted: boolean;
  readonly deps: Pick<Deps, 'now'>;
}

/** The API writes the end without a zone. */
const WIDEST_ZONE = 14 * 3_600_000;

/**
 * Why no domain would gain by the certificate: there is none for it, or all have one that ends later; or one would lose
 * names. A domain that has one that ends later keeps that one as long as it is good. Throws what `target.current` throws.
 */
export async function weakness(
  name: string,
  next: CertificateFacts,
  { account, named, target, isInsisted, deps }: WeaknessContext,
): Promise<Refusal | undefined> {
  const all = [...account.values()].filter(({ domain, https }) => https || named.has(domain));
  const covered = all.filter(({ domain }) => covers(next.identifiers, domain));
  if (covered.length === 0) return refusals.noDomain(shortened(next.identifiers));
  if (isInsisted) return undefined;
  let sooner: Refusal | undefined;
  let gaining = 0;
  for (const entry of covered) {
    const here = mayBeBetter(entry, next) ? await factsInPlace(entry, target) : undefined;
    if (!here || !isValid(here, entry.domain, deps.now()) || here.fingerprint === next.fingerprint) {
      gaining += 1;
      continue;
    }
    const lost = lostNames(entry.domain, here, next);
    if (lost.length > 0) return refusals.fewerNames(entry.domain, shortened(lost), name);
    if (here.notAfter <= next.notAfter) gaining += 1;
    else sooner ??= refusals.endsSooner(entry.domain, here.notAfter.toISOString(), next.notAfter.toISOString(), name);
  }
  return gaining === 0 ? sooner : undefined;
}

/** The account's list tells for most domains that nothing is to be looked up. */
function mayBeBetter({ domain, https, certificate }: TargetDomain, next: CertificateFacts): boolean {
  if (!https) return false;
  if (domain.startsWith('*.') || !certificate) return true;
  const end = Date.parse(`${certificate.expireTime.trim().replace(' ', 'T').replace(/Z$/, '')}Z`);
  return !(end + WIDEST_ZONE <= next.notAfter.getTime());
}

async function factsInPlace(
  { domain }: TargetDomain,
  target: WeaknessContext['target'],
): Promise<CertificateFacts | undefined> {
  const current = await target.current(domain);
  return current && certificateFacts(current.pem);
}

/** One that browsers refuse is worth nothing. */
function isValid(facts: CertificateFacts, domain: string, now: Date): boolean {
  const isTrusted = !facts.selfSigned && !isStagingIssuer(facts.issuer);
  return isTrusted && covers(facts.identifiers, domain) && facts.notBefore <= now && now < facts.notAfter;
}

/** A wildcard domain of the CDN stands for names of any depth, and may serve a certificate for several of them. */
function lostNames(domain: string, here: CertificateFacts, next: CertificateFacts): string[] {
  if (!domain.startsWith('*.')) return [];
  const below = here.identifiers.filter((one) => one.endsWith(domain.slice(1)));
  return below.filter((one) => !covers(next.identifiers, one));
}

function shortened(names: readonly string[]): string {
  const more = names.length > 5 ? ` (+${names.length - 5})` : '';
  return `${names.slice(0, 5).join(', ')}${more}`;
}
