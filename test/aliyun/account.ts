import type { Credentials } from '../../src/aliyun/credentials.ts';
import { Secret } from '../../src/secret.ts';
import type { Account } from '../sandbox/rpc-account.ts';

/** One user of the sandbox, as the gateway knows it. */
export const ACCOUNT: Account = { accessKeyId: 'test-id', accessKeySecret: 'test-secret', userId: 'user' };

/** The same user, as the client signs. */
export const credentials = async (): Promise<Credentials> => ({
  accessKeyId: ACCOUNT.accessKeyId,
  accessKeySecret: new Secret(ACCOUNT.accessKeySecret),
});
