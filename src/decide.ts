import { type CertificateFacts, expiryFloor, renewalTime } from './certificate.ts';
import { backsOff } from './failures.ts';
import { covers } from './identifier.ts';
import type { DomainObservation, Observation } from './observe.ts';
import type { Failures, StoredCertificate } from './record.ts';

export type Reason =
  | 'Forced'
  | 'NotIssued'
  | 'IdentifiersChanged'
  | 'KeyOrProfileChanged'
  | 'IssuerChanged'
  | 'Revoked'
  | 'StoreBehind'
  | 'ExpiryImminent'
  | 'BackingOff'
  | 'SelectedTimeReached'
  | 'RenewalTimeReached'
  | 'NotDeployed'
  | 'NotServed'
  | 'Ended'
  | 'Refused'
  | 'Incomplete'
  | 'Current';

export interface Decision {
  readonly action: 'keep' | 'deploy' | 'renew';
  readonly reason: Reason;
  readonly message: string;
}

export interface DecisionContext {
  readonly now: Date;
  /** Milliseconds between two runs: what would fall due before the next one is due now. */
  readonly interval: number;
  /** The directories whose certificates count: the configured CA and its fallbacks. */
  readonly directoryUrls: readonly string[];
  /** A person or an event asks for it whatever the rules say: a new certificate, or the stored one pushed again. */
  readonly force: boolean;
  readonly intent: Intent;
}

/**
 * `renew`: every certificate in time. `redeploy`: a person wants what is stored served now. `react`: an event of the
 * cloud tells that this may be needed.
 */
export type Intent = 'renew' | 'redeploy' | 'react';

/** Milliseconds. */
const DAY = 86_400_000;

const WELL = keep('Current', 'Stored, configured and served.');
/** Of some domain the edges were not read in this run. */
const WELL_BY_THE_LIST = keep('Current', 'Stored and configured; its edges are read in their turn.');

type Rule = (observation: Observation, context: DecisionContext) => Decision | undefined;

/** What is to be done for one certificate: the first rule that has an opinion. Pure. */
export function decide(observation: Observation, context: DecisionContext): Decision {
  const rules = observation.spec.origin === 'brought' ? BROUGHT_RULES : RULES;
  for (const rule of rules[context.intent]) {
    const decision = rule(observation, context);
    if (decision) return decision;
  }
  return observation.domains.some(({ served }) => served === undefined) ? WELL_BY_THE_LIST : WELL;
}

/**
 * The domains that are to have the stored certificate now. Not those that are stopped, and not those that discovery found
 * with a certificate from elsewhere that is good and will last: it is left alone until its own last third begins.
 */
export function deployable({ spec, record, domains }: Observation, now: Date): DomainObservation[] {
  return domains.filter((domain) => {
    if (domain.status !== 'online' && domain.status !== 'configuring') return false;
    return spec.origin === 'configured' || record.brought?.insisted === true || !isElsewheres(domain, record, now);
  });
}

/** A certificate on a CDN domain that somebody else put there and that needs nobody's help yet. */
function isElsewheres({ domain, configured }: DomainObservation, record: Observation['record'], now: Date): boolean {
  if (!configured?.facts || configured.fingerprint === record.certificate?.fingerprint) return false;
  if (configured.certName === record.deployed[domain]) return false;
  const lastsLonger = !record.certificate || configured.facts.notAfter > new Date(record.certificate.notAfter);
  return lastsLonger && isGood(configured.facts, domain, now);
}

/**
 * Does the domain have a later certificate of ours than the store knows, as after the store was restored from a backup?
 * It is left alone until its own last third begins: the stored one ends sooner, and a new one would be ordered in vain.
 */
export function isNewerThanStored(domain: DomainObservation, { record }: Observation, now: Date): boolean {
  const { facts, certName = '' } = domain.configured ?? {};
  const { certificate } = record;
  if (!facts || !certificate || withoutSuffix(certName) !== withoutSuffix(record.deployed[domain.domain])) return false;
  const sameNames = [...facts.identifiers].sort().join() === [...certificate.identifiers].sort().join();
  // One that is stored and was meant to live shorter was issued after the one in place.
  const isLater = facts.notBefore > new Date(certificate.notBefore) && facts.notAfter > new Date(certificate.notAfter);
  return sameNames && isLater && isGood(facts, domain.domain, now);
}

