import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { connect } from 'node:net';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type Dns, type RecordChange, type ServerName, startDns } from './dns.ts';
import type { NewRecord } from './dns-zone.ts';

async function sandboxDns(zones: Record<string, NewRecord[]>): Promise<Dns> {
  const dns = await startDns({ zones });
  onTestFinished(() => dns.close());
  return dns;
}

/** What BIND's `dig` makes of the answer. */
interface Dug {
  status: string;
  flags: string[];
  answer: string[];
  authority: string[];
  additional: string[];
  text: string;
}

async function dig(dns: Dns, server: ServerName, ...question: string[]): Promise<Dug> {
  const args = [`@${dns.addresses[server]}`, '-p', String(dns.port), '+tries=1', '+time=5', '+nocookie', ...question];
  const { stdout: text } = await promisify(execFile)(digProgram(), args);
  const section = (name: string): string[] =>
    (text.split(`;; ${name} SECTION:\n`)[1]?.split('\n\n')[0] ?? '')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith(';'))
      .map((line) => line.replace(/\s+/g, ' '));
  return {
    status: /status: (\w+)/.exec(text)?.[1] ?? 'none',
    flags: /flags: ([^;]*);/.exec(text)?.[1]?.split(' ') ?? [],
    answer: section('ANSWER'),
    authority: section('AUTHORITY'),
    additional: section('ADDITIONAL'),
    text,
  };
}

function digProgram(): string {
  const sandbox = join(import.meta.dirname, '../../.sandbox/bin');
  for (const directory of [sandbox, ...(process.env['PATH'] ?? '').split(delimiter)]) {
    const candidate = join(directory, 'dig');
    try {
      accessSync(candidate, constants.X_OK);
      return candidate;
    } catch {
      // The next directory may have it.
    }
  }
  throw new Error('There is no dig in PATH or .sandbox/bin: install the Debian package bind9-dnsutils');
}

function nodeResolver(dns: Dns, server: ServerName, timeout = 4000): Resolver {
  const resolver = new Resolver({ timeout, tries: 1 });
  resolver.setServers([`${dns.addresses[server]}:${dns.port}`]);
  return resolver;
}

const challenge = (value: string): NewRecord => ({ name: '_acme-challenge.example.com', type: 'TXT', value });

