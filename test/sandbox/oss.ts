import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import { injected } from './injections.ts';
import { type OssAnswer, OssError, operate } from './oss-api.ts';
import { Bucket, type BucketOptions } from './oss-bucket.ts';
import { type OssRequest, readAuthorization } from './oss-signature.ts';

/** One AccessKey that may use the buckets. */
export interface OssAccount {
  readonly accessKeyId: string;
  readonly accessKeySecret: string;
  /** Of temporary credentials: has to come in `x-oss-security-token`. */
  readonly securityToken?: string;
  /** When the security token ends. */
  readonly expiresAt?: Date;
  /** What RAM allows, `action` as in a policy: `oss:PutObject`, `oss:GetObject`, ... Default: everything. */
  readonly allows?: (action: string, bucket: string, key: string) => boolean;
}

/** `hang` never answers, `reset` cuts the connection before the request has any effect, `reset-after` after it. */
export type OssInterception =
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body: string }
  | OssError
  | 'hang'
  | 'reset'
  | 'reset-after';

export interface InterceptedRequest extends OssRequest {
  /** 1 for the first request of this method, bucket and key. */
  readonly nth: number;
}

type OssHook = (request: InterceptedRequest) => OssInterception | undefined | Promise<OssInterception | undefined>;

export interface RecordedRequest {
  readonly method: string;
  readonly bucket: string;
  readonly key: string;
  readonly headers: IncomingMessage['headers'];
  /** 0 for a request without an answer. */
  readonly status: number;
  /** The error's `Code`, `OK`, or the interception's name. */
  readonly code: string;
}

export interface Oss {
  /** `http://127.0.0.1:port`, as ali-oss's `endpoint` takes it; `<url>/<bucket>/<key>` reads public objects. */
  readonly url: string;
  /** In the order of arrival. */
  readonly requests: readonly RecordedRequest[];
  /** Direct access to what is stored, by no request. Throws where there is no such bucket. */
  bucket(name: string): Bucket;
  /** Made by nobody's request, as by a stack. */
  addBucket(name: string, options?: BucketOptions): void;
  hasBucket(name: string): boolean;
  read(bucket: string, key: string): Buffer | undefined;
  write(bucket: string, key: string, body: string | Buffer): void;
  /** Adds a hook that sees each request before its signature is checked. Returns what removes it. */
  intercept(hook: OssHook): () => void;
  /** Ends every connection, answered or not. */
  close(): Promise<void>;
}

export interface OssOptions {
  /** Read anew for each request. */
  readonly accounts: readonly OssAccount[];
  readonly buckets: Readonly<Record<string, BucketOptions>>;
  /** The server's clock. Default: the real one. */
  readonly now?: () => Date;
}

const MAX_SKEW_MILLISECONDS = 15 * 60_000;
const MAX_BODY_BYTES = 64 << 20;

/**
 * A double of OSS on a free port of 127.0.0.1: objects and listings, as far as ali-oss uses them for a store.
 * https://www.alibabacloud.com/help/en/oss/developer-reference/list-of-operations-by-function
 */
