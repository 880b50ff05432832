import { Resolver } from 'node:dns/promises';
import { setMaxListeners } from 'node:events';
import { type Deps, timeLeft } from '../deps.ts';
import { AutocertError, type ErrorCode } from '../errors.ts';

export interface DnsOptions {
  /** `ip`, `ip:port` or `[ipv6]:port`; none: those of the system. */
  readonly resolvers: readonly string[];
  /** Whose answer counts: every authoritative name server of the name, or every one of the resolvers. */
  readonly propagation: 'authoritative' | 'resolvers';
}

export interface Propagation {
  /**
   * Where a name leads to by CNAME records, lower case; the name itself when it has none. Throws DNS_CNAME_LOOP for a
   * chain that closes or is longer than eight (RFC 1034 section 3.6.2), DNS_LOOKUP_FAILED.
   */
  followCnames(name: string): Promise<string>;
  /**
   * Resolves once every server that counts answers the TXT value. One that does not answer at all, or says that the zone
   * is not its own, is left out after a few tries as long as another one answers; one that answers without the value is
   * waited for. Throws DNS_NOT_PROPAGATED that names the servers still without it; its time ends `reserve` before the
   * deadline, so that the record can still be taken away.
   */
  waitForTxt(name: string, value: string): Promise<void>;
}

export interface PropagationOptions {
  readonly dns: DnsOptions;
  readonly deps: Deps;
  /** Milliseconds to wait for one value. Default: 5 minutes. */
  readonly patience?: number;
  /** Milliseconds before the deadline in which nothing is waited for any more. Default: 10 seconds. */
  readonly reserve?: number;
}

const DEEPEST = 8;
/** Milliseconds for one query. */
const QUERY_TIMEOUT = 2_000;
/** After this many queries in a row without a usable answer a server is left out. */
const SILENT_AFTER = 3;
/** Milliseconds. What has waited long is asked for less often, so that the wait is longer than it need be by a tenth at most. */
const SHORTEST_POLL = 500;
const LONGEST_POLL = 5_000;
const POLL_SHARE = 1 / 10;

/** The name exists not, or has no record of the type: an answer. Everything else is the lack of one. */
const NO_RECORD = new Set(['ENOTFOUND', 'ENODATA']);

export function createPropagation({
  dns,
  deps,
  patience = 300_000,
  reserve = 10_000,
}: PropagationOptions): Propagation {
  const resolver = resolverFor(dns.resolvers, 2);
  /** Queries in a row that a server left without a usable answer, kept for the whole run: a dead server costs its time once. */
  const misses = new Map<string, number>();
  /** Of the name servers of a zone, in which many names can be. */
  const addresses = new Map<string, Promise<string[]>>();

  async function followCnames(name: string): Promise<string> {
    const seen = new Set<string>();
    let at = normalize(name);
    for (;;) {
      seen.add(at);
      const [next] = await look(at, 'CNAME', () => resolver.resolveCname(at));
      if (next === undefined) return at;
      at = normalize(next);
      if (seen.has(at) || seen.size > DEEPEST) throw cnameLoop(name, [...seen, at]);
    }
  }

  /** The records, an empty list when there certainly are none. Tried three times. */
  async function look(name: string, type: string, query: () => Promise<string[]>): Promise<string[]> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await query();
      } catch (error) {
        const code = errnoOf(error);
        if (NO_RECORD.has(code)) return [];
        if (attempt >= 3 || timeLeft(deps) < SHORTEST_POLL) throw lookupFailed(name, type, code);
        await deps.sleep(SHORTEST_POLL);
      }
    }
  }

  async function waitForTxt(name: string, value: string): Promise<void> {
    const servers = dns.propagation === 'resolvers' ? resolver.getServers() : await authoritativeServers(name);
    const began = deps.now().getTime();
    const end = Math.min(began + patience, deps.deadline.getTime() - reserve);
    /** What each server without the value said last. */
    const lagging = new Map(servers.map((server) => [server, 'has not been asked']));
    const over = new AbortController();
    // A zone can have more name servers than an emitter has listeners before it warns.
    setMaxListeners(0, over.signal);

    /** At least one server has the value, and those without it are such that nobody gets an answer from. */
    const isVisible = () =>
      lagging.size < servers.length && [...lagging.keys()].every((server) => (misses.get(server) ?? 0) >= SILENT_AFTER);

    async function watch(server: string): Promise<void> {
      const asked = resolverFor([server], 1);
      over.signal.addEventListener('abort', () => asked.cancel(), { once: true });
      for (;;) {
        // The last look begins when the wait is over, not before.
        const isLast = deps.now().getTime() >= end;
        const { usable, found, said } = await askTxt(asked, name, value);
        if (over.signal.aborted) return;
        misses.set(server, usable ? 0 : (misses.get(server) ?? 0) + 1);
        if (found) lagging.delete(server);
        else lagging.set(server, said);
        if (isVisible()) over.abort();
        if (found || over.signal.aborted || isLast) return;
        const now = deps.now().getTime();
        const pause = Math.min(LONGEST_POLL, Math.max(SHORTEST_POLL, (now - began) * POLL_SHARE));
        await deps.sleep(Math.max(0, Math.min(pause, end - now)), over.signal).catch(() => undefined);
        if (over.signal.aborted) return;
      }
    }

    await Promise.all(servers.map(watch));
    if (!isVisible()) throw notPropagated(name, lagging);
    for (const [server, said] of lagging) deps.log.warn('name_server_left_out', { name, server, said });
  }

  /**
   * The addresses of the name servers of the zone that the name is really in: the closest name above it that has NS
   * records. They are asked at the port of the first resolver, if that names one.
   */
  async function authoritativeServers(name: string): Promise<string[]> {
    const labels = normalize(name).split('.');
    for (let skip = 0; skip < labels.length; skip += 1) {
      const zone = labels.slice(skip).join('.');
      const hosts = await look(zone, 'NS', () => resolver.resolveNs(zone));
      if (hosts.length === 0) continue;
      const looking = addresses.get(zone) ?? addressesOf(zone, hosts);
      addresses.set(zone, looking);
      looking.catch(() => addresses.delete(zone));
      return looking;
    }
    throw lookupFailed(name, 'NS', 'ENODATA');
  }

  async function addressesOf(zone: string, hosts: readonly string[]): Promise<string[]> {
    const looked = await Promise.all(
      hosts.map(async (host) => [
        ...(await look(host, 'A', () => resolver.resolve4(host)).catch(() => [])),
        ...(await look(host, 'AAAA', () => resolver.resolve6(host)).catch(() => [])),
      ]),
    );
    const found = [...new Set(looked.flat())];
    if (found.length === 0) throw lookupFailed(zone, 'address of an NS', 'ENODATA');
    const port = /^(?:\[[^\]]+\]|[^:]+):(\d+)$/.exec(dns.resolvers[0] ?? '')?.[1];
    return found.map((address) => withPort(address, port));
  }

  return { followCnames, waitForTxt };
}

