import { describe, expect, onTestFinished, test } from 'vitest';
import { createPropagation, type DnsOptions } from '../../src/challenge/propagation.ts';
import type { Deps } from '../../src/deps.ts';
import { fastDeps } from '../aliyun/loopback.ts';
import { type Dns, startDns } from '../sandbox/dns.ts';
import type { NewRecord } from '../sandbox/dns-zone.ts';

const NAME = '_acme-challenge.www.example.com';

interface Options {
  readonly zones?: Record<string, NewRecord[]>;
  readonly deps?: Deps;
  readonly propagation?: DnsOptions['propagation'];
  readonly patience?: number;
  readonly resolvers?: (dns: Dns) => string[];
}

async function situation(options: Options = {}) {
  const { zones = { 'example.com': [] }, deps = fastDeps(), propagation = 'authoritative', patience } = options;
  const dns = await startDns({ zones });
  onTestFinished(() => dns.close());
  const resolvers = options.resolvers?.(dns) ?? [dns.resolver];
  return {
    dns,
    propagation: createPropagation({
      dns: { resolvers, propagation },
      deps,
      ...(patience !== undefined && { patience }),
    }),
  };
}

function add(dns: Dns, value: string, name = NAME, zone = 'example.com'): string {
  return dns.addRecord(zone, { name, type: 'TXT', value });
}

describe('following CNAME records', () => {
  const chain = (length: number): NewRecord[] =>
    Array.from({ length }, (_, nth) => ({
      name: `c${nth}.example.com`,
      type: 'CNAME',
      value: `c${nth + 1}.example.com`,
    }));

  test('F29 a name without one leads to itself', async () => {
    const { propagation } = await situation();
    expect(await propagation.followCnames('Www.Example.COM.')).toBe('www.example.com');
  });

  test.each([1, 2, 8])('F29 a chain of %i is followed to its end, which need not exist', async (length) => {
    const { propagation } = await situation({ zones: { 'example.com': chain(length) } });
    expect(await propagation.followCnames('c0.example.com')).toBe(`c${length}.example.com`);
  });

  test('F29 a chain of nine is refused', async () => {
    const { propagation } = await situation({ zones: { 'example.com': chain(9) } });
    await expect(propagation.followCnames('c0.example.com')).rejects.toMatchObject({
      code: 'DNS_CNAME_LOOP',
      retryable: false,
    });
  });

  test('F29 a circle is an error after as many queries as it has names, and names them', async () => {
    const circle: NewRecord[] = [
      { name: 'a.example.com', type: 'CNAME', value: 'b.example.com' },
      { name: 'b.example.com', type: 'CNAME', value: 'a.example.com' },
    ];
    const { dns, propagation } = await situation({ zones: { 'example.com': circle } });
    const lookup = propagation.followCnames('a.example.com');
    await expect(lookup).rejects.toMatchObject({
      code: 'DNS_CNAME_LOOP',
      message: expect.stringContaining('a.example.com -> b.example.com'),
    });
    expect(dns.queries.filter(({ type }) => type === 'CNAME')).toHaveLength(2);
  });

  test('F28 a server failure is tried again, and when it stays it is an error that may be tried later', async () => {
    const { dns, propagation } = await situation();
    dns.fail(NAME, 'SERVFAIL');
    await expect(propagation.followCnames(NAME)).rejects.toMatchObject({ code: 'DNS_LOOKUP_FAILED', retryable: true });
    expect(dns.queries.filter(({ name }) => name === NAME).length).toBeGreaterThanOrEqual(3);
    dns.recover(NAME);
    expect(await propagation.followCnames(NAME)).toBe(NAME);
  });
});