/** One of the cloud's APIs never gives a new certificate an old one's name: the fingerprint's first digits follow it. */
function withoutSuffix(certName: string | undefined): string | undefined {
  return certName?.replace(/-[0-9a-f]{8,12}$/, '');
}

/** Valid now, for this name, from a CA that clients trust, and not yet in the part of its life in which it is renewed. */
export function isGood(facts: CertificateFacts, domain: string, now: Date): boolean {
  const trusted = !facts.selfSigned && !isStagingIssuer(facts.issuer);
  return trusted && covers(facts.identifiers, domain) && facts.notBefore <= now && now < renewalTime(facts);
}

/** Let's Encrypt marks its staging intermediates so; other CAs' test hierarchies carry no common mark. */
export function isStagingIssuer(issuer: string): boolean {
  return /\(STAGING\)|Fake LE/.test(issuer);
}

const RENEW_RULES: readonly Rule[] = [
  nothingToServe,
  forced,
  notIssued,
  identifiersChanged,
  keyOrProfileChanged,
  issuerChanged,
  revoked,
  storeBehind,
  expiryImminent,
  backingOff,
  selectedTimeReached,
  renewalTimeReached,
  notDeployed,
  notServed,
];

/**
 * What is stored is pushed again as long as it is good; an order is opened only when it is not. A renewal that is merely
 * due is left to the timer.
 */
const REDEPLOY_RULES: readonly Rule[] = [
  nothingToServe,
  notIssued,
  identifiersChanged,
  issuerChanged,
  revoked,
  storeBehind,
  expired,
  pushForced,
  notDeployed,
  notServed,
  renewalFails,
];

/**
 * An own push comes back as an event: if that event led to a push because an edge is slow, they would follow each other
 * for ever. So an event leads to one only while the product's API shows something else than what is stored.
 */
const REACT_RULES: readonly Rule[] = REDEPLOY_RULES.map((rule) => (rule === notServed ? notServedYet : rule));

const RULES: Readonly<Record<Intent, readonly Rule[]>> = {
  renew: RENEW_RULES,
  redeploy: REDEPLOY_RULES,
  react: REACT_RULES,
};

/** Nobody renews it: it is served until it ends, and then somebody must bring another. */
const THEIRS: readonly Rule[] = [nothingToServe, ended, pushForced, notDeployed, notServed];

const BROUGHT_RULES: Readonly<Record<Intent, readonly Rule[]>> = {
  renew: THEIRS,
  redeploy: THEIRS,
  react: THEIRS.map((rule) => (rule === notServed ? notServedYet : rule)),
};

/** An order for a certificate that no domain could take now would be wasted. */
function nothingToServe(observation: Observation, { now }: DecisionContext): Decision | undefined {
  if (deployable(observation, now).length > 0) return undefined;
  if (observation.domains.length === 0) return keep('Current', 'All its domains have a certificate that was brought.');
  const elsewhere = observation.domains.find((domain) => isElsewheres(domain, observation.record, now));
  const until = elsewhere?.configured?.facts?.notAfter;
  if (until) return keep('Current', `A certificate from elsewhere is in place until ${day(until)} and is left alone.`);
  const states = [...new Set(observation.domains.map(({ status }) => status))].join(', ');
  return keep('Current', `No domain of it can take a certificate now (${states}).`);
}

function ended({ record: { certificate } }: Observation, { now }: DecisionContext): Decision | undefined {
  if (!certificate || new Date(certificate.notAfter) > now) return undefined;
  return keep('Ended', `It was brought, ended on ${day(new Date(certificate.notAfter))}, and nobody brought another.`);
}

function forced(_: Observation, { force }: DecisionContext): Decision | undefined {
  return force ? renew('Forced', 'A new certificate was asked for.') : undefined;
}

function pushForced(_: Observation, { force }: DecisionContext): Decision | undefined {
  return force ? deploy('Forced', 'The stored certificate is pushed again, as was asked for.') : undefined;
}

