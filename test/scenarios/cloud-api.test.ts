import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { decisionsOf, errorsOf, ordersAt, statusesOf } from '../sandbox/footprint.ts';
import { ApiError } from '../sandbox/product.ts';
import { startWorld, type World } from '../sandbox/world.ts';

let world: World;
let stop: (() => void) | undefined;
beforeAll(async () => {
  world = await startWorld({ zones: ['example.com'] });
});
afterEach(() => stop?.());
afterAll(async () => {
  expect(world.rpc.violations).toEqual([]);
  await world.close();
});

function certificateFor(domain: string, more: Record<string, unknown> = {}) {
  world.cdn.set(domain);
  return world.config({ certificates: [{ name: domain, identifiers: [domain], keyType: 'ec256' }], ...more });
}

test('F36 a domain that is being configured is waited for', async () => {
  const domain = 'busy.example.com';
  stop = world.rpc.intercept(({ action, nth }) =>
    action === 'SetDomainServerCertificate' && nth === 1
      ? new ApiError(403, 'ServiceBusy', 'The specified Domain is configuring, please retry later.')
      : undefined,
  );
  const renewal = await world.renew(certificateFor(domain));
  expect(statusesOf(renewal)).toEqual({ [domain]: 'renewed' });
});

test('F37 an answer that is lost after the write was done costs no second write', async () => {
  const domain = 'lost.example.com';
  let writes = 0;
  stop = world.rpc.intercept(({ action, parameters }) => {
    if (action !== 'SetDomainServerCertificate' || parameters['DomainName'] !== domain) return undefined;
    writes += 1;
    return 'reset-after';
  });
  const renewal = await world.renew(certificateFor(domain));
  expect(statusesOf(renewal)).toEqual({ [domain]: 'renewed' });
  expect(writes).toBe(1);
});

test('F36 an answer of 503 without a Code is no success: the next run deploys what is stored', async () => {
  const domain = 'broken.example.com';
  stop = world.rpc.intercept(({ action }) =>
    action === 'SetDomainServerCertificate' ? { status: 503, body: '{"RequestId":"0000-1111"}' } : undefined,
  );
  const config = certificateFor(domain, {
    verify: { patience: '1s', connect: world.edges.map(({ address }) => address) },
  });
  const failed = await world.renew(config, { timeout: 60 });
  expect(errorsOf(failed)).toEqual({ [domain]: 'SERVICE_UNAVAILABLE' });
  expect(failed.error?.errorType).toBe('RunFailed');
  stop();
  const orders = ordersAt(world);
  const next = await world.renew(config);
  expect(decisionsOf(next)).toEqual({ [domain]: 'deploy NotDeployed' });
  expect(statusesOf(next)).toEqual({ [domain]: 'redeployed' });
  expect(ordersAt(world)).toBe(orders);
});

test('F35 what is throttled is pushed all the same, and never more than ten in a second', async () => {
  const domains = Array.from({ length: 25 }, (_, index) => `many${index}.example.com`);
  for (const domain of domains) world.cdn.set(domain);
  const identifiers = ['*.example.com'];
  const config = world.config({
    certificates: [{ name: 'many', identifiers, keyType: 'ec256', targets: [{ type: 'cdn', domains }] }],
  });
  const before = world.rpc.callsOf('SetDomainServerCertificate').length;
  const renewal = await world.renew(config);
  expect(statusesOf(renewal)).toEqual({ many: 'renewed' });
  expect(world.rpc.callsOf('SetDomainServerCertificate').length - before).toBe(25);
  expect(world.rpc.maxCallsInAnySecond('SetDomainServerCertificate')).toBeLessThanOrEqual(10);
});

test('F39 one domain that is refused stops no other of the same certificate', async () => {
  const domains = ['a.two.example.com', 'b.two.example.com'];
  for (const domain of domains) world.cdn.set(domain);
  world.cdn.set('a.two.example.com', { httpsRequests: false });
  const config = world.config({ certificates: [{ name: 'two', identifiers: domains, keyType: 'ec256' }] });
  const renewal = await world.renew(config);
  expect(statusesOf(renewal)).toEqual({ two: 'failed' });
  expect(renewal.report.outcomes[0]?.deployments?.map(({ domain, status }) => [domain, status])).toEqual([
    ['a.two.example.com', 'failed'],
    ['b.two.example.com', 'deployed'],
  ]);
  expect(world.cdn.served('b.two.example.com')).toBeDefined();
});

test('F39 a domain that is not on the account, or is offline, costs no order', async () => {
  world.cdn.set('offline.example.com', { status: 'offline' });
  const config = world.config({
    certificates: [
      { name: 'gone', identifiers: ['gone.example.com'] },
      { name: 'offline', identifiers: ['offline.example.com'] },
    ],
  });
  const orders = ordersAt(world);
  const renewal = await world.renew(config);
  expect(statusesOf(renewal)).toEqual({ gone: 'failed', offline: 'kept' });
  expect(errorsOf(renewal)).toEqual({ gone: 'DOMAIN_NOT_FOUND' });
  expect(ordersAt(world)).toBe(orders);
});

test('with cdn.api auto, the API that replaced the old one is used once that is gone', async () => {
  const domain = 'switched.example.com';
  world.rpc.removeAction('SetDomainServerCertificate');
  const renewal = await world.renew(certificateFor(domain));
  expect(statusesOf(renewal)).toEqual({ [domain]: 'renewed' });
  expect(renewal.report.outcomes[0]?.deployments?.[0]).toMatchObject({
    api: 'SetCdnDomainSSLCertificate',
    certName: expect.stringMatching(/^autocert-cdn-switched_example_com-[0-9a-f]{12}$/),
  });
  const second = await world.renew(certificateFor(domain));
  expect(statusesOf(second)).toEqual({ [domain]: 'kept' });
});
