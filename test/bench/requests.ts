import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type FaultyWorld, startFaultyWorld } from '../sandbox/faulty-world.ts';
import { type Figure, OURS, type Row, type Scale } from './figures.ts';
import { type Peer, peers } from './peers.ts';
import { startRecordServer } from './record-server.ts';

/** Requests and seconds for each certificate of one run. */
interface Measured {
  readonly requests: number;
  readonly seconds: number;
}

/** The protocol's own: newOrder, authorization, challenge, order, finalize, certificate. */
const FLOOR = 6;
const BOUND = 7.2;

/** Certificates of one name each, by dns-01, from the same Pebble through the same proxy that counts. */
export async function requests({ runs, isSmall }: Scale): Promise<Figure[]> {
  const certificates = isSmall ? 2 : 20;
  const found = await peers();
  const work = await mkdtemp(join(tmpdir(), 'autocert-bench-'));
  const measured = new Map<string, Measured[]>();
  const keep = (who: string, one: Measured) => measured.set(who, [...(measured.get(who) ?? []), one]);
  try {
    for (let run = 0; run < runs; run += 1) {
      // A world for each: nobody finds an account, an authorization or a connection of somebody else.
      keep(OURS, await inWorld((faulty) => ours(faulty, certificates)));
      keep(`${OURS}, one at a time`, await inWorld((faulty) => oursInTurn(faulty, certificates)));
      for (const peer of found.present) {
        const folder = join(work, `${peer.name}-${run}`.replaceAll(/\W/g, '-'));
        keep(peer.name, await inWorld((faulty) => theirs(peer, faulty, certificates, folder)));
      }
    }
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  const rows = (key: keyof Measured): Row[] =>
    [...measured].map(([who, all]) => ({ who, values: all.map((one) => one[key]) }));
  const note = found.absent.map(({ name, reason }) => `${name} was not measured: ${reason}`).join('; ');
  return [
    {
      section: 'requests',
      what: `Requests to the CA for each of ${certificates} certificates, account and nonces included`,
      unit: 'requests',
      ...(note !== '' && { note }),
      rows: [
        ...rows('requests'),
        { who: 'bound', values: [BOUND], isBound: true },
        { who: 'the protocol’s floor', values: [FLOOR], isBound: true },
      ],
    },
    { section: 'requests', what: 'Time for each certificate', unit: 's', rows: rows('seconds') },
  ];
}

async function inWorld(measure: (faulty: FaultyWorld) => Promise<Measured>): Promise<Measured> {
  const faulty = await startFaultyWorld();
  try {
    return await measure(faulty);
  } finally {
    await faulty.close();
  }
}

function domainsFor(certificates: number): string[] {
  return Array.from({ length: certificates }, (_, nth) => `site-${nth + 1}.example.com`);
}

async function ours({ world, proxy, certificatesFor }: FaultyWorld, certificates: number): Promise<Measured> {
  const config = certificatesFor(domainsFor(certificates));
  const startedAt = performance.now();
  const { report } = await world.renew(config);
  const seconds = (performance.now() - startedAt) / 1000;
  const renewed = report.outcomes.filter(({ status }) => status === 'renewed').length;
  if (renewed !== certificates) throw new Error(`${renewed} of ${certificates} certificates were issued`);
  return { requests: proxy.requests.length / certificates, seconds: seconds / certificates };
}

/** A process for each certificate, as the peers run. */
async function oursInTurn({ world, proxy, certificatesFor }: FaultyWorld, certificates: number): Promise<Measured> {
  const domains = domainsFor(certificates);
  const config = certificatesFor(domains);
  const startedAt = performance.now();
  for (const domain of domains) await world.renew(config, { payload: { only: [domain] } });
  const seconds = (performance.now() - startedAt) / 1000;
  return { requests: proxy.requests.length / certificates, seconds: seconds / certificates };
}

async function theirs(
  peer: Peer,
  { world, proxy }: FaultyWorld,
  certificates: number,
  folder: string,
): Promise<Measured> {
  const records = await startRecordServer(world.dns, 'example.com');
  try {
    const startedAt = performance.now();
    await peer.issue(domainsFor(certificates), {
      directoryUrl: proxy.directoryUrl,
      caBundlePath: proxy.caBundlePath,
      recordsUrl: records.url,
      resolver: world.dns.resolver,
      folder,
    });
    const seconds = (performance.now() - startedAt) / 1000;
    return { requests: proxy.requests.length / certificates, seconds: seconds / certificates };
  } finally {
    await records.close();
  }
}
