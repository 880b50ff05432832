import { createAlidns } from './aliyun/alidns.ts';
import { createCdn } from './aliyun/cdn.ts';
import type { CredentialsProvider } from './aliyun/credentials.ts';
import { createKms } from './aliyun/kms.ts';
import { createOss, type Oss } from './aliyun/oss.ts';
import { createRpc, type Rpc } from './aliyun/rpc.ts';
import { createAuthorities } from './authorities.ts';
import { createAlidnsSolver } from './challenge/alidns.ts';
import { createOssSolver } from './challenge/oss.ts';
import type { Config } from './config.ts';
import type { Deps } from './deps.ts';
import type { Solver } from './issue.ts';
import type { Ports } from './reconcile.ts';
import type { Store } from './record.ts';
import { createEncryptedStore } from './store/encrypted.ts';
import { createFileStore } from './store/file.ts';
import { createOssStore } from './store/oss.ts';
import { createCdnTarget } from './target/cdn.ts';
import { createEdges } from './verify.ts';

/** The ports of one run, as the configuration asks for them. Nothing is opened before it is used; `close` ends every connection. */
export function connect(config: Config, credentials: CredentialsProvider, deps: Deps): Ports & { close(): void } {
  const { acme, cdn, endpoints } = config;
  const rpc = createRpc({ credentials, deps });
  const buckets = new Map<string, Oss>();
  const bucket = (name: string): Oss => {
    const opened = buckets.get(name) ?? createOss({ endpoint: endpoints.oss ?? '', bucket: name, credentials, deps });
    buckets.set(name, opened);
    return opened;
  };
  const store = openStore(config, bucket, rpc, deps);
  const solver = openSolver(config, bucket, rpc, deps);
  const { interval } = config.renewal;
  const authorities = createAuthorities({ authorities: [acme, ...acme.fallback], store, solver, interval, deps });
  return {
    target: createCdnTarget({ cdn: createCdn({ rpc, endpoint: endpoints.cdn, ...cdn, deps }) }),
    edges: createEdges(config),
    store,
    authorities,
    close() {
      for (const connection of [rpc, authorities, ...buckets.values()]) connection.close();
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

function openSolver(
  { challenge, dns, endpoints }: Config,
  bucket: (name: string) => Oss,
  rpc: Rpc,
  deps: Deps,
): Solver {
  if (challenge.type === 'http-01') return createOssSolver({ oss: bucket(challenge.bucket), prefix: challenge.prefix });
  return createAlidnsSolver({ alidns: createAlidns({ rpc, endpoint: endpoints.alidns, deps }), dns, deps });
}
