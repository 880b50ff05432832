import { type AccountOptions, type AcmeAccount, openAccount } from './acme/account.ts';
import { type Directory, parseDirectory } from './acme/objects.ts';
import { parseRenewalInfo, type RenewalInfo } from './acme/renewalinfo.ts';
import { createTransport, type Transport } from './acme/transport.ts';
import type { Deps } from './deps.ts';
import { AutocertError } from './errors.ts';
import type { Secret } from './secret.ts';

export interface AcmeOptions {
  /** https, whatever the host. */
  readonly directoryUrl: string;
  /** PEM certificates to trust for the ACME endpoint, besides the system's roots. */
  readonly caBundle?: string | undefined;
  /** Origins besides the directory's own that the CA may send us to, as `https://host:port`. */
  readonly allowedOrigins?: readonly string[] | undefined;
  readonly deps: Deps;
  /** Ends whatever is under way. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds for one request, less when the deadline is nearer. Default 20 000. */
  readonly requestTimeout?: number | undefined;
}

/** One CA during one run. Nothing is asked before it is needed; `close()` ends the connections. */
export interface AcmeSession {
  /** RFC 8555 section 7.1.1. Asked once. */
  directory(): Promise<Directory>;
  /**
   * The account of this key: the one at `accountUrl` without a question, else the existing one, else a new one. Throws
   * AcmeProblem: ACME_EXTERNAL_ACCOUNT_REQUIRED, ACME_USER_ACTION_REQUIRED, ACME_INVALID_CONTACT, ...
   */
  account(key: Secret, options: AccountOptions): Promise<AcmeAccount>;
  /**
   * RFC 9773 section 4.1. Undefined where the CA offers no ARI. It is advice, so it is asked twice at most and never waited
   * for: throws what the CA or the network did instead.
   */
  renewalInfo(certId: string): Promise<RenewalInfo | undefined>;
  close(): void;
}

/** Throws CONFIG_INVALID for a `caBundle` without certificates, ACME_RESPONSE_INVALID for a URL that is not https. */
export function openAcme(options: AcmeOptions): AcmeSession {
  const { deps, signal } = options;
  let known: Directory | undefined;
  let asked: Promise<Directory> | undefined;

  const problemContext = (): { readonly caaIdentities: readonly string[] | undefined } => {
    return { caaIdentities: known?.meta.caaIdentities };
  };
  const transport: Transport = createTransport({
    directoryUrl: options.directoryUrl,
    caBundle: options.caBundle,
    allowedOrigins: options.allowedOrigins,
    requestTimeout: options.requestTimeout ?? 20_000,
    deps,
    signal,
    problemContext,
    newNonceUrl: async () => (await directory()).newNonce,
  });

  async function directory(): Promise<Directory> {
    if (known !== undefined) return known;
    asked ??= transport.call({
      method: 'GET',
      url: options.directoryUrl,
      purpose: 'show its directory',
      read: parseDirectory,
    });
    try {
      known = await asked;
      return known;
    } finally {
      // A failure is not kept: the next certificate may find the CA well again.
      asked = undefined;
    }
  }

  async function renewalInfo(certId: string): Promise<RenewalInfo | undefined> {
    if (!CERT_ID.test(certId)) throw notCertId(certId);
    const { renewalInfo: base } = await directory();
    if (base === undefined) return undefined;
    return await transport.call({
      method: 'GET',
      url: `${base.replace(/\/$/, '')}/${certId}`,
      purpose: 'show the renewalInfo',
      attempts: 2,
      patient: false,
      read: (answer) => parseRenewalInfo(answer, deps.now()),
    });
  }

  return {
    directory,
    renewalInfo,
    account: (key, accountOptions) =>
      openAccount({ transport, deps, signal, directory, problemContext }, key, accountOptions),
    close: transport.close,
  };
}

/** RFC 9773 section 4.1: two base64url values and a dot. */
const CERT_ID = /^[\w-]+\.[\w-]+$/;

function notCertId(certId: string): AutocertError {
  return new AutocertError({
    code: 'STORE_CORRUPT',
    message: `Not a certID: ${certId.slice(0, 100)}`,
    retryable: false,
    remedy: 'Renew the certificate once by force: its record then gets a new certID.',
  });
}
