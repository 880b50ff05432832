import * as v from 'valibot';
import { IDENTIFIER_RULES, normaliseDomain, normaliseIdentifier } from '../identifier.ts';
import { Secret } from '../secret.ts';
import type { ConfigProblemCode } from './problem.ts';
import {
  DIRECTORIES,
  decodedLength,
  isBucket,
  isCertificateName,
  isKeyPrefix,
  parseAddress,
  parseDirectoryUrl,
  parseDuration,
  parseEndpoint,
  parsePattern,
  parseResolver,
  parseStore,
} from './values.ts';

export const KEY_TYPES = ['rsa2048', 'rsa3072', 'rsa4096', 'ec256', 'ec384'] as const;
export const CHANNELS = [
  'dingtalk',
  'feishu',
  'lark',
  'wecom',
  'slack',
  'teams',
  'telegram',
  'webhook',
  'directmail',
  'cloudmonitor',
] as const;

/** A map with these keys and no others. The issue of an unknown key has the known ones as its message. */
function map<const Entries extends v.ObjectEntries>(entries: Entries) {
  return v.strictObject(entries, (issue) =>
    issue.expected === 'never' ? Object.keys(entries).join(', ') : issue.message,
  );
}

/** Reads a text by `parse`. The issue of one that it does not take carries the problem's code and what is allowed. */
function read<T>(code: ConfigProblemCode, allowed: string, parse: (text: string) => T | undefined) {
  return v.pipe(
    v.string(),
    v.rawTransform<string, T>(({ dataset, addIssue, NEVER }) => {
      const value = parse(dataset.value);
      if (value !== undefined) return value;
      addIssue({ message: code, expected: allowed });
      return NEVER;
    }),
  );
}

function name(normalise: typeof normaliseIdentifier) {
  return v.pipe(
    v.string(),
    v.rawTransform<string, string>(({ dataset, addIssue, NEVER }) => {
      const result = normalise(dataset.value);
      if (result.name !== undefined) return result.name;
      addIssue({
        message: 'IDENTIFIER_INVALID' satisfies ConfigProblemCode,
        expected: IDENTIFIER_RULES[result.reason],
      });
      return NEVER;
    }),
  );
}

function when(test: (text: string) => boolean): (text: string) => string | undefined {
  return (text) => (test(text) ? text : undefined);
}

function duration(least: string, most: string) {
  const [from = 0, to = 0] = [parseDuration(least), parseDuration(most)];
  return read('DURATION_INVALID', `a duration from ${least} to ${most}, such as 30s, 10m, 6h or 2d`, (text) => {
    const milliseconds = parseDuration(text);
    return milliseconds !== undefined && milliseconds >= from && milliseconds <= to ? milliseconds : undefined;
  });
}

const text = read(
  'TEXT_EMPTY',
  'a text of 1 to 1024 characters',
  when((value) => value.trim() !== '' && value.length <= 1024),
);
const secret = v.pipe(
  text,
  v.transform((value) => new Secret(value)),
);
const domain = name(normaliseDomain);
const identifier = name(normaliseIdentifier);
const keyType = v.picklist(KEY_TYPES);
const endpoint = read(
  'URL_INVALID',
  'an https origin such as https://cdn.aliyuncs.com (http for loopback hosts only)',
  parseEndpoint,
);
const pattern = read('PATTERN_INVALID', 'a domain, or a pattern such as *.example.com', parsePattern);
const aesKey = v.pipe(
  v.string(),
  v.rawTransform<string, Secret>(({ dataset, addIssue, NEVER }) => {
    const bytes = decodedLength(dataset.value);
    if (bytes === 32) return new Secret(Buffer.from(dataset.value.trim(), 'base64').toString('base64'));
    if (bytes === undefined)
      addIssue({ message: 'KEY_ENCODING' satisfies ConfigProblemCode, expected: '32 bytes in base64' });
    else
      addIssue({
        message: 'KEY_LENGTH' satisfies ConfigProblemCode,
        expected: '32 bytes in base64',
        received: `${bytes} bytes`,
      });
    return NEVER;
  }),
);

const contact = v.array(
  read(
    'CONTACT_INVALID',
    'a mailto: URL with one address',
    when((value) => /^mailto:[^\s@,?]{1,64}@[^\s@,?]{1,253}$/.test(value)),
  ),
);
const termsOfServiceAgreed = v.pipe(
  v.boolean(),
  v.rawTransform<boolean, true>(({ dataset, addIssue, NEVER }) => {
    if (dataset.value) return true;
    addIssue({ message: 'TERMS_NOT_AGREED' satisfies ConfigProblemCode, expected: 'true: no CA issues without it' });
    return NEVER;
  }),
);
const externalAccountBinding = map({
  kid: text,
  hmacKey: v.pipe(
    read(
      'KEY_ENCODING',
      "the CA's key in base64url",
      when((value) => (decodedLength(value) ?? 0) > 0),
    ),
    v.transform((value) => new Secret(value.trim())),
  ),
});

const directoryUrl = read(
  'DIRECTORY_INVALID',
  `an https URL, or one of ${Object.keys(DIRECTORIES).join(', ')}`,
  parseDirectoryUrl,
);

