import { Resolver } from 'node:dns/promises';
import sdkModule, {
  AddDomainRecordRequest,
  DeleteDomainRecordRequest,
  DeleteSubDomainRecordsRequest,
  DescribeDomainRecordInfoRequest,
  DescribeDomainRecordsRequest,
  DescribeDomainsRequest,
  DescribeSubDomainRecordsRequest,
  GetMainDomainNameRequest,
  UpdateDomainRecordRequest,
} from '@alicloud/alidns20150109';
import { $OpenApiUtil } from '@alicloud/openapi-core';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type Alidns, createAlidns, type DomainSettings } from './alidns.ts';
import { type Dns, startDns } from './dns.ts';
import type { NewRecord } from './dns-zone.ts';
import { type RpcServer, startRpcServer } from './rpc-server.ts';

// Node gives a CommonJS module as the default import, Vite its `default`.
const AlidnsClient = 'default' in sdkModule ? sdkModule.default : sdkModule;

interface Sandbox {
  dns: Dns;
  alidns: Alidns;
  server: RpcServer;
  sdk: InstanceType<typeof AlidnsClient>;
}

/** The official SDK, against the API, over the wire, in front of the name servers. */
async function sandbox(
  zones: Record<string, NewRecord[]>,
  options: { domains?: Record<string, DomainSettings>; now?: () => Date } = {},
): Promise<Sandbox> {
  const dns = await startDns({ zones });
  onTestFinished(() => dns.close());
  const alidns = createAlidns({ dns, domains: options.domains ?? {} });
  const account = { accessKeyId: 'ak', accessKeySecret: 'secret', userId: 'user' };
  const server = await startRpcServer({
    products: [alidns],
    accounts: [account],
    ...(options.now && { now: options.now }),
  });
  onTestFinished(() => server.close());
  const sdk = new AlidnsClient(
    new $OpenApiUtil.Config({
      accessKeyId: 'ak',
      accessKeySecret: 'secret',
      endpoint: server.endpoint,
      protocol: 'HTTP',
    }),
  );
  return { dns, alidns, server, sdk };
}

async function add(
  { sdk }: Sandbox,
  fields: { RR: string; value: string; domainName?: string; type?: string; TTL?: number; line?: string },
): Promise<string> {
  const request = new AddDomainRecordRequest({ domainName: 'example.com', type: 'TXT', ...fields });
  return (await sdk.addDomainRecord(request)).body?.recordId ?? '';
}

const remove = ({ sdk }: Sandbox, recordId: string) =>
  sdk.deleteDomainRecord(new DeleteDomainRecordRequest({ recordId }));

const TXT = { RR: '_acme-challenge', value: 'one' };

async function codeOf(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => 'OK',
    (error: unknown) => (error instanceof Error && 'code' in error ? error.code : error),
  );
}

function served({ dns }: Sandbox, name: string): Promise<string[]> {
  const resolver = new Resolver({ timeout: 1000, tries: 1 });
  resolver.setServers([`${dns.addresses.ns1}:${dns.port}`]);
  return resolver.resolveTxt(name).then(
    (answers) => answers.map((strings) => strings.join('')),
    (error: unknown) => [error instanceof Error && 'code' in error ? String(error.code) : String(error)],
  );
}

