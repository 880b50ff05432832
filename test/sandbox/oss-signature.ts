import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

/** What a signature is made over. `key` is decoded, empty for a request to the bucket. */
export interface OssRequest {
  readonly method: string;
  readonly bucket: string;
  readonly key: string;
  readonly query: ReadonlyMap<string, string>;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface OssAuthorization {
  readonly accessKeyId: string;
  /** When the client signed, by its clock; `undefined` when it does not say in the form required. */
  readonly signedAt: Date | undefined;
  readonly stringToSign: string;
  matches(accessKeySecret: string): boolean;
}

/** Query parameters that name a sub-resource and are signed by version 1. */
const SIGNED_PARAMETERS = new Set(
  (
    'acl,append,bucketInfo,callback,callback-var,cname,comp,continuation-token,cors,delete,encryption,inventory,' +
    'inventoryId,lifecycle,location,logging,objectMeta,partNumber,policy,position,qos,referer,replication,' +
    'replicationLocation,replicationProgress,requestPayment,response-cache-control,response-content-disposition,' +
    'response-content-encoding,response-content-language,response-content-type,response-expires,restore,' +
    'security-token,sequential,stat,status,style,styleName,symlink,tagging,uploadId,uploads,versionId,versioning,' +
    'versions,website,worm,wormExtend,wormId,x-oss-process,x-oss-traffic-limit'
  ).split(','),
);

/** Reads the `Authorization` header, version 1 or 4; `undefined` for another or none. */
export function readAuthorization(request: OssRequest): OssAuthorization | undefined {
  const header = request.headers.authorization ?? '';
  const [, accessKeyId, signature] = /^OSS ([^:]+):(\S+)$/.exec(header) ?? [];
  if (accessKeyId && signature) return version1(request, accessKeyId, signature);
  return header.startsWith('OSS4-HMAC-SHA256 ') ? version4(request, header) : undefined;
}

/** https://www.alibabacloud.com/help/en/oss/developer-reference/include-signatures-in-the-authorization-header */
function version1(request: OssRequest, accessKeyId: string, signature: string): OssAuthorization {
  const { method, bucket, key, query, headers } = request;
  const date = one(headers['x-oss-date']) ?? headers.date ?? '';
  const subResources = sorted(query)
    .filter(([name]) => SIGNED_PARAMETERS.has(name))
    .map(([name, value]) => (value === '' ? name : `${name}=${value}`));
  const stringToSign = [
    method,
    one(headers['content-md5']) ?? '',
    headers['content-type'] ?? '',
    date,
    ...ossHeaders(headers).map(([name, value]) => `${name}:${value}`),
    `/${bucket}/${key}${subResources.length > 0 ? `?${subResources.join('&')}` : ''}`,
  ].join('\n');
  return {
    accessKeyId,
    signedAt: validDate(new Date(date)),
    stringToSign,
    matches: (secret) => equal(createHmac('sha1', secret).update(stringToSign).digest('base64'), signature),
  };
}

/** https://www.alibabacloud.com/help/en/oss/developer-reference/recommend-to-use-signature-version-4 */
function version4(request: OssRequest, header: string): OssAuthorization | undefined {
  const { method, bucket, key, query, headers } = request;
  const fields = new Map(
    header
      .slice('OSS4-HMAC-SHA256 '.length)
      .split(',')
      .map((field): [string, string] => {
        const [name = '', ...value] = field.trim().split('=');
        return [name, value.join('=')];
      }),
  );
  const [accessKeyId, day, region, product, terminator] = fields.get('Credential')?.split('/') ?? [];
  const signature = fields.get('Signature');
  if (!accessKeyId || !day || !region || product !== 'oss' || terminator !== 'aliyun_v4_request' || !signature) {
    return undefined;
  }
  const additional = (fields.get('AdditionalHeaders') ?? '').split(';').filter((name) => name !== '');
  const signed = Object.entries(headers).filter(
    ([name]) => /^(x-oss-.*|content-type|content-md5)$/.test(name) || additional.includes(name),
  );
  const canonicalRequest = [
    method,
    encode(`/${bucket}/${key}`).replaceAll('%2F', '/'),
    sorted(query)
      .map(([name, value]) => (value === '' ? encode(name) : `${encode(name)}=${encode(value)}`))
      .join('&'),
    ...sorted(signed).map(([name, value]) => `${name}:${(one(value) ?? '').trim()}`),
    '',
    additional.join(';'),
    'UNSIGNED-PAYLOAD',
  ].join('\n');
  const date = one(headers['x-oss-date']) ?? '';
  const scope = `${day}/${region}/oss/aliyun_v4_request`;
  const hash = createHash('sha256').update(canonicalRequest).digest('hex');
  const stringToSign = `OSS4-HMAC-SHA256\n${date}\n${scope}\n${hash}`;
  const [, year, month, date2, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(date) ?? [];
  return {
    accessKeyId,
    signedAt: validDate(new Date(`${year}-${month}-${date2}T${hour}:${minute}:${second}Z`)),
    stringToSign,
    matches(secret) {
      const signingKey = [day, region, 'oss', 'aliyun_v4_request'].reduce<string | Buffer>(
        (derived, part) => createHmac('sha256', derived).update(part).digest(),
        `aliyun_v4${secret}`,
      );
      return equal(createHmac('sha256', signingKey).update(stringToSign).digest('hex'), signature);
    },
  };
}

function ossHeaders(headers: IncomingHttpHeaders): [string, string][] {
  const own = Object.entries(headers).filter(([name]) => name.startsWith('x-oss-'));
  return sorted(own).map(([name, value]) => [name, (one(value) ?? '').trim()]);
}

function sorted<Value>(entries: Iterable<readonly [string, Value]>): (readonly [string, Value])[] {
  return [...entries].toSorted(([a], [b]) => (a < b ? -1 : 1));
}

function one(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(',') : value;
}

function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

function validDate(date: Date): Date | undefined {
  return Number.isNaN(date.getTime()) ? undefined : date;
}

function equal(expected: string, actual: string): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(actual)];
  return a.length === b.length && timingSafeEqual(a, b);
}
