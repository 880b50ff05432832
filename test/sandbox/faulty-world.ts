/** A world whose CA is reached through a fault proxy, and what tests of a CA that misbehaves need besides. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type FaultProxy, startFaultProxy } from './fault-proxy.ts';
import type { PebbleOptions } from './pebble.ts';
import { startWorld, type World } from './world.ts';

export interface FaultyWorld {
  readonly world: World;
  readonly proxy: FaultProxy;
  /** The configuration of one certificate for each domain, named after it; every domain is put on the CDN. */
  certificatesFor(domains: readonly string[], acme?: Readonly<Record<string, unknown>>): Record<string, unknown>;
  /** The record of a certificate as it lies in the store. */
  record(name: string): Promise<StoredRecord>;
  /**
   * What waits for an instant waits no longer: that of every failure, limit and piece of advice is moved into the past, and
   * the certificates are an hour older.
   */
  letTimePass(): Promise<void>;
  close(): Promise<void>;
}

/** As much of a record as tests look at. */
export interface StoredRecord {
  readonly certificate?: {
    readonly certId?: string;
    readonly directoryUrl: string;
    readonly fingerprint: string;
    readonly notAfter: string;
  };
  readonly failures?: { readonly code: string; readonly count: number; readonly nextAttemptAt: string };
  readonly advice?: { readonly retryAfter: string };
}

const HOUR = 3_600_000;
const PAST = '2026-01-01T00:00:00.000Z';

/** No authorization is used a second time, and no good nonce is refused: what goes wrong is what the test does. */
export async function startFaultyWorld(
  pebble: Omit<PebbleOptions, 'dnsServer'> = {},
  zones: readonly string[] = ['example.com'],
): Promise<FaultyWorld> {
  const env = { PEBBLE_AUTHZREUSE: '0', PEBBLE_WFE_NONCEREJECT: '0', ...pebble.env };
  const world = await startWorld({ zones, pebble: { ...pebble, env } });
  const proxy = await startFaultProxy(world.pebble);
  return {
    world,
    proxy,
    certificatesFor(domains, acme = {}) {
      for (const domain of domains) world.cdn.set(domain);
      return world.config({
        acme: proxy.acme(acme),
        certificates: domains.map((domain) => ({ name: domain, identifiers: [domain], keyType: 'ec256' })),
      });
    },
    async record(name) {
      return JSON.parse(await readFile(join(world.storePath, 'certificates', name, 'record.json'), 'utf8'));
    },
    async letTimePass() {
      const entries = await readdir(world.storePath, { recursive: true, withFileTypes: true });
      for (const entry of entries.filter(({ name }) => name.endsWith('.json'))) {
        const path = join(entry.parentPath, entry.name);
        const value = JSON.parse(await readFile(path, 'utf8'), (key, inner) => {
          if (key === 'nextAttemptAt' || key === 'retryAfter') return PAST;
          if (key === 'notBefore') return new Date(Date.parse(inner) - HOUR).toISOString();
          return key === 'waits' ? {} : inner;
        });
        await writeFile(path, `${JSON.stringify(value)}\n`);
      }
    },
    async close() {
      await proxy.close();
      await world.close();
    },
  };
}
