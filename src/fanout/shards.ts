import { registrableDomain } from '../suffix.ts';

interface Named {
  readonly spec: { readonly identifiers: readonly string[] };
}

/**
 * Splits the work into at most `count` shards of nearly one size, each in the order that was given. Certificates that share
 * a registered domain are in one shard: what a CA limits for a domain is one worker's affair then, and so is its zone,
 * whose changes Alibaba Cloud DNS takes one after the other however many ask. Pure.
 */
export function shardsOf<T extends Named>(work: readonly T[], count: number): T[][] {
  const shards = Array.from({ length: Math.max(1, count) }, (): T[] => []);
  const bySize = familiesOf(work).sort((a, b) => b.length - a.length);
  for (const family of bySize) shards.reduce((least, one) => (one.length < least.length ? one : least)).push(...family);
  const place = new Map(work.map((one, index) => [one, index]));
  const order = (a: T, b: T) => (place.get(a) ?? 0) - (place.get(b) ?? 0);
  return shards.filter((shard) => shard.length > 0).map((shard) => shard.sort(order));
}

/** Certificates that are bound to each other by their registered domains, also by way of others. */
function familiesOf<T extends Named>(work: readonly T[]): T[][] {
  const heads = new Map<string, string>();
  const headOf = (domain: string): string => {
    let head = domain;
    for (let next = heads.get(head); next !== undefined && next !== head; next = heads.get(head)) head = next;
    heads.set(domain, head);
    return head;
  };
  const domainsOf = ({ spec }: T) => spec.identifiers.map((name) => registrableDomain(name) ?? name);
  for (const one of work) {
    const [first = '', ...others] = domainsOf(one);
    for (const other of others) heads.set(headOf(other), headOf(first));
  }
  const families = new Map<string, T[]>();
  for (const one of work) {
    const head = headOf(domainsOf(one)[0] ?? '');
    const family = families.get(head);
    if (family) family.push(one);
    else families.set(head, [one]);
  }
  return [...families.values()];
}
