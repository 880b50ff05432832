import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { problemAnswer } from '../sandbox/fault-proxy.ts';
import { type FaultyWorld, startFaultyWorld } from '../sandbox/faulty-world.ts';
import { decisionsOf, errorsOf, statusesOf, treeOf } from '../sandbox/footprint.ts';

let faulty: FaultyWorld;
beforeAll(async () => {
  faulty = await startFaultyWorld();
});
afterAll(() => faulty.close());

const HOUR = 3_600_000;
const started = Date.now();
const inSixHours = new Date(Math.ceil(started / 1000) * 1000 + 6 * HOUR);
const inText = inSixHours.toISOString().replace('T', ' ').replace(/\..*/, ' UTC');
const TOO_MANY = 'too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s';

/** Label to what comes with a 429; `until` is when the next try is, in milliseconds from the run. */
const LONG: Readonly<Record<string, { readonly header?: string; readonly text?: string; readonly until: number }>> = {
  'f9-hours': { header: '21600', until: 6 * HOUR },
  'f9-date': { header: inSixHours.toUTCString(), until: 6 * HOUR },
  'f9-text': {
    text: `${TOO_MANY}, retry after ${inText}: see https://letsencrypt.org/docs/rate-limits/`,
    until: 6 * HOUR,
  },
  'f8-86400': { header: '86400', until: 24 * HOUR },
  'f8-2147484': { header: '2147484', until: 7 * 24 * HOUR },
  'f8-2099': { header: 'Thu, 01 Jan 2099 00:00:00 GMT', until: 7 * 24 * HOUR },
};
/** Values that say nothing: tried a few times, then as after any failure. */
const VOID: Readonly<Record<string, string>> = {
  'f8-0': '0',
  'f8-minus': '-1',
  'f8-abc': 'abc',
  'f8-empty': '',
  'f8-past': 'Thu, 01 Jan 2015 00:00:00 GMT',
};
const domainOf = (label: string) => `${label}.example.com`;

test('F8 F9 a rate limit is recorded with its date, the next run waits for it and says so, and other certificates are done', async () => {
  const { world, proxy, certificatesFor, record, letTimePass } = faulty;
  const labels = [...Object.keys(LONG), ...Object.keys(VOID)];
  const calm = proxy.intercept(({ endpoint, names }) => {
    const label = names[0]?.split('.')[0] ?? '';
    if (endpoint !== 'newOrder' || !labels.includes(label)) return undefined;
    const header = VOID[label] ?? LONG[label]?.header;
    return problemAnswer(429, 'rateLimited', {
      detail: LONG[label]?.text ?? TOO_MANY,
      ...(header !== undefined && { headers: { 'retry-after': header } }),
    });
  });
  const good = domainOf('good');
  const config = certificatesFor([...labels.map(domainOf), good]);
  const renewal = await world.renew(config, { timeout: 120 });
  // What has a date and no certificate that would end before it is no failure of the run.
  const expected = Object.fromEntries(labels.map((label) => [domainOf(label), LONG[label] ? 'deferred' : 'failed']));
  expect(statusesOf(renewal)).toEqual({ ...expected, [good]: 'renewed' });
  const finishedAt = Date.parse(renewal.report.finishedAt);

  const ordersOf = (label: string) =>
    proxy.requests.filter(({ endpoint, names }) => endpoint === 'newOrder' && names[0] === domainOf(label)).length;
  for (const [label, { until }] of Object.entries(LONG)) {
    expect(ordersOf(label), `${label} is asked once and not waited for`).toBe(1);
    const { failures } = await record(domainOf(label));
    expect(failures?.code).toBe('ACME_RATE_LIMITED');
    const next = Date.parse(failures?.nextAttemptAt ?? '');
    expect(next, label).toBeGreaterThan(started + until - 1000);
    expect(next, label).toBeLessThan(finishedAt + until + 1000);
  }
  for (const label of Object.keys(VOID)) {
    expect(ordersOf(label), `${label} is no busy loop`).toBeLessThanOrEqual(6);
    const next = Date.parse((await record(domainOf(label))).failures?.nextAttemptAt ?? '');
    expect(next, label).toBeGreaterThan(started + 15 * 60_000);
    expect(next, label).toBeLessThan(finishedAt + 20 * 60_000);
  }

  const asked = proxy.requests.length;
  const second = await world.renew(config);
  expect(decisionsOf(second)).toEqual({
    ...Object.fromEntries(labels.map((label) => [domainOf(label), 'keep BackingOff'])),
    [good]: 'keep Current',
  });
  const { failures } = await record(domainOf('f9-date'));
  const told = second.report.outcomes.find(({ name }) => name === domainOf('f9-date'));
  expect(told).toMatchObject({
    status: 'deferred',
    decision: { message: expect.stringContaining(failures?.nextAttemptAt ?? '-') },
  });
  expect(proxy.requests.slice(asked).filter(({ endpoint }) => endpoint === 'newOrder')).toEqual([]);

  calm();
  await letTimePass();
  const third = await world.renew(config);
  expect(statusesOf(third)).toEqual({
    ...Object.fromEntries(labels.map((label) => [domainOf(label), 'renewed'])),
    [good]: 'kept',
  });
}, 180_000);

