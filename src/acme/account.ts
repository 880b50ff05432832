import { createHash, X509Certificate } from 'node:crypto';
import type { Deps } from '../deps.ts';
import { AutocertError } from '../errors.ts';
import type { Secret } from '../secret.ts';
import { header, invalidAnswer, jsonOrUndefined } from './answer.ts';
import {
  type Authorization,
  type Directory,
  type OfferedChallenge,
  type Order,
  type OrderStatus,
  parseAccountStatus,
  parseChallenge,
} from './objects.ts';
import {
  downloadCertificate,
  finalizeOrder,
  type NewOrder,
  newOrder,
  pollOrder,
  type Requester,
  readAuthorization,
  readOrder,
} from './order.ts';
import { AcmeProblem, PROBLEM_NAMESPACE, type ProblemContext } from './problem.ts';
import { loadSigner, type Signer } from './signing.ts';
import type { Transport } from './transport.ts';

export interface AccountOptions {
  /** The account's URL when it is known: then nothing is asked. */
  readonly accountUrl?: string | undefined;
  /** `mailto:` URLs. */
  readonly contact?: readonly string[] | undefined;
  readonly termsOfServiceAgreed: boolean;
  /** RFC 8555 section 7.3.4; `hmacKey` is base64url, as CAs show it. */
  readonly externalAccountBinding?: { readonly kid: string; readonly hmacKey: Secret } | undefined;
}

/**
 * One account at one CA. Every function throws AcmeProblem when the CA says no, and AutocertError ACME_UNREACHABLE,
 * ACME_UNAVAILABLE, ACME_RESPONSE_INVALID or DEADLINE_REACHED when it says nothing useful.
 */
export interface AcmeAccount {
  readonly url: string;
  /**
   * RFC 8555 section 7.4. An answer that is lost is asked for once more: at most one order too many. Throws
   * ACME_ALREADY_REPLACED when another order has replaced the certificate `replaces` names.
   */
  newOrder(request: NewOrder): Promise<Order>;
  order(url: string): Promise<Order>;
  authorization(url: string): Promise<Authorization>;
  /** RFC 8555 section 8.1: the content of the http-01 file. */
  keyAuthorization(token: string): string;
  /** RFC 8555 section 8.4: the value of the dns-01 TXT record. */
  dnsKeyAuthorization(token: string): string;
  /** RFC 8555 section 7.5.1: tells the CA to validate. Doing it twice is harmless. */
  respond(challengeUrl: string): Promise<OfferedChallenge>;
  /**
   * Waits until the order has one of the statuses, or is `valid`. Throws ACME_ORDER_PENDING when the deadline or the CA's
   * Retry-After leaves no time, and for an invalid order the problem of the authorization that failed.
   */
  pollOrder(url: string, until: readonly OrderStatus[]): Promise<Order>;
  /** RFC 8555 section 7.4. An order that turns out to be `processing` or `valid` is given back, whatever was answered. */
  finalize(order: Order, csr: { readonly der: Buffer }): Promise<Order>;
  /**
   * The chain of a valid order as PEM, the leaf first: certificates and nothing else. With `preferredChain`, the common name
   * of an issuer, the alternate chain in which it stands nearest to the root; the default chain when there is none.
   */
  certificate(order: Order, options?: { readonly preferredChain?: string | undefined }): Promise<string>;
  /** RFC 8555 section 7.5.2. */
  deactivateAuthorization(url: string): Promise<void>;
  /** RFC 8555 section 7.6. `reason` as in RFC 5280 section 5.3.1. A certificate that is revoked already is no error. */
  revoke(certificatePem: string, reason?: number): Promise<void>;
  /** RFC 8555 section 7.3.5. Gives the same account under its new key; this one is of no use from then on. */
  keyChange(newKey: Secret): Promise<AcmeAccount>;
}

export interface AccountContext {
  readonly transport: Transport;
  readonly deps: Deps;
  readonly signal: AbortSignal | undefined;
  directory(): Promise<Directory>;
  problemContext(): Pick<ProblemContext, 'caaIdentities'>;
}

export async function openAccount(context: AccountContext, key: Secret, options: AccountOptions): Promise<AcmeAccount> {
  const signer = await loadSigner(key);
  return createAccount(context, signer, options.accountUrl ?? (await register(context, signer, options)));
}

/**
 * RFC 8555 section 7.3: a key that the CA knows gives the existing account. Where it is known beforehand that no account
 * can be made, only an existing one is asked for.
 */
