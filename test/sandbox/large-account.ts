/** An account with as many HTTPS domains as one likes, all of them healthy, and a store that knows their certificates. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { createCdn } from './cdn.ts';
import { makeCertificate } from './certificates.ts';
import { type Edge, startEdge } from './edge.ts';
import { type InvocationResult, invoke } from './fc.ts';
import { type RpcServer, startRpcServer } from './rpc-server.ts';
import { CREDENTIALS } from './world.ts';

export interface LargeAccount {
  readonly rpc: RpcServer;
  readonly storePath: string;
  /** The server names of all handshakes with the edge so far; none without one. */
  readonly asked: readonly string[];
  /** The index as the store has it. */
  readonly index: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** The built `renew`, invoked once in a process of its own. */
  renew(environment?: Readonly<Record<string, string>>, config?: unknown): Promise<InvocationResult>;
  /** The built `watch`, likewise. */
  watch(): Promise<InvocationResult>;
  close(): Promise<void>;
}

export interface LargeAccountOptions {
  readonly domains: number;
  /** How many of them have a certificate that somebody else put there. Default: none. */
  readonly foreign?: number;
  /** Without an edge every domain's edges are out of reach, which says nothing about its certificate. */
  readonly withEdge: boolean;
  readonly now?: Date;
}

const DAY = 86_400_000;
/** MB: what the template gives to the function. */
const MEMORY = 256;
/** Nobody listens there. What has advice that is still good asks no CA. */
const NOBODY = '127.0.0.1:1';
const NO_CA = `https://${NOBODY}/dir`;

export async function startLargeAccount({
  domains,
  foreign = 0,
  withEdge,
  now = new Date(),
}: LargeAccountOptions): Promise<LargeAccount> {
  const notBefore = new Date(Math.floor(now.getTime() / 1000) * 1000 - 10 * DAY);
  const notAfter = new Date(notBefore.getTime() + 90 * DAY);
  // One for all: what an account of this size costs does not depend on whether its certificates differ.
  const certificate = makeCertificate({ names: ['*.example.com'], notBefore, notAfter });
  const cdn = createCdn();
  const [ours, theirs] = ['autocert-cdn-_example_com', 'by-hand'];
  const stored = { ...certificate, certType: 'upload' } as const;
  cdn.purchase('.example.org', { ...stored, certName: ours });
  cdn.purchase('.example.net', { ...stored, certName: theirs });
  const names = Array.from({ length: domains }, (_, nth) => `site-${String(nth).padStart(6, '0')}.example.com`);
  for (const [nth, name] of names.entries())
    cdn.set(name, { certName: nth < foreign ? theirs : ours, sslProtocol: 'on' });
  // The two that brought the certificate into the account are no part of it.
  for (const helper of ['.example.org', '.example.net']) cdn.state.domains.delete(helper);

  const rpc = await startRpcServer({
    products: [cdn],
    accounts: [{ ...CREDENTIALS, userId: '1234567890123456' }],
  });
  const edge = withEdge ? await startWildcardEdge(stored) : undefined;
  const storePath = await mkdtemp(join(tmpdir(), 'autocert-large-'));
  const index = JSON.stringify({
    version: 1,
    working: [],
    records: names
      .slice(foreign)
      .map((name) =>
        recordOf(name, { fingerprint: certificate.fingerprint, notBefore, notAfter, certName: ours, now }),
      ),
  });
  await writeFile(join(storePath, 'index.json'), `${index}\n`);
  const config = {
    acme: { directoryUrl: NO_CA, contact: ['mailto:ops@example.com'] },
    discover: { include: ['*.example.com'], keyType: 'ec256' },
    dns: { resolvers: ['127.0.0.1:1'] },
    verify: { patience: '1s', connect: edge?.address ?? NOBODY },
    store: pathToFileURL(storePath).href,
    endpoints: { cdn: rpc.url, alidns: rpc.url },
  };
  return {
    rpc,
    asked: edge?.asked ?? [],
    storePath,
    index,
    config,
    renew: (environment = {}, configuration = config) =>
      invoke({
        file: new URL('../../dist/renew.mjs', import.meta.url).href,
        event: JSON.stringify({ triggerTime: '2026-01-02T03:04:05Z', triggerName: 'every-6h', payload: '' }),
        environment: { AUTOCERT_CONFIG: JSON.stringify(configuration), ...environment },
        credentials: CREDENTIALS,
        memory: MEMORY,
      }),
    watch: () =>
      invoke({
        file: new URL('../../dist/watch.mjs', import.meta.url).href,
        event: JSON.stringify({ triggerTime: '2026-01-02T03:04:05Z', triggerName: 'every-1h', payload: '' }),
        environment: { AUTOCERT_CONFIG: JSON.stringify(config) },
        credentials: CREDENTIALS,
        memory: MEMORY,
      }),
    async close() {
      await Promise.all([rpc.close(), edge?.close()]);
      await rm(storePath, { recursive: true, force: true });
    },
  };
}

/** An edge of the one wildcard domain that all the names are below of: a context for each name would take a gigabyte. */
function startWildcardEdge(certificate: { readonly chain: string; readonly privateKey: string }): Promise<Edge> {
  const cdn = createCdn();
  cdn.purchase('.example.com', { ...certificate, certType: 'upload' });
  return startEdge({ name: 'edge', cdn });
}

interface Known {
  readonly fingerprint: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly certName: string;
  readonly now: Date;
}

function recordOf(name: string, { fingerprint, notBefore, notAfter, certName, now }: Known): object {
  const selectedTime = new Date(notBefore.getTime() + 60 * DAY).toISOString();
  return {
    version: 1,
    name,
    certificate: {
      fingerprint,
      serial: '00',
      identifiers: [name],
      keyType: 'ec256',
      directoryUrl: NO_CA,
      notBefore: notBefore.toISOString(),
      notAfter: notAfter.toISOString(),
      certId: 'aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE',
    },
    advice: {
      start: selectedTime,
      end: new Date(notBefore.getTime() + 62 * DAY).toISOString(),
      selectedTime,
      retryAfter: new Date(now.getTime() + DAY).toISOString(),
    },
    deployed: { [name]: certName },
  };
}
