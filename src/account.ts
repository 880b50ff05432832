import type { AcmeAccount } from './acme/account.ts';
import { createAccountKey } from './acme/keys.ts';
import type { AcmeSession } from './acme.ts';
import type { CertificateAuthority } from './config.ts';
import { readAccount, type Store, type StoredAccount, writeAccount } from './record.ts';

/**
 * The ACME account of a CA: made once and kept. Its key is in the store before the CA hears of it, and a key that
 * another run was faster to store is taken instead, so that there is one account whatever happens (RFC 8555 section
 * 7.3: newAccount with a known key gives the existing account). With `known: false` the CA is asked again although the
 * account's URL is stored: it has forgotten the account.
 */
export async function openAccount(
  session: AcmeSession,
  authority: CertificateAuthority,
  store: Store,
  options: { readonly known: boolean } = { known: true },
): Promise<AcmeAccount> {
  const { directoryUrl, externalAccountBinding } = authority;
  const kid = externalAccountBinding?.kid;
  const stored = (await readAccount(store, directoryUrl, kid)) ?? (await createStoredAccount(store, directoryUrl, kid));
  const account = await session.account(stored.privateKey, {
    ...(options.known && stored.url !== undefined && { accountUrl: stored.url }),
    ...(externalAccountBinding && { externalAccountBinding }),
    contact: authority.contact,
    termsOfServiceAgreed: authority.termsOfServiceAgreed,
  });
  // Also what is there already: after a change of the encryption key nothing else would write it with the new one.
  await writeAccount(store, { ...stored, url: account.url }, kid);
  return account;
}

async function createStoredAccount(
  store: Store,
  directoryUrl: string,
  kid: string | undefined,
): Promise<StoredAccount> {
  const fresh = { directoryUrl, privateKey: createAccountKey() };
  await writeAccount(store, fresh, kid, { ifAbsent: true });
  return (await readAccount(store, directoryUrl, kid)) ?? fresh;
}
