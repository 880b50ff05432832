import { createHash, randomBytes } from 'node:crypto';
import type { Bucket, StoredObject, Version } from './oss-bucket.ts';
import type { OssRequest } from './oss-signature.ts';

export interface OssAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
  readonly requestId?: string;
}

/** https://www.alibabacloud.com/help/en/oss/support/http-status-codes: status, `Code`, `Message` and further elements. */
export class OssError extends Error {
  readonly status: number;
  readonly code: string;
  readonly elements: Readonly<Record<string, string>>;

  constructor(status: number, code: string, message: string, elements: Readonly<Record<string, string>> = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.elements = elements;
  }

  answer(): OssAnswer {
    const requestId = randomBytes(12).toString('hex').toUpperCase();
    const elements = {
      Code: this.code,
      Message: this.message,
      RequestId: requestId,
      HostId: 'oss.sandbox',
      ...this.elements,
    };
    const body = xml(
      'Error',
      Object.entries(elements)
        .map(([name, text]) => element(name, text))
        .join(''),
    );
    return { status: this.status, headers: { 'content-type': 'application/xml' }, body, requestId };
  }
}

const ENCRYPTIONS = ['AES256', 'KMS', 'SM4'];
const STORED_HEADERS =
  /^(content-type|content-encoding|content-disposition|cache-control|x-oss-meta-.+|x-oss-server-side-encryption.*|x-oss-object-acl)$/;

/** Carries out one request whose sender is known. @throws OssError */
export function operate(bucket: Bucket, request: OssRequest, may: (action: string) => boolean, now: Date): OssAnswer {
  const { method, key, query } = request;
  const demand = (action: string): void => {
    if (may(action)) return;
    throw new OssError(403, 'AccessDenied', 'You have no right to access this object because of bucket acl.');
  };
  if (key === '') {
    if (method === 'PUT' && query.size === 0) {
      demand('oss:PutBucket');
      return { status: 200, headers: { location: `/${bucket.name}` }, body: '' };
    }
    if (method !== 'GET') throw notImplemented(`${method} of a bucket`);
    if (query.has('versioning')) {
      demand('oss:GetBucketVersioning');
      const status = bucket.versioning ? element('Status', bucket.versioning) : '';
      return xmlAnswer('VersioningConfiguration', status);
    }
    if (query.has('acl')) {
      demand('oss:GetBucketAcl');
      return xmlAnswer(
        'AccessControlPolicy',
        `${OWNER}<AccessControlList>${element('Grant', bucket.acl)}</AccessControlList>`,
      );
    }
    if (query.has('versions')) {
      demand('oss:ListObjectVersions');
      return listVersions(bucket, query);
    }
    demand('oss:ListObjects');
    return query.get('list-type') === '2' ? listV2(bucket, query) : listV1(bucket, query);
  }
  switch (method) {
    case 'PUT':
      demand('oss:PutObject');
      return put(bucket, request, now);
    case 'GET':
    case 'HEAD':
      demand('oss:GetObject');
      return get(bucket, request);
    case 'DELETE':
      demand('oss:DeleteObject');
      return remove(bucket, key, query.get('versionId'));
    default:
      throw notImplemented(`${method} of an object`);
  }
}

