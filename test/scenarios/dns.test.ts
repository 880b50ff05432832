import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { errorsOf, ordersAt, statusesOf, txtRecords } from '../sandbox/footprint.ts';
import { injected } from '../sandbox/injections.ts';
import { ApiError } from '../sandbox/product.ts';
import { parseLine, startWorld, type World } from '../sandbox/world.ts';

/** AUTOCERT_SOAK=1 is the long form. */
const APEXES = process.env['AUTOCERT_SOAK'] === '1' ? 100 : 20;

let world: World;
let stop: (() => void) | undefined;
beforeAll(async () => {
  world = await startWorld({
    zones: ['example.com', 'acme.example.net', 'locked.example', 'expired.example', 'full.example'],
    // The CA takes up to two seconds before it looks, as real ones do.
    pebble: { env: { PEBBLE_AUTHZREUSE: '0', PEBBLE_VA_NOSLEEP: '0', PEBBLE_VA_SLEEPTIME: '2' } },
  });
});
afterEach(() => {
  stop?.();
  world.dns.revive('ns2');
  world.dns.release('resolver');
});
afterAll(async () => {
  expect(txtRecords(world, 'example.com')).toEqual([]);
  expect(txtRecords(world, 'acme.example.net')).toEqual([]);
  await world.close();
});

function certificate(domain: string, identifiers: readonly string[] = [domain]) {
  world.cdn.set(domain);
  return { name: domain, identifiers, keyType: 'ec256', targets: [{ type: 'cdn', domains: [domain] }] };
}

function certificateFor(domain: string, identifiers?: readonly string[]) {
  return world.config({ certificates: [certificate(domain, identifiers)] });
}

function eventsOf(lines: readonly string[]): unknown[] {
  return lines.flatMap(parseLine).map((line) => line['event']);
}

describe('name servers', () => {
  test('F28 one that is dead is left out', async () => {
    const domain = 'dead.example.com';
    const config = certificateFor(domain);
    world.dns.silence('ns2');
    const renewal = await world.renew(config);
    expect(statusesOf(renewal)).toEqual({ [domain]: 'renewed' });
    expect(eventsOf(renewal.lines)).toContain('name_server_left_out');
  });

  test('F28 one that answers SERVFAIL is left out', async () => {
    const domain = 'servfail.example.com';
    world.dns.fail(`_acme-challenge.${domain}`, 'SERVFAIL', { server: 'ns2' });
    const renewal = await world.renew(certificateFor(domain));
    expect(statusesOf(renewal)).toEqual({ [domain]: 'renewed' });
    expect(eventsOf(renewal.lines)).toContain('name_server_left_out');
  });

  test('F28 fifty old values at the name stand in nobody’s way, and stay', async () => {
    const domain = 'old.example.com';
    const name = `_acme-challenge.${domain}`;
    const values = Array.from({ length: 50 }, (_, index) => `old-value-${String(index).padStart(2, '0')}`);
    const ids = values.map((value) => world.dns.addRecord('example.com', { name, type: 'TXT', value }));
    const renewal = await world.renew(certificateFor(domain));
    expect(statusesOf(renewal)).toEqual({ [domain]: 'renewed' });
    expect(txtRecords(world, 'example.com')).toEqual(values.map((value) => `${name} ${value}`));
    for (const id of ids) world.dns.removeRecord(id);
  });

  test('F28 the CA’s resolver has a stale value in its cache, or fails: each fails alone, and no record is left', async () => {
    const [stale, failing] = ['stale.example.com', 'failing.example.com'];
    const old = world.dns.addRecord('example.com', { name: `_acme-challenge.${stale}`, type: 'TXT', value: 'stale' });
    world.dns.lag('resolver', 'held');
    world.dns.fail(`_acme-challenge.${failing}`, 'SERVFAIL', { server: 'resolver', type: 'TXT' });
    const renewal = await world.renew(world.config({ certificates: [certificate(stale), certificate(failing)] }));
    expect(errorsOf(renewal)).toEqual({ [stale]: 'ACME_UNAUTHORIZED', [failing]: 'ACME_UNAUTHORIZED' });
    for (const { error } of renewal.report.outcomes) expect(error?.remedy).toContain('example.com');
    expect(txtRecords(world, 'example.com')).toEqual([`_acme-challenge.${stale} stale`]);
    world.dns.removeRecord(old);
  });
});

