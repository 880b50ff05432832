import pLimit from 'p-limit';
import { openAccount } from './account.ts';
import { type RenewalInfo, selectRenewalTime } from './acme/renewalinfo.ts';
import { type AcmeOptions, type AcmeSession, openAcme } from './acme.ts';
import type { CertificateAuthority } from './config.ts';
import type { Deps } from './deps.ts';
import { AutocertError, toAutocertError } from './errors.ts';
import type { CertificateSpec } from './inventory.ts';
import { issue, rehearse, type Solver } from './issue.ts';
import type { Lease } from './lease.ts';
import { type Ledger, type LedgerPart, openLedger } from './ledger.ts';
import { outlasts } from './limits.ts';
import type { Quarantine } from './quarantine.ts';
import type { CertificateRecord, RenewalAdvice, Store, StoredCertificate } from './record.ts';

/** The configured CA and its fallbacks, each opened at most once a run and only when something is asked of it. */
export interface Authorities {
  readonly directoryUrls: readonly string[];
  /**
   * Issues from the first CA that can be reached and whose limits give way while the certificate is good. Gives the record
   * as it was saved. Throws ACME_LIMIT_OUTLASTS_CERTIFICATE when there is no such CA.
   */
  issue(
    spec: CertificateSpec,
    record: CertificateRecord,
    lease: Held,
    quarantine: Quarantine,
  ): Promise<CertificateRecord>;
  /** Sees that the account of the first CA is there, for others who are about to use it. Never throws: they will meet it. */
  openAccount(): Promise<void>;
  /** ARI of the CA that issued the certificate (RFC 9773), or undefined when it offers none. */
  renewalAdvice(certificate: StoredCertificate, previous?: RenewalAdvice): Promise<RenewalAdvice | undefined>;
  close(): void;
}

export interface AuthoritiesOptions {
  readonly authorities: readonly CertificateAuthority[];
  readonly store: Store;
  readonly solver: Solver;
  /** Milliseconds between two runs. */
  readonly interval: number;
  /** Of a worker: its part of what the account may use. */
  readonly part?: LedgerPart | undefined;
  readonly deps: Deps;
  /** How a CA is reached; by default over the network. */
  readonly open?: (options: AcmeOptions) => AcmeSession;
}

type Held = Pick<Lease, 'check' | 'store'>;

/** A CA that cannot be reached or is out of order says nothing about the certificate: another one may issue it. */
const CA_IS_DOWN = ['ACME_UNREACHABLE', 'ACME_UNAVAILABLE'];
/** What the proof of control failed with: the only failures that a rehearsal at another CA can foresee. */
const VALIDATION_FAILED = [
  'ACME_CAA',
  'ACME_CONNECTION',
  'ACME_DNS',
  'ACME_INCORRECT_RESPONSE',
  'ACME_ORDER_INVALID',
  'ACME_TLS',
  'ACME_UNAUTHORIZED',
];
/** Questions for advice at once. After as many failures no more are asked in this run. */
const ADVICE_AT_ONCE = 8;