function put(bucket: Bucket, { key, headers, body }: OssRequest, now: Date): OssAnswer {
  // Conditional writes other than forbid-overwrite do not exist.
  if (headers['if-match'] !== undefined || headers['if-none-match'] !== undefined) {
    throw notImplemented('PutObject with If-Match or If-None-Match');
  }
  const md5 = headers['content-md5'];
  if (md5 !== undefined && md5 !== createHash('md5').update(body).digest('base64')) {
    throw new OssError(400, 'InvalidDigest', 'The Content-MD5 you specified was invalid.');
  }
  const encryption = headers['x-oss-server-side-encryption'];
  if (encryption !== undefined && !ENCRYPTIONS.includes(String(encryption))) {
    throw new OssError(400, 'InvalidEncryptionAlgorithmError', 'The encryption request you specified is not valid.');
  }
  const forbidOverwrite = headers['x-oss-forbid-overwrite'] === 'true' && bucket.versioning === undefined;
  if (forbidOverwrite && bucket.latest(key)?.object !== undefined) {
    const message = 'The object you specified already exists and can not be overwritten.';
    throw new OssError(409, 'FileAlreadyExists', message, { EC: '0026-00000201', Key: key });
  }
  const kept = Object.entries(headers).filter(([name]) => STORED_HEADERS.test(name));
  const version = bucket.put(key, body, Object.fromEntries(kept.map(([name, value]) => [name, String(value)])), now);
  return {
    status: 200,
    headers: {
      ...(version.object ? { etag: version.object.etag, ...encryptionHeaders(version.object) } : {}),
      ...versionHeader(bucket, version),
    },
    body: '',
  };
}

function get(bucket: Bucket, { key, query, headers }: OssRequest): OssAnswer {
  const versionId = query.get('versionId');
  const version =
    versionId === undefined
      ? bucket.latest(key)
      : bucket.versions(key).find((candidate) => candidate.versionId === versionId);
  if (!version && versionId !== undefined) {
    throw new OssError(404, 'NoSuchVersion', 'The specified version does not exist.', { Key: key });
  }
  if (!version?.object) throw new OssError(404, 'NoSuchKey', 'The specified key does not exist.', { Key: key });
  const { body, etag, lastModified } = version.object;
  if (headers['if-match'] !== undefined && headers['if-match'] !== etag) {
    const message = 'At least one of the pre-conditions you specified did not hold.';
    throw new OssError(412, 'PreconditionFailed', message, { Condition: 'If-Match' });
  }
  const { 'x-oss-object-acl': _acl, ...stored } = version.object.headers;
  const answer = {
    headers: {
      'content-type': 'application/octet-stream',
      ...stored,
      etag,
      'last-modified': lastModified.toUTCString(),
      'x-oss-object-type': 'Normal',
      'x-oss-storage-class': 'Standard',
      ...versionHeader(bucket, version),
    },
  };
  if (headers['if-none-match'] === etag) return { ...answer, status: 304, body: '' };
  // OSS answers a range that the object does not have with all of it.
  const [, from = '', to = ''] = /^bytes=(\d+)-(\d+)$/.exec(String(headers['range'] ?? '')) ?? [];
  if (from === '' || Number(from) >= body.length) return { ...answer, status: 200, body };
  const part = body.subarray(Number(from), Number(to) + 1);
  const range = `bytes ${from}-${Number(from) + part.length - 1}/${body.length}`;
  return { ...answer, headers: { ...answer.headers, 'content-range': range }, status: 206, body: part };
}

/** Succeeds also where there is nothing to delete. */
function remove(bucket: Bucket, key: string, versionId: string | undefined): OssAnswer {
  if (versionId !== undefined) {
    bucket.deleteVersion(key, versionId);
    return { status: 204, headers: { 'x-oss-version-id': versionId }, body: '' };
  }
  const marker = bucket.delete(key);
  const headers = marker ? { 'x-oss-delete-marker': 'true', 'x-oss-version-id': marker.versionId } : {};
  return { status: 204, headers, body: '' };
}

type Query = ReadonlyMap<string, string>;

function listV1(bucket: Bucket, query: Query): OssAnswer {
  const marker = query.get('marker') ?? '';
  const { maximum, text, found, entries } = list(bucket, query, marker, true);
  const next = found.next === undefined ? '' : text('NextMarker', found.next);
  const head = text('Prefix', query.get('prefix') ?? '') + text('Marker', marker) + element('MaxKeys', String(maximum));
  return xmlAnswer('ListBucketResult', element('Name', bucket.name) + head + truncated(found.next) + next + entries);
}

