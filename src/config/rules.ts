import { covers, normaliseDomain, normaliseIdentifier } from '../identifier.ts';
import type { ConfigProblemCode, Path } from './problem.ts';
import { CHANNELS } from './schema.ts';
import { DIRECTORIES, kindOfHost, nameFor, parseDirectoryUrl, webhookFault } from './values.ts';

export interface RuleProblem {
  readonly code: ConfigProblemCode;
  readonly path: Path;
  /** Left out where the value itself says it. */
  readonly found?: string;
  readonly allowed: string;
  readonly remedy?: string;
}

/** CAs accept 100 identifiers in a certificate (Let's Encrypt: "Names per Certificate"). */
const MAX_IDENTIFIERS = 100;
/** Let's Encrypt's profiles tlsserver and shortlived: 25. */
const MAX_IDENTIFIERS_OF_PROFILE = 25;

/**
 * What does not go together. The values are those of the text, of any shape: what is malformed is another's finding and
 * is passed over here, so that both kinds are reported at once.
 */
export function checkRules(config: unknown, region: string | undefined): RuleProblem[] {
  return [
    ...checkCertificates(config),
    ...checkAuthorities(config),
    ...checkChallenge(config),
    ...checkEncryption(config),
    ...checkRegion(config, region),
    ...checkNotify(config),
  ];
}

export function at(value: unknown, ...path: Path): unknown {
  let found = value;
  for (const part of path) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, part)) return undefined;
    found = Reflect.get(found, part);
  }
  return found;
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function textAt(value: unknown, ...path: Path): string | undefined {
  const found = at(value, ...path);
  return typeof found === 'string' ? found : undefined;
}

function isWildcard(value: unknown): boolean {
  return typeof value === 'string' && (value.startsWith('*.') || value.startsWith('.'));
}

function checkCertificates(config: unknown): RuleProblem[] {
  const problems: RuleProblem[] = [];
  const certificates = list(at(config, 'certificates'));
  if (certificates.length === 0 && at(config, 'discover') === undefined) {
    problems.push({
      code: 'NOTHING_TO_MANAGE',
      path: [],
      found: 'neither certificates nor discover',
      allowed: 'at least one of the two',
    });
  }
  const names = new Map<string, number>();
  const owners = new Map<string, Path>();
  certificates.forEach((certificate, index) => {
    const path = ['certificates', index];
    const identifiers = list(at(certificate, 'identifiers'));
    const normalised = new Set(
      identifiers.flatMap((value) => (typeof value === 'string' ? (normaliseIdentifier(value).name ?? []) : [])),
    );
    if (Array.isArray(at(certificate, 'identifiers')) && identifiers.length === 0) {
      problems.push({ code: 'LIST_EMPTY', path: [...path, 'identifiers'], allowed: 'at least one identifier' });
    }
    problems.push(...checkCount(config, certificate, path, normalised.size));
    const [first] = normalised;
    const name = textAt(certificate, 'name') ?? (first === undefined ? undefined : nameFor(first));
    const other = name === undefined ? undefined : names.get(name);
    if (other !== undefined) {
      const found = `${JSON.stringify(name)}, the name of certificates[${other}] too`;
      problems.push({ code: 'NAME_DUPLICATE', path: [...path, 'name'], found, allowed: 'a name of its own' });
    } else if (name !== undefined) names.set(name, index);
    problems.push(...checkTargets(certificate, path, normalised, owners));
  });
  return problems;
}

function checkCount(config: unknown, certificate: unknown, path: Path, count: number): RuleProblem[] {
  const profile = textAt(certificate, 'profile') ?? textAt(config, 'acme', 'profile');
  const directory = parseDirectoryUrl(textAt(config, 'acme', 'directoryUrl') ?? 'letsencrypt');
  const isLetsEncrypt = directory !== undefined && new URL(directory).hostname.endsWith('.letsencrypt.org');
  const isShort = isLetsEncrypt && (profile === 'tlsserver' || profile === 'shortlived');
  const most = isShort ? MAX_IDENTIFIERS_OF_PROFILE : MAX_IDENTIFIERS;
  if (count <= most) return [];
  const allowed = isShort ? `at most ${most} with the profile ${profile}` : `at most ${most}`;
  return [{ code: 'IDENTIFIERS_TOO_MANY', path: [...path, 'identifiers'], found: `${count} identifiers`, allowed }];
}

