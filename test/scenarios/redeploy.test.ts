import { afterAll, beforeAll, expect, test } from 'vitest';
import type { HttpAnswer } from '../../src/http.ts';
import { readRecord, writeRecord } from '../../src/record.ts';
import type { RunReport } from '../../src/report.ts';
import { createFileStore } from '../../src/store/file.ts';
import { makeCertificate } from '../sandbox/certificates.ts';
import type { InvocationResult } from '../sandbox/fc.ts';
import { ordersAt, treeOf } from '../sandbox/footprint.ts';
import { parseLine, startWorld, type World } from '../sandbox/world.ts';

let world: World;
beforeAll(async () => {
  world = await startWorld({ zones: ['example.com'] });
});
afterAll(() => world.close());

const ACCOUNT = '1234567890123456';
const WRITES = /^(?:Set|Add|Delete|Batch)/;

function certificateFor(domain: string, more: Record<string, unknown> = {}) {
  return world.config({ certificates: [{ name: domain, identifiers: [domain], keyType: 'ec256' }], ...more });
}

async function issued(domain: string): Promise<Record<string, unknown>> {
  world.cdn.set(domain);
  const config = certificateFor(domain);
  await world.renew(config);
  return config;
}

function overwrite(domain: string): void {
  const byHand = makeCertificate({ names: [domain], notAfter: new Date('2036-01-01T00:00:00Z') });
  world.cdn.purchase(domain, { ...byHand, certType: 'upload', certName: `by-hand-${domain}` });
}

function audit(eventName: string, domain: string, more: Record<string, unknown> = {}) {
  return {
    id: `${eventName}-${domain}`,
    source: 'acs.cdn',
    specversion: '1.0',
    type: 'cdn:ActionTrail:ApiCall',
    aliyunaccountid: ACCOUNT,
    data: { eventName, eventRW: 'Write', requestParameters: { DomainName: domain } },
    ...more,
  };
}

/** `name action reason status` of each outcome. */
function outcomesOf({ result, error, lines }: InvocationResult): string[] {
  expect(error, lines.join('\n')).toBeUndefined();
  return (result as RunReport).outcomes.map(
    ({ name, decision, status }) => `${name} ${decision?.action} ${decision?.reason} ${status}`,
  );
}

/** The calls of the cloud that change something, made while `act` ran. */
async function writesOf(act: () => Promise<unknown>): Promise<string[]> {
  const before = world.rpc.calls.length;
  await act();
  return world.rpc.calls.slice(before).flatMap(({ action }) => (WRITES.test(action) ? [action] : []));
}

test('a certificate that somebody overwrote is put back at once; the same event again, and the one of the own call, change nothing', async () => {
  const domain = 'overwritten.example.com';
  const config = await issued(domain);
  const ours = world.cdn.served(domain)?.fingerprint;
  const orders = ordersAt(world);
  overwrite(domain);

  const event = audit('SetCdnDomainSSLCertificate', domain);
  expect(outcomesOf(await world.invoke('redeploy', event, config))).toEqual([
    `${domain} deploy NotDeployed redeployed`,
  ]);
  expect(world.cdn.served(domain)?.fingerprint).toBe(ours);

  const tree = await treeOf(world.storePath);
  for (const again of [event, audit('SetDomainServerCertificate', domain)]) {
    const writes = await writesOf(async () => {
      expect(outcomesOf(await world.invoke('redeploy', again, config))).toEqual([`${domain} keep Current kept`]);
    });
    expect(writes).toEqual([]);
  }
  expect(await treeOf(world.storePath), 'the store').toEqual(tree);
  expect(ordersAt(world), 'orders').toBe(orders);
});

test('an own call whose certificate an edge is slow to serve does not lead to another call', async () => {
  const domain = 'slow.example.com';
  const config = await issued(domain);
  world.edges[1].override(domain, makeCertificate({ names: [domain] }));
  const writes = await writesOf(async () => {
    const event = audit('SetDomainServerCertificate', domain);
    expect(outcomesOf(await world.invoke('redeploy', event, config))).toEqual([`${domain} keep NotServed deferred`]);
  });
  world.edges[1].override(domain, undefined);
  expect(writes).toEqual([]);
});

test('a domain that was started is brought up to date; one that belongs to nobody is told in the log and fails nothing', async () => {
  const domain = 'started.example.com';
  const config = await issued(domain);
  overwrite(domain);
  world.cdn.set('foreign.example.com');
  const events = { events: [trigger('CdnDomainStarted', domain), trigger('CdnDomainAdded', 'foreign.example.com')] };
  const invocation = await world.invoke('redeploy', events, {
    ...config,
    discover: { include: ['*.example.com'] },
  });
  expect(outcomesOf(invocation)).toEqual([`${domain} deploy NotDeployed redeployed`]);
  expect(invocation.lines.flatMap(parseLine).filter(({ event }) => event === 'not_ours')).toMatchObject([
    { ignored: [{ domain: 'foreign.example.com', reason: 'HTTPS is off' }] },
  ]);
});

function trigger(eventName: string, domain: string) {
  return { eventName, eventVersion: '1.0.0', eventSource: 'cdn', resource: { domain }, eventParameter: { domain } };
}

