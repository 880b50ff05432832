import { createDnsServer, type DnsListener, type Question } from './dns-server.ts';
import {
  answerFromZones,
  canonicalName,
  isOwnerName,
  isValue,
  isWithin,
  type NewRecord,
  type Rcode,
  type Zone,
  type ZoneAnswer,
  type ZoneRecord,
} from './dns-zone.ts';
import { injected } from './injections.ts';

/** ns1 and ns2 serve the zones; `resolver` is what a recursive resolver of the sandbox knows, without the AA bit. */
export type ServerName = 'ns1' | 'ns2' | 'resolver';

const SERVER_ADDRESSES: Readonly<Record<ServerName, string>> = {
  ns1: '127.0.0.1',
  ns2: '127.0.0.2',
  resolver: '127.0.0.3',
};

/** One question as it came in. `name` is in canonical form: lower case, no trailing dot. */
export interface Query {
  readonly server: ServerName;
  readonly name: string;
  readonly type: string;
  readonly transport: 'udp' | 'tcp';
  readonly recursionDesired: boolean;
  /** `undefined`: no answer was sent. */
  readonly rcode: Rcode | undefined;
}

export interface RecordChange {
  readonly zone: string;
  readonly change: 'add' | 'remove';
  readonly record: ZoneRecord;
}

export interface Dns {
  /** UDP and TCP, the same on every server: a client that knows the resolver's port knows the authoritative ones'. */
  readonly port: number;
  /** `address:port` of the recursive resolver, for Pebble's `-dnsserver` and `dns.resolvers`. ns1 and ns2 recurse too. */
  readonly resolver: string;
  readonly addresses: Readonly<Record<ServerName, string>>;
  readonly queries: readonly Query[];

  addZone(name: string, records?: readonly NewRecord[]): void;
  removeZone(name: string): void;
  zoneNames(): string[];
  /** The record's id: digits, different in the whole sandbox. Throws where no zone of that name is held. */
  addRecord(zone: string, record: NewRecord): string;
  /** The record keeps its id. Servers never see the moment between the old and the new one. */
  updateRecord(id: string, record: NewRecord): void;
  /** False when there is no such record. */
  removeRecord(id: string): boolean;
  /** What is true now, whatever the servers still serve; oldest first. */
  records(zone: string): readonly ZoneRecord[];
  onChange(listener: (change: RecordChange) => void): () => void;

  /** From now on changes reach the server after `milliseconds`, or only by `release`. */
  lag(server: ServerName, delay: number | 'held'): void;
  /** The server serves what is true again, at once and from now on. */
  release(server: ServerName): void;
  /** The server receives, and never answers, like a host behind a firewall. */
  silence(server: ServerName): void;
  revive(server: ServerName): void;
  /** Questions for that name get `rcode`, or no answer at all. */
  fail(name: string, failure: Rcode | 'timeout', only?: { server?: ServerName; type?: string }): void;
  recover(name: string): void;

  onQuery(listener: (query: Query) => void): () => void;
  /** The first query for name and type with at least index `from` (default 0) in `queries`, when it was or is seen. */
  seen(name: string, type: string, options?: { server?: ServerName; from?: number }): Promise<Query>;
  /** Ends the servers and their connections; a waiting `seen` is rejected. */
  close(): Promise<void>;
}

interface Server {
  zones: ReadonlyMap<string, Zone>;
  version: number;
  lag: number | 'held';
  silent: boolean;
  readonly timers: Set<NodeJS.Timeout>;
}

interface Failure {
  readonly failure: Rcode | 'timeout';
  readonly server: ServerName | undefined;
  readonly type: string | undefined;
}

