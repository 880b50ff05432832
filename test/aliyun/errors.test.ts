import { describe, expect, test } from 'vitest';
import { AliyunError, hasApiCode, meaningOf, meaningOfStatus } from '../../src/aliyun/errors.ts';
import { AutocertError, type ErrorCode } from '../../src/errors.ts';

type Again = 'no' | 'yes' | 'soon' | 'slow' | 'few';

/** As documented: HTTP status, Code, what it is for us, whether trying again helps. */
const DOCUMENTED: [number | undefined, string, ErrorCode, Again][] = [
  // SetDomainServerCertificate.
  [400, 'Certificate.FormatError', 'CERTIFICATE_REFUSED', 'no'],
  [400, 'Certificate.NotFind', 'CERTIFICATE_UNKNOWN', 'no'],
  [400, 'Certificate.MissMatch', 'PRIVATE_KEY_REFUSED', 'no'],
  [404, 'InvalidDomain.NotFound', 'DOMAIN_NOT_FOUND', 'no'],
  [403, 'IllegalOperation', 'PERMISSION_DENIED', 'no'],
  [403, 'ServiceBusy', 'SERVICE_BUSY', 'slow'],
  [400, 'InvalidDomain.Offline', 'DOMAIN_OFFLINE', 'no'],
  [403, 'OperationDenied', 'ACCOUNT_SUSPENDED', 'no'],
  [400, 'InvalidServerCertificateStatus.ValueNotSupported', 'REQUEST_REFUSED', 'no'],
  [400, 'ServerCertificate.MissingParameter', 'CERTIFICATE_REFUSED', 'no'],
  [400, 'PrivateKey.MissingParameter', 'PRIVATE_KEY_REFUSED', 'no'],
  [400, 'InvalidCertificate', 'CERTIFICATE_REFUSED', 'no'],
  [400, 'InvalidPrivateKey', 'PRIVATE_KEY_REFUSED', 'no'],
  [400, 'InvalidCertificate.TooLong', 'CERTIFICATE_REFUSED', 'no'],
  [400, 'InvalidCertName.TooLong', 'REQUEST_REFUSED', 'no'],
  [400, 'SetDomainServerCertificate.ParameterError', 'REQUEST_REFUSED', 'no'],
  [400, 'Certificate.StatusError', 'CERTIFICATE_UNKNOWN', 'no'],
  [400, 'DeleteFailed', 'SERVICE_UNAVAILABLE', 'few'],
  [400, 'Certificate.Duplicated', 'CERTIFICATE_NAME_TAKEN', 'no'],
  [400, 'Certificate.KeyNull', 'PRIVATE_KEY_REFUSED', 'no'],
  [400, 'Key.Malformed', 'PRIVATE_KEY_REFUSED', 'no'],
  [400, 'Certificate.NotPermittedOff', 'DOMAIN_REFUSED', 'no'],
  [400, 'Certificate.SettedNotEffect', 'CERTIFICATE_NOT_IN_EFFECT', 'no'],
  // Service-wide codes of CDN.
  [400, 'MissingParameter', 'REQUEST_REFUSED', 'no'],
  [400, 'IllegalOperationDomain', 'DOMAIN_REFUSED', 'no'],
  [400, 'PrivateKeyError', 'PRIVATE_KEY_REFUSED', 'no'],
  [400, 'DomainNameOverLimit', 'REQUEST_REFUSED', 'no'],
  [400, 'InvalidDomain.Configure_failed', 'DOMAIN_REFUSED', 'no'],
  [403, 'SystemUpgrading', 'SERVICE_BUSY', 'slow'],
  [403, 'CdnServiceNotFound', 'ACCOUNT_SUSPENDED', 'no'],
  [403, 'DomainInProtectedMode', 'DOMAIN_PROTECTED', 'no'],
  [500, 'InternalError', 'SERVICE_UNAVAILABLE', 'few'],
  // InvokeFunction.
  [404, 'FunctionNotFound', 'REQUEST_REFUSED', 'no'],
  [404, 'ServiceNotFound', 'REQUEST_REFUSED', 'no'],
  [403, 'AccessDenied', 'PERMISSION_DENIED', 'no'],
  [403, 'SignatureNotMatch', 'CREDENTIALS_REFUSED', 'no'],
  [429, 'ResourceExhausted', 'SERVICE_BUSY', 'few'],
  [429, 'ResourceThrottled', 'SERVICE_BUSY', 'few'],
  // SetCdnDomainSSLCertificate.
  [400, 'InvalidSSLProtocol.ValueNotSupported', 'REQUEST_REFUSED', 'no'],
  [400, 'SSLPub.MissingParameter', 'CERTIFICATE_REFUSED', 'no'],
  [400, 'SSLPri.MissingParameter', 'PRIVATE_KEY_REFUSED', 'no'],
  [400, 'InvalidSSLPub', 'CERTIFICATE_REFUSED', 'no'],
  [400, 'InvalidSSLPri', 'PRIVATE_KEY_REFUSED', 'no'],
  [400, 'AuthenticationFailed', 'PERMISSION_DENIED', 'no'],
  [400, 'SetDomainCertificate.ParameterError', 'REQUEST_REFUSED', 'no'],
  [400, 'CertStorage.failed', 'SERVICE_UNAVAILABLE', 'few'],
  [400, 'CertificateContent.Duplicated', 'CERTIFICATE_NAME_TAKEN', 'no'],
  [400, 'Certificate.Expired', 'CERTIFICATE_REFUSED', 'no'],
  [400, 'InvalidDomain.notOnline', 'DOMAIN_OFFLINE', 'no'],
  [400, 'Decode.Error', 'CERTIFICATE_REFUSED', 'no'],
  [400, 'sslPub.Error', 'CERTIFICATE_REFUSED', 'no'],
  [400, 'sslPri.Error', 'PRIVATE_KEY_REFUSED', 'no'],
  [400, 'DomainInSafeMode', 'DOMAIN_PROTECTED', 'no'],
  [400, 'CreateCertificateFailed', 'SERVICE_UNAVAILABLE', 'few'],
  [400, 'Abs.CertRegion.ValueNotSupported', 'REQUEST_REFUSED', 'no'],
  [400, 'CertNameAlreadyExists', 'CERTIFICATE_NAME_TAKEN', 'no'],
  [400, 'InvalidEnv', 'REQUEST_REFUSED', 'no'],
  [404, 'CertName.MissingParameter', 'REQUEST_REFUSED', 'no'],
  // Common to all products.
  [400, 'Throttling', 'CALL_THROTTLED', 'soon'],
  [400, 'Throttling.User', 'CALL_THROTTLED', 'soon'],
  [503, 'Throttling.Api', 'CALL_THROTTLED', 'soon'],
  [undefined, 'Rejected.Throttling', 'CALL_THROTTLED', 'soon'],
  [503, 'ServiceUnavailable', 'SERVICE_UNAVAILABLE', 'few'],
  [400, 'SignatureNonceUsed', 'REQUEST_REFUSED', 'yes'],
  [400, 'InvalidTimeStamp.Expired', 'CLOCK_SKEWED', 'no'],
  [400, 'InvalidTimeStamp.Format', 'REQUEST_REFUSED', 'no'],
  [400, 'IncompleteSignature', 'CREDENTIALS_REFUSED', 'no'],
  [400, 'IllegalTimestamp', 'CLOCK_SKEWED', 'no'],
  [400, 'SignatureDoesNotMatch', 'CREDENTIALS_REFUSED', 'no'],
  [403, 'SignatureDoesNotMatch', 'CREDENTIALS_REFUSED', 'no'],
  [404, 'InvalidAccessKeyId.NotFound', 'CREDENTIALS_REFUSED', 'no'],
  [400, 'InvalidAccessKeyId.Inactive', 'CREDENTIALS_REFUSED', 'no'],
  [400, 'InvalidSecurityToken.Expired', 'CREDENTIALS_EXPIRED', 'no'],
  [400, 'InvalidSecurityToken.Malformed', 'CREDENTIALS_REFUSED', 'no'],
  [403, 'Forbidden', 'PERMISSION_DENIED', 'no'],
  [403, 'Forbidden.RAM', 'PERMISSION_DENIED', 'no'],
  [403, 'NoPermission', 'PERMISSION_DENIED', 'no'],
  [404, 'InvalidApi.NotFound', 'API_GONE', 'no'],
  [404, 'InvalidProduct.NotFound', 'API_GONE', 'no'],
  [404, 'InvalidAction.NotFound', 'API_GONE', 'no'],
  // Alibaba Cloud DNS.
  [400, 'DomainRecordDuplicate', 'DNS_RECORD_CONFLICT', 'no'],
  [400, 'DomainRecordConflict', 'DNS_RECORD_CONFLICT', 'no'],
  [400, 'QuotaExceeded.Record', 'DNS_RECORD_QUOTA', 'no'],
  [400, 'DomainRecordNotBelongToUser', 'REQUEST_REFUSED', 'no'],
  [400, 'InvalidDomainName.NoExist', 'DNS_ZONE_NOT_FOUND', 'no'],
  [400, 'IncorrectDomainUser', 'DNS_ZONE_NOT_FOUND', 'no'],
  [400, 'Forbidden.DomainExpired', 'DNS_ZONE_LOCKED', 'no'],
  [400, 'Forbidden.DomainLocked', 'DNS_ZONE_LOCKED', 'no'],
  [400, 'Forbidden.RecordLocked', 'DNS_ZONE_LOCKED', 'no'],
  [400, 'InvalidParameter', 'REQUEST_REFUSED', 'no'],
  [400, 'InternalError', 'SERVICE_UNAVAILABLE', 'few'],
  [400, 'SubDomainInvalid.Value', 'REQUEST_REFUSED', 'no'],
  [400, 'LastOperationNotFinished', 'SERVICE_BUSY', 'slow'],
  // Key Management Service.
  [500, 'InternalFailure', 'SERVICE_UNAVAILABLE', 'few'],
  [503, 'ServiceUnavailableTemporary', 'SERVICE_UNAVAILABLE', 'few'],
  [404, 'Forbidden.KeyNotFound', 'STORE_KEY_WRONG', 'no'],
];

