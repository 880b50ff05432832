import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startWorld, type World } from '../sandbox/world.ts';
import { type Figure, median, OURS, type Scale } from './figures.ts';
import { type Peer, peers } from './peers.ts';
import { startRecordServer } from './record-server.ts';
import { startSlowLink } from './slow-link.ts';

/** Milliseconds: what every request to the CA takes longer, and how long a record is written before it is seen. */
const LATENCY = 100;
const PROPAGATION = 5_000;
/** Milliseconds between two writes to one zone of Alidns: sooner, and it is LastOperationNotFinished. */
const BETWEEN_WRITES = 500;
/** Calls a second that Alidns allows of AddDomainRecord and of DeleteDomainRecord, each. */
const WRITES_PER_SECOND = 60;
/** Requests a second that Let's Encrypt takes of one address: https://letsencrypt.org/docs/rate-limits/. */
const REQUESTS_PER_SECOND = 250;
/** The CDN's own limit is the figure of another section: here it is out of the way. */
const PUSHES_PER_SECOND = 100;
const BOUND = 1.3;
const SHARE_OF_LEGO = 10;

interface Measured {
  readonly seconds: number;
  readonly requests: number;
}

interface Size {
  readonly certificates: number;
  readonly zones: number;
}

/** A run for many certificates, far from the CA and with a slow DNS: everything that can wait at once waits at once. */
export async function latency({ runs, isSmall }: Scale): Promise<Figure[]> {
  const certificates = isSmall ? 10 : 100;
  const sizes: readonly Size[] = [
    { certificates, zones: 10 },
    { certificates, zones: 1 },
  ];
  const samples = isSmall ? 1 : 5;
  const measured = sizes.map((): Measured[] => []);
  const theirs: number[] = [];
  const found = (await peers()).present.find(({ name }) => name.startsWith('lego'));
  for (let run = 0; run < runs; run += 1) {
    for (const [nth, size] of sizes.entries()) measured[nth]?.push(await ours(size));
    if (found) theirs.push(certificates * median(await inTurn(found, samples)));
  }
  const nameOf = ({ zones }: Size) => (zones === 1 ? 'in one zone' : `in ${zones} zones`);
  const bounds = sizes.map(boundOf);
  const lego = found ? `${found.name}, ${certificates} times the median of ${samples} certificates` : 'lego';
  const what = `${certificates} certificates, ${LATENCY} ms at the CA, ${PROPAGATION / 1000} s until a record is seen`;
  const section = 'latency';
  return [
    {
      section,
      what,
      unit: 's',
      note: sizes.map((size, nth) => `bound ${nameOf(size)}: ${bounds[nth]?.parts}`).join('\n  '),
      rows: [
        ...sizes.flatMap((size, nth) => [
          { who: `${OURS}, ${nameOf(size)}`, values: (measured[nth] ?? []).map(({ seconds }) => seconds) },
          { who: `bound, ${nameOf(size)}`, values: [bounds[nth]?.seconds ?? 0], isBound: true },
        ]),
        ...(found
          ? [
              { who: lego, values: theirs },
              { who: `a ${SHARE_OF_LEGO}th of it`, values: [median(theirs) / SHARE_OF_LEGO], isBound: true },
            ]
          : []),
      ],
    },
    {
      section,
      what: `${what}: time against the bound`,
      unit: 'times the bound',
      rows: [
        ...sizes.map((size, nth) => ({
          who: `${OURS}, ${nameOf(size)}`,
          values: (measured[nth] ?? []).map(({ seconds }) => seconds / (bounds[nth]?.seconds ?? 0)),
        })),
        { who: 'bound', values: [BOUND], isBound: true },
      ],
    },
    {
      section,
      what: `${what}: requests to the CA for each`,
      unit: 'requests',
      rows: sizes.map((size, nth) => ({
        who: `${OURS}, ${nameOf(size)}`,
        values: (measured[nth] ?? []).map(({ requests }) => requests),
      })),
    },
  ];
}

/**
 * What no client can do better, in seconds. Before the first record is written come the connection, directory, new-nonce,
 * newAccount, newOrder and authorization; after the last one is seen challenge and order, then its deletion, then
 * finalize, order and certificate. A zone takes its writes one after the other, an addition and a deletion for each name.
 */
