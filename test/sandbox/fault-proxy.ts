/**
 * Stands between the function and a real CA and breaks what it is told to break. Pebble makes its URLs from the Host
 * header, which is passed through: from then on the client talks to the proxy alone, and its signatures are right.
 */
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { Agent, createServer, request as forward } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeCa, makeCertificate } from './certificates.ts';
import { injected } from './injections.ts';
import type { Pebble } from './pebble.ts';

/** What a request is for: the fields of the directory, and the resources of RFC 8555 section 7.1. */
export type AcmeEndpoint =
  | 'directory'
  | 'newNonce'
  | 'newAccount'
  | 'newOrder'
  | 'order'
  | 'authorization'
  | 'challenge'
  | 'finalize'
  | 'certificate'
  | 'renewalInfo'
  | 'other';

export interface AcmeRequest {
  readonly endpoint: AcmeEndpoint;
  readonly method: string;
  readonly path: string;
  /** The identifiers of the order that the resource belongs to; none for those that belong to no order. */
  readonly names: readonly string[];
  /** How many requests to this endpoint for these names there have been, this one included. */
  readonly nth: number;
  /** The payload of a POST; undefined for GET, HEAD and POST-as-GET. */
  readonly payload: Record<string, unknown> | undefined;
}

export interface AcmeAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string | string[] | undefined>>;
  readonly body?: string;
}

/**
 * What becomes of a request: another answer, of which the CA hears nothing; the CA's own answer, changed; a connection
 * that ends before or after the CA has acted; half of the CA's answer and then the end; or nothing at all, the CA having
 * heard of it or not.
 */
export type AcmeFault =
  | { readonly answer: AcmeAnswer }
  | { readonly change: (honest: Required<AcmeAnswer>) => AcmeAnswer }
  | 'reset-before'
  | 'reset-after'
  | 'cut'
  | 'silence-before'
  | 'silence-after';

export type AcmeRule = (request: AcmeRequest) => AcmeFault | undefined;

export interface FaultProxy {
  readonly directoryUrl: string;
  /** The `acme` part of a configuration that goes through this proxy. */
  acme(more?: Readonly<Record<string, unknown>>): Record<string, unknown>;
  readonly caBundle: string;
  readonly caBundlePath: string;
  /** Every request in its order, whatever became of it. */
  readonly requests: readonly AcmeRequest[];
  /** From now on this rule has a say, before those that were there; gives what takes it away again. */
  intercept(rule: AcmeRule): () => void;
  /** Another CA takes the place of the first: its accounts and orders are unknown there. */
  switchTo(pebble: Pick<Pebble, 'directoryUrl' | 'caBundle'>): void;
  close(): Promise<void>;
}

/** Pebble's paths, by their beginning. */
const PATHS: readonly (readonly [string, AcmeEndpoint])[] = [
  ['/dir', 'directory'],
  ['/nonce-plz', 'newNonce'],
  ['/sign-me-up', 'newAccount'],
  ['/order-plz', 'newOrder'],
  ['/my-order/', 'order'],
  ['/authZ/', 'authorization'],
  ['/chalZ/', 'challenge'],
  ['/finalize-order/', 'finalize'],
  ['/certZ/', 'certificate'],
  ['/draft-ietf-acme-ari-03/renewalInfo/', 'renewalInfo'],
];

/** What belongs to one connection and not to the message. */
const HOP_BY_HOP = ['connection', 'keep-alive', 'transfer-encoding', 'content-length'];

