import type { ErrorCode } from '../errors.ts';
import { withoutSecrets } from '../redact.ts';
import type { Pace } from '../retry.ts';
import { AliyunError } from './errors.ts';

/** One request to OSS, for its error. */
export interface OssCall {
  /** As in a RAM policy, without `oss:`. */
  readonly action: 'GetObject' | 'PutObject' | 'DeleteObject' | 'ListObjects' | 'GetBucketVersioning' | 'PutBucket';
  readonly bucket: string;
  /** Empty for what concerns the bucket itself. */
  readonly key: string;
  readonly endpoint: string;
}

interface Meaning {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly remedy: string;
  readonly pace?: Pace;
  readonly outcomeUnknown?: boolean;
}

/** The credentials are read anew for each attempt: once more is enough to learn whether there are newer ones. */
const ONCE_MORE: Pace = { base: 0, cap: 0, attempts: 2 };
const FEW: Pace = { base: 500, cap: 20_000, attempts: 4 };

const credentials: Meaning = {
  code: 'CREDENTIALS_REFUSED',
  retryable: false,
  remedy: 'Check that the AccessKey belongs to this account and is active, or give the function a role instead.',
};
const expired: Meaning = {
  code: 'CREDENTIALS_EXPIRED',
  retryable: true,
  pace: ONCE_MORE,
  remedy: 'Invoke the function again: the security token of its role was read anew and is refused all the same.',
};
const unavailable: Meaning = {
  code: 'SERVICE_UNAVAILABLE',
  retryable: true,
  pace: FEW,
  outcomeUnknown: true,
  remedy:
    'Wait for the next run; if it goes on, look at the status page of Alibaba Cloud and open a ticket with the request id.',
};

/** The error codes of OSS: https://www.alibabacloud.com/help/en/oss/developer-reference/error-responses. */
function meaningOf(apiCode: string, status: number | undefined, { action, bucket, key }: OssCall): Meaning {
  const resource = action === 'ListObjects' || key === '' ? bucket : `${bucket}/${key}`;
  switch (apiCode) {
    case 'AccessDenied':
    case 'UserDisable':
      return {
        code: 'PERMISSION_DENIED',
        retryable: false,
        remedy: `Allow the role of the function oss:${action} on acs:oss:*:*:${resource} in its RAM policy and in the bucket's.`,
      };
    case 'InvalidAccessKeyId':
    case 'SignatureDoesNotMatch':
      return credentials;
    case 'SecurityTokenExpired':
    case 'InvalidSecurityToken':
      return expired;
    case 'RequestTimeTooSkewed':
      return {
        code: 'CLOCK_SKEWED',
        retryable: false,
        remedy: 'Set the clock of the machine: OSS refuses requests that are more than 15 minutes off.',
      };
    case 'NoSuchBucket':
    case 'InvalidBucketName':
      return {
        code: 'REQUEST_REFUSED',
        retryable: false,
        remedy: `Create the bucket ${bucket}, or correct its name in the configuration.`,
      };
    case 'SecondLevelDomainForbidden':
    case 'AccessForbidden':
    case 'InvalidEndpoint':
      return {
        code: 'REQUEST_REFUSED',
        retryable: false,
        remedy: `Set region or endpoints.oss to the region of the bucket ${bucket}.`,
      };
    case 'NoSuchKey':
    case 'FileAlreadyExists':
      return { code: 'REQUEST_REFUSED', retryable: false, remedy: 'Run again: the object was changed by another run.' };
    case 'FileImmutable':
      return {
        code: 'REQUEST_REFUSED',
        retryable: false,
        remedy: `Remove the retention policy of the bucket ${bucket}.`,
      };
    default:
  }
  if (apiCode.startsWith('KMS') || apiCode.includes('Kms')) {
    return {
      code: 'PERMISSION_DENIED',
      retryable: false,
      remedy: `Allow the role of the function the KMS key that the bucket ${bucket} is encrypted with.`,
    };
  }
  if (/Throttl|SlowDown|QpsLimit|DownloadTrafficRateLimit|UploadTrafficRateLimit/.test(apiCode) || status === 429) {
    return { code: 'CALL_THROTTLED', retryable: true, remedy: `Find what else uses the bucket ${bucket} that much.` };
  }
  if (status === undefined || status >= 500) return unavailable;
  return {
    code: 'REQUEST_REFUSED',
    retryable: false,
    remedy: `Look the code ${word(apiCode)} up in the error codes of OSS, and report it with the request id.`,
  };
}

/** Marks an answer that OSS does not give. */
export function withoutRequestId(): Error {
  return Object.assign(new Error('The answer is not one of OSS'), { notFromOss: true });
}

/** Whatever ali-oss throws, as one of ours. Its messages hold URLs, headers and pages, and are not kept. */
export function ossError(thrown: unknown, call: OssCall): AliyunError {
  if (thrown instanceof AliyunError) return thrown;
  const { name, status, code, requestId } = fieldsOf(thrown);
  const action = `oss:${call.action}`;
  const what = `${action} on ${call.bucket}${call.key === '' ? '' : `/${call.key}`}`;
  const host = new URL(call.endpoint).host;
  // ali-oss gives -1 for a connection that broke and -2 for one that took too long.
  if (status === -1 || status === -2 || /Timeout/.test(name)) {
    return new AliyunError({
      code: 'SERVICE_UNREACHABLE',
      message: `${what}: ${status === -2 || /Timeout/.test(name) ? `${host} did not answer in time` : `the connection to ${host} failed`}`,
      retryable: true,
      remedy: `Check that the function reaches ${host} and that the region of the bucket is right.`,
      action,
      outcomeUnknown: true,
      cause: new Error(word(name)),
    });
  }
  // xml2js adds the page it could not read to its message, and ali-oss takes any empty 404 for a missing object.
  const isForeign = thrown instanceof Error && 'notFromOss' in thrown;
  if (code === undefined || isForeign || (code === 'NoSuchKey' && requestId === undefined)) {
    return new AliyunError({
      code: 'RESPONSE_INVALID',
      message: `${what}: ${host} gave an answer${status === undefined ? '' : ` with HTTP status ${status}`} that is not one of OSS`,
      retryable: true,
      remedy: 'Check that the endpoint is the one of OSS and that no proxy answers in its place.',
      action,
      httpStatus: status,
      outcomeUnknown: true,
      pace: FEW,
    });
  }
  return new AliyunError({
    ...meaningOf(code, status, call),
    message: `${what}: ${word(code)}${status === undefined ? '' : ` (HTTP ${status})`}`,
    action,
    apiCode: word(code),
    httpStatus: status,
    requestId: requestId === undefined ? undefined : word(requestId),
  });
}

interface Fields {
  readonly name: string;
  readonly status: number | undefined;
  readonly code: string | undefined;
  readonly requestId: string | undefined;
}

function fieldsOf(thrown: unknown): Fields {
  const fields = new Map<string, unknown>(typeof thrown === 'object' && thrown !== null ? Object.entries(thrown) : []);
  const text = (key: string) => {
    const value = fields.get(key);
    return typeof value === 'string' ? value : undefined;
  };
  const status = fields.get('status');
  return {
    name: thrown instanceof Error ? thrown.name : '',
    status: typeof status === 'number' ? status : undefined,
    code: text('code'),
    requestId: text('requestId'),
  };
}

/** A code is a word; anything else stays out of messages. */
function word(text: string): string {
  return /^[A-Za-z0-9._-]{1,64}$/.test(text) ? withoutSecrets(text) : 'an unknown code';
}
