import * as v from 'valibot';
import { type Deps, timeLeft } from '../deps.ts';
import { type CallLimiter, createCallLimiter } from '../ratelimit.ts';
import { digits, list, readAnswer } from './answer.ts';
import { AliyunError, hasApiCode } from './errors.ts';
import { allPages } from './pages.ts';
import type { Rpc, RpcCall } from './rpc.ts';

export interface AlidnsOptions {
  readonly rpc: Rpc;
  /** `https://alidns.aliyuncs.com` */
  readonly endpoint: string;
  /** The part of the rates that is this run's: several may share the account. Default: all. */
  readonly share?: number;
  readonly deps: Deps;
}

/** A record by its zone and its host record (`RR`, `@` for the zone itself). */
export interface RecordName {
  readonly DomainName: string;
  readonly RR: string;
  readonly Type: 'TXT' | 'CNAME';
}

/** The actions of Alibaba Cloud DNS 2015-01-09 that are in use. Field names are the API's. */
export interface Alidns {
  /** Every zone of the account. */
  describeDomains(): Promise<DnsDomain[]>;
  /** The records of exactly this name and type. */
  describeSubDomainRecords(name: RecordName, options?: { readonly cleanUp?: boolean }): Promise<DnsRecord[]>;
  /** Adds one TXT value and gives its RecordId; other values of the name stay. A value that is there already is no error. */
  addDomainRecord(record: RecordName & { readonly Value: string }): Promise<string>;
  /** Deletes one record; one that is gone already is no error. */
  deleteDomainRecord(record: { readonly DomainName: string; readonly RecordId: string }): Promise<void>;
}

const VERSION = '2015-01-09';
/** Calls a second. Documented: 60 for each of the writes, 100 and 300 for the reads; half is left to others. */
const WRITES_PER_SECOND = 30;
const READS_PER_SECOND = 50;
/** Milliseconds between two writes to one zone: sooner, and it is LastOperationNotFinished. */
const BETWEEN_WRITES = 500;
/** Milliseconds until a record is seen everywhere and has been taken away again, at least: with less left, none is added. */
const ADDITION_TAKES = 15_000;
/** Seconds; the least of the free edition. */
const TTL = '600';

const dnsDomain = v.object({ DomainName: v.string(), PunyCode: v.optional(v.string()) });
export type DnsDomain = v.InferOutput<typeof dnsDomain>;

const dnsRecord = v.object({ RecordId: digits, RR: v.string(), Type: v.string(), Value: v.string() });
export type DnsRecord = v.InferOutput<typeof dnsRecord>;

const count = v.pipe(digits, v.transform(Number), v.integer(), v.minValue(0));

