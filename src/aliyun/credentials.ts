import type { Secret } from '../secret.ts';

/** What a call to the cloud is signed with. From a role it carries a security token and lives for hours. */
export interface Credentials {
  readonly accessKeyId: string;
  readonly accessKeySecret: Secret;
  readonly securityToken?: Secret;
}

/** Asked before every call: a warm instance may hold credentials of a run long past. */
export type CredentialsProvider = () => Promise<Credentials>;