async function register(context: AccountContext, signer: Signer, options: AccountOptions): Promise<string> {
  const { newAccount, meta } = await context.directory();
  const binding = options.externalAccountBinding;
  const bindingMissing = meta.externalAccountRequired && binding === undefined;
  const termsMissing = meta.termsOfService !== undefined && !options.termsOfServiceAgreed;
  const payload =
    bindingMissing || termsMissing
      ? { onlyReturnExisting: true }
      : {
          termsOfServiceAgreed: options.termsOfServiceAgreed,
          ...(options.contact?.length && { contact: options.contact }),
          ...(binding && { externalAccountBinding: signer.bind(newAccount, binding.kid, binding.hmacKey) }),
        };
  try {
    return await context.transport.call({
      method: 'POST',
      url: newAccount,
      purpose: 'register the account',
      externalAccountBinding: binding !== undefined,
      sign: (nonce) => signer.sign(newAccount, payload, { nonce }),
      read: (answer) => {
        const location = header(answer, 'location');
        if (location === undefined || !URL.canParse(location, newAccount)) {
          const isPage = jsonOrUndefined(answer) === undefined;
          throw invalidAnswer(newAccount, 'registered an account without saying its URL', isPage);
        }
        if (parseAccountStatus(answer) !== 'valid') throw accountClosed(newAccount);
        return new URL(location, newAccount).href;
      },
    });
  } catch (error) {
    if (!(error instanceof AcmeProblem) || !(bindingMissing || termsMissing)) throw error;
    if (!['ACME_ACCOUNT_DOES_NOT_EXIST', 'ACME_EXTERNAL_ACCOUNT_REQUIRED', 'ACME_MALFORMED'].includes(error.code))
      throw error;
    const [type, detail] = bindingMissing
      ? ['externalAccountRequired', 'the CA makes accounts only with an external account binding']
      : ['userActionRequired', `the terms of service are not agreed to: ${meta.termsOfService}`];
    throw new AcmeProblem(
      { type: PROBLEM_NAMESPACE + type, status: error.status, detail, subproblems: [], instance: undefined },
      { url: newAccount, purpose: 'register the account' },
    );
  }
}

function accountClosed(url: string): AcmeProblem {
  return new AcmeProblem(
    {
      type: `${PROBLEM_NAMESPACE}unauthorized`,
      status: 200,
      detail: 'the account is deactivated or revoked',
      subproblems: [],
      instance: undefined,
    },
    { url, purpose: 'open the account' },
  );
}

function createAccount(context: AccountContext, signer: Signer, url: string): AcmeAccount {
  const { transport, deps, signal, problemContext } = context;
  const requester: Requester = {
    deps,
    signal,
    problemContext,
    post: (target, payload, call) => {
      return transport.call({
        ...call,
        method: 'POST',
        url: target,
        sign: (nonce) => signer.sign(target, payload, { nonce, kid: url }),
      });
    },
  };

  async function respond(challengeUrl: string): Promise<OfferedChallenge> {
    const purpose = 'validate the challenge';
    try {
      return await requester.post(challengeUrl, {}, { purpose, read: parseChallenge });
    } catch (error) {
      // After an answer that was lost, the CA says that the challenge is no longer pending: that is what was asked for.
      if (!(error instanceof AcmeProblem) || error.status >= 500) throw error;
      const challenge = await requester
        .post(challengeUrl, null, { purpose, read: parseChallenge })
        .catch(() => undefined);
      if (challenge === undefined || challenge.status === 'pending') throw error;
      return challenge;
    }
  }

  async function revoke(certificatePem: string, reason?: number): Promise<void> {
    const { revokeCert } = await context.directory();
    const certificate = new X509Certificate(certificatePem).raw.toString('base64url');
    const payload = { certificate, ...(reason !== undefined && { reason }) };
    try {
      await requester.post(offered(revokeCert, 'revokeCert'), payload, {
        purpose: 'revoke the certificate',
        read: () => undefined,
      });
    } catch (error) {
      if (!(error instanceof AcmeProblem) || error.code !== 'ACME_ALREADY_REVOKED') throw error;
    }
  }

  async function keyChange(newKey: Secret): Promise<AcmeAccount> {
    const target = offered((await context.directory()).keyChange, 'keyChange');
    const newSigner = await loadSigner(newKey);
    const inner = newSigner.sign(target, { account: url, oldKey: signer.jwk }, {});
    try {
      await requester.post(target, inner, { purpose: 'change the account key', read: () => undefined });
    } catch (error) {
      // The answer may have been lost after the change: then the new key already opens this account.
      const found = await register(context, newSigner, { termsOfServiceAgreed: false }).catch(() => undefined);
      if (found !== url) throw error;
    }
    return createAccount(context, newSigner, url);
  }

  return {
    url,
    newOrder: async (request) => newOrder(requester, (await context.directory()).newOrder, request),
    order: (target) => readOrder(requester, target),
    authorization: (target) => readAuthorization(requester, target),
    keyAuthorization: signer.keyAuthorization,
    dnsKeyAuthorization: (token) => createHash('sha256').update(signer.keyAuthorization(token)).digest('base64url'),
    respond,
    pollOrder: (target, until) => pollOrder(requester, target, until),
    finalize: (order, csr) => finalizeOrder(requester, order, csr.der),
    certificate: (order, options) => downloadCertificate(requester, order, options?.preferredChain),
    deactivateAuthorization: (target) => {
      return requester.post(
        target,
        { status: 'deactivated' },
        { purpose: 'deactivate the authorization', read: () => undefined },
      );
    },
    revoke,
    keyChange,
  };
}

function offered(url: string | undefined, resource: string): string {
  if (url !== undefined) return url;
  throw new AutocertError({
    code: 'ACME_RESPONSE_INVALID',
    message: `The directory of the CA has no ${resource}`,
    retryable: false,
    remedy: 'Do this in the console of the CA: its ACME server does not offer it.',
  });
}
