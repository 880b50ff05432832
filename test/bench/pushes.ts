import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createCdn } from '../sandbox/cdn.ts';
import { makeCertificate } from '../sandbox/certificates.ts';
import { type RpcServer, startRpcServer } from '../sandbox/rpc-server.ts';
import { CREDENTIALS } from '../sandbox/world.ts';
import { type Figure, OURS, type Scale } from './figures.ts';
import type { PushOrder } from './push.ts';

const ACTION = 'SetDomainServerCertificate';
/** Calls a second that the API's page allows one account. */
const LIMIT = 10;

interface Measured {
  readonly share: number;
  readonly throttled: number;
}

/** Certificates pushed to many domains against a server that counts every second strictly. */
export async function pushes({ runs, isSmall }: Scale): Promise<Figure[]> {
  const domains = isSmall ? 20 : 300;
  const measured: Record<1 | 2, Measured[]> = { 1: [], 2: [] };
  for (let run = 0; run < runs; run += 1) {
    measured[1].push(await push(domains, 1));
    measured[2].push(await push(domains, 2));
  }
  const rows = (key: keyof Measured, bounds: readonly [number, number]) => [
    { who: OURS, values: measured[1].map((one) => one[key]) },
    { who: 'bound', values: [bounds[0]], isBound: true },
    { who: `${OURS}, two processes`, values: measured[2].map((one) => one[key]) },
    { who: 'bound, two processes', values: [bounds[1]], isBound: true },
  ];
  return [
    {
      section: 'pushes',
      what: `${domains} domains pushed, against the ideal of ${(domains - 1) / LIMIT} s`,
      unit: 'times the ideal',
      rows: rows('share', [1.05, 1.15]),
    },
    { section: 'pushes', what: 'Pushes refused as one too many', unit: '%', rows: rows('throttled', [1, 5]) },
  ];
}

async function push(domains: number, processes: 1 | 2): Promise<Measured> {
  const { chain, privateKey, fingerprint } = makeCertificate({
    names: ['*.example.com'],
    notBefore: new Date(Date.now() - 86_400_000),
    notAfter: new Date(Date.now() + 80 * 86_400_000),
  });
  const names = Array.from({ length: domains }, (_, nth) => `site-${nth}.example.com`);
  const server = await startRpcServer({
    products: [createCdn({ domains: names })],
    accounts: [{ ...CREDENTIALS, userId: '1234567890123456' }],
  });
  try {
    const orders = Array.from({ length: processes }, (_, part): PushOrder => {
      const own = names.filter((_name, nth) => nth % processes === part);
      return { endpoint: server.url, credentials: CREDENTIALS, domains: own, chain, privateKey, fingerprint };
    });
    await Promise.all(orders.map(carryOut));
    return judge(server, domains);
  } finally {
    await server.close();
  }
}

async function carryOut(order: PushOrder): Promise<void> {
  const child = fork(new URL('./push.ts', import.meta.url), { execArgv: ['--import', 'tsx'] });
  child.send(order);
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`a process that pushed ended with ${code}`);
}

/** From the first push to the last one that was let through, at the server. */
function judge(server: RpcServer, domains: number): Measured {
  const calls = server.callsOf(ACTION);
  const through = calls.filter(({ code }) => code === 'OK');
  const [first, last] = [calls[0]?.at ?? 0, through.at(-1)?.at ?? 0];
  if (through.length !== domains) throw new Error(`${through.length} of ${domains} pushes were let through`);
  const refused = calls.filter(({ code }) => code.startsWith('Throttling'));
  return {
    share: (last - first) / (((domains - 1) / LIMIT) * 1000),
    throttled: (100 * refused.length) / calls.length,
  };
}
