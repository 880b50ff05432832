import { type Deps, timeLeft } from '../deps.ts';
import { AutocertError } from '../errors.ts';
import { checkedUrl, header, invalidAnswer, jsonOrUndefined } from './answer.ts';
import { type Answer, createAgent, exchange, NoAnswer } from './https.ts';
import { createNoncePool } from './nonces.ts';
import { AcmeProblem, PROBLEM_NAMESPACE, type ProblemContext, parseProblem } from './problem.ts';
import { parseRetryAfter, retryAfterInText } from './retryafter.ts';
import { createWindow } from './window.ts';

export interface TransportOptions {
  readonly directoryUrl: string;
  readonly caBundle?: string | undefined;
  readonly allowedOrigins?: readonly string[] | undefined;
  readonly deps: Deps;
  /** Ends what is under way; it then rejects with DEADLINE_REACHED. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds for one request. */
  readonly requestTimeout: number;
  /** Where HEAD gives a fresh nonce. Asked only when the pool is empty. */
  newNonceUrl(): Promise<string>;
  /** Read when a problem becomes an error. */
  problemContext(): Pick<ProblemContext, 'caaIdentities'>;
}

export interface Call<T> {
  readonly method: 'GET' | 'HEAD' | 'POST';
  readonly url: string;
  /** What is being done, as the end of "The CA refused to ...". */
  readonly purpose: string;
  readonly accept?: string;
  /** Makes the body of a POST with a nonce that was never used before. */
  readonly sign?: (nonce: string) => object;
  /** Turns a 2xx answer into the result. What it throws as retryable is asked for again. */
  read(answer: Answer): T;
  /**
   * How often the request may be sent again after a failure that leaves open whether the server has acted: a lost answer,
   * 500, 502, 504. Default: like any other failure.
   */
  readonly repeatsAfterLostAnswer?: number;
  /** How often it is tried in all. Default 6, some 15 seconds of waiting. A refused nonce does not count. */
  readonly attempts?: number;
  /** Whether to wait as long as Retry-After says, if the deadline allows. Default true. */
  readonly patient?: boolean;
  /** It begins an order: it waits until no request of an order under way does. Default false. */
  readonly begins?: boolean;
  readonly externalAccountBinding?: boolean;
}

export interface Transport {
  /** Throws AcmeProblem, or AutocertError ACME_UNREACHABLE, ACME_UNAVAILABLE, ACME_RESPONSE_INVALID, DEADLINE_REACHED. */
  call<T>(call: Call<T>): Promise<T>;
  close(): void;
}

const USER_AGENT = 'aliyun-cdn-autocert (acme-client; Node.js)';
/** At 90 % of refused nonces one request in a billion needs more. */
const MOST_BAD_NONCES = 200;
const MOST_WAITS = 20;
/** At 100 ms a request these are 160 a second: Let's Encrypt allows 250 (https://letsencrypt.org/docs/rate-limits/). */
const MOST_AT_ONCE = 16;
/** Milliseconds. */
const FIRST_BACKOFF = 1000;
const LONGEST_BACKOFF = 30_000;

type Outcome<T> =
  | { readonly kind: 'done'; readonly value: T }
  | { readonly kind: 'badNonce'; readonly error: AutocertError }
  /** The CA has too much to do: 429, 503 or `rateLimited`. It has not acted. */
  | { readonly kind: 'busy'; readonly error: AutocertError }
  /** Certainly not acted upon, or harmless to repeat, or a lost answer. */
  | { readonly kind: 'failed'; readonly error: AutocertError; readonly lost: boolean }
  | { readonly kind: 'final'; readonly error: AutocertError };