describe('what the APIs answer', () => {
  test.each(DOCUMENTED)('%s %s is %s, again: %s', (status, apiCode, code, again) => {
    const meaning = meaningOf(apiCode, status);
    expect(meaning.code).toBe(code);
    expect(meaning.retryable).toBe(again !== 'no');
    const { pace } = meaning;
    if (again === 'yes' || again === 'no') expect(pace).toBeUndefined();
    if (again === 'soon') expect(pace?.base).toBeLessThan(500);
    if (again === 'few') expect(pace?.attempts).toBeLessThan(6);
    if (again === 'slow') expect((pace?.base ?? 0) * (pace?.attempts ?? 0)).toBeGreaterThanOrEqual(60_000);
  });

  test('every remedy is one sentence in the imperative', () => {
    for (const [status, apiCode] of DOCUMENTED) {
      const { remedy } = meaningOf(apiCode, status);
      expect(remedy, apiCode).toMatch(/^[A-Z][^\n]{15,180}\.$/);
    }
  });

  test('the same code means the same whatever the status', () => {
    for (const [, apiCode, code] of DOCUMENTED) {
      for (const status of [200, 400, 403, 404, 429, 500, 503])
        expect(meaningOf(apiCode, status).code, `${status} ${apiCode}`).toBe(code);
    }
  });

  test.each<[number | undefined, ErrorCode, boolean]>([
    [400, 'REQUEST_REFUSED', false],
    [403, 'REQUEST_REFUSED', false],
    [404, 'REQUEST_REFUSED', false],
    [429, 'CALL_THROTTLED', true],
    [500, 'SERVICE_UNAVAILABLE', true],
    [599, 'SERVICE_UNAVAILABLE', true],
    [undefined, 'REQUEST_REFUSED', false],
  ])('a code that no page names is judged by its status %s', (status, code, retryable) => {
    expect(meaningOf('Never.HeardOf', status)).toMatchObject({ code, retryable });
    expect(meaningOfStatus(status)).toMatchObject({ code, retryable });
  });

  test('a code like the names of an object’s own properties is no code', () => {
    expect(meaningOf('constructor', 400).code).toBe('REQUEST_REFUSED');
    expect(meaningOf('__proto__', 500).code).toBe('SERVICE_UNAVAILABLE');
  });

  test('an error of ours without an API code has none of the codes', () => {
    const plain = new AutocertError({ code: 'API_GONE', message: 'm', retryable: false, remedy: 'r' });
    const without = new AliyunError({ code: 'API_GONE', message: 'm', retryable: false, remedy: 'r', action: 'A' });
    expect(hasApiCode(plain, 'InvalidApi.NotFound')).toBe(false);
    expect(hasApiCode(without, 'InvalidApi.NotFound')).toBe(false);
  });
});
