import { type Deps, timeLeft } from '../deps.ts';
import { AutocertError, toAutocertError } from '../errors.ts';
import { header, invalidAnswer, jsonOrUndefined } from './answer.ts';
import { distanceFromRoot, parseCertificates } from './chain.ts';
import { linkTargets } from './link.ts';
import { type Authorization, type Order, type OrderStatus, parseAuthorization, parseOrder } from './objects.ts';
import { AcmeProblem, type ProblemContext, type ProblemDocument } from './problem.ts';
import { parseRetryAfter } from './retryafter.ts';
import { checkIdentifiers, identifierOf } from './signing.ts';
import { type Call, pause } from './transport.ts';

/** What the requests of one account need. */
export interface Requester {
  /** A request signed by the account; `payload` null is a POST-as-GET (RFC 8555 section 6.3). */
  post<T>(
    url: string,
    payload: object | null,
    call: Pick<Call<T>, 'purpose' | 'read' | 'accept' | 'repeatsAfterLostAnswer' | 'begins'>,
  ): Promise<T>;
  problemContext(): Pick<ProblemContext, 'caaIdentities'>;
  readonly deps: Deps;
  readonly signal: AbortSignal | undefined;
}

export interface NewOrder {
  /** A-labels, wildcards and IP addresses. */
  readonly identifiers: readonly string[];
  /** draft-ietf-acme-profiles section 4. */
  readonly profile?: string | undefined;
  /** The certID of the certificate to be replaced (RFC 9773 section 5). */
  readonly replaces?: string | undefined;
}

/** Milliseconds. */
const FIRST_POLL = 500;
const LONGEST_POLL = 10_000;
const MOST_READS = 5;

export async function newOrder(requester: Requester, newOrderUrl: string, request: NewOrder): Promise<Order> {
  checkIdentifiers(request.identifiers);
  const payload = {
    identifiers: request.identifiers.map(identifierOf),
    ...(request.profile !== undefined && { profile: request.profile }),
    ...(request.replaces !== undefined && { replaces: request.replaces }),
  };
  const { url, opened } = await requester.post(newOrderUrl, payload, {
    purpose: 'open the order',
    begins: true,
    // An order that was opened and whose URL was lost is one wasted; more than one is too many.
    repeatsAfterLostAnswer: 1,
    read: (answer) => {
      const location = header(answer, 'location');
      if (location === undefined || !URL.canParse(location, answer.url)) {
        // A page that stands in the CA's place may be gone the next time; the CA's own answer stays what it is.
        const isPage = jsonOrUndefined(answer) === undefined;
        throw invalidAnswer(answer.url, 'opened an order without saying its URL', isPage);
      }
      const url = new URL(location, answer.url).href;
      return { url, opened: wholeOrder(() => parseOrder(answer, url)) };
    },
  });
  const order = opened ?? (await readOrder(requester, url));
  const wanted = [...new Set(request.identifiers.map((each) => each.toLowerCase()))].sort().join();
  if ([...new Set(order.identifiers)].sort().join() !== wanted) {
    throw invalidAnswer(url, `opened an order for ${order.identifiers.join(', ')} instead`, false);
  }
  return order;
}

/** Undefined for half an answer: the order exists and can be read at its URL, so it must not be opened again. */
function wholeOrder(read: () => Order): Order | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof AutocertError && error.retryable) return undefined;
    throw error;
  }
}

export function readOrder(requester: Requester, url: string): Promise<Order> {
  return requester.post(url, null, { purpose: 'show the order', read: (answer) => parseOrder(answer, url) });
}

export function readAuthorization(requester: Requester, url: string): Promise<Authorization> {
  return requester.post(url, null, {
    purpose: 'show the authorization',
    read: (answer) => parseAuthorization(answer, url),
  });
}

/** RFC 8555 section 7.4: asks soon, then less and less often, or when the CA's Retry-After says so. */
export async function pollOrder(requester: Requester, url: string, until: readonly OrderStatus[]): Promise<Order> {
  const { deps, signal } = requester;
  let status: OrderStatus | undefined;
  let step = FIRST_POLL;
  let retryAfter: Date | undefined;
  for (;;) {
    // Half of it fixed: a random wait of next to nothing would ask in a busy loop.
    const wait =
      retryAfter === undefined ? step * (0.5 + deps.random() / 2) : retryAfter.getTime() - deps.now().getTime();
    if (wait >= timeLeft(deps)) throw notYet(url, status, until, retryAfter);
    await pause(deps, wait, 'show the order', signal);
    const answer = await requester.post(url, null, {
      purpose: 'show the order',
      read: (received) => ({
        order: parseOrder(received, url),
        retryAfter: parseRetryAfter(header(received, 'retry-after'), deps.now()),
      }),
    });
    if (answer.order.status === 'invalid') throw await orderFailure(requester, answer.order);
    if (answer.order.status === 'valid' || until.includes(answer.order.status)) return answer.order;
    ({ status } = answer.order);
    ({ retryAfter } = answer);
    step = Math.min(LONGEST_POLL, step * 1.5);
  }
}

/**
 * Whatever goes wrong, the order says whether it went through: an answer that was lost, or another process that finalized
 * first, is a success. An order that is not ready (RFC 8555 section 7.4) was ready when it was last seen: somebody has
 * finalized it, or a CA of several machines does not say the same at each of them. That is no verdict, and is asked again.
 */
