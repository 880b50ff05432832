import { AutocertError, type ErrorCode } from '../errors.ts';
import { withoutSecrets } from '../redact.ts';
import type { Pace } from '../retry.ts';

export interface AliyunErrorInit {
  readonly code: ErrorCode;
  readonly message: string;
  readonly retryable: boolean;
  readonly remedy: string;
  readonly action: string;
  readonly apiCode?: string | undefined;
  readonly httpStatus?: number | undefined;
  readonly outcomeUnknown?: boolean | undefined;
  readonly pace?: Pace | undefined;
  readonly retryAfter?: Date | undefined;
  readonly requestId?: string | undefined;
  readonly cause?: unknown;
}

/** A call to an Alibaba Cloud API that did not give a usable answer. */
export class AliyunError extends AutocertError {
  override readonly name: string = 'AliyunError';
  /** The API's action that was called. */
  readonly action: string;
  /** The `Code` of the API's answer; undefined when no API answered. */
  readonly apiCode: string | undefined;
  readonly httpStatus: number | undefined;
  /** The request may have been carried out although no answer says so. */
  readonly outcomeUnknown: boolean;
  /** How fast this failure is to be tried again, where the usual pace is wrong. */
  readonly pace: Pace | undefined;

  constructor(init: AliyunErrorInit) {
    super(init);
    this.action = init.action;
    this.apiCode = init.apiCode === undefined ? undefined : withoutSecrets(init.apiCode);
    this.httpStatus = init.httpStatus;
    this.outcomeUnknown = init.outcomeUnknown ?? false;
    this.pace = init.pace;
  }
}

/** API version to the product's name in RAM policies. */
const RAM_PRODUCTS: Readonly<Record<string, string>> = {
  '2018-05-10': 'cdn',
  '2015-01-09': 'alidns',
  '2016-01-20': 'kms',
  '2019-09-10': 'ros',
  '2015-04-01': 'sts',
};

/** The action as a RAM policy names it: `cdn:SetDomainServerCertificate`. */
export function ramAction(version: string, action: string): string {
  const product = RAM_PRODUCTS[version];
  return product === undefined ? action : `${product}:${action}`;
}

/** What a `Code` means to us. */
export interface Meaning {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly remedy: string;
  readonly pace?: Pace;
}

/** A domain that is being configured stays so for tens of seconds to minutes: tried until the deadline. */
const CONFIGURING: Pace = { base: 10_000, cap: 60_000, attempts: Number.POSITIVE_INFINITY };
/** Alibaba Cloud DNS finishes an operation within a few seconds. */
const LAST_OPERATION: Pace = { floor: 2_000, base: 5_000, cap: 5_000, attempts: 12 };
/** The call limiter decides when a call starts; this wait only keeps a few calls from coming back in one row. */
const LIMITED: Pace = { base: 250, cap: 4_000, attempts: 10 };
const FEW: Pace = { base: 500, cap: 20_000, attempts: 4 };
const ONCE_MORE: Pace = { base: 2_000, cap: 20_000, attempts: 2 };

const ROLE = 'the role of the function';
const REPORT = 'This request is not one the API takes: please report it to aliyun-cdn-autocert with the request id.';

function fatal(code: ErrorCode, remedy: string): Meaning {
  return { code, retryable: false, remedy };
}

function again(code: ErrorCode, remedy: string, pace?: Pace): Meaning {
  return pace === undefined ? { code, retryable: true, remedy } : { code, retryable: true, remedy, pace };
}