function checkTargets(
  certificate: unknown,
  path: Path,
  identifiers: ReadonlySet<string>,
  owners: Map<string, Path>,
): RuleProblem[] {
  const problems: RuleProblem[] = [];
  const written = at(certificate, 'targets');
  const places = Array.isArray(written)
    ? written.flatMap((target, index) =>
        Array.isArray(at(target, 'domains'))
          ? list(at(target, 'domains')).map((value, nth) => ({
              value,
              path: [...path, 'targets', index, 'domains', nth],
            }))
          : [...identifiers].map((value) => ({ value, path: [...path, 'targets', index] })),
      )
    : [...identifiers].map((value) => ({ value, path: [...path, 'identifiers'] }));
  // With a malformed identifier it is not known what the certificate covers; with too many nobody need know.
  const isComplete =
    identifiers.size <= MAX_IDENTIFIERS &&
    list(at(certificate, 'identifiers')).every((value) => typeof value === 'string' && normaliseIdentifier(value).name);
  for (const { value, path: place } of places) {
    const domain = typeof value === 'string' ? normaliseDomain(value).name : undefined;
    if (domain === undefined) continue;
    const owner = owners.get(domain);
    if (owner !== undefined) {
      const where = owner[1] === path[1] ? 'this certificate' : `certificates[${String(owner[1])}]`;
      const found = `${JSON.stringify(domain)}, a target of ${where} too`;
      problems.push({ code: 'TARGET_DUPLICATE', path: place, found, allowed: 'each domain as a target once' });
    } else owners.set(domain, place);
    if (isComplete && identifiers.size > 0 && !covers([...identifiers], domain)) {
      const allowed = 'a domain that the identifiers of its certificate cover (a wildcard covers one label)';
      problems.push({ code: 'TARGET_NOT_COVERED', path: place, allowed });
    }
  }
  return problems;
}

function checkAuthorities(config: unknown): RuleProblem[] {
  const problems: RuleProblem[] = [];
  const contact = at(config, 'acme', 'contact');
  if (Array.isArray(contact) && contact.length === 0) {
    problems.push({ code: 'LIST_EMPTY', path: ['acme', 'contact'], allowed: 'at least one mailto: URL' });
  }
  const fallback = list(at(config, 'acme', 'fallback')).map((value, index) => ({
    value,
    path: ['acme', 'fallback', index],
  }));
  for (const { value, path } of [{ value: at(config, 'acme'), path: ['acme'] }, ...fallback]) {
    const short = textAt(value, 'directoryUrl') ?? '';
    const url = parseDirectoryUrl(short);
    const known = Object.values(DIRECTORIES).find((directory) => directory.url === url);
    if (known?.needsExternalAccountBinding !== true || at(value, 'externalAccountBinding') !== undefined) continue;
    problems.push({
      code: 'EXTERNAL_ACCOUNT_BINDING_MISSING',
      path: [...path, 'externalAccountBinding'],
      allowed: 'the kid and hmacKey that this CA gives its customers',
      remedy: 'Create them in the console of the CA.',
    });
  }
  return problems;
}