describe('what an authoritative server says, as dig reads it', () => {
  test('a record of its zone comes with the AA bit', async () => {
    const dns = await sandboxDns({
      'example.com': [{ name: 'www.example.com', type: 'A', value: '192.0.2.1', ttl: 300 }],
    });
    const dug = await dig(dns, 'ns1', '+norecurse', 'www.example.com', 'A');
    expect(dug).toMatchObject({ status: 'NOERROR', answer: ['www.example.com. 300 IN A 192.0.2.1'] });
    expect(dug.flags).toContain('aa');
    expect(dug.text).not.toContain('WARNING');
  });

  test('every type that the sandbox holds arrives as it was put in', async () => {
    const dns = await sandboxDns({
      'example.com': [
        { name: 'example.com', type: 'AAAA', value: '2001:db8::1' },
        { name: 'example.com', type: 'CAA', value: '0 issue "letsencrypt.org; validationmethods=dns-01"' },
        { name: 'example.com', type: 'CAA', value: '128 issuewild ";"' },
        challenge('gfj9Xq...Rg85nM'),
        challenge('second value, with a space'),
      ],
    });
    const values = async (name: string, type: string): Promise<string[]> =>
      (await dig(dns, 'ns2', name, type)).answer.map((line) => line.split(` ${type} `)[1] ?? line);
    expect(await values('example.com', 'AAAA')).toEqual(['2001:db8::1']);
    expect(await values('example.com', 'CAA')).toEqual([
      '0 issue "letsencrypt.org; validationmethods=dns-01"',
      '128 issuewild ";"',
    ]);
    expect(await values('_acme-challenge.example.com', 'TXT')).toEqual([
      '"gfj9Xq...Rg85nM"',
      '"second value, with a space"',
    ]);
    expect(await values('example.com', 'NS')).toEqual(['ns1.example.com.', 'ns2.example.com.']);
    expect(await values('ns1.example.com', 'A')).toEqual(['127.0.0.1']);
    expect(await values('ns2.example.com', 'A')).toEqual(['127.0.0.2']);
    expect(await values('example.com', 'SOA')).toEqual([
      'ns1.example.com. hostmaster.example.com. 6 3600 1200 86400 60',
    ]);
  });

  test('a name that does not exist is NXDOMAIN, a type that does not exist at a name is not; both carry the SOA', async () => {
    const dns = await sandboxDns({ 'example.com': [{ name: 'a.b.example.com', type: 'A', value: '192.0.2.1' }] });
    const soa = ['example.com. 60 IN SOA ns1.example.com. hostmaster.example.com. 2 3600 1200 86400 60'];
    const none = { answer: [], authority: soa };
    expect(await dig(dns, 'ns1', 'c.example.com', 'A')).toMatchObject({ status: 'NXDOMAIN', ...none });
    expect(await dig(dns, 'ns1', 'a.b.example.com', 'TXT')).toMatchObject({ status: 'NOERROR', ...none });
    // Only names under it exist, so it does (RFC 8020).
    expect(await dig(dns, 'ns1', 'b.example.com', 'A')).toMatchObject({ status: 'NOERROR', ...none });
  });

  test('a name in no zone is refused', async () => {
    const dns = await sandboxDns({ 'example.com.cn': [] });
    for (const name of ['com.cn', 'example.org', 'notexample.com.cn', '.']) {
      expect(await dig(dns, 'ns1', name, 'SOA')).toMatchObject({ status: 'REFUSED', answer: [], authority: [] });
    }
    expect((await dig(dns, 'ns1', 'www.example.com.cn', 'SOA')).authority[0]).toMatch(/^example\.com\.cn\. /);
  });

  test('a CNAME is followed as far as the zones reach, also to another zone', async () => {
    const dns = await sandboxDns({
      'example.com': [
        { name: '_acme-challenge.example.com', type: 'CNAME', value: 'one.example.com' },
        { name: 'one.example.com', type: 'CNAME', value: 'two.acme.example.net.' },
        { name: 'out.example.com', type: 'CNAME', value: 'edge.example.org' },
        { name: 'gone.example.com', type: 'CNAME', value: 'gone.acme.example.net' },
      ],
      'acme.example.net': [{ name: 'two.acme.example.net', type: 'TXT', value: 'here' }],
    });
    expect(await dig(dns, 'ns1', '_acme-challenge.example.com', 'TXT')).toMatchObject({
      status: 'NOERROR',
      answer: [
        '_acme-challenge.example.com. 600 IN CNAME one.example.com.',
        'one.example.com. 600 IN CNAME two.acme.example.net.',
        'two.acme.example.net. 600 IN TXT "here"',
      ],
    });
    expect((await dig(dns, 'ns1', '_acme-challenge.example.com', 'CNAME')).answer).toHaveLength(1);
    const out = ['out.example.com. 600 IN CNAME edge.example.org.'];
    expect(await dig(dns, 'ns1', 'out.example.com', 'A')).toMatchObject({ status: 'NOERROR', answer: out });
    expect(await dig(dns, 'resolver', 'out.example.com', 'A')).toMatchObject({ status: 'SERVFAIL', answer: [] });
    const gone = await dig(dns, 'ns1', 'gone.example.com', 'TXT');
    expect(gone).toMatchObject({
      status: 'NXDOMAIN',
      answer: ['gone.example.com. 600 IN CNAME gone.acme.example.net.'],
    });
    expect(gone.authority[0]).toMatch(/^acme\.example\.net\. 60 IN SOA/);
  });

  test('a CNAME loop ends', async () => {
    const dns = await sandboxDns({
      'example.com': [
        { name: 'a.example.com', type: 'CNAME', value: 'b.example.com' },
        { name: 'b.example.com', type: 'CNAME', value: 'A.example.com' },
      ],
    });
    expect((await dig(dns, 'ns1', 'a.example.com', 'TXT')).answer).toHaveLength(2);
    expect((await dig(dns, 'resolver', 'a.example.com', 'TXT')).status).toBe('SERVFAIL');
  });

  test('a wildcard answers for names that do not exist, and for no others (RFC 4592)', async () => {
    const dns = await sandboxDns({
      'example.com': [
        { name: '*.cdn.example.com', type: 'CNAME', value: 'edge.example.com' },
        { name: 'edge.example.com', type: 'A', value: '192.0.2.7' },
        { name: '_acme-challenge.www.cdn.example.com', type: 'TXT', value: 'x' },
      ],
    });
    expect((await dig(dns, 'ns1', 'a.b.cdn.example.com', 'A')).answer).toEqual([
      'a.b.cdn.example.com. 600 IN CNAME edge.example.com.',
      'edge.example.com. 600 IN A 192.0.2.7',
    ]);
    // www.cdn.example.com exists by the name under it, so neither it nor its children match the wildcard.
    expect(await dig(dns, 'ns1', 'www.cdn.example.com', 'A')).toMatchObject({ status: 'NOERROR', answer: [] });
    expect(await dig(dns, 'ns1', 'b.www.cdn.example.com', 'A')).toMatchObject({ status: 'NXDOMAIN', answer: [] });
    expect(await dig(dns, 'ns1', 'cdn.example.com', 'A')).toMatchObject({ status: 'NOERROR', answer: [] });
  });

  test('names are compared without case and answered in the case of the question', async () => {
    const dns = await sandboxDns({ 'Example.COM': [{ name: 'WWW.example.com', type: 'A', value: '192.0.2.1' }] });
    expect((await dig(dns, 'ns1', 'wWw.eXample.Com', 'A')).answer).toEqual(['wWw.eXample.Com. 600 IN A 192.0.2.1']);
  });

  test('a zone with a Chinese name is served under its A-label', async () => {
    const dns = await sandboxDns({ '例子.com': [{ name: '_acme-challenge.例子.com', type: 'TXT', value: 'x' }] });
    expect(dns.zoneNames()).toEqual(['xn--fsqu00a.com']);
    expect((await dig(dns, 'ns1', '_acme-challenge.xn--fsqu00a.com', 'TXT')).answer).toHaveLength(1);
  });

  test('a sub-zone held elsewhere gives a referral with glue, one held here an authoritative answer', async () => {
    const delegation: NewRecord[] = [
      { name: 'sub.example.com', type: 'NS', value: 'ns.sub.example.com' },
      { name: 'ns.sub.example.com', type: 'A', value: '127.0.0.9' },
    ];
    const dns = await sandboxDns({ 'example.com': delegation });
    const referral = await dig(dns, 'ns1', '+norecurse', '_acme-challenge.sub.example.com', 'TXT');
    expect(referral).toMatchObject({
      status: 'NOERROR',
      answer: [],
      authority: ['sub.example.com. 600 IN NS ns.sub.example.com.'],
      additional: ['ns.sub.example.com. 600 IN A 127.0.0.9'],
    });
    expect(referral.flags).not.toContain('aa');
    expect((await dig(dns, 'resolver', '_acme-challenge.sub.example.com', 'TXT')).status).toBe('SERVFAIL');

    dns.addZone('sub.example.com', [{ name: '_acme-challenge.sub.example.com', type: 'TXT', value: 'child' }]);
    const child = await dig(dns, 'ns1', '+norecurse', '_acme-challenge.sub.example.com', 'TXT');
    expect(child.answer).toEqual(['_acme-challenge.sub.example.com. 600 IN TXT "child"']);
    expect(child.flags).toContain('aa');
    expect((await dig(dns, 'ns1', 'x.sub.example.com', 'SOA')).authority[0]).toMatch(/^sub\.example\.com\. /);

    dns.removeZone('sub.example.com');
    expect((await dig(dns, 'ns1', '_acme-challenge.sub.example.com', 'TXT')).authority).toEqual(referral.authority);
  });

  test('a TXT value over 255 bytes comes in several strings of one record', async () => {
    const value = `${'a'.repeat(255)}${'b'.repeat(45)}`;
    const dns = await sandboxDns({ 'example.com': [challenge(value)] });
    const { answer } = await dig(dns, 'ns1', '_acme-challenge.example.com', 'TXT');
    expect(answer).toEqual([`_acme-challenge.example.com. 600 IN TXT "${'a'.repeat(255)}" "${'b'.repeat(45)}"`]);
    expect(await nodeResolver(dns, 'ns1').resolveTxt('_acme-challenge.example.com')).toEqual([
      ['a'.repeat(255), 'b'.repeat(45)],
    ]);
  });

  test('an answer too long for UDP is cut, marked, and whole by TCP', async () => {
    const values = Array.from({ length: 50 }, (_, n) => `${n}`.padEnd(43, 'x'));
    const dns = await sandboxDns({ 'example.com': values.map(challenge) });
    const cut = await dig(dns, 'ns1', '+noedns', '+ignore', '_acme-challenge.example.com', 'TXT');
    expect(cut.flags).toContain('tc');
    expect(cut.answer).toEqual([]);
    const whole = await dig(dns, 'ns1', '_acme-challenge.example.com', 'TXT');
    expect(whole.text).toContain('retrying in TCP mode');
    expect(whole.answer).toHaveLength(50);
    expect(dns.queries.map((query) => query.transport)).toEqual(['udp', 'udp', 'tcp']);
    const found = await nodeResolver(dns, 'ns1').resolveTxt('_acme-challenge.example.com');
    expect(found.map((strings) => strings.join('')).sort()).toEqual(values.sort());
  });

  test('EDNS raises the limit for UDP, and a version that nobody has is BADVERS', async () => {
    const dns = await sandboxDns({ 'example.com': Array.from({ length: 8 }, (_, n) => challenge(`${n}`.padEnd(43))) });
    const question = ['+ignore', '_acme-challenge.example.com', 'TXT'];
    expect((await dig(dns, 'ns1', '+noedns', ...question)).flags).toContain('tc');
    const large = await dig(dns, 'ns1', '+bufsize=1232', '+cookie', ...question);
    expect(large.flags).not.toContain('tc');
    expect(large.answer).toHaveLength(8);
    expect(large.text).toContain('EDNS: version: 0');
    expect((await dig(dns, 'ns1', '+edns=1', '+noednsnegotiation', ...question)).status).toBe('BADVERS');
  });

  test('what is no plain question gets the error that says so', async () => {
    const dns = await sandboxDns({ 'example.com': [] });
    expect((await dig(dns, 'ns1', '+opcode=notify', 'example.com', 'SOA')).status).toBe('NOTIMP');
    expect((await dig(dns, 'ns1', '-c', 'CH', 'version.bind', 'TXT')).status).toBe('REFUSED');
    expect((await dig(dns, 'ns1', 'example.com', 'TYPE65')).status).toBe('NOERROR');
    const garbage = Buffer.from([0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x3f, 0x61]);
    const socket = createSocket('udp4');
    onTestFinished(() => {
      socket.close();
    });
    socket.send(garbage, dns.port, dns.addresses.ns1);
    const [reply] = await once(socket, 'message');
    expect(reply).toEqual(Buffer.from([0xab, 0xcd, 0x80, 0x01, 0, 0, 0, 0, 0, 0, 0, 0]));
  });

  test('several questions on one TCP connection are answered, however the bytes are cut', async () => {
    const dns = await sandboxDns({ 'example.com': [challenge('x')] });
    const question = Buffer.from(
      '000000010000000000000f5f61636d652d6368616c6c656e6765076578616d706c6503636f6d0000100001',
      'hex',
    );
    const framed = Buffer.concat([1, 2].flatMap((id) => [Buffer.from([0, question.length + 2, 0, id]), question]));
    const socket = connect(dns.port, dns.addresses.ns1);
    onTestFinished(() => {
      socket.destroy();
    });
    let received = Buffer.alloc(0);
    for (const byte of framed) socket.write(Buffer.from([byte]));
    const length = (at: number): number => 2 + (received.length >= at + 2 ? received.readUInt16BE(at) : 1e6);
    for await (const chunk of socket) {
      received = Buffer.concat([received, chunk]);
      if (received.length >= length(0) && received.length >= length(0) + length(length(0))) break;
    }
    expect([received.readUInt16BE(2), received.readUInt16BE(length(0) + 2)]).toEqual([1, 2]);
  });
});

