import { createPublicKey, type JsonWebKey, type KeyObject, verify } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import { promisify } from 'node:util';
import { makeCa, makeCertificate } from '../sandbox/certificates.ts';

/** What a request was for. */
export type Endpoint =
  | 'directory'
  | 'newNonce'
  | 'newAccount'
  | 'newOrder'
  | 'order'
  | 'authorization'
  | 'challenge'
  | 'finalize'
  | 'certificate'
  | 'alternate'
  | 'renewalInfo'
  | 'revokeCert'
  | 'keyChange';

export interface Reply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body?: string;
}

export interface SeenRequest {
  readonly endpoint: Endpoint;
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  /** The payload of a POST; undefined for GET, HEAD and POST-as-GET. */
  readonly payload: Record<string, unknown> | undefined;
}

/** `honest()` does what a good CA does and gives its answer; without a Reply the fault has dealt with the response. */
export type Fault = (exchange: {
  readonly request: SeenRequest;
  readonly response: ServerResponse;
  honest(): Reply;
}) => Reply | undefined;

export interface HostileCa {
  readonly directoryUrl: string;
  readonly caBundle: string;
  readonly requests: readonly SeenRequest[];
  readonly accountKeys: readonly JsonWebKey[];
  /** Orders opened so far. */
  readonly orders: number;
  /** The next `times` requests to the endpoint meet the fault, all of them by default. Later calls come first. */
  misbehave(endpoint: Endpoint, fault: Fault, times?: number): void;
  /** What a key change does, for a PEM private key. */
  replaceAccountKey(url: string, privateKey: string): void;
  count(endpoint: Endpoint): number;
  openConnections(): Promise<number>;
  /** The body of every certificate resource. */
  readonly chain: string;
  close(): Promise<void>;
}

/** Answers with this, and does nothing else. */
export function reply(status: number, body = '', headers: Reply['headers'] = {}): Fault {
  return () => ({ status, body, headers });
}

export function problem(status: number, type: string, fields: object = {}, headers: Reply['headers'] = {}): Fault {
  const body = JSON.stringify({ type: `urn:ietf:params:acme:error:${type}`, detail: `detail of ${type}`, ...fields });
  return reply(status, body, { 'content-type': 'application/problem+json', ...headers });
}

/** Does what was asked and changes the JSON of the answer. */
export function change(fields: object, headers: Reply['headers'] = {}): Fault {
  return ({ honest }) => {
    const answer = honest();
    return {
      ...answer,
      headers: { ...answer.headers, ...headers },
      body: JSON.stringify({ ...JSON.parse(answer.body ?? '{}'), ...fields }),
    };
  };
}

/** Does what was asked, and the answer is lost. */
export const loseAnswer: Fault = ({ honest, response }) => {
  honest();
  response.socket?.destroy();
  return undefined;
};

/** Does what was asked, and only the first half of the answer arrives. */
export const cutAnswer: Fault = ({ honest, response }) => {
  const { status, headers, body = '' } = honest();
  write(response, { status, headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) } });
  response.write(body.slice(0, body.length / 2), () => response.socket?.destroy());
  return undefined;
};

/** Does what was asked; half of the answer arrives and looks complete: no length was promised. */
export const halveAnswer: Fault = ({ honest }) => {
  const answer = honest();
  return { ...answer, body: (answer.body ?? '').slice(0, (answer.body ?? '').length / 2) };
};

/** Takes the request and never says a word. */
export const staySilent: Fault = () => undefined;

interface Order {
  readonly id: number;
  readonly identifiers: readonly { readonly type: string; readonly value: string }[];
  finalized: boolean;
}

interface Account {
  readonly url: string;
  key: JsonWebKey;
}