describe('delegation by CNAME', () => {
  test.each([1, 8])('F29 a chain of %i records is followed to the zone of the account', async (length) => {
    const domain = `chain${length}.example.com`;
    const hop = (nth: number) => (nth === 0 ? `_acme-challenge.${domain}` : `hop${nth}.${domain}`);
    for (let nth = 0; nth < length; nth += 1) {
      const value = nth === length - 1 ? `chain${length}.acme.example.net` : hop(nth + 1);
      world.dns.addRecord('example.com', { name: hop(nth), type: 'CNAME', value });
    }
    const from = world.dns.queries.length;
    const renewal = await world.renew(certificateFor(domain));
    expect(statusesOf(renewal)).toEqual({ [domain]: 'renewed' });
    await world.dns.seen(`chain${length}.acme.example.net`, 'TXT', { from });
  });

  test('F29 a circle is an error after one query a name, and no record is made', async () => {
    const domain = 'circle.example.com';
    const name = `_acme-challenge.${domain}`;
    world.dns.addRecord('example.com', { name, type: 'CNAME', value: `other.${domain}` });
    world.dns.addRecord('example.com', { name: `other.${domain}`, type: 'CNAME', value: name });
    const renewal = await world.renew(certificateFor(domain));
    expect(errorsOf(renewal)).toEqual({ [domain]: 'DNS_CNAME_LOOP' });
    expect(renewal.report.outcomes[0]?.error?.message).toContain(`${name} -> other.${domain}`);
    const asked = world.dns.queries.filter((query) => query.name.endsWith(domain) && query.type === 'CNAME');
    expect(asked.length, 'to present, and once more to clean up').toBeLessThanOrEqual(4);
    expect(world.rpc.callsOf('AddDomainRecord').map(({ parameters }) => parameters['RR'])).not.toContain(
      `_acme-challenge.circle`,
    );
  });

  test('F30 F31 two stores’ runs at once on one delegated name, apex and wildcard each: four values, none lost', async () => {
    const apexes = ['one.example.com', 'two.example.com'];
    for (const apex of apexes) {
      const name = `_acme-challenge.${apex}`;
      world.dns.addRecord('example.com', { name, type: 'CNAME', value: 'shared.acme.example.net' });
    }
    // The CA is not in a hurry, so that all values stand there at the same time.
    world.dns.lag('ns2', 3_000);
    const renewals = await Promise.all(
      apexes.map((apex) => {
        const config = certificateFor(apex, [apex, `*.${apex}`]);
        return world.renew({ ...config, store: `${String(config['store'])}/${apex}` });
      }),
    );
    world.dns.release('ns2');
    expect(renewals.map(statusesOf)).toEqual(apexes.map((apex) => ({ [apex]: 'renewed' })));
    const added = world.rpc.callsOf('AddDomainRecord').filter(({ parameters }) => parameters['RR'] === 'shared');
    expect(new Set(added.map(({ parameters }) => parameters['Value'])).size).toBe(4);
  });
});

test(`F30 apex and wildcard of ${APEXES} certificates in one run, the CA looking when it likes: all of them`, async () => {
  const apexes = Array.from({ length: APEXES }, (_, index) => `apex${index}.example.com`);
  const certificates = apexes.map((apex) => certificate(apex, [apex, `*.${apex}`]));
  const { result, error } = await world.renew(world.config({ certificates }));
  expect(error).toBeUndefined();
  expect(result).toMatchObject({ outcomes: apexes.map((name) => ({ name, status: 'renewed' })) });
  injected(APEXES);
}, 300_000);

