import type { AcmeAccount } from './acme/account.ts';
import { createPrivateKey } from './acme/keys.ts';
import type { Authorization, Order } from './acme/objects.ts';
import type { NewOrder } from './acme/order.ts';
import { AcmeProblem } from './acme/problem.ts';
import { type Csr, createCsr } from './acme/signing.ts';
import { type CertificateFacts, certificateFacts, checkIssued } from './certificate.ts';
import type { Deps } from './deps.ts';
import { AutocertError, toAutocertError } from './errors.ts';
import type { CertificateSpec } from './inventory.ts';
import type { Lease } from './lease.ts';
import type { Ledger } from './ledger.ts';
import type { Quarantine } from './quarantine.ts';
import {
  type CertificateRecord,
  deleteOrder,
  emptyRecord,
  type OrderInProgress,
  readOrder,
  type Store,
  type StoredCertificate,
  writeBundle,
  writeOrder,
  writeRecord,
} from './record.ts';

/** Puts the answer to a challenge where the CA looks for it, and takes it away again. */
export interface Solver {
  readonly type: 'dns-01' | 'http-01';
  /**
   * Makes the key authorization visible and resolves once it is visible to the whole world that the CA may ask (all
   * authoritative name servers). Doing it twice is harmless.
   */
  present(challenge: Challenge): Promise<void>;
  /** Removes exactly what `present` made for this challenge, nothing of anybody else. What is gone already is no error. */
  cleanUp(challenge: Challenge): Promise<void>;
}

export interface Challenge {
  /** The identifier as the CA names it, without `*.`: A-labels, lower case. */
  readonly identifier: string;
  readonly token: string;
  /** RFC 8555 section 8.1; for dns-01 already the base64url digest that goes into the TXT record (section 8.4). */
  readonly keyAuthorization: string;
}

export interface IssueContext {
  readonly account: AcmeAccount;
  readonly directoryUrl: string;
  /** The CA offers ARI: only then does it know `replaces` (RFC 9773 section 5). */
  readonly offersRenewalInfo: boolean;
  readonly preferredChain: string | undefined;
  /** The profile that orders at this CA name (draft-ietf-acme-profiles section 4). */
  readonly profile: string | undefined;
  readonly store: Store;
  readonly solver: Solver;
  readonly ledger: Pick<Ledger, 'admit'>;
  readonly lease: Pick<Lease, 'check'>;
  readonly quarantine: Quarantine;
  readonly deps: Deps;
}

/** Milliseconds after which a valid order whose certificate cannot be had is given up. */
const LONGEST_DOWNLOAD = 24 * 3_600_000;

/** A challenge of the CA that is ours to answer. */
type OpenChallenge = Challenge & { readonly url: string };

/**
 * One order by RFC 8555 section 7.1: resumed, or opened; its challenges answered; finalized; downloaded; saved. The key
 * is in the store before the order exists, the order's URL right after, and the certificate before anybody uses it: a
 * run that is killed anywhere in here costs no second order. Gives the record as it was saved.
 */
export async function issue(
  spec: CertificateSpec,
  record: CertificateRecord,
  context: IssueContext,
): Promise<CertificateRecord> {
  const { store, deps, directoryUrl } = context;
  const { identifiers, name } = spec;
  const opened = (await resume(spec, record, context)) ?? (await open(spec, record, context));
  const { privateKey } = opened.inProgress;
  // Made while the DNS is waited for; and what was presented is taken away while the CA makes the certificate.
  const [proven, csr] = await allOrFirstError([
    opened.order.status === 'pending' ? authorize(name, opened, context) : opened,
    createCsr({ identifiers, privateKey }),
  ]);
  const [facts, inProgress] = await allOrFirstError([
    complete(spec, { ...proven, csr }, context),
    takeAway(name, proven.inProgress, context),
  ]);
  const issued: CertificateRecord = {
    version: 1,
    name,
    certificate: {
      ...toStored(spec, facts, directoryUrl),
      ...(isWantedBack(record, deps.now()) && { replacedAtOnce: true }),
    },
    deployed: record.deployed,
  };
  // Last: a run that finds it has no reason to look at the order, and at what was presented for it.
  await writeRecord(store, issued);
  await forgetOrder(name, inProgress, context);
  const { serial, notAfter, fingerprint } = facts;
  deps.log.info('issued', { name, serial, notAfter, fingerprint });
  return issued;
}

