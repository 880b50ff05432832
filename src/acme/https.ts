import { X509Certificate } from 'node:crypto';
import { Agent, request } from 'node:https';
import { createRequire } from 'node:module';
import type { SecureContext } from 'node:tls';
import { AutocertError } from '../errors.ts';

/** An import reads every export, and one of those parses all root certificates: a run would begin 7 ms later. */
const tls: typeof import('node:tls') = createRequire(import.meta.url)('node:tls');

/** An answer that arrived whole. */
export interface Answer {
  readonly url: string;
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  /** Every `Link` header as it was sent. */
  readonly links: readonly string[];
  readonly body: Buffer;
}

export interface Exchange {
  readonly method: 'GET' | 'HEAD' | 'POST';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  /** Milliseconds until the whole answer must be here. */
  readonly timeout: number;
  readonly signal?: AbortSignal | undefined;
}

/** Nothing that ACME sends is bigger; the longest chain is some 20 KB. */
const LARGEST_BODY = 1024 * 1024;
const LARGEST_HEADER = 16 * 1024;

/** The request ended without a whole answer. `sent` is false only where it certainly never reached the server. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
  readonly code: string;
  readonly sent: boolean;

  constructor(code: string, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
    this.sent = !NEVER_SENT.has(code);
  }
}

const NEVER_SENT = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'EADDRNOTAVAIL']);

/**
 * Keeps connections open until `destroy()`. Certificates are always verified, whatever NODE_TLS_REJECT_UNAUTHORIZED says.
 *
 * @param caBundle PEM certificates that are trusted besides the system's. Throws CONFIG_INVALID when it holds none.
 */
export function createAgent(caBundle: string | undefined): Agent {
  return new Agent({
    keepAlive: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2',
    ...(caBundle === undefined ? {} : { secureContext: trust(caBundle) }),
  });
}

function trust(caBundle: string): SecureContext {
  const added = caBundle.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    for (const certificate of added) new X509Certificate(certificate);
    if (added.length > 0)
      return tls.createSecureContext({ ca: [...tls.rootCertificates, ...added], minVersion: 'TLSv1.2' });
  } catch {
    // Said below: OpenSSL's own words help nobody here.
  }
  throw new AutocertError({
    code: 'CONFIG_INVALID',
    message: 'acme.caBundle holds no readable PEM certificate',
    retryable: false,
    remedy: 'Put the PEM certificate of the CA that signed the ACME endpoint into acme.caBundle.',
  });
}

/** One request, one answer. Follows no redirect. Rejects with NoAnswer, or with the signal's reason. */
export function exchange(agent: Agent, { method, url, headers, body, timeout, signal }: Exchange): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let settled = false;
    const outgoing = request(url, { agent, method, headers: { ...headers }, maxHeaderSize: LARGEST_HEADER });
    const timer = setTimeout(() => {
      fail(new NoAnswer('ETIMEDOUT', `no answer within ${timeout} ms`));
    }, timeout);
    const onAbort = (): void => {
      fail(signal?.reason);
    };

    function settle(): boolean {
      if (settled) return false;
      settled = true;
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      return true;
    }

    function fail(reason: unknown): void {
      if (!settle()) return;
      outgoing.destroy();
      reject(reason);
    }

    signal?.addEventListener('abort', onAbort);
    outgoing.on('error', (error: NodeJS.ErrnoException) => {
      fail(new NoAnswer(error.code ?? 'UNKNOWN', error.message, error));
    });
    outgoing.on('response', (incoming) => {
      const chunks: Buffer[] = [];
      let size = 0;
      incoming.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > LARGEST_BODY) fail(new NoAnswer('TOO_LARGE', `an answer of more than ${LARGEST_BODY} bytes`));
        else chunks.push(chunk);
      });
      incoming.on('error', (error: NodeJS.ErrnoException) => {
        fail(new NoAnswer('CUT', 'the answer was cut off', error));
      });
      // An answer that is cut off ends in an error, never here.
      incoming.on('end', () => {
        if (!settle()) return;
        resolve({
          url: url.href,
          status: incoming.statusCode ?? 0,
          headers: incoming.headers,
          links: incoming.headersDistinct['link'] ?? [],
          body: Buffer.concat(chunks),
        });
      });
    });
    if (signal?.aborted === true) return onAbort();
    outgoing.end(body);
  });
}
