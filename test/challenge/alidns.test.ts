import { describe, expect, onTestFinished, test } from 'vitest';
import { createAlidns } from '../../src/aliyun/alidns.ts';
import { createRpc } from '../../src/aliyun/rpc.ts';
import { createAlidnsSolver } from '../../src/challenge/alidns.ts';
import { ACCOUNT, credentials } from '../aliyun/account.ts';
import { fastDeps } from '../aliyun/loopback.ts';
import { createAlidns as createAlidnsSandbox, type DomainSettings } from '../sandbox/alidns.ts';
import { type Dns, startDns } from '../sandbox/dns.ts';
import type { NewRecord } from '../sandbox/dns-zone.ts';
import { startRpcServer } from '../sandbox/rpc-server.ts';

interface Options {
  readonly domains?: Record<string, DomainSettings>;
  readonly patience?: number;
}

async function situation(zones: Record<string, NewRecord[]>, { domains = {}, patience = 60_000 }: Options = {}) {
  const dns = await startDns({ zones });
  const server = await startRpcServer({ products: [createAlidnsSandbox({ dns, domains })], accounts: [ACCOUNT] });
  const deps = fastDeps();
  const rpc = createRpc({ credentials, deps });
  onTestFinished(async () => {
    rpc.close();
    await server.close();
    await dns.close();
  });
  /** A solver as a new process has it. */
  const solver = () =>
    createAlidnsSolver({
      alidns: createAlidns({ rpc, endpoint: server.url, deps }),
      dns: { resolvers: [dns.resolver], propagation: 'authoritative' },
      deps,
      patience,
    });
  return { dns, server, solver };
}

function challenge(identifier: string, keyAuthorization: string) {
  return { identifier, token: `token-${keyAuthorization}`, keyAuthorization };
}

function txt(dns: Dns, zone: string): string[] {
  return dns
    .records(zone)
    .filter(({ type }) => type === 'TXT')
    .map(({ name, value }) => `${name} ${value}`)
    .sort();
}

