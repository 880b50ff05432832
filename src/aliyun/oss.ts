import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type Client from 'ali-oss';
import type { Deps } from '../deps.ts';
import { retry } from '../retry.ts';
import type { Credentials } from './credentials.ts';
import { AliyunError } from './errors.ts';
import { type OssCall, ossError, withoutRequestId } from './oss-failure.ts';

/** One bucket. Keys are printable ASCII without a leading slash. */
export interface Oss {
  readonly bucket: string;
  /** The object's bytes, or undefined when OSS says that there is none; of one bigger than `most` its first `most` + 1. */
  get(key: string, options?: { readonly most?: number }): Promise<Uint8Array | undefined>;
  /**
   * Writes one object, encrypted at rest by OSS (AES256). With `forbidOverwrite` an object that exists stays as it is
   * and the answer is false; OSS ignores that in a bucket with versioning.
   */
  put(
    key: string,
    bytes: Uint8Array,
    options?: { readonly forbidOverwrite?: boolean; readonly contentType?: string },
  ): Promise<boolean>;
  /** One that does not exist is no error. */
  delete(key: string): Promise<void>;
  /** All keys that begin with `prefix`, sorted. */
  list(prefix: string): Promise<string[]>;
  /** Closes the sockets. */
  close(): void;
}

export interface OssOptions {
  /** `https://oss-cn-hangzhou.aliyuncs.com` */
  readonly endpoint: string;
  readonly bucket: string;
  /** Asked before every request. */
  readonly credentials: () => Credentials | Promise<Credentials>;
  readonly deps: Pick<Deps, 'now' | 'random' | 'sleep' | 'deadline'>;
  /** Milliseconds for one request. Default 10000. */
  readonly timeout?: number;
}

const KEYS_PER_PAGE = 1000;
/** A listing that does not end is no listing. */
const MAX_PAGES = 1000;

/** One bucket's requests, each repeated where that helps. */
export interface OssConnection {
  call<T>(
    about: Omit<OssCall, 'bucket' | 'endpoint'>,
    request: (oss: Client, attempt: number) => Promise<T>,
  ): Promise<T>;
  close(): void;
}

/** Only here is `ali-oss` used, and it is loaded with the first call. Every call throws AliyunError. */
export function connectOss({ endpoint, bucket, credentials, deps, timeout = 10_000 }: OssOptions): OssConnection {
  const agents = { agent: new HttpAgent({ keepAlive: true }), httpsAgent: new HttpsAgent({ keepAlive: true }) };
  let current: { readonly credentials: Credentials; readonly client: Client } | undefined;

  async function client(): Promise<Client> {
    const fresh = await credentials();
    if (current && isSame(current.credentials, fresh)) return current.client;
    const { default: OssClient } = await import('ali-oss');
    const keys = { accessKeyId: fresh.accessKeyId, accessKeySecret: fresh.accessKeySecret.reveal() };
    const stsToken = fresh.securityToken?.reveal();
    const options = {
      ...keys,
      ...agents,
      endpoint,
      bucket,
      timeout,
      // Without it the library writes a warning to the console. A new token makes a new client instead.
      ...(stsToken !== undefined && { stsToken, refreshSTSToken: async () => ({ ...keys, stsToken }) }),
    };
    current = { credentials: fresh, client: new OssClient(options) };
    return current.client;
  }

  return {
    async call(about, request) {
      return retry(
        async (attempt) => {
          const oss = await client();
          try {
            return await request(oss, attempt);
          } catch (error) {
            throw ossError(error, { ...about, bucket, endpoint });
          }
        },
        { deps },
      );
    },
    close() {
      agents.agent.destroy();
      agents.httpsAgent.destroy();
    },
  };
}

/** Access to the objects of one bucket. */
export function createOss(options: OssOptions): Oss {
  const { endpoint, bucket } = options;
  const { call, close } = connectOss(options);

  async function get(key: string, { most }: { readonly most?: number } = {}): Promise<Uint8Array | undefined> {
    const headers = most === undefined ? {} : { Range: `bytes=0-${most}` };
    try {
      return await call({ action: 'GetObject', key }, async (oss) => {
        const { res, content } = await oss.get(key, { headers });
        if (!isFromOss(res) || !Buffer.isBuffer(content)) throw withoutRequestId();
        return content;
      });
    } catch (error) {
      if (error instanceof AliyunError && error.apiCode === 'NoSuchKey') return undefined;
      throw error;
    }
  }

  return {
    bucket,
    get,

    async put(key, bytes, { forbidOverwrite = false, contentType = 'application/octet-stream' } = {}) {
      const body = Buffer.from(bytes);
      const headers = {
        'Content-Type': contentType,
        'x-oss-server-side-encryption': 'AES256',
        ...(forbidOverwrite && { 'x-oss-forbid-overwrite': 'true' }),
      };
      let tries = 0;
      try {
        await call({ action: 'PutObject', key }, async (oss, attempt) => {
          tries = attempt;
          const { res } = await oss.put(key, body, { headers });
          if (!isFromOss(res)) throw withoutRequestId();
        });
        return true;
      } catch (error) {
        if (!(error instanceof AliyunError) || error.apiCode !== 'FileAlreadyExists') throw error;
        if (tries === 1) return false;
        // The answer to an earlier try was lost: what is there may be what it wrote.
        const there = await get(key);
        return there !== undefined && body.equals(there);
      }
    },

    async delete(key) {
      await call({ action: 'DeleteObject', key }, async (oss) => {
        const { res } = await oss.delete(key);
        if (!isFromOss(res)) throw withoutRequestId();
      });
    },

    async list(prefix) {
      const keys: string[] = [];
      let token: string | undefined;
      for (let page = 0; page < MAX_PAGES; page += 1) {
        const query = {
          prefix,
          'max-keys': String(KEYS_PER_PAGE),
          ...(token !== undefined && { 'continuation-token': token }),
        };
        const listing = await call({ action: 'ListObjects', key: prefix }, async (oss) => {
          const answer = await oss.listV2(query, {});
          if (!isFromOss(answer.res) || !Number.isInteger(Number(answer.keyCount))) throw withoutRequestId();
          return answer;
        });
        keys.push(...(listing.objects ?? []).map(({ name }) => name));
        token = listing.nextContinuationToken || undefined;
        if (!listing.isTruncated || token === undefined) return keys.sort();
      }
      throw ossError(withoutRequestId(), { action: 'ListObjects', key: prefix, bucket, endpoint });
    },

    close,
  };
}

function isSame(a: Credentials, b: Credentials): boolean {
  return (
    a.accessKeyId === b.accessKeyId &&
    a.accessKeySecret.reveal() === b.accessKeySecret.reveal() &&
    a.securityToken?.reveal() === b.securityToken?.reveal()
  );
}

/** Every answer of OSS has a request id; the page of a proxy has none, whatever its status. */
export function isFromOss(res: unknown): boolean {
  if (typeof res !== 'object' || res === null || !('headers' in res)) return false;
  const { headers } = res;
  return typeof headers === 'object' && headers !== null && 'x-oss-request-id' in headers;
}
