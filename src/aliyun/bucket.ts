import { AliyunError } from './errors.ts';
import { connectOss, isFromOss, type OssOptions } from './oss.ts';
import { withoutRequestId } from './oss-failure.ts';

/** A bucket as a whole, for whoever sets one up; its objects are `Oss`. */
export interface Bucket {
  readonly name: string;
  /** Undefined when there is no such bucket. Throws PERMISSION_DENIED for one of another account. */
  versioning(): Promise<'never' | 'Enabled' | 'Suspended' | undefined>;
  /** Creates it, private. One that this account has already is no error. */
  create(): Promise<void>;
  close(): void;
}

/** Every call throws AliyunError. */
export function createBucket(options: OssOptions): Bucket {
  const { bucket } = options;
  const { call, close } = connectOss(options);
  return {
    name: bucket,

    async versioning() {
      try {
        return await call({ action: 'GetBucketVersioning', key: '' }, async (oss) => {
          // It is left out of the library's declarations.
          const ask = 'getBucketVersioning' in oss ? oss.getBucketVersioning : undefined;
          if (typeof ask !== 'function') throw withoutRequestId();
          const answer: { versionStatus?: unknown; res?: unknown } = await ask.call(oss, bucket);
          if (!isFromOss(answer.res)) throw withoutRequestId();
          const { versionStatus } = answer;
          return versionStatus === 'Enabled' || versionStatus === 'Suspended' ? versionStatus : 'never';
        });
      } catch (error) {
        if (error instanceof AliyunError && error.apiCode === 'NoSuchBucket') return undefined;
        throw error;
      }
    },

    async create() {
      await call({ action: 'PutBucket', key: '' }, async (oss) => {
        // The declarations make every option required.
        const options: Partial<Parameters<typeof oss.putBucket>[1]> = { acl: 'private' };
        const { res } = await oss.putBucket(bucket, Object.assign(options));
        if (!isFromOss(res)) throw withoutRequestId();
      });
    },

    close,
  };
}