/** Finalized and downloaded; the key and the chain are in the store then. */
async function complete(
  spec: CertificateSpec,
  { order: proven, inProgress, csr }: OpenedOrder & { readonly csr: Csr },
  context: IssueContext,
): Promise<CertificateFacts> {
  const { account, store, lease, deps } = context;
  const { name } = spec;
  let order = proven;
  if (order.status === 'ready') {
    await lease.check();
    deps.log.info('finalizing', { name, order: order.url });
    order = await account.finalize(order, csr);
  }
  if (order.status !== 'valid') order = await account.pollOrder(order.url, ['valid']);
  const chain = await download(spec, { order, inProgress }, context);
  const facts = certificateFacts(chain);
  await writeBundle(store, name, facts.fingerprint, { chain, privateKey: inProgress.privateKey });
  return facts;
}

/**
 * The challenges alone, at a CA whose certificates are worth nothing: a validation that fails there costs nothing here.
 * Throws what `issue` would have failed with. Nothing is finalized, and the authorizations are given back so that the
 * next rehearsal is one.
 */
export async function rehearse(spec: CertificateSpec, context: IssueContext): Promise<void> {
  const { account, deps } = context;
  const record = emptyRecord(spec.name);
  const opened = (await resume(spec, record, context)) ?? (await open(spec, record, context));
  const { inProgress } = opened.order.status === 'pending' ? await authorize(spec.name, opened, context) : opened;
  const { authorizations } = opened.order;
  await Promise.allSettled(authorizations.map((url) => account.deactivateAuthorization(url)));
  await forgetOrder(spec.name, await takeAway(spec.name, inProgress, context), context);
  deps.log.info('rehearsed', { name: spec.name, directoryUrl: context.directoryUrl });
}

interface OpenedOrder {
  readonly order: Order;
  readonly inProgress: OrderInProgress;
}

/** The order that an earlier run left, if it still leads to the certificate that is wanted now. */
async function resume(
  spec: CertificateSpec,
  record: CertificateRecord,
  context: IssueContext,
): Promise<OpenedOrder | undefined> {
  const { account, store, deps, directoryUrl } = context;
  const inProgress = await readOrder(store, spec.name, directoryUrl, context.quarantine);
  if (!inProgress) return undefined;
  const order = wants(spec, context.profile, inProgress) ? await fetchOrder(inProgress, account) : undefined;
  if (order && order.status !== 'invalid' && !(await isSpent(spec, { order, inProgress }, record, context))) {
    deps.log.info('order_resumed', { name: spec.name, order: order.url, status: order.status });
    return { order, inProgress };
  }
  const left = await cleanUp(spec.name, inProgress, context);
  if (left.length > 0)
    deps.log.warn('challenge_left_behind', { name: spec.name, identifiers: left.map((one) => one.identifier) });
  await deleteOrder(store, spec.name, directoryUrl);
  return undefined;
}

function wants(spec: CertificateSpec, profile: string | undefined, order: OrderInProgress): boolean {
  const sameNames = [...spec.identifiers].sort().join() === [...order.identifiers].sort().join();
  return sameNames && spec.keyType === order.keyType && profile === order.profile;
}

/** Undefined when the CA never got to answer newOrder, or does not know the order any more. */
async function fetchOrder({ url }: OrderInProgress, account: AcmeAccount): Promise<Order | undefined> {
  if (url === undefined) return undefined;
  try {
    return await account.order(url);
  } catch (thrown) {
    if (thrown instanceof AcmeProblem && [403, 404, 410].includes(thrown.status)) return undefined;
    throw thrown;
  }
}

/**
 * Has a valid order nothing more to give? Its certificate was saved by a run that was killed right after; or it is one
 * that nobody may use, and stays so; or the CA has not handed it out for a day.
 */
async function isSpent(
  spec: CertificateSpec,
  { order, inProgress }: OpenedOrder,
  { certificate }: CertificateRecord,
  context: IssueContext,
): Promise<boolean> {
  if (order.status !== 'valid') return false;
  try {
    const chain = await download(spec, { order, inProgress }, context);
    return certificateFacts(chain).fingerprint === certificate?.fingerprint;
  } catch (thrown) {
    const error = toAutocertError(thrown);
    const isOld = context.deps.now().getTime() - Date.parse(inProgress.createdAt) >= LONGEST_DOWNLOAD;
    const isMissing =
      error.code === 'ACME_RESPONSE_INVALID' || (thrown instanceof AcmeProblem && thrown.status === 404);
    if (error.code !== 'CERTIFICATE_INVALID' && !(isOld && isMissing)) throw thrown;
    context.deps.log.warn('order_given_up', { name: spec.name, order: order.url, error });
    return true;
  }
}