export function createAuthorities({
  authorities,
  store,
  solver,
  interval,
  part,
  deps,
  open = openAcme,
}: AuthoritiesOptions): Authorities {
  const sessions = new Map<string, AcmeSession>();
  const accounts = new Map<string, ReturnType<typeof openAccount>>();
  /** By account. */
  const ledgers = new Map<string, Ledger>();
  /** CAs that were found to be down in this run: the other certificates do not wait for them anew. */
  const down = new Map<string, AutocertError>();
  /** How often a CA gave no advice: of many certificates, each would wait for its own time-out. */
  const unadvised = new Map<string, number>();
  const adviceSlots = pLimit(ADVICE_AT_ONCE);

  function session({ directoryUrl, caBundle }: CertificateAuthority): AcmeSession {
    const opened = sessions.get(directoryUrl) ?? open({ directoryUrl, caBundle, deps });
    sessions.set(directoryUrl, opened);
    return opened;
  }

  /**
   * One account for all the certificates of a run, also when they ask for it at the same instant. The one that the CA has
   * forgotten is registered again once, for all of them.
   */
  function account(
    authority: CertificateAuthority,
    forgotten?: ReturnType<typeof openAccount>,
  ): ReturnType<typeof openAccount> {
    const current = accounts.get(authority.directoryUrl);
    if (current && current !== forgotten) return current;
    const opened = openAccount(session(authority), authority, store, { known: forgotten === undefined });
    accounts.set(authority.directoryUrl, opened);
    return opened;
  }

  /**
   * After a validation that failed, the next try goes to a CA first that counts no failures (certmagic does the same): the
   * real one is asked when it passed there, or when that CA is of no help.
   */
  async function rehearseFirst(
    authority: CertificateAuthority,
    spec: CertificateSpec,
    record: CertificateRecord,
    lease: Held,
    quarantine: Quarantine,
  ): Promise<void> {
    const { rehearsal, profile, contact, caBundle, termsOfServiceAgreed } = authority;
    const isDue = VALIDATION_FAILED.includes(record.failures?.code ?? '');
    if (!isDue || rehearsal === undefined || down.has(rehearsal)) return;
    const stage: CertificateAuthority = {
      directoryUrl: rehearsal,
      contact,
      caBundle,
      termsOfServiceAgreed,
      externalAccountBinding: undefined,
      profile,
      preferredChain: undefined,
      rehearsal: undefined,
    };
    try {
      await rehearse(spec, {
        account: await account(stage),
        directoryUrl: rehearsal,
        offersRenewalInfo: false,
        preferredChain: undefined,
        profile,
        store: lease.store,
        solver,
        ledger: { admit: async () => {} },
        lease,
        quarantine,
        deps,
      });
    } catch (thrown) {
      const error = toAutocertError(thrown);
      const { code } = error;
      deps.log.warn('rehearsal_failed', { name: spec.name, directoryUrl: rehearsal, error });
      if (CA_IS_DOWN.includes(code)) down.set(rehearsal, error);
      if (VALIDATION_FAILED.includes(code) || !code.startsWith('ACME_')) throw thrown;
    }
  }

  async function issueFrom(
    authority: CertificateAuthority,
    spec: CertificateSpec,
    record: CertificateRecord,
    lease: Held,
    quarantine: Quarantine,
  ) {
    const { renewalInfo } = await session(authority).directory();
    await rehearseFirst(authority, spec, record, lease, quarantine);
    const { directoryUrl, preferredChain } = authority;
    const offersRenewalInfo = renewalInfo !== undefined;
    // The certificate's own profile is one of the first CA; another has never heard of it.
    const profile = authority === authorities[0] ? spec.profile : authority.profile;
    const shared = { directoryUrl, preferredChain, offersRenewalInfo, profile, store: lease.store, quarantine, deps };
    const first = account(authority);
    const attempt = async (opening: ReturnType<typeof openAccount>) => {
      const opened = await opening;
      const ledger = ledgers.get(opened.url) ?? openLedger({ ...shared, part, accountUrl: opened.url });
      ledgers.set(opened.url, ledger);
      try {
        const issued = await issue(spec, record, { ...shared, account: opened, solver, ledger, lease });
        await ledger.issued(spec);
        return issued;
      } catch (thrown) {
        await ledger.failed(spec, thrown);
        throw thrown;
      }
    };
    try {
      return await attempt(first);
    } catch (thrown) {
      if (!(thrown instanceof AutocertError) || thrown.code !== 'ACME_ACCOUNT_DOES_NOT_EXIST') throw thrown;
      deps.log.warn('account_forgotten', { directoryUrl, error: thrown });
      return attempt(account(authority, first));
    }
  }

  function isTooLong(thrown: unknown, { certificate }: CertificateRecord): thrown is Limit {
    return isLimit(thrown) && outlasts(thrown.retryAfter, certificate, { now: deps.now(), interval });
  }

  async function askAdvice(issuer: CertificateAuthority, certId: string): Promise<RenewalInfo | undefined> {
    const { directoryUrl } = issuer;
    const failures = unadvised.get(directoryUrl) ?? 0;
    if (failures >= ADVICE_AT_ONCE) return undefined;
    try {
      return await session(issuer).renewalInfo(certId);
    } catch (thrown) {
      if (CA_IS_DOWN.includes(toAutocertError(thrown).code)) unadvised.set(directoryUrl, failures + 1);
      throw thrown;
    }
  }

  return {
    directoryUrls: authorities.map(({ directoryUrl }) => directoryUrl),

    async issue(spec, record, lease, quarantine) {
      let failure: unknown;
      for (const authority of authorities) {
        const { directoryUrl } = authority;
        try {
          const known = down.get(directoryUrl);
          if (known) throw known;
          return await issueFrom(authority, spec, record, lease, quarantine);
        } catch (thrown) {
          failure ??= thrown;
          if (!(thrown instanceof AutocertError)) throw thrown;
          if (CA_IS_DOWN.includes(thrown.code)) {
            down.set(directoryUrl, thrown);
            deps.log.warn('authority_down', { name: spec.name, directoryUrl, error: thrown });
          } else if (isTooLong(thrown, record)) {
            deps.log.warn('authority_limited', { name: spec.name, directoryUrl, error: thrown });
          } else {
            throw thrown;
          }
        }
      }
      const { certificate } = record;
      if (!certificate || !isTooLong(failure, record)) throw failure;
      throw limitOutlasts(failure, certificate, authorities.length > 1);
    },

    async openAccount() {
      const [first] = authorities;
      await (first && account(first))?.catch((thrown: unknown) => {
        deps.log.warn('account_not_opened', { directoryUrl: first?.directoryUrl, error: toAutocertError(thrown) });
      });
    },

    async renewalAdvice(certificate, previous) {
      const issuer = authorities.find(({ directoryUrl }) => directoryUrl === certificate.directoryUrl);
      if (!issuer || certificate.certId === undefined) return undefined;
      const { certId } = certificate;
      const offered = await adviceSlots(() => askAdvice(issuer, certId));
      if (!offered) return undefined;
      const { suggestedWindow, explanationURL, retryAfter } = offered;
      const [start, end] = [suggestedWindow.start.toISOString(), suggestedWindow.end.toISOString()];
      // Drawn once a window: a draw at every poll would always end at the window's beginning.
      const drawn = previous?.start === start && previous.end === end ? previous.selectedTime : undefined;
      return {
        start,
        end,
        selectedTime: drawn ?? selectRenewalTime(suggestedWindow, deps.random()).toISOString(),
        ...(explanationURL !== undefined && { explanationURL }),
        retryAfter: retryAfter.toISOString(),
      };
    },

    close() {
      for (const opened of sessions.values()) opened.close();
    },
  };
}