describe('writing records', () => {
  test('a record is served from the answer of AddDomainRecord to that of DeleteDomainRecord', async () => {
    const s = await sandbox({ 'example.com': [] });
    const one = await add(s, TXT);
    const two = await add(s, { ...TXT, value: 'two', TTL: 900 });
    expect(one).toMatch(/^\d{18}$/);
    expect(await served(s, '_acme-challenge.example.com')).toEqual(['one', 'two']);
    expect(s.dns.records('example.com').map(({ ttl }) => ttl)).toEqual([600, 900]);
    expect((await remove(s, one)).body?.recordId).toBe(one);
    expect(await served(s, '_acme-challenge.example.com')).toEqual(['two']);
    await remove(s, two);
    expect(await served(s, '_acme-challenge.example.com')).toEqual(['ENOTFOUND']);
  });

  test('UpdateDomainRecord changes the record and keeps its id; without a change it is a duplicate', async () => {
    const s = await sandbox({ 'example.com': [] });
    const recordId = await add(s, TXT);
    const update = (fields: { value: string; TTL?: number; type?: string }) =>
      s.sdk.updateDomainRecord(new UpdateDomainRecordRequest({ recordId, RR: TXT.RR, type: 'TXT', ...fields }));
    expect((await update({ value: 'two' })).body?.recordId).toBe(recordId);
    expect(await served(s, '_acme-challenge.example.com')).toEqual(['two']);
    expect(await codeOf(update({ value: 'two' }))).toBe('DomainRecordDuplicate');
    expect(await codeOf(update({ value: 'two', TTL: 1200 }))).toBe('OK');
    expect(await codeOf(update({ value: 'www.example.org', type: 'CNAME' }))).toBe('OK');
    expect(s.dns.records('example.com')).toMatchObject([{ id: recordId, type: 'CNAME', value: 'www.example.org' }]);
  });

  test('DeleteSubDomainRecords takes all records of a name, or all of a type, and no others', async () => {
    const s = await sandbox({
      'example.com': [
        { name: 'a.example.com', type: 'TXT', value: 'one' },
        { name: 'a.example.com', type: 'TXT', value: 'two' },
        { name: 'a.example.com', type: 'A', value: '192.0.2.1' },
        { name: 'a.a.example.com', type: 'TXT', value: 'three' },
      ],
    });
    const removeAll = async (fields: { RR: string; type?: string }) =>
      (await s.sdk.deleteSubDomainRecords(new DeleteSubDomainRecordsRequest({ domainName: 'example.com', ...fields })))
        .body;
    expect(await removeAll({ RR: 'a', type: 'txt' })).toMatchObject({ RR: 'a', totalCount: '2' });
    expect(await removeAll({ RR: 'a' })).toMatchObject({ totalCount: '1' });
    expect(await removeAll({ RR: 'b' })).toMatchObject({ totalCount: '0' });
    expect(s.dns.records('example.com')).toMatchObject([{ name: 'a.a.example.com' }]);
  });

  test('a domain with a Chinese name is written under either of its names', async () => {
    const s = await sandbox({ '例子.com': [] });
    await add(s, { ...TXT, domainName: '例子.com' });
    await add(s, { ...TXT, domainName: 'xn--fsqu00a.com', value: 'two' });
    expect(await served(s, '_acme-challenge.xn--fsqu00a.com')).toEqual(['one', 'two']);
  });

  test('@ is the domain itself', async () => {
    const s = await sandbox({ 'example.com.cn': [] });
    await add(s, { RR: '@', value: 'apex', domainName: 'example.com.cn' });
    expect(await served(s, 'example.com.cn')).toEqual(['apex']);
  });
});

