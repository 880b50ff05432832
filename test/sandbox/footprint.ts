/** What a run leaves behind, as values that a test can compare. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { Renewal, World } from './world.ts';

/** Every file below a folder: path to SHA-256. */
export async function treeOf(folder: string): Promise<Record<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const hashed = paths.sort().map(async (path) => [relative(folder, path), await sha256(path)] as const);
  return Object.fromEntries(await Promise.all(hashed));
}

/** Certificate name to status. */
export function statusesOf({ report }: Renewal): Record<string, string> {
  return Object.fromEntries(report.outcomes.map(({ name, status }) => [name, status]));
}

/** Certificate name to `action reason`. */
export function decisionsOf({ report }: Renewal): Record<string, string> {
  return Object.fromEntries(
    report.outcomes.map(({ name, decision }) => [name, decision ? `${decision.action} ${decision.reason}` : '']),
  );
}

/** Certificate name to error code, for those that failed. */
export function errorsOf({ report }: Renewal): Record<string, string> {
  return Object.fromEntries(report.outcomes.flatMap(({ name, error }) => (error ? [[name, error.code]] : [])));
}

/** The TXT values below a zone, sorted. */
export function txtRecords({ dns }: World, zone: string): string[] {
  const records = dns.records(zone).filter(({ type }) => type === 'TXT');
  return records.map(({ name, value }) => `${name} ${String(value)}`).sort();
}

/** The orders that the CA was asked for, as its own log tells. */
export function ordersAt({ pebble }: Pick<World, 'pebble'>): number {
  return pebble.log.filter((line) => line.includes('Added order')).length;
}

async function sha256(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}
