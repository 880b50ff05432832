import { withoutSecrets } from './redact.ts';

/** Every code an error of ours can carry. A code is never reused for another meaning. */
export const ERROR_CODES = [
  // The configuration and the start of a run.
  'CONFIG_INVALID',
  'EVENT_INVALID',
  'FILTER_MATCHED_NOTHING',
  'CREDENTIALS_MISSING',
  'CREDENTIALS_REFUSED',
  'CREDENTIALS_EXPIRED',
  'PERMISSION_DENIED',
  'CLOCK_SKEWED',
  // A call to a cloud API, whatever the product.
  'CALL_THROTTLED',
  'SERVICE_BUSY',
  'SERVICE_UNAVAILABLE',
  'SERVICE_UNREACHABLE',
  'RESPONSE_INVALID',
  'REQUEST_REFUSED',
  'API_GONE',
  'ACCOUNT_SUSPENDED',
  // CDN domains and their certificates.
  'DOMAIN_NOT_FOUND',
  'DOMAIN_OFFLINE',
  'DOMAIN_HTTPS_OFF',
  'DOMAIN_PROTECTED',
  'DOMAIN_REFUSED',
  'CERTIFICATE_REFUSED',
  'PRIVATE_KEY_REFUSED',
  'CERTIFICATE_NAME_TAKEN',
  'CERTIFICATE_UNKNOWN',
  'CERTIFICATE_NOT_IN_EFFECT',
  'WORSE_CERTIFICATE',
  'NOT_SERVED',
  // DNS.
  'DNS_ZONE_NOT_FOUND',
  'DNS_ZONE_LOCKED',
  'DNS_RECORD_CONFLICT',
  'DNS_RECORD_QUOTA',
  'DNS_LOOKUP_FAILED',
  'DNS_CNAME_LOOP',
  'DNS_NOT_PROPAGATED',
  // ACME: our own findings.
  'ACME_UNREACHABLE',
  'ACME_UNAVAILABLE',
  'ACME_RESPONSE_INVALID',
  'ACME_LIMIT_REACHED',
  'ACME_LIMIT_OUTLASTS_CERTIFICATE',
  'ACME_ORDER_PENDING',
  'ACME_ORDER_INVALID',
  'ACME_CHALLENGE_UNAVAILABLE',
  'CERTIFICATE_INVALID',
  // A certificate that its owner brought.
  'CERTIFICATE_FILE_REFUSED',
  'CERTIFICATE_ENDED',
  // ACME: one code for each problem type, RFC 8555 section 6.7 and its registry.
  'ACME_ACCOUNT_DOES_NOT_EXIST',
  'ACME_ALREADY_REPLACED',
  'ACME_ALREADY_REVOKED',
  'ACME_AUTO_RENEWAL_CANCELED',
  'ACME_AUTO_RENEWAL_CANCELLATION_INVALID',
  'ACME_AUTO_RENEWAL_EXPIRED',
  'ACME_AUTO_RENEWAL_REVOCATION_NOT_SUPPORTED',
  'ACME_BAD_CSR',
  'ACME_BAD_NONCE',
  'ACME_BAD_PUBLIC_KEY',
  'ACME_BAD_REVOCATION_REASON',
  'ACME_BAD_SIGNATURE_ALGORITHM',
  'ACME_CAA',
  'ACME_COMPOUND',
  'ACME_CONFLICT',
  'ACME_CONNECTION',
  'ACME_DNS',
  'ACME_EXTERNAL_ACCOUNT_REQUIRED',
  'ACME_INCORRECT_RESPONSE',
  'ACME_INVALID_CONTACT',
  'ACME_INVALID_PROFILE',
  'ACME_MALFORMED',
  'ACME_ONION_CAA_REQUIRED',
  'ACME_ORDER_NOT_READY',
  'ACME_RATE_LIMITED',
  'ACME_REJECTED_IDENTIFIER',
  'ACME_SERVER_INTERNAL',
  'ACME_TLS',
  'ACME_UNAUTHORIZED',
  'ACME_UNKNOWN_DELEGATION',
  'ACME_UNKNOWN_PROBLEM',
  'ACME_UNSUPPORTED_CONTACT',
  'ACME_UNSUPPORTED_IDENTIFIER',
  'ACME_USER_ACTION_REQUIRED',
  // The store and the run.
  'STORE_UNREADABLE',
  'STORE_UNWRITABLE',
  'STORE_CORRUPT',
  'STORE_KEY_WRONG',
  'STORE_NEWER_VERSION',
  'LEASE_HELD',
  'LEASE_LOST',
  'DEADLINE_REACHED',
  'INTERNAL',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

export interface AutocertErrorInit {
  readonly code: ErrorCode;
  /** What happened, with the names involved and without anything secret. */
  readonly message: string;
  /** May the same step succeed if it is simply done again? Set by whoever makes the error; the retry loop asks only this. */
  readonly retryable: boolean;
  /** What a person does about it: one sentence, in the imperative. */
  readonly remedy: string;
  readonly cause?: unknown;
  /** The server's own word for when to come back, as an instant. */
  readonly retryAfter?: Date | undefined;
  /** The request id of the cloud API, for its support. */
  readonly requestId?: string | undefined;
}

/** Nothing secret is in it, whatever it was made of: texts of servers and foreign errors are cleaned here. */
export class AutocertError extends Error {
  override readonly name: string = 'AutocertError';
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly remedy: string;
  readonly retryAfter: Date | undefined;
  readonly requestId: string | undefined;

  constructor(init: AutocertErrorInit) {
    super(withoutSecrets(init.message), init.cause === undefined ? undefined : { cause: told(init.cause, 0) });
    this.code = init.code;
    this.retryable = init.retryable;
    this.remedy = withoutSecrets(init.remedy);
    this.retryAfter = init.retryAfter;
    this.requestId = init.requestId === undefined ? undefined : withoutSecrets(init.requestId);
  }
}

const DEEPEST_CAUSE = 8;

/** A foreign error has requests, headers and URLs hanging on it: of those only what it is called, says and was at stays. */
function told(cause: unknown, depth: number): unknown {
  if (cause instanceof AutocertError) return cause;
  if (!(cause instanceof Error)) return typeof cause === 'string' ? withoutSecrets(cause) : typeof cause;
  const inner =
    cause.cause === undefined || depth >= DEEPEST_CAUSE ? undefined : { cause: told(cause.cause, depth + 1) };
  const copy = new Error(withoutSecrets(cause.message), inner);
  const code = 'code' in cause && typeof cause.code === 'string' ? { code: withoutSecrets(cause.code) } : {};
  return Object.assign(copy, { name: cause.name, stack: withoutSecrets(cause.stack ?? ''), ...code });
}

/** Anything thrown, as one of ours. What is not ours is a defect of this program and is reported as such. */
export function toAutocertError(thrown: unknown): AutocertError {
  if (thrown instanceof AutocertError) return thrown;
  const message =
    thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : 'a value that is not an Error was thrown';
  return new AutocertError({
    code: 'INTERNAL',
    message,
    retryable: false,
    remedy: 'This is a defect of aliyun-cdn-autocert: please report it with the log line of this run.',
    cause: thrown,
  });
}