/** HTTP as RFC 8555 section 6 wants it: https only, one nonce a request, problems as errors, a failure repeated where that helps. */
export function createTransport(options: TransportOptions): Transport {
  const { deps, signal } = options;
  const agent = createAgent(options.caBundle);
  const origins = new Set([checkedUrl(options.directoryUrl).origin, ...(options.allowedOrigins ?? [])]);
  const window = createWindow({ most: MOST_AT_ONCE, deps });
  const nonces = createNoncePool({ fresh: freshNonce, toCome: () => window.toCome, deps });

  function inWindow<T>(request: Call<T>, send: () => Promise<Outcome<T>>): Promise<Outcome<T>> {
    const { begins = false, patient = true } = request;
    const judge = ({ kind }: Outcome<T>) => (kind === 'done' ? 'taken' : kind === 'busy' ? 'refused' : undefined);
    return window.run({ send, judge, begins, patient });
  }

  async function repeat<T>(
    request: Call<T>,
    run: (request: Call<T>, once: () => Promise<Outcome<T>>) => Promise<Outcome<T>>,
  ): Promise<T> {
    const url = target(request.url);
    const attempts = request.attempts ?? 6;
    let failures = 0;
    let losses = 0;
    let waits = 0;
    let badNonces = 0;
    let last: AutocertError | undefined;
    for (;;) {
      if (timeLeft(deps) === 0 || signal?.aborted === true) throw last ?? outOfTime(request.purpose, signal?.reason);
      const outcome = await run(request, () => attempt(url, request));
      if (outcome.kind === 'done') return outcome.value;
      if (outcome.kind === 'badNonce') {
        // No answer yet: should the time be over now, that is what is told.
        badNonces += 1;
        if (badNonces >= MOST_BAD_NONCES) throw outcome.error;
        continue;
      }
      last = outcome.error;
      if (outcome.kind === 'final') throw last;
      if (outcome.kind === 'failed' && outcome.lost) losses += 1;
      if (losses > (request.repeatsAfterLostAnswer ?? attempts)) throw last;
      const until = last.retryAfter?.getTime();
      let wait: number;
      if (until !== undefined) {
        waits += 1;
        if (request.patient === false || waits > MOST_WAITS) throw last;
        wait = until - deps.now().getTime();
      } else {
        failures += 1;
        if (failures >= attempts) throw last;
        wait = deps.random() * Math.min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** (failures - 1));
      }
      if (wait >= timeLeft(deps)) throw last;
      deps.log.debug('acme_retry', { url: url.href, code: last.code, milliseconds: Math.ceil(wait) });
      await pause(deps, wait, request.purpose, signal);
    }
  }

  async function attempt<T>(url: URL, request: Call<T>): Promise<Outcome<T>> {
    const body = request.sign === undefined ? undefined : JSON.stringify(request.sign(await nonces.take()));
    let answer: Answer;
    if (body !== undefined) nonces.sent();
    try {
      answer = await exchange(agent, {
        method: request.method,
        url,
        headers: {
          'user-agent': USER_AGENT,
          'accept-language': 'en',
          accept: request.accept ?? 'application/json',
          ...(body === undefined
            ? {}
            : { 'content-type': 'application/jose+json', 'content-length': String(Buffer.byteLength(body)) }),
        },
        body,
        timeout: Math.max(1, Math.min(options.requestTimeout, timeLeft(deps))),
        signal,
      });
    } catch (error) {
      if (signal?.aborted === true) return { kind: 'final', error: outOfTime(request.purpose, error) };
      return noAnswer(url, request.purpose, error);
    } finally {
      if (body !== undefined) nonces.answered();
    }
    deps.log.debug('acme_request', { method: request.method, url: url.href, status: answer.status });
    // The answer to new-nonce is read by freshNonce itself: its nonce must not be given out twice.
    if (request.method !== 'HEAD') nonces.keep(nonceOf(answer));
    return judge(answer, request);
  }

  function judge<T>(answer: Answer, request: Call<T>): Outcome<T> {
    if (answer.status >= 200 && answer.status < 300) {
      try {
        return { kind: 'done', value: request.read(answer) };
      } catch (error) {
        if (!(error instanceof AutocertError)) throw error;
        return error.retryable ? { kind: 'failed', error, lost: true } : { kind: 'final', error };
      }
    }
    const error = refusal(answer, request);
    if (error instanceof AcmeProblem && error.code === 'ACME_BAD_NONCE') return { kind: 'badNonce', error };
    if (answer.status === 429 || answer.status === 503 || error.code === 'ACME_RATE_LIMITED') {
      // A limit concerns this request; a CA that is out of service, all of them.
      if (answer.status === 503 && error.retryAfter) window.pause(error.retryAfter);
      return { kind: 'busy', error };
    }
    return answer.status >= 500 ? { kind: 'failed', error, lost: true } : { kind: 'final', error };
  }

  function refusal(answer: Answer, request: Call<unknown>): AutocertError {
    if (answer.status >= 300 && answer.status < 400) {
      return invalidAnswer(answer.url, `answered a redirect (${answer.status}), which is never followed`, false);
    }
    const problem = parseProblem(jsonOrUndefined(answer), answer.status);
    const now = deps.now();
    const retryAfter =
      parseRetryAfter(header(answer, 'retry-after'), now) ?? retryAfterInText(problem?.detail ?? '', now);
    const context = {
      ...options.problemContext(),
      url: answer.url,
      purpose: request.purpose,
      retryAfter,
      externalAccountBinding: request.externalAccountBinding,
    };
    if (problem !== undefined) return new AcmeProblem(problem, context);
    if (answer.status >= 500) {
      return new AutocertError({
        code: 'ACME_UNAVAILABLE',
        message: `The CA answered ${answer.status} to the request to ${request.purpose} (${answer.url})`,
        retryable: true,
        remedy:
          'Let the next run try again; if it lasts, look at the status page of the CA or configure acme.fallback.',
        retryAfter,
      });
    }
    const type = answer.status === 429 ? `${PROBLEM_NAMESPACE}rateLimited` : 'about:blank';
    const detail = `HTTP ${answer.status} without a problem document`;
    return new AcmeProblem({ type, status: answer.status, detail, subproblems: [], instance: undefined }, context);
  }

  async function freshNonce(): Promise<string> {
    const url = await options.newNonceUrl();
    const purpose = 'give a nonce';
    const read = (answer: Answer): string => {
      const nonce = nonceOf(answer);
      if (nonce === undefined) throw invalidAnswer(url, 'gave no Replay-Nonce', true);
      return nonce;
    };
    // Needs no room of its own: the request that needs the nonce has it.
    return await repeat({ method: 'HEAD', url, purpose, read }, (_, once) => once());
  }

  function target(text: string): URL {
    const url = checkedUrl(text);
    if (origins.has(url.origin)) return url;
    throw new AutocertError({
      code: 'ACME_RESPONSE_INVALID',
      message: `The CA at ${options.directoryUrl} sends us to another origin: ${url.origin}`,
      retryable: false,
      remedy: 'Check acme.directoryUrl; a CA serves all its resources from one origin.',
    });
  }

  async function call<T>(request: Call<T>): Promise<T> {
    // Before there is room for it: reading the directory needs some, and those that wait for it would have it all.
    if (request.sign !== undefined) await options.newNonceUrl();
    return await repeat(request, inWindow);
  }

  return { call, close: () => agent.destroy() };
}

