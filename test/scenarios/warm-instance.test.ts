import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { handler } from '../../functions/renew.ts';
import { treeOf } from '../sandbox/footprint.ts';
import { type Oss, startOss } from '../sandbox/oss.ts';
import { CREDENTIALS, KMS_KEY, startWorld, type World } from '../sandbox/world.ts';

const LATER = { accessKeyId: 'STS.NLater', accessKeySecret: 'later-secret-77ab', securityToken: 'later-token-90cc' };

let world: World;
let oss: Oss;
beforeAll(async () => {
  world = await startWorld({ zones: ['example.com'] });
  oss = await startOss({ accounts: world.accounts, buckets: { certificates: {} } });
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await oss.close();
  await world.close();
});

test('F52 what one instance decides in its time zone, another one in another zone does too', async () => {
  const domain = 'zones.example.com';
  world.cdn.set(domain);
  const config = world.config({ certificates: [{ name: domain, identifiers: [domain], keyType: 'ec256' }] });
  // Each has another date than the other for eleven hours of the day, and one of them daylight saving time.
  const runIn = async (zone: string) => {
    const { report, error } = await world.renew(config, {
      environment: { TZ: zone },
    });
    expect(error).toBeUndefined();
    expect(report.startedAt).toMatch(/Z$/);
    return report.outcomes.map(({ status, decision }) => `${status} ${decision?.reason}`);
  };
  expect(await runIn('Pacific/Kiritimati')).toEqual(['renewed NotIssued']);
  const before = await treeOf(world.storePath);
  for (const zone of ['America/New_York', 'Asia/Shanghai', 'Pacific/Kiritimati']) {
    expect(await runIn(zone), zone).toEqual(['kept Current']);
  }
  expect(await treeOf(world.storePath)).toEqual(before);
});

// As in an instance that FC keeps warm: the module is loaded once, and each invocation brings its own context.
test('F41 an invocation a day and a half later uses the credentials that came with it, for every service', async () => {
  const configure = (domains: readonly string[]) => {
    const config = world.config({
      certificates: domains.map((name) => ({ name, identifiers: [name], keyType: 'ec256' })),
      store: 'oss://certificates/warm',
      encryption: { kmsKeyId: KMS_KEY },
    });
    const endpoints = { ...(config['endpoints'] as object), oss: oss.url };
    vi.stubEnv('AUTOCERT_CONFIG', JSON.stringify({ ...config, endpoints }));
  };
  for (const domain of ['warm.example.com', 'later.example.com']) world.cdn.set(domain);
  const invoke = async (credentials: typeof CREDENTIALS) => {
    const event = { triggerTime: '2026-01-02T03:04:05Z', triggerName: 'every-6h', payload: '' };
    const context = { requestId: 'warm', credentials, function: { timeout: 120 }, region: 'cn-hangzhou' };
    const { outcomes } = await handler(Buffer.from(JSON.stringify(event)), context);
    return outcomes.map(({ status }) => status);
  };
  configure(['warm.example.com']);
  expect(await invoke(CREDENTIALS)).toEqual(['renewed']);

  // Those of before are worth nothing any more: whoever still signs with them is refused.
  const [account] = world.accounts;
  world.accounts.splice(0, 1, { ...LATER, userId: account?.userId ?? '' });
  const [calls, requests] = [world.rpc.calls.length, oss.requests.length];
  // A name that the CA has never validated: it needs every service.
  configure(['warm.example.com', 'later.example.com']);
  expect(await invoke(LATER)).toEqual(['kept', 'renewed']);
  expect(new Set(world.rpc.calls.slice(calls).map(({ code }) => code))).toEqual(new Set(['OK']));
  const actions = world.rpc.calls.slice(calls).map(({ action }) => action);
  for (const action of ['Decrypt', 'GenerateDataKey', 'AddDomainRecord', 'SetDomainServerCertificate'])
    expect(actions).toContain(action);
  const tokens = oss.requests.slice(requests).map(({ headers }) => headers['x-oss-security-token']);
  expect(new Set(tokens)).toEqual(new Set([LATER.securityToken]));
});
