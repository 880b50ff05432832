import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { decisionsOf, errorsOf, ordersAt, statusesOf } from '../sandbox/footprint.ts';
import { injected } from '../sandbox/injections.ts';
import { freePorts } from '../sandbox/ports.ts';
import { ApiError } from '../sandbox/product.ts';
import type { Interception } from '../sandbox/rpc-server.ts';
import { CREDENTIALS, startWorld, type World } from '../sandbox/world.ts';

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

const SET = 'SetDomainServerCertificate';

function certificate(domain: string) {
  world.cdn.set(domain);
  return { name: domain, identifiers: [domain], keyType: 'ec256' };
}

function certificateFor(domain: string, more: Record<string, unknown> = {}) {
  return world.config({ certificates: [certificate(domain)], ...more });
}

function servedBy(domain: string): (string | undefined)[] {
  return world.edges.map((edge) => edge.fingerprintOf(domain));
}

test('F35 every third call is throttled: all is done, with at most half as many calls again', async () => {
  const many = (label: string) => Array.from({ length: 6 }, (_, index) => `${label}${index}.example.com`);
  const renew = async (label: string) => {
    const before = world.rpc.calls.length;
    const renewal = await world.renew(world.config({ certificates: many(label).map(certificate) }));
    expect(new Set(Object.values(statusesOf(renewal)))).toEqual(new Set(['renewed']));
    return world.rpc.calls.length - before;
  };
  const needed = await renew('calm');
  let calls = 0;
  let throttled = 0;
  stop = world.rpc.intercept(() => {
    calls += 1;
    if (calls % 3 !== 0) return undefined;
    throttled += 1;
    return new ApiError(400, 'Throttling.User', 'Request was denied due to user flow control.');
  });
  const made = await renew('throttled');
  expect(throttled).toBeGreaterThan(needed / 4);
  expect(made).toBeLessThanOrEqual(1.5 * needed);
  for (const domain of many('throttled')) expect(servedBy(domain)[0]).toBe(world.cdn.served(domain)?.fingerprint);
});

describe('F36 an answer that is none', () => {
  const html = { headers: { 'content-type': 'text/html' }, body: '<html><body>502 Bad Gateway</body></html>' };
  const answers: Record<string, Interception> = {
    'no-code': { status: 500, body: '{"RequestId":"0000-1111"}' },
    html: { status: 200, ...html },
    'html-502': { status: 502, ...html },
    empty: { status: 200, body: '' },
    cut: { status: 200, body: '{"RequestId":"00' },
    'no-request-id': { status: 200, body: '{}' },
    slow: { delayMilliseconds: 5_000 },
    stalled: 'hang',
    'cut-off': 'reset',
    busy: new ApiError(403, 'ServiceBusy', 'The specified Domain is configuring, please retry later.'),
  };
  const domainOf = (name: string) => `${name}.broken.example.com`;

  test('is no success: what was not done is done again, what was done is not', async () => {
    const tries = new Map<string, number>();
    stop = world.rpc.intercept(({ action, parameters }) => {
      const [name = ''] = (parameters['DomainName'] ?? '').split('.');
      if (action !== SET || !(name in answers)) return undefined;
      tries.set(name, (tries.get(name) ?? 0) + 1);
      return tries.get(name) === 1 ? answers[name] : undefined;
    });
    const certificates = Object.keys(answers).map((name) => certificate(domainOf(name)));
    const renewal = await world.renew(world.config({ certificates }));
    expect(errorsOf(renewal)).toEqual({});
    expect(Object.fromEntries(tries)).toEqual(
      Object.fromEntries(Object.keys(answers).map((name) => [name, name === 'slow' ? 1 : 2])),
    );
    for (const name of Object.keys(answers)) {
      const issued = world.cdn.served(domainOf(name))?.fingerprint;
      expect(issued, name).toBeDefined();
      expect(servedBy(domainOf(name)), name).toEqual([issued, issued]);
    }
  });

  test('is a failure of its certificate when it does not end, and the next run deploys what is stored', async () => {
    const names = ['no-code', 'html', 'empty', 'cut', 'no-request-id'];
    const domains = names.map((name) => `${name}.dead.example.com`);
    stop = world.rpc.intercept(({ action, parameters }) => {
      const [name = '', group] = (parameters['DomainName'] ?? '').split('.');
      return action === SET && group === 'dead' ? answers[name] : undefined;
    });
    const config = world.config({ certificates: domains.map(certificate) });
    const renewal = await world.renew(config);
    expect(errorsOf(renewal)).toEqual({
      'no-code.dead.example.com': 'SERVICE_UNAVAILABLE',
      'html.dead.example.com': 'RESPONSE_INVALID',
      'empty.dead.example.com': 'RESPONSE_INVALID',
      'cut.dead.example.com': 'RESPONSE_INVALID',
      'no-request-id.dead.example.com': 'RESPONSE_INVALID',
    });
    for (const domain of domains) expect(world.cdn.served(domain)).toBeUndefined();
    stop();
    const orders = ordersAt(world);
    const next = await world.renew(config);
    expect(new Set(Object.values(decisionsOf(next)))).toEqual(new Set(['deploy NotDeployed']));
    expect(new Set(Object.values(statusesOf(next)))).toEqual(new Set(['redeployed']));
    expect(ordersAt(world)).toBe(orders);
  });
});

