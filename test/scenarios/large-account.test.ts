import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { toCredentials } from '../../src/aliyun/credentials.ts';
import type { Invocation } from '../../src/invocation.ts';
import { type CertificateRecord, writeRecord } from '../../src/record.ts';
import type { RunReport } from '../../src/report.ts';
import { run } from '../../src/run.ts';
import { createFileStore } from '../../src/store/file.ts';
import { inTurn } from '../../src/turn.ts';
import { type LargeAccountOptions, startLargeAccount } from '../sandbox/large-account.ts';
import { startOss } from '../sandbox/oss.ts';
import { CREDENTIALS, parseLine } from '../sandbox/world.ts';

const NOTHING = Buffer.from('{}');

async function account(options: LargeAccountOptions) {
  const started = await startLargeAccount(options);
  onTestFinished(() => started.close());
  return started;
}

/** Milliseconds between two runs. */
const INTERVAL = 6 * 3_600_000;
/** An instant of a timer that fires on the hour, and the first of a round of three. */
const FIRST = Math.ceil(Date.now() / INTERVAL / 3) * 3 * INTERVAL;

/** A run in this process that begins at that instant. */
function invocationAt(startsAt: Date, config: object): Invocation {
  const ahead = startsAt.getTime() - Date.now();
  const now = () => new Date(Date.now() + ahead);
  return {
    runId: 'run',
    env: { AUTOCERT_CONFIG: JSON.stringify(config) },
    region: undefined,
    credentials: toCredentials(CREDENTIALS),
    endsAt: new Date(startsAt.getTime() + 600_000),
    now,
    random: () => 0.5,
    write: () => undefined,
    plan: false,
  };
}

/** How many of the outcomes are of which status and for which reason. */
function tally({ outcomes }: RunReport): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { status, decision } of outcomes) {
    const word = `${status} ${decision?.reason}`;
    counts[word] = (counts[word] ?? 0) + 1;
  }
  return counts;
}

test.each([500, 5_000])(
  'a healthy account of %i HTTPS domains costs two lists of the CDN API and no call for a domain, and writes nothing',
  async (domains) => {
    const { rpc, storePath, renew, index } = await account({ domains, withEdge: false });
    const { result } = await renew();
    expect(tally(result as RunReport)).toEqual({ 'kept Current': domains });
    const actions = rpc.calls.map(({ action }) => action);
    expect(new Set(actions)).toEqual(new Set(['DescribeUserDomains', 'DescribeCdnHttpsDomainList']));
    expect(actions.length).toBe((2 * domains) / 500);
    expect(actions.length).toBeLessThanOrEqual(domains / 100 + 5);
    expect(await readdir(storePath)).toEqual(['index.json']);
    expect((await readFile(join(storePath, 'index.json'), 'utf8')).trim()).toBe(index);
  },
);

test('in an account of 600 domains each run reads the edges of those whose turn it is, and three runs those of all', async () => {
  const { asked, config, storePath, index } = await account({
    domains: 600,
    withEdge: true,
    now: new Date(FIRST),
  });
  const read: string[][] = [];
  for (const now of [0, 1, 2].map((nth) => new Date(FIRST + nth * INTERVAL))) {
    const before = asked.length;
    const report = await run(NOTHING, invocationAt(now, config));
    expect(tally(report)).toEqual({ 'kept Current': 600 });
    const names = report.outcomes.map(({ name }) => name);
    read.push(asked.slice(before).sort());
    expect(read.at(-1)).toEqual(names.filter(inTurn({ domains: 600, now, interval: INTERVAL })));
    const verified = report.outcomes.filter(({ verifications }) => verifications);
    expect(verified.map(({ name }) => name)).toEqual(read.at(-1));
    expect(verified.every(({ verifications }) => verifications?.[0]?.status === 'served')).toBe(true);
    expect(report.outcomes.find(({ name }) => !read.at(-1)?.includes(name))?.decision?.message).toContain(
      'in their turn',
    );
  }
  expect(new Set(read.flat()).size, 'every domain').toBe(600);
  expect(read.flat(), 'and none twice').toHaveLength(600);
  expect(await readdir(storePath)).toEqual(['index.json']);
  expect((await readFile(join(storePath, 'index.json'), 'utf8')).trim()).toBe(index);
});