/** Records added to names of zones: `{ 'example.com': [{ name: 'www.example.com', type: 'A', value: '127.0.0.1' }] }`. */
export async function startDns(options: { zones?: Readonly<Record<string, readonly NewRecord[]>> } = {}): Promise<Dns> {
  const truth = new Map<string, Zone>();
  const queries: Query[] = [];
  const queryListeners = new Set<(query: Query) => void>();
  const changeListeners = new Set<(change: RecordChange) => void>();
  const waiting = new Set<(reason: Error) => void>();
  const failures = new Map<string, Failure[]>();
  let lastId = 780_000_000_000_000_000n;
  let published = 0;

  const newServer = (): Server => ({ zones: new Map(), version: 0, lag: 0, silent: false, timers: new Set() });
  const servers: Record<ServerName, Server> = { ns1: newServer(), ns2: newServer(), resolver: newServer() };

  const publishTo = (server: Server): void => {
    const zones = new Map(truth);
    published += 1;
    const version = published;
    // A change under a long lag must not undo a later one under a shorter lag.
    const apply = (): void => {
      if (version > server.version) Object.assign(server, { zones, version });
    };
    if (server.lag === 0) {
      apply();
      return;
    }
    injected();
    if (server.lag === 'held') return;
    const timer = setTimeout(() => {
      server.timers.delete(timer);
      apply();
    }, server.lag);
    server.timers.add(timer);
  };
  const publish = (): void => {
    for (const server of Object.values(servers)) publishTo(server);
  };

  const zoneNamed = (name: string): Zone => {
    const zone = truth.get(canonicalName(name));
    if (!zone) throw new Error(`The DNS of the sandbox holds no zone ${name}`);
    return zone;
  };
  const setRecords = (zone: Zone, records: readonly ZoneRecord[]): void => {
    truth.set(zone.name, { name: zone.name, serial: zone.serial + 1, records });
  };
  const toRecord = (zone: Zone, id: string, record: NewRecord): ZoneRecord => {
    const name = canonicalName(record.name);
    if (!isWithin(name, zone.name)) throw new Error(`${record.name} is not in the zone ${zone.name}`);
    if (!isOwnerName(name)) throw new Error(`${record.name} cannot own a record`);
    if (!isValue(record.type, record.value)) throw new Error(`Not a value of type ${record.type}: ${record.value}`);
    return { id, name, type: record.type, value: record.value, ttl: record.ttl ?? 600 };
  };
  const holderOf = (id: string): { zone: Zone; record: ZoneRecord } | undefined => {
    for (const zone of truth.values()) {
      const record = zone.records.find((candidate) => candidate.id === id);
      if (record) return { zone, record };
    }
    return undefined;
  };
  const announce = (zone: Zone, change: RecordChange['change'], record: ZoneRecord): void => {
    for (const listener of changeListeners) listener({ zone: zone.name, change, record });
  };

  const addRecord: Dns['addRecord'] = (zoneName, newRecord) => {
    const zone = zoneNamed(zoneName);
    lastId += 1n;
    const record = toRecord(zone, String(lastId), newRecord);
    setRecords(zone, [...zone.records, record]);
    publish();
    announce(zone, 'add', record);
    return record.id;
  };

  const answer = (serverName: ServerName, question: Question): ZoneAnswer | undefined => {
    const server = servers[serverName];
    const name = canonicalName(question.name);
    const failure = failures
      .get(name)
      ?.find((f) => (f.server ?? serverName) === serverName && (f.type ?? question.type) === question.type)?.failure;
    let result: ZoneAnswer | undefined;
    if (server.silent || failure) injected();
    if (!server.silent && failure !== 'timeout') {
      const found = failure ? empty(failure) : answerFromZones(server.zones, question.name, question.type);
      result = serverName === 'resolver' && !failure ? resolved(found, question.type) : found;
    }
    const { type, transport, recursionDesired } = question;
    const query: Query = { server: serverName, name, type, transport, recursionDesired, rcode: result?.rcode };
    queries.push(query);
    for (const listener of [...queryListeners]) listener(query);
    return result;
  };

  for (const [name, records] of Object.entries(options.zones ?? {})) addZone(name, records);
  function addZone(name: string, records: readonly NewRecord[] = []): void {
    const zone: Zone = { name: canonicalName(name), serial: 1, records: [] };
    if (truth.has(zone.name)) throw new Error(`The DNS of the sandbox holds the zone ${name} already`);
    truth.set(zone.name, zone);
    publish();
    for (const record of records) addRecord(zone.name, record);
  }

  function onQuery(listener: (query: Query) => void): () => void {
    queryListeners.add(listener);
    return () => queryListeners.delete(listener);
  }

  const listening = await listen(answer);

  return {
    port: listening.port,
    resolver: `${SERVER_ADDRESSES.resolver}:${listening.port}`,
    addresses: SERVER_ADDRESSES,
    queries,
    addZone,
    removeZone(name) {
      truth.delete(zoneNamed(name).name);
      publish();
    },
    zoneNames: () => [...truth.keys()],
    addRecord,
    updateRecord(id, newRecord) {
      const held = holderOf(id);
      if (!held) throw new Error(`No record ${id}`);
      const record = toRecord(held.zone, id, newRecord);
      setRecords(
        held.zone,
        held.zone.records.map((other) => (other.id === id ? record : other)),
      );
      publish();
      announce(held.zone, 'remove', held.record);
      announce(held.zone, 'add', record);
    },
    removeRecord(id) {
      const held = holderOf(id);
      if (!held) return false;
      setRecords(
        held.zone,
        held.zone.records.filter((other) => other.id !== id),
      );
      publish();
      announce(held.zone, 'remove', held.record);
      return true;
    },
    records: (zone) => zoneNamed(zone).records,
    onChange(listener) {
      changeListeners.add(listener);
      return () => changeListeners.delete(listener);
    },

    lag(name, delay) {
      servers[name].lag = delay;
    },
    release(name) {
      const server = servers[name];
      for (const timer of server.timers) clearTimeout(timer);
      server.timers.clear();
      server.lag = 0;
      publishTo(server);
    },
    silence(name) {
      servers[name].silent = true;
    },
    revive(name) {
      servers[name].silent = false;
    },
    fail(name, failure, only = {}) {
      const key = canonicalName(name);
      failures.set(key, [{ failure, server: only.server, type: only.type }, ...(failures.get(key) ?? [])]);
    },
    recover(name) {
      failures.delete(canonicalName(name));
    },

    onQuery,
    seen(name, type, { server, from = 0 } = {}) {
      const wanted = (query: Query): boolean =>
        query.name === canonicalName(name) && query.type === type && (server ?? query.server) === query.server;
      const earlier = queries.slice(from).find(wanted);
      if (earlier) return Promise.resolve(earlier);
      return new Promise<Query>((resolve, reject) => {
        const stop = onQuery((query) => {
          if (queries.length <= from || !wanted(query)) return;
          stop();
          waiting.delete(reject);
          resolve(query);
        });
        waiting.add(reject);
      });
    },
    async close() {
      for (const reject of waiting) reject(new Error('The DNS of the sandbox was closed'));
      for (const server of Object.values(servers)) for (const timer of server.timers) clearTimeout(timer);
      await listening.close();
    },
  };
}

