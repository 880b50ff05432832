import { AutocertError, type ErrorCode } from '../errors.ts';
import { withoutSecrets } from '../redact.ts';

/** RFC 8555 section 6.7. */
export const PROBLEM_NAMESPACE = 'urn:ietf:params:acme:error:';

/** RFC 8555 section 6.7.1: what was wrong with one identifier of several. */
export interface Subproblem {
  readonly identifier: string | undefined;
  readonly type: string;
  readonly detail: string;
}

/** A problem document (RFC 7807) as far as ACME uses it. Every text is the server's: control characters are gone, it is short. */
export interface ProblemDocument {
  readonly type: string;
  readonly status: number;
  readonly detail: string;
  readonly subproblems: readonly Subproblem[];
  /** RFC 8555 section 7.3.3: the page a person must visit after userActionRequired. */
  readonly instance: string | undefined;
}

/** What the remedy can name. All of it is public. */
export interface ProblemContext {
  /** The resource that answered. */
  readonly url: string;
  /** What was being done, as the end of "The CA refused to ...". */
  readonly purpose: string;
  /** The identifier the problem is about, where the server did not say. */
  readonly identifier?: string | undefined;
  readonly retryAfter?: Date | undefined;
  /** The directory's `caaIdentities`. */
  readonly caaIdentities?: readonly string[] | undefined;
  /** Whether the request carried an external account binding. */
  readonly externalAccountBinding?: boolean | undefined;
}

/** The CA said no, by a problem document (RFC 8555 section 6.7). One `code` for each registered type. */
export class AcmeProblem extends AutocertError {
  override readonly name: string = 'AcmeProblem';
  /** The URN; `about:blank` for an answer that was no problem document. */
  readonly type: string;
  /** The HTTP status; 0 where the problem was found inside an order or a challenge that has none. */
  readonly status: number;
  readonly detail: string;
  readonly subproblems: readonly Subproblem[];
  readonly url: string;
  readonly identifier: string | undefined;

  constructor(document: ProblemDocument, context: ProblemContext) {
    const kind = kindOf(document.type);
    super({
      code: document.status === 503 && kind.code !== 'ACME_RATE_LIMITED' ? 'ACME_UNAVAILABLE' : kind.code,
      message: messageOf(document, context),
      retryable: kind.retryable || document.status >= 500,
      remedy: kind.remedy(document, context),
      retryAfter: context.retryAfter,
    });
    this.type = document.type;
    this.status = document.status;
    this.detail = document.detail;
    this.subproblems = document.subproblems;
    this.url = context.url;
    this.identifier =
      context.identifier ?? document.subproblems.find((each) => each.identifier !== undefined)?.identifier;
  }
}

/** The problem document in `value`, or undefined when it is none. `status` is the HTTP status it came with, or 0. */
export function parseProblem(value: unknown, status: number): ProblemDocument | undefined {
  if (!isObject(value) || typeof value['type'] !== 'string') return undefined;
  const subproblems = Array.isArray(value['subproblems']) ? value['subproblems'].slice(0, 100) : [];
  return {
    type: tidy(value['type'], 200),
    status: status === 0 && typeof value['status'] === 'number' ? value['status'] : status,
    detail: tidy(value['detail'], 1000),
    subproblems: subproblems.filter(isObject).map((each) => ({
      identifier: isObject(each['identifier']) ? tidy(each['identifier']['value'], 253) || undefined : undefined,
      type: tidy(each['type'], 200),
      detail: tidy(each['detail'], 500),
    })),
    instance: typeof value['instance'] === 'string' ? tidy(value['instance'], 500) : undefined,
  };
}

/** The type without the ACME namespace: `caa`. */
function shortType(type: string): string {
  return type.startsWith(PROBLEM_NAMESPACE) ? type.slice(PROBLEM_NAMESPACE.length) : type;
}

function kindOf(type: string): Kind {
  const name = shortType(type);
  return (Object.hasOwn(KINDS, name) ? KINDS[name] : undefined) ?? UNKNOWN;
}

