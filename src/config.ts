import { readFileSync } from 'node:fs';
import { readFile as readTextFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import * as v from 'valibot';
import { caBundlePaths, readBundle } from './config/bundle.ts';
import { place, toProblems } from './config/issues.ts';
import { readJson } from './config/json.ts';
import { toNotify } from './config/notify.ts';
import { ConfigError, type ConfigProblem, MAX_PROBLEMS, quote } from './config/problem.ts';
import { checkRules } from './config/rules.ts';
import { type CHANNELS, ConfigSchema, type KEY_TYPES, type ParsedConfig } from './config/schema.ts';
import { checkSuffixes } from './config/suffixes.ts';
import type { Tree } from './config/text.ts';
import { nameFor, parseObjectUrl, rehearsalOf, type StoreLocation } from './config/values.ts';
import type { Environment } from './config/variables.ts';
import { withoutRedundant } from './identifier.ts';
import { Secret } from './secret.ts';

export type { StoreLocation };
export type KeyType = (typeof KEY_TYPES)[number];
export type Channel = (typeof CHANNELS)[number];

/** A CA and how to be its customer. */
export interface CertificateAuthority {
  readonly directoryUrl: string;
  /** `mailto:` URLs, at least one. */
  readonly contact: readonly string[];
  readonly termsOfServiceAgreed: true;
  readonly externalAccountBinding: { readonly kid: string; readonly hmacKey: Secret } | undefined;
  /** draft-ietf-acme-profiles: the profile that its orders name. */
  readonly profile: string | undefined;
  /** PEM certificates (the text, not the path) that the ACME endpoint itself is trusted by. */
  readonly caBundle: string | undefined;
  /** The common name of the root's issuer that the chain is to end in, where the CA offers alternatives. */
  readonly preferredChain: string | undefined;
  /** The directory at which a validation that failed is tried first. */
  readonly rehearsal: string | undefined;
}

export interface CertificateConfig {
  /** A key of the store: `[a-z0-9][a-z0-9._-]{0,63}`. */
  readonly name: string;
  /** A-labels, lower case, each once, without names that a wildcard of the same list covers. */
  readonly identifiers: readonly string[];
  readonly keyType: KeyType;
  /** Overrides the profile of the CA. */
  readonly profile: string | undefined;
  /** The domains to deploy to, wildcards as `*.example.com`. */
  readonly targets: readonly { readonly type: 'cdn'; readonly domains: readonly string[] }[];
}

export type ChallengeConfig =
  | { readonly type: 'dns-01'; readonly solver: 'alidns' }
  | { readonly type: 'http-01'; readonly solver: 'oss'; readonly bucket: string; readonly prefix: string };

export type EncryptionConfig =
  /** 32 bytes each, base64. */
  | { readonly key: Secret; readonly previousKeys: readonly Secret[] }
  | { readonly kmsKeyId: string; readonly previousKeys: readonly Secret[] };

export interface NotifyConfig {
  readonly channel: Channel;
  readonly url: Secret | undefined;
  readonly secret: Secret | undefined;
  readonly language: 'zh' | 'en';
  readonly template: string | undefined;
  readonly chatId: string | undefined;
  readonly from: string | undefined;
  readonly to: readonly string[];
}

/** The whole configuration, complete and normalised. Durations are in milliseconds. */
export interface Config {
  /** `concurrency`: orders under way at once. */
  readonly acme: CertificateAuthority & {
    readonly concurrency: number;
    readonly fallback: readonly CertificateAuthority[];
  };
  readonly challenge: ChallengeConfig;
  /** `resolvers`: as `dns.Resolver.setServers` takes them. */
  readonly dns: { readonly resolvers: readonly string[]; readonly propagation: 'authoritative' | 'resolvers' };
  readonly certificates: readonly CertificateConfig[];
  readonly discover:
    | {
        /** Patterns: `*` stands for any characters. */
        readonly include: readonly string[];
        readonly exclude: readonly string[];
        readonly group: 'domain' | 'zone';
        readonly keyType: KeyType;
      }
    | undefined;
  readonly renewal: { readonly interval: number };
  readonly cdn: {
    readonly api: 'auto' | 'SetDomainServerCertificate' | 'SetCdnDomainSSLCertificate';
    readonly callsPerSecond: number;
  };
  /** `connect`: `host:port` each; undefined for the domain's own edges. */
  readonly verify: { readonly patience: number; readonly connect: readonly string[] | undefined };
  readonly store: StoreLocation;
  readonly encryption: EncryptionConfig | undefined;
  /** What opens PKCS#12 files and encrypted keys that people put into the store's inbox. */
  readonly inbox: { readonly passwords: readonly Secret[] };
  readonly notify: readonly NotifyConfig[];
  /** A URL; it is a secret, for whoever knows it can report good runs. */
  readonly heartbeat: Secret | undefined;
  readonly region: string | undefined;
  /** Origins, without a trailing slash. Undefined only where nothing of the configuration uses it. */
  readonly endpoints: {
    readonly cdn: string;
    readonly alidns: string;
    readonly oss: string | undefined;
    readonly kms: string | undefined;
    /** Undefined for the account's own. */
    readonly fc: string | undefined;
  };
}

export interface ParseOptions {
  readonly env: Environment;
  /** The region this runs in: the default of `region`. */
  readonly region?: string | undefined;
  /** Reads `caBundle`. Without it a configuration that names one is refused. */
  readonly readFile?: (path: string) => string;
}

/** Text and environment as a Config. Throws ConfigError with every problem at once, of many the first hundred. */
export async function parseConfig(text: string, options: ParseOptions): Promise<Config> {
  const plain = readJson(text, options.env);
  const read = plain && (await toConfigOrProblems(withoutLines(plain), options));
  if (read && !Array.isArray(read)) return read;
  // Whatever is wrong is to be said with its line.
  const { readTree } = await import('./config/text.ts');
  const tree = readTree(text, options.env);
  if (tree.value === undefined) throw new ConfigError(tree.problems);
  const judged = await toConfigOrProblems(tree, options);
  if (Array.isArray(judged)) throw new ConfigError(judged);
  return judged;
}

function withoutLines(value: unknown): Tree {
  return { value, problems: [], fromEnvironment: new Set(), variables: new Set(), lineOf: () => undefined };
}

async function toConfigOrProblems(tree: Tree, options: ParseOptions): Promise<Config | ConfigProblem[]> {
  const result = v.safeParse(ConfigSchema, tree.value);
  const rules = [...(await checkSuffixes(tree.value)), ...checkRules(tree.value, options.region)];
  const problems = [
    ...(result.issues ?? []).slice(0, MAX_PROBLEMS).flatMap((issue) => toProblems(issue, tree)),
    ...rules.slice(0, MAX_PROBLEMS).map(({ path, found, ...problem }) => place({ ...problem, found }, path, tree)),
  ];
  const files = new Map<string, string>();
  for (const path of caBundlePaths(tree.value)) {
    const problem = readBundle(path.file, files, options.readFile);
    if (problem !== undefined) problems.push(place({ code: 'CA_BUNDLE_UNREADABLE', ...problem }, path.at, tree));
  }
  const all = ordered(tree.problems, problems);
  return all.length > 0 || !result.success ? all : toConfig(result.output, files, options.region);
}

/** What the environment lacks would be reported a second time as a value that is wrong. */
function ordered(first: readonly ConfigProblem[], rest: readonly ConfigProblem[]): ConfigProblem[] {
  const known = new Set(first.map(({ path }) => path));
  const all = [...first, ...rest.filter(({ path }) => !known.has(path))];
  return all.sort((a, b) => (a.line ?? 0) - (b.line ?? 0)).slice(0, MAX_PROBLEMS);
}

function toConfig(parsed: ParsedConfig, files: ReadonlyMap<string, string>, givenRegion: string | undefined): Config {
  const region = parsed.region ?? givenRegion;
  const inRegion = (origin: (region: string) => string) => (region === undefined ? undefined : origin(region));
  const { fallback, concurrency, ...primary } = parsed.acme;
  const acme = toAuthority(primary, files, { contact: parsed.acme.contact, caBundle: undefined });
  return {
    ...parsed,
    acme: { ...acme, concurrency, fallback: fallback.map((ca) => toAuthority(ca, files, acme)) },
    challenge: toChallenge(parsed.challenge),
    certificates: parsed.certificates.map(toCertificate),
    discover: parsed.discover,
    verify: { patience: parsed.verify.patience, connect: parsed.verify.connect },
    encryption: toEncryption(parsed.encryption),
    notify: parsed.notify.map(toNotify),
    heartbeat: parsed.heartbeat,
    region,
    endpoints: {
      cdn: parsed.endpoints.cdn,
      alidns: parsed.endpoints.alidns,
      oss: parsed.endpoints.oss ?? inRegion((name) => `https://oss-${name}.aliyuncs.com`),
      kms: parsed.endpoints.kms ?? inRegion((name) => `https://kms.${name}.aliyuncs.com`),
      fc: parsed.endpoints.fc,
    },
  };
}

/** A fallback has the contact and the trust of the primary CA, but never its account binding or its profile. */
function toAuthority(
  ca: ParsedConfig['acme']['fallback'][number],
  files: ReadonlyMap<string, string>,
  inherited: Pick<CertificateAuthority, 'caBundle' | 'contact'>,
): CertificateAuthority {
  return {
    directoryUrl: ca.directoryUrl,
    contact: ca.contact ?? inherited.contact,
    termsOfServiceAgreed: ca.termsOfServiceAgreed,
    externalAccountBinding: ca.externalAccountBinding,
    profile: ca.profile,
    caBundle: ca.caBundle === undefined ? inherited.caBundle : files.get(ca.caBundle),
    preferredChain: ca.preferredChain,
    rehearsal: ca.rehearsal ?? rehearsalOf(ca.directoryUrl),
  };
}

function toChallenge({ type, bucket = '', prefix = '' }: ParsedConfig['challenge']): ChallengeConfig {
  return type === 'dns-01' ? { type, solver: 'alidns' } : { type, solver: 'oss', bucket, prefix };
}

function toCertificate({
  name,
  identifiers,
  keyType,
  profile,
  targets,
}: ParsedConfig['certificates'][number]): CertificateConfig {
  const written = [...new Set(identifiers)];
  const domains = (named: readonly string[] | undefined) => [...new Set(named ?? written)];
  return {
    name: name ?? nameFor(written[0] ?? ''),
    identifiers: withoutRedundant(written),
    keyType,
    profile,
    targets: (targets ?? [{ type: 'cdn' as const, domains: written }]).map((target) => ({
      type: target.type,
      domains: domains(target.domains),
    })),
  };
}

function toEncryption(encryption: ParsedConfig['encryption']): EncryptionConfig | undefined {
  if (encryption === undefined) return undefined;
  const { key, kmsKeyId, previousKeys } = encryption;
  if (key !== undefined) return { key, previousKeys };
  return kmsKeyId === undefined ? undefined : { kmsKeyId, previousKeys };
}

/** Every secret that the configuration holds: what a log line is searched for. */
export function configSecrets(config: Config): Secret[] {
  const authorities = [config.acme, ...config.acme.fallback];
  const { encryption } = config;
  const all = [
    ...authorities.map((ca) => ca.externalAccountBinding?.hmacKey),
    ...(encryption === undefined ? [] : encryption.previousKeys),
    encryption !== undefined && 'key' in encryption ? encryption.key : undefined,
    ...config.inbox.passwords,
    ...config.notify.flatMap((entry) => [entry.url, entry.secret]),
    config.heartbeat,
  ];
  return all.filter((value) => value instanceof Secret);
}

export interface LoadOptions extends ParseOptions {
  /** Reads an object of OSS; undefined when there is none. */
  readonly readObject: (object: { readonly bucket: string; readonly key: string }) => Promise<string | undefined>;
}

/**
 * The configuration from `source`: the text itself, or where it is: a path, `file:///...` or `oss://bucket/key`. A text
 * is told from a path by a line break, a `{` at its beginning or a `: ` in it. Throws ConfigError, or what `readObject`
 * throws.
 */
export async function loadConfig(source: string, options: LoadOptions): Promise<Config> {
  const text = await readConfigText(source, options);
  return parseConfig(text, { readFile: (path) => readFileSync(path, 'utf8'), ...options });
}

/** The text itself, as `loadConfig` finds it. */
export async function readConfigText(source: string, options: LoadOptions): Promise<string> {
  return isText(source) ? source : readSource(source.trim(), options);
}

function isText(source: string): boolean {
  return source.trimEnd().includes('\n') || source.includes(': ') || /^\uFEFF?\s*\{/.test(source);
}

async function readSource(place: string, { readObject }: LoadOptions): Promise<string> {
  if (place === '') throw unreadable('', 'the configuration itself, or where it is', 'AUTOCERT_CONFIG is empty');
  if (place.startsWith('oss://')) {
    const object = parseObjectUrl(place);
    if (object === undefined) throw unreadable(place, 'oss://bucket/key', 'no object of OSS');
    const text = await readObject(object);
    if (text === undefined) throw unreadable(place, 'an object that exists', 'no such object');
    return text;
  }
  try {
    return await readTextFile(place.startsWith('file:') ? fileURLToPath(place) : place, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'an error';
    throw unreadable(place, 'a file that can be read', code);
  }
}

function unreadable(place: string, allowed: string, why: string): ConfigError {
  const found = place === '' ? why : `${quote(place)} (${why})`;
  return new ConfigError([
    {
      code: 'SOURCE_UNREADABLE',
      path: 'AUTOCERT_CONFIG',
      found,
      allowed,
      remedy: 'Set AUTOCERT_CONFIG to the configuration or to where it is.',
    },
  ]);
}
