import { domainToUnicode } from 'node:url';
import { getDomain } from 'tldts';
import { invalid, paged, searchOf } from './alidns-search.ts';
import type { Dns } from './dns.ts';
import {
  canonicalName,
  isOwnerName,
  isValue,
  isWithin,
  RECORD_TYPES,
  type ZoneRecord,
  type ZoneRecordType,
} from './dns-zone.ts';
import { type Action, ApiError, integer, type Product } from './product.ts';

/** Conditions of one domain, for provoking the documented errors. */
export interface DomainSettings {
  /** `undefined`: the user of the sandbox. Another owner gives `IncorrectDomainUser`. */
  owner?: 'other' | undefined;
  expired?: boolean;
  locked?: boolean;
  /** Seconds; 600 on the free edition, 1 on the largest paid one. */
  minimumTtl?: number;
  /** A write sooner than this after the last one on the domain gives `LastOperationNotFinished`. Default 0: never. */
  writeIntervalMs?: number;
  /** Records of one RR, type and line; the documented maximum is 90. */
  maximumRecords?: number;
}

export interface Alidns extends Product {
  /** Changes the conditions of a domain; what is not named stays. */
  setDomain(domainName: string, settings: DomainSettings): void;
  /** From now on changing the record gives `Forbidden.RecordLocked`. */
  lockRecord(recordId: string): void;
}

type Parameters = Readonly<Record<string, string>>;

/** What Alidns knows of a record beside what is served. */
interface RecordFacts {
  line: string;
  locked: boolean;
}

const DEFAULT_TTL = 600;
const MAXIMUM_TTL = 86_400;

/**
 * The double of Alidns 2015-01-09, one user's view: its domains are the zones of `dns`, its records are what those name
 * servers serve. Errors and quotas: https://help.aliyun.com/zh/dns/api-alidns-2015-01-09-errorcodes and
 * https://help.aliyun.com/zh/dns/api-alidns-2015-01-09-quota; parameters and answers as in the official SDK.
 */
