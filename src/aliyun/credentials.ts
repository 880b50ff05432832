import { Secret } from '../secret.ts';

/** What a call to the cloud is signed with. From a role it carries a security token and lives for hours. */
export interface Credentials {
  readonly accessKeyId: string;
  readonly accessKeySecret: Secret;
  readonly securityToken?: Secret | undefined;
}

/** Asked before every call: a warm instance may hold credentials of a run long past. */
export type CredentialsProvider = () => Credentials | Promise<Credentials>;

/** The variables that FC and the Alibaba Cloud tools use; undefined without an AccessKey pair. */
export function environmentCredentials(env: Readonly<Record<string, string | undefined>>): Credentials | undefined {
  return toCredentials({
    accessKeyId: env['ALIBABA_CLOUD_ACCESS_KEY_ID'],
    accessKeySecret: env['ALIBABA_CLOUD_ACCESS_KEY_SECRET'],
    securityToken: env['ALIBABA_CLOUD_SECURITY_TOKEN'],
  });
}

/** Undefined when there is no pair: a function without a role has empty ones. */
export function toCredentials(given: {
  readonly accessKeyId?: string | undefined;
  readonly accessKeySecret?: string | undefined;
  readonly securityToken?: string | undefined;
}): Credentials | undefined {
  const { accessKeyId, accessKeySecret, securityToken } = given;
  if (!accessKeyId || !accessKeySecret) return undefined;
  return {
    accessKeyId,
    accessKeySecret: new Secret(accessKeySecret),
    ...(securityToken && { securityToken: new Secret(securityToken) }),
  };
}
