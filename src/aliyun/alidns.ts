import * as v from 'valibot';
import type { Deps } from '../deps.ts';
import { type CallLimiter, createCallLimiter } from '../ratelimit.ts';
import { digits, list, readAnswer } from './answer.ts';
import { hasApiCode } from './errors.ts';
import { allPages } from './pages.ts';
import type { Rpc, RpcCall } from './rpc.ts';

export interface AlidnsOptions {
  readonly rpc: Rpc;
  /** `https://alidns.aliyuncs.com` */
  readonly endpoint: string;
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
/** Seconds; the least of the free edition. */
const TTL = '600';

const dnsDomain = v.object({ DomainName: v.string(), PunyCode: v.optional(v.string()) });
export type DnsDomain = v.InferOutput<typeof dnsDomain>;

const dnsRecord = v.object({ RecordId: digits, RR: v.string(), Type: v.string(), Value: v.string() });
export type DnsRecord = v.InferOutput<typeof dnsRecord>;

const count = v.pipe(digits, v.transform(Number), v.integer(), v.minValue(0));

export function createAlidns({ rpc, endpoint, deps }: AlidnsOptions): Alidns {
  const writes = createCallLimiter({ callsPerSecond: WRITES_PER_SECOND, deps });
  const reads = createCallLimiter({ callsPerSecond: READS_PER_SECOND, deps });
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
        const answer = await inTurn(DomainName, () => call(action, parameters, writes));
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
        await inTurn(DomainName, () => call('DeleteDomainRecord', { RecordId }, writes, true));
      } catch (error) {
        if (!hasApiCode(error, 'DomainRecordNotBelongToUser')) throw error;
      }
    },
  };
}

/** One write to a zone after the other, and a pause in between. */
function createTurns(deps: Pick<Deps, 'now' | 'sleep'>) {
  const lastOf = new Map<string, Promise<unknown>>();
  const endedAt = new Map<string, number>();

  return <T>(zone: string, write: () => Promise<T>): Promise<T> => {
    const turn = (lastOf.get(zone) ?? Promise.resolve()).then(async () => {
      const pause = (endedAt.get(zone) ?? Number.NEGATIVE_INFINITY) + BETWEEN_WRITES - deps.now().getTime();
      if (pause > 0) await deps.sleep(pause);
      try {
        return await write();
      } finally {
        endedAt.set(zone, deps.now().getTime());
      }
    });
    lastOf.set(
      zone,
      turn.catch(() => undefined),
    );
    return turn;
  };
}