export async function startOss(options: OssOptions): Promise<Oss> {
  const now = options.now ?? (() => new Date());
  const buckets = new Map(
    Object.entries(options.buckets).map(([name, bucket]) => [name, new Bucket(name, bucket, now())]),
  );
  const requests: RecordedRequest[] = [];
  const hooks = new Set<OssHook>();
  const counts = new Map<string, number>();

  const bucketNamed = (name: string): Bucket => {
    const bucket = buckets.get(name);
    if (!bucket) throw new Error(`The OSS of the sandbox has no bucket ${name}`);
    return bucket;
  };

  const server = createServer((message, response) => {
    answer(message, response).catch(() => response.destroy());
  });

  async function answer(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const request = await receive(message);
    const { method, bucket, key, headers } = request;
    // Taken at arrival, so that the list keeps the order in which requests came.
    const index = requests.push({ method, bucket, key, headers, status: 0, code: 'unanswered' }) - 1;
    const finish = (status: number, code: string): void => {
      requests[index] = { method, bucket, key, headers, status, code };
    };
    const counter = `${method} ${bucket}/${key}`;
    const nth = (counts.get(counter) ?? 0) + 1;
    counts.set(counter, nth);
    const interception = await firstInterception({ ...request, nth });
    if (interception !== undefined) injected();
    if (interception === 'hang') return finish(0, 'hang');
    if (interception === 'reset') {
      finish(0, 'reset');
      message.socket.resetAndDestroy();
      return;
    }
    let result: OssAnswer;
    let code = 'OK';
    try {
      if (interception instanceof OssError) throw interception;
      if (typeof interception === 'object') {
        code = 'raw';
        result = { headers: {}, ...interception };
      } else result = handle(request);
    } catch (error) {
      const problem = error instanceof OssError ? error : new OssError(500, 'InternalError', String(error));
      code = problem.code;
      result = problem.answer();
    }
    if (interception === 'reset-after') {
      finish(0, 'reset-after');
      message.socket.resetAndDestroy();
      return;
    }
    finish(result.status, code);
    send(response, request, result);
  }

  function handle(request: OssRequest): OssAnswer {
    const authorization = readAuthorization(request);
    const account = authorization ? authenticate(request, authorization) : undefined;
    if (!authorization && request.headers.authorization !== undefined) {
      throw new OssError(400, 'InvalidArgument', 'Authorization header is invalid.');
    }
    if (request.method === 'PUT' && request.key === '' && account && !buckets.has(request.bucket)) {
      if (account.allows?.('oss:PutBucket', request.bucket, '') === false) {
        throw new OssError(403, 'AccessDenied', 'You have no right to access this bucket.');
      }
      const acl = request.headers['x-oss-acl'] === 'public-read' ? 'public-read' : 'private';
      buckets.set(request.bucket, new Bucket(request.bucket, { acl }, now()));
    }
    const bucket = buckets.get(request.bucket);
    if (!bucket) throw new OssError(404, 'NoSuchBucket', 'The specified bucket does not exist.');
    const may = (action: string): boolean => {
      if (account) return account.allows?.(action, request.bucket, request.key) ?? true;
      const isObjectPublic = bucket.latest(request.key)?.object?.headers['x-oss-object-acl'] === 'public-read';
      return /^oss:(GetObject|ListObjects)$/.test(action) && (bucket.acl === 'public-read' || isObjectPublic);
    };
    return operate(bucket, request, may, now());
  }

  function authenticate(
    request: OssRequest,
    authorization: NonNullable<ReturnType<typeof readAuthorization>>,
  ): OssAccount {
    const { signedAt, accessKeyId } = authorization;
    if (!signedAt) throw new OssError(403, 'AccessDenied', 'OSS authentication requires a valid Date.');
    if (Math.abs(now().getTime() - signedAt.getTime()) > MAX_SKEW_MILLISECONDS) {
      const message = 'The difference between the request time and the current time is too large.';
      throw new OssError(403, 'RequestTimeTooSkewed', message);
    }
    const account = options.accounts.find((candidate) => candidate.accessKeyId === accessKeyId);
    const token = request.headers['x-oss-security-token'];
    // A temporary AccessKey does not exist for OSS without its token, nor a permanent one with any.
    if (!account || (account.securityToken === undefined) !== (token === undefined)) {
      const message = 'The OSS Access Key Id you provided does not exist in our records.';
      throw new OssError(403, 'InvalidAccessKeyId', message);
    }
    if (token !== account.securityToken) {
      throw new OssError(403, 'InvalidSecurityToken', 'The security token you provided is invalid.');
    }
    if (account.expiresAt !== undefined && account.expiresAt.getTime() <= now().getTime()) {
      throw new OssError(403, 'SecurityTokenExpired', 'The security token you provided has expired.');
    }
    if (!authorization.matches(account.accessKeySecret)) {
      const message =
        'The request signature we calculated does not match the signature you provided. Check your key and signing method.';
      throw new OssError(403, 'SignatureDoesNotMatch', message, { StringToSign: authorization.stringToSign });
    }
    return account;
  }

  async function firstInterception(request: InterceptedRequest): Promise<OssInterception | undefined> {
    for (const hook of [...hooks]) {
      const interception = await hook(request);
      if (interception !== undefined) return interception;
    }
    return undefined;
  }

  function send(response: ServerResponse, { method }: OssRequest, result: OssAnswer): void {
    const { status, body } = result;
    // A HEAD answer has no body, so the error document goes into a header.
    const error = method === 'HEAD' && status >= 400 ? { 'x-oss-err': Buffer.from(body).toString('base64') } : {};
    response.writeHead(status, {
      server: 'AliyunOSS',
      date: now().toUTCString(),
      'x-oss-request-id': result.requestId ?? newRequestId(),
      ...(status === 204 || status === 304 ? {} : { 'content-length': Buffer.byteLength(body) }),
      ...error,
      ...result.headers,
    });
    response.end(method === 'HEAD' ? undefined : body);
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('An HTTP server without a port');

  return {
    url: `http://127.0.0.1:${address.port}`,
    requests,
    bucket: bucketNamed,
    addBucket(name, bucket = {}) {
      buckets.set(name, new Bucket(name, bucket, now()));
    },
    hasBucket: (name) => buckets.has(name),
    read: (bucket, key) => bucketNamed(bucket).latest(key)?.object?.body,
    write(bucket, key, body) {
      bucketNamed(bucket).put(key, Buffer.from(body), {}, now());
    },
    intercept(hook) {
      hooks.add(hook);
      return () => hooks.delete(hook);
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function receive(message: IncomingMessage): Promise<OssRequest> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of message) {
    const bytes = Buffer.from(chunk);
    size += bytes.length;
    if (size > MAX_BODY_BYTES) throw new Error('The body is too long');
    chunks.push(bytes);
  }
  const [path = '/', search = ''] = (message.url ?? '/').split('?', 2);
  const segments = decodeURIComponent(path.slice(1));
  const host = (message.headers.host ?? '').replace(/:\d+$/, '');
  // ali-oss sends the virtual host of the region also to an IP endpoint; plain clients put the bucket in the path.
  const isPathStyle = isIP(host) !== 0 || !host.includes('.');
  const slash = segments.indexOf('/');
  const bucketInPath = slash === -1 ? segments : segments.slice(0, slash);
  const keyInPath = slash === -1 ? '' : segments.slice(slash + 1);
  return {
    method: message.method ?? '',
    bucket: isPathStyle ? bucketInPath : (host.split('.')[0] ?? ''),
    key: isPathStyle ? keyInPath : segments,
    query: new Map(new URLSearchParams(search)),
    headers: message.headers,
    body: Buffer.concat(chunks),
  };
}

function newRequestId(): string {
  return randomBytes(12).toString('hex').toUpperCase();
}
