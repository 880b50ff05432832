import { expect, onTestFinished, test } from 'vitest';
import { checkCaa, type Issuance } from '../../src/challenge/caa.ts';
import { startDns } from '../sandbox/dns.ts';
import type { NewRecord } from '../sandbox/dns-zone.ts';

/** Records of example.com as `name value`, and whether letsencrypt.org may issue. */
async function verdict(records: readonly string[], issuance: Partial<Issuance> = {}, more: readonly NewRecord[] = []) {
  const caa = records.map((record): NewRecord => {
    const [name = '', ...value] = record.split(' ');
    return { name, type: 'CAA', value: value.join(' ') };
  });
  const dns = await startDns({ zones: { 'example.com': [...caa, ...more], 'example.net': [] } });
  onTestFinished(() => dns.close());
  const asked: Issuance = {
    identifier: 'www.example.com',
    caaIdentities: ['letsencrypt.org'],
    challengeType: 'dns-01',
    ...issuance,
  };
  return { dns, result: await checkCaa(asked, [dns.resolver]) };
}

const wildcard = { identifier: '*.example.com' };

test.each<[string, boolean, readonly string[], Partial<Issuance>?]>([
  ['no records at all', true, []],
  ['its own name', true, ['example.com 0 issue "letsencrypt.org"']],
  ['its own name in other letters', true, ['example.com 0 ISSUE "LetsEncrypt.org"']],
  ['one name of several', true, ['example.com 0 issue "other.example"', 'example.com 0 issue "letsencrypt.org"']],
  ['the name of another CA', false, ['example.com 0 issue "other.example"']],
  ['nobody', false, ['example.com 0 issue ";"']],
  ['only where to report', true, ['example.com 0 iodef "mailto:security@example.com"']],
  [
    'the closest name goes before its parent',
    false,
    ['example.com 0 issue "letsencrypt.org"', 'www.example.com 0 issue "other.example"'],
  ],
  ['issue alone counts for a wildcard too', false, ['example.com 0 issue "other.example"'], wildcard],
  [
    'issuewild goes before issue for a wildcard',
    true,
    ['example.com 0 issue "other.example"', 'example.com 0 issuewild "letsencrypt.org"'],
    wildcard,
  ],
  ['issuewild says nothing of another name', true, ['example.com 0 issuewild ";"']],
  [
    'a critical property that nobody knows',
    false,
    ['example.com 0 issue "letsencrypt.org"', 'example.com 128 tbs "unknown"'],
  ],
  [
    'one that nobody knows and is not critical',
    true,
    ['example.com 0 issue "letsencrypt.org"', 'example.com 0 tbs "unknown"'],
  ],
  ['the method of this challenge', true, ['example.com 0 issue "letsencrypt.org; validationmethods=http-01,dns-01"']],
  ['another method', false, ['example.com 0 issue "letsencrypt.org; validationmethods=http-01"']],
])('RFC 8659: %s: %s', async (_, allowed, records, issuance = {}) => {
  expect((await verdict(records, issuance)).result.allowed).toBe(allowed);
});

test('RFC 8657: an account is told, unless another record lets any account issue', async () => {
  const bound = 'example.com 0 issue "letsencrypt.org; accounturi=https://acme.example/acct/1"';
  const free = 'example.com 0 issue "letsencrypt.org"';
  expect((await verdict([bound])).result.accountUris).toEqual(['https://acme.example/acct/1']);
  expect((await verdict([bound, free])).result.accountUris).toEqual([]);
});

test('the records of the name that a CNAME leads to count, and the climb goes on from the name itself', async () => {
  const cname: NewRecord = { name: 'www.example.com', type: 'CNAME', value: 'edge.example.net' };
  const { dns, result } = await verdict(['example.com 0 issue "other.example"'], {}, [cname]);
  expect(result).toMatchObject({ allowed: false, at: 'example.com', records: ['0 issue "other.example"'] });
  dns.addRecord('example.net', { name: 'edge.example.net', type: 'CAA', value: '0 issue "letsencrypt.org"' });
  const issuance = {
    identifier: 'www.example.com',
    caaIdentities: ['letsencrypt.org'],
    challengeType: 'dns-01',
  } as const;
  expect(await checkCaa(issuance, [dns.resolver])).toMatchObject({ allowed: true, at: 'www.example.com' });
});

test('a lookup that fails is an error: the CA would not issue either', async () => {
  const { dns } = await verdict([]);
  dns.fail('example.com', 'SERVFAIL', { type: 'CAA' });
  const issuance = {
    identifier: 'www.example.com',
    caaIdentities: ['letsencrypt.org'],
    challengeType: 'dns-01',
  } as const;
  await expect(checkCaa(issuance, [dns.resolver])).rejects.toMatchObject({
    code: 'DNS_LOOKUP_FAILED',
    message: 'the CAA lookup of example.com failed (ESERVFAIL)',
  });
});