describe('the recursive resolver of the sandbox', () => {
  test('it has the RA bit and no AA bit', async () => {
    const dns = await sandboxDns({ 'example.com': [challenge('x')] });
    expect(dns.resolver).toBe(`127.0.0.3:${dns.port}`);
    const { flags } = await dig(dns, 'resolver', '_acme-challenge.example.com', 'TXT');
    expect(flags).toEqual(['qr', 'rd', 'ra']);
    expect((await dig(dns, 'ns1', '_acme-challenge.example.com', 'TXT')).flags).toEqual(['qr', 'aa', 'rd', 'ra']);
  });

  test("Node's resolver reads it, and gets its error codes", async () => {
    const dns = await sandboxDns({
      'example.com': [
        challenge('one'),
        challenge('two'),
        { name: 'www.example.com', type: 'CNAME', value: 'edge.example.com' },
        { name: 'edge.example.com', type: 'A', value: '192.0.2.7' },
      ],
    });
    const resolver = nodeResolver(dns, 'resolver');
    expect(await resolver.resolveTxt('_acme-challenge.example.com')).toEqual([['one'], ['two']]);
    expect(await resolver.resolve4('www.example.com')).toEqual(['192.0.2.7']);
    expect(await resolver.resolveNs('example.com')).toEqual(['ns1.example.com', 'ns2.example.com']);
    expect(await resolver.resolveSoa('example.com')).toMatchObject({ nsname: 'ns1.example.com' });
    await expect(resolver.resolveTxt('no.example.com')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    await expect(resolver.resolveTxt('edge.example.com')).rejects.toMatchObject({ code: 'ENODATA' });
    await expect(resolver.resolveTxt('example.org')).rejects.toMatchObject({ code: 'EREFUSED' });
  });
});

describe('records that change', () => {
  test('a record is served from its addition to its removal, and listeners hear of both', async () => {
    const dns = await sandboxDns({ 'example.com': [] });
    const changes: RecordChange[] = [];
    const stop = dns.onChange((change) => changes.push(change));
    const one = dns.addRecord('example.com', challenge('one'));
    const two = dns.addRecord('example.com', challenge('two'));
    expect([one, two]).toEqual([expect.stringMatching(/^\d{18}$/), expect.stringMatching(/^\d{18}$/)]);
    const resolver = nodeResolver(dns, 'ns1');
    expect(await resolver.resolveTxt('_acme-challenge.example.com')).toEqual([['one'], ['two']]);
    dns.updateRecord(two, challenge('three'));
    expect(dns.removeRecord(one)).toBe(true);
    expect(dns.removeRecord(one)).toBe(false);
    expect(await resolver.resolveTxt('_acme-challenge.example.com')).toEqual([['three']]);
    expect(dns.records('example.com')).toMatchObject([{ id: two, value: 'three' }]);
    stop();
    dns.removeRecord(two);
    expect(changes.map(({ change, record }) => `${change} ${record.value}`)).toEqual([
      'add one',
      'add two',
      'remove two',
      'add three',
      'remove one',
    ]);
  });

  test('what no name server would load is refused', async () => {
    const dns = await sandboxDns({ 'example.com': [] });
    const add = (record: NewRecord) => () => dns.addRecord('example.com', record);
    expect(add({ name: 'www.example.org', type: 'A', value: '192.0.2.1' })).toThrow('is not in the zone');
    expect(add({ name: 'www..example.com', type: 'A', value: '192.0.2.1' })).toThrow('cannot own a record');
    expect(add({ name: `${'a'.repeat(64)}.example.com`, type: 'A', value: '192.0.2.1' })).toThrow('cannot own');
    expect(add({ name: 'www.example.com', type: 'A', value: '2001:db8::1' })).toThrow('Not a value of type A');
    expect(() => dns.addRecord('example.org', challenge('x'))).toThrow('holds no zone example.org');
    expect(dns.records('example.com')).toEqual([]);
  });
});

describe('faults', () => {
  test('ns2 serves the old records until it is released', async () => {
    const dns = await sandboxDns({ 'example.com': [challenge('old')] });
    dns.lag('ns2', 'held');
    const [old] = dns.records('example.com');
    dns.removeRecord(old?.id ?? '');
    dns.addRecord('example.com', challenge('new'));
    expect(await nodeResolver(dns, 'ns1').resolveTxt('_acme-challenge.example.com')).toEqual([['new']]);
    expect(await nodeResolver(dns, 'ns2').resolveTxt('_acme-challenge.example.com')).toEqual([['old']]);
    dns.release('ns2');
    expect(await nodeResolver(dns, 'ns2').resolveTxt('_acme-challenge.example.com')).toEqual([['new']]);
  });

  test('a change reaches a server that lags by milliseconds without a release', async () => {
    const dns = await sandboxDns({ 'example.com': [] });
    dns.lag('ns2', 20);
    dns.addRecord('example.com', challenge('new'));
    const seen: string[] = [];
    while (seen.at(-1) !== 'NOERROR') seen.push((await dig(dns, 'ns2', '_acme-challenge.example.com', 'TXT')).status);
    expect(dns.queries.every((query) => query.server === 'ns2')).toBe(true);
  });

  test('an old change under a long lag does not undo a newer one', async () => {
    const dns = await sandboxDns({ 'example.com': [] });
    dns.lag('ns2', 60);
    const id = dns.addRecord('example.com', challenge('new'));
    dns.lag('ns2', 0);
    dns.removeRecord(id);
    // A second, unrelated server with the same lag tells when the old change is due.
    dns.lag('ns1', 60);
    dns.addRecord('example.com', { name: 'due.example.com', type: 'TXT', value: 'x' });
    const due = nodeResolver(dns, 'ns1');
    while ((await due.resolveTxt('due.example.com').catch(() => [])).length === 0);
    await expect(nodeResolver(dns, 'ns2').resolveTxt('_acme-challenge.example.com')).rejects.toMatchObject({
      code: 'ENOTFOUND',
    });
  });

  test('a silent server answers nobody, the others go on', async () => {
    const dns = await sandboxDns({ 'example.com': [challenge('x')] });
    dns.silence('ns2');
    await expect(nodeResolver(dns, 'ns2', 200).resolveTxt('_acme-challenge.example.com')).rejects.toMatchObject({
      code: 'ETIMEOUT',
    });
    expect(dns.queries).toMatchObject([{ server: 'ns2', type: 'TXT', rcode: undefined }]);
    expect(await nodeResolver(dns, 'ns1').resolveTxt('_acme-challenge.example.com')).toEqual([['x']]);
    dns.revive('ns2');
    expect(await nodeResolver(dns, 'ns2').resolveTxt('_acme-challenge.example.com')).toEqual([['x']]);
  });

  test('a failure is for one name, and one server and type where it says so', async () => {
    const dns = await sandboxDns({ 'example.com': [challenge('x'), { ...challenge('y'), name: 'y.example.com' }] });
    const status = async (server: ServerName, type = 'TXT'): Promise<string> =>
      (await dig(dns, server, '_acme-challenge.example.com', type)).status;
    dns.fail('_ACME-challenge.example.com', 'SERVFAIL', { server: 'ns1', type: 'TXT' });
    expect([await status('ns1'), await status('ns1', 'CAA'), await status('ns2')]).toEqual([
      'SERVFAIL',
      'NOERROR',
      'NOERROR',
    ]);
    dns.fail('_acme-challenge.example.com', 'NXDOMAIN');
    expect([await status('ns1'), await status('ns2'), await status('resolver')]).toEqual([
      'NXDOMAIN',
      'NXDOMAIN',
      'NXDOMAIN',
    ]);
    expect((await dig(dns, 'ns1', 'y.example.com', 'TXT')).status).toBe('NOERROR');
    dns.fail('_acme-challenge.example.com', 'timeout');
    await expect(nodeResolver(dns, 'resolver', 200).resolveTxt('_acme-challenge.example.com')).rejects.toMatchObject({
      code: 'ETIMEOUT',
    });
    dns.recover('_acme-challenge.example.com');
    expect(await status('ns1')).toBe('NOERROR');
  });
});

describe('what was asked', () => {
  test('each question is in the log, and can be waited for', async () => {
    const dns = await sandboxDns({ 'example.com': [challenge('x')] });
    const seen = dns.seen('_acme-challenge.EXAMPLE.com', 'TXT', { server: 'ns2' });
    await dig(dns, 'ns1', '+norecurse', '+tcp', '_acme-challenge.example.com', 'TXT');
    await dig(dns, 'ns2', '_acme-challenge.example.com', 'CAA');
    await dig(dns, 'ns2', '_Acme-Challenge.example.com', 'TXT');
    const common = { name: '_acme-challenge.example.com', type: 'TXT', rcode: 'NOERROR' };
    const second = { ...common, server: 'ns2', transport: 'udp', recursionDesired: true };
    expect(await seen).toEqual(second);
    expect(dns.queries).toEqual([
      { ...common, server: 'ns1', transport: 'tcp', recursionDesired: false },
      { ...second, type: 'CAA' },
      second,
    ]);
    expect(await dns.seen('_acme-challenge.example.com', 'TXT')).toBe(dns.queries[0]);
    expect(await dns.seen('_acme-challenge.example.com', 'TXT', { from: 1 })).toBe(dns.queries[2]);
  });

  test('a wait ends with an error when the DNS is closed, and nothing listens any more', async () => {
    const dns = await startDns({ zones: { 'example.com': [] } });
    const idle = connect(dns.port, dns.addresses.ns1);
    await once(idle, 'connect');
    const closed = once(idle, 'close');
    const seen = dns.seen('example.com', 'TXT');
    await Promise.all([dns.close(), expect(seen).rejects.toThrow('was closed')]);
    await closed;
    for (const address of Object.values(dns.addresses)) {
      const [error] = await once(connect(dns.port, address), 'error').catch((reason: unknown) => [reason]);
      expect(error).toMatchObject({ code: 'ECONNREFUSED' });
      await expect(resolverAt(address, dns.port).resolveTxt('example.com')).rejects.toMatchObject({
        code: 'ECONNREFUSED',
      });
    }
  });

  test('several sandboxes run at once', async () => {
    const all = await Promise.all(Array.from({ length: 10 }, () => sandboxDns({ 'example.com': [challenge('x')] })));
    expect(new Set(all.map((dns) => dns.port)).size).toBe(10);
  });
});

function resolverAt(address: string, port: number): Resolver {
  const resolver = new Resolver({ timeout: 4000, tries: 1 });
  resolver.setServers([`${address}:${port}`]);
  return resolver;
}
