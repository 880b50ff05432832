import type { CredentialsProvider } from './aliyun/credentials.ts';
import { createFc } from './aliyun/fc.ts';
import { createKms } from './aliyun/kms.ts';
import { createOss, type Oss } from './aliyun/oss.ts';
import type { Rpc } from './aliyun/rpc.ts';
import type { Authorities } from './authorities.ts';
import { type Cloud, connectCloud } from './cloud.ts';
import type { Config } from './config.ts';
import type { Deps } from './deps.ts';
import type { Workers, WorkOrder } from './fanout.ts';
import type { WorkersAddress } from './invocation.ts';
import type { LedgerPart } from './ledger.ts';
import type { Ports } from './plan.ts';
import type { Store } from './record.ts';
import { retry } from './retry.ts';
import { createEncryptedStore } from './store/encrypted.ts';
import { createFileStore } from './store/file.ts';
import { createOssStore } from './store/oss.ts';
import { createEdges } from './verify.ts';

export interface ConnectOptions {
  /** A worker, which has its part of a run, calls the APIs at its part of the rate. */
  readonly part?: LedgerPart;
  /** Where there is one already. */
  readonly cloud?: Cloud;
}

/**
 * The ports of one run, as the configuration asks for them. Nothing is opened before it is used; `close` ends every
 * connection.
 */
export function connect(
  config: Config,
  credentials: CredentialsProvider,
  deps: Deps,
  { part, cloud = connectCloud(config, credentials, deps, part) }: ConnectOptions = {},
): Ports & { close(): void } {
  const { endpoints } = config;
  const { rpc, target } = cloud;
  const buckets = new Map<string, Oss>();
  const bucket = (name: string): Oss => {
    const opened = buckets.get(name) ?? createOss({ endpoint: endpoints.oss ?? '', bucket: name, credentials, deps });
    buckets.set(name, opened);
    return opened;
  };
  const store = openStore(config, bucket, rpc, deps);
  const share = 1 / (part?.shares ?? 1);
  const authorities = openAuthorities(config, { store, bucket, rpc, share, part, deps });
  return {
    target,
    edges: createEdges(config),
    store,
    authorities,
    close() {
      for (const connection of [rpc, authorities, ...buckets.values()]) connection.close();
    },
  };
}

/** The function that does parts of a run, started by FC's asynchronous invocation. */
export function connectWorkers(
  { count, address }: WorkersAddress,
  { endpoints }: Config,
  credentials: CredentialsProvider,
  deps: Deps,
): Workers {
  const fc = createFc({ credentials, endpoint: endpoints.fc, deps });
  return {
    count,
    async start(order: WorkOrder) {
      // A second one for the same attempt finds its share taken, and ends.
      await retry(() => fc.invokeAsync(address, JSON.stringify(order)), { deps, policy: { attempts: 3 } });
    },
  };
}

function openStore(
  { store: place, encryption, endpoints }: Config,
  bucket: (name: string) => Oss,
  rpc: Rpc,
  deps: Deps,
): Store {
  const store =
    place.type === 'file'
      ? createFileStore({ path: place.path })
      : createOssStore({ oss: bucket(place.bucket), prefix: place.prefix });
  if (!encryption) return store;
  const withKey =
    'kmsKeyId' in encryption ? { ...encryption, kms: createKms({ rpc, endpoint: endpoints.kms ?? '' }) } : encryption;
  return createEncryptedStore({ store, encryption: withKey, log: deps.log });
}

interface AuthoritiesContext {
  readonly store: Store;
  readonly bucket: (name: string) => Oss;
  readonly rpc: Rpc;
  /** The part of the call limits that is ours. */
  readonly share: number;
  readonly part: LedgerPart | undefined;
  readonly deps: Deps;
}

/**
 * The CAs, opened with the first question or order. Most runs have neither, and what speaks ACME and proves control is
 * half of all the code.
 */
function openAuthorities(config: Config, { store, bucket, rpc, share, part, deps }: AuthoritiesContext): Authorities {
  const { acme } = config;
  const authorities = [acme, ...acme.fallback];
  let opening: Promise<Authorities> | undefined;

  async function open(): Promise<Authorities> {
    const { createAuthorities } = await import('./authorities.ts');
    const { openSolver } = await import('./challenge/solver.ts');
    const solver = openSolver(config, bucket, { rpc, share, deps });
    const { interval } = config.renewal;
    return createAuthorities({ authorities, store, solver, interval, part, deps });
  }

  function opened(): Promise<Authorities> {
    opening ??= open();
    return opening;
  }

  return {
    directoryUrls: authorities.map(({ directoryUrl }) => directoryUrl),
    openAccount: async () => (await opened()).openAccount(),
    issue: async (...order) => (await opened()).issue(...order),
    renewalAdvice: async (...question) => (await opened()).renewalAdvice(...question),
    close() {
      opening?.then(
        (one) => one.close(),
        () => undefined,
      );
    },
  };
}
