import { openAccount } from './account.ts';
import { selectRenewalTime } from './acme/renewalinfo.ts';
import { type AcmeOptions, type AcmeSession, openAcme } from './acme.ts';
import type { CertificateAuthority } from './config.ts';
import type { Deps } from './deps.ts';
import { AutocertError } from './errors.ts';
import type { CertificateSpec } from './inventory.ts';
import { issue, type Solver } from './issue.ts';
import type { Lease } from './lease.ts';
import { type Ledger, openLedger } from './ledger.ts';
import type { Quarantine } from './quarantine.ts';
import type { CertificateRecord, RenewalAdvice, Store, StoredCertificate } from './record.ts';

/** The configured CA and its fallbacks, each opened at most once a run and only when something is asked of it. */
export interface Authorities {
  readonly directoryUrls: readonly string[];
  /** Issues from the first CA that can be reached. Gives the record as it was saved. */
  issue(
    spec: CertificateSpec,
    record: CertificateRecord,
    lease: Lease,
    quarantine: Quarantine,
  ): Promise<CertificateRecord>;
  /** ARI of the CA that issued the certificate (RFC 9773), or undefined when it offers none. */
  renewalAdvice(certificate: StoredCertificate, previous?: RenewalAdvice): Promise<RenewalAdvice | undefined>;
  close(): void;
}

export interface AuthoritiesOptions {
  readonly authorities: readonly CertificateAuthority[];
  readonly store: Store;
  readonly solver: Solver;
  readonly deps: Deps;
  /** How a CA is reached; by default over the network. */
  readonly open?: (options: AcmeOptions) => AcmeSession;
}

/** A CA that cannot be reached or is out of order says nothing about the certificate: another one may issue it. */
const CA_IS_DOWN = ['ACME_UNREACHABLE', 'ACME_UNAVAILABLE'];

export function createAuthorities({
  authorities,
  store,
  solver,
  deps,
  open = openAcme,
}: AuthoritiesOptions): Authorities {
  const sessions = new Map<string, AcmeSession>();
  const accounts = new Map<string, ReturnType<typeof openAccount>>();
  /** By account. */
  const ledgers = new Map<string, Ledger>();
  /** CAs that were found to be down in this run: the other certificates do not wait for them anew. */
  const down = new Map<string, AutocertError>();

  function session({ directoryUrl, caBundle }: CertificateAuthority): AcmeSession {
    const opened = sessions.get(directoryUrl) ?? open({ directoryUrl, caBundle, deps });
    sessions.set(directoryUrl, opened);
    return opened;
  }

  /** One account for all the certificates of a run, also when they ask for it at the same instant. */
  function account(authority: CertificateAuthority, known: boolean): ReturnType<typeof openAccount> {
    const opened =
      (known ? accounts.get(authority.directoryUrl) : undefined) ??
      openAccount(session(authority), authority, store, { known });
    accounts.set(authority.directoryUrl, opened);
    return opened;
  }

  async function issueFrom(
    authority: CertificateAuthority,
    spec: CertificateSpec,
    record: CertificateRecord,
    lease: Lease,
    quarantine: Quarantine,
  ) {
    const { renewalInfo } = await session(authority).directory();
    const { directoryUrl, preferredChain } = authority;
    const offersRenewalInfo = renewalInfo !== undefined;
    const shared = { directoryUrl, preferredChain, offersRenewalInfo, store, quarantine, deps };
    const attempt = async (known: boolean) => {
      const opened = await account(authority, known);
      const ledger = ledgers.get(opened.url) ?? openLedger({ ...shared, accountUrl: opened.url });
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
      return await attempt(true);
    } catch (thrown) {
      if (!(thrown instanceof AutocertError) || thrown.code !== 'ACME_ACCOUNT_DOES_NOT_EXIST') throw thrown;
      deps.log.warn('account_forgotten', { directoryUrl, error: thrown });
      return attempt(false);
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
          if (!(thrown instanceof AutocertError) || !CA_IS_DOWN.includes(thrown.code)) throw thrown;
          down.set(directoryUrl, thrown);
          deps.log.warn('authority_down', { name: spec.name, directoryUrl, error: thrown });
        }
      }
      throw failure;
    },

    async renewalAdvice(certificate, previous) {
      const issuer = authorities.find(({ directoryUrl }) => directoryUrl === certificate.directoryUrl);
      if (!issuer || certificate.certId === undefined) return undefined;
      const offered = await session(issuer).renewalInfo(certificate.certId);
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