/** The chain of a valid order, made fit for a CDN. Throws CERTIFICATE_INVALID. */
async function download(
  { identifiers }: CertificateSpec,
  { order, inProgress }: OpenedOrder,
  { account, preferredChain, deps }: IssueContext,
): Promise<string> {
  const pem = await account.certificate(order, { preferredChain });
  return checkIssued(pem, inProgress.privateKey, { identifiers, now: deps.now() });
}

async function open(spec: CertificateSpec, record: CertificateRecord, context: IssueContext): Promise<OpenedOrder> {
  const { store, deps, directoryUrl, ledger, lease } = context;
  const replaces = context.offersRenewalInfo ? replaced(spec, record, directoryUrl) : undefined;
  await ledger.admit({ spec, record, replaces }, lease);
  const inProgress: OrderInProgress = {
    directoryUrl,
    identifiers: [...spec.identifiers],
    keyType: spec.keyType,
    profile: context.profile,
    replaces,
    privateKey: await createPrivateKey(spec.keyType),
    createdAt: deps.now().toISOString(),
    challenges: [],
  };
  await writeOrder(store, spec.name, inProgress);
  await lease.check();
  const order = await newOrder(spec, record, replaces, context);
  const opened = { ...inProgress, url: order.url };
  await writeOrder(store, spec.name, opened);
  deps.log.info('order_opened', { name: spec.name, order: order.url, replaces });
  return { order, inProgress: opened };
}

/** RFC 9773 section 5: the certificate that the order replaces must be the same CA's and share a name with it. */
function replaced(spec: CertificateSpec, { certificate }: CertificateRecord, directoryUrl: string): string | undefined {
  if (certificate?.directoryUrl !== directoryUrl) return undefined;
  return spec.identifiers.some((name) => certificate.identifiers.includes(name)) ? certificate.certId : undefined;
}

/** What the CA refuses is asked for once more without the part that it refused. */
async function newOrder(
  spec: CertificateSpec,
  record: CertificateRecord,
  replaces: string | undefined,
  context: IssueContext,
): Promise<Order> {
  const { account, profile, ledger, lease, deps } = context;
  let request: NewOrder = { identifiers: spec.identifiers, profile, replaces };
  for (;;) {
    try {
      return await account.newOrder(request);
    } catch (thrown) {
      const part = dispensable(request, thrown);
      if (part === undefined) throw thrown;
      deps.log.warn(`${part}_refused`, { name: spec.name, [part]: request[part], error: toAutocertError(thrown) });
      request = { ...request, [part]: undefined };
      // Without `replaces` the order is exempt from no limit.
      if (part === 'replaces') await ledger.admit({ spec, record, replaces: undefined }, lease);
    }
  }
}

/**
 * A profile that the CA no longer has must not cost the certificate: its default profile does. And a CA may refuse
 * `replaces` with whatever problem: the certificate was replaced already, or belongs to an account that is gone. It is a
 * courtesy to the CA and must never stand in the way of a renewal.
 */
function dispensable(request: NewOrder, thrown: unknown): 'profile' | 'replaces' | undefined {
  if (!(thrown instanceof AcmeProblem)) return undefined;
  if (thrown.code === 'ACME_INVALID_PROFILE' && request.profile !== undefined) return 'profile';
  const unrelated = ['ACME_RATE_LIMITED', 'ACME_ACCOUNT_DOES_NOT_EXIST', 'ACME_USER_ACTION_REQUIRED'];
  return request.replaces === undefined || unrelated.includes(thrown.code) ? undefined : 'replaces';
}

/** Answers what the CA asks. When it does not come to anything, every answer is taken away again. */
async function authorize(
  name: string,
  { order, inProgress: saved }: OpenedOrder,
  context: IssueContext,
): Promise<OpenedOrder> {
  const { account, store, solver, lease, deps } = context;
  const authorizations = await Promise.all(order.authorizations.map((url) => account.authorization(url)));
  const open = authorizations
    .filter(({ status }) => status === 'pending')
    .map((authorization) => openChallenge(authorization, solver, account));
  const inProgress = { ...saved, challenges: merge(saved.challenges, open) };
  // Written first: whatever is presented from here on, the next run knows of it.
  await writeOrder(store, name, inProgress);
  try {
    deps.log.info('presenting', { name, type: solver.type, identifiers: open.map(({ identifier }) => identifier) });
    await allOrFirstError(open.map((challenge) => solver.present(challenge)));
    await lease.check();
    await allOrFirstError(open.map((challenge) => account.respond(challenge.url)));
    deps.log.info('validating', { name, order: order.url });
    return { order: await account.pollOrder(order.url, ['ready', 'valid']), inProgress };
  } catch (thrown) {
    await takeAway(name, inProgress, context);
    throw thrown;
  }
}

