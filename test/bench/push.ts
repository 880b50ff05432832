/** One of the processes of `pushes`: pushes one certificate to many domains, as a run does, and ends. */
import { setTimeout } from 'node:timers/promises';
import { createCdn } from '../../src/aliyun/cdn.ts';
import { createRpc } from '../../src/aliyun/rpc.ts';
import type { Deps } from '../../src/deps.ts';
import { Secret } from '../../src/secret.ts';
import { createCdnTarget } from '../../src/target/cdn.ts';

export interface PushOrder {
  readonly endpoint: string;
  readonly credentials: {
    readonly accessKeyId: string;
    readonly accessKeySecret: string;
    readonly securityToken: string;
  };
  readonly domains: readonly string[];
  readonly chain: string;
  readonly privateKey: string;
  readonly fingerprint: string;
}

/** Minutes that are more than enough. */
const PATIENCE = 5;

const silent = (): void => {};
const deps: Deps = {
  now: () => new Date(),
  random: Math.random,
  sleep: (milliseconds, signal) => setTimeout(milliseconds, undefined, signal && { signal }),
  deadline: new Date(Date.now() + PATIENCE * 60_000),
  log: { debug: silent, info: silent, warn: silent, error: silent },
};

process.once('message', async (message) => {
  const { endpoint, credentials, domains, chain, privateKey, fingerprint } = message as PushOrder;
  const { accessKeyId, accessKeySecret, securityToken } = credentials;
  const rpc = createRpc({
    credentials: async () => ({
      accessKeyId,
      accessKeySecret: new Secret(accessKeySecret),
      securityToken: new Secret(securityToken),
    }),
    deps,
  });
  const cdn = createCdn({ rpc, endpoint, api: 'SetDomainServerCertificate', callsPerSecond: 10, deps });
  const target = createCdnTarget({ cdn });
  const certificate = { chain, privateKey: new Secret(privateKey), fingerprint };
  await target.list();
  await Promise.all(domains.map((domain) => target.deploy(domain, certificate)));
  rpc.close();
  process.disconnect();
});
