import { lookup } from 'node:dns/promises';
import { request as httpRequest, type IncomingHttpHeaders, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import { type Deps, timeLeft } from '../deps.ts';
import { AutocertError } from '../errors.ts';
import type { Secret } from '../secret.ts';
import { kindOfAddress } from './address.ts';

export interface Outgoing {
  readonly method: 'GET' | 'POST';
  /** The whole of it is a secret: whoever knows a webhook's URL can write to it. */
  readonly url: Secret;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface Incoming {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Sends one request to somebody outside and gives the whole answer, whatever its status but a redirect. Throws AutocertError. */
export type Post = (outgoing: Outgoing) => Promise<Incoming>;

export interface PostOptions {
  /** `deadline` is when even alerts must be done. */
  readonly deps: Pick<Deps, 'now' | 'deadline'>;
  /**
   * Lets loopback addresses through, also by http. True only where the configuration itself says that there is no cloud:
   * `endpoints.cdn` is on a loopback host. Addresses of private networks stay refused even then.
   */
  readonly allowLoopback: boolean;
  /** PEM certificates that are trusted instead of the system's. */
  readonly ca?: string | undefined;
  /** Milliseconds for one request altogether. Default 10000. */
  readonly timeout?: number;
  /** All addresses of a name; the system's resolver by default. */
  readonly resolve?: (host: string) => Promise<readonly Address[]>;
}

export interface Address {
  readonly address: string;
  readonly family: number;
}

const LARGEST_BODY = 64 * 1024;
const LARGEST_HEADER = 16 * 1024;
const CHECK_URL = 'Check the URL of the channel: paste it again as the channel shows it.';

/**
 * The name is resolved once, and the connection goes to what was looked at: a name that changes its address in between
 * (DNS rebinding) gains nothing. No redirect is followed, for it could lead anywhere. No error holds the URL or a part
 * of it, its host included: there are services whose host names are the secret.
 */
export function createPost({ deps, allowLoopback, ca, timeout = 10_000, resolve = resolveAll }: PostOptions): Post {
  return async (outgoing) => {
    const text = outgoing.url.reveal();
    if (!URL.canParse(text)) throw refused('the URL is none');
    const url = new URL(text);
    const limit = Math.min(timeout, timeLeft(deps));
    if (limit <= 0) throw unreachable('the run has no time left for it', false);
    const endsAt = deps.now().getTime() + limit;
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const addresses = await within(limit, isIP(host) === 0 ? resolve(host) : [{ address: host, family: isIP(host) }]);
    check(url, addresses, allowLoopback);
    const left = Math.max(1, endsAt - deps.now().getTime());
    const answer = await send(url, outgoing, { addresses, ca, timeout: left });
    if (answer.status >= 300 && answer.status < 400)
      throw refused(`it answered with a redirect (${answer.status}), which is not followed`);
    return answer;
  };
}

async function resolveAll(host: string): Promise<readonly Address[]> {
  return lookup(host, { all: true });
}

/** The name's addresses, or an error that says no more than that there are none. */
async function within(
  milliseconds: number,
  addresses: Promise<readonly Address[]> | readonly Address[],
): Promise<readonly Address[]> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(unreachable(`its name was not resolved within ${milliseconds} ms`, true)),
      milliseconds,
    );
  });
  try {
    return await Promise.race([Promise.resolve(addresses), late]);
  } catch (thrown) {
    if (thrown instanceof AutocertError) throw thrown;
    throw unreachable(`its name cannot be resolved (${codeOf(thrown)})`, codeOf(thrown) !== 'ENOTFOUND');
  } finally {
    clearTimeout(timer);
  }
}

function check(url: URL, addresses: readonly Address[], allowLoopback: boolean): void {
  if (addresses.length === 0) throw unreachable('its name has no address', true);
  const kinds = addresses.map(({ address }) => kindOfAddress(address));
  // One bad address among good ones is no accident.
  const refusedKind = kinds.find((kind) => kind === 'internal' || (kind === 'loopback' && !allowLoopback));
  if (refusedKind !== undefined) throw refused('its host is this machine or in a private network');
  if (url.protocol === 'https:') return;
  if (url.protocol !== 'http:' || kinds.some((kind) => kind !== 'loopback'))
    throw refused('the URL is not an https URL');
}

interface SendOptions {
  readonly addresses: readonly Address[];
  readonly ca: string | undefined;
  /** Milliseconds. */
  readonly timeout: number;
}

function send(
  url: URL,
  { method, headers, body }: Outgoing,
  { addresses, ca, timeout }: SendOptions,
): Promise<Incoming> {
  return new Promise((resolve, reject) => {
    const options: RequestOptions = {
      agent: false,
      method,
      headers: { ...headers },
      maxHeaderSize: LARGEST_HEADER,
      lookup: known(addresses),
    };
    const outgoing =
      url.protocol === 'https:'
        ? httpsRequest(url, {
            ...options,
            rejectUnauthorized: true,
            minVersion: 'TLSv1.2',
            ...(ca !== undefined && { ca }),
          })
        : httpRequest(url, options);
    const fail = (error: AutocertError): void => {
      clearTimeout(timer);
      outgoing.destroy();
      reject(error);
    };
    const timer = setTimeout(() => fail(unreachable(`it did not answer within ${timeout} ms`, false)), timeout);
    outgoing.on('error', (error) => fail(toError(error)));
    outgoing.on('response', (incoming) => {
      const chunks: Buffer[] = [];
      let size = 0;
      incoming.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > LARGEST_BODY) fail(refused(`its answer has more than ${LARGEST_BODY} bytes`));
        else chunks.push(chunk);
      });
      incoming.on('error', (error) => fail(toError(error)));
      incoming.on('end', () => {
        clearTimeout(timer);
        resolve({
          status: incoming.statusCode ?? 0,
          headers: incoming.headers,
          body: Buffer.concat(chunks).toString(),
        });
      });
    });
    outgoing.end(body);
  });
}

/** A resolver that knows only what was looked at before. */
function known(addresses: readonly Address[]): LookupFunction {
  return (_, options, callback) => {
    const [first] = addresses;
    if (options.all) callback(null, [...addresses]);
    else callback(null, first?.address ?? '', first?.family);
  };
}

const CERTIFICATE = /^(CERT_|ERR_TLS_CERT|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO)/;

function toError(error: unknown): AutocertError {
  const code = codeOf(error);
  if (CERTIFICATE.test(code)) return refused(`its TLS certificate is not trusted (${code})`);
  return unreachable(`it cannot be reached (${code})`, true);
}

/** The code alone: Node's messages hold host and address. */
function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'no answer';
}

function unreachable(message: string, retryable: boolean): AutocertError {
  const remedy = 'Check that the function has access to the internet and that the service of the channel is up.';
  return new AutocertError({ code: 'SERVICE_UNREACHABLE', message, retryable, remedy });
}

function refused(message: string): AutocertError {
  return new AutocertError({ code: 'REQUEST_REFUSED', message, retryable: false, remedy: CHECK_URL });
}