test('F9 a limit of the whole account whose date stands only in the text keeps every certificate from the CA until then', async () => {
  const { world, proxy, certificatesFor, letTimePass } = faulty;
  const [asked, waiting] = [domainOf('f9-asked'), domainOf('f9-waiting')];
  const detail = `too many new orders (300) from this account in the last 3h0m0s, retry after ${inText}`;
  const calm = proxy.intercept(({ endpoint, names }) =>
    endpoint === 'newOrder' && names[0] === asked
      ? problemAnswer(429, 'rateLimited', {
          detail: `${detail}: see https://letsencrypt.org/docs/rate-limits/#new-orders-per-account`,
        })
      : undefined,
  );
  const first = await world.renew(certificatesFor([asked]));
  calm();
  expect([statusesOf(first), errorsOf(first)]).toEqual([{ [asked]: 'deferred' }, { [asked]: 'ACME_RATE_LIMITED' }]);
  const [ledger = ''] = Object.keys(await treeOf(join(world.storePath, 'ledger')));
  const { waits } = JSON.parse(await readFile(join(world.storePath, 'ledger', ledger), 'utf8'));
  expect(waits).toMatchObject({ orders: inSixHours.toISOString() });

  const before = proxy.requests.length;
  const second = await world.renew(certificatesFor([asked, waiting]));
  expect(decisionsOf(second)).toEqual({ [asked]: 'keep BackingOff', [waiting]: 'renew NotIssued' });
  expect(second.report.outcomes.find(({ name }) => name === waiting)).toMatchObject({
    status: 'deferred',
    error: { code: 'ACME_LIMIT_REACHED', message: expect.stringContaining(inSixHours.toISOString()) },
  });
  expect(second.error, 'nobody is woken for it').toBeUndefined();
  expect(proxy.requests.slice(before).filter(({ endpoint }) => endpoint === 'newOrder')).toEqual([]);

  await letTimePass();
  const third = await world.renew(certificatesFor([asked, waiting]));
  expect(statusesOf(third)).toEqual({ [asked]: 'renewed', [waiting]: 'renewed' });
});

test('F32 an order that a CAA record forbids is not asked for again within the hour', async () => {
  const { world, proxy, certificatesFor, record } = faulty;
  const domain = domainOf('f32-forbidden');
  const calm = proxy.intercept(({ endpoint, names }) =>
    endpoint === 'newOrder' && names[0] === domain
      ? problemAnswer(403, 'caa', { detail: `CAA record for ${domain} prevents issuance` })
      : undefined,
  );
  const config = certificatesFor([domain]);
  const first = await world.renew(config);
  expect(errorsOf(first)).toEqual({ [domain]: 'ACME_CAA' });
  const wait = Date.parse((await record(domain)).failures?.nextAttemptAt ?? '') - Date.parse(first.report.finishedAt);
  expect(wait).toBeGreaterThan(HOUR - 60_000);
  expect(decisionsOf(await world.renew(config))).toEqual({ [domain]: 'keep BackingOff' });
  calm();
  expect(proxy.requests.filter(({ endpoint, names }) => endpoint === 'newOrder' && names[0] === domain)).toHaveLength(
    1,
  );
});

test('F9 a limit of three seconds is waited for in the same run', async () => {
  const { world, proxy, certificatesFor } = faulty;
  const domain = domainOf('f9-seconds');
  const calm = proxy.intercept(({ endpoint, names, nth }) =>
    endpoint === 'newOrder' && names[0] === domain && nth <= 2
      ? problemAnswer(429, 'rateLimited', { detail: TOO_MANY, headers: { 'retry-after': '3' } })
      : undefined,
  );
  const renewal = await world.renew(certificatesFor([domain]));
  calm();
  expect(statusesOf(renewal)).toEqual({ [domain]: 'renewed' });
  const took = Date.parse(renewal.report.finishedAt) - Date.parse(renewal.report.startedAt);
  expect(took).toBeGreaterThanOrEqual(6000);
});