test('F39 a domain that is deleted or stopped in mid-run, or is another owner’s, or whose certificate’s name is taken, fails alone', async () => {
  const domains = ['deleted', 'stopped', 'others', 'taken', 'stays'].map((label) => `${label}.example.com`);
  stop = world.rpc.intercept(({ action, parameters }) => {
    if (action !== SET) return undefined;
    if (parameters['DomainName'] === 'deleted.example.com' && world.cdn.state.domains.delete('deleted.example.com'))
      injected();
    if (parameters['DomainName'] === 'stopped.example.com') {
      world.cdn.set('stopped.example.com', { status: 'offline' });
      injected();
    }
    if (parameters['DomainName'] === 'taken.example.com')
      return new ApiError(400, 'Certificate.Duplicated', 'The certificate name is duplicated.');
    if (parameters['DomainName'] !== 'others.example.com') return undefined;
    return new ApiError(400, 'IllegalOperationDomain', 'The domain does not belong to you.');
  });
  const config = world.config({ certificates: domains.map(certificate) });
  const renewal = await world.renew(config);
  expect(errorsOf(renewal)).toEqual({
    'deleted.example.com': 'DOMAIN_NOT_FOUND',
    'stopped.example.com': 'DOMAIN_OFFLINE',
    'others.example.com': 'DOMAIN_REFUSED',
    'taken.example.com': 'CERTIFICATE_NAME_TAKEN',
  });
  expect(statusesOf(renewal)['stays.example.com']).toBe('renewed');
  stop();
  const orders = ordersAt(world);
  expect(statusesOf(await world.renew(config))).toEqual({
    'deleted.example.com': 'failed',
    'stopped.example.com': 'kept',
    'others.example.com': 'redeployed',
    'taken.example.com': 'redeployed',
    'stays.example.com': 'kept',
  });
  expect(ordersAt(world)).toBe(orders);
});

describe('F40 an endpoint that is not the API', () => {
  test('ends the run before anything is changed, and says what to look at', async () => {
    const [port] = await freePorts(1);
    const endpoints = {
      'nobody listens': `http://127.0.0.1:${port}`,
      'no such host': 'https://cdn.nowhere.invalid',
      'no TLS there': world.rpc.url.replace('http:', 'https:'),
      'another API': world.pebble.managementUrl,
    };
    const orders = ordersAt(world);
    const ended = Object.entries(endpoints).map(async ([name, cdn]) => {
      const config = certificateFor('endpoint.example.com');
      const renewal = await world.renew({ ...config, endpoints: { ...(config['endpoints'] as object), cdn } });
      const { code, step, remedy } = renewal.report.error ?? {};
      expect(remedy, name).toMatch(/endpoint/);
      return [name, `${step} ${code} ${renewal.error?.errorType}`];
    });
    expect(Object.fromEntries(await Promise.all(ended))).toEqual({
      'nobody listens': 'inventory SERVICE_UNREACHABLE RunFailed',
      'no such host': 'inventory SERVICE_UNREACHABLE RunFailed',
      'no TLS there': 'inventory SERVICE_UNREACHABLE RunFailed',
      'another API': 'inventory SERVICE_UNREACHABLE RunFailed',
    });
    expect(ordersAt(world)).toBe(orders);
  });
});

