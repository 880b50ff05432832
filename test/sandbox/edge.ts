/**
 * One edge of the CDN: a TLS server on 127.0.0.1 that picks up each domain's certificate from the CDN's state after a
 * delay of its own, or when a test lets it. A name it does not know, or one without HTTPS, gets the edge's default
 * certificate (a name of nobody's, signed by nobody a client trusts), as a real edge answers instead of refusing. A client
 * that sends no server name is refused in the handshake.
 */
import { createServer } from 'node:https';
import type { Duplex } from 'node:stream';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { Cdn } from './cdn.ts';
import { fingerprint, type Served } from './cdn-state.ts';
import { makeCa, makeCertificate } from './certificates.ts';

export interface Edge {
  readonly name: string;
  /** `127.0.0.1:port` */
  readonly address: string;
  readonly port: number;
  /** SHA-256 of what a handshake for this name gets now; undefined for the default certificate. */
  fingerprintOf(serverName: string): string | undefined;
  /** Resolves when a handshake for the name would get this certificate; at once if it does. Rejects on close. */
  serves(serverName: string, fingerprint: string): Promise<void>;
  /** How long after a change the edge takes it up; counts for changes from now on. */
  setDelay(milliseconds: number): void;
  /** The edge keeps what it serves, whatever the CDN says, until `release`. */
  hold(): void;
  /** Takes up everything at once, and changes by the delay from then on. */
  release(): void;
  /** Serves this for one domain, whatever the CDN says; undefined ends that. */
  override(domainName: string, certificate: { readonly chain: string; readonly privateKey: string } | undefined): void;
  /** The server names of all handshakes so far, in their order. */
  readonly asked: readonly string[];
  close(): Promise<void>;
}

export interface EdgeOptions {
  /** Told in every HTTP answer. */
  readonly name: string;
  readonly cdn: Cdn;
  /** Default: 0, a change is served before the call that made it is answered. */
  readonly delayMilliseconds?: number;
}

interface Installed extends Served {
  readonly context: SecureContext;
}

interface Waiter {
  readonly serverName: string;
  readonly fingerprint: string;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export async function startEdge({ name, cdn, delayMilliseconds = 0 }: EdgeOptions): Promise<Edge> {
  const asked: string[] = [];
  const picked = new Map<string, Installed>();
  const overrides = new Map<string, Installed>();
  const timers = new Set<NodeJS.Timeout>();
  const sockets = new Set<Duplex>();
  const waiters = new Set<Waiter>();
  let delay = delayMilliseconds;
  let isHeld = false;

  function pickUp(domainName: string): void {
    if (isHeld) return;
    const served = cdn.served(domainName);
    if (served === undefined) picked.delete(domainName);
    else if (picked.get(domainName)?.fingerprint !== served.fingerprint) picked.set(domainName, install(served));
    settle();
  }

  function pickUpAll(): void {
    for (const domainName of cdn.state.domains.keys()) pickUp(domainName);
  }

  function changed(domainName: string): void {
    if (delay === 0) {
      pickUp(domainName);
      return;
    }
    const timer = setTimeout(() => {
      timers.delete(timer);
      pickUp(domainName);
    }, delay);
    timers.add(timer);
  }

  /** The longest wildcard domain wins: `.a.example.com` before `.example.com`. */
  function find(serverName: string): Installed | undefined {
    const lower = serverName.toLowerCase();
    for (let key = lower; key !== ''; key = nextSuffix(key)) {
      const found = overrides.get(key) ?? picked.get(key);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  function settle(): void {
    for (const waiter of waiters) {
      if (find(waiter.serverName)?.fingerprint !== waiter.fingerprint) continue;
      waiters.delete(waiter);
      waiter.resolve();
    }
  }

  const { leaf, privateKey } = makeCertificate({ names: ['edge.invalid'], issuer: makeCa('Edge Default') });
  const fallback = createSecureContext({ cert: leaf, key: privateKey });
  const server = createServer(
    // No certificate of the server's own: OpenSSL keeps one for each key type, and would offer it beside the domain's.
    {
      SNICallback: (serverName, done) => {
        asked.push(serverName);
        done(null, find(serverName)?.context ?? fallback);
      },
    },
    (_, response) => {
      response.writeHead(200, { 'content-type': 'text/plain' }).end(`${name}\n`);
    },
  );
  // The sockets below TLS: a client that never finishes its handshake must not keep the server open.
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  // A client that does not trust the certificate ends the handshake; that is its affair.
  server.on('tlsClientError', () => {});

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the edge has no port');
  pickUpAll();
  const stopListening = cdn.onChange(changed);

  return {
    name,
    port: address.port,
    asked,
    address: `127.0.0.1:${address.port}`,
    fingerprintOf: (serverName) => find(serverName)?.fingerprint,
    serves: (serverName, wanted) =>
      new Promise((resolve, reject) => {
        waiters.add({ serverName, fingerprint: wanted, resolve, reject });
        settle();
      }),
    setDelay: (milliseconds) => {
      delay = milliseconds;
    },
    hold: () => {
      isHeld = true;
    },
    release: () => {
      isHeld = false;
      pickUpAll();
    },
    override: (domainName, certificate) => {
      if (certificate === undefined) overrides.delete(domainName);
      else {
        const { chain, privateKey } = certificate;
        overrides.set(domainName, install({ certificate: chain, privateKey, fingerprint: fingerprint(chain) }));
      }
      settle();
    },
    close: () =>
      new Promise((resolve) => {
        stopListening();
        for (const timer of timers) clearTimeout(timer);
        for (const { reject, serverName } of waiters) {
          reject(new Error(`edge ${name} was closed before it served the certificate for ${serverName}`));
        }
        waiters.clear();
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

function install(served: Served): Installed {
  return { ...served, context: createSecureContext({ cert: served.certificate, key: served.privateKey }) };
}

/** `a.b.c` gives `.b.c`, `.b.c` gives `.c`, `.c` gives nothing. */
function nextSuffix(key: string): string {
  const dot = key.indexOf('.', 1);
  return dot < 0 ? '' : key.slice(dot);
}
