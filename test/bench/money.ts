import type { InvocationResult } from '../sandbox/fc.ts';
import { startLargeAccount } from '../sandbox/large-account.ts';
import { type Figure, OURS, type Scale } from './figures.ts';

/**
 * List prices in CNY, mainland regions, without discounts and without the free quotas of a new account:
 * https://help.aliyun.com/zh/functioncompute/fc/product-overview/billing-overview-of-fc (December 2025),
 * https://www.aliyun.com/price/detail/oss and https://www.aliyun.com/price/detail/sls (2026).
 */
const PRICES = {
  /** Compute units: for each vCPU-second, GB-second and call; and the least of an hour in which a function was called. */
  fc: { unit: 0.00011, vcpuSecond: 1, gigabyteSecond: 0.15, call: 0.0075, leastOfAnHour: 0.01 },
  /** Standard storage, locally redundant; ten thousand requests. */
  oss: { gigabyteMonth: 0.12, tenThousandRequests: 0.01 },
  /** Logs by the amount written, kept for 30 days. */
  sls: { gigabyte: 0.4 },
};

/** As the template deploys it: a quarter of a vCPU, 256 MB, a renewal every six hours. */
const DEPLOYED = { vcpu: 0.25, gigabytes: 0.25, renewsOfADay: 4 };
const DAYS = 30;
/** A certificate of 90 days is renewed after 60. */
const RENEWALS_OF_A_MONTH = DAYS / 60;
/** Seconds of a run that renews beside its own work: name servers, and edges that take up what was pushed within minutes. */
const WAIT = 300;
/** Objects that a renewal reads and writes, at most, and the bytes that it leaves: key, chain, record. */
const RENEWAL = { requests: 40, bytes: 10_000 };
/** Objects that a run with nothing to do reads: the configuration, the index, the inbox, the lease. */
const RUN_REQUESTS = 6;

interface Run {
  /** Seconds for which FC bills the run: its processor time on a quarter of a vCPU, or the time that it waits if that is more. */
  readonly billed: number;
  readonly logBytes: number;
}

/** What a month costs at list prices, from what the runs were measured to take. */
export async function money({ isSmall }: Scale): Promise<Figure[]> {
  const sizes = isSmall ? [10] : [10, 1_000, 10_000];
  const hourly: number[] = [];
  const sixHourly: number[] = [];
  for (const domains of sizes) {
    const account = await startLargeAccount({ domains, withEdge: true });
    try {
      const [renew, watch] = [await measure(account.renew), await measure(account.watch)];
      hourly.push(monthOf({ domains, renew, watch, watchesOfADay: 24 }));
      sixHourly.push(monthOf({ domains, renew, watch, watchesOfADay: 4 }));
    } finally {
      await account.close();
    }
  }
  const rows = (every: string, costs: readonly number[]) =>
    sizes.map((domains, nth) => ({ who: `${OURS}, ${domains} domains, watch ${every}`, values: [costs[nth] ?? 0] }));
  return [
    {
      section: 'money',
      what: 'Function Compute, OSS and Simple Log Service at list prices',
      unit: 'CNY a month',
      note:
        'Most of it is the least that Function Compute bills for an hour with a call, 0.01 CNY, taken here for each ' +
        'function of its own. Outbound traffic is not in it: a look at an edge sends about 1 KB.',
      rows: [...rows('every hour', hourly), ...rows('every six hours', sixHourly)],
    },
  ];
}

async function measure(invoke: () => Promise<InvocationResult>): Promise<Run> {
  const startedAt = performance.now();
  const { processor, lines, error } = await invoke();
  const seconds = (performance.now() - startedAt) / 1000;
  if (error) throw new Error(`the run that was to be measured failed: ${error.errorMessage}`);
  return {
    billed: Math.max(processor / DEPLOYED.vcpu, seconds),
    logBytes: lines.reduce((sum, line) => sum + line.length + 1, 0),
  };
}

interface Month {
  readonly domains: number;
  readonly renew: Run;
  readonly watch: Run;
  readonly watchesOfADay: number;
}

function monthOf({ domains, renew, watch, watchesOfADay }: Month): number {
  const [renews, watches] = [DEPLOYED.renewsOfADay * DAYS, watchesOfADay * DAYS];
  const renewals = domains * RENEWALS_OF_A_MONTH;
  // Spread evenly, so that of few domains most runs renew nothing.
  const waiting = Math.min(renews, renewals) * WAIT;
  const fc = hours(renews, renew.billed + waiting / renews) + hours(watches, watch.billed);
  const requests = (renews + watches) * RUN_REQUESTS + renewals * RENEWAL.requests;
  const oss =
    (requests / 10_000) * PRICES.oss.tenThousandRequests +
    // Two of each certificate: the one before stays until its successor is served.
    ((2 * domains * RENEWAL.bytes) / 1e9) * PRICES.oss.gigabyteMonth;
  const sls = ((renews * renew.logBytes + watches * watch.logBytes) / 1e9) * PRICES.sls.gigabyte;
  return fc + oss + sls;
}

/** Calls of one function, each in an hour of its own. */
function hours(calls: number, seconds: number): number {
  const { unit, vcpuSecond, gigabyteSecond, call, leastOfAnHour } = PRICES.fc;
  const units = call + seconds * (DEPLOYED.vcpu * vcpuSecond + DEPLOYED.gigabytes * gigabyteSecond);
  return calls * Math.max(leastOfAnHour, units * unit);
}
