/** A whole world on loopback for one account: CA, DNS, cloud API, two edges, a store; and the function that works in it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { RunReport } from '../../src/report.ts';
import { type Alidns, createAlidns } from './alidns.ts';
import { type Cdn, createCdn } from './cdn.ts';
import { type Dns, startDns } from './dns.ts';
import { type Edge, startEdge } from './edge.ts';
import { type InvocationResult, invoke } from './fc.ts';
import { createKms } from './kms.ts';
import { type Pebble, type PebbleOptions, startPebble } from './pebble.ts';
import type { Product } from './product.ts';
import type { Account } from './rpc-account.ts';
import { type RpcServer, startRpcServer } from './rpc-server.ts';

export interface World {
  readonly pebble: Pebble;
  readonly dns: Dns;
  readonly alidns: Alidns;
  readonly cdn: Cdn;
  readonly rpc: RpcServer;
  readonly edges: readonly [Edge, Edge];
  /** The gateway reads it anew for each call. */
  readonly accounts: Account[];
  readonly storePath: string;
  /** The configuration that points at this world, with what the caller adds or replaces at the top level. */
  config(more: Readonly<Record<string, unknown>>): Record<string, unknown>;
  /** A built function, by the name of its module, invoked as FC would, in a process of its own. */
  invoke(
    name: string,
    event: unknown,
    config: unknown,
    options?: Omit<RenewOptions, 'payload'>,
  ): Promise<InvocationResult>;
  /** The built `renew`, invoked so. */
  renew(config: unknown, options?: RenewOptions): Promise<Renewal>;
  close(): Promise<void>;
}

export interface RenewOptions {
  /** The timer's payload. */
  readonly payload?: { readonly only?: readonly string[]; readonly force?: boolean };
  readonly environment?: Readonly<Record<string, string>>;
  /** Seconds. */
  readonly timeout?: number;
  readonly credentials?: {
    readonly accessKeyId: string;
    readonly accessKeySecret: string;
    readonly securityToken: string;
  };
  readonly onLine?: (line: string) => void;
}

export interface Renewal extends InvocationResult {
  /** What the handler returned, or what the error that it threw carries: the last log line has it in either case. */
  readonly report: RunReport;
}

/** The one key of the account in KMS. */
export const KMS_KEY = 'key-hzz0000sandbox';

/** What the function's role gets: temporary credentials. */
export const CREDENTIALS = {
  accessKeyId: 'STS.NSandboxFunctionRole',
  accessKeySecret: 'sandbox-role-secret-9f2d',
  securityToken: 'sandbox-security-token-7c1e',
};

export interface WorldOptions {
  readonly pebble?: Omit<PebbleOptions, 'dnsServer'>;
  /** Zones of the account, empty of records. */
  readonly zones: readonly string[];
  /** The clock of the cloud API. Default: the real one. */
  readonly now?: () => Date;
  /** Calls a second that the CDN's API takes of each action. Default: the documented numbers. */
  readonly cdnCallsPerSecond?: number;
}

export async function startWorld({
  pebble: pebbleOptions,
  zones,
  now,
  cdnCallsPerSecond,
}: WorldOptions): Promise<World> {
  const dns = await startDns({ zones: Object.fromEntries(zones.map((zone) => [zone, []])) });
  const pebble = await startPebble({ ...pebbleOptions, dnsServer: dns.resolver });
  const cdn = createCdn();
  const alidns = createAlidns({ dns });
  const accounts: Account[] = [{ ...CREDENTIALS, userId: '1234567890123456' }];
  const products = [
    cdnCallsPerSecond === undefined ? cdn : withRate(cdn, cdnCallsPerSecond),
    alidns,
    createKms([{ keyId: KMS_KEY }]),
  ];
  const rpc = await startRpcServer({ products, accounts, ...(now && { now }) });
  const edges = [await startEdge({ name: 'edge-a', cdn }), await startEdge({ name: 'edge-b', cdn })] as const;
  const storePath = await mkdtemp(join(tmpdir(), 'autocert-store-'));

  const config: World['config'] = (more) => ({
    acme: {
      directoryUrl: pebble.directoryUrl,
      contact: ['mailto:ops@example.com'],
      caBundle: pebble.caBundlePath,
      // Pebble gives an order that names no profile a random one.
      profile: 'default',
    },
    dns: { resolvers: [dns.resolver] },
    verify: { patience: '20s', connect: edges.map(({ address }) => address) },
    store: pathToFileURL(storePath).href,
    endpoints: { cdn: rpc.url, alidns: rpc.url, kms: rpc.url },
    ...more,
  });

  const invokeFunction: World['invoke'] = (name, event, configuration, options = {}) =>
    invoke({
      file: new URL(`../../dist/${name}.mjs`, import.meta.url).href,
      event: typeof event === 'string' ? event : JSON.stringify(event),
      environment: { AUTOCERT_CONFIG: JSON.stringify(configuration), ...options.environment },
      credentials: options.credentials ?? CREDENTIALS,
      ...(options.timeout !== undefined && { timeout: options.timeout }),
      ...(options.onLine && { onLine: options.onLine }),
    });

  return {
    pebble,
    dns,
    alidns,
    cdn,
    rpc,
    edges,
    accounts,
    storePath,
    config,
    invoke: invokeFunction,
    async renew(configuration, options = {}) {
      const payload = options.payload ? JSON.stringify(options.payload) : '';
      const event = { triggerTime: '2026-01-02T03:04:05Z', triggerName: 'every-6h', payload };
      const invocation = await invokeFunction('renew', event, configuration, options);
      return { ...invocation, report: reportOf(invocation) };
    },
    async close() {
      await Promise.all([...edges.map((edge) => edge.close()), rpc.close(), pebble.close()]);
      await dns.close();
      await rm(storePath, { recursive: true, force: true });
    },
  };
}

function withRate(product: Product, callsPerSecond: number): Product {
  const actions = Object.entries(product.actions).map(([name, action]) => [name, { ...action, callsPerSecond }]);
  return { ...product, actions: Object.fromEntries(actions) };
}

function reportOf({ lines, error }: InvocationResult): RunReport {
  const finished = lines.flatMap(parseLine).find((line) => line['event'] === 'run_finished');
  if (finished) return finished['report'] as RunReport;
  throw new Error(`The run left no report: ${error?.errorMessage}\n${lines.slice(-20).join('\n')}`);
}

/** A log line as an object; nothing for what is not one of ours. */
export function parseLine(line: string): Record<string, unknown>[] {
  try {
    return [JSON.parse(line)];
  } catch {
    return [];
  }
}
