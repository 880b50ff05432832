import { X509Certificate } from 'node:crypto';
import { Resolver } from 'node:dns/promises';
import { createRequire } from 'node:module';
import { isIPv6 } from 'node:net';
import type { SecureContext } from 'node:tls';
import type { Config } from './config.ts';
import { type Deps, timeLeft } from './deps.ts';

/** What one edge answers for one domain. `fingerprint` is the SHA-256 of the leaf in lower-case hex. */
export interface EdgeReading {
  readonly domain: string;
  /** `address:port`. */
  readonly edge: string;
  readonly fingerprint?: string;
  /** The leaf itself, PEM. */
  readonly pem?: string;
  /** Why there is no fingerprint. */
  readonly unreachable?: string;
}

/** How one edge stands to the certificate that was to be served. */
export interface Verification {
  readonly domain: string;
  readonly edge: string;
  readonly status: 'served' | 'stale' | 'unreachable';
  readonly fingerprint?: string;
}

/** Where a domain's edges are: fixed addresses, or whatever the domain's CDN CNAME resolves to. */
export interface Edges {
  read(domain: string, cname: string | undefined): Promise<EdgeReading[]>;
}

/** An import reads every export, and one of those parses all root certificates: a run would begin 7 ms later. */
const tls: typeof import('node:tls') = createRequire(import.meta.url)('node:tls');

const HANDSHAKE_TIMEOUT = 10_000;
/** A CDN name resolves to the edges nearest to the resolver; more of them say nothing new. */
const MAX_EDGES = 8;
/** One wildcard domain stands for endless names. Any of them is served by the same certificate. */
const WILDCARD_PROBE_LABEL = 'autocert';

export function createEdges(config: Pick<Config, 'verify' | 'dns'>): Edges {
  const resolver = new Resolver({ timeout: 3000, tries: 2 });
  resolver.setServers([...config.dns.resolvers]);
  let context: SecureContext | undefined;
  return {
    async read(domain, cname) {
      const servername = domain.replace(/^\*/, WILDCARD_PROBE_LABEL);
      const edges = config.verify.connect ?? (await resolveEdges(resolver, cname ?? servername));
      if (edges.length === 0) return [{ domain, edge: cname ?? servername, unreachable: 'its name has no address' }];
      // One for all handshakes: each connection would else make its own, which costs more than the handshake itself.
      context ??= tls.createSecureContext();
      const shared = context;
      return Promise.all(edges.map(async (edge) => ({ domain, edge, ...(await handshake(edge, servername, shared)) })));
    },
  };
}

/**
 * Reads the edges of every domain until all that answer serve `fingerprint`, or until patience or the deadline ends.
 * The last reading of each edge is the answer: an edge that never answered is `unreachable`, one that answered with
 * anything else is `stale`.
 */
export async function verify(
  name: string,
  domains: readonly { readonly domain: string; readonly cname: string | undefined }[],
  fingerprint: string,
  edges: Edges,
  patience: number,
  deps: Deps,
): Promise<Verification[]> {
  const giveUpAt = deps.now().getTime() + Math.min(patience, timeLeft(deps));
  let settled: Verification[] = [];
  let waiting = [...domains];
  for (let pause = 500; ; pause = Math.min(pause * 2, 15_000)) {
    const read = await Promise.all(
      waiting.map(async (entry) => ({
        entry,
        readings: judge(await edges.read(entry.domain, entry.cname), fingerprint),
      })),
    );
    const left = giveUpAt - deps.now().getTime();
    const open = left > 0 ? read.filter(({ readings }) => !isServed(readings)) : [];
    const closed = read.filter((one) => !open.includes(one));
    for (const { entry, readings } of closed.filter((one) => isServed(one.readings))) {
      deps.log.info('served', { name, domain: entry.domain, edges: readings.length });
    }
    settled = [...settled, ...closed.flatMap(({ readings }) => readings)];
    waiting = open.map(({ entry }) => entry);
    if (waiting.length === 0) return settled;
    await deps.sleep(Math.min(pause, left));
  }
}

/** Served means: at least one edge answered, and every edge that answered serves it. */
export function isServed(verifications: readonly Verification[]): boolean {
  return (
    verifications.some(({ status }) => status === 'served') && !verifications.some(({ status }) => status === 'stale')
  );
}

export function judge(readings: readonly EdgeReading[], fingerprint: string): Verification[] {
  return readings.map(({ domain, edge, ...reading }) => {
    if (reading.fingerprint === undefined) return { domain, edge, status: 'unreachable' };
    // The one text for all edges: a run keeps it for each.
    if (reading.fingerprint === fingerprint) return { domain, edge, status: 'served', fingerprint };
    return { domain, edge, status: 'stale', fingerprint: reading.fingerprint };
  });
}

async function resolveEdges(resolver: Resolver, name: string): Promise<string[]> {
  const answers = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]);
  return answers
    .flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
    .map((address) => (isIPv6(address) ? `[${address}]:443` : `${address}:443`))
    .slice(0, MAX_EDGES);
}

/** Any certificate is looked at, also an invalid one: what is served is the question, not whether it is trusted. */
function handshake(
  edge: string,
  servername: string,
  secureContext: SecureContext,
): Promise<Omit<EdgeReading, 'domain' | 'edge'>> {
  const colon = edge.lastIndexOf(':');
  const host = edge.slice(0, colon).replace(/^\[|\]$/g, '');
  return new Promise((resolve) => {
    const port = Number(edge.slice(colon + 1));
    const socket = tls.connect({ host, port, servername, secureContext, rejectUnauthorized: false });
    const end = (reading: Omit<EdgeReading, 'domain' | 'edge'>) => {
      socket.destroy();
      resolve(reading);
    };
    socket.setTimeout(HANDSHAKE_TIMEOUT, () => end({ unreachable: 'no answer' }));
    socket.once('error', (error: NodeJS.ErrnoException) => end({ unreachable: error.code ?? error.message }));
    socket.once('close', () => end({ unreachable: 'the connection was closed' }));
    socket.once('secureConnect', () => {
      // Not getPeerX509Certificate(): of each handshake it keeps the chain for as long as the process lives.
      try {
        const { raw } = socket.getPeerCertificate();
        if (!raw) return end({ unreachable: 'it shows no certificate' });
        const leaf = new X509Certificate(raw);
        end({ fingerprint: leaf.fingerprint256.replaceAll(':', '').toLowerCase(), pem: leaf.toString() });
      } catch {
        // Out of an event's listener it would end the process, and all the other certificates' run with it.
        end({ unreachable: 'its certificate cannot be read' });
      }
    });
  });
}

let roots: readonly X509Certificate[] | undefined;

/** The roots that clients trust, as Mozilla has them: those that this Node brings. */
export function trustedRoots(): readonly X509Certificate[] {
  roots ??= tls.rootCertificates.map((pem) => new X509Certificate(pem));
  return roots;
}