/** A CA on loopback, written from RFC 8555, that is told where to break. It believes every challenge at once. */
export async function startHostileCa(): Promise<HostileCa> {
  const endpointCa = makeCa('Hostile Endpoint CA');
  const endpoint = makeCertificate({
    names: ['127.0.0.1'],
    issuer: endpointCa,
    notBefore: new Date('2020-01-01T00:00:00Z'),
    notAfter: new Date('2049-01-01T00:00:00Z'),
  });
  const { chain } = makeCertificate({ names: ['example.com'] });
  const server = createServer({ key: endpoint.privateKey, cert: endpoint.chain });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a TCP server without a port');
  const origin = `https://127.0.0.1:${address.port}`;

  const requests: SeenRequest[] = [];
  const faults: { readonly endpoint: Endpoint; readonly fault: Fault; left: number }[] = [];
  const nonces = new Set<string>();
  const accounts: Account[] = [];
  const orders: Order[] = [];
  const valid = new Set<string>();
  let nonceCount = 0;

  function freshNonce(): string {
    nonceCount += 1;
    const nonce = `nonce-${nonceCount}`;
    nonces.add(nonce);
    return nonce;
  }

  const json = (status: number, value: object, headers: Reply['headers'] = {}): Reply => ({
    status,
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(value),
  });

  const no = (status: number, type: string, detail: string): Reply => {
    return json(status, { type: `urn:ietf:params:acme:error:${type}`, detail, status });
  };

  function order(id: number): Reply {
    const found = orders[id];
    if (found === undefined) return no(404, 'malformed', 'no such order');
    const authorizations = found.identifiers.map((_, index) => `${origin}/authorization/${id}-${index}`);
    const ready = found.identifiers.every((_, index) => valid.has(`${id}-${index}`));
    return json(200, {
      status: found.finalized ? 'valid' : ready ? 'ready' : 'pending',
      identifiers: found.identifiers,
      authorizations,
      finalize: `${origin}/finalize/${id}`,
      ...(found.finalized && { certificate: `${origin}/certificate/${id}` }),
    });
  }

  function challenge(id: string): object {
    const status = valid.has(id) ? 'valid' : 'pending';
    return { type: 'dns-01', url: `${origin}/challenge/${id}`, token: `token-${id}`, status };
  }

  function authorization(id: string): Reply {
    const [orderId, index] = id.split('-').map(Number);
    const identifier = orders[orderId ?? -1]?.identifiers[index ?? -1];
    if (identifier === undefined) return no(404, 'malformed', 'no such authorization');
    const wildcard = identifier.value.startsWith('*.');
    return json(200, {
      status: valid.has(id) ? 'valid' : 'pending',
      identifier: { type: identifier.type, value: identifier.value.replace(/^\*\./, '') },
      ...(wildcard && { wildcard }),
      challenges: [challenge(id)],
    });
  }

  function newAccount(payload: Record<string, unknown>, jwk: JsonWebKey | undefined): Reply {
    const known = accounts.find(({ key }) => JSON.stringify(sorted(key)) === JSON.stringify(sorted(jwk ?? {})));
    if (known !== undefined) return json(200, { status: 'valid' }, { location: known.url });
    if (payload['onlyReturnExisting'] === true) return no(400, 'accountDoesNotExist', 'no such account');
    if (jwk === undefined) return no(400, 'malformed', 'no jwk');
    const url = `${origin}/account/${accounts.length}`;
    accounts.push({ url, key: jwk });
    return json(201, { status: 'valid' }, { location: url });
  }

  function honest(request: SeenRequest, jwk: JsonWebKey | undefined): Reply {
    const id = request.path.split('/').at(-1) ?? '';
    switch (request.endpoint) {
      case 'directory':
        return json(200, {
          ...Object.fromEntries(
            ['newNonce', 'newAccount', 'newOrder', 'revokeCert', 'keyChange', 'renewalInfo'].map((name) => [
              name,
              `${origin}/${name}`,
            ]),
          ),
          meta: { caaIdentities: ['ca.example'] },
        });
      case 'newNonce':
        return { status: 200 };
      case 'newAccount':
        return newAccount(request.payload ?? {}, jwk);
      case 'newOrder': {
        const identifiers = request.payload?.['identifiers'];
        if (!Array.isArray(identifiers)) return no(400, 'malformed', 'no identifiers');
        const opened = { id: orders.length, identifiers, finalized: false };
        orders.push(opened);
        return { ...order(opened.id), status: 201, headers: { location: `${origin}/order/${opened.id}` } };
      }
      case 'order':
        return order(Number(id));
      case 'authorization':
        return authorization(id);
      case 'challenge':
        if (request.payload !== undefined) {
          // RFC 8555 section 7.5.1 has no word for a second time; this is what Pebble says.
          if (valid.has(id)) return no(400, 'malformed', 'the authorization is not pending');
          valid.add(id);
        }
        return json(200, challenge(id));
      case 'finalize': {
        const found = orders[Number(id)];
        if (found === undefined || found.finalized)
          return no(403, 'orderNotReady', 'the status of the order is "valid"');
        found.finalized = true;
        return order(found.id);
      }
      case 'certificate':
      case 'alternate':
        return { status: 200, headers: { 'content-type': 'application/pem-certificate-chain' }, body: chain };
      case 'renewalInfo':
        return json(200, { suggestedWindow: { start: '2026-03-20T00:00:00Z', end: '2026-03-22T00:00:00Z' } });
      default:
        return { status: 200 };
    }
  }

  /** RFC 8555 section 6.2 to 6.5. Gives the payload and the key, or the refusal. */
  function open(
    text: string,
    path: string,
  ): { readonly payload: Record<string, unknown> | undefined; readonly jwk?: JsonWebKey } | Reply {
    const jws: { protected: string; payload: string; signature: string } = JSON.parse(text);
    const head: { nonce: string; url: string; jwk?: JsonWebKey; kid?: string } = JSON.parse(decode(jws.protected));
    if (!nonces.delete(head.nonce)) return no(400, 'badNonce', 'used before or never given out');
    if (head.url !== `${origin}${path}`) return no(401, 'unauthorized', 'signed for another URL');
    const jwk = head.jwk ?? accounts.find(({ url }) => url === head.kid)?.key;
    if (jwk === undefined) return no(400, 'accountDoesNotExist', 'no such account');
    const key: KeyObject = createPublicKey({ key: jwk, format: 'jwk' });
    const signed = Buffer.from(`${jws.protected}.${jws.payload}`);
    const good = verify('sha256', signed, { key, dsaEncoding: 'ieee-p1363' }, Buffer.from(jws.signature, 'base64url'));
    if (!good) return no(400, 'malformed', 'bad signature');
    return { jwk, payload: jws.payload === '' ? undefined : JSON.parse(decode(jws.payload)) };
  }

  async function handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const path = incoming.url ?? '/';
    const name = endpointOf(path);
    const opened = incoming.method === 'POST' ? open(Buffer.concat(chunks).toString(), path) : { payload: undefined };
    const payload = 'payload' in opened ? opened.payload : undefined;
    const request = { endpoint: name, method: incoming.method ?? '', path, headers: incoming.headers, payload };
    requests.push(request);
    if ('status' in opened) return write(response, opened, freshNonce());
    const planned = faults.findLast((each) => each.endpoint === name && each.left > 0);
    const answer = (): Reply => honest(request, opened.jwk);
    if (planned !== undefined) planned.left -= 1;
    const result = planned === undefined ? answer() : planned.fault({ request, response, honest: answer });
    if (result !== undefined) write(response, result, incoming.method === 'GET' ? undefined : freshNonce());
  }

  server.on('request', (incoming, response) => {
    handle(incoming, response).catch((error) => {
      response.writeHead(500).end(String(error));
    });
  });

  return {
    directoryUrl: `${origin}/directory`,
    caBundle: endpointCa.root,
    requests,
    chain,
    get accountKeys() {
      return accounts.map(({ key }) => key);
    },
    get orders() {
      return orders.length;
    },
    misbehave: (name, fault, times = Number.POSITIVE_INFINITY) => {
      faults.push({ endpoint: name, fault, left: times });
    },
    count: (name) => requests.filter((each) => each.endpoint === name).length,
    replaceAccountKey: (url, privateKey) => {
      for (const account of accounts.filter((each) => each.url === url))
        account.key = sorted(createPublicKey(privateKey).export({ format: 'jwk' }));
    },
    openConnections: () => promisify(server.getConnections.bind(server))(),
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function sorted(jwk: JsonWebKey): JsonWebKey {
  return Object.fromEntries(Object.entries(jwk).sort());
}

function decode(text: string): string {
  return Buffer.from(text, 'base64url').toString();
}

function endpointOf(path: string): Endpoint {
  const first = path.split('/')[1] ?? '';
  const known: readonly Endpoint[] = [
    'directory',
    'newNonce',
    'newAccount',
    'newOrder',
    'order',
    'authorization',
    'challenge',
    'finalize',
    'certificate',
    'alternate',
    'renewalInfo',
    'revokeCert',
    'keyChange',
  ];
  const found = known.find((name) => name === first);
  if (found === undefined) throw new Error(`no such endpoint: ${path}`);
  return found;
}

/** A header that is undefined is left out, also the nonce. */
function write(response: ServerResponse, { status, headers = {}, body }: Reply, nonce?: string): void {
  const sent: Record<string, string | readonly string[] | undefined> = { 'replay-nonce': nonce, ...headers };
  for (const [name, value] of Object.entries(sent)) {
    if (value !== undefined) response.setHeader(name, value);
  }
  response.writeHead(status);
  if (body === undefined && headers['content-length'] !== undefined) response.flushHeaders();
  else response.end(body);
}