export function createAlidns(options: { dns: Dns; domains?: Readonly<Record<string, DomainSettings>> }): Alidns {
  const { dns } = options;
  const settings = new Map<string, DomainSettings>();
  const facts = new Map<string, RecordFacts>();
  const lastWrite = new Map<string, number>();

  const setDomain: Alidns['setDomain'] = (domainName, changed) => {
    const name = canonicalName(domainName);
    settings.set(name, { ...settings.get(name), ...changed });
  };
  for (const [name, initial] of Object.entries(options.domains ?? {})) setDomain(name, initial);

  const settingsOf = (zone: string): DomainSettings => settings.get(zone) ?? {};
  const factsOf = (id: string): RecordFacts => facts.get(id) ?? { line: 'default', locked: false };
  const ownZones = (): string[] => dns.zoneNames().filter((zone) => settingsOf(zone).owner === undefined);

  /** The zone that a `DomainName` means, in Unicode or Punycode. */
  const ownZone = (domainName: string): string => {
    const zone = canonicalName(domainName);
    if (!dns.zoneNames().includes(zone)) {
      throw new ApiError(400, 'InvalidDomainName.NoExist', 'The specified domain name does not exist.');
    }
    if (settingsOf(zone).owner !== undefined) {
      throw new ApiError(400, 'IncorrectDomainUser', 'The domain name does not belong to this user.');
    }
    return zone;
  };

  const ownRecord = (parameters: Parameters): { zone: string; record: ZoneRecord } => {
    const id = required(parameters, 'RecordId');
    for (const zone of ownZones()) {
      const record = dns.records(zone).find((candidate) => candidate.id === id);
      if (record) return { zone, record };
    }
    throw new ApiError(400, 'DomainRecordNotBelongToUser', 'The domain record does not belong to this user.');
  };

  /** What every write is refused for; the caller calls `written` when it is done. */
  const checkWritable = (zone: string, now: Date, changed: readonly ZoneRecord[]): void => {
    const { expired, locked, writeIntervalMs = 0 } = settingsOf(zone);
    if (expired) throw new ApiError(400, 'Forbidden.DomainExpired', 'The domain has expired.');
    if (locked) throw new ApiError(400, 'Forbidden.DomainLocked', 'The domain has been locked.');
    if (changed.some((record) => factsOf(record.id).locked)) {
      throw new ApiError(400, 'Forbidden.RecordLocked', 'The domain record has been locked.');
    }
    const last = lastWrite.get(zone);
    if (last !== undefined && now.getTime() - last < writeIntervalMs) {
      throw new ApiError(
        400,
        'LastOperationNotFinished',
        'The last operation is not finished, please try again later.',
      );
    }
  };
  const written = (zone: string, now: Date): void => {
    lastWrite.set(zone, now.getTime());
  };

  /** A record of the zone from `RR`, `Type`, `Value`, `Line`, `TTL`, refused where it would stand in another's way. */
  const wantedRecord = (zone: string, parameters: Parameters, replaces?: ZoneRecord) => {
    const rr = required(parameters, 'RR');
    const type = recordType(required(parameters, 'Type'));
    const value = required(parameters, 'Value');
    const line = parameters['Line'] ?? 'default';
    const { minimumTtl = 600, maximumRecords = 90 } = settingsOf(zone);
    const ttl = integer(parameters, 'TTL', { minimum: minimumTtl, maximum: MAXIMUM_TTL, otherwise: DEFAULT_TTL });
    const name = canonicalName(rr === '@' ? zone : `${rr}.${zone}`);
    if (!isOwnerName(name) || !isValue(type, value)) {
      throw new ApiError(400, 'SubDomainInvalid.Value', 'The DNS record is invalid or in the wrong format.');
    }
    const here = dns.records(zone).filter((record) => record.name === name && factsOf(record.id).line === line);
    // An update that changes nothing is a duplicate of the record it updates.
    const same = (record: ZoneRecord): boolean => record.type === type && record.value === value;
    if (here.some((record) => same(record) && (record.id !== replaces?.id || record.ttl === ttl))) {
      throw new ApiError(400, 'DomainRecordDuplicate', 'The domain record is duplicated.');
    }
    const others = here.filter((record) => record.id !== replaces?.id);
    if (others.some((record) => record.type === 'CNAME' || type === 'CNAME')) {
      throw new ApiError(400, 'DomainRecordConflict', 'The domain record is conflict with other records.');
    }
    if (others.filter((record) => record.type === type).length >= maximumRecords) {
      const message = `You can't add this domain record because the {"${type} ${rr} ${line}"} record has been out of MAX count (${maximumRecords}).`;
      throw new ApiError(400, 'QuotaExceeded.Record', message);
    }
    return { line, record: { name, type, value, ttl } };
  };

  const describe = (zone: string, record: ZoneRecord) => ({
    DomainName: domainToUnicode(zone),
    RecordId: record.id,
    RR: rrOf(zone, record.name),
    Type: record.type,
    Value: record.value,
    Line: factsOf(record.id).line,
    TTL: record.ttl,
    Status: 'ENABLE',
    Locked: factsOf(record.id).locked,
  });
  const newestFirst = (zone: string) =>
    dns
      .records(zone)
      .map((record) => describe(zone, record))
      .toReversed();

  const actions: Record<string, Action> = {
    AddDomainRecord: {
      callsPerSecond: 60,
      handle(parameters, now) {
        const zone = ownZone(required(parameters, 'DomainName'));
        const { line, record } = wantedRecord(zone, parameters);
        checkWritable(zone, now, []);
        const RecordId = dns.addRecord(zone, record);
        facts.set(RecordId, { line, locked: false });
        written(zone, now);
        return { RecordId };
      },
    },

    UpdateDomainRecord: {
      callsPerSecond: 60,
      handle(parameters, now) {
        const { zone, record: old } = ownRecord(parameters);
        const { line, record } = wantedRecord(zone, parameters, old);
        checkWritable(zone, now, [old]);
        dns.updateRecord(old.id, record);
        facts.set(old.id, { line, locked: false });
        written(zone, now);
        return { RecordId: old.id };
      },
    },

    DeleteDomainRecord: {
      callsPerSecond: 60,
      handle(parameters, now) {
        const { zone, record } = ownRecord(parameters);
        checkWritable(zone, now, [record]);
        dns.removeRecord(record.id);
        written(zone, now);
        return { RecordId: record.id };
      },
    },

    DeleteSubDomainRecords: {
      callsPerSecond: 20,
      handle(parameters, now) {
        const zone = ownZone(required(parameters, 'DomainName'));
        const RR = required(parameters, 'RR');
        const name = canonicalName(RR === '@' ? zone : `${RR}.${zone}`);
        const type = parameters['Type']?.toUpperCase();
        const removed = dns
          .records(zone)
          .filter((record) => record.name === name && (type ?? record.type) === record.type);
        checkWritable(zone, now, removed);
        for (const record of removed) dns.removeRecord(record.id);
        if (removed.length > 0) written(zone, now);
        return { RR, TotalCount: String(removed.length) };
      },
    },

    DescribeDomainRecords: {
      callsPerSecond: 100,
      handle(parameters) {
        const zone = ownZone(required(parameters, 'DomainName'));
        const newest = newestFirst(zone).filter(searchOf(parameters));
        const records = parameters['Direction']?.toUpperCase() === 'ASC' ? newest.toReversed() : newest;
        const { items, ...page } = paged(records, parameters, 500);
        return { ...page, DomainRecords: { Record: items } };
      },
    },

    DescribeSubDomainRecords: {
      callsPerSecond: 300,
      handle(parameters) {
        const subDomain = canonicalName(required(parameters, 'SubDomain'));
        const domainName = parameters['DomainName'] ?? mainDomain(subDomain);
        // Without DomainName the public suffix list alone divides the name: delegated sub-zones are not seen.
        const zone = ownZone(domainName ?? subDomain);
        if (!isWithin(subDomain, zone)) throw invalid('SubDomain');
        const type = parameters['Type']?.toUpperCase();
        const line = parameters['Line'];
        const found = newestFirst(zone).filter(
          (record) =>
            record.RR === rrOf(zone, subDomain) &&
            (type ?? record.Type) === record.Type &&
            (line ?? record.Line) === record.Line,
        );
        const { items, ...page } = paged(found, parameters, 100);
        return { ...page, DomainRecords: { Record: items } };
      },
    },

    DescribeDomainRecordInfo: {
      callsPerSecond: 200,
      handle(parameters) {
        const { zone, record } = ownRecord(parameters);
        return { ...describe(zone, record), DomainId: domainId(zone), PunyCode: zone, GroupId: '', GroupName: '' };
      },
    },

    DescribeDomains: {
      callsPerSecond: 100,
      handle(parameters, now) {
        const keyWord = canonicalName(parameters['KeyWord'] ?? '');
        const exact = parameters['SearchMode']?.toUpperCase() === 'EXACT';
        const found = ownZones().filter((zone) =>
          exact && keyWord !== '' ? zone === keyWord : zone.includes(keyWord),
        );
        const { items, ...page } = paged(found, parameters, 100);
        const Domain = items.map((zone) => ({
          DomainId: domainId(zone),
          DomainName: domainToUnicode(zone),
          PunyCode: zone,
          AliDomain: false,
          RecordCount: dns.records(zone).length,
          DnsServers: { DnsServer: [`ns1.${zone}`, `ns2.${zone}`] },
          InstanceExpired: settingsOf(zone).expired ?? false,
          VersionCode: 'mianfei',
          VersionName: 'Alibaba Cloud DNS',
          CreateTime: now.toISOString().replace(/:\d\d\.\d{3}Z$/, 'Z'),
          CreateTimestamp: now.getTime(),
          Starmark: false,
          Tags: { Tag: [] },
        }));
        return { ...page, Domains: { Domain } };
      },
    },

    GetMainDomainName: {
      callsPerSecond: 100,
      handle(parameters) {
        const name = canonicalName(required(parameters, 'InputString'));
        const zone = mainDomain(name);
        if (zone === null) throw new ApiError(400, 'InvalidDomainName.Suffix', 'The domain suffix is not supported.');
        const RR = rrOf(zone, name);
        const DomainLevel = RR === '@' ? 1 : RR.split('.').length + 1;
        return { DomainName: domainToUnicode(zone), RR, DomainLevel };
      },
    },
  };

  return {
    name: 'alidns',
    version: '2015-01-09',
    actions,
    setDomain,
    lockRecord(recordId) {
      facts.set(recordId, { ...factsOf(recordId), locked: true });
    },
  };
}

function required(parameters: Parameters, name: string): string {
  const value = parameters[name];
  if (value) return value;
  const message = `The input parameter "${name}" that is mandatory for processing this request is not supplied.`;
  throw new ApiError(400, 'MissingParameter', message);
}

function recordType(text: string): ZoneRecordType {
  const type = RECORD_TYPES.find((known) => known === text.toUpperCase());
  if (!type) throw invalid('Type');
  return type;
}

/** By the public suffix list, as the API divides names: it does not know which zones there are. */
function mainDomain(name: string): string | null {
  return getDomain(name, { validateHostname: false });
}

function rrOf(zone: string, name: string): string {
  return name === zone ? '@' : name.slice(0, -zone.length - 1);
}

function domainId(zone: string): string {
  return Buffer.from(zone).toString('hex').slice(0, 32).padEnd(32, '0');
}
