import { handOverAt } from './brought.ts';
import { renewalTime } from './certificate.ts';
import { DIRECTORIES } from './config/values.ts';
import { type Config, configSecrets, loadConfig } from './config.ts';
import { connect } from './connect.ts';
import { toAutocertError } from './errors.ts';
import { answer, type HttpAnswer, type HttpRequest, jsonAnswer, parseHttpEvent } from './http.ts';
import { createDeps, credentialsOf, type Invocation, loadOptions, secretsOf } from './invocation.ts';
import { type CertificateRecord, emptyRecord, type Failures, type Index, readIndex } from './record.ts';
import { failurePage, statusPage } from './status-page.ts';

/** How it stands with one certificate, as far as the store knows. */
export interface CertificateStatus {
  readonly name: string;
  /** The worst that is true of it. `due`: its renewal time has come, or the last month of one that was brought. `missing`: none has been issued yet. */
  readonly state: 'expired' | 'failing' | 'missing' | 'due' | 'good';
  /** An order is under way, or a run that was stopped left one. */
  readonly inProgress: boolean;
  readonly identifiers: readonly string[];
  /** Those that have it, by the last run's account. */
  readonly domains: readonly string[];
  /** The CA's short name, or the host of its directory; the issuer of one that was brought. */
  readonly authority?: string;
  /** Its owner brought it, and nobody renews it. */
  readonly brought?: true;
  readonly keyType?: string;
  /** SHA-256 of the leaf, lower-case hex. */
  readonly fingerprint?: string;
  /** ISO 8601, UTC. */
  readonly notBefore?: string;
  readonly notAfter?: string;
  /** Whole days; negative when it has ended. */
  readonly daysLeft?: number;
  readonly nextRenewal?: { readonly at: string; readonly by: 'the CA' | 'lifetime' };
  /** The last one, when the certificate has not been well since. */
  readonly failure?: Omit<Failures, 'count'> & { readonly attempts: number };
}

/** What the JSON is: a contract. */
export interface StatusReport {
  readonly version: 1;
  /** ISO 8601, UTC. */
  readonly generatedAt: string;
  /** What needs a person first. */
  readonly certificates: readonly CertificateStatus[];
}

const DAY = 86_400_000;
/** Milliseconds: from then on the owner of a certificate is reminded of it. */
const LAST_MONTH = 30 * DAY;
const STATES: readonly CertificateStatus['state'][] = ['expired', 'failing', 'missing', 'due', 'good'];

/**
 * Answers an HTTP trigger with the state of every certificate: a page, or JSON for `Accept: application/json`, for a path
 * that ends in `.json`, and for an invocation that is no HTTP request at all. One read of the store, no call to the CDN
 * or the CA. It holds no secret, but names domains: the trigger's `authType` decides who may read it.
 */
export async function status(event: Uint8Array, invocation: Invocation): Promise<HttpAnswer> {
  const request = parseHttpEvent(event);
  const asJson = !request || wantsJson(request);
  if (request && request.method !== 'GET' && request.method !== 'HEAD') {
    return jsonAnswer(405, { error: 'Only GET and HEAD are understood.' }, { allow: 'GET, HEAD' });
  }
  const answered = await read(invocation, asJson);
  return request?.method === 'HEAD' ? { ...answered, body: '' } : answered;
}

function wantsJson({ path, headers }: HttpRequest): boolean {
  const accept = headers.get('accept') ?? '';
  return path.endsWith('.json') || (accept.includes('application/json') && !accept.includes('text/html'));
}

/** A failure is answered with its code and its remedy; the log has the rest. */
async function read(invocation: Invocation, asJson: boolean): Promise<HttpAnswer> {
  const now = invocation.now();
  const secrets = secretsOf(invocation);
  const deps = createDeps(invocation, now, secrets);
  const open: { close(): void }[] = [];
  try {
    const config = await loadConfig(invocation.env['AUTOCERT_CONFIG'] ?? '', loadOptions(invocation, deps, open));
    secrets.push(...configSecrets(config));
    const ports = connect(config, async () => credentialsOf(invocation), deps);
    open.push(ports);
    const report = statusReport(config, await readIndex(ports.store), now);
    return asJson ? jsonAnswer(200, report) : answer(200, 'text/html', statusPage(report));
  } catch (thrown) {
    const error = toAutocertError(thrown);
    deps.log.error('status_failed', { error });
    const { code, remedy } = error;
    return asJson ? jsonAnswer(500, { error: { code, remedy } }) : answer(500, 'text/html', failurePage(code, remedy));
  } finally {
    for (const connection of open) connection.close();
  }
}

