/** Who calls: AccessKeys, STS tokens, the clock and the nonce of a signed call, and what RAM says of it. */
import { ApiError, type Product } from './product.ts';
import type { SignedCall } from './rpc-signature.ts';

/** One AccessKey. Several of one `userId` share that user's calls per second. */
export interface Account {
  /** Begins with `STS.` for temporary credentials, which then need `securityToken`. */
  readonly accessKeyId: string;
  readonly accessKeySecret: string;
  readonly securityToken?: string;
  /** When the STS token ends. */
  readonly expiresAt?: Date;
  /** A disabled AccessKey. */
  readonly inactive?: boolean;
  /** Actions that RAM refuses to this user, without the product's prefix. */
  readonly denied?: readonly string[];
  readonly userId: string;
}

const MAX_SKEW_MILLISECONDS = 15 * 60_000;

/**
 * Checks in the gateway's order: AccessKey, token, timestamp, signature, nonce. The result throws the public error codes
 * of the API gateway (https://help.aliyun.com/document_detail/53438.html); it reads `accounts` anew for each call.
 */
export function createAuthenticator(accounts: readonly Account[], now: () => Date): (call: SignedCall) => Account {
  const nonces = new Set<string>();
  return (call) => {
    const account = accounts.find(({ accessKeyId }) => accessKeyId === call.accessKeyId);
    if (account === undefined) {
      throw new ApiError(404, 'InvalidAccessKeyId.NotFound', 'Specified access key is not found.');
    }
    if (account.inactive) throw new ApiError(400, 'InvalidAccessKeyId.Inactive', 'Specified access key is disabled.');
    checkToken(call, account, accounts, now());
    checkTimestamp(call.timestamp, now());
    call.verify(account.accessKeySecret);
    const nonce = `${call.accessKeyId} ${call.nonce}`;
    if (nonces.has(nonce)) {
      throw new ApiError(400, 'SignatureNonceUsed', 'Specified signature nonce was used already.');
    }
    nonces.add(nonce);
    return account;
  };
}

function checkToken(call: SignedCall, account: Account, accounts: readonly Account[], now: Date): void {
  const token = call.securityToken;
  const fail = (kind: string, message: string): ApiError => new ApiError(400, `InvalidSecurityToken.${kind}`, message);
  if (token === undefined) {
    if (!call.accessKeyId.startsWith('STS.')) return;
    throw new ApiError(400, 'MissingSecurityToken', 'SecurityToken is mandatory for this action.');
  }
  const owner = accounts.find(({ securityToken }) => securityToken === token);
  if (owner === undefined) throw fail('Malformed', 'Specified SecurityToken is malformed.');
  if (owner.accessKeyId !== account.accessKeyId) {
    throw fail('MismatchWithAccessKey', 'Specified SecurityToken mismatch with the AccessKey.');
  }
  if (account.expiresAt !== undefined && account.expiresAt.getTime() <= now.getTime()) {
    throw fail('Expired', 'Specified SecurityToken is expired.');
  }
}

function checkTimestamp(timestamp: string, now: Date): void {
  const sent = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(timestamp) ? Date.parse(timestamp) : Number.NaN;
  if (Number.isNaN(sent)) {
    throw new ApiError(400, 'InvalidTimeStamp.Format', 'Specified time stamp or date value is not well formatted.');
  }
  if (Math.abs(now.getTime() - sent) > MAX_SKEW_MILLISECONDS) {
    throw new ApiError(400, 'InvalidTimeStamp.Expired', 'Specified time stamp or date value is expired.');
  }
}

/** https://www.alibabacloud.com/help/en/ram/support/ram-policy-diagnosis: what a refused call tells about itself. */
export class PermissionError extends ApiError {
  readonly accessDeniedDetail: Record<string, string>;

  constructor(product: Product, account: Account, action: string) {
    const { code, message } = product.permissionError ?? {
      code: 'Forbidden.RAM',
      message: "User not authorized to operate on the specified resource, or this API doesn't support RAM.",
    };
    super(403, code, message);
    this.accessDeniedDetail = {
      AuthAction: `${product.name}:${action}`,
      AuthPrincipalDisplayName: account.userId,
      AuthPrincipalType: account.accessKeyId.startsWith('STS.') ? 'AssumedRoleUser' : 'SubUser',
      NoPermissionType: 'ImplicitDeny',
      PolicyType: 'AccountLevelIdentityBasedPolicy',
    };
  }
}