describe('credentials', () => {
  test('F41 a token that ends in mid-run is said, and the next run goes on with what is stored', async () => {
    const domain = 'token.example.com';
    const [account] = world.accounts;
    if (!account) throw new Error('the world has an account');
    stop = world.rpc.intercept(({ action }) => {
      // The last call before the push.
      if (action === 'DeleteDomainRecord')
        world.accounts[0] = { ...account, expiresAt: new Date('2026-01-01T00:00:00Z') };
      return undefined;
    });
    const config = certificateFor(domain);
    const renewal = await world.renew(config);
    stop();
    expect(errorsOf(renewal)).toEqual({ [domain]: 'CREDENTIALS_EXPIRED' });
    expect(renewal.report.outcomes[0]?.error).toMatchObject({ step: 'deploy', remedy: expect.stringMatching(/again/) });
    expect(renewal.lines.join('\n')).not.toContain(CREDENTIALS.securityToken);

    const orders = ordersAt(world);
    const fresh = { accessKeyId: 'STS.NNext', accessKeySecret: 'next-secret-55ab', securityToken: 'next-token-31cc' };
    world.accounts.push({ ...fresh, userId: account.userId });
    const next = await world.renew(config, { credentials: fresh });
    world.accounts.splice(0, 2, account);
    expect(decisionsOf(next)).toEqual({ [domain]: 'deploy NotDeployed' });
    expect(statusesOf(next)).toEqual({ [domain]: 'redeployed' });
    expect(ordersAt(world)).toBe(orders);
  });

  test('F42 an action that the role may not call fails its step and is named; nothing else is lost', async () => {
    const domain = 'denied.example.com';
    const [account] = world.accounts;
    if (!account) throw new Error('the world has an account');
    const config = certificateFor(domain);
    world.accounts[0] = { ...account, denied: [SET] };
    const renewal = await world.renew(config);
    world.accounts[0] = account;
    expect(errorsOf(renewal)).toEqual({ [domain]: 'PERMISSION_DENIED' });
    expect(renewal.report.outcomes[0]?.error).toMatchObject({
      step: 'deploy',
      remedy: expect.stringContaining(`cdn:${SET}`),
    });
    const orders = ordersAt(world);
    expect(statusesOf(await world.renew(config))).toEqual({ [domain]: 'redeployed' });
    expect(ordersAt(world)).toBe(orders);
  });
});

describe('a clock that is wrong', () => {
  const MINUTE = 60_000;
  /** The function's own clock alone: CA, cloud and DNS keep the real one. */
  const at = (offset: number, config: unknown) => {
    const code = `const Real = Date; globalThis.Date = class extends Real {
      constructor(...given) { if (given.length > 0) super(...given); else super(Real.now() + ${offset}); }
      static now() { return Real.now() + ${offset}; }
    };`;
    const environment = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(code)}` };
    return world.renew(config, { environment });
  };

  test.each([20, -20])('F43 by %i minutes is corrected by the answer’s Date', async (minutes) => {
    const domain = `skewed${minutes > 0 ? 'ahead' : 'behind'}.example.com`;
    const renewal = await at(minutes * MINUTE, certificateFor(domain));
    expect(statusesOf(renewal)).toEqual({ [domain]: 'renewed' });
    expect(renewal.lines.join('\n')).toContain('clock_skewed');
  });

  test('F52 by 50 minutes behind takes a certificate that begins in its future, and does not renew it again', async () => {
    const config = certificateFor('slow.example.com');
    expect(statusesOf(await at(-50 * MINUTE, config))).toEqual({ 'slow.example.com': 'renewed' });
    const orders = ordersAt(world);
    expect(decisionsOf(await at(-50 * MINUTE, config))).toEqual({ 'slow.example.com': 'keep Current' });
    expect(ordersAt(world)).toBe(orders);
  });

  test('F52 by a year ahead, so that all seems to have ended: the run ends before it renews anything', async () => {
    const certificates = ['year0.example.com', 'year1.example.com', 'year2.example.com'].map(certificate);
    const config = world.config({ certificates });
    await world.renew(config);
    const orders = ordersAt(world);
    const { report } = await at(365 * 24 * 60 * MINUTE, config);
    expect(report.error).toMatchObject({ code: 'CLOCK_SKEWED', step: 'inventory' });
    expect(report.error?.message).toContain('ahead');
    expect(report.outcomes).toEqual([]);
    expect(ordersAt(world)).toBe(orders);
  });
});

test('F52 the time zone of the machine changes nothing', async () => {
  const domain = 'zone.example.com';
  const config = certificateFor(domain);
  const orders = ordersAt(world);
  const inZone = (TZ: string) => world.renew(config, { environment: { TZ } });
  // The first and the last are 25 hours apart.
  expect(statusesOf(await inZone('Pacific/Kiritimati'))).toEqual({ [domain]: 'renewed' });
  expect(decisionsOf(await inZone('America/New_York'))).toEqual({ [domain]: 'keep Current' });
  expect(decisionsOf(await inZone('Pacific/Pago_Pago'))).toEqual({ [domain]: 'keep Current' });
  expect(ordersAt(world) - orders).toBe(1);
});

test('F44 an event that names parameters of the API changes nothing of what is called', async () => {
  const config = certificateFor('injected.example.com');
  const calls = world.rpc.calls.length;
  const payload = { only: ['injected.example.com'], action: 'DeleteCdnDomain', Action: 'DeleteCdnDomain' };
  const { report } = await world.renew(config, { payload });
  expect(report.error).toMatchObject({ code: 'EVENT_INVALID', step: 'event' });
  const named = await world.renew(config, { payload: { only: ['x&Action=DeleteCdnDomain&DomainName=injected'] } });
  expect(named.error?.errorType).toBe('RunFailed');
  const actions = new Set(world.rpc.calls.slice(calls).map(({ action }) => action));
  expect([...actions].filter((action) => !/^Describe/.test(action))).toEqual([]);
});
