import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import RPCClient from '@alicloud/pop-core/lib/rpc.js';
import { createCdn } from '../sandbox/cdn.ts';
import { makeCertificate } from '../sandbox/certificates.ts';
import type { RecordedCall } from '../sandbox/rpc-call.ts';
import { type RpcServer, startRpcServer } from '../sandbox/rpc-server.ts';
import { CREDENTIALS } from '../sandbox/world.ts';
import { type Figure, OURS, type Scale } from './figures.ts';
import type { PushOrder } from './push.ts';

const ACTION = 'SetDomainServerCertificate';
/** Calls a second that the API's page allows one account. */
const LIMIT = 10;

/** What somebody else switches off again and again: by it the server's record tells their calls from ours. */
const FOREIGN_DOMAIN = 'foreign.example.org';
/** Seconds after the first push at which the foreign calls begin, for how long, and how often one comes. */
const FOREIGN = { from: 4, lasting: 3, every: 0.02 };

interface Measured {
  readonly share: number;
  readonly throttled: number;
}

/** Certificates pushed to many domains against a server that counts every second strictly. */
export async function pushes({ runs, isSmall }: Scale): Promise<Figure[]> {
  const domains = isSmall ? 20 : 300;
  const measured: Record<1 | 2, Measured[]> = { 1: [], 2: [] };
  const recovered: number[] = [];
  for (let run = 0; run < runs; run += 1) {
    measured[1].push(judge(await push(domains, 1), domains));
    measured[2].push(judge(await push(domains, 2), domains));
    // Enough for the rate to be seen for five seconds after those in which it has to be whole again.
    recovered.push(recovery(await push(isSmall ? 60 : 180, 1, FOREIGN)));
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
    {
      section: 'pushes',
      what: `From the end of ${FOREIGN.lasting} s of foreign calls, ${1 / FOREIGN.every} a second, to the whole rate`,
      unit: 's',
      note: `The whole rate: a second and a tenth in which all ${LIMIT} calls are ours. Its begin counts.`,
      rows: [
        { who: OURS, values: recovered },
        { who: 'bound', values: [5], isBound: true },
      ],
    },
  ];
}

interface Pushed {
  /** As the server saw them: ours alone, in milliseconds. */
  readonly calls: readonly RecordedCall[];
  /** When the last foreign call arrived. */
  readonly foreignEnd: number;
}

async function push(domains: number, processes: 1 | 2, foreign?: typeof FOREIGN): Promise<Pushed> {
  const { chain, privateKey, fingerprint } = makeCertificate({
    names: ['*.example.com'],
    notBefore: new Date(Date.now() - 86_400_000),
    notAfter: new Date(Date.now() + 80 * 86_400_000),
  });
  const names = Array.from({ length: domains }, (_, nth) => `site-${nth}.example.com`);
  const server = await startRpcServer({
    products: [createCdn({ domains: [...names, FOREIGN_DOMAIN] })],
    accounts: [{ ...CREDENTIALS, userId: '1234567890123456' }],
  });
  try {
    const orders = Array.from({ length: processes }, (_, part): PushOrder => {
      const own = names.filter((_name, nth) => nth % processes === part);
      return { endpoint: server.url, credentials: CREDENTIALS, domains: own, chain, privateKey, fingerprint };
    });
    const done = Promise.all(orders.map((order) => carryOut(order)));
    if (foreign) await disturb(server, foreign);
    await done;
    const all = server.callsOf(ACTION);
    const isForeign = ({ parameters }: RecordedCall) => parameters['DomainName'] === FOREIGN_DOMAIN;
    return {
      calls: all.filter((call) => !isForeign(call)),
      foreignEnd: all.filter(isForeign).at(-1)?.at ?? 0,
    };
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

/** Somebody else who uses the limit up and heeds no refusal. */
async function disturb(server: RpcServer, { from, lasting, every }: typeof FOREIGN): Promise<void> {
  const client = new RPCClient({
    endpoint: server.url,
    apiVersion: '2018-05-10',
    accessKeyId: CREDENTIALS.accessKeyId,
    accessKeySecret: CREDENTIALS.accessKeySecret,
    securityToken: CREDENTIALS.securityToken,
  });
  const parameters = { DomainName: FOREIGN_DOMAIN, ServerCertificateStatus: 'off' };
  while (server.callsOf(ACTION).length === 0) await setTimeout(20);
  await setTimeout(from * 1000);
  const underWay: Promise<unknown>[] = [];
  for (let nth = 0; nth < lasting / every; nth += 1) {
    // Most are refused, as they are meant to be.
    underWay.push(client.request(ACTION, parameters, { method: 'POST' }).catch(() => undefined));
    await setTimeout(every * 1000);
  }
  await Promise.all(underWay);
}

/** From the first push to the last one that was let through, at the server. */
function judge({ calls }: Pushed, domains: number): Measured {
  const through = calls.filter(({ code }) => code === 'OK');
  const [first, last] = [calls[0]?.at ?? 0, through.at(-1)?.at ?? 0];
  if (through.length !== domains) throw new Error(`${through.length} of ${domains} pushes were let through`);
  const refused = calls.filter(({ code }) => code.startsWith('Throttling'));
  return {
    share: (last - first) / (((domains - 1) / LIMIT) * 1000),
    throttled: (100 * refused.length) / calls.length,
  };
}

/** Seconds from the last foreign call to the begin of the first second and a tenth that is wholly ours. */
function recovery({ calls, foreignEnd }: Pushed): number {
  const later = calls.filter(({ at, code }) => code === 'OK' && at > foreignEnd).map(({ at }) => at);
  const begin = later.find((at, nth) => (later[nth + LIMIT - 1] ?? Number.POSITIVE_INFINITY) - at < 1_100);
  return begin === undefined ? Number.POSITIVE_INFINITY : (begin - foreignEnd) / 1000;
}