function boundOf({ certificates, zones }: Size): { readonly seconds: number; readonly parts: string } {
  const inZone = Math.ceil(certificates / zones);
  const [before, until, after] = [6, 2, 3].map((requests) => (requests * LATENCY) / 1000) as [number, number, number];
  const [spacing, seen] = [BETWEEN_WRITES / 1000, PROPAGATION / 1000];
  const lastName = (inZone - 1) * spacing + seen + until;
  const writes = (2 * inZone - 1) * spacing;
  const calls = (certificates - 1) / WRITES_PER_SECOND + seen + until;
  const zone = Math.max(lastName, writes, calls);
  const requests = (7 * certificates) / REQUESTS_PER_SECOND;
  const seconds = Math.max(before + zone + after, requests);
  const why =
    zone === writes
      ? `${2 * inZone} writes to a zone ${spacing} s apart ${writes.toFixed(1)}`
      : `the last of ${inZone} records of a zone ${((inZone - 1) * spacing).toFixed(1)} + propagation ${seen} + 2 requests ${until}`;
  const limits = `the CA's limit alone ${requests.toFixed(1)}, Alidns' ${((certificates - 1) / WRITES_PER_SECOND).toFixed(1)}`;
  return { seconds, parts: `6 requests ${before} + ${why} + 3 requests ${after} = ${seconds.toFixed(1)} s; ${limits}` };
}

async function ours({ certificates, zones }: Size): Promise<Measured> {
  const names = Array.from({ length: zones }, (_, nth) => `zone-${nth}.example`);
  return farAway(names, async (world, directoryUrl) => {
    for (const zone of names) world.alidns.setDomain(zone, { writeIntervalMs: BETWEEN_WRITES });
    const domains = Array.from({ length: certificates }, (_, nth) => `site-${nth}.${names[nth % zones]}`);
    for (const domain of domains) world.cdn.set(domain);
    const base = world.config({ cdn: { callsPerSecond: PUSHES_PER_SECOND } });
    const config = {
      ...base,
      acme: { ...(base['acme'] as object), directoryUrl },
      certificates: domains.map((domain) => ({ name: domain, identifiers: [domain], keyType: 'ec256' })),
    };
    const startedAt = performance.now();
    const { error, report, lines } = await world.renew(config);
    const seconds = (performance.now() - startedAt) / 1000;
    if (error) throw new Error(`${error.errorMessage}: ${lines.find((line) => line.includes('certificate_failed'))}`);
    const other = report.outcomes.find(({ status }) => status !== 'renewed');
    if (other) throw new Error(`${other.name} was ${other.status}: ${other.error?.message}`);
    const requests = world.pebble.log.filter((line) => /^(GET|HEAD|POST) \/(?!roots)/.test(line)).length;
    return { seconds, requests: requests / certificates };
  });
}

/** Seconds of each certificate, a process for each. */
async function inTurn(peer: Peer, certificates: number): Promise<number[]> {
  return farAway(['example.com'], async (world, directoryUrl) => {
    const records = await startRecordServer(world.dns, 'example.com');
    const folder = await mkdtemp(join(tmpdir(), 'autocert-bench-'));
    const seconds: number[] = [];
    try {
      const { caBundlePath } = world.pebble;
      const { resolver } = world.dns;
      const where = { directoryUrl, caBundlePath, recordsUrl: records.url, resolver, waitsForDns: true, folder };
      for (let nth = 0; nth < certificates; nth += 1) {
        const startedAt = performance.now();
        await peer.issue([`site-${nth}.example.com`], where);
        seconds.push((performance.now() - startedAt) / 1000);
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
      await records.close();
    }
    return seconds;
  });
}

/** A world whose CA is far away and whose name servers take their time. */
async function farAway<T>(
  zones: readonly string[],
  measure: (world: World, directoryUrl: string) => Promise<T>,
): Promise<T> {
  const env = { PEBBLE_AUTHZREUSE: '0', PEBBLE_WFE_NONCEREJECT: '0' };
  const world = await startWorld({ zones, pebble: { env }, cdnCallsPerSecond: PUSHES_PER_SECOND });
  const { port, pathname } = new URL(world.pebble.directoryUrl);
  const link = await startSlowLink(Number(port), LATENCY);
  for (const server of ['ns1', 'ns2', 'resolver'] as const) world.dns.lag(server, PROPAGATION);
  try {
    return await measure(world, `https://127.0.0.1:${link.port}${pathname}`);
  } finally {
    await link.close();
    await world.close();
  }
}
