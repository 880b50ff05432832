import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bundled } from '../bundle.ts';
import { makeCertificate } from '../sandbox/certificates.ts';
import { createCloudmonitor } from '../sandbox/cloudmonitor.ts';
import { createDirectmail } from '../sandbox/directmail.ts';
import { type InvocationResult, invoke } from '../sandbox/fc.ts';
import { errorsOf, statusesOf } from '../sandbox/footprint.ts';
import { type Oss, startOss } from '../sandbox/oss.ts';
import { freePorts } from '../sandbox/ports.ts';
import { type RpcServer, startRpcServer } from '../sandbox/rpc-server.ts';
import { CREDENTIALS, KMS_KEY, startWorld, type World } from '../sandbox/world.ts';
import type { Evaluated } from './evaluate.ts';
import { actionsOf, allows, statementsOf } from './policy.ts';
import { actionsInCode, handlerNames } from './sources.ts';
import { BUCKET, evaluated } from './stack.ts';

const ACCOUNT = '1234567890123456';
/** What Function Compute itself does in the name of a function. */
const OF_FC = ['fc:InvokeFunction', 'log:PostLogStoreLogs'];
const ROLES = ['RenewRole', 'WatchRole', 'AlertRole'];

/** Every function runs against the sandbox; what it calls is held against its role. OSS refuses what the role does not allow. */
describe('the functions in the sandbox', () => {
  let world: World;
  let messages: RpcServer;
  let oss: Oss;
  let stack: Evaluated;
  let role = 'RenewRole';
  const used = new Map<string, Set<string>>(ROLES.map((name) => [name, new Set()]));
  const refused: string[] = [];

  beforeAll(async () => {
    const [httpPort = 0] = await freePorts(1);
    stack = await evaluated({
      CdnDomains: 'www.example.com,*.example.com,web.example.com',
      ...{ ChallengeBucket: 'origin', KmsKeyId: KMS_KEY, CloudMonitor: 'true', DirectMail: 'true' },
    });
    world = await startWorld({ zones: ['example.com'], pebble: { httpPort } });
    messages = await startRpcServer({
      products: [createCloudmonitor(), createDirectmail(['ops@example.com'])],
      accounts: world.accounts,
    });
    oss = await startOss({
      accounts: world.accounts.map((account) => ({ ...account, allows: (...request) => mayUseOss(...request) })),
      buckets: { [BUCKET]: {}, origin: {} },
    });
    for (const domain of ['www.example.com', '.example.com', 'web.example.com']) world.cdn.set(domain);
  });
  afterAll(async () => {
    await Promise.all([oss.close(), messages.close()]);
    await world.close();
  });

  function mayUseOss(action: string, bucket: string, key: string): boolean {
    const resource = action === 'oss:ListObjects' ? bucket : `${bucket}/${key}`;
    // Where a listing begins is not in the sandbox's request; the store lists certificates alone.
    return judge(action, `acs:oss:*:*:${resource}`, 'autocert/certificates/');
  }

  function judge(action: string, resource: string, prefix?: string): boolean {
    used.get(role)?.add(action);
    const allowed = allows(statementsOf(role, stack), action, resource, prefix);
    if (!allowed) refused.push(`${role}: ${action} ${resource}`);
    return allowed;
  }

  function configuration(more: Record<string, unknown> = {}): Record<string, unknown> {
    const config = world.config({
      certificates: [{ name: 'www', identifiers: ['www.example.com', '*.example.com'], keyType: 'ec256' }],
      store: String(stack.outputs['StoreUrl']),
      encryption: { kmsKeyId: KMS_KEY },
      notify: [
        { channel: 'cloudmonitor', url: messages.url },
        { channel: 'directmail', url: messages.url, from: 'ops@example.com', to: ['oncall@example.com'] },
      ],
      ...more,
    });
    const endpoints = { cdn: world.rpc.url, alidns: world.rpc.url, kms: world.rpc.url, oss: oss.url };
    return { ...config, region: 'cn-hangzhou', endpoints };
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

  /** Holds against `name` what is called meanwhile. */
  async function inRole<T>(name: string, work: () => Promise<T>): Promise<T> {
    role = name;
    const servers = [world.rpc, messages].map(({ calls }) => ({ calls, seen: calls.length }));
    const result = await work();
    const known = handlerNames().flatMap(actionsInCode);
    for (const { action, parameters } of servers.flatMap(({ calls, seen }) => calls.slice(seen))) {
      const ramAction = known.find((candidate) => candidate.endsWith(`:${action}`)) ?? `unknown:${action}`;
      judge(ramAction, resourceOf(ramAction.split(':')[0] ?? '', parameters));
    }
    return result;
  }

  function resourceOf(product: string, parameters: Readonly<Record<string, string>>): string {
    if (product === 'cdn') return `acs:cdn:*:${ACCOUNT}:domain/${parameters['DomainName'] ?? '*'}`;
    // DeleteDomainRecord names no zone; the account of this world has one.
    if (product === 'alidns') return `acs:alidns:*:${ACCOUNT}:domain/${parameters['DomainName'] ?? 'example.com'}`;
    if (product === 'kms') return `acs:kms:cn-hangzhou:${ACCOUNT}:key/${parameters['KeyId'] ?? KMS_KEY}`;
    return `acs:${product}:cn-hangzhou:${ACCOUNT}:*`;
  }

  test('call what their roles allow, all of it, and nothing else', async () => {
    await inRole('RenewRole', async () => {
      expect(statusesOf(await world.renew(configuration()))).toEqual({ www: 'renewed' });
      world.rpc.removeAction('SetDomainServerCertificate');
      expect(statusesOf(await world.renew(configuration(), { payload: { force: true } }))).toEqual({ www: 'renewed' });

      // Overwritten by hand. The uploaded certificate is still there, and is bound again by its id.
      const other = makeCertificate({ names: ['www.example.com'] });
      world.cdn.purchase('www.example.com', { ...other, certType: 'upload', certName: 'by-hand' });
      const stale = makeCertificate({ names: ['www.example.com'], notAfter: new Date('2031-01-02T03:04:05Z') });
      // One edge is behind: what the edges serve does not tell what the CDN has.
      world.edges[1].override('www.example.com', stale);
      const stop = world.cdn.onChange(() => {
        world.edges[1].override('www.example.com', undefined);
        stop();
      });
      const event = {
        specversion: '1.0',
        id: '5e1f9b0c-3b51-4f0e-9a55-0d3c2b1a4f6e',
        source: 'acs.cdn',
        type: 'cdn:ActionTrail:ConsoleOperation',
        aliyunaccountid: ACCOUNT,
        data: { eventName: 'SetCdnDomainSSLCertificate', requestParameters: { DomainName: 'www.example.com' } },
      };
      expect((await invokeFunction('redeploy', event)).result).toMatchObject({ outcomes: [{ status: 'redeployed' }] });

      // By http-01, and with nothing at the origin: a person has to be told.
      world.dns.addRecord('example.com', { name: 'web.example.com', type: 'A', value: '127.0.0.1' });
      const failed = await world.renew(
        configuration({
          challenge: { type: 'http-01', solver: 'oss', bucket: 'origin' },
          certificates: [{ name: 'web', identifiers: ['web.example.com'], keyType: 'ec256' }],
        }),
      );
      expect(errorsOf(failed)).toEqual({ web: 'ACME_CONNECTION' });
    });

    await inRole('WatchRole', async () => {
      expect((await invokeFunction('status', {})).result).toMatchObject({ statusCode: 200 });
      const watched = await invokeFunction('watch', {});
      expect(watched.result ?? watched.error).toMatchObject({ certificates: expect.any(Array) });
      // Without the index, the records are found by listing them.
      oss.bucket(BUCKET).delete('autocert/index.json');
      expect((await invokeFunction('status', {})).result).toMatchObject({ statusCode: 200 });
    });

    await inRole('AlertRole', async () => {
      const alerted = await invokeFunction('alert', {
        timestamp: 1_767_323_045_000,
        requestContext: {
          requestId: '5e1f9b0c-3b51-4f0e-9a55-0d3c2b1a4f6e',
          functionArn: `acs:fc:cn-hangzhou:${ACCOUNT}:functions/autocert-renew`,
          condition: 'FunctionTimeout',
          approximateInvokeCount: 1,
        },
        responseContext: { statusCode: 200, functionError: 'UnhandledInvocationError' },
      });
      expect(alerted.result).toEqual({ sent: ['cloudmonitor', 'directmail'], failed: [] });
    });

    expect(refused).toEqual([]);
    // The configuration is given to the functions here, and is an object of the bucket there.
    used.get('AlertRole')?.add('oss:GetObject');
    for (const [name, actions] of used) {
      expect([...actions, ...OF_FC].sort(), name).toEqual(
        [...new Set([...actionsOf(statementsOf(name, stack)), ...OF_FC])].sort(),
      );
    }
  }, 120_000);

  test('could not: watch push a certificate, alert read one', () => {
    const set = ['cdn:SetDomainServerCertificate', `acs:cdn:*:${ACCOUNT}:domain/www.example.com`] as const;
    expect(ROLES.map((name) => allows(statementsOf(name, stack), ...set))).toEqual([true, false, false]);
  });
});