async function askTxt(
  resolver: Resolver,
  name: string,
  value: string,
): Promise<{ usable: boolean; found: boolean; said: string }> {
  try {
    const found = (await resolver.resolveTxt(name)).some((chunks) => chunks.join('') === value);
    return { usable: true, found, said: 'answers with other values' };
  } catch (error) {
    const code = errnoOf(error);
    const usable = NO_RECORD.has(code);
    return {
      usable,
      found: false,
      said: usable ? 'answers that there is no such record' : `gives no answer (${code})`,
    };
  }
}

function resolverFor(servers: readonly string[], tries: number): Resolver {
  const resolver = new Resolver({ timeout: QUERY_TIMEOUT, tries });
  try {
    if (servers.length > 0) resolver.setServers(servers);
  } catch {
    const remedy =
      'Write each of dns.resolvers as an IP address, with a port if need be: 223.5.5.5, 127.0.0.1:5353, [::1]:5353.';
    throw failure('CONFIG_INVALID', false, `dns.resolvers: ${servers.join(', ')} are not all addresses`, remedy);
  }
  return resolver;
}

function withPort(address: string, port: string | undefined): string {
  if (port === undefined) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function normalize(name: string): string {
  return name.toLowerCase().replace(/\.$/, '');
}

function errnoOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown';
}

function failure(code: ErrorCode, retryable: boolean, message: string, remedy: string): AutocertError {
  return new AutocertError({ code, message, retryable, remedy });
}

function lookupFailed(name: string, type: string, errno: string): AutocertError {
  const remedy = `Check that ${name} resolves from the function, and that dns.resolvers are reachable from it.`;
  return failure('DNS_LOOKUP_FAILED', true, `the ${type} lookup of ${name} failed (${errno})`, remedy);
}

function cnameLoop(name: string, chain: readonly string[]): AutocertError {
  const message = `the CNAME records of ${name} lead nowhere: ${chain.join(' -> ')}`;
  return failure(
    'DNS_CNAME_LOOP',
    false,
    message,
    `Correct the CNAME records of ${name}: at most ${DEEPEST}, and no circle.`,
  );
}

function notPropagated(name: string, lagging: ReadonlyMap<string, string>): AutocertError {
  const who = [...lagging].map(([server, said]) => `${server} ${said}`).join(', ');
  const remedy = `Check with \`dig TXT ${name}\` at the servers named, and that the NS records of the zone are those of Alibaba Cloud DNS.`;
  return failure('DNS_NOT_PROPAGATED', true, `the TXT record of ${name} is not visible everywhere: ${who}`, remedy);
}
