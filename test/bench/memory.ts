import { startWorld } from '../sandbox/world.ts';
import { type Figure, OURS, type Row, type Scale } from './figures.ts';

/** MB of the instance that is enough, and of the one that is at the worst. */
const BOUND = 128;
const WORST = 256;
/**
 * How Node sizes its heap in an instance of 128 MB: half of the memory for what is old, and V8's least for what is young. On
 * this machine's memory it would let garbage lie that it collects there.
 */
const IN_SMALL_INSTANCE = '--max-old-space-size=64 --max-semi-space-size=1';
/** Seconds for a run that FC would give ten minutes at most: the memory is the figure here. */
const TIMEOUT = 7_200;
const ZONES = 100;
/** The share of the certificates that must have been deployed for the figure to count. */
const LEAST = 0.99;
const PUSHES_PER_SECOND = 100;

const HEAPS = { 'heap of a 128 MB instance': IN_SMALL_INSTANCE, 'heap of this machine': '' } as const;

interface Measured {
  readonly megabytes: number;
  readonly seconds: number;
}

/** Certificates issued, pushed and seen at the edges by one run, with nothing that makes it wait but the DNS API's limit. */
export async function memory({ runs, isSmall }: Scale): Promise<Figure[]> {
  const sizes = isSmall ? [5, 10] : [250, 1_000, 4_000];
  const measured = new Map<string, Measured[]>();
  for (let run = 0; run < runs; run += 1) {
    for (const certificates of sizes) {
      for (const [heap, options] of Object.entries(HEAPS)) {
        const who = `${OURS}, ${certificates} certificates, ${heap}`;
        measured.set(who, [...(measured.get(who) ?? []), await measure(certificates, options)]);
      }
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

async function measure(certificates: number, nodeOptions: string): Promise<Measured> {
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
    const startedAt = performance.now();
    let renewed = 0;
    const onLine = (line: string) => {
      const isOne = line.includes('"event":"certificate_finished"') && line.includes('"status":"renewed"');
      if (isOne) renewed += 1;
    };
    const { peak } = await world.renew(config, {
      timeout: TIMEOUT,
      environment: { NODE_OPTIONS: nodeOptions },
      onLine,
    });
    const seconds = (performance.now() - startedAt) / 1000;
    // Pebble gives a DNS lookup two seconds, which a busy machine does not always keep.
    if (renewed < certificates * LEAST) throw new Error(`${renewed} of ${certificates} certificates were deployed`);
    return { megabytes: peak, seconds };
  } finally {
    await world.close();
  }
}
