import { type CertificateFacts, certificateFacts, renewalTime } from './certificate.ts';
import type { ConfiguredCertificate } from './deploy.ts';
import { covers } from './identifier.ts';
import type { CertificateSpec } from './inventory.ts';
import type { CertificateRecord } from './record.ts';
import type { EdgeReading } from './verify.ts';

/** How one edge, or the product's API, stands to one domain. */
export interface Watched {
  /** Of the certificate. */
  readonly name: string;
  readonly domain: string;
  /** `address:port`; absent for what the API says. */
  readonly edge?: string;
  /**
   * `expired`: what is served has ended. `mismatch`: it does not fit the domain, or the API shows something else than the
   * store. `stale`: another certificate than the stored one is served. `overdue`: it is the right one, and should have
   * been renewed long ago. `unreachable`: nobody answers.
   */
  readonly status: 'ok' | 'overdue' | 'expired' | 'stale' | 'unreachable' | 'mismatch';
  readonly message: string;
  /** Whole days until what is served ends; negative when it has. */
  readonly daysLeft?: number;
  /** SHA-256 of what is served, lower-case hex. */
  readonly fingerprint?: string;
}

type Judgement = Pick<Watched, 'status' | 'message' | 'daysLeft' | 'fingerprint'>;

const DAY = 86_400_000;
/** How long before the end of a certificate that was brought silence is no longer right. */
const LAST_DAYS = 2;
/** What a network without IPv6 says of an edge that has only such an address. */
const NO_ROUTE = ['ENETUNREACH', 'EHOSTUNREACH', 'EADDRNOTAVAIL', 'EAFNOSUPPORT'];

export interface JudgeContext {
  readonly spec: Pick<CertificateSpec, 'origin'>;
  readonly record: CertificateRecord;
  readonly now: Date;
  /** Milliseconds between two runs of the timer. */
  readonly interval: number;
}

/** What the product's API shows for a domain, against the stored certificate: nothing when there is nothing wrong. Pure. */
export function judgeConfigured(
  configured: ConfiguredCertificate | undefined,
  { spec, record: { certificate } }: JudgeContext,
): Judgement[] {
  if (!certificate) return [];
  if (!configured) return [{ status: 'mismatch', message: 'The CDN API shows no certificate for it.' }];
  const facts = certificateFacts(configured.pem);
  if (facts.fingerprint === certificate.fingerprint || isElsewheres(spec, facts, certificate.notAfter)) return [];
  const message = `The CDN API shows "${configured.name}", which is not the stored certificate.`;
  return [{ status: 'mismatch', message, fingerprint: facts.fingerprint }];
}

/** One edge against the stored certificate. `answered`: did any edge of the domain answer? Pure. */
export function judgeEdge(
  { domain, pem, unreachable }: EdgeReading,
  answered: boolean,
  { spec, record, now, interval }: JudgeContext,
): Judgement {
  if (pem === undefined) {
    const isOursToReach = !(answered && NO_ROUTE.includes(unreachable ?? ''));
    return isOursToReach
      ? { status: 'unreachable', message: `It does not answer (${unreachable ?? 'no certificate'}).` }
      : { status: 'ok', message: `There is no way to it from here (${unreachable}); other edges answer.` };
  }
  const facts = certificateFacts(pem);
  const left = facts.notAfter.getTime() - now.getTime();
  const judgement = (status: Watched['status'], message: string): Judgement => ({
    status,
    message,
    daysLeft: Math.floor(left / DAY),
    fingerprint: facts.fingerprint,
  });
  if (left <= 0) return judgement('expired', `What it serves ended at ${facts.notAfter.toISOString()}.`);
  if (!covers(facts.identifiers, domain))
    return judgement('mismatch', `What it serves is for ${facts.identifiers.join(', ') || 'no name'}.`);
  const { certificate, advice } = record;
  if (!certificate && spec.origin === 'configured')
    return judgement('overdue', 'No certificate is stored for it: it has never been issued.');
  const isStored = facts.fingerprint === certificate?.fingerprint;
  if (certificate && !isStored && !isElsewheres(spec, facts, certificate.notAfter))
    return judgement('stale', 'It serves another certificate than the stored one.');
  if (isStored && spec.origin === 'brought')
    return left < LAST_DAYS * DAY
      ? judgement('overdue', 'It was brought by its owner, who has not brought another.')
      : judgement('ok', 'It serves the stored certificate.');
  const due = isStored && advice ? new Date(advice.selectedTime) : renewalTime(facts);
  if (isOverdue(facts, due, now, interval)) return judgement('overdue', overdueMessage(due, record));
  return judgement('ok', `It serves the ${isStored ? 'stored' : 'uploaded'} certificate.`);
}

/** Somebody else's on a domain that is only watched over: it is left alone while it lasts longer than ours. */
function isElsewheres({ origin }: Pick<CertificateSpec, 'origin'>, facts: CertificateFacts, notAfter: string): boolean {
  return origin !== 'configured' && !facts.selfSigned && facts.notAfter > new Date(notAfter);
}

/** Two intervals past its time; or in the last twentieth of its life, whatever a CA advised. */
function isOverdue({ notBefore, notAfter }: CertificateFacts, due: Date, now: Date, interval: number): boolean {
  const lifetime = notAfter.getTime() - notBefore.getTime();
  return now.getTime() > due.getTime() + 2 * interval || notAfter.getTime() - now.getTime() < lifetime / 20;
}

function overdueMessage(due: Date, { failures }: CertificateRecord): string {
  const why = failures
    ? `The last try failed (${failures.code}: ${failures.message}).`
    : 'No failure is recorded: look whether the timer of renew still fires.';
  return `It was to be renewed at ${due.toISOString()}, and was not. ${why}`;
}
