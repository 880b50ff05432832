import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bundled } from '../bundle.ts';
import { type InvocationResult, invoke } from '../sandbox/fc.ts';
import { statusesOf } from '../sandbox/footprint.ts';
import { type Oss, startOss } from '../sandbox/oss.ts';
import { CREDENTIALS, KMS_KEY, startWorld, type World } from '../sandbox/world.ts';
import type { Evaluated } from './evaluate.ts';
import { actionsOf, allows, statementsOf } from './policy.ts';
import { isMap, type Json, type JsonMap } from './read.ts';
import { actionsInCode, handlerNames } from './sources.ts';
import { BUCKET, evaluated, resourcesOf } from './stack.ts';

describe('the roles', () => {
  const OPTIONS = { ChallengeBucket: 'origin', KmsKeyId: KMS_KEY, CloudMonitor: 'true', DirectMail: 'true' };
  const TELLS = ['cms:PutCustomEvent', 'dm:SingleSendMail'];
  /** What FC itself does by the role: logs, and the failure that is passed on. */
  const OF_FC = ['fc:InvokeFunction', 'log:PostLogStoreLogs'];
  let all: Evaluated;
  beforeAll(async () => {
    all = await evaluated(OPTIONS);
  });

  test('are assumed by Function Compute alone, and every function has the one of its kind', () => {
    const roles = resourcesOf('ALIYUN::RAM::Role', all);
    for (const { AssumeRolePolicyDocument } of roles) {
      expect(AssumeRolePolicyDocument).toEqual({
        Version: '1',
        Statement: [{ Effect: 'Allow', Action: 'sts:AssumeRole', Principal: { Service: ['fc.aliyuncs.com'] } }],
      });
    }
    const used = resourcesOf('ALIYUN::FC3::Function', all).map(({ Handler, Role }) => [
      Handler,
      String(Role).split('/')[1],
    ]);
    expect(Object.fromEntries(used)).toEqual({
      'renew.handler': 'autocert-renew',
      'redeploy.handler': 'autocert-renew',
      'watch.handler': 'autocert-watch',
      'status.handler': 'autocert-watch',
      'alert.handler': 'autocert-alert',
    });
  });

  test('allow what the code can call and nothing else', () => {
    const code = [...new Set(handlerNames().flatMap(actionsInCode))].sort();
    const allowed = ['RenewRole', 'WatchRole', 'AlertRole'].flatMap((role) => actionsOf(statementsOf(role, all)));
    expect([...new Set(allowed)].sort()).toEqual([...code, ...OF_FC].sort());
    expect(actionsOf(statementsOf('RenewRole', all))).toEqual([...actionsInCode('renew'), ...OF_FC].sort());
    expect(actionsOf(statementsOf('AlertRole', all))).toEqual(
      ['log:PostLogStoreLogs', 'oss:GetObject', ...TELLS].sort(),
    );
  });

  test('let watch and status read what they show, and change nothing', () => {
    const reads = ['cdn:DescribeCdnHttpsDomainList', 'cdn:DescribeDomainCertificateInfo', 'cdn:DescribeUserDomains'];
    const store = ['kms:Decrypt', 'oss:GetObject', 'oss:ListObjects'];
    expect(actionsOf(statementsOf('WatchRole', all))).toEqual([...reads, ...store, ...OF_FC].sort());
  });

  test('allow nothing for what is not configured', async () => {
    const few = actionsOf(statementsOf('RenewRole', await evaluated()));
    expect(few.filter((action) => /^(kms|cms|dm):/.test(action))).toEqual([]);
    expect(
      allows(
        statementsOf('RenewRole', await evaluated()),
        'oss:PutObject',
        'acs:oss:*:*:origin/.well-known/acme-challenge/token',
      ),
    ).toBe(false);
  });

  test('name ARNs of the form that each product has', () => {
    const forms: Readonly<Record<string, RegExp>> = {
      cdn: /^acs:cdn:\*:1234567890123456:domain\/(www)?\.example\.com$/,
      alidns: /^acs:alidns:\*:1234567890123456:domain\/example\.(com|net)$/,
      oss: new RegExp(
        `^acs:oss:\\*:\\*:(${BUCKET}(/config\\.yaml|/autocert/\\*)?|origin/\\*\\.well-known/acme-challenge/\\*)$`,
      ),
      kms: new RegExp(`^acs:kms:cn-hangzhou:1234567890123456:key/${KMS_KEY}$`),
      fc: /^acs:fc:cn-hangzhou:1234567890123456:functions\/autocert-alert$/,
      log: /^acs:log:cn-hangzhou:1234567890123456:project\/autocert-log-1234567890123456-cn-hangzhou\/logstore\/functions$/,
    };
    for (const role of ['RenewRole', 'WatchRole', 'AlertRole']) {
      for (const { actions, resources } of statementsOf(role, all)) {
        for (const resource of resources.filter((name) => name !== '*')) {
          for (const action of actions) expect(resource).toMatch(forms[action.split(':')[0] ?? ''] ?? /^$/);
        }
      }
    }
  });

  test('give all resources only to lists of the account and to what has no resources', () => {
    const wide = ['RenewRole', 'WatchRole', 'AlertRole'].flatMap((role) =>
      statementsOf(role, all).flatMap(({ actions, resources }) => (resources.includes('*') ? actions : [])),
    );
    expect([...new Set(wide)].sort()).toEqual(
      [
        ...[
          'alidns:DescribeDomains',
          'cdn:DescribeCdnHttpsDomainList',
          'cdn:DescribeCdnSSLCertificateList',
          'cdn:DescribeUserDomains',
        ],
        ...TELLS,
      ].sort(),
    );
  });

  test('reach the domains of the form, no others, and with * all of the account', async () => {
    const arn = (domain: string) => `acs:cdn:*:1234567890123456:domain/${domain}`;
    const may = async (domains: string, domain: string) =>
      allows(
        statementsOf('RenewRole', await evaluated({ CdnDomains: domains })),
        'cdn:SetDomainServerCertificate',
        arn(domain),
      );
    expect(await may('www.example.com,*.example.com', 'www.example.com')).toBe(true);
    expect(await may('www.example.com,*.example.com', '.example.com')).toBe(true);
    expect(await may('www.example.com,*.example.com', 'img.example.com')).toBe(false);
    expect(await may('www.example.com, img.example.com', 'img.example.com')).toBe(true);
    expect(await may('*', 'img.example.com')).toBe(true);
  });
});