const authority = {
  directoryUrl,
  externalAccountBinding: v.optional(externalAccountBinding),
  profile: v.optional(
    read(
      'TEXT_EMPTY',
      'the name of a profile of the CA',
      when((value) => /^[A-Za-z0-9._-]{1,64}$/.test(value)),
    ),
  ),
  caBundle: v.optional(text),
  preferredChain: v.optional(text),
  rehearsal: v.optional(directoryUrl),
};

const target = map({ type: v.optional(v.literal('cdn'), 'cdn'), domains: v.optional(v.array(domain)) });

const certificate = map({
  name: v.optional(
    read('NAME_INVALID', '1 to 64 of a-z 0-9 . _ -, a letter or digit first, no ..', when(isCertificateName)),
  ),
  identifiers: v.array(identifier),
  keyType: v.optional(keyType, 'rsa2048'),
  profile: authority.profile,
  targets: v.optional(v.array(target)),
});

const channel = map({
  channel: v.picklist(CHANNELS),
  url: v.optional(secret),
  secret: v.optional(secret),
  language: v.optional(v.picklist(['zh', 'en'])),
  template: v.optional(v.pipe(v.string(), v.maxLength(4000))),
  /** telegram: the chat. */
  chatId: v.optional(text),
  /** directmail: the sender's address and the receivers'. */
  from: v.optional(text),
  to: v.optional(v.array(text)),
});

/** The one definition of the configuration: what is read, what it becomes, and what its JSON Schema is made from. */
export const ConfigSchema = map({
  acme: map({
    ...authority,
    directoryUrl: v.optional(authority.directoryUrl, 'letsencrypt'),
    contact,
    termsOfServiceAgreed: v.optional(termsOfServiceAgreed, true),
    /** Certificates that are issued at once. */
    concurrency: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(1000)), 100),
    fallback: v.optional(
      v.array(
        map({
          ...authority,
          contact: v.optional(contact),
          termsOfServiceAgreed: v.optional(termsOfServiceAgreed, true),
        }),
      ),
      [],
    ),
  }),
  challenge: v.optional(
    map({
      type: v.optional(v.picklist(['dns-01', 'http-01']), 'dns-01'),
      solver: v.optional(v.picklist(['alidns', 'oss'])),
      bucket: v.optional(read('BUCKET_INVALID', 'the name of an OSS bucket', when(isBucket))),
      prefix: v.optional(read('BUCKET_INVALID', 'a key prefix without empty or dotted segments', when(isKeyPrefix))),
    }),
    {},
  ),
  dns: v.optional(
    map({
      resolvers: v.optional(
        v.array(read('ADDRESS_INVALID', 'an IP address, with a port where it is not 53', parseResolver)),
        ['223.5.5.5', '223.6.6.6'],
      ),
      propagation: v.optional(v.picklist(['authoritative', 'resolvers']), 'authoritative'),
    }),
    {},
  ),
  certificates: v.optional(v.array(certificate), []),
  discover: v.optional(
    map({
      include: v.optional(v.array(pattern), ['*']),
      exclude: v.optional(v.array(pattern), []),
      group: v.optional(v.picklist(['domain', 'zone']), 'domain'),
      keyType: v.optional(keyType, 'rsa2048'),
    }),
  ),
  renewal: v.optional(map({ interval: v.optional(duration('1s', '7d'), '6h') }), {}),
  cdn: v.optional(
    map({
      api: v.optional(v.picklist(['auto', 'SetDomainServerCertificate', 'SetCdnDomainSSLCertificate']), 'auto'),
      callsPerSecond: v.optional(v.pipe(v.number(), v.minValue(0.1), v.maxValue(100)), 10),
    }),
    {},
  ),
  verify: v.optional(
    map({
      patience: v.optional(duration('0s', '1d'), '10m'),
      connect: v.optional(
        v.pipe(
          v.union([v.string(), v.array(v.string())]),
          v.rawTransform<string | string[], string[]>(({ dataset, addIssue, NEVER }) => {
            const addresses = [dataset.value].flat().map((address) => parseAddress(address, 443));
            const good = addresses.filter((address) => address !== undefined);
            if (good.length === addresses.length && good.length > 0) return good;
            addIssue({
              message: 'ADDRESS_INVALID' satisfies ConfigProblemCode,
              expected: 'host:port, or a list of them',
            });
            return NEVER;
          }),
        ),
      ),
    }),
    {},
  ),
  store: read('STORE_INVALID', 'oss://bucket/prefix or file:///path', parseStore),
  encryption: v.optional(
    map({ key: v.optional(aesKey), kmsKeyId: v.optional(text), previousKeys: v.optional(v.array(aesKey), []) }),
  ),
  inbox: v.optional(map({ passwords: v.optional(v.array(secret), []) }), {}),
  notify: v.optional(v.array(channel), []),
  heartbeat: v.optional(secret),
  region: v.optional(
    read(
      'VALUE_NOT_ALLOWED',
      'a region such as cn-hangzhou',
      when((value) => /^[a-z]{2,8}(-[a-z0-9]{1,16}){1,4}$/.test(value)),
    ),
  ),
  endpoints: v.optional(
    map({
      cdn: v.optional(endpoint, 'https://cdn.aliyuncs.com'),
      alidns: v.optional(endpoint, 'https://alidns.aliyuncs.com'),
      kms: v.optional(endpoint),
      oss: v.optional(endpoint),
      fc: v.optional(endpoint),
    }),
    {},
  ),
});

export type ParsedConfig = v.InferOutput<typeof ConfigSchema>;