const throttled = again(
  'CALL_THROTTLED',
  'Lower cdn.callsPerSecond, or find what else calls the same API with this account.',
  LIMITED,
);
const unavailable = again(
  'SERVICE_UNAVAILABLE',
  'Wait for the next run; if it goes on, look at the status page of Alibaba Cloud and open a ticket with the request id.',
  FEW,
);
const busy = again(
  'SERVICE_BUSY',
  'Wait until the domain is no longer "configuring" in the CDN console; the next run tries again.',
  CONFIGURING,
);
const badCertificate = fatal(
  'CERTIFICATE_REFUSED',
  'Check the stored certificate with `openssl x509`, and issue it again if it is not a plain PEM chain.',
);
const badKey = fatal(
  'PRIVATE_KEY_REFUSED',
  'Use keyType rsa2048 for this certificate and issue it again: the API takes unencrypted PKCS#1 keys of the same certificate.',
);
const nameTaken = fatal(
  'CERTIFICATE_NAME_TAKEN',
  'Delete or rename the certificate of this name in SSL Certificates Service, then run again.',
);
const unknownCertificate = fatal(
  'CERTIFICATE_UNKNOWN',
  'Check in SSL Certificates Service that the certificate exists and is not expired or deleted.',
);
const noPermission = fatal('PERMISSION_DENIED', `Allow ${ROLE} this action on this resource in its RAM policy.`);
const badKeyPair = fatal(
  'CREDENTIALS_REFUSED',
  `Check that the AccessKey belongs to this account and is active, or give the function a role instead.`,
);
const refused = fatal('REQUEST_REFUSED', REPORT);
const gone = fatal(
  'API_GONE',
  'Set cdn.api to SetCdnDomainSSLCertificate, or to auto, and check the endpoint of this product.',
);
const suspended = fatal('ACCOUNT_SUSPENDED', 'Settle the bill of the account or activate the service in the console.');
const offline = fatal('DOMAIN_OFFLINE', 'Start the domain in the CDN console, or take it out of the configuration.');
const protectedDomain = fatal(
  'DOMAIN_PROTECTED',
  'Ask Alibaba Cloud support to lift the protection mode of this domain.',
);
const clock = fatal(
  'CLOCK_SKEWED',
  'Set the clock of the machine: the API refuses requests that are more than 15 minutes off.',
);
const zoneLocked = fatal('DNS_ZONE_LOCKED', 'Unlock or renew the domain in the Alibaba Cloud DNS console.');
const noFunction = fatal(
  'REQUEST_REFUSED',
  'Check the name, the service and the region of the function, and deploy it if it is not there.',
);
const zoneMissing = fatal(
  'DNS_ZONE_NOT_FOUND',
  'Check that the zone is in Alibaba Cloud DNS and belongs to the account of this function.',
);

/**
 * By `Code`, never by HTTP status alone: the statuses differ between products and pages. Sources: the error code tables of
 * the API pages SetDomainServerCertificate (help.aliyun.com 91189), SetCdnDomainSSLCertificate, the service-wide codes of
 * CDN (452794) and DNS (2355841), and the common codes (48054, 51132, 434846).
 */