function messageOf(document: ProblemDocument, context: ProblemContext): string {
  const about = context.identifier === undefined ? '' : ` for ${context.identifier}`;
  const parts = document.subproblems.map((each) => {
    return `${each.identifier ?? 'one identifier'}: ${shortType(each.type)}: ${each.detail}`;
  });
  const head = `The CA refused to ${context.purpose}${about}: ${shortType(document.type)}`;
  return [head, document.detail, ...parts].filter(Boolean).join('; ');
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const LONGEST_READ = 20_000;

function tidy(value: unknown, length: number): string {
  if (typeof value !== 'string') return '';
  // Before it is cut: half a secret would not be found any more.
  return withoutSecrets(value.slice(0, LONGEST_READ))
    .slice(0, length)
    .replace(/\p{C}+/gu, ' ')
    .trim();
}

interface Kind {
  readonly code: ErrorCode;
  /**
   * A failed validation is never retryable: the same order cannot be validated twice, and CAs count failures by the hour
   * (Let's Encrypt: five). The next run decides when to open the next order.
   */
  readonly retryable: boolean;
  remedy(document: ProblemDocument, context: ProblemContext): string;
}

function kind(code: ErrorCode, retryable: boolean, remedy: string | Kind['remedy']): Kind {
  return { code, retryable, remedy: typeof remedy === 'string' ? () => remedy : remedy };
}

const NEXT_RUN = 'Let the next run try again; if it lasts, look at the status page of the CA.';
const DEFECT = 'This is a defect of aliyun-cdn-autocert or of the CA: report it with this message.';
const STAR = 'Remove the auto-renewal (STAR) order at the CA: aliyun-cdn-autocert opens ordinary orders only.';

const UNKNOWN = kind(
  'ACME_UNKNOWN_PROBLEM',
  false,
  "Read the detail above, it is the CA's own; ask the CA if it is not clear.",
);

const nameOf = (document: ProblemDocument, context: ProblemContext): string => {
  return context.identifier ?? document.subproblems.find((each) => each.identifier)?.identifier ?? 'the domain';
};

/**
 * RFC 8555 section 6.7 and the registry it opened (RFC 8739 STAR, RFC 9115 delegation, RFC 9773 ARI, RFC 9799 onion),
 * invalidProfile of draft-ietf-acme-profiles, and conflict, which Boulder sends.
 */
const KINDS: Readonly<Record<string, Kind>> = {
  accountDoesNotExist: kind(
    'ACME_ACCOUNT_DOES_NOT_EXIST',
    false,
    'Let the next run register the account again with the stored key; check that acme.directoryUrl is the CA the account belongs to.',
  ),
  alreadyReplaced: kind(
    'ACME_ALREADY_REPLACED',
    false,
    'Open the order without `replaces`: another order has replaced this certificate.',
  ),
  alreadyRevoked: kind('ACME_ALREADY_REVOKED', false, 'Nothing is left to do: the certificate is revoked.'),
  autoRenewalCanceled: kind('ACME_AUTO_RENEWAL_CANCELED', false, STAR),
  autoRenewalCancellationInvalid: kind('ACME_AUTO_RENEWAL_CANCELLATION_INVALID', false, STAR),
  autoRenewalExpired: kind('ACME_AUTO_RENEWAL_EXPIRED', false, STAR),
  autoRenewalRevocationNotSupported: kind('ACME_AUTO_RENEWAL_REVOCATION_NOT_SUPPORTED', false, STAR),
  badCSR: kind(
    'ACME_BAD_CSR',
    false,
    'Check keyType and identifiers of this certificate: the CA does not sign this key type or this set of names.',
  ),
  badNonce: kind('ACME_BAD_NONCE', true, NEXT_RUN),
  badPublicKey: kind(
    'ACME_BAD_PUBLIC_KEY',
    false,
    'Choose another keyType for this certificate: the CA refuses this key.',
  ),
  badRevocationReason: kind('ACME_BAD_REVOCATION_REASON', false, 'Revoke with another reason, or with none.'),
  badSignatureAlgorithm: kind(
    'ACME_BAD_SIGNATURE_ALGORITHM',
    false,
    'Delete the stored account key so that the next run makes an EC P-256 one.',
  ),
  caa: kind('ACME_CAA', false, (document, context) => {
    const identity = context.caaIdentities?.[0] ?? "the CA's domain name";
    const name = nameOf(document, context).replace(/^\*\./, '');
    return (
      `Add the CAA record \`${name} CAA 0 issue "${identity}"\` (issuewild for a wildcard), and check that an accounturi in the ` +
      'existing record is this account and that every name server answers CAA queries.'
    );
  }),
  compound: kind('ACME_COMPOUND', false, 'Read the message: it says for each name what to repair.'),
  conflict: kind(
    'ACME_CONFLICT',
    false,
    'Let the next run begin with a fresh order: another client has changed this one.',
  ),
  connection: kind('ACME_CONNECTION', false, (document, context) => {
    return `Check from outside that ${nameOf(document, context)} answers on port 80 (http-01) or that its name servers answer (dns-01).`;
  }),
  dns: kind('ACME_DNS', false, (document, context) => {
    const name = nameOf(document, context).replace(/^\*\./, '');
    return `Query TXT _acme-challenge.${name} at every authoritative name server: one of them fails, refuses, or has a broken DNSSEC chain.`;
  }),
  externalAccountRequired: kind('ACME_EXTERNAL_ACCOUNT_REQUIRED', false, (_document, context) => {
    return context.externalAccountBinding === true
      ? 'Check acme.externalAccountBinding.kid and acme.externalAccountBinding.hmacKey: the CA does not take this pair.'
      : "Set acme.externalAccountBinding.kid and acme.externalAccountBinding.hmacKey to the pair from the CA's console.";
  }),
  incorrectResponse: kind('ACME_INCORRECT_RESPONSE', false, (document, context) =>
    challengeRemedy(nameOf(document, context)),
  ),
  invalidContact: kind(
    'ACME_INVALID_CONTACT',
    false,
    'Set acme.contact to a mail address that exists, as mailto:you@example.com.',
  ),
  invalidProfile: kind(
    'ACME_INVALID_PROFILE',
    false,
    "Set acme.profile to one that the CA's directory lists under meta.profiles, or remove it.",
  ),
  malformed: kind('ACME_MALFORMED', false, (_document, context) => {
    return context.externalAccountBinding === true
      ? 'Check acme.externalAccountBinding.kid and acme.externalAccountBinding.hmacKey first; else report this message.'
      : DEFECT;
  }),
  onionCAARequired: kind(
    'ACME_ONION_CAA_REQUIRED',
    false,
    'Remove the .onion name: aliyun-cdn-autocert does not sign its CAA record.',
  ),
  orderNotReady: kind(
    'ACME_ORDER_NOT_READY',
    false,
    'Let the next run resume the order: its authorizations are not all valid yet.',
  ),
  rateLimited: kind('ACME_RATE_LIMITED', true, (_document, context) => {
    return context.retryAfter === undefined
      ? 'Leave the schedule as it is, the limit lapses by itself; do not force renewals meanwhile.'
      : `Wait until ${context.retryAfter.toISOString()}, when the CA takes orders again; do not force renewals before.`;
  }),
  rejectedIdentifier: kind('ACME_REJECTED_IDENTIFIER', false, (document, context) => {
    return `Remove ${nameOf(document, context)} from the certificate, or use another CA for it: this one does not issue for it.`;
  }),
  serverInternal: kind('ACME_SERVER_INTERNAL', true, NEXT_RUN),
  tls: kind('ACME_TLS', false, (document, context) => {
    return `Check the TLS answer of ${nameOf(document, context)} on port 443, or use the dns-01 challenge.`;
  }),
  unauthorized: kind('ACME_UNAUTHORIZED', false, (document, context) => {
    if (context.externalAccountBinding === true) {
      return 'Check acme.externalAccountBinding.kid and acme.externalAccountBinding.hmacKey: the CA does not take this pair.';
    }
    const name = context.identifier ?? document.subproblems.find((each) => each.identifier)?.identifier;
    return name === undefined
      ? 'Check that the stored account key belongs to this CA and that the account is not deactivated.'
      : challengeRemedy(name);
  }),
  unknownDelegation: kind(
    'ACME_UNKNOWN_DELEGATION',
    false,
    'Remove the delegation: aliyun-cdn-autocert opens ordinary orders only.',
  ),
  unsupportedContact: kind('ACME_UNSUPPORTED_CONTACT', false, 'Use a mailto: address in acme.contact.'),
  unsupportedIdentifier: kind('ACME_UNSUPPORTED_IDENTIFIER', false, (document, context) => {
    return `Remove ${nameOf(document, context)} from the certificate, or name a profile of the CA that allows this kind of identifier.`;
  }),
  userActionRequired: kind('ACME_USER_ACTION_REQUIRED', false, (document) => {
    return document.instance === undefined
      ? 'Read the terms of service of the CA and set acme.termsOfServiceAgreed to true.'
      : `Open ${document.instance} in a browser and do what the CA asks there.`;
  }),
};

function challengeRemedy(identifier: string): string {
  const name = identifier.replace(/^\*\./, '');
  return (
    `Query TXT _acme-challenge.${name} from outside (http-01: GET http://${name}/.well-known/acme-challenge/): look for an old value, ` +
    'a CNAME that leads elsewhere, or name servers that disagree.'
  );
}