export function createAlidns({ rpc, endpoint, share = 1, deps }: AlidnsOptions): Alidns {
  const writes = createCallLimiter({ callsPerSecond: WRITES_PER_SECOND * share, deps });
  const reads = createCallLimiter({ callsPerSecond: READS_PER_SECOND * share, deps });
  const inTurn = createTurns(deps);

  function call(action: string, parameters: RpcCall['parameters'], limiter: CallLimiter, cleanUp = false) {
    return rpc.call({ endpoint, version: VERSION, action, parameters: { ...parameters }, limiter, cleanUp });
  }

  async function describeSubDomainRecords(
    { DomainName, RR, Type }: RecordName,
    { cleanUp = false } = {},
  ): Promise<DnsRecord[]> {
    const action = 'DescribeSubDomainRecords';
    const schema = v.object({ TotalCount: count, DomainRecords: list('Record', dnsRecord) });
    const SubDomain = RR === '@' ? DomainName : `${RR}.${DomainName}`;
    const records = await allPages(
      action,
      (record: DnsRecord) => record.RecordId,
      async (PageNumber) => {
        const parameters = { SubDomain, DomainName, Type, PageNumber, PageSize: '100' };
        const { TotalCount, DomainRecords } = readAnswer(
          schema,
          await call(action, parameters, reads, cleanUp),
          action,
        );
        return { total: TotalCount, items: DomainRecords };
      },
    );
    return records.filter((record) => record.RR.toLowerCase() === RR && record.Type === Type);
  }

  return {
    describeDomains() {
      const action = 'DescribeDomains';
      const schema = v.object({ TotalCount: count, Domains: list('Domain', dnsDomain) });
      return allPages(
        action,
        (domain: DnsDomain) => domain.DomainName,
        async (PageNumber) => {
          const { TotalCount, Domains } = readAnswer(
            schema,
            await call(action, { PageNumber, PageSize: '100' }, reads),
            action,
          );
          return { total: TotalCount, items: Domains };
        },
      );
    },

    describeSubDomainRecords,

    async addDomainRecord(record) {
      const action = 'AddDomainRecord';
      try {
        const { DomainName, RR, Type, Value } = record;
        const parameters = { DomainName, RR, Type, Value, TTL };
        const answer = await inTurn(DomainName, 'additions', () => call(action, parameters, writes));
        return readAnswer(v.object({ RecordId: digits }), answer, action).RecordId;
      } catch (error) {
        if (!hasApiCode(error, 'DomainRecordDuplicate')) throw error;
        const equal = (await describeSubDomainRecords(record)).find((existing) => existing.Value === record.Value);
        if (!equal) throw error;
        return equal.RecordId;
      }
    },

    async deleteDomainRecord({ DomainName, RecordId }) {
      try {
        await inTurn(DomainName, 'deletions', () => call('DeleteDomainRecord', { RecordId }, writes, true));
      } catch (error) {
        if (!hasApiCode(error, 'DomainRecordNotBelongToUser')) throw error;
      }
    },
  };
}

/** The writes that wait for their turn at one zone. None of them ever rejects. */
interface Zone {
  readonly deletions: (() => Promise<void>)[];
  readonly additions: (() => Promise<void>)[];
  isBusy: boolean;
  /** Of the last write, milliseconds. */
  endedAt: number;
}

/**
 * One write to a zone after the other, and a pause in between. Deletions go first: a zone in which many certificates have
 * their records then holds few at once, and the certificates that were begun first are done first. An addition whose turn
 * comes too late is refused before it is made.
 */
function createTurns(deps: Pick<Deps, 'now' | 'sleep' | 'deadline'>) {
  const zones = new Map<string, Zone>();

  async function pump(zone: Zone): Promise<void> {
    zone.isBusy = true;
    while (zone.deletions.length + zone.additions.length > 0) {
      if (timeLeft(deps) < ADDITION_TAKES) await Promise.all(zone.additions.splice(0).map((refused) => refused()));
      const pause = zone.endedAt + BETWEEN_WRITES - deps.now().getTime();
      if (pause > 0) await deps.sleep(pause);
      const next = zone.deletions.shift() ?? zone.additions.shift();
      await next?.();
    }
    zone.isBusy = false;
  }

  return <T>(name: string, kind: 'deletions' | 'additions', write: () => Promise<T>): Promise<T> => {
    const zone = zones.get(name) ?? { deletions: [], additions: [], isBusy: false, endedAt: Number.NEGATIVE_INFINITY };
    zones.set(name, zone);
    return new Promise((resolve, reject) => {
      zone[kind].push(async () => {
        try {
          if (kind === 'additions' && timeLeft(deps) < ADDITION_TAKES) throw tooLate(name);
          resolve(
            await write().finally(() => {
              zone.endedAt = deps.now().getTime();
            }),
          );
        } catch (error) {
          reject(error);
        }
      });
      if (!zone.isBusy) pump(zone).catch(reject);
    });
  };
}

function tooLate(zone: string): AliyunError {
  return new AliyunError({
    code: 'DEADLINE_REACHED',
    message: `AddDomainRecord: the turn of this record in the zone ${zone} comes too late for this run`,
    retryable: false,
    remedy: 'Nothing, if the next run does it. If it happens often, give the function a longer timeout.',
    action: 'AddDomainRecord',
  });
}