describe('dns-01 by Alibaba Cloud DNS', () => {
  test('the record is at the challenge name when present resolves, and gone after cleanUp', async () => {
    const { dns, solver } = await situation({ 'example.com': [] });
    const one = solver();
    await one.present(challenge('www.example.com', 'value'));
    expect(txt(dns, 'example.com')).toEqual(['_acme-challenge.www.example.com value']);
    await one.cleanUp(challenge('www.example.com', 'value'));
    expect(txt(dns, 'example.com')).toEqual([]);
  });

  test('F30 apex and wildcard have a value each at the same name, and one is cleaned up without the other', async () => {
    const { dns, solver } = await situation({ 'example.com': [] });
    const one = solver();
    await Promise.all([
      one.present(challenge('example.com', 'apex')),
      one.present(challenge('example.com', 'wildcard')),
    ]);
    expect(txt(dns, 'example.com')).toEqual([
      '_acme-challenge.example.com apex',
      '_acme-challenge.example.com wildcard',
    ]);
    await one.cleanUp(challenge('example.com', 'apex'));
    expect(txt(dns, 'example.com')).toEqual(['_acme-challenge.example.com wildcard']);
  });

  test('F29 the record goes where CNAME records lead, and so does its deletion', async () => {
    const { dns, solver } = await situation({
      'example.org': [{ name: '_acme-challenge.www.example.org', type: 'CNAME', value: 'www.acme.example.com' }],
      'acme.example.com': [],
      'example.com': [],
    });
    await solver().present(challenge('www.example.org', 'value'));
    expect(txt(dns, 'acme.example.com')).toEqual(['www.acme.example.com value']);
    await solver().cleanUp(challenge('www.example.org', 'value'));
    expect(txt(dns, 'acme.example.com')).toEqual([]);
  });

  test('F31 two domains that are delegated to one name keep each other’s values', async () => {
    const to = (domain: string): NewRecord => ({
      name: `_acme-challenge.${domain}`,
      type: 'CNAME',
      value: 'all.acme.net',
    });
    const { dns, solver } = await situation({
      'example.org': [to('a.example.org'), to('b.example.org')],
      'acme.net': [],
    });
    const [one, two] = [solver(), solver()];
    await Promise.all([one.present(challenge('a.example.org', 'a')), two.present(challenge('b.example.org', 'b'))]);
    expect(txt(dns, 'acme.net')).toEqual(['all.acme.net a', 'all.acme.net b']);
    await one.cleanUp(challenge('a.example.org', 'a'));
    expect(txt(dns, 'acme.net')).toEqual(['all.acme.net b']);
  });

  test('the longest zone that holds the name takes the record', async () => {
    const { dns, solver } = await situation({ 'example.com': [], 'sub.example.com': [] });
    await solver().present(challenge('www.sub.example.com', 'value'));
    expect(txt(dns, 'sub.example.com')).toEqual(['_acme-challenge.www.sub.example.com value']);
    expect(txt(dns, 'example.com')).toEqual([]);
  });

  test('the zone of an internationalized domain is found by its A-labels', async () => {
    const { dns, solver } = await situation({ 'xn--fiq228c.example': [] });
    await solver().present(challenge('www.xn--fiq228c.example', 'value'));
    expect(txt(dns, 'xn--fiq228c.example')).toEqual(['_acme-challenge.www.xn--fiq228c.example value']);
  });

  test('a zone on the second page of the account’s list is found', async () => {
    const zones = Object.fromEntries(
      Array.from({ length: 130 }, (_, nth): [string, NewRecord[]] => [`z${nth}.example`, []]),
    );
    const { dns, server, solver } = await situation(zones);
    for (const zone of ['z0.example', 'z64.example', 'z129.example']) {
      await solver().present(challenge(zone, 'value'));
      expect(txt(dns, zone)).toEqual([`_acme-challenge.${zone} value`]);
    }
    expect(server.callsOf('DescribeDomains')).toHaveLength(6);
  });

  test('a name that is in no zone of the account says how to delegate it; a zone that only ends alike is none', async () => {
    const theirs: DomainSettings = { owner: 'other' };
    const zones = { 'example.com': [], 'myexample.com': [], 'other.net': [] };
    const { dns, solver } = await situation(zones, { domains: { 'other.net': theirs, 'myexample.com': theirs } });
    await expect(solver().present(challenge('www.myexample.com', 'v'))).rejects.toMatchObject({
      code: 'DNS_ZONE_NOT_FOUND',
      retryable: false,
      remedy: expect.stringContaining('CNAME record at _acme-challenge.www.myexample.com'),
    });
    await expect(solver().present(challenge('www.other.net', 'v'))).rejects.toMatchObject({
      code: 'DNS_ZONE_NOT_FOUND',
    });
    await solver().cleanUp(challenge('www.other.net', 'v'));
    expect(txt(dns, 'other.net')).toEqual([]);
  });

  test('F33 presenting what is there already is harmless, as a repeated run does', async () => {
    const { dns, solver } = await situation({ 'example.com': [] });
    await solver().present(challenge('www.example.com', 'value'));
    await solver().present(challenge('www.example.com', 'value'));
    expect(txt(dns, 'example.com')).toEqual(['_acme-challenge.www.example.com value']);
  });

  test('F33 a record that was added and not answered for is one record, and present goes on', async () => {
    const { dns, server, solver } = await situation({ 'example.com': [] });
    server.intercept(({ action, nth }) => (action === 'AddDomainRecord' && nth === 1 ? 'reset-after' : undefined));
    await solver().present(challenge('www.example.com', 'value'));
    expect(txt(dns, 'example.com')).toEqual(['_acme-challenge.www.example.com value']);
  });

  test('F34 cleanUp in a later process deletes by exact value, and leaves everybody else’s', async () => {
    const { dns, solver } = await situation({
      'example.com': [
        { name: '_acme-challenge.www.example.com', type: 'TXT', value: 'value-of-somebody-else' },
        { name: '_acme-challenge.www.example.com', type: 'TXT', value: 'VALUE' },
        { name: 'x._acme-challenge.www.example.com', type: 'TXT', value: 'value' },
      ],
    });
    await solver().present(challenge('www.example.com', 'value'));
    await solver().cleanUp(challenge('www.example.com', 'value'));
    expect(txt(dns, 'example.com')).toEqual([
      '_acme-challenge.www.example.com VALUE',
      '_acme-challenge.www.example.com value-of-somebody-else',
      'x._acme-challenge.www.example.com value',
    ]);
  });

  test('F34 cleanUp of what is gone already, or never was, is no error', async () => {
    const { solver } = await situation({ 'example.com': [] });
    await solver().cleanUp(challenge('www.example.com', 'value'));
    const one = solver();
    await one.present(challenge('www.example.com', 'value'));
    await one.cleanUp(challenge('www.example.com', 'value'));
    await one.cleanUp(challenge('www.example.com', 'value'));
  });

  test('writes to one zone wait for each other, so that none is refused as too early', async () => {
    const { dns, server, solver } = await situation(
      { 'example.com': [] },
      { domains: { 'example.com': { writeIntervalMs: 20 } } },
    );
    const one = solver();
    const values = ['a', 'b', 'c', 'd'];
    await Promise.all(values.map((value) => one.present(challenge(`${value}.example.com`, value))));
    await Promise.all(values.map((value) => one.cleanUp(challenge(`${value}.example.com`, value))));
    expect(txt(dns, 'example.com')).toEqual([]);
    expect(server.calls.filter(({ code }) => code === 'LastOperationNotFinished')).toEqual([]);
  });

  test('F33 a zone that is busy with somebody else’s change is asked again', async () => {
    const { dns, solver } = await situation(
      { 'example.com': [] },
      { domains: { 'example.com': { writeIntervalMs: 300 } } },
    );
    const [one, two] = [solver(), solver()];
    await Promise.all([one.present(challenge('a.example.com', 'a')), two.present(challenge('b.example.com', 'b'))]);
    expect(txt(dns, 'example.com')).toHaveLength(2);
  });

  test('a CNAME that stands at the very name, and that the resolver does not know of yet, is followed', async () => {
    const { dns, solver } = await situation({ 'example.com': [], 'acme.net': [] });
    dns.lag('resolver', 'held');
    dns.lag('ns1', 'held');
    dns.lag('ns2', 'held');
    dns.addRecord('example.com', { name: '_acme-challenge.www.example.com', type: 'CNAME', value: 'www.acme.net' });
    const presenting = solver().present(challenge('www.example.com', 'value'));
    await dns.seen('www.acme.net', 'TXT');
    for (const server of ['resolver', 'ns1', 'ns2'] as const) dns.release(server);
    await presenting;
    expect(txt(dns, 'acme.net')).toEqual(['www.acme.net value']);
  });

  test('F33 a zone that may not be changed is refused at once', async () => {
    const { solver } = await situation({ 'example.com': [] }, { domains: { 'example.com': { locked: true } } });
    await expect(solver().present(challenge('www.example.com', 'v'))).rejects.toMatchObject({
      code: 'DNS_ZONE_LOCKED',
      retryable: false,
    });
  });

  test('F33 what is never visible ends in an error, and can be cleaned up afterwards', async () => {
    const { dns, solver } = await situation({ 'example.com': [] }, { patience: 2_000 });
    dns.lag('ns2', 'held');
    const one = solver();
    await expect(one.present(challenge('www.example.com', 'value'))).rejects.toMatchObject({
      code: 'DNS_NOT_PROPAGATED',
    });
    await one.cleanUp(challenge('www.example.com', 'value'));
    expect(txt(dns, 'example.com')).toEqual([]);
  });
});