export async function startFaultProxy(pebble: Pick<Pebble, 'directoryUrl' | 'caBundle'>): Promise<FaultProxy> {
  const ca = makeCa('Fault Proxy CA');
  const { chain, privateKey } = makeCertificate({
    names: ['127.0.0.1'],
    issuer: ca,
    notBefore: new Date('2020-01-01T00:00:00Z'),
    notAfter: new Date('2049-01-01T00:00:00Z'),
  });
  const folder = await mkdtemp(join(tmpdir(), 'autocert-proxy-'));
  const caBundlePath = join(folder, 'ca.pem');
  await writeFile(caBundlePath, ca.root);
  const server = createServer({ key: privateKey, cert: chain });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a TCP server without a port');
  const origin = `https://127.0.0.1:${address.port}`;

  let upstream = { origin: new URL(pebble.directoryUrl).origin, agent: agentFor(pebble.caBundle) };
  const requests: AcmeRequest[] = [];
  const rules: AcmeRule[] = [];
  const names = new Map<string, readonly string[]>();

  function describe(incoming: IncomingMessage, body: Buffer): AcmeRequest {
    const path = incoming.url ?? '/';
    const endpoint = PATHS.find(([prefix]) => path.startsWith(prefix))?.[1] ?? 'other';
    const payload = payloadOf(body);
    const named = endpoint === 'newOrder' ? identifiersOf(payload) : (names.get(path) ?? []);
    const alike = requests.filter((each) => each.endpoint === endpoint && each.names.join() === named.join());
    return { endpoint, method: incoming.method ?? '', path, names: named, nth: alike.length + 1, payload };
  }

  function send(
    { method, path }: AcmeRequest,
    headers: IncomingHttpHeaders,
    body: Buffer,
  ): Promise<Required<AcmeAnswer>> {
    return new Promise((resolve, reject) => {
      const outgoing = forward(`${upstream.origin}${path}`, { method, headers, agent: upstream.agent }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk)).once('error', reject);
        response.once('end', () => {
          const kept = Object.entries(response.headers).filter(([name]) => !HOP_BY_HOP.includes(name));
          const text = Buffer.concat(chunks).toString('utf8');
          resolve({ status: response.statusCode ?? 0, headers: Object.fromEntries(kept), body: text });
        });
      });
      outgoing.once('error', reject);
      outgoing.end(body);
    });
  }

  /** The URLs that an answer tells of belong to the names of its order. */
  function learn(request: AcmeRequest, { headers, body }: Required<AcmeAnswer>): void {
    if (request.names.length === 0) return;
    const urls = [headers['location'], headers['link'], body].join('\n').matchAll(/https:\/\/[^\s"<>]+/g);
    for (const [url] of urls) if (url.startsWith(origin)) names.set(url.slice(origin.length), request.names);
    names.set(request.path, request.names);
  }

  async function handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const request = describe(incoming, body);
    requests.push(request);
    let fault: AcmeFault | undefined;
    for (const rule of rules) fault ??= rule(request);
    if (typeof fault === 'string' || (fault && 'answer' in fault)) injected();
    if (fault === 'silence-before') return;
    if (fault === 'reset-before') return void response.socket?.destroy();
    if (typeof fault === 'object' && 'answer' in fault) return write(response, fault.answer);
    const honest = await send(request, incoming.headers, body);
    if (request.endpoint !== 'newOrder' || honest.status === 201) learn(request, honest);
    if (fault === 'silence-after') return;
    if (fault === 'reset-after') return void response.socket?.destroy();
    if (fault === 'cut') {
      response.writeHead(honest.status, { ...honest.headers, 'content-length': Buffer.byteLength(honest.body) + 1 });
      response.write(honest.body.slice(0, honest.body.length / 2), () => response.socket?.destroy());
      return;
    }
    const told = fault === undefined ? honest : fault.change(honest);
    if (told !== honest) injected();
    write(response, told);
  }

  server.on('request', (incoming, response) => {
    // A client that went away is part of the plan.
    handle(incoming, response).catch(() => response.socket?.destroy());
  });

  return {
    directoryUrl: `${origin}/dir`,
    caBundle: ca.root,
    caBundlePath,
    requests,
    acme: (more = {}) => ({
      directoryUrl: `${origin}/dir`,
      caBundle: caBundlePath,
      contact: ['mailto:ops@example.com'],
      profile: 'default',
      ...more,
    }),
    intercept(rule) {
      rules.unshift(rule);
      return () => void rules.splice(rules.indexOf(rule), rules.includes(rule) ? 1 : 0);
    },
    switchTo(other) {
      upstream.agent.destroy();
      upstream = { origin: new URL(other.directoryUrl).origin, agent: agentFor(other.caBundle) };
      injected();
    },
    async close() {
      upstream.agent.destroy();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A connection for each request: one that Pebble has closed meanwhile would be a fault that nobody asked for. */
function agentFor(ca: string): Agent {
  return new Agent({ keepAlive: false, ca });
}

function write(response: ServerResponse, { status, headers = {}, body = '' }: AcmeAnswer): void {
  const sent = Object.entries(headers).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, value] as const],
  );
  response.writeHead(status, Object.fromEntries(sent));
  response.end(body);
}

/** The payload of a flattened JWS (RFC 8555 section 6.2). */
function payloadOf(body: Buffer): Record<string, unknown> | undefined {
  if (body.length === 0) return undefined;
  const jws: { payload?: string } = JSON.parse(body.toString());
  return jws.payload ? JSON.parse(Buffer.from(jws.payload, 'base64url').toString()) : undefined;
}

function identifiersOf(payload: Record<string, unknown> | undefined): string[] {
  const identifiers = payload?.['identifiers'];
  if (!Array.isArray(identifiers)) return [];
  return identifiers.map(({ value }: { readonly value: string }) => value).sort();
}

/** An answer with a problem document (RFC 8555 section 6.7), as the CA sends it: with a fresh nonce or without. */
export function problemAnswer(
  status: number,
  type: string,
  more: { readonly detail?: string; readonly headers?: AcmeAnswer['headers']; readonly subproblems?: object } = {},
): AcmeFault {
  const { detail = `detail of ${type}`, headers = {}, subproblems } = more;
  const document = { type: `urn:ietf:params:acme:error:${type}`, detail, status, ...(subproblems && { subproblems }) };
  return {
    answer: {
      status,
      headers: { 'content-type': 'application/problem+json', ...headers },
      body: JSON.stringify(document),
    },
  };
}

/** The CA's own JSON with these fields replaced; undefined takes one away. */
export function changedJson(fields: Readonly<Record<string, unknown>>, headers: AcmeAnswer['headers'] = {}): AcmeFault {
  return {
    change: (honest) => ({
      status: honest.status,
      headers: { ...honest.headers, ...headers },
      body: JSON.stringify({ ...JSON.parse(honest.body), ...fields }),
    }),
  };
}