/** `Deps.sleep` that ends in our own error when the signal aborts. */
export async function pause(
  deps: Deps,
  milliseconds: number,
  purpose: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    await deps.sleep(milliseconds, signal);
  } catch (error) {
    throw outOfTime(purpose, error);
  }
}

/** RFC 8555 section 6.5.1: a value outside the base64url alphabet is as good as none. */
function nonceOf(answer: Answer): string | undefined {
  const nonce = header(answer, 'replay-nonce');
  return nonce !== undefined && /^[\w-]+$/.test(nonce) ? nonce : undefined;
}

/** What Node says when the certificate of the server is not trusted. */
const TRUST_CODES = new Set([
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_REVOKED',
  'CERT_UNTRUSTED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

function noAnswer(url: URL, purpose: string, thrown: unknown): Outcome<never> {
  const cause = thrown instanceof NoAnswer ? thrown : new NoAnswer('UNKNOWN', String(thrown), thrown);
  if (cause.code === 'TOO_LARGE' || cause.code === 'HPE_HEADER_OVERFLOW') {
    return { kind: 'final', error: invalidAnswer(url.href, `sent ${cause.message}`, false) };
  }
  const untrusted = TRUST_CODES.has(cause.code);
  const error = new AutocertError({
    code: 'ACME_UNREACHABLE',
    message: `No answer to the request to ${purpose} from ${url.href}: ${cause.message} (${cause.code})`,
    retryable: !untrusted,
    remedy: untrusted
      ? `Set acme.caBundle to the CA that signed the certificate of ${url.host}, or repair that certificate and the clock.`
      : `Check that the function reaches ${url.host}: DNS, routes, and the outbound rules of its VPC.`,
    cause,
  });
  return untrusted ? { kind: 'final', error } : { kind: 'failed', error, lost: cause.sent };
}

function outOfTime(purpose: string, cause: unknown): AutocertError {
  return new AutocertError({
    code: 'DEADLINE_REACHED',
    message: `The run ended before the CA could be asked to ${purpose}`,
    retryable: true,
    remedy: 'Let the next run go on from here; raise the timeout of the function if this happens every time.',
    cause,
  });
}
