import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { KMS_KEY } from '../sandbox/world.ts';
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

  test('are assumed by Function Compute alone, that of the inbox by OSS, and every function has the one of its kind', () => {
    for (const { RoleName, AssumeRolePolicyDocument } of resourcesOf('ALIYUN::RAM::Role', all)) {
      const service = RoleName === 'autocert-inbox' ? 'oss.aliyuncs.com' : 'fc.aliyuncs.com';
      expect(AssumeRolePolicyDocument).toEqual({
        Version: '1',
        Statement: [{ Effect: 'Allow', Action: 'sts:AssumeRole', Principal: { Service: [service] } }],
      });
    }
    const used = resourcesOf('ALIYUN::FC3::Function', all).map(({ Handler, Role }) => [
      Handler,
      String(Role).split('/')[1],
    ]);
    expect(Object.fromEntries(used)).toEqual({
      'renew.handler': 'autocert-renew',
      'redeploy.handler': 'autocert-renew',
      'work.handler': 'autocert-renew',
      'watch.handler': 'autocert-watch',
      'status.handler': 'autocert-watch',
      'alert.handler': 'autocert-alert',
    });
  });

  test('allow what the code can call and nothing else', () => {
    const code = [...new Set(handlerNames().flatMap(actionsInCode))].sort();
    const allowed = ['RenewRole', 'WatchRole', 'AlertRole'].flatMap((role) => actionsOf(statementsOf(role, all)));
    expect([...new Set(allowed)].sort()).toEqual([...new Set([...code, ...OF_FC])].sort());
    const renew = new Set([...actionsInCode('renew'), ...OF_FC]);
    expect(actionsOf(statementsOf('RenewRole', all))).toEqual([...renew].sort());
    expect(actionsOf(statementsOf('AlertRole', all))).toEqual(
      ['log:PostLogStoreLogs', 'oss:GetObject', ...TELLS].sort(),
    );
  });

  test('let watch and status read what they show, and change nothing', () => {
    const reads = ['cdn:DescribeCdnHttpsDomainList', 'cdn:DescribeDomainCertificateInfo', 'cdn:DescribeUserDomains'];
    const store = ['kms:Decrypt', 'oss:GetObject', 'oss:ListObjects'];
    expect(actionsOf(statementsOf('WatchRole', all))).toEqual([...reads, ...store, ...OF_FC].sort());
  });

  test('are what README says of them', () => {
    const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
    const rows = (readme.split('### Roles\n')[1]?.split('\n#')[0] ?? '')
      .split('\n')
      .filter((line) => /^\| `/.test(line));
    const told = (role: string) => {
      const own = rows.filter((row) =>
        row
          .split('|')[4]
          ?.split(',')
          .some((name) => name.trim() === role),
      );
      return [...new Set(own.flatMap((row) => row.split('|')[1]?.match(/[a-z]+:\w+/g) ?? []))].sort();
    };
    for (const role of ['Renew', 'Watch', 'Alert', 'Inbox'])
      expect(told(role.toLowerCase()), role).toEqual(actionsOf(statementsOf(`${role}Role`, all)));
  });

  test('let renew start its workers, and everybody pass a failure on to alert', () => {
    const invoked = (role: string) =>
      statementsOf(role, all).flatMap(({ actions, resources }) =>
        actions.includes('fc:InvokeFunction') ? resources.map((name) => name.split('/')[1]) : [],
      );
    expect(invoked('RenewRole')).toEqual(['autocert-alert', 'autocert-work']);
    expect(invoked('WatchRole')).toEqual(['autocert-alert']);
    expect(invoked('AlertRole')).toEqual([]);
  });

  test('let the inbox start redeploy and nothing else', () => {
    const resources = ['acs:fc:cn-hangzhou:1234567890123456:functions/autocert-redeploy'];
    expect(statementsOf('InboxRole', all)).toEqual([
      { actions: ['fc:InvokeFunction'], resources, prefixes: undefined },
    ]);
  });

  test('let redeploy list, take, delete and answer what is in the inbox, and nobody else see it', () => {
    const may = (role: string, action: string, key: string, prefix = '') =>
      allows(statementsOf(role, all), action, `acs:oss:*:*:${BUCKET}${key}`, prefix);
    for (const action of ['oss:GetObject', 'oss:PutObject', 'oss:DeleteObject']) {
      expect(may('RenewRole', action, '/autocert/inbox/shop.pfx'), action).toBe(true);
      expect(may('WatchRole', action, '/autocert/inbox/shop.pfx'), action).toBe(false);
      expect(may('AlertRole', action, '/autocert/inbox/shop.pfx'), action).toBe(false);
    }
    expect(may('RenewRole', 'oss:ListObjects', '', 'autocert/inbox/')).toBe(true);
    expect(may('WatchRole', 'oss:ListObjects', '', 'autocert/inbox/')).toBe(false);
  });

  test('let nobody but renew and redeploy read a key', () => {
    const name = 'autocert/certificates/www/';
    const holds = [`${name}${'0a'.repeat(32)}.json`, `${name}order-0f3c.json`, 'autocert/accounts/0f3c.json'];
    for (const role of ['RenewRole', 'WatchRole', 'AlertRole']) {
      const read = (key: string) => allows(statementsOf(role, all), 'oss:GetObject', `acs:oss:*:*:${BUCKET}/${key}`);
      expect(holds.map(read), role).toEqual(holds.map(() => role === 'RenewRole'));
      expect(['autocert/index.json', `${name}record.json`].map(read), role).toEqual(
        Array(2).fill(role !== 'AlertRole'),
      );
      expect(read('config.yaml'), role).toBe(true);
      expect(read('elsewhere.json'), role).toBe(false);
    }
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
        `^acs:oss:\\*:\\*:(${BUCKET}(/config\\.yaml|/autocert/(index\\.json|certificates/\\*/record\\.json|\\*))?|origin/\\*\\.well-known/acme-challenge/\\*)$`,
      ),
      kms: new RegExp(`^acs:kms:cn-hangzhou:1234567890123456:key/${KMS_KEY}$`),
      fc: /^acs:fc:cn-hangzhou:1234567890123456:functions\/autocert-(alert|work)$/,
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
