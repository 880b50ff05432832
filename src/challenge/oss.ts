import type { Oss } from '../aliyun/oss.ts';
import type { Challenge, Solver } from '../issue.ts';

export interface OssSolverOptions {
  /** The bucket that is the origin of the domain. */
  readonly oss: Pick<Oss, 'put' | 'delete'>;
  /** The folder of the bucket that the origin serves; empty for the bucket itself. */
  readonly prefix: string;
}

/**
 * http-01 (RFC 8555 section 8.3) by the OSS bucket that is the CDN domain's origin. OSS reads its own writes at once, so
 * nothing is waited for. The token is the CA's and new for every authorization: nobody else's object has its name.
 */
export function createOssSolver({ oss, prefix }: OssSolverOptions): Solver {
  return {
    type: 'http-01',

    async present(challenge) {
      const bytes = new TextEncoder().encode(challenge.keyAuthorization);
      await oss.put(keyOf(prefix, challenge), bytes, { contentType: 'application/octet-stream' });
    },

    async cleanUp(challenge) {
      await oss.delete(keyOf(prefix, challenge));
    },
  };
}

function keyOf(prefix: string, { token }: Challenge): string {
  return `${prefix === '' ? '' : `${prefix}/`}.well-known/acme-challenge/${token}`;
}
