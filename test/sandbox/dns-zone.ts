import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import type { Answer, CaaData } from 'dns-packet';

export const RECORD_TYPES = ['A', 'AAAA', 'CNAME', 'NS', 'TXT', 'CAA'] as const;
export type ZoneRecordType = (typeof RECORD_TYPES)[number];

/** A resource record to be: `name` is absolute (`_acme-challenge.www.example.com`), `ttl` in seconds. */
export interface NewRecord {
  name: string;
  type: ZoneRecordType;
  /** Presentation form; of a TXT the bare text (any length), of a CAA `0 issue "letsencrypt.org"`. */
  value: string;
  ttl?: number;
}

export interface ZoneRecord {
  readonly id: string;
  readonly name: string;
  readonly type: ZoneRecordType;
  readonly value: string;
  readonly ttl: number;
}

/** Never changed in place, so that a name server that lags can go on holding an old one. */
export interface Zone {
  readonly name: string;
  readonly serial: number;
  readonly records: readonly ZoneRecord[];
}

export type Zones = ReadonlyMap<string, Zone>;

export const RCODES = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 } as const;
export type Rcode = keyof typeof RCODES;

export interface ZoneAnswer {
  rcode: Rcode;
  authoritative: boolean;
  answers: Answer[];
  authorities: Answer[];
  additionals: Answer[];
}

/** Seconds a resolver may remember that a name does not exist (RFC 2308). */
const NEGATIVE_TTL = 60;
const LONGEST_CHAIN = 16;

/** The form names are compared in: A-labels, lower case, no trailing dot. `*` and `_` labels are left alone. */
export function canonicalName(name: string): string {
  const labels = name.replace(/\.$/, '').split('.');
  return labels.map((label) => (/^[\x21-\x7e]*$/.test(label) ? label.toLowerCase() : domainToASCII(label))).join('.');
}

export function isWithin(name: string, ancestor: string): boolean {
  return name === ancestor || name.endsWith(`.${ancestor}`);
}

/** The zone with the most labels that holds `name`. */
function zoneOf(zones: Zones, name: string): Zone | undefined {
  for (let ancestor = name; ancestor !== ''; ancestor = parentOf(ancestor)) {
    const zone = zones.get(ancestor);
    if (zone) return zone;
  }
  return undefined;
}

/** Whether `value` is well formed for `type` (RFC 1035 §3.3, RFC 3596, RFC 8659 §4.1.1). */
export function isValue(type: ZoneRecordType, value: string): boolean {
  switch (type) {
    case 'A':
      return isIP(value) === 4;
    case 'AAAA':
      return isIP(value) === 6;
    case 'CNAME':
    case 'NS':
      return canonicalName(value).length <= 253 && canonicalName(value).split('.').every(isLabel);
    case 'CAA':
      return parseCaa(value) !== undefined;
    case 'TXT':
      return value !== '';
  }
}

/** Whether `name` can own a record: every label 1 to 63 octets, `*` only as the leftmost. */
export function isOwnerName(name: string): boolean {
  return name.length <= 253 && name.replace(/^\*\./, '').split('.').every(isLabel);
}

/**
 * What an authoritative server holding `zones` says about one name (RFC 1034 §4.3.2, wildcards by RFC 4592): a CNAME is
 * followed as far as the zones reach, a cut to a zone not held gives a referral.
 */
export function answerFromZones(zones: Zones, question: string, type: string): ZoneAnswer {
  const result: ZoneAnswer = { rcode: 'NOERROR', authoritative: true, answers: [], authorities: [], additionals: [] };
  const visited = new Set<string>();
  let owner = question;
  while (!visited.has(canonicalName(owner)) && visited.size < LONGEST_CHAIN) {
    const name = canonicalName(owner);
    visited.add(name);
    const zone = zoneOf(zones, name);
    if (!zone) {
      if (visited.size === 1) return { ...result, rcode: 'REFUSED', authoritative: false };
      return result;
    }
    const cut = delegationAt(zone, name);
    if (cut.length > 0) {
      result.authoritative = visited.size > 1;
      result.authorities.push(...cut.map((record) => toAnswer(record.name, record)));
      result.additionals.push(...glue(zone, cut));
      return result;
    }
    const node = findNode(zone, name);
    if (node === undefined) {
      return { ...result, rcode: 'NXDOMAIN', authorities: [soa(zone, NEGATIVE_TTL)] };
    }
    if (type === 'SOA' && name === zone.name) {
      result.answers.push(soa(zone, 600));
      return result;
    }
    const matching = node.filter((record) => record.type === type || type === 'ANY');
    if (matching.length > 0) {
      result.answers.push(...unique(matching).map((record) => toAnswer(owner, record)));
      return result;
    }
    const alias = node.find((record) => record.type === 'CNAME');
    if (!alias) return { ...result, authorities: [soa(zone, NEGATIVE_TTL)] };
    result.answers.push(toAnswer(owner, alias));
    owner = canonicalName(alias.value);
  }
  return result;
}

