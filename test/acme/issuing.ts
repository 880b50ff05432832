import type { AcmeAccount } from '../../src/acme/account.ts';
import { createCsr } from '../../src/acme/signing.ts';
import type { Secret } from '../../src/secret.ts';

/** One certificate from a CA that believes every dns-01 challenge: the client's calls alone, as `issue` makes them. */
export async function issueAt(
  account: AcmeAccount,
  identifiers: readonly string[],
  privateKey: Secret,
): Promise<string> {
  const opened = await account.newOrder({ identifiers, profile: 'default' });
  await Promise.all(
    opened.authorizations.map(async (url) => {
      const { challenges } = await account.authorization(url);
      const dns = challenges.find(({ type }) => type === 'dns-01');
      if (dns) await account.respond(dns.url);
    }),
  );
  const ready = await account.pollOrder(opened.url, ['ready']);
  const finalized = await account.finalize(ready, await createCsr({ identifiers, privateKey }));
  return account.certificate(await account.pollOrder(finalized.url, ['valid']));
}
