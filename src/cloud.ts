import { createCdn } from './aliyun/cdn.ts';
import type { CredentialsProvider } from './aliyun/credentials.ts';
import { createRpc, type Rpc } from './aliyun/rpc.ts';
import type { Config } from './config.ts';
import type { Target } from './deploy.ts';
import type { Deps } from './deps.ts';
import type { LedgerPart } from './ledger.ts';
import { createCdnTarget } from './target/cdn.ts';

/** The cloud's API and the CDN behind it: all that the first question of a run needs. */
export interface Cloud {
  readonly rpc: Rpc;
  readonly target: Target;
}

/** Nothing is opened before it is used. A worker, which has its `part` of a run, calls the API at its part of the rate. */
export function connectCloud(
  { cdn, endpoints }: Config,
  credentials: CredentialsProvider,
  deps: Deps,
  part?: LedgerPart,
): Cloud {
  const rpc = createRpc({ credentials, deps });
  const share = 1 / (part?.shares ?? 1);
  return { rpc, target: createCdnTarget({ cdn: createCdn({ rpc, endpoint: endpoints.cdn, ...cdn, share, deps }) }) };
}