const MEANINGS: ReadonlyMap<string, Meaning> = new Map<string, Meaning>([
  // Common to all products.
  ['ServiceUnavailable', unavailable],
  ['ServiceUnavailableTemporary', unavailable],
  ['InternalError', unavailable],
  ['InternalFailure', unavailable],
  ['SignatureNonceUsed', again('REQUEST_REFUSED', 'Run again: a nonce was drawn twice.')],
  ['InvalidTimeStamp.Expired', clock],
  ['IllegalTimestamp', clock],
  ['InvalidTimeStamp.Format', refused],
  ['IncompleteSignature', badKeyPair],
  ['SignatureDoesNotMatch', badKeyPair],
  ['InvalidAccessKeyId.NotFound', badKeyPair],
  ['InvalidAccessKeyId.Inactive', badKeyPair],
  ['MissingParameter', refused],
  ['InvalidParameter', refused],
  ['Forbidden', noPermission],
  ['Forbidden.RAM', noPermission],
  ['NoPermission', noPermission],
  ['InvalidApi.NotFound', gone],
  ['InvalidProduct.NotFound', gone],
  ['InvalidAction.NotFound', gone],

  // CDN: the account and the domain.
  ['ServiceBusy', busy],
  [
    'SystemUpgrading',
    again('SERVICE_BUSY', 'Wait until the upgrade of CDN is over; the next run tries again.', CONFIGURING),
  ],
  [
    'IllegalOperation',
    fatal(
      'PERMISSION_DENIED',
      'Check that the domain belongs to this account, accelerates HTTPS requests and is not a live streaming domain.',
    ),
  ],
  [
    'IllegalOperationDomain',
    fatal('DOMAIN_REFUSED', 'Check in the CDN console that the domain belongs to this account and may be changed.'),
  ],
  ['AuthenticationFailed', noPermission],
  ['OperationDenied', suspended],
  ['CdnServiceNotFound', suspended],
  [
    'InvalidDomain.NotFound',
    fatal('DOMAIN_NOT_FOUND', 'Add the domain to CDN in this account, or take it out of the configuration.'),
  ],
  ['InvalidDomain.Offline', offline],
  ['InvalidDomain.notOnline', offline],
  [
    'InvalidDomain.Configure_failed',
    fatal('DOMAIN_REFUSED', 'Repair the failed configuration of the domain in the CDN console.'),
  ],
  ['DomainInProtectedMode', protectedDomain],
  ['DomainInSafeMode', protectedDomain],
  ['DomainNameOverLimit', refused],

  // CDN: the certificate.
  ['Certificate.FormatError', badCertificate],
  ['InvalidCertificate', badCertificate],
  ['InvalidCertificate.TooLong', badCertificate],
  ['InvalidSSLPub', badCertificate],
  ['sslPub.Error', badCertificate],
  ['Decode.Error', badCertificate],
  ['Certificate.DecodeError', badCertificate],
  ['ServerCertificate.MissingParameter', badCertificate],
  ['SSLPub.MissingParameter', badCertificate],
  [
    'Certificate.Expired',
    fatal('CERTIFICATE_REFUSED', 'Issue the certificate again: the one that was sent has expired.'),
  ],
  [
    'Certificate.MissMatch',
    fatal('PRIVATE_KEY_REFUSED', 'Issue the certificate again: its private key is another one.'),
  ],
  ['InvalidPrivateKey', badKey],
  ['InvalidSSLPri', badKey],
  ['sslPri.Error', badKey],
  ['PrivateKeyError', badKey],
  ['PrivateKey.MissingParameter', badKey],
  ['SSLPri.MissingParameter', badKey],
  ['Certificate.KeyNull', badKey],
  ['Key.Malformed', badKey],
  ['Certificate.NotFind', unknownCertificate],
  ['Certificate.StatusError', unknownCertificate],
  ['Certificate.Duplicated', nameTaken],
  ['CertNameAlreadyExists', nameTaken],
  ['CertificateContent.Duplicated', nameTaken],
  [
    'Certificate.NotPermittedOff',
    fatal('DOMAIN_REFUSED', 'Leave HTTPS of this domain on: turning it off would change its scheduling.'),
  ],
  [
    'Certificate.SettedNotEffect',
    fatal(
      'CERTIFICATE_NOT_IN_EFFECT',
      'Open a ticket with CDN support: the certificate is set but not in effect at the edges.',
    ),
  ],
  ['CertStorage.failed', unavailable],
  ['CreateCertificateFailed', unavailable],
  [
    'DeleteFailed',
    again(
      'SERVICE_UNAVAILABLE',
      'Delete the old certificate of this domain in the console, then run again.',
      ONCE_MORE,
    ),
  ],

  // CDN: a request that this program should not have built.
  ['InvalidServerCertificateStatus.ValueNotSupported', refused],
  ['InvalidSSLProtocol.ValueNotSupported', refused],
  ['InvalidCertName.TooLong', refused],
  ['CertName.MissingParameter', refused],
  ['SetDomainServerCertificate.ParameterError', refused],
  ['SetDomainCertificate.ParameterError', refused],
  ['Abs.CertRegion.ValueNotSupported', refused],
  ['InvalidEnv', refused],

  // Alibaba Cloud DNS.
  [
    'LastOperationNotFinished',
    again('SERVICE_BUSY', 'Run again: Alibaba Cloud DNS is still busy with an earlier change.', LAST_OPERATION),
  ],
  [
    'DomainRecordDuplicate',
    fatal('DNS_RECORD_CONFLICT', 'Delete the equal record in the Alibaba Cloud DNS console, then run again.'),
  ],
  [
    'DomainRecordConflict',
    fatal(
      'DNS_RECORD_CONFLICT',
      'Delete the record that stands at the challenge name, or let it be a CNAME to a zone of this account.',
    ),
  ],
  [
    'QuotaExceeded.Record',
    fatal('DNS_RECORD_QUOTA', 'Delete records that are no longer needed, or raise the edition of the zone.'),
  ],
  ['DomainRecordNotBelongToUser', fatal('REQUEST_REFUSED', 'Check that the record still exists in this account.')],
  ['InvalidDomainName.NoExist', zoneMissing],
  ['IncorrectDomainUser', zoneMissing],
  ['Forbidden.DomainExpired', zoneLocked],
  ['Forbidden.DomainLocked', zoneLocked],
  ['Forbidden.RecordLocked', zoneLocked],
  ['SubDomainInvalid.Value', refused],

  // Key Management Service.
  ['Forbidden.KeyNotFound', fatal('STORE_KEY_WRONG', `Check encryption.kmsKeyId and that ${ROLE} may use that key.`)],
  ['Forbidden.InDebt', suspended],
  ['Forbidden.InDebtOverdue', suspended],
  ['UnsupportedOperation', fatal('STORE_KEY_WRONG', 'Check that the KMS key is an enabled symmetric key.')],

  // Function Compute: https://www.alibabacloud.com/help/en/functioncompute/fc/support/error-codes.
  ['FunctionNotFound', noFunction],
  ['ServiceNotFound', noFunction],
  ['AccessDenied', noPermission],
  ['SignatureNotMatch', badKeyPair],
  ['ResourceExhausted', again('SERVICE_BUSY', 'Raise the reserved concurrency of the function, or wait.', FEW)],
  ['ResourceThrottled', again('SERVICE_BUSY', 'Raise the quota of instances of the account, or wait.', FEW)],

  // Resource Orchestration Service: https://api.aliyun.com/document/ROS/2019-09-10/errorCode.
  ['StackNotFound', fatal('REQUEST_REFUSED', 'Check the name and the region of the stack in the ROS console.')],
  ['StackExists', fatal('REQUEST_REFUSED', 'Run again: another deployment has just created this stack.')],
  [
    'ActionInProgress',
    fatal('SERVICE_BUSY', 'Wait until the operation on the stack that is under way is over, then run again.'),
  ],
  [
    'StackValidationFailed',
    fatal('REQUEST_REFUSED', 'Correct the parameter of the template that the message names, then run again.'),
  ],
]);

