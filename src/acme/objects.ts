import * as v from 'valibot';
import { checkedUrl, invalidAnswer, json } from './answer.ts';
import type { Answer } from './https.ts';
import { type ProblemDocument, parseProblem } from './problem.ts';

// The resources of RFC 8555 section 7.1 and RFC 9773 section 4.2, as they are on the wire. Fields we do not know are left out.

const Url = v.pipe(
  v.string(),
  v.check((text) => {
    try {
      return checkedUrl(text).href !== '';
    } catch {
      return false;
    }
  }, 'not an https URL'),
);

const DirectorySchema = v.object({
  newNonce: Url,
  newAccount: Url,
  newOrder: Url,
  revokeCert: v.optional(Url),
  keyChange: v.optional(Url),
  /** RFC 9773 section 4.1: absent where the CA offers no ARI. */
  renewalInfo: v.optional(Url),
  meta: v.optional(
    v.object({
      termsOfService: v.optional(v.string()),
      /** Name to description, draft-ietf-acme-profiles section 3. */
      profiles: v.optional(v.record(v.string(), v.string())),
      externalAccountRequired: v.optional(v.boolean(), false),
      caaIdentities: v.optional(v.array(v.string()), []),
    }),
    {},
  ),
});

/** RFC 8555 section 7.1.1. Every URL is https. */
export type Directory = v.InferOutput<typeof DirectorySchema>;

const IdentifierSchema = v.object({ type: v.string(), value: v.pipe(v.string(), v.maxLength(253)) });

const OrderSchema = v.object({
  status: v.picklist(['pending', 'ready', 'processing', 'valid', 'invalid']),
  identifiers: v.array(IdentifierSchema),
  authorizations: v.array(Url),
  finalize: Url,
  expires: v.optional(v.string()),
  certificate: v.optional(Url),
  profile: v.optional(v.string()),
  replaces: v.optional(v.string()),
  error: v.optional(v.unknown()),
});

export type OrderStatus = v.InferOutput<typeof OrderSchema>['status'];

/** RFC 8555 section 7.1.3. */
export interface Order {
  readonly url: string;
  readonly status: OrderStatus;
  /** Lower case, as the CA names them; wildcards begin with `*.`. */
  readonly identifiers: readonly string[];
  readonly authorizations: readonly string[];
  readonly finalize: string;
  readonly certificate: string | undefined;
  readonly expires: string | undefined;
  readonly profile: string | undefined;
  /** The certID of the certificate that this order replaces (RFC 9773 section 5). */
  readonly replaces: string | undefined;
  readonly error: ProblemDocument | undefined;
}

const ChallengeSchema = v.object({
  type: v.string(),
  url: Url,
  status: v.picklist(['pending', 'processing', 'valid', 'invalid']),
  // RFC 8555 section 8.3: base64url. It becomes part of a path and of a DNS record.
  token: v.optional(v.pipe(v.string(), v.regex(/^[\w-]{1,256}$/))),
  error: v.optional(v.unknown()),
});

/** RFC 8555 section 7.1.5, as the CA offers it. */
export interface OfferedChallenge {
  readonly type: string;
  readonly url: string;
  readonly status: 'pending' | 'processing' | 'valid' | 'invalid';
  /** Absent in challenge types that need none. */
  readonly token: string | undefined;
  readonly error: ProblemDocument | undefined;
}

const AuthorizationSchema = v.object({
  identifier: IdentifierSchema,
  status: v.picklist(['pending', 'valid', 'invalid', 'deactivated', 'expired', 'revoked']),
  expires: v.optional(v.string()),
  wildcard: v.optional(v.boolean(), false),
  challenges: v.array(ChallengeSchema),
});

/** RFC 8555 section 7.1.4. */
export interface Authorization {
  readonly url: string;
  /** Lower case, without `*.`. */
  readonly identifier: string;
  readonly wildcard: boolean;
  readonly status: v.InferOutput<typeof AuthorizationSchema>['status'];
  readonly expires: string | undefined;
  readonly challenges: readonly OfferedChallenge[];
}

const AccountSchema = v.object({ status: v.picklist(['valid', 'deactivated', 'revoked']) });

export function parseDirectory(answer: Answer): Directory {
  return parse(DirectorySchema, answer, 'directory');
}

/** The account's status; `valid` when the answer does not say: some CAs send an empty object for an account that exists. */
export function parseAccountStatus(answer: Answer): 'valid' | 'deactivated' | 'revoked' {
  const result = v.safeParse(AccountSchema, json(answer));
  return result.success ? result.output.status : 'valid';
}

/** @param url The order's own URL: the answer to finalize comes from another one. */
export function parseOrder(answer: Answer, url: string): Order {
  const { identifiers, error, certificate, expires, profile, replaces, ...order } = parse(OrderSchema, answer, 'order');
  return {
    ...order,
    url,
    identifiers: identifiers.map(({ value }) => value.toLowerCase()),
    certificate,
    expires,
    profile,
    replaces,
    error: parseProblem(error, 0),
  };
}

export function parseAuthorization(answer: Answer, url: string): Authorization {
  const { identifier, challenges, expires, ...authorization } = parse(AuthorizationSchema, answer, 'authorization');
  return {
    ...authorization,
    url,
    expires,
    identifier: identifier.value.toLowerCase().replace(/^\*\./, ''),
    challenges: challenges.map(toChallenge),
  };
}

export function parseChallenge(answer: Answer): OfferedChallenge {
  return toChallenge(parse(ChallengeSchema, answer, 'challenge'));
}

function toChallenge({ token, error, ...challenge }: v.InferOutput<typeof ChallengeSchema>): OfferedChallenge {
  return { ...challenge, token, error: parseProblem(error, 0) };
}

function parse<Schema extends v.GenericSchema>(schema: Schema, answer: Answer, what: string): v.InferOutput<Schema> {
  const result = v.safeParse(schema, json(answer), { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const path = v.getDotPath(issue) ?? 'the whole';
  throw invalidAnswer(answer.url, `sent no ${what}: ${path} is missing or wrong`, false);
}