/** What the order has presented, and writes down what of it could not be taken away. */
async function takeAway(name: string, inProgress: OrderInProgress, context: IssueContext): Promise<OrderInProgress> {
  if (inProgress.challenges.length === 0) return inProgress;
  const left = { ...inProgress, challenges: await cleanUp(name, inProgress, context) };
  await writeOrder(context.store, name, left);
  return left;
}

function openChallenge(authorization: Authorization, solver: Solver, account: AcmeAccount): OpenChallenge {
  const { identifier, challenges } = authorization;
  const challenge = challenges.find(({ type }) => type === solver.type);
  if (challenge?.token === undefined) {
    throw new AutocertError({
      code: 'ACME_CHALLENGE_UNAVAILABLE',
      message: `The CA offers no ${solver.type} challenge for ${identifier}, only ${challenges.map(({ type }) => type).join(', ')}.`,
      retryable: false,
      remedy: `Set \`challenge.type\` to one that the CA offers for ${identifier}.`,
    });
  }
  const { token, url } = challenge;
  const keyAuthorization =
    solver.type === 'dns-01' ? account.dnsKeyAuthorization(token) : account.keyAuthorization(token);
  return { identifier, token, keyAuthorization, url };
}

function merge(before: OrderInProgress['challenges'], open: readonly OpenChallenge[]): OrderInProgress['challenges'] {
  const fresh = open.map(({ identifier, token, keyAuthorization }) => ({ identifier, token, keyAuthorization }));
  return [...before.filter((one) => !fresh.some(({ token }) => token === one.token)), ...fresh];
}

/** The order has given its certificate. What could not be taken away after it keeps it for the next renewal to try again. */
async function forgetOrder(name: string, inProgress: OrderInProgress, context: IssueContext): Promise<void> {
  const { store, deps, directoryUrl } = context;
  const left = inProgress.challenges.length === 0 ? [] : await cleanUp(name, inProgress, context);
  if (left.length === 0) return deleteOrder(store, name, directoryUrl);
  await writeOrder(store, name, { ...inProgress, challenges: left });
  deps.log.warn('challenge_left_behind', { name, identifiers: left.map(({ identifier }) => identifier) });
}

/**
 * Gives what could not be taken away: the next run tries again. When another run has taken over, what it knows of is its
 * own by now: it answers the same challenges with the same values.
 */
async function cleanUp(
  name: string,
  { challenges: presented, directoryUrl }: OrderInProgress,
  { solver, store, lease, quarantine, deps }: IssueContext,
): Promise<OrderInProgress['challenges']> {
  const isLost = await lease.check().then(
    () => false,
    (thrown) => toAutocertError(thrown).code === 'LEASE_LOST',
  );
  const theirs = isLost ? ((await readOrder(store, name, directoryUrl, quarantine))?.challenges ?? []) : [];
  const challenges = presented.filter(({ token }) => !theirs.some((one) => one.token === token));
  const results = await Promise.allSettled(challenges.map((challenge) => solver.cleanUp(challenge)));
  for (const result of results) {
    if (result.status === 'rejected') deps.log.warn('clean_up_failed', { name, error: toAutocertError(result.reason) });
  }
  return challenges.filter((_, index) => results[index]?.status === 'rejected');
}

/** Waits for all before it throws: what is under way must not go on behind the back of the clean-up. */
async function allOrFirstError<T extends readonly unknown[] | []>(
  promises: T,
): Promise<{ -readonly [Nth in keyof T]: Awaited<T[Nth]> }> {
  await Promise.allSettled(promises);
  return Promise.all(promises);
}

function isWantedBack({ advice }: CertificateRecord, now: Date): boolean {
  return advice !== undefined && new Date(advice.end) <= now;
}

function toStored(spec: CertificateSpec, facts: CertificateFacts, directoryUrl: string): StoredCertificate {
  return {
    fingerprint: facts.fingerprint,
    serial: facts.serial,
    identifiers: [...spec.identifiers],
    keyType: spec.keyType,
    profile: spec.profile,
    directoryUrl,
    notBefore: facts.notBefore.toISOString(),
    notAfter: facts.notAfter.toISOString(),
    certId: facts.certId,
  };
}