test('a renewal that fails is neither tried by an event nor taken for well because the stored certificate is pushed', async () => {
  const domain = 'failing.example.com';
  const config = await issued(domain);
  const store = createFileStore({ path: world.storePath });
  const failures = {
    count: 2,
    since: '2026-01-01T00:00:00.000Z',
    nextAttemptAt: '2026-01-01T06:00:00.000Z',
    code: 'ACME_DNS',
    message: 'no TXT record',
  };
  await writeRecord(store, { ...(await readRecord(store, domain)), failures });
  overwrite(domain);
  const orders = ordersAt(world);
  const event = audit('SetCdnDomainSSLCertificate', domain);
  expect(outcomesOf(await world.invoke('redeploy', event, config))).toEqual([
    `${domain} deploy NotDeployed redeployed`,
  ]);
  expect((await readRecord(store, domain)).failures).toEqual(failures);
  expect(outcomesOf(await world.invoke('redeploy', event, config))).toEqual([`${domain} keep BackingOff deferred`]);
  expect((await readRecord(store, domain)).failures).toEqual(failures);
  expect(ordersAt(world), 'orders').toBe(orders);
});

test('a domain that was added, and that the configuration waits for, gets its first certificate', async () => {
  const domain = 'added.example.com';
  world.cdn.set(domain);
  const event = audit('AddCdnDomain', domain);
  expect(outcomesOf(await world.invoke('redeploy', event, certificateFor(domain)))).toEqual([
    `${domain} renew NotIssued renewed`,
  ]);
});

test('an event that is none of its business is acknowledged without a call', async () => {
  const calls = world.rpc.calls.length;
  for (const event of [
    audit('DeleteCdnDomain', 'www.example.com'),
    { events: [trigger('LogFileCreated', 'a.example.com')] },
  ]) {
    expect(outcomesOf(await world.invoke('redeploy', event, certificateFor('www.example.com')))).toEqual([]);
  }
  expect(world.rpc.calls.length).toBe(calls);
});

test.each<[string, unknown]>([
  ['another account', audit('AddCdnDomain', 'www.example.com', { aliyunaccountid: '999' })],
  ['another source', audit('AddCdnDomain', 'www.example.com', { source: 'acs.vod' })],
  ['nobody that is known', { hello: 'world' }],
])('an event of %s is refused, and the run fails', async (_, event) => {
  const calls = world.rpc.calls.length;
  const { error } = await world.invoke('redeploy', event, certificateFor('www.example.com'));
  expect(error).toMatchObject({ errorType: 'RunFailed', errorMessage: expect.stringMatching(/^EVENT_INVALID: /) });
  expect(world.rpc.calls.length).toBe(calls);
});

test('a person may have everything pushed again, and is told of a name that matches nothing', async () => {
  const domain = 'forced.example.com';
  const config = await issued(domain);
  const ours = world.cdn.served(domain)?.fingerprint;
  const orders = ordersAt(world);
  const calm = await writesOf(async () => {
    expect(outcomesOf(await world.invoke('redeploy', {}, config))).toEqual([`${domain} keep Current kept`]);
  });
  expect(calm).toEqual([]);
  for (const payload of [{ force: true }, { domains: [domain], force: true }, { names: [domain], force: true }]) {
    const forced = await writesOf(async () => {
      expect(outcomesOf(await world.invoke('redeploy', payload, config))).toEqual([
        `${domain} deploy Forced redeployed`,
      ]);
    });
    expect(forced).toEqual(['SetDomainServerCertificate']);
  }
  expect(world.cdn.served(domain)?.fingerprint).toBe(ours);
  expect(ordersAt(world), 'orders').toBe(orders);

  const { error } = await world.invoke('redeploy', { domains: ['nowhere.example.com'] }, config);
  expect(error).toMatchObject({
    errorType: 'RunFailed',
    errorMessage: expect.stringContaining('FILTER_MATCHED_NOTHING'),
  });
});

test('a caller by HTTP gets the report as the answer', async () => {
  const domain = 'http.example.com';
  const config = await issued(domain);
  overwrite(domain);
  const done = await post(JSON.stringify({ domains: [domain] }), config);
  expect(done).toMatchObject({ statusCode: 200, headers: { 'content-type': 'application/json; charset=utf-8' } });
  expect(JSON.parse(done.body)).toMatchObject({ outcomes: [{ name: domain, status: 'redeployed' }] });

  const wrong = await post('{"domain":"www.example.com"}', config);
  expect(wrong.statusCode).toBe(400);
  expect(JSON.parse(wrong.body)).toMatchObject({ error: { code: 'EVENT_INVALID', step: 'event' } });

  world.rpc.removeAction('DescribeUserDomains');
  expect((await post('{}', config)).statusCode).toBe(500);

  const seen = await world.invoke('redeploy', httpEvent('GET', ''), config);
  expect(seen.result).toMatchObject({ statusCode: 405, headers: { allow: 'POST' } });
});

async function post(body: string, config: unknown): Promise<HttpAnswer> {
  const { result } = await world.invoke('redeploy', httpEvent('POST', body), config);
  return result as HttpAnswer;
}

function httpEvent(method: string, body: string) {
  return {
    version: 'v1',
    rawPath: '/',
    headers: { 'Content-Type': 'application/json' },
    queryParameters: {},
    isBase64Encoded: true,
    body: Buffer.from(body).toString('base64'),
    requestContext: { accountId: ACCOUNT, http: { method, path: '/', protocol: 'HTTP/1.1' }, requestId: '1' },
  };
}