describe('a policy', () => {
  test('has room for 60 domains: RAM takes 6144 characters', async () => {
    const domains = Array.from({ length: 60 }, (_, i) => `a-long-name-${i + 10}.example.com.cn`).join(',');
    const { resources } = await evaluated({ CdnDomains: domains });
    for (const { PolicyDocument } of Object.values(resources).flatMap(({ Properties }) =>
      documentsOf(Properties['Policies']),
    )) {
      expect(JSON.stringify(PolicyDocument).length).toBeLessThanOrEqual(6144);
    }
  });

  function documentsOf(policies: Json | undefined): JsonMap[] {
    return Array.isArray(policies) ? policies.filter(isMap) : [];
  }
});

describe('the sandbox with no more than the roles allow', () => {
  let world: World;
  let oss: Oss;
  let stack: Evaluated;
  let role = 'RenewRole';
  const refused: string[] = [];
  beforeAll(async () => {
    stack = await evaluated({ KmsKeyId: KMS_KEY });
    world = await startWorld({ zones: ['example.com'] });
    oss = await startOss({
      accounts: world.accounts.map((account) => ({ ...account, allows: (...request) => mayUseOss(...request) })),
      buckets: { [BUCKET]: {} },
    });
    for (const domain of ['www.example.com', '.example.com']) world.cdn.set(domain);
  });
  afterAll(async () => {
    await oss.close();
    await world.close();
  });

  function mayUseOss(action: string, bucket: string, key: string): boolean {
    const resource = action === 'oss:ListObjects' ? bucket : `${bucket}/${key}`;
    // Where a listing begins is not in the sandbox's request; the store lists below its own folder alone.
    const allowed = allows(statementsOf(role, stack), action, `acs:oss:*:*:${resource}`, 'autocert/');
    if (!allowed) refused.push(`${action} ${resource}`);
    return allowed;
  }

  function configuration(): Record<string, unknown> {
    const config = world.config({
      certificates: [{ name: 'www', identifiers: ['www.example.com', '*.example.com'], keyType: 'ec256' }],
      store: String(stack.outputs['StoreUrl']),
      encryption: { kmsKeyId: KMS_KEY },
    });
    return { ...config, endpoints: { cdn: world.rpc.url, alidns: world.rpc.url, kms: world.rpc.url, oss: oss.url } };
  }

  /** Another function than renew, as FC invokes it. */
  function invokeFunction(name: string, event: unknown): Promise<InvocationResult> {
    return invoke({
      file: pathToFileURL(bundled(`${name}.mjs`)).href,
      event: JSON.stringify(event),
      environment: { AUTOCERT_CONFIG: JSON.stringify(configuration()) },
      credentials: CREDENTIALS,
    });
  }

  /** The calls since the first `seen`, as RAM names them, and those among them that the role does not allow. */
  function callsSince(seen: number): { names: string[]; forbidden: string[] } {
    const known = handlerNames().flatMap(actionsInCode);
    const calls = world.rpc.calls.slice(seen).map(({ action, parameters }) => {
      const name = known.find((candidate) => candidate.endsWith(`:${action}`)) ?? `unknown:${action}`;
      return { name, resource: resourceOf(name.split(':')[0] ?? '', parameters) };
    });
    const statements = statementsOf(role, stack);
    const forbidden = calls.filter(({ name, resource }) => !allows(statements, name, resource));
    return {
      names: [...new Set(calls.map(({ name }) => name))].sort(),
      forbidden: forbidden.map(({ name, resource }) => `${name} ${resource}`),
    };
  }

  function resourceOf(product: string, parameters: Readonly<Record<string, string>>): string {
    if (product === 'cdn') return `acs:cdn:*:1234567890123456:domain/${parameters['DomainName'] ?? '*'}`;
    // DeleteDomainRecord names no zone; the account of this world has one.
    if (product === 'alidns')
      return `acs:alidns:*:1234567890123456:domain/${parameters['DomainName'] ?? 'example.com'}`;
    return `acs:kms:cn-hangzhou:1234567890123456:key/${parameters['KeyId'] ?? KMS_KEY}`;
  }

  test('renew issues, deploys by either API and stores; watch and status see it; nothing is refused', async () => {
    expect(statusesOf(await world.renew(configuration()))).toEqual({ www: 'renewed' });
    world.rpc.removeAction('SetDomainServerCertificate');
    expect(statusesOf(await world.renew(configuration(), { payload: { force: true } }))).toEqual({ www: 'renewed' });
    // The reads are the flow's own affair; without these there would be nothing to allow.
    const needed = [
      ...['alidns:AddDomainRecord', 'alidns:DeleteDomainRecord', 'kms:Decrypt', 'kms:GenerateDataKey'],
      ...['cdn:SetCdnDomainSSLCertificate', 'cdn:SetDomainServerCertificate'],
    ];
    expect(callsSince(0)).toEqual({ names: expect.arrayContaining(needed), forbidden: [] });

    let seen = world.rpc.calls.length;
    const redeployed = await invokeFunction('redeploy', { names: ['www'], force: true });
    expect(redeployed.error).toBeUndefined();
    expect(callsSince(seen).forbidden).toEqual([]);

    role = 'WatchRole';
    seen = world.rpc.calls.length;
    const status = await invokeFunction('status', {});
    expect(status.result).toMatchObject({ statusCode: 200 });
    const watched = await invokeFunction('watch', {});
    expect(watched.result ?? watched.error).toMatchObject({ certificates: expect.any(Array) });
    const reads = ['cdn:DescribeDomainCertificateInfo', 'cdn:DescribeUserDomains', 'kms:Decrypt'];
    expect(callsSince(seen)).toEqual({ names: expect.arrayContaining(reads), forbidden: [] });
    expect(refused).toEqual([]);
  });

  test('watch may not push a certificate, and alert may not read one', () => {
    const set = ['cdn:SetDomainServerCertificate', 'acs:cdn:*:1234567890123456:domain/www.example.com'] as const;
    expect(allows(statementsOf('RenewRole', stack), ...set)).toBe(true);
    expect(allows(statementsOf('WatchRole', stack), ...set)).toBe(false);
    for (const role of ['RenewRole', 'WatchRole', 'AlertRole']) {
      const read = (key: string) => allows(statementsOf(role, stack), 'oss:GetObject', `acs:oss:*:*:${BUCKET}/${key}`);
      expect(read('config.yaml')).toBe(true);
      expect(read('autocert/index.json')).toBe(role !== 'AlertRole');
      expect(read('elsewhere.json')).toBe(false);
    }
  });
});
