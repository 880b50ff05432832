import { type CertificateFacts, certificateFacts } from './certificate.ts';
import type { Target, TargetDomain } from './deploy.ts';
import type { Deps } from './deps.ts';
import { toAutocertError } from './errors.ts';
import type { CertificateSpec } from './inventory.ts';
import type { CertificateRecord, RenewalAdvice, StoredCertificate } from './record.ts';
import type { EdgeReading, Edges } from './verify.ts';

/** One domain in the two views that are not ours: what the product's API says, and what the edges serve. */
export interface DomainObservation {
  readonly domain: string;
  /** The API's DomainStatus, or `absent` when the account has no such domain. */
  readonly status: string;
  readonly https: boolean;
  readonly cname: string | undefined;
  readonly configured: ConfiguredObservation | undefined;
  /** Undefined when nobody looked at the edges in this run, which says nothing about what they serve. */
  readonly served: readonly EdgeReading[] | undefined;
}

export interface ConfiguredObservation {
  readonly fingerprint: string;
  readonly certName: string;
  readonly type: string;
  /** Absent when the account's list already agreed with the record, so that the certificate itself was not fetched. */
  readonly facts: CertificateFacts | undefined;
}

/** All that is known of one certificate before anything is decided. */
export interface Observation {
  readonly spec: CertificateSpec;
  readonly record: CertificateRecord;
  readonly domains: readonly DomainObservation[];
}

export interface Observers {
  readonly target: Target;
  /** The target's list, by domain: read once a run. */
  readonly account: ReadonlyMap<string, TargetDomain>;
  readonly edges: Edges;
  /** Is it this domain's turn to have its edges read, though nothing speaks for it? */
  isTurn(domain: string, certificate: string): boolean;
  /** ARI, RFC 9773: undefined when the CA that issued the certificate offers none. */
  renewalAdvice(
    certificate: StoredCertificate,
    previous: RenewalAdvice | undefined,
  ): Promise<RenewalAdvice | undefined>;
  readonly deps: Deps;
}

/**
 * Milliseconds from a certificate's notBefore in which its CA is not asked for advice. RFC 9773 section 4.3 would ask right
 * after issuance: that is one request more for each certificate, about a window that lies months ahead. The timer's next
 * run asks; one that follows at once, because of an event or a retry, has nothing to learn. CAs that date notBefore back,
 * as Let's Encrypt does by an hour, are asked by any run after the one that issued.
 */
const NO_NEWS_YET = 1_800_000;
/** Milliseconds from a certificate's notBefore, or from when it was brought, in which its edges are read by every run. */
const STILL_SPREADING = 86_400_000;

/** Gathers everything; changes nothing. Throws what makes this certificate alone fail. */
export async function observe(
  spec: CertificateSpec,
  record: CertificateRecord,
  observers: Observers,
): Promise<Observation> {
  const [advised, domains] = await Promise.all([
    withAdvice(record, observers),
    Promise.all(spec.domains.map((domain) => observeDomain(domain, record, observers))),
  ]);
  return { spec, domains, record: advised };
}

/**
 * The record with the CA's present advice; the same object when there is nothing new. ARI that fails is no advice: what
 * was known before stays, and the expiry floor stands under it.
 */
export async function withAdvice(
  record: CertificateRecord,
  { renewalAdvice, deps }: Pick<Observers, 'renewalAdvice' | 'deps'>,
): Promise<CertificateRecord> {
  const { certificate, advice } = record;
  if (!certificate?.certId || (advice && new Date(advice.retryAfter) > deps.now())) return record;
  if (deps.now().getTime() < Date.parse(certificate.notBefore) + NO_NEWS_YET) return record;
  try {
    const fresh = await renewalAdvice(certificate, advice);
    return fresh ? { ...record, advice: fresh } : record;
  } catch (thrown) {
    deps.log.warn('renewal_info_failed', { name: record.name, error: toAutocertError(thrown) });
    return record;
  }
}

async function observeDomain(
  domain: string,
  record: CertificateRecord,
  observers: Observers,
): Promise<DomainObservation> {
  const entry = observers.account.get(domain);
  if (!entry) return { domain, status: 'absent', https: false, cname: undefined, configured: undefined, served: [] };
  const { status, https, cname } = entry;
  const recorded = https ? asRecorded(entry, record) : undefined;
  const isReachable = https && (status === 'online' || status === 'configuring');
  if (recorded && isReachable && !isLookedAt(domain, record, observers))
    return { domain, status, https, cname, configured: recorded, served: undefined };
  const served = isReachable ? await observers.edges.read(domain, cname) : [];
  const configured = recorded ?? (https ? await observeConfigured(entry, served, observers.target) : undefined);
  return { domain, status, https, cname, configured, served: served.map(withoutLeaf) };
}

