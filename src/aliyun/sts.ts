import * as v from 'valibot';
import { digits, readAnswer } from './answer.ts';
import type { Rpc } from './rpc.ts';

/** Whose credentials these are. */
export interface CallerIdentity {
  /** The account's id, which names of its resources carry. */
  readonly AccountId: string;
  /** `acs:ram::1234567890123456:user/ops` */
  readonly Arn: string;
}

const VERSION = '2015-04-01';
const identity = v.object({ AccountId: digits, Arn: v.string() });

/** STS GetCallerIdentity: needs no permission, so it fails for bad credentials alone. Throws AliyunError. */
export async function getCallerIdentity(rpc: Pick<Rpc, 'call'>, endpoint: string): Promise<CallerIdentity> {
  const action = 'GetCallerIdentity';
  return readAnswer(identity, await rpc.call({ endpoint, version: VERSION, action }), action);
}