describe('what a write is refused for', () => {
  test('a record that is there already', async () => {
    const s = await sandbox({ 'example.com': [] });
    await add(s, TXT);
    expect(await codeOf(add(s, TXT))).toBe('DomainRecordDuplicate');
    expect(await codeOf(add(s, { ...TXT, RR: '_ACME-challenge' }))).toBe('DomainRecordDuplicate');
    expect(await codeOf(add(s, { ...TXT, line: 'telecom' }))).toBe('OK');
    expect(s.dns.records('example.com')).toHaveLength(2);
    expect(await served(s, '_acme-challenge.example.com')).toEqual(['one']);
  });

  test('a CNAME beside other records, and others beside a CNAME', async () => {
    const s = await sandbox({
      'example.com': [
        { name: '_acme-challenge.example.com', type: 'CNAME', value: 'acme.example.net' },
        { name: '*.example.com', type: 'CNAME', value: 'edge.example.net' },
        { name: 'txt.example.com', type: 'TXT', value: 'x' },
      ],
    });
    expect(await codeOf(add(s, TXT))).toBe('DomainRecordConflict');
    expect(await codeOf(add(s, { RR: 'txt', type: 'CNAME', value: 'edge.example.net' }))).toBe('DomainRecordConflict');
    // A wildcard lends its CNAME to no name that has records of its own.
    expect(await codeOf(add(s, { ...TXT, RR: '_acme-challenge.www' }))).toBe('OK');
  });

  test("a domain that is not there, or not this user's", async () => {
    const s = await sandbox(
      { 'example.com': [], 'other.com': [{ name: 'x.other.com', type: 'TXT', value: 'x' }] },
      { domains: { 'other.com': { owner: 'other' } } },
    );
    expect(await codeOf(add(s, { ...TXT, domainName: 'example.org' }))).toBe('InvalidDomainName.NoExist');
    expect(await codeOf(add(s, { ...TXT, domainName: 'www.example.com' }))).toBe('InvalidDomainName.NoExist');
    expect(await codeOf(add(s, { ...TXT, domainName: 'other.com' }))).toBe('IncorrectDomainUser');
    expect(await codeOf(remove(s, s.dns.records('other.com')[0]?.id ?? ''))).toBe('DomainRecordNotBelongToUser');
  });

  test('a record that is gone', async () => {
    const s = await sandbox({ 'example.com': [] });
    const id = await add(s, TXT);
    expect([await codeOf(remove(s, id)), await codeOf(remove(s, id))]).toEqual(['OK', 'DomainRecordNotBelongToUser']);
  });

  test('an expired domain, a locked one, a locked record', async () => {
    const s = await sandbox({ 'example.com': [] });
    const id = await add(s, TXT);
    s.alidns.setDomain('example.com', { expired: true });
    expect(await codeOf(add(s, { ...TXT, value: 'two' }))).toBe('Forbidden.DomainExpired');
    s.alidns.setDomain('example.com', { expired: false, locked: true });
    expect(await codeOf(remove(s, id))).toBe('Forbidden.DomainLocked');
    s.alidns.setDomain('example.com', { locked: false });
    s.alidns.lockRecord(id);
    expect(await codeOf(remove(s, id))).toBe('Forbidden.RecordLocked');
    const all = new DeleteSubDomainRecordsRequest({ domainName: 'example.com', RR: TXT.RR });
    expect(await codeOf(s.sdk.deleteSubDomainRecords(all))).toBe('Forbidden.RecordLocked');
    expect(await codeOf(add(s, { ...TXT, value: 'two' }))).toBe('OK');
  });

  test('more than 90 records of one name and type', async () => {
    const full = Array.from({ length: 90 }, (_, n): NewRecord => {
      return { name: '_acme-challenge.example.com', type: 'TXT', value: `${n}` };
    });
    const s = await sandbox({ 'example.com': full });
    expect(await codeOf(add(s, TXT))).toBe('QuotaExceeded.Record');
    expect(await codeOf(add(s, { ...TXT, RR: '_acme-challenge.www' }))).toBe('OK');
    s.alidns.setDomain('example.com', { maximumRecords: 91 });
    expect(await codeOf(add(s, TXT))).toBe('OK');
  });

  test('a write too soon after the last one on the same domain', async () => {
    let now = new Date();
    const s = await sandbox(
      { 'example.com': [], 'example.net': [] },
      { domains: { 'example.com': { writeIntervalMs: 500 } }, now: () => now },
    );
    const id = await add(s, TXT);
    now = new Date(now.getTime() + 499);
    expect(await codeOf(remove(s, id))).toBe('LastOperationNotFinished');
    expect(await codeOf(add(s, { ...TXT, domainName: 'example.net' }))).toBe('OK');
    now = new Date(now.getTime() + 1);
    expect(await codeOf(remove(s, id))).toBe('OK');
  });

  test('values and parameters that are not valid', async () => {
    const s = await sandbox({ 'example.com': [] });
    expect(await codeOf(add(s, { RR: 'www', type: 'A', value: 'one' }))).toBe('SubDomainInvalid.Value');
    expect(await codeOf(add(s, { RR: 'a..b', value: 'one' }))).toBe('SubDomainInvalid.Value');
    expect(await codeOf(add(s, { ...TXT, TTL: 599 }))).toBe('InvalidParameter');
    expect(await codeOf(add(s, { ...TXT, TTL: 86_401 }))).toBe('InvalidParameter');
    expect(await codeOf(add(s, { ...TXT, type: 'NO' }))).toBe('InvalidParameter');
    const withoutValue = new AddDomainRecordRequest({ domainName: 'example.com', RR: 'www', type: 'TXT' });
    expect(await codeOf(s.sdk.addDomainRecord(withoutValue))).toBe('MissingParameter');
    s.alidns.setDomain('example.com', { minimumTtl: 1 });
    expect(await codeOf(add(s, { ...TXT, TTL: 1 }))).toBe('OK');
    expect(s.server.calls.map((call) => call.status)).toEqual([400, 400, 400, 400, 400, 400, 200]);
  });
});