export async function finalizeOrder(requester: Requester, order: Order, csr: Buffer): Promise<Order> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const finalized = await requester.post(
        order.finalize,
        { csr: csr.toString('base64url') },
        {
          purpose: 'finalize the order',
          repeatsAfterLostAnswer: 0,
          read: (answer) => parseOrder(answer, order.url),
        },
      );
      if (finalized.status !== 'invalid') return finalized;
      throw await orderFailure(requester, finalized);
    } catch (thrown) {
      const error = toAutocertError(thrown);
      const notReady = error.code === 'ACME_ORDER_NOT_READY';
      const current = await readOrder(requester, order.url).catch((unread: unknown) => {
        throw notReady ? unread : error;
      });
      if (current.status === 'processing' || current.status === 'valid') return current;
      if (current.status === 'invalid') throw await orderFailure(requester, current, error);
      if (!(error.retryable || notReady) || attempt === MOST_READS) throw error;
      const wait = requester.deps.random() * FIRST_POLL * 2 ** attempt;
      if (wait >= timeLeft(requester.deps)) throw error;
      await pause(requester.deps, wait, 'finalize the order', requester.signal);
    }
  }
}

/** Why an order is invalid: the problem of the authorization that failed, with its identifier; else the order's own. */
async function orderFailure(requester: Requester, order: Order, known?: AutocertError): Promise<AutocertError> {
  const read = await Promise.allSettled(order.authorizations.map((url) => readAuthorization(requester, url)));
  const failed = read
    .flatMap((result) => (result.status === 'fulfilled' && result.value.status === 'invalid' ? [result.value] : []))
    .flatMap((authorization) => {
      const problem = authorization.challenges.find(({ error }) => error !== undefined)?.error;
      const identifier = authorization.wildcard ? `*.${authorization.identifier}` : authorization.identifier;
      return problem === undefined ? [] : [{ problem, identifier, url: authorization.url }];
    });
  const [first] = failed;
  const context = requester.problemContext();
  if (first !== undefined) {
    const { problem, identifier, url } = first;
    return new AcmeProblem(failed.length === 1 ? problem : { ...problem, subproblems: failed.map(toSubproblem) }, {
      ...context,
      url,
      identifier,
      purpose: 'accept the proof of control',
    });
  }
  if (order.error !== undefined)
    return new AcmeProblem(order.error, { ...context, url: order.url, purpose: 'complete the order' });
  return (
    known ??
    new AutocertError({
      code: 'ACME_ORDER_INVALID',
      message: `The CA made the order for ${order.identifiers.join(', ')} invalid and does not say why (${order.url})`,
      retryable: false,
      remedy: 'Let the next run open a new order; if that one ends the same way, ask the CA with the URL of the order.',
    })
  );
}

function toSubproblem({ problem, identifier }: { readonly problem: ProblemDocument; readonly identifier: string }) {
  return { identifier, type: problem.type, detail: problem.detail };
}

/** `status` is undefined when there was no time left to ask for it. */
function notYet(
  url: string,
  status: OrderStatus | undefined,
  until: readonly OrderStatus[],
  retryAfter: Date | undefined,
): AutocertError {
  const what = status === undefined ? `not known to be ${until.join(' or ')} yet` : `still ${status}`;
  return new AutocertError({
    code: 'ACME_ORDER_PENDING',
    message: `The order is ${what} and this run has no time left to wait for it (${url})`,
    retryable: true,
    remedy: 'Let the next run resume the order; if it stays like this for a day, ask the CA with its URL.',
    retryAfter,
  });
}

/** RFC 8555 section 7.4.2. */
export async function downloadCertificate(
  requester: Requester,
  order: Order,
  preferredChain: string | undefined,
): Promise<string> {
  const { chain, alternates } = await downloadOnceThere(requester, order);
  if (preferredChain === undefined) return chain;
  let best = { chain, distance: distanceFromRoot(chain, preferredChain) };
  for (const url of alternates) {
    if (best.distance === 0) break;
    try {
      const alternate = await downloadChain(requester, url);
      const distance = distanceFromRoot(alternate.chain, preferredChain);
      if (distance !== undefined && distance < (best.distance ?? Number.POSITIVE_INFINITY))
        best = { chain: alternate.chain, distance };
    } catch (thrown) {
      // The default chain is a good one: an alternate that fails must not cost the certificate.
      requester.deps.log.warn('alternate_chain_failed', { url, error: toAutocertError(thrown) });
    }
  }
  if (best.distance === undefined)
    requester.deps.log.warn('preferred_chain_absent', { preferredChain, order: order.url });
  return best.chain;
}

interface DownloadedChain {
  readonly chain: string;
  readonly alternates: readonly string[];
}

function downloadChain(requester: Requester, url: string): Promise<DownloadedChain> {
  return requester.post(url, null, {
    purpose: 'hand out the certificate',
    accept: 'application/pem-certificate-chain',
    read: (answer) => ({
      chain: parseCertificates(answer),
      alternates: linkTargets(answer.links, 'alternate', answer.url).slice(0, 10),
    }),
  });
}

/** A CA of several machines may say `valid` before each of them has the certificate: no URL, or 404, is asked again. */
async function downloadOnceThere(requester: Requester, order: Order): Promise<DownloadedChain> {
  let { certificate } = order;
  for (let attempt = 1; ; attempt += 1) {
    certificate ??= (await readOrder(requester, order.url)).certificate;
    let notYet = invalidAnswer(order.url, 'shows a valid order without a certificate', true);
    if (certificate !== undefined) {
      try {
        return await downloadChain(requester, certificate);
      } catch (error) {
        if (!(error instanceof AcmeProblem) || error.status !== 404) throw error;
        notYet = error;
      }
    }
    const wait = FIRST_POLL * 2 ** attempt * (0.5 + requester.deps.random() / 2);
    if (attempt === MOST_READS || wait >= timeLeft(requester.deps)) throw notYet;
    await pause(requester.deps, wait, 'hand out the certificate', requester.signal);
  }
}