describe('waiting for a TXT value', () => {
  test('all authoritative servers are asked themselves, the resolver’s answer does not count', async () => {
    const { dns, propagation } = await situation();
    add(dns, 'value');
    await propagation.waitForTxt(NAME, 'value');
    const asked = dns.queries.filter(({ name, type }) => name === NAME && type === 'TXT').map(({ server }) => server);
    expect(new Set(asked)).toEqual(new Set(['ns1', 'ns2']));
  });

  test('the addresses of a zone’s name servers are looked up once, however many names are waited for', async () => {
    const { dns, propagation } = await situation();
    const names = ['a', 'b', 'c'].map((label) => `_acme-challenge.${label}.example.com`);
    for (const name of names) add(dns, 'value', name);
    await Promise.all(names.map((name) => propagation.waitForTxt(name, 'value')));
    await propagation.waitForTxt(names[0] ?? '', 'value');
    expect(dns.queries.filter(({ name, type }) => name === 'ns1.example.com' && type === 'A')).toHaveLength(1);
  });

  test('F28 F33 a server that answers without the value is waited for', async () => {
    const { dns, propagation } = await situation();
    dns.lag('ns2', 'held');
    add(dns, 'value');
    let visible = false;
    const waiting = propagation.waitForTxt(NAME, 'value').then(() => {
      visible = true;
    });
    await dns.seen(NAME, 'TXT', { server: 'ns1' });
    await dns.seen(NAME, 'TXT', { server: 'ns2' });
    await dns.seen(NAME, 'TXT', { server: 'ns2', from: dns.queries.length });
    expect(visible).toBe(false);
    dns.release('ns2');
    await waiting;
  });

  test('F28 a stale value and fifty others do not count as the value', async () => {
    const { dns, propagation } = await situation({ patience: 2_000 });
    for (let nth = 0; nth < 50; nth += 1) add(dns, `old-${nth}`);
    await expect(propagation.waitForTxt(NAME, 'value')).rejects.toMatchObject({ code: 'DNS_NOT_PROPAGATED' });
    add(dns, 'value');
    await propagation.waitForTxt(NAME, 'value');
  });

  test('F30 a value among others at the same name is found', async () => {
    const { dns, propagation } = await situation();
    add(dns, 'apex');
    add(dns, 'wildcard');
    await Promise.all([propagation.waitForTxt(NAME, 'apex'), propagation.waitForTxt(NAME, 'wildcard')]);
  });

  test('a dead server is left out as long as another one answers', async () => {
    const { dns, propagation } = await situation();
    dns.fail(NAME, 'SERVFAIL', { server: 'ns2' });
    add(dns, 'value');
    await propagation.waitForTxt(NAME, 'value');
  });

  test('a server that never answers does not block, and is not waited for a second time', {
    timeout: 40_000,
  }, async () => {
    const { dns, propagation } = await situation();
    dns.fail(NAME, 'timeout', { server: 'ns2' });
    add(dns, 'value');
    await propagation.waitForTxt(NAME, 'value');
    const before = dns.queries.filter(({ server, name }) => server === 'ns2' && name === NAME).length;
    add(dns, 'second');
    await propagation.waitForTxt(NAME, 'second');
    const after = dns.queries.filter(({ server, name }) => server === 'ns2' && name === NAME).length;
    expect(before).toBeGreaterThanOrEqual(3);
    expect(after - before).toBeLessThanOrEqual(2);
  });

  test('servers of which none has the value are not all left out, even when all have gone silent', async () => {
    const { dns, propagation } = await situation({ patience: 20_000 });
    const waiting = propagation.waitForTxt(NAME, 'value');
    await dns.seen(NAME, 'TXT', { server: 'ns1' });
    dns.fail(NAME, 'SERVFAIL');
    await expect(waiting).rejects.toMatchObject({ code: 'DNS_NOT_PROPAGATED' });
  });

  test('the error names the server that lags, and not the one that has the value', async () => {
    const { dns, propagation } = await situation({ patience: 3_000 });
    dns.lag('ns2', 'held');
    add(dns, 'value');
    const error = await propagation.waitForTxt(NAME, 'value').catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'DNS_NOT_PROPAGATED', retryable: true });
    expect(String(error)).toContain(`${dns.addresses.ns2}:${dns.port}`);
    expect(String(error)).not.toContain(`${dns.addresses.ns1}:${dns.port}`);
  });

  test('waiting ends before the deadline, so that there is time to clean up', async () => {
    const deps = fastDeps(30);
    const { propagation } = await situation({ deps });
    await expect(propagation.waitForTxt(NAME, 'value')).rejects.toMatchObject({ code: 'DNS_NOT_PROPAGATED' });
    expect(deps.now().getTime()).toBeLessThan(deps.deadline.getTime());
  });

  test('the last look is at the very end of the wait, however long the one before it took', async () => {
    const fast = fastDeps();
    const startedAt = Date.parse('2026-11-28T00:00:00Z');
    let slept = 0;
    // Each question to ns2 takes 7 s of the 20 s: the third is asked before their end and answered after it.
    const asked = () => dns.queries.filter(({ server, type }) => server === 'ns2' && type === 'TXT').length;
    const deps: Deps = {
      ...fast,
      deadline: new Date(startedAt + 600_000),
      now: () => new Date(startedAt + slept + 7_000 * asked()),
      sleep: async (milliseconds, signal) => {
        await fast.sleep(milliseconds, signal);
        slept += milliseconds;
        if (deps.now().getTime() >= startedAt + 20_000) dns.release('ns2');
      },
    };
    const { dns, propagation } = await situation({ deps, patience: 20_000 });
    dns.lag('ns2', 'held');
    add(dns, 'value');
    await propagation.waitForTxt(NAME, 'value');
    expect(asked()).toBe(4);
  });

  test('by `resolvers` the resolvers alone are asked', async () => {
    const { dns, propagation } = await situation({ propagation: 'resolvers' });
    dns.lag('ns2', 'held');
    add(dns, 'value');
    await propagation.waitForTxt(NAME, 'value');
    expect(new Set(dns.queries.filter(({ type }) => type === 'TXT').map(({ server }) => server))).toEqual(
      new Set(['resolver']),
    );
  });
});

test('resolvers that are no addresses are a configuration error', async () => {
  await expect(situation({ resolvers: () => ['dns.example.com'] })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
});
