import { describe, expect, onTestFinished, test } from 'vitest';
import { createAlidns } from '../../src/aliyun/alidns.ts';
import { createRpc } from '../../src/aliyun/rpc.ts';
import { createAlidns as createAlidnsSandbox, type DomainSettings } from '../sandbox/alidns.ts';
import { startDns } from '../sandbox/dns.ts';
import type { NewRecord } from '../sandbox/dns-zone.ts';
import { ApiError } from '../sandbox/product.ts';
import { startRpcServer } from '../sandbox/rpc-server.ts';
import { ACCOUNT, credentials } from './account.ts';
import { type fastDeps, steppedDeps } from './loopback.ts';

async function situation(
  zones: Record<string, NewRecord[]>,
  {
    settings = {},
    deps = steppedDeps(),
  }: { settings?: Record<string, DomainSettings>; deps?: ReturnType<typeof fastDeps> } = {},
) {
  const dns = await startDns({ zones });
  const server = await startRpcServer({
    products: [createAlidnsSandbox({ dns, domains: settings })],
    accounts: [ACCOUNT],
  });
  const rpc = createRpc({ credentials, deps });
  onTestFinished(async () => {
    rpc.close();
    await server.close();
    await dns.close();
  });
  return { dns, server, alidns: createAlidns({ rpc, endpoint: server.url, deps }), deps };
}

const NAME = { DomainName: 'example.com', RR: '_acme-challenge', Type: 'TXT' } as const;