/**
 * Are the edges read in this run of a domain on which the account's list agrees with the record? Always while something
 * speaks for it: a certificate that the edges may not all have yet, or a failure that is not over. What is well by all
 * that, as most of a large account is, waits for its turn. One that is due needs no look: it is replaced whatever they serve.
 */
function isLookedAt(domain: string, record: CertificateRecord, { isTurn, deps }: Observers): boolean {
  const { certificate, brought, failures, name } = record;
  if (!certificate || failures) return true;
  const since = Date.parse(brought?.takenAt ?? certificate.notBefore);
  return deps.now().getTime() < since + STILL_SPREADING || isTurn(domain, name);
}

/** Of thousands of domains the leaves themselves would be most of what a run holds in memory. */
function withoutLeaf({ domain, edge, fingerprint, unreachable }: EdgeReading): EdgeReading {
  return {
    domain,
    edge,
    ...(fingerprint !== undefined && { fingerprint }),
    ...(unreachable !== undefined && { unreachable }),
  };
}

/** What the account's list does not tell. */
async function observeConfigured(
  entry: TargetDomain,
  served: readonly EdgeReading[],
  target: Target,
): Promise<ConfiguredObservation | undefined> {
  const seen = servedAsListed(entry, served);
  if (seen) return { ...seen, certName: entry.certificate?.name ?? '', type: entry.certificate?.type ?? '' };
  const configured = await target.current(entry.domain);
  if (!configured) return undefined;
  const facts = certificateFacts(configured.pem);
  return { fingerprint: facts.fingerprint, certName: configured.name, type: configured.type, facts };
}

/**
 * What all edges that answer serve, if the account's list shows a certificate that ends at the very same second: then that
 * is the one, and its domain costs no call of its own. Of a domain that is served anything else, the API is asked.
 */
function servedAsListed(
  entry: TargetDomain,
  served: readonly EdgeReading[],
): Pick<ConfiguredObservation, 'fingerprint' | 'facts'> | undefined {
  const answers = served.filter(({ pem }) => pem !== undefined);
  const [first] = answers;
  if (first?.pem === undefined || !entry.certificate) return undefined;
  if (answers.some(({ fingerprint }) => fingerprint !== first.fingerprint)) return undefined;
  const facts = factsOf(first.pem);
  if (!facts || !endsAsListed(entry.certificate.expireTime, facts.notAfter)) return undefined;
  return { fingerprint: facts.fingerprint, facts };
}

/** Undefined for what an edge shows that is not fit to be read: it says nothing about the account. */
function factsOf(pem: string): CertificateFacts | undefined {
  try {
    return certificateFacts(pem);
  } catch {
    return undefined;
  }
}

/** The certificate that we put there, as long as the account's list agrees. */
function asRecorded(entry: TargetDomain, record: CertificateRecord): ConfiguredObservation | undefined {
  const { fingerprint } = record.certificate ?? {};
  if (fingerprint === undefined || !agrees(entry, record)) return undefined;
  return { fingerprint, certName: entry.certificate?.name ?? '', type: 'upload', facts: undefined };
}

/**
 * Does the account's list show the certificate that we put there? The name is ours alone. What was overwritten by hand
 * under the very same name and expiry is seen at the edges in the domain's turn.
 */
function agrees(entry: TargetDomain, record: CertificateRecord): boolean {
  if (!record.certificate || !entry.certificate || entry.certificate.type !== 'upload') return false;
  if (entry.certificate.name !== record.deployed[entry.domain]) return false;
  return endsAsListed(entry.certificate.expireTime, new Date(record.certificate.notAfter));
}

/** To the second, but for a whole number of hours: the list writes its instants without a zone. */
function endsAsListed(expireTime: string, notAfter: Date): boolean {
  const written = Date.parse(`${expireTime.trim().replace(' ', 'T').replace(/Z$/, '')}Z`);
  const distance = Math.abs(written - notAfter.getTime());
  return distance <= 14 * 3_600_000 && distance % 3_600_000 === 0;
}