const THROTTLING = /throttling/i;
const SECURITY_TOKEN = /^InvalidSecurityToken(\.|$)/;
const FORBIDDEN = /^(Forbidden|NoPermission)(\.|$)/;

/** What the API's `Code` means; a `Code` that no page names is judged by the class of its HTTP status. */
export function meaningOf(apiCode: string, httpStatus: number | undefined): Meaning {
  const known = MEANINGS.get(apiCode);
  if (known !== undefined) return known;
  if (THROTTLING.test(apiCode)) return throttled;
  if (SECURITY_TOKEN.test(apiCode)) {
    const code = apiCode === 'InvalidSecurityToken.Expired' ? 'CREDENTIALS_EXPIRED' : 'CREDENTIALS_REFUSED';
    return fatal(
      code,
      'Invoke the function again: the security token of its role was read anew and is refused all the same.',
    );
  }
  if (FORBIDDEN.test(apiCode)) return noPermission;
  return meaningOfStatus(httpStatus);
}

/** What an HTTP status alone says: the least that can be known. */
export function meaningOfStatus(httpStatus: number | undefined): Meaning {
  if (httpStatus === 429) return throttled;
  if (httpStatus !== undefined && httpStatus >= 500) return unavailable;
  return fatal(
    'REQUEST_REFUSED',
    'Look the code up in the API reference of this product, and report it with the request id.',
  );
}

/** Is this the API saying that the stored STS token is no longer good? Reading it again may help once. */
export function isSecurityTokenRefused(error: unknown): boolean {
  return error instanceof AliyunError && error.apiCode !== undefined && SECURITY_TOKEN.test(error.apiCode);
}

/** Did the API itself answer with one of these codes? */
export function hasApiCode(error: unknown, ...codes: readonly string[]): error is AliyunError {
  return error instanceof AliyunError && error.apiCode !== undefined && codes.includes(error.apiCode);
}
