/**
 * A CA in the process, as far as orders, ARI and limits go: Boulder's rules, its buckets counted in tokens. Whoever asks
 * for more than they hold is refused, and that is a violation.
 */
import { createPublicKey } from 'node:crypto';
import type { AcmeAccount } from '../../../src/acme/account.ts';
import type { Order } from '../../../src/acme/objects.ts';
import { AcmeProblem, PROBLEM_NAMESPACE } from '../../../src/acme/problem.ts';
import type { AcmeSession } from '../../../src/acme.ts';
import { certificateFacts } from '../../../src/certificate.ts';
import { AutocertError } from '../../../src/errors.ts';
import { registrableDomain } from '../../../src/suffix.ts';
import { makeCertificate } from '../certificates.ts';

export interface SimulatedCa {
  open(): AcmeSession;
  /** Tells by ARI that all certificates, but for those of the last minutes, are to be replaced at once. */
  revokeAll(): void;
  readonly tally: {
    /** Orders that were opened. */
    orders: number;
    issued: number;
    failedValidations: number;
    /** The most failed validations of one name in any 24 hours. */
    worstDay: number;
    /** Certificates that had to be replaced before their time. */
    revoked: number;
    /** The most orders that were opened in any three hours, those within the window of ARI left out. */
    peak: number;
    readonly violations: string[];
  };
}

/** The part of a certificate's life by which its suggested window begins and ends away from the middle. */
export const ADVICE_SPREAD = 0.02;

export interface SimulatedCaOptions {
  now(): number;
  isDown(): boolean;
  /** Does the validation of this identifier fail now? */
  fails(identifier: string): boolean;
  /** Milliseconds, by the first identifier. */
  lifetimeOf(identifier: string): number;
  readonly offersRenewalInfo: boolean;
}

interface Issued {
  readonly identifiers: readonly string[];
  readonly notBefore: number;
  readonly notAfter: number;
  replaced: boolean;
  revokedAt?: number;
}

interface OpenOrder {
  readonly identifiers: readonly string[];
  readonly replaces: string | undefined;
  readonly exempt: boolean;
  readonly renewal: boolean;
  readonly createdAt: number;
  status: Order['status'];
  pem?: string;
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const BASE = 'https://ca.example/';
/** The header of every P-256 SubjectPublicKeyInfo (RFC 5480 section 2); the point follows. */
const P256_HEADER = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'hex');
const SPKI_LENGTH = 91;