/** The records at `name`, or those a wildcard lends it; `undefined` when the name does not exist. */
function findNode(zone: Zone, name: string): ZoneRecord[] | undefined {
  const records = allRecords(zone);
  const exists = (candidate: string): boolean =>
    candidate === zone.name || records.some((record) => isWithin(record.name, candidate));
  if (exists(name)) return records.filter((record) => record.name === name);
  let encloser = parentOf(name);
  while (!exists(encloser)) encloser = parentOf(encloser);
  const wildcard = `*.${encloser}`;
  return exists(wildcard) ? records.filter((record) => record.name === wildcard) : undefined;
}

/** The NS records of the topmost zone cut at or above `name`, below the apex. */
function delegationAt(zone: Zone, name: string): ZoneRecord[] {
  let cut: ZoneRecord[] = [];
  for (let ancestor = name; ancestor !== zone.name; ancestor = parentOf(ancestor)) {
    const here = zone.records.filter((record) => record.type === 'NS' && record.name === ancestor);
    if (here.length > 0) cut = here;
  }
  return cut;
}

function glue(zone: Zone, cut: readonly ZoneRecord[]): Answer[] {
  const targets = new Set(cut.map((record) => canonicalName(record.value)));
  return allRecords(zone)
    .filter((record) => (record.type === 'A' || record.type === 'AAAA') && targets.has(record.name))
    .map((record) => toAnswer(record.name, record));
}

/** Zone data with what every zone of the sandbox has: two name servers of its own, unless it names others. */
function allRecords(zone: Zone): readonly ZoneRecord[] {
  if (zone.records.some((record) => record.type === 'NS' && record.name === zone.name)) return zone.records;
  const servers = [1, 2].flatMap((n): ZoneRecord[] => {
    const name = `ns${n}.${zone.name}`;
    return [
      { id: '', name: zone.name, type: 'NS', value: name, ttl: 600 },
      { id: '', name, type: 'A', value: `127.0.0.${n}`, ttl: 600 },
    ];
  });
  return [...servers, ...zone.records];
}

function soa(zone: Zone, ttl: number): Answer {
  const primary = allRecords(zone).find((record) => record.type === 'NS' && record.name === zone.name);
  return {
    type: 'SOA',
    name: zone.name,
    ttl,
    data: {
      mname: primary?.value ?? `ns1.${zone.name}`,
      rname: `hostmaster.${zone.name}`,
      serial: zone.serial,
      refresh: 3600,
      retry: 1200,
      expire: 86_400,
      minimum: NEGATIVE_TTL,
    },
  };
}

/** Two records that differ by line or id only are one in the answer (RFC 2181 §5). */
function unique(records: readonly ZoneRecord[]): ZoneRecord[] {
  return [...new Map(records.map((record) => [`${record.type} ${record.value}`, record])).values()];
}

function toAnswer(name: string, record: ZoneRecord): Answer {
  const { type, value, ttl } = record;
  switch (type) {
    case 'TXT':
      return { type, name, ttl, data: characterStrings(value) };
    case 'CAA': {
      const data = parseCaa(value);
      if (!data) throw new Error(`Not a CAA record: ${value}`);
      return { type, name, ttl, data };
    }
    case 'CNAME':
    case 'NS':
      return { type, name, ttl, data: canonicalName(value) };
    case 'A':
    case 'AAAA':
      return { type, name, ttl, data: value };
  }
}

/** A character-string holds at most 255 octets (RFC 1035 §3.3). */
function characterStrings(text: string): Buffer[] {
  const bytes = Buffer.from(text);
  const strings: Buffer[] = [];
  for (let start = 0; start < bytes.length; start += 255) strings.push(bytes.subarray(start, start + 255));
  return strings;
}

function parseCaa(value: string): CaaData | undefined {
  const [, flags, tag, property] = /^(\d{1,3}) ([a-z0-9]{1,255}) "([^"]*)"$/i.exec(value) ?? [];
  if (flags === undefined || property === undefined || Number(flags) > 255) return undefined;
  // The declarations name three tags; RFC 8659 section 4.1 has no bound.
  return { flags: Number(flags), tag: tag as CaaData['tag'], value: property };
}

function isLabel(label: string): boolean {
  return label.length <= 63 && /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?$/i.test(label);
}

function parentOf(name: string): string {
  const dot = name.indexOf('.');
  return dot === -1 ? '' : name.slice(dot + 1);
}