describe('records', () => {
  test('a second value is added to the first, and each has a RecordId of its own', async () => {
    const { dns, alidns } = await situation({ 'example.com': [] });
    const one = await alidns.addDomainRecord({ ...NAME, Value: 'one' });
    const two = await alidns.addDomainRecord({ ...NAME, Value: 'two' });
    expect(new Set([one, two]).size).toBe(2);
    expect(
      dns
        .records('example.com')
        .filter(({ type }) => type === 'TXT')
        .map(({ value }) => value),
    ).toEqual(['one', 'two']);
  });

  test('a RecordId of 18 digits keeps every one of them', async () => {
    const { dns, alidns } = await situation({ 'example.com': [] });
    const id = await alidns.addDomainRecord({ ...NAME, Value: 'one' });
    expect(id).toBe(dns.records('example.com').find(({ type }) => type === 'TXT')?.id);
    expect((await alidns.describeSubDomainRecords(NAME)).map(({ RecordId }) => RecordId)).toEqual([id]);
  });

  test('F33 the value that is there already is success, with the RecordId it has', async () => {
    const { alidns } = await situation({ 'example.com': [] });
    const first = await alidns.addDomainRecord({ ...NAME, Value: 'one' });
    expect(await alidns.addDomainRecord({ ...NAME, Value: 'one' })).toBe(first);
  });

  test('F33 a duplicate that has another value is not success', async () => {
    const { server, alidns } = await situation({ 'example.com': [] });
    server.intercept(({ action }) =>
      action === 'AddDomainRecord'
        ? new ApiError(400, 'DomainRecordDuplicate', 'The DNS record already exists.')
        : undefined,
    );
    await expect(alidns.addDomainRecord({ ...NAME, Value: 'one' })).rejects.toMatchObject({
      code: 'DNS_RECORD_CONFLICT',
    });
  });

  test.each([
    ['DomainRecordConflict', 'DNS_RECORD_CONFLICT'],
    ['QuotaExceeded.Record', 'DNS_RECORD_QUOTA'],
    ['Forbidden.DomainExpired', 'DNS_ZONE_LOCKED'],
    ['InvalidDomainName.NoExist', 'DNS_ZONE_NOT_FOUND'],
  ])('F33 %s is refused at once as %s', async (apiCode, code) => {
    const { server, alidns } = await situation({ 'example.com': [] });
    server.intercept(({ action }) => (action === 'AddDomainRecord' ? new ApiError(400, apiCode, 'no') : undefined));
    await expect(alidns.addDomainRecord({ ...NAME, Value: 'one' })).rejects.toMatchObject({ code, retryable: false });
    expect(server.callsOf('AddDomainRecord')).toHaveLength(1);
  });

  test('F33 an operation that is not finished is waited for, two to five seconds a time', async () => {
    const { server, alidns, deps } = await situation({ 'example.com': [] });
    server.intercept(({ action, nth }) =>
      action === 'AddDomainRecord' && nth <= 2
        ? new ApiError(400, 'LastOperationNotFinished', 'The last operation is not finished.')
        : undefined,
    );
    const began = deps.now().getTime();
    await alidns.addDomainRecord({ ...NAME, Value: 'one' });
    expect(deps.now().getTime() - began).toBeGreaterThanOrEqual(4_000);
    expect(deps.now().getTime() - began).toBeLessThanOrEqual(11_000);
  });

  test('deleting what is gone already is no error', async () => {
    const { alidns } = await situation({ 'example.com': [] });
    const RecordId = await alidns.addDomainRecord({ ...NAME, Value: 'one' });
    await alidns.deleteDomainRecord({ DomainName: 'example.com', RecordId });
    await alidns.deleteDomainRecord({ DomainName: 'example.com', RecordId });
  });

  test('deleting goes on when the deadline has passed', async () => {
    const { dns, alidns, deps } = await situation({ 'example.com': [] });
    const RecordId = await alidns.addDomainRecord({ ...NAME, Value: 'one' });
    await deps.sleep(3_600_000);
    await alidns.deleteDomainRecord({ DomainName: 'example.com', RecordId });
    expect(dns.records('example.com').filter(({ type }) => type === 'TXT')).toEqual([]);
    await expect(alidns.addDomainRecord({ ...NAME, Value: 'two' })).rejects.toMatchObject({ code: 'DEADLINE_REACHED' });
  });

  test('a deletion goes before the additions that wait for their turn at the zone', async () => {
    const { server, alidns } = await situation({ 'example.com': [], 'example.net': [] });
    const RecordId = await alidns.addDomainRecord({ ...NAME, Value: 'first' });
    await Promise.all([
      ...['a', 'b', 'c'].map((Value) => alidns.addDomainRecord({ ...NAME, Value })),
      alidns.addDomainRecord({ ...NAME, DomainName: 'example.net', Value: 'in another zone' }),
      alidns.deleteDomainRecord({ DomainName: 'example.com', RecordId }),
    ]);
    const written = server.calls.map(({ action, parameters }) => parameters['Value'] ?? action);
    expect(written.filter((what) => what !== 'in another zone')).toEqual([
      'first',
      'DeleteDomainRecord',
      'a',
      'b',
      'c',
    ]);
  });

  test('an addition whose turn comes too late for the run is not made, takes nobody’s time, and deletions go on', async () => {
    const { server, alidns, deps } = await situation({ 'example.com': [] });
    const ids = [];
    for (const Value of ['a', 'b']) ids.push(await alidns.addDomainRecord({ ...NAME, Value }));
    await deps.sleep(deps.deadline.getTime() - deps.now().getTime() - 16_000);
    const additions = Array.from({ length: 50 }, (_, nth) => alidns.addDomainRecord({ ...NAME, Value: `late-${nth}` }));
    const deletions = ids.map((RecordId) => alidns.deleteDomainRecord({ DomainName: 'example.com', RecordId }));
    const settled = await Promise.allSettled(additions);
    await Promise.all(deletions);
    const made = settled.filter(({ status }) => status === 'fulfilled').length;
    // Of two turns a second those of one second at most: the deletions had the first of them.
    expect(made).toBeLessThanOrEqual(2);
    expect(server.callsOf('AddDomainRecord')).toHaveLength(2 + made);
    for (const one of settled)
      if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'DEADLINE_REACHED' });
    expect(deps.now().getTime()).toBeLessThan(deps.deadline.getTime() - 10_000);
  });

  test('a failed write does not stop the next one to the zone', async () => {
    const { server, alidns } = await situation({ 'example.com': [] });
    server.intercept(({ action, nth }) =>
      action === 'AddDomainRecord' && nth === 1 ? new ApiError(400, 'QuotaExceeded.Record', 'full') : undefined,
    );
    const [one, two] = await Promise.allSettled([
      alidns.addDomainRecord({ ...NAME, Value: 'one' }),
      alidns.addDomainRecord({ ...NAME, Value: 'two' }),
    ]);
    expect([one?.status, two?.status]).toEqual(['rejected', 'fulfilled']);
  });

  test('only the records of exactly the name and type are read', async () => {
    const { alidns } = await situation({
      'example.com': [
        { name: '_acme-challenge.example.com', type: 'TXT', value: 'mine' },
        { name: 'x._acme-challenge.example.com', type: 'TXT', value: 'deeper' },
        { name: '_acme-challenge.www.example.com', type: 'TXT', value: 'other' },
      ],
    });
    expect((await alidns.describeSubDomainRecords(NAME)).map(({ Value }) => Value)).toEqual(['mine']);
  });

  test('the records of the zone itself are those of @', async () => {
    const { alidns } = await situation({ 'example.com': [{ name: 'example.com', type: 'TXT', value: 'apex' }] });
    const apex = await alidns.describeSubDomainRecords({ DomainName: 'example.com', RR: '@', Type: 'TXT' });
    expect(apex.map(({ Value }) => Value)).toEqual(['apex']);
  });
});

describe('zones', () => {
  test('all pages of them are read', async () => {
    const zones = Array.from({ length: 230 }, (_, nth) => `z${nth}.example`);
    const { server, alidns } = await situation(Object.fromEntries(zones.map((zone) => [zone, []])));
    expect((await alidns.describeDomains()).map(({ DomainName }) => DomainName).sort()).toEqual(zones.sort());
    expect(server.callsOf('DescribeDomains')).toHaveLength(3);
  });
});