/** The CA, or the ledger of what it allows, names the instant at which it gives way. */
type Limit = AutocertError & { readonly retryAfter: Date };

function isLimit(thrown: unknown): thrown is Limit {
  if (!(thrown instanceof AutocertError) || thrown.retryAfter === undefined) return false;
  return thrown.code === 'ACME_RATE_LIMITED' || thrown.code === 'ACME_LIMIT_REACHED';
}

function limitOutlasts(limit: Limit, { notAfter }: StoredCertificate, hasFallback: boolean): AutocertError {
  const until = limit.retryAfter.toISOString();
  const ends =
    limit.retryAfter < new Date(notAfter)
      ? `shortly before the certificate ends at ${notAfter}`
      : `and the certificate ends before, at ${notAfter}: browsers refuse its domains from then on`;
  return new AutocertError({
    code: 'ACME_LIMIT_OUTLASTS_CERTIFICATE',
    message: `The CA takes no order before ${until}, ${ends}. ${limit.message}`,
    retryable: true,
    remedy: hasFallback
      ? 'Repair what kept the CAs of `acme.fallback` from issuing: the log of this run says it for each of them.'
      : 'Configure another CA in `acme.fallback`: it issues as soon as the certificate has waited as long as it may.',
    retryAfter: limit.retryAfter,
    cause: limit,
  });
}