function notIssued({ record }: Observation, context: DecisionContext): Decision | undefined {
  if (record.certificate) return undefined;
  return postponed(record, context) ?? renew('NotIssued', 'No certificate is stored.');
}

function identifiersChanged({ spec, record: { certificate } }: Observation): Decision | undefined {
  if (!certificate) return undefined;
  const added = spec.identifiers.filter((name) => !certificate.identifiers.includes(name));
  const removed = certificate.identifiers.filter((name) => !spec.identifiers.includes(name));
  if (added.length + removed.length === 0) return undefined;
  const changes = [...added.map((name) => `+${name}`), ...removed.map((name) => `-${name}`)];
  return renew('IdentifiersChanged', `The names changed: ${changes.join(' ')}.`);
}

function keyOrProfileChanged({ spec, record: { certificate } }: Observation): Decision | undefined {
  if (!certificate) return undefined;
  if (certificate.keyType !== spec.keyType) {
    return renew('KeyOrProfileChanged', `The key type changed from ${certificate.keyType} to ${spec.keyType}.`);
  }
  if (certificate.profile === spec.profile) return undefined;
  const [from, to] = [certificate.profile ?? 'none', spec.profile ?? 'none'];
  return renew('KeyOrProfileChanged', `The profile changed from ${from} to ${to}.`);
}

/** Also what keeps a staging certificate from being taken for a certificate. */
function issuerChanged(
  { record: { certificate } }: Observation,
  { directoryUrls }: DecisionContext,
): Decision | undefined {
  if (!certificate || directoryUrls.includes(certificate.directoryUrl)) return undefined;
  return renew('IssuerChanged', `The stored certificate is from ${certificate.directoryUrl}.`);
}

function revoked({ record: { certificate } }: Observation): Decision | undefined {
  return certificate?.revoked ? renew('Revoked', 'The certificate was revoked.') : undefined;
}

function storeBehind(observation: Observation, { now, force }: DecisionContext): Decision | undefined {
  const domains = deployable(observation, now);
  const [first] = domains;
  if (force || !first || !domains.every((domain) => isNewerThanStored(domain, observation, now))) return undefined;
  const [here, stored] = [first.configured?.facts?.notAfter, observation.record.certificate?.notAfter];
  const what = `${first.domain} has a certificate of ours that ends at ${here?.toISOString()}`;
  return keep('StoreBehind', `${what}, the stored one at ${stored}: it stays until it is due.`);
}

/** The domains that are to have the stored certificate and lose nothing by it. */
function wanting(observation: Observation, now: Date): DomainObservation[] {
  return deployable(observation, now).filter((domain) => !isNewerThanStored(domain, observation, now));
}

/** A certificate that has expired already is due more than any other. */
function expiryImminent(
  { record: { certificate } }: Observation,
  { now, interval }: DecisionContext,
): Decision | undefined {
  if (!certificate) return undefined;
  if (now < expiryFloor(lifetimeOf(certificate), interval)) return undefined;
  const left = Date.parse(certificate.notAfter) - now.getTime();
  return renew('ExpiryImminent', left > 0 ? `It ends in ${duration(left)}.` : `It ended ${duration(-left)} ago.`);
}

function expired(observation: Observation, context: DecisionContext): Decision | undefined {
  const { certificate } = observation.record;
  return certificate && new Date(certificate.notAfter) <= context.now
    ? expiryImminent(observation, context)
    : undefined;
}

/** Only a renewal waits; a stored certificate that is not served everywhere is deployed all the same. */
function backingOff(observation: Observation, context: DecisionContext): Decision | undefined {
  const { record } = observation;
  if (!postponed(record, context)) return undefined;
  const due = selectedTimeReached(observation, context) ?? renewalTimeReached(observation, context);
  return due && (notDeployed(observation, context) ?? notServed(observation, context) ?? postponed(record, context));
}

function postponed({ failures }: Observation['record'], { now }: DecisionContext): Decision | undefined {
  if (!failures || !backsOff(failures) || new Date(failures.nextAttemptAt) <= now) return undefined;
  return keep(
    'BackingOff',
    `${triesOf(failures)} failed (${failures.code}); the next is at ${failures.nextAttemptAt}.`,
  );
}

