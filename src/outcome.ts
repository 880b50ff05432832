import type { Decision } from './decide.ts';
import { type Deployment, domainNotFound } from './deploy.ts';
import { AutocertError } from './errors.ts';
import type { DomainObservation, Observation } from './observe.ts';
import type { CertificateRecord } from './record.ts';
import { type Outcome, reported, type Step } from './report.ts';
import { isServed, judge, type Verification } from './verify.ts';

export function failedOutcome(name: string, error: AutocertError, step: Step): Outcome {
  return { name, status: 'failed', error: reported(error, step) };
}

/** Nothing was done. A domain that the config names and the account does not have is an error all the same. */
export function keptOutcome(observation: Observation, decision: Decision): Outcome {
  const { spec, record, domains } = observation;
  const { name } = spec;
  const absent = domains.find(({ status }) => status === 'absent');
  if (absent) return { name, status: 'failed', decision, error: reported(domainNotFound(absent.domain), 'observe') };
  if (decision.reason === 'Ended') {
    return { name, status: 'failed', decision, error: reported(ended(observation), 'decide') };
  }
  const isOpen = decision.reason === 'BackingOff' || decision.reason === 'NotServed';
  const status = decision.action === 'keep' && !isOpen ? 'kept' : 'deferred';
  const read = domains.flatMap(({ served }) => (served ? [served] : []));
  if (!record.certificate || read.length === 0) return { name, status, decision };
  const { fingerprint } = record.certificate;
  return { name, status, decision, verifications: read.flatMap((served) => judge(served, fingerprint)) };
}

function ended({ spec, record }: Observation): AutocertError {
  const stem = spec.name.replace(/^_inbox\./, '');
  const what = `The certificate that was brought ended at ${record.certificate?.notAfter}`;
  return new AutocertError({
    code: 'CERTIFICATE_ENDED',
    message: `${what}, and nobody brought another for ${spec.domains.join(', ')}.`,
    retryable: false,
    remedy: `Put a new certificate into inbox/ of the store, or an empty file inbox/${stem}.remove to have it forgotten.`,
  });
}

/** The certificate was pushed. It is good when no push failed and every domain's edges serve it. */
export function outcomeOf(
  name: string,
  decision: Decision,
  deployments: readonly Deployment[],
  verifications: readonly Verification[],
): Outcome {
  const told = deployments.map(({ error, ...deployment }) =>
    error ? { ...deployment, error: reported(error, 'deploy') } : deployment,
  );
  const pushFailed = deployments.find(({ error }) => error)?.error;
  const domains = [...new Set(verifications.map(({ domain }) => domain))];
  const unserved = domains.filter((domain) => !isServed(verifications.filter((one) => one.domain === domain)));
  const shared = { name, decision, deployments: told, verifications };
  if (pushFailed) return { ...shared, status: 'failed', error: reported(pushFailed, 'deploy') };
  if (unserved.length > 0)
    return { ...shared, status: 'failed', error: reported(notServed(unserved, verifications), 'verify') };
  return { ...shared, status: decision.action === 'renew' ? 'renewed' : 'redeployed' };
}

function notServed(domains: readonly string[], verifications: readonly Verification[]): AutocertError {
  const edges = verifications
    .filter(({ domain, status }) => domains.includes(domain) && status !== 'served')
    .map(({ domain, edge, status }) => `${domain} at ${edge} is ${status}`);
  return new AutocertError({
    code: 'NOT_SERVED',
    message: `The CDN took the certificate, but it was not served in time: ${edges.join(', ')}.`,
    retryable: true,
    remedy: "Wait for the next run, which deploys it again; if it stays so, ask the CDN's support with the request id.",
  });
}

/** The outcome with its standing, unless there is nothing to tell. `record` is what the run left in the store. */
export function withStanding(outcome: Outcome, { spec, domains }: Observation, record: CertificateRecord): Outcome {
  if (outcome.status === 'kept') return outcome;
  const { failures } = record;
  const isGood = outcome.status === 'renewed' || outcome.status === 'redeployed';
  const endsAt = isGood ? record.certificate?.notAfter : endOf(domains, outcome, record);
  const standing = {
    identifiers: spec.identifiers,
    ...(endsAt !== undefined && { endsAt }),
    ...(failures && { failures }),
  };
  return { ...outcome, standing };
}

/** The first end of what the domains were seen with, those left out that serve the stored certificate by now. */
function endOf(
  domains: readonly DomainObservation[],
  { verifications = [] }: Outcome,
  { certificate }: CertificateRecord,
): string | undefined {
  const waiting = domains.filter(({ domain }) => !isServed(verifications.filter((one) => one.domain === domain)));
  const ends = (waiting.length > 0 ? waiting : domains).flatMap(({ configured }) => {
    if (!configured) return [];
    const end = configured.facts?.notAfter.toISOString() ?? certificate?.notAfter;
    return end === undefined ? [] : [end];
  });
  return ends.sort((a, b) => Date.parse(a) - Date.parse(b))[0];
}
