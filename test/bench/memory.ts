import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseLine, startWorld } from '../sandbox/world.ts';
import { type Figure, OURS, type Row, type Scale } from './figures.ts';

/** MB of the instance that is enough, and of the one that is at the worst. */
const BOUND = 128;
const WORST = 256;
/**
 * How Node sizes its heap in an instance of 128 MB: half of the memory for what is old, and V8's least for what is young. On
 * this machine's memory it lets garbage lie that it collects there.
 */
const SMALL = { name: 'heap of a 128 MB instance', options: '--max-old-space-size=64 --max-semi-space-size=1' };
const LARGE = { name: 'heap of this machine', options: '' };
/** The small heap is the one that counts, and tells by its sizes whether it grows: 4,000 take minutes. The other is one figure. */
const MEASURED = [
  { heap: SMALL, certificates: 250 },
  { heap: SMALL, certificates: 1_000 },
  { heap: SMALL, certificates: 4_000 },
  { heap: LARGE, certificates: 1_000 },
];
const MEASURED_SMALL = [
  { heap: SMALL, certificates: 5 },
  { heap: LARGE, certificates: 10 },
];
/** Seconds for a run that FC would give ten minutes at most: the memory is the figure here. */
const TIMEOUT = 7_200;
const ZONES = 100;
const PUSHES_PER_SECOND = 100;
/** What Pebble says when its DNS lookup took more than two seconds, which a busy machine does not always keep. */
const PEBBLE_WAS_SLOW = /i\/o timeout/;
/** The share of the certificates that may fail by that: the others are as many as the figure says. */
const MOST_SLOW = 0.01;
/**
 * Milliseconds without a log line after which Pebble is taken for locked up. Version 2.10 locks itself up when at one instant
 * an authorization is read, an order made and a certificate stored: the first holds the authorization and waits for the
 * store, the second holds the store and waits for the authorization, and the third, which waits for the store to write,
 * keeps everybody else out. A relative of https://github.com/letsencrypt/pebble/issues/554.
 */
const LOCKED_UP = 60_000;
const ATTEMPTS = 5;

interface Measured {
  readonly megabytes: number;
  readonly seconds: number;
}

/** Certificates issued, pushed and seen at the edges by one run, with nothing that makes it wait but the DNS API's limit. */
export async function memory({ runs, isSmall }: Scale): Promise<Figure[]> {
  const measured = new Map<string, Measured[]>();
  for (let run = 0; run < runs; run += 1) {
    for (const { heap, certificates } of isSmall ? MEASURED_SMALL : MEASURED) {
      const who = `${OURS}, ${certificates} certificates, ${heap.name}`;
      measured.set(who, [...(measured.get(who) ?? []), await measureAtLast(certificates, heap.options)]);
    }
  }
  const rows = (key: keyof Measured): Row[] =>
    [...measured].map(([who, all]) => ({ who, values: all.map((one) => one[key]) }));
  const section = 'memory';
  return [
    {
      section,
      what: 'Certificates issued and deployed in one run, largest resident set',
      unit: 'MB',
      rows: [
        ...rows('megabytes'),
        { who: 'bound', values: [BOUND], isBound: true },
        { who: 'at the worst', values: [WORST], isBound: true },
      ],
    },
    { section, what: 'Certificates issued and deployed in one run, time', unit: 's', rows: rows('seconds') },
  ];
}

async function measureAtLast(certificates: number, nodeOptions: string): Promise<Measured> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const measured = await measure(certificates, nodeOptions);
    if (measured) return measured;
    process.stderr.write(`bench: Pebble locked itself up in attempt ${attempt} of ${ATTEMPTS}\n`);
  }
  throw new Error(`Pebble locked itself up each time, ${certificates} certificates under way`);
}

/** Undefined when Pebble locked itself up. */
async function measure(certificates: number, nodeOptions: string): Promise<Measured | undefined> {
  const zones = Array.from({ length: Math.min(ZONES, certificates) }, (_, nth) => `zone-${nth}.example`);
  const env = { PEBBLE_AUTHZREUSE: '0', PEBBLE_WFE_NONCEREJECT: '0' };
  const world = await startWorld({ zones, pebble: { env }, cdnCallsPerSecond: PUSHES_PER_SECOND });
  try {
    const domains = Array.from({ length: certificates }, (_, nth) => `site-${nth}.${zones[nth % zones.length]}`);
    for (const domain of domains) world.cdn.set(domain);
    const config = world.config({
      certificates: domains.map((domain) => ({ name: domain, identifiers: [domain], keyType: 'ec256' })),
      cdn: { callsPerSecond: PUSHES_PER_SECOND },
    });
    // Thousands of certificates are more than a variable of a process holds, here as at FC.
    const path = join(world.storePath, 'config.json');
    await writeFile(path, JSON.stringify(config));
    const failures: string[] = [];
    let renewed = 0;
    let saidAt = performance.now();
    let isLockedUp = false;
    const onLine = (line: string) => {
      saidAt = performance.now();
      for (const { event, status, error } of parseLine(line)) {
        if (event === 'certificate_finished' && status === 'renewed') renewed += 1;
        if (event === 'certificate_failed') failures.push(JSON.stringify(error));
      }
    };
    const watch = setInterval(() => {
      if (isLockedUp || performance.now() - saidAt < LOCKED_UP) return;
      isLockedUp = true;
      // From then on the run is refused, and ends within minutes.
      void world.pebble.close();
    }, 1_000);
    const startedAt = performance.now();
    const environment = { NODE_OPTIONS: nodeOptions, AUTOCERT_CONFIG: path };
    const { peak } = await world
      .renew(undefined, { timeout: TIMEOUT, environment, onLine })
      .finally(() => clearInterval(watch));
    const seconds = (performance.now() - startedAt) / 1000;
    if (isLockedUp) return undefined;
    const slow = failures.filter((failure) => PEBBLE_WAS_SLOW.test(failure)).length;
    if (renewed + slow !== certificates || slow > certificates * MOST_SLOW) {
      const others = failures.filter((failure) => !PEBBLE_WAS_SLOW.test(failure)).slice(0, 3);
      throw new Error(`${renewed} of ${certificates} were deployed, Pebble was too slow for ${slow}: ${others.join()}`);
    }
    return { megabytes: peak, seconds };
  } finally {
    await world.close();
  }
}