/** A recursive resolver is no authority for anything, and fails where an authoritative server stops half-way. */
function resolved(answer: ZoneAnswer, type: string): ZoneAnswer {
  const referral = answer.authorities.some((record) => record.type === 'NS');
  const broken =
    answer.rcode === 'NOERROR' &&
    answer.authorities.length === 0 &&
    !answer.answers.some((record) => record.type === type || type === 'ANY');
  return referral || broken ? empty('SERVFAIL') : { ...answer, authoritative: false };
}

function empty(rcode: Rcode): ZoneAnswer {
  return { rcode, authoritative: false, answers: [], authorities: [], additionals: [] };
}

type Answering = (server: ServerName, question: Question) => ZoneAnswer | undefined;

/** All servers on one port: another program may hold it on one of the addresses, then a new one is drawn. */
async function listen(answer: Answering): Promise<DnsListener> {
  for (let attempt = 1; ; attempt += 1) {
    const listeners: DnsListener[] = [];
    try {
      for (const server of ['ns1', 'ns2', 'resolver'] as const) {
        const port = listeners[0]?.port ?? 0;
        listeners.push(await createDnsServer(SERVER_ADDRESSES[server], port, (question) => answer(server, question)));
      }
      const port = listeners[0]?.port ?? 0;
      return {
        port,
        async close() {
          await Promise.all(listeners.map((listener) => listener.close()));
        },
      };
    } catch (error) {
      await Promise.all(listeners.map((listener) => listener.close()));
      if (attempt === 20) throw error;
    }
  }
}