describe('reading records', () => {
  test('DescribeDomainRecords gives pages, the newest first', async () => {
    const records = Array.from({ length: 25 }, (_, n): NewRecord => {
      return { name: `n${n}.example.com`, type: 'TXT', value: 'x' };
    });
    const s = await sandbox({ 'example.com': records });
    const page = async (fields: { pageNumber?: number; pageSize?: number; direction?: string }) => {
      const request = new DescribeDomainRecordsRequest({ domainName: 'example.com', ...fields });
      const { body } = await s.sdk.describeDomainRecords(request);
      return { ...body, rrs: body?.domainRecords?.record?.map(({ RR }) => RR) };
    };
    const first = await page({});
    expect(first).toMatchObject({ totalCount: 25, pageNumber: 1, pageSize: 20 });
    expect(first.rrs).toHaveLength(20);
    expect(first.rrs?.[0]).toBe('n24');
    expect((await page({ pageNumber: 2 })).rrs).toEqual(['n4', 'n3', 'n2', 'n1', 'n0']);
    expect((await page({ pageNumber: 3 })).rrs).toEqual([]);
    expect((await page({ pageSize: 2, direction: 'ASC' })).rrs).toEqual(['n0', 'n1']);
    expect((await page({ pageSize: 500 })).rrs).toHaveLength(25);
    expect(await codeOf(page({ pageSize: 501 }))).toBe('InvalidParameter');
  });

  test('DescribeDomainRecords searches parts of RR and value, and whole types, as its modes say', async () => {
    const s = await sandbox({
      'example.com': [
        { name: '_acme-challenge.example.com', type: 'TXT', value: 'abc' },
        { name: '_acme-challenge.www.example.com', type: 'TXT', value: 'abcdef' },
        { name: 'www.example.com', type: 'A', value: '192.0.2.1' },
      ],
    });
    const find = async (fields: Record<string, string>) => {
      const request = new DescribeDomainRecordsRequest({ domainName: 'example.com', ...fields });
      const { body } = await s.sdk.describeDomainRecords(request);
      return body?.domainRecords?.record?.map(({ RR }) => RR).toReversed();
    };
    const [apex, www] = ['_acme-challenge', '_acme-challenge.www'];
    expect(await find({ RRKeyWord: '_ACME-challenge' })).toEqual([apex, www]);
    expect(await find({ RRKeyWord: apex, searchMode: 'COMBINATION' })).toEqual([apex]);
    expect(await find({ typeKeyWord: 'txt', valueKeyWord: 'bcd' })).toEqual([www]);
    expect(await find({ type: 'A' })).toEqual(['www']);
    expect(await find({ keyWord: 'www' })).toEqual([www, 'www']);
    expect(await find({ keyWord: 'www', searchMode: 'EXACT', type: 'TXT' })).toEqual(['www']);
    expect(await codeOf(find({ searchMode: 'NONE' }))).toBe('InvalidParameter');
  });

  test('DescribeSubDomainRecords finds one name exactly, in the zone DomainName says', async () => {
    const s = await sandbox({
      'example.com.cn': [{ name: '_acme-challenge.a.sub.example.com.cn', type: 'TXT', value: 'parent' }],
      'sub.example.com.cn': [
        { name: '_acme-challenge.a.sub.example.com.cn', type: 'TXT', value: 'child' },
        { name: '_acme-challenge.a.sub.example.com.cn', type: 'CAA', value: '0 issue ";"' },
        { name: '_acme-challenge.b.sub.example.com.cn', type: 'TXT', value: 'b' },
      ],
      'example.com': [{ name: 'a.b.example.com', type: 'TXT', value: 'x' }],
    });
    const find = async (fields: { subDomain: string; domainName?: string; type?: string; pageSize?: number }) =>
      (await s.sdk.describeSubDomainRecords(new DescribeSubDomainRecordsRequest(fields))).body;
    const subDomain = '_acme-challenge.a.sub.example.com.cn';
    expect(await find({ subDomain })).toMatchObject({
      totalCount: 1,
      domainRecords: { record: [{ RR: '_acme-challenge.a.sub', domainName: 'example.com.cn', value: 'parent' }] },
    });
    expect(await find({ subDomain, domainName: 'sub.example.com.cn', type: 'TXT' })).toMatchObject({
      totalCount: 1,
      domainRecords: {
        record: [
          {
            RR: '_acme-challenge.a',
            type: 'TXT',
            value: 'child',
            TTL: 600,
            line: 'default',
            locked: false,
            status: 'ENABLE',
          },
        ],
      },
    });
    expect(await find({ subDomain, domainName: 'sub.example.com.cn' })).toMatchObject({ totalCount: 2 });
    expect(await find({ subDomain: 'a.b.example.com' })).toMatchObject({ domainRecords: { record: [{ RR: 'a.b' }] } });
    expect(await codeOf(find({ subDomain: 'www.example.org' }))).toBe('InvalidDomainName.NoExist');
    expect(await codeOf(find({ subDomain, pageSize: 101 }))).toBe('InvalidParameter');
  });

  test('DescribeDomainRecordInfo gives one record by its id', async () => {
    const s = await sandbox({ '例子.com': [] });
    const recordId = await add(s, { ...TXT, domainName: '例子.com' });
    const info = (id: string) => s.sdk.describeDomainRecordInfo(new DescribeDomainRecordInfoRequest({ recordId: id }));
    expect((await info(recordId)).body).toMatchObject({
      recordId,
      RR: '_acme-challenge',
      value: 'one',
      domainName: '例子.com',
      punyCode: 'xn--fsqu00a.com',
    });
    expect(await codeOf(info('1'))).toBe('DomainRecordNotBelongToUser');
  });

  test("DescribeDomains gives the user's own domains, in Unicode and in Punycode", async () => {
    const s = await sandbox(
      { 'example.com': [], '例子.com': [], 'sub.example.com': [], 'other.com': [] },
      { domains: { 'other.com': { owner: 'other' } } },
    );
    const find = async (fields: { keyWord?: string; searchMode?: string; pageSize?: number; pageNumber?: number }) => {
      const { body } = await s.sdk.describeDomains(new DescribeDomainsRequest(fields));
      return body?.domains?.domain?.map(({ domainName }) => domainName);
    };
    expect(await find({})).toEqual(['example.com', '例子.com', 'sub.example.com']);
    expect(await find({ keyWord: 'EXAMPLE' })).toEqual(['example.com', 'sub.example.com']);
    expect(await find({ keyWord: 'example.com', searchMode: 'EXACT' })).toEqual(['example.com']);
    expect(await find({ keyWord: '例子.com', searchMode: 'EXACT' })).toEqual(['例子.com']);
    expect(await find({ pageSize: 2, pageNumber: 2 })).toEqual(['sub.example.com']);
    expect(await codeOf(find({ pageSize: 101 }))).toBe('InvalidParameter');
    const all = await s.sdk.describeDomains(new DescribeDomainsRequest({}));
    expect(all.body?.domains?.domain?.[1]).toMatchObject({
      punyCode: 'xn--fsqu00a.com',
      recordCount: 0,
      dnsServers: { dnsServer: ['ns1.xn--fsqu00a.com', 'ns2.xn--fsqu00a.com'] },
    });
  });

  test('GetMainDomainName divides by the public suffix list', async () => {
    const s = await sandbox({ 'sub.example.com.cn': [] });
    const split = async (inputString: string) =>
      (await s.sdk.getMainDomainName(new GetMainDomainNameRequest({ inputString }))).body;
    expect(await split('_acme-challenge.sub.example.com.cn')).toMatchObject({
      domainName: 'example.com.cn',
      RR: '_acme-challenge.sub',
      domainLevel: 3,
    });
    expect(await split('example.com')).toMatchObject({ domainName: 'example.com', RR: '@', domainLevel: 1 });
    expect(await codeOf(split('com.cn'))).toBe('InvalidDomainName.Suffix');
  });
});
