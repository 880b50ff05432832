/** An account that nothing has been deployed to, and the command line in front of it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { bundled } from '../bundle.ts';
import { createAlidns } from '../sandbox/alidns.ts';
import { type Cdn, createCdn } from '../sandbox/cdn.ts';
import { makeCa, makeCertificate } from '../sandbox/certificates.ts';
import { type Dns, startDns } from '../sandbox/dns.ts';
import type { NewRecord } from '../sandbox/dns-zone.ts';
import { type Oss, startOss } from '../sandbox/oss.ts';
import { createRos, type Ros, type RosOptions } from '../sandbox/ros.ts';
import type { Account } from '../sandbox/rpc-account.ts';
import { type RpcServer, startRpcServer } from '../sandbox/rpc-server.ts';
import { createSts } from '../sandbox/sts.ts';
import { autocert, type TerminalResult } from '../sandbox/terminal.ts';
import { CREDENTIALS } from '../sandbox/world.ts';

export const ACCOUNT_ID = '1234567890123456';
/** What the template calls the bucket, and the command line that of the code. */
export const BUCKET = `autocert-${ACCOUNT_ID}-cn-hangzhou`;
export const CODE_BUCKET = `autocert-code-${ACCOUNT_ID}-cn-hangzhou`;
export const KEY = Buffer.alloc(32, 7).toString('base64');

export interface Deployment {
  readonly ros: Ros;
  readonly oss: Oss;
  readonly cdn: Cdn;
  readonly dns: Dns;
  readonly rpc: RpcServer;
  /** The one user; a test may put another one in its place. */
  readonly accounts: Account[];
  /** A configuration that is right, with what the caller adds or replaces at the top level. */
  config(more?: Readonly<Record<string, unknown>>): Record<string, unknown>;
  run(
    args: readonly string[],
    config: unknown,
    environment?: Readonly<Record<string, string>>,
  ): Promise<TerminalResult>;
}

export interface DeploymentOptions extends Omit<RosOptions, 'account' | 'onResource'> {
  /** Zones of the account and their records. Default: example.com. */
  readonly zones?: Readonly<Record<string, readonly NewRecord[]>>;
  /** Zones that are not in the account. */
  readonly elsewhere?: Readonly<Record<string, readonly NewRecord[]>>;
  readonly caaIdentities?: readonly string[];
}

export async function startDeployment({
  zones = { 'example.com': [] },
  elsewhere = {},
  caaIdentities = ['ca.example'],
  ...rosOptions
}: DeploymentOptions = {}): Promise<Deployment> {
  // The command line that is tested is the built one.
  bundled('cli.mjs');
  const folder = await mkdtemp(join(tmpdir(), 'autocert-deploy-'));
  const dns = await startDns({ zones: { ...zones, ...elsewhere } });
  const others = Object.keys(elsewhere).map((zone) => [zone, { owner: 'other' as const }]);
  const alidns = createAlidns({ dns, domains: Object.fromEntries(others) });
  const cdn = createCdn();
  cdn.set('www.example.com');
  const oss = await startOss({ accounts: [CREDENTIALS], buckets: {} });
  const ros = createRos({
    ...rosOptions,
    account: ACCOUNT_ID,
    onResource: ({ action, type, properties }) => {
      if (action === 'CREATE' && type === 'ALIYUN::OSS::Bucket') oss.addBucket(String(properties['BucketName']));
    },
  });
  const accounts: Account[] = [{ ...CREDENTIALS, userId: ACCOUNT_ID }];
  const rpc = await startRpcServer({ products: [ros, createSts({ accountId: ACCOUNT_ID }), cdn, alidns], accounts });
  const ca = await startDirectory(caaIdentities);
  await writeFile(join(folder, 'ca.pem'), ca.caBundle);
  onTestFinished(async () => {
    await Promise.all([rpc.close(), oss.close(), dns.close(), ca.close()]);
    await rm(folder, { recursive: true });
  });

  return {
    ros,
    oss,
    cdn,
    dns,
    rpc,
    accounts,
    config: (more = {}) => ({
      acme: { directoryUrl: ca.url, contact: ['mailto:ops@example.com'] },
      dns: { resolvers: [dns.resolver] },
      verify: { patience: '1s', connect: '127.0.0.1:1' },
      certificates: [{ name: 'www', identifiers: ['www.example.com'] }],
      store: `oss://${BUCKET}/autocert`,
      encryption: { key: '${AUTOCERT_KEY}' },
      endpoints: { cdn: rpc.url, alidns: rpc.url, oss: oss.url },
      ...more,
    }),
    run: (args, config, environment = {}) =>
      autocert(args, {
        config,
        environment: {
          ALIBABA_CLOUD_REGION_ID: 'cn-hangzhou',
          ALIBABA_CLOUD_ROS_ENDPOINT: rpc.url,
          ALIBABA_CLOUD_STS_ENDPOINT: rpc.url,
          AUTOCERT_KEY: KEY,
          NODE_EXTRA_CA_CERTS: join(folder, 'ca.pem'),
          NO_COLOR: '1',
          ...environment,
        },
      }),
  };
}

/** A CA, as far as its directory goes. */
async function startDirectory(caaIdentities: readonly string[]) {
  const ca = makeCa('Sandbox ACME CA');
  const hour = 3_600_000;
  const { chain, privateKey } = makeCertificate({
    names: ['localhost'],
    notBefore: new Date(Date.now() - hour),
    notAfter: new Date(Date.now() + 24 * hour),
    issuer: ca,
  });
  const server = createServer({ cert: chain, key: privateKey }, (request, response) => {
    const origin = `https://${request.headers.host}`;
    response.setHeader('content-type', 'application/json').end(
      JSON.stringify({
        newNonce: `${origin}/nonce`,
        newAccount: `${origin}/account`,
        newOrder: `${origin}/order`,
        revokeCert: `${origin}/revoke`,
        keyChange: `${origin}/key`,
        meta: { caaIdentities },
      }),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `https://localhost:${port}/directory`,
    caBundle: `${ca.root}${ca.intermediate}`,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