test.each<[string, object, number]>([
  ['named domains', { only: ['site-000001.example.com', 'site-000299.example.com'] }, 2],
  ['everything', { force: true }, 300],
])('whoever asks for %s waits for no turn', async (_, event, looks) => {
  const { asked, config } = await account({ domains: 300, withEdge: true });
  await run(Buffer.from(JSON.stringify(event)), { ...invocationAt(new Date(FIRST), config), plan: true });
  expect(asked).toHaveLength(looks);
});

test('certificates that a killed run left behind wait for no turn', async () => {
  const { asked, config, storePath, index } = await account({ domains: 600, withEdge: true });
  const store = createFileStore({ path: storePath });
  const left = ['site-000001.example.com', 'site-000002.example.com', 'site-000003.example.com'];
  const { records } = JSON.parse(index) as { records: CertificateRecord[] };
  for (const record of records) if (left.includes(record.name)) await writeRecord(store, record);
  await store.put('index.json', Buffer.from(JSON.stringify({ version: 1, working: left, records })));
  const now = new Date(FIRST);
  await run(NOTHING, invocationAt(now, config));
  const turn = inTurn({ domains: 600, now, interval: INTERVAL });
  const names = records.map(({ name }) => name);
  expect([...asked].sort()).toEqual(names.filter((name) => left.includes(name) || turn(name)));
});

test('the log of a run over more than fifty names nothing that is well, and all that is not', async () => {
  const { storePath, index, renew } = await account({ domains: 60, withEdge: true });
  const { records } = JSON.parse(index) as { records: CertificateRecord[] };
  const [first, ...rest] = records;
  const [then, later] = [-1, 1].map((hours) => new Date(Date.now() + hours * 3_600_000).toISOString());
  const waiting = {
    ...first,
    advice: { ...first?.advice, selectedTime: then },
    failures: { count: 1, since: then, nextAttemptAt: later, code: 'ACME_CAA', message: 'It is forbidden.' },
  };
  const store = createFileStore({ path: storePath });
  await store.put('index.json', Buffer.from(JSON.stringify({ version: 1, working: [], records: [waiting, ...rest] })));
  const { lines, result } = await renew();
  expect(tally(result as RunReport)).toEqual({ 'deferred BackingOff': 1, 'kept Current': 59 });
  const told = lines.flatMap(parseLine);
  expect(told.filter(({ event }) => event === 'decided').map(({ name }) => name)).toEqual([first?.name]);
  const finished = told.find(({ event }) => event === 'run_finished');
  expect(finished).toMatchObject({
    summary: '60 certificates: 1 deferred, 59 kept.',
    report: { outcomes: [{ name: first?.name, status: 'deferred' }] },
  });
});

test('certificates that somebody else put on their domains cost no call each, as long as the edges serve what the list says', async () => {
  const { rpc, renew } = await account({ domains: 200, foreign: 150, withEdge: true });
  const { result } = await renew();
  expect(tally(result as RunReport)).toEqual({ 'kept Current': 200 });
  expect(rpc.calls.map(({ action }) => action).sort()).toEqual(['DescribeCdnHttpsDomainList', 'DescribeUserDomains']);
});

test('where the edges are out of reach, the API is asked about the certificates that are not ours', async () => {
  const { rpc, renew } = await account({ domains: 20, foreign: 5, withEdge: false });
  const { result } = await renew();
  expect(tally(result as RunReport)).toEqual({ 'kept Current': 20 });
  expect(rpc.callsOf('DescribeDomainCertificateInfo')).toHaveLength(5);
});

test('the store in a bucket is read once, however many certificates there are', async () => {
  const { renew, index, config } = await account({ domains: 500, withEdge: false });
  const oss = await startOss({ accounts: [CREDENTIALS], buckets: { certificates: {} } });
  onTestFinished(() => oss.close());
  oss.write('certificates', 'autocert/index.json', index);
  const endpoints = { ...(config['endpoints'] as object), oss: oss.url };
  const { result } = await renew({}, { ...config, store: 'oss://certificates/autocert', endpoints });
  expect(tally(result as RunReport)).toEqual({ 'kept Current': 500 });
  expect(
    oss.requests.map(({ method, key }) => `${method} ${key}`),
    'the index, and a look into the inbox',
  ).toEqual(['GET autocert/index.json', 'GET ']);
});