/** That what is stored is served everywhere says nothing about the renewal that fails: it is left as it is. */
function renewalFails({ record }: Observation, context: DecisionContext): Decision | undefined {
  const { failures } = record;
  if (!failures || !backsOff(failures)) return undefined;
  const left = keep('BackingOff', `${triesOf(failures)} failed (${failures.code}); the timer's next run tries again.`);
  return postponed(record, context) ?? left;
}

function triesOf({ count }: Failures): string {
  return count === 1 ? 'The last try' : `${count} tries`;
}

/**
 * RFC 9773 section 4.2, step 3: renew when the selected time would pass before the next wake-up. A CA that wants also the
 * successor back at once may be wrong about all of them: it is followed once a day, not at every wake-up.
 */
function selectedTimeReached(
  { record: { certificate, advice } }: Observation,
  { now, interval }: DecisionContext,
): Decision | undefined {
  if (!advice || Date.parse(advice.selectedTime) > now.getTime() + interval) return undefined;
  const isAgain = certificate?.replacedAtOnce === true && new Date(advice.end) <= now;
  if (isAgain && now.getTime() < Date.parse(certificate.notBefore) + DAY) return undefined;
  const why = advice.explanationURL ? `; the CA explains at ${advice.explanationURL}` : '';
  return renew('SelectedTimeReached', `The CA suggests a renewal at ${advice.selectedTime}${why}.`);
}

function renewalTimeReached(
  { record: { certificate, advice } }: Observation,
  { now }: DecisionContext,
): Decision | undefined {
  if (!certificate || advice || now < renewalTime(lifetimeOf(certificate))) return undefined;
  return renew('RenewalTimeReached', `It ends in ${duration(Date.parse(certificate.notAfter) - now.getTime())}.`);
}

function notDeployed(observation: Observation, { now }: DecisionContext): Decision | undefined {
  const { record } = observation;
  const missing = wanting(observation, now).filter(
    ({ configured }) => configured?.fingerprint !== record.certificate?.fingerprint,
  );
  const [first] = missing;
  if (!first) return undefined;
  const what = first.configured ? 'is configured with another certificate' : 'is configured with no certificate';
  return deploy('NotDeployed', `${first.domain} ${what}${andMore(missing)}.`);
}

function notServed(observation: Observation, { now }: DecisionContext): Decision | undefined {
  const stale = wanting(observation, now)
    .flatMap(({ served = [] }) => served)
    .filter(({ fingerprint }) => fingerprint && fingerprint !== observation.record.certificate?.fingerprint);
  const [first] = stale;
  return first && deploy('NotServed', `${first.edge} serves another certificate for ${first.domain}${andMore(stale)}.`);
}

function notServedYet(observation: Observation, context: DecisionContext): Decision | undefined {
  const stale = notServed(observation, context);
  return stale && keep('NotServed', `${stale.message} The timer's next run looks again.`);
}

function lifetimeOf(certificate: StoredCertificate): { readonly notBefore: Date; readonly notAfter: Date } {
  return { notBefore: new Date(certificate.notBefore), notAfter: new Date(certificate.notAfter) };
}

function keep(reason: Reason, message: string): Decision {
  return { action: 'keep', reason, message };
}

function deploy(reason: Reason, message: string): Decision {
  return { action: 'deploy', reason, message };
}

function renew(reason: Reason, message: string): Decision {
  return { action: 'renew', reason, message };
}

function andMore(found: readonly unknown[]): string {
  return found.length > 1 ? ` (and ${found.length - 1} more)` : '';
}

function day(instant: Date): string {
  return instant.toISOString().slice(0, 10);
}

/** The largest unit of which there are at least two: `12 days`, `29 hours`. */
function duration(milliseconds: number): string {
  const units: [string, number][] = [
    ['day', 86_400_000],
    ['hour', 3_600_000],
    ['minute', 60_000],
  ];
  const [unit, size] = units.find(([, length]) => milliseconds >= 2 * length) ?? ['minute', 60_000];
  const count = Math.max(1, Math.floor(milliseconds / size));
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}