function listV2(bucket: Bucket, query: Query): OssAnswer {
  const token = query.get('continuation-token');
  const after = token === undefined ? (query.get('start-after') ?? '') : Buffer.from(token, 'base64url').toString();
  const { maximum, text, found, entries } = list(bucket, query, after, query.get('fetch-owner') === 'true');
  const next =
    found.next === undefined ? '' : element('NextContinuationToken', Buffer.from(found.next).toString('base64url'));
  const head =
    text('Prefix', query.get('prefix') ?? '') +
    element('MaxKeys', String(maximum)) +
    element('KeyCount', String(found.keys.length + found.prefixes.length)) +
    (token === undefined ? '' : element('ContinuationToken', token));
  return xmlAnswer('ListBucketResult', element('Name', bucket.name) + head + truncated(found.next) + next + entries);
}

function list(bucket: Bucket, query: Query, after: string, withOwner: boolean) {
  const maximum = Number(query.get('max-keys') ?? 100);
  if (!(Number.isInteger(maximum) && maximum >= 1 && maximum <= 1000)) {
    throw new OssError(400, 'InvalidArgument', 'Argument max-keys must be an integer between 1 and 1000.');
  }
  const isUrlEncoded = query.get('encoding-type') === 'url';
  const text = (name: string, value: string): string => element(name, isUrlEncoded ? encodeURIComponent(value) : value);
  const [prefix, delimiter] = [query.get('prefix') ?? '', query.get('delimiter') ?? ''];
  const found = bucket.list({ prefix, delimiter, after, maximum });
  const contents = found.keys.map((key) => {
    const object = bucket.latest(key)?.object;
    return object ? `<Contents>${text('Key', key)}${facts(object)}${withOwner ? OWNER : ''}</Contents>` : '';
  });
  const prefixes = found.prefixes.map((common) => `<CommonPrefixes>${text('Prefix', common)}</CommonPrefixes>`);
  return { maximum, text, found, entries: [...contents, ...prefixes].join('') };
}

/** All versions in one answer, the newest of a key first. */
function listVersions(bucket: Bucket, query: Query): OssAnswer {
  const keys = bucket.allKeys().filter((key) => key.startsWith(query.get('prefix') ?? ''));
  const entries = keys.flatMap((key) =>
    bucket
      .versions(key)
      .toReversed()
      .map(({ versionId, object }, age) => {
        const head = element('Key', key) + element('VersionId', versionId) + element('IsLatest', String(age === 0));
        return object
          ? `<Version>${head}${facts(object)}${OWNER}</Version>`
          : `<DeleteMarker>${head}${OWNER}</DeleteMarker>`;
      }),
  );
  return xmlAnswer('ListVersionsResult', element('Name', bucket.name) + truncated(undefined) + entries.join(''));
}

const OWNER = '<Owner><ID>1234567890</ID><DisplayName>1234567890</DisplayName></Owner>';

function facts({ etag, lastModified, body }: StoredObject): string {
  return (
    element('LastModified', lastModified.toISOString()) +
    element('ETag', etag) +
    element('Type', 'Normal') +
    element('Size', String(body.length)) +
    element('StorageClass', 'Standard')
  );
}

function truncated(next: string | undefined): string {
  return element('IsTruncated', String(next !== undefined));
}

function encryptionHeaders({ headers }: StoredObject): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith('x-oss-server-side-')));
}

function versionHeader(bucket: Bucket, { versionId }: Version): Record<string, string> {
  return bucket.versioning === undefined ? {} : { 'x-oss-version-id': versionId };
}

function notImplemented(what: string): OssError {
  return new OssError(501, 'NotImplemented', `The OSS of the sandbox does not implement ${what}.`);
}

function xmlAnswer(root: string, content: string): OssAnswer {
  return { status: 200, headers: { 'content-type': 'application/xml' }, body: xml(root, content) };
}

function xml(root: string, content: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${root}>${content}</${root}>`;
}

function element(name: string, text: string): string {
  const escaped = text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
  return `<${name}>${escaped}</${name}>`;
}
