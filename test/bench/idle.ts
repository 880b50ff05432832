import { startLargeAccount } from '../sandbox/large-account.ts';
import { type Figure, OURS, type Row, type Scale } from './figures.ts';

/** Milliseconds, MB and calls of the bounds, for 5,000 domains. */
const BOUNDS = { seconds: 2, megabytes: 100 };

interface Measured {
  readonly seconds: number;
  readonly megabytes: number;
  readonly calls: number;
}

/** The usual run of an account in which everything is well: it reads two lists, the index and the edges, and ends. */
export async function idle({ runs, isSmall }: Scale): Promise<Figure[]> {
  const sizes = isSmall ? [50] : [500, 5_000, 50_000];
  const bySize = new Map<number, Measured[]>();
  for (const domains of sizes) {
    const measured: Measured[] = [];
    const account = await startLargeAccount({ domains, withEdge: true });
    try {
      for (let run = 0; run < runs; run += 1) {
        const before = account.rpc.calls.length;
        const served = process.cpuUsage();
        const startedAt = performance.now();
        const { peak, error } = await account.renew();
        const seconds = (performance.now() - startedAt) / 1000;
        if (error) throw new Error(`the run over ${domains} domains failed: ${error.errorMessage}`);
        // CDN and edge are this process and nothing else runs in it: its processor time is the server's own.
        const { user, system } = process.cpuUsage(served);
        const beyond = Math.max(0, seconds - (user + system) / 1e6);
        measured.push({ seconds: beyond, megabytes: peak, calls: account.rpc.calls.length - before });
      }
    } finally {
      await account.close();
    }
    bySize.set(domains, measured);
  }
  const rows = (key: keyof Measured): Row[] =>
    [...bySize].map(([domains, measured]) => ({
      who: `${OURS}, ${domains} domains`,
      values: measured.map((one) => one[key]),
    }));
  const bound = (value: number): Row => ({ who: 'bound for 5000 domains', values: [value], isBound: true });
  const section = 'idle';
  return [
    {
      section,
      what: 'A run with nothing to do, beyond the server’s own time',
      unit: 's',
      rows: [...rows('seconds'), bound(BOUNDS.seconds)],
    },
    {
      section,
      what: 'A run with nothing to do, largest resident set',
      unit: 'MB',
      rows: [...rows('megabytes'), bound(BOUNDS.megabytes)],
    },
    {
      section,
      what: 'A run with nothing to do, calls of the CDN API',
      unit: 'calls',
      rows: [...rows('calls'), bound(5_000 / 100 + 5)],
    },
  ];
}
