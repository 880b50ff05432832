import { createAlidns } from '../aliyun/alidns.ts';
import type { Oss } from '../aliyun/oss.ts';
import type { Rpc } from '../aliyun/rpc.ts';
import type { Config } from '../config.ts';
import type { Deps } from '../deps.ts';
import type { Solver } from '../issue.ts';
import { createAlidnsSolver } from './alidns.ts';
import { createOssSolver } from './oss.ts';

/** What proves control of a name, as the configuration asks for it. */
export function openSolver(
  { challenge, dns, endpoints }: Pick<Config, 'challenge' | 'dns' | 'endpoints'>,
  bucket: (name: string) => Oss,
  { rpc, share, deps }: { readonly rpc: Rpc; readonly share: number; readonly deps: Deps },
): Solver {
  if (challenge.type === 'http-01') return createOssSolver({ oss: bucket(challenge.bucket), prefix: challenge.prefix });
  return createAlidnsSolver({ alidns: createAlidns({ rpc, endpoint: endpoints.alidns, share, deps }), dns, deps });
}
