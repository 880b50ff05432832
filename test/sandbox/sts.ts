/** A double of Security Token Service 2015-04-01: whose credentials a call is signed with. */
import type { Product } from './product.ts';

/** https://www.alibabacloud.com/help/en/ram/developer-reference/api-sts-2015-04-01-getcalleridentity */
export function createSts({ accountId }: { readonly accountId: string }): Product {
  return {
    name: 'sts',
    version: '2015-04-01',
    actions: {
      GetCallerIdentity: {
        callsPerSecond: 100,
        handle: () => ({
          AccountId: accountId,
          Arn: `acs:ram::${accountId}:user/ops`,
          IdentityType: 'RAMUser',
          PrincipalId: '216959339000654321',
          UserId: '216959339000654321',
        }),
      },
    },
  };
}