function checkChallenge(config: unknown): RuleProblem[] {
  const challenge = at(config, 'challenge');
  const type = at(challenge, 'type') ?? 'dns-01';
  const solver = at(challenge, 'solver');
  if (type !== 'http-01') {
    if (type !== 'dns-01' || solver !== 'oss') return [];
    return [{ code: 'CHALLENGE_INCOMPLETE', path: ['challenge', 'solver'], allowed: 'alidns with dns-01' }];
  }
  const problems: RuleProblem[] = [];
  if (solver === 'alidns') {
    problems.push({ code: 'CHALLENGE_INCOMPLETE', path: ['challenge', 'solver'], allowed: 'oss with http-01' });
  }
  if (at(challenge, 'bucket') === undefined) {
    problems.push({
      code: 'CHALLENGE_INCOMPLETE',
      path: ['challenge', 'bucket'],
      allowed: "the bucket that is the domains' origin",
    });
  }
  list(at(config, 'certificates')).forEach((certificate, index) => {
    list(at(certificate, 'identifiers')).forEach((value, nth) => {
      if (!isWildcard(value)) return;
      problems.push({
        code: 'WILDCARD_NEEDS_DNS01',
        path: ['certificates', index, 'identifiers', nth],
        allowed: 'no wildcard with http-01 (RFC 8555 section 8.3)',
        remedy: 'Set challenge.type to dns-01.',
      });
    });
  });
  return problems;
}

function checkEncryption(config: unknown): RuleProblem[] {
  const encryption = at(config, 'encryption');
  if (encryption === undefined) return [];
  const [key, kmsKeyId] = [at(encryption, 'key'), at(encryption, 'kmsKeyId')];
  if ((key === undefined) !== (kmsKeyId === undefined)) return [];
  const found = key === undefined ? 'neither key nor kmsKeyId' : 'both key and kmsKeyId';
  return [{ code: 'ENCRYPTION_INCOMPLETE', path: ['encryption'], found, allowed: 'exactly one of key and kmsKeyId' }];
}

function checkRegion(config: unknown, given: string | undefined): RuleProblem[] {
  if (given !== undefined || at(config, 'region') !== undefined) return [];
  const usesOss =
    textAt(config, 'store')?.startsWith('oss://') === true || at(config, 'challenge', 'type') === 'http-01';
  const usesKms = at(config, 'encryption', 'kmsKeyId') !== undefined;
  const isMissing =
    (usesOss && at(config, 'endpoints', 'oss') === undefined) ||
    (usesKms && at(config, 'endpoints', 'kms') === undefined);
  if (!isMissing) return [];
  const allowed =
    'the region of the bucket and the key, such as cn-hangzhou (in Function Compute its own is the default)';
  return [{ code: 'REGION_MISSING', path: ['region'], allowed }];
}

function checkNotify(config: unknown): RuleProblem[] {
  const sandbox = isSandbox(config);
  const problems: RuleProblem[] = [];
  const heartbeat = textAt(config, 'heartbeat');
  if (heartbeat !== undefined) problems.push(...checkWebhook(heartbeat, ['heartbeat'], sandbox));
  list(at(config, 'notify')).forEach((entry, index) => {
    const path = ['notify', index];
    const channel = textAt(entry, 'channel');
    const url = textAt(entry, 'url');
    if (url !== undefined) problems.push(...checkWebhook(url, [...path, 'url'], sandbox));
    for (const key of neededBy(channel)) {
      if (at(entry, key) !== undefined) continue;
      problems.push({ code: 'CHANNEL_INCOMPLETE', path: [...path, key], allowed: `a value: ${channel} needs one` });
    }
  });
  return problems;
}

function neededBy(channel: string | undefined): readonly string[] {
  if (channel === 'directmail') return ['from', 'to'];
  if (channel === 'telegram') return ['url', 'chatId'];
  return CHANNELS.some((known) => known === channel && known !== 'cloudmonitor') ? ['url'] : [];
}

/**
 * With the CDN endpoint on a loopback host there is no cloud: then messages may go to loopback hosts too. Everywhere
 * else they may not, for there a URL of that kind asks the instance itself.
 */
function isSandbox(config: unknown): boolean {
  const endpoint = textAt(config, 'endpoints', 'cdn');
  return endpoint !== undefined && URL.canParse(endpoint) && kindOfHost(new URL(endpoint).hostname) === 'loopback';
}

function checkWebhook(url: string, path: Path, sandbox: boolean): RuleProblem[] {
  const fault = webhookFault(url, sandbox);
  if (fault === undefined) return [];
  const allowed =
    fault === 'URL_INVALID'
      ? 'an https URL without a user name'
      : 'a host that is not this machine, link-local or the metadata service';
  return [{ code: fault, path, allowed }];
}
