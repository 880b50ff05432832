import { onTestFinished } from 'vitest';
import type { AcmeAccount } from '../../src/acme/account.ts';
import { createAccountKey } from '../../src/acme/keys.ts';
import type { Order } from '../../src/acme/objects.ts';
import { createCsr } from '../../src/acme/signing.ts';
import { type AcmeOptions, type AcmeSession, openAcme } from '../../src/acme.ts';
import type { AutocertError } from '../../src/errors.ts';
import { type ManualDeps, manualDeps } from './deps.ts';
import { type HostileCa, startHostileCa } from './hostile-ca.ts';

export interface HostileSession {
  readonly ca: HostileCa;
  readonly acme: AcmeSession;
  readonly deps: ManualDeps;
}

/** A session at a CA of its own, both closed when the test ends. */
export async function hostileSession(
  options: Partial<AcmeOptions> & { readonly secondsLeft?: number; readonly random?: number } = {},
): Promise<HostileSession> {
  const ca = await startHostileCa();
  onTestFinished(() => ca.close());
  const { secondsLeft = 600, random = 0.5, ...rest } = options;
  const deps = manualDeps({ secondsLeft, random });
  const acme = openAcme({ directoryUrl: ca.directoryUrl, caBundle: ca.caBundle, deps, requestTimeout: 5000, ...rest });
  onTestFinished(() => acme.close());
  return { ca, acme, deps };
}

export function register(acme: AcmeSession, key = createAccountKey()): Promise<AcmeAccount> {
  return acme.account(key, { contact: ['mailto:ops@example.com'], termsOfServiceAgreed: true });
}

/** Opens an order and answers its challenges. */
export async function readyOrder(
  account: AcmeAccount,
  identifiers: readonly string[] = ['example.com'],
): Promise<Order> {
  const opened = await account.newOrder({ identifiers });
  const authorizations = await Promise.all(opened.authorizations.map((url) => account.authorization(url)));
  for (const { challenges } of authorizations) {
    for (const { url } of challenges) await account.respond(url);
  }
  return await account.pollOrder(opened.url, ['ready']);
}

export async function validOrder(
  account: AcmeAccount,
  identifiers: readonly string[] = ['example.com'],
): Promise<Order> {
  const ready = await readyOrder(account, identifiers);
  return await account.finalize(ready, await createCsr({ identifiers, privateKey: createAccountKey() }));
}

/** What the promise was rejected with; a promise that is kept fails the test. */
export async function failureOf(promise: Promise<unknown>): Promise<AutocertError> {
  const settled = await promise.then(
    (value) => ({ value }),
    (error: AutocertError) => ({ error }),
  );
  if ('error' in settled) return settled.error;
  throw new Error(`it succeeded: ${JSON.stringify(settled.value)}`);
}
