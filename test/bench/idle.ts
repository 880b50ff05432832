import { type LargeAccountOptions, startLargeAccount } from '../sandbox/large-account.ts';
import { type Figure, median, OURS, type Row, type Scale } from './figures.ts';

/** The bounds for 5,000 domains: seconds beyond the server's own, MB, and calls for every hundred domains and five more. */
const BOUNDS = { domains: 5_000, seconds: 2, megabytes: 100, calls: 5_000 / 100 + 5, ratio: 10 };

interface Measured {
  /** Of the whole run, less the processor time of CDN and edges, while which the run waits. */
  readonly beyond: number;
  /** Processor seconds of the run's own process. */
  readonly processor: number;
  readonly megabytes: number;
  readonly calls: number;
  /** Handshakes with the edges. */
  readonly looks: number;
}

/** The usual run of an account in which everything is well: it reads two lists, the index and some edges, and ends. */
export async function idle({ runs, isSmall }: Scale): Promise<Figure[]> {
  const sizes = isSmall ? [1, 50] : [1, 500, 5_000, 50_000];
  const bySize = new Map<number, Measured[]>();
  for (const domains of sizes) bySize.set(domains, await measure({ domains, withEdge: true }, runs));
  const section = 'idle';
  const rows = (key: keyof Measured): Row[] => [...bySize].map(([domains, all]) => rowOf(domains, all, key));
  const ratios = (key: keyof Measured): Row[] => ratioRows(bySize, key);
  const bound = (value: number): Row => ({
    who: `bound for ${BOUNDS.domains} domains`,
    values: [value],
    isBound: true,
  });
  const ratioBound: Row = { who: 'bound', values: [BOUNDS.ratio], isBound: true };
  const what = 'A run with nothing to do';
  return [
    {
      section,
      what: `${what}, beyond the server’s own time`,
      unit: 's',
      rows: [...rows('beyond'), bound(BOUNDS.seconds)],
      note: 'Of one domain: what it costs to start Node and the function, and to run at all.',
    },
    { section, what: `${what}, processor time of its process`, unit: 's', rows: rows('processor') },
    {
      section,
      what: `${what}, largest resident set`,
      unit: 'MB',
      rows: [...rows('megabytes'), bound(BOUNDS.megabytes)],
      note: 'In an instance of 256 MB, by which Node sizes its heap.',
    },
    {
      section,
      what: `${what}, processor time above that of one domain, against a tenth of the domains`,
      unit: 'times',
      rows: [...ratios('processor'), ratioBound],
    },
    {
      section,
      what: `${what}, resident set above that of one domain, against a tenth of the domains`,
      unit: 'times',
      rows: [...ratios('megabytes'), ratioBound],
    },
    { section, what: `${what}, calls of the CDN API`, unit: 'calls', rows: [...rows('calls'), bound(BOUNDS.calls)] },
    { section, what: `${what}, handshakes with the edges`, unit: 'handshakes', rows: rows('looks') },
  ];
}

async function measure(options: LargeAccountOptions, runs: number): Promise<Measured[]> {
  const measured: Measured[] = [];
  const account = await startLargeAccount(options);
  try {
    for (let run = 0; run < runs; run += 1) {
      const [calls, looks] = [account.rpc.calls.length, account.asked.length];
      const served = process.cpuUsage();
      const startedAt = performance.now();
      const { peak, processor, error } = await account.renew();
      const seconds = (performance.now() - startedAt) / 1000;
      if (error) throw new Error(`the run over ${options.domains} domains failed: ${error.errorMessage}`);
      // CDN and edge are this process and nothing else runs in it: its processor time is the server's own.
      const { user, system } = process.cpuUsage(served);
      measured.push({
        beyond: Math.max(0, seconds - (user + system) / 1e6),
        processor,
        megabytes: peak,
        calls: account.rpc.calls.length - calls,
        looks: account.asked.length - looks,
      });
    }
  } finally {
    await account.close();
  }
  return measured;
}

function rowOf(domains: number, measured: readonly Measured[], key: keyof Measured): Row {
  const who = domains === 1 ? `${OURS}, 1 domain` : `${OURS}, ${domains} domains`;
  return { who, values: measured.map((one) => one[key]) };
}

/** Of each size against the one before it, both less the median of the first. */
function ratioRows(bySize: ReadonlyMap<number, readonly Measured[]>, key: keyof Measured): Row[] {
  const [[, least = []] = [], ...larger] = bySize;
  const base = median(least.map((one) => one[key]));
  return larger.slice(1).map(([domains, measured], nth): Row => {
    const [fewer = 0, before = []] = larger[nth] ?? [];
    const cost = median(before.map((one) => one[key])) - base;
    return { who: `${OURS}, ${domains} to ${fewer} domains`, values: measured.map((one) => (one[key] - base) / cost) };
  });
}