/** What the index says, and what the configuration names and the index does not have yet. Pure. */
export function statusReport(config: Pick<Config, 'certificates' | 'discover'>, index: Index, now: Date): StatusReport {
  const configured = new Map(config.certificates.map((certificate) => [certificate.name, certificate]));
  // What neither the configuration names nor discovery could have found is nobody's work any more.
  const brought = [...index.records.values()].filter((record) => record.brought);
  const isOurs = (name: string) => config.discover || configured.has(name) || index.records.get(name)?.brought;
  const stored = [...index.records.keys(), ...index.working].filter(isOurs);
  const inForce = brought.filter(({ certificate }) => certificate && now < handOverAt(certificate));
  const taken = new Set(inForce.flatMap((record) => Object.keys(record.deployed)));
  const names = [...new Set([...configured.keys(), ...stored])].filter((name) => !isReplaced(index, name, taken));
  const certificates = names.map((name): CertificateStatus => {
    const record = index.records.get(name) ?? emptyRecord(name);
    const identifiers = record.certificate?.identifiers ?? configured.get(name)?.identifiers ?? [];
    return { ...statusOf(record, now), identifiers, inProgress: index.working.has(name) };
  });
  return { version: 1, generatedAt: now.toISOString(), certificates: certificates.sort(worstFirst) };
}

/** Are all domains of a CA's certificate served with certificates that were brought? Then it is not looked after, and rightly so. */
function isReplaced({ records }: Index, name: string, taken: ReadonlySet<string>): boolean {
  const { brought: isTheirs, deployed = {} } = records.get(name) ?? {};
  const domains = Object.keys(deployed);
  return !isTheirs && domains.length > 0 && domains.every((domain) => taken.has(domain));
}

function statusOf({ name, certificate, brought, advice, failures, deployed }: CertificateRecord, now: Date) {
  const { count, ...failure } = failures ?? { count: 0 };
  const shared = {
    name,
    domains: Object.keys(deployed).sort(),
    ...('code' in failure && { failure: { ...failure, attempts: count } }),
  };
  if (!certificate) return { ...shared, state: failures ? ('failing' as const) : ('missing' as const) };
  const { directoryUrl, keyType, fingerprint, notBefore, notAfter } = certificate;
  const byLifetime = renewalTime({ notBefore: new Date(notBefore), notAfter: new Date(notAfter) });
  const nextRenewal = advice
    ? ({ at: advice.selectedTime, by: 'the CA' } as const)
    : ({ at: byLifetime.toISOString(), by: 'lifetime' } as const);
  const left = Date.parse(notAfter) - now.getTime();
  const isDue = brought ? left <= LAST_MONTH : new Date(nextRenewal.at) <= now;
  const state: CertificateStatus['state'] = left <= 0 ? 'expired' : failures ? 'failing' : isDue ? 'due' : 'good';
  return {
    ...shared,
    state,
    authority: brought ? brought.issuer : authorityName(directoryUrl),
    keyType,
    fingerprint,
    notBefore,
    notAfter,
    daysLeft: Math.floor(left / DAY),
    ...(brought ? { brought: true as const } : { nextRenewal }),
  };
}

function authorityName(directoryUrl: string): string {
  const known = Object.entries(DIRECTORIES).find(([, { url }]) => url === directoryUrl);
  return known?.[0] ?? new URL(directoryUrl).host;
}

function worstFirst(a: CertificateStatus, b: CertificateStatus): number {
  const byState = STATES.indexOf(a.state) - STATES.indexOf(b.state);
  return byState || Date.parse(a.notAfter ?? '') - Date.parse(b.notAfter ?? '') || (a.name < b.name ? -1 : 1);
}