export function createSimulatedCa(options: SimulatedCaOptions): SimulatedCa {
  const { now } = options;
  const certificates = new Map<string, Issued>();
  const lastIssued = new Map<string, number>();
  const orders = new Map<string, OpenOrder>();
  const buckets = new Map<string, { tokens: number; at: number }>();
  const counted: number[] = [];
  const failures = new Map<string, number[]>();
  const tally: SimulatedCa['tally'] = {
    orders: 0,
    issued: 0,
    failedValidations: 0,
    worstDay: 0,
    revoked: 0,
    peak: 0,
    violations: [],
  };

  function mustBeUp(): void {
    if (!options.isDown()) return;
    throw new AutocertError({
      code: 'ACME_UNREACHABLE',
      message: 'The CA does not answer.',
      retryable: true,
      remedy: 'Wait.',
    });
  }

  function problem(type: string, detail: string, identifier?: string, retryAfter?: Date): AcmeProblem {
    const document = { type: `${PROBLEM_NAMESPACE}${type}`, status: 400, detail, subproblems: [], instance: undefined };
    return new AcmeProblem(document, { url: BASE, purpose: 'do as it was asked', identifier, retryAfter });
  }

  function bucket(key: string, count: number, period: number): { tokens: number; at: number } {
    const known = buckets.get(key) ?? { tokens: count, at: now() };
    known.tokens = Math.min(count, known.tokens + ((now() - known.at) * count) / period);
    known.at = now();
    buckets.set(key, known);
    return known;
  }

  /** Throws rateLimited. */
  function mustHold(key: string, count: number, period: number, text: string): void {
    const { tokens } = bucket(key, count, period);
    if (tokens >= 1 - 1e-9) return;
    tally.violations.push(`${new Date(now()).toISOString()} ${text}`);
    const wait = ((1 - tokens) * period) / count;
    throw problem('rateLimited', text, undefined, new Date(now() + Math.ceil(wait)));
  }

  const accountBucket = () => bucket('orders', 300, 3 * HOUR);

  function checkLimits({ identifiers, exempt, renewal }: OpenOrder): void {
    if (exempt) return;
    for (const name of bare(identifiers)) {
      mustHold(`failures ${name}`, 5, HOUR, `too many failed authorizations (5) for "${name}" in the last 1h0m0s`);
    }
    mustHold(
      setOf(identifiers),
      5,
      7 * DAY,
      'too many certificates (5) already issued for this exact set of identifiers',
    );
    if (renewal) return;
    for (const domain of domains(identifiers)) {
      mustHold(`domain ${domain}`, 50, 7 * DAY, `too many certificates (50) already issued for "${domain}"`);
    }
    mustHold('orders', 300, 3 * HOUR, 'too many new orders (300) from this account in the last 3h0m0s');
    accountBucket().tokens -= 1;
  }

  function windowOf(certificate: Issued): { readonly start: Date; readonly end: Date } {
    const { notBefore, notAfter, revokedAt } = certificate;
    if (revokedAt !== undefined) return { start: new Date(revokedAt - HOUR), end: new Date(revokedAt - HOUR / 2) };
    const life = notAfter - notBefore;
    const ideal = notAfter - life / (life <= 10 * DAY ? 2 : 3);
    return { start: new Date(ideal - life * ADVICE_SPREAD), end: new Date(ideal + life * ADVICE_SPREAD) };
  }

  function isWithinWindow(replaces: string | undefined, identifiers: readonly string[]): boolean {
    const old = replaces === undefined ? undefined : certificates.get(replaces);
    if (!old) return false;
    if (old.replaced) throw problem('alreadyReplaced', 'the certificate was replaced already');
    if (!old.identifiers.some((name) => identifiers.includes(name))) throw problem('malformed', 'no name in common');
    const { start, end } = windowOf(old);
    return start.getTime() <= now() && now() < end.getTime();
  }

  function toOrder(url: string): Order {
    mustBeUp();
    const open = orders.get(url);
    if (!open) throw problem('malformed', 'no such order');
    if (open.status === 'pending' && now() - open.createdAt > 7 * DAY) open.status = 'invalid';
    return {
      url,
      status: open.status,
      identifiers: open.identifiers,
      authorizations: bare(open.identifiers).map((name) => `${url}/authz/${name}`),
      finalize: `${url}/finalize`,
      certificate: open.pem === undefined ? undefined : `${url}/certificate`,
      expires: undefined,
      profile: undefined,
      replaces: open.replaces,
      error: undefined,
    };
  }

  function issue(open: OpenOrder, publicKey: Buffer): void {
    const lifetime = options.lifetimeOf(open.identifiers[0] ?? '');
    // Boulder dates certificates back by an hour.
    const notBefore = new Date(Math.floor(now() / 1000) * 1000 - HOUR);
    const notAfter = new Date(notBefore.getTime() + lifetime - 1000);
    const key = createPublicKey({ key: publicKey, format: 'der', type: 'spki' });
    const { chain } = makeCertificate({ names: open.identifiers, notBefore, notAfter, publicKey: key });
    const { certId = '' } = certificateFacts(chain);
    certificates.set(certId, {
      identifiers: open.identifiers,
      notBefore: notBefore.getTime(),
      notAfter: notAfter.getTime(),
      replaced: false,
    });
    const old = open.replaces === undefined ? undefined : certificates.get(open.replaces);
    if (old) old.replaced = true;
    lastIssued.set(setOf(open.identifiers), now());
    bucket(setOf(open.identifiers), 5, 7 * DAY).tokens -= open.exempt ? 0 : 1;
    if (!open.exempt && !open.renewal)
      for (const domain of domains(open.identifiers)) bucket(`domain ${domain}`, 50, 7 * DAY).tokens -= 1;
    open.status = 'valid';
    open.pem = chain;
    tally.issued += 1;
  }

  const account: AcmeAccount = {
    url: `${BASE}account/1`,
    async newOrder({ identifiers, replaces }) {
      mustBeUp();
      const last = lastIssued.get(setOf(identifiers));
      const open: OpenOrder = {
        identifiers,
        replaces,
        exempt: isWithinWindow(replaces, identifiers),
        renewal: last !== undefined && now() - last < 120 * DAY,
        createdAt: now(),
        status: 'pending',
      };
      checkLimits(open);
      tally.orders += 1;
      if (!open.exempt) {
        counted.push(now());
        while ((counted[0] ?? now()) <= now() - 3 * HOUR) counted.shift();
        tally.peak = Math.max(tally.peak, counted.length);
      }
      const url = `${BASE}order/${tally.orders}`;
      orders.set(url, open);
      return toOrder(url);
    },
    order: async (url) => toOrder(url),
    async authorization(url) {
      mustBeUp();
      const identifier = url.slice(url.lastIndexOf('/') + 1);
      const challenge = {
        type: 'dns-01',
        url: `${url}/challenge`,
        status: 'pending',
        token: 'token',
        error: undefined,
      } as const;
      return { url, identifier, wildcard: false, status: 'pending', expires: undefined, challenges: [challenge] };
    },
    keyAuthorization: (token) => token,
    dnsKeyAuthorization: (token) => token,
    async respond(url) {
      mustBeUp();
      return { type: 'dns-01', url, status: 'processing', token: 'token', error: undefined };
    },
    async pollOrder(url) {
      const order = toOrder(url);
      const open = orders.get(url);
      if (open?.status !== 'pending') return order;
      const failing = bare(open.identifiers).find((name) => options.fails(name));
      open.status = failing === undefined ? 'ready' : 'invalid';
      if (failing === undefined) return toOrder(url);
      tally.failedValidations += 1;
      const day = [...(failures.get(failing) ?? []).filter((at) => at > now() - DAY), now()];
      failures.set(failing, day);
      tally.worstDay = Math.max(tally.worstDay, day.length);
      bucket(`failures ${failing}`, 5, HOUR).tokens -= 1;
      throw problem('dns', 'no TXT record found', failing);
    },
    async finalize(order, { der }) {
      const open = orders.get(order.url);
      mustBeUp();
      // As the account does it: what somebody else has finalized is given back.
      if (open?.status === 'valid') return toOrder(order.url);
      if (open?.status !== 'ready') throw problem('orderNotReady', `the order is ${open?.status}`);
      const at = der.indexOf(P256_HEADER);
      issue(open, der.subarray(at, at + SPKI_LENGTH));
      return toOrder(order.url);
    },
    async certificate(order) {
      mustBeUp();
      const pem = orders.get(order.url)?.pem;
      if (pem === undefined) throw problem('orderNotReady', 'no certificate');
      return pem;
    },
    deactivateAuthorization: async () => undefined,
    revoke: async () => undefined,
    keyChange: async () => account,
  };

  return {
    tally,
    open: () => ({
      async directory() {
        mustBeUp();
        const directory = { newNonce: `${BASE}nonce`, newAccount: `${BASE}account`, newOrder: `${BASE}order` };
        const meta = { externalAccountRequired: false, caaIdentities: [] };
        return { ...directory, meta, ...(options.offersRenewalInfo && { renewalInfo: `${BASE}ari` }) };
      },
      async renewalInfo(certId) {
        mustBeUp();
        const certificate = certificates.get(certId);
        if (!options.offersRenewalInfo || !certificate) return undefined;
        const explanationURL = certificate.revokedAt === undefined ? undefined : `${BASE}incident`;
        return { suggestedWindow: windowOf(certificate), explanationURL, retryAfter: new Date(now() + 6 * HOUR) };
      },
      account: async () => {
        mustBeUp();
        return account;
      },
      close: () => undefined,
    }),
    revokeAll() {
      for (const certificate of certificates.values()) {
        if (certificate.replaced || certificate.notAfter < now() || certificate.revokedAt !== undefined) continue;
        certificate.revokedAt = now();
        tally.revoked += 1;
      }
    },
  };
}

function setOf(identifiers: readonly string[]): string {
  return `set ${[...identifiers].sort().join()}`;
}

function bare(identifiers: readonly string[]): string[] {
  return [...new Set(identifiers.map((name) => name.replace(/^\*\./, '')))];
}

function domains(identifiers: readonly string[]): string[] {
  return [...new Set(identifiers.map((name) => registrableDomain(name) ?? name))];
}