describe('Alibaba Cloud DNS', () => {
  test('F33 a zone that is locked, expired or full, and a record in the way: each an error of its certificate alone', async () => {
    world.alidns.setDomain('locked.example', { locked: true });
    world.alidns.setDomain('expired.example', { expired: true });
    world.alidns.setDomain('full.example', { maximumRecords: 0 });
    stop = world.rpc.intercept(({ action, parameters }) =>
      action === 'AddDomainRecord' && parameters['RR'] === '_acme-challenge.conflict'
        ? new ApiError(400, 'DomainRecordConflict', 'The domain record is conflict with other records.')
        : undefined,
    );
    const domains = ['www.locked.example', 'www.expired.example', 'www.full.example', 'conflict.example.com'];
    const certificates = [...domains, 'fine.example.com'].map((domain) => certificate(domain));
    const renewal = await world.renew(world.config({ certificates }));
    expect(errorsOf(renewal)).toEqual({
      'www.locked.example': 'DNS_ZONE_LOCKED',
      'www.expired.example': 'DNS_ZONE_LOCKED',
      'www.full.example': 'DNS_RECORD_QUOTA',
      'conflict.example.com': 'DNS_RECORD_CONFLICT',
    });
    expect(statusesOf(renewal)['fine.example.com']).toBe('renewed');
    for (const { error } of renewal.report.outcomes) if (error) expect(error.remedy).toMatch(/\w{4}.*\.$/);
  });

  test('F33 a zone that is busy, and a record whose addition is answered too late to be heard: one record, and done', async () => {
    const domain = 'slow.example.com';
    let tries = 0;
    stop = world.rpc.intercept(({ action, parameters }) => {
      if (action !== 'AddDomainRecord' || parameters['RR'] !== '_acme-challenge.slow') return undefined;
      tries += 1;
      if (tries === 1) return new ApiError(400, 'LastOperationNotFinished', 'The last operation is not finished.');
      return tries === 2 ? 'reset-after' : undefined;
    });
    let most = 0;
    const forget = world.dns.onChange(() => {
      most = Math.max(most, txtRecords(world, 'example.com').length);
    });
    const renewal = await world.renew(certificateFor(domain));
    forget();
    expect(statusesOf(renewal)).toEqual({ [domain]: 'renewed' });
    expect(tries).toBeGreaterThanOrEqual(2);
    expect(most).toBe(1);
  });

  test('F33 a record that is not visible in the time there is: the run ends in time, and the next one goes on with its order', async () => {
    const domain = 'invisible.example.com';
    const config = certificateFor(domain);
    world.dns.lag('ns1', 'held');
    world.dns.lag('ns2', 'held');
    const orders = ordersAt(world);
    const renewal = await world.renew(config, { timeout: 30 });
    expect(errorsOf(renewal)).toEqual({ [domain]: 'DNS_NOT_PROPAGATED' });
    expect(renewal.error?.errorType, 'not killed').toBe('RunFailed');
    expect(txtRecords(world, 'example.com')).toEqual([]);
    world.dns.release('ns1');
    world.dns.release('ns2');
    expect(statusesOf(await world.renew(config, { payload: { force: true } }))).toEqual({ [domain]: 'renewed' });
    expect(ordersAt(world)).toBe(orders + 1);
  });

  test('F34 what a run could not take away is taken away by the next renewal, and nothing else is', async () => {
    const domain = 'left.example.com';
    const name = `_acme-challenge.${domain}`;
    const theirs = world.dns.addRecord('example.com', { name, type: 'TXT', value: 'theirs' });
    stop = world.rpc.intercept(({ action }) =>
      action === 'DeleteDomainRecord'
        ? new ApiError(400, 'Forbidden.RecordLocked', 'The domain record has been locked.')
        : undefined,
    );
    const config = certificateFor(domain);
    const first = await world.renew(config);
    expect(statusesOf(first), 'the certificate is not to blame').toEqual({ [domain]: 'renewed' });
    expect(eventsOf(first.lines)).toContain('challenge_left_behind');
    expect(txtRecords(world, 'example.com')).toHaveLength(2);
    stop();

    const orders = ordersAt(world);
    const next = await world.renew(config, { payload: { force: true } });
    expect(statusesOf(next)).toEqual({ [domain]: 'renewed' });
    expect(ordersAt(world), 'the old order gives nothing more').toBe(orders + 1);
    expect(txtRecords(world, 'example.com')).toEqual([`${name} theirs`]);
    world.dns.removeRecord(theirs);
  });
});
