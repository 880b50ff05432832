import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import type { HttpAnswer } from '../../src/http.ts';
import { ordersAt, treeOf } from '../sandbox/footprint.ts';
import { startWorld, type World } from '../sandbox/world.ts';

const DOMAIN = 'www.example.com';

let world: World;
let config: Record<string, unknown>;
beforeAll(async () => {
  world = await startWorld({ zones: ['example.com'] });
  world.cdn.set(DOMAIN);
  config = world.config({ certificates: [{ name: 'www', identifiers: [DOMAIN], keyType: 'ec256' }] });
  await world.renew(config);
});
afterAll(() => world.close());

function request(method: string, body = '', path = '/') {
  return {
    version: 'v1',
    rawPath: path,
    headers: { 'Content-Type': 'application/json' },
    queryParameters: {},
    body: Buffer.from(body).toString('base64'),
    isBase64Encoded: true,
    requestContext: { accountId: '1234567890123456', http: { method, path, protocol: 'HTTP/1.1' }, requestId: '1' },
  };
}

async function answered(name: string, event: unknown): Promise<HttpAnswer> {
  const { result, error } = await world.invoke(name, event, config);
  expect(error).toBeUndefined();
  return result as HttpAnswer;
}

/** All that a request could have set going. */
const footprint = async () => ({
  calls: world.rpc.calls.length,
  ca: world.pebble.log.length,
  store: await treeOf(world.storePath),
});

interface Resource {
  readonly Type: string;
  readonly Properties: { readonly TriggerType?: string; readonly TriggerConfig?: { readonly authType?: string } };
}

describe('F71 a request by HTTP', () => {
  // FC's gateway looks at the signature before it invokes the function:
  // https://help.aliyun.com/en/functioncompute/fc/user-guide/configure-signature-authentication-for-http-triggers
  test('is signed by somebody who may invoke the function, or FC does not let it through to us', () => {
    const template: { readonly Resources: Readonly<Record<string, Resource>> } = parse(
      readFileSync(new URL('../../template.yml', import.meta.url), 'utf8'),
    );
    const triggers = Object.values(template.Resources).filter(
      ({ Type, Properties }) => Type === 'ALIYUN::FC3::Trigger' && Properties.TriggerType === 'http',
    );
    expect(triggers.length).toBeGreaterThan(0);
    expect(triggers.map(({ Properties }) => Properties.TriggerConfig?.authType)).toEqual(
      triggers.map(() => 'function'),
    );
  });

  test.each([
    ['status', 'POST', ''],
    ['status', 'DELETE', ''],
    ['status', 'POST', 'x'.repeat(1 << 20)],
    ['redeploy', 'GET', ''],
    ['redeploy', 'PUT', '{"force":true}'],
    ['redeploy', 'TRACE', 'x'.repeat(1 << 20)],
  ])('to %s by %s is refused, and nothing is read, asked or written', async (name, method, body) => {
    const before = await footprint();
    expect((await answered(name, request(method, body))).statusCode).toBe(405);
    expect(await footprint()).toEqual(before);
  });

  test.each<[string, string]>([
    ['a megabyte of anything', 'x'.repeat(1 << 20)],
    ['a megabyte of JSON', JSON.stringify({ domains: Array.from({ length: 60_000 }, () => DOMAIN) })],
    ['a megabyte of brackets', '['.repeat(1 << 20)],
    ['a polluting key', '{"__proto__":{"force":true}}'],
    [
      'an event of another account',
      JSON.stringify({
        specversion: '1.0',
        id: '1',
        source: 'acs.cdn',
        type: 'cdn:ActionTrail:ApiCall',
        aliyunaccountid: '999',
        data: {},
      }),
    ],
  ])('to redeploy with %s is refused, and nothing is asked or written', async (_, body) => {
    const before = await footprint();
    const { statusCode, body: told } = await answered('redeploy', request('POST', body));
    expect(statusCode).toBe(400);
    expect(JSON.parse(told)).toMatchObject({ error: { code: 'EVENT_INVALID', step: 'event' } });
    expect(told.length, 'what was sent is not sent back').toBeLessThan(10_000);
    expect(await footprint()).toEqual(before);
  });

  test('that is sent a second time sets nothing going: no order in any case, and no push but the one that it asks for', async () => {
    const pushes = () => world.rpc.callsOf('SetDomainServerCertificate').length;
    const before = { orders: ordersAt(world), pushes: pushes(), served: world.cdn.served(DOMAIN)?.fingerprint };
    for (const body of ['{}', JSON.stringify({ domains: [DOMAIN] })]) {
      for (const _ of ['sent', 'sent again']) {
        expect((await answered('redeploy', request('POST', body))).statusCode).toBe(200);
      }
    }
    expect(pushes()).toBe(before.pushes);
    const forced = request('POST', JSON.stringify({ domains: [DOMAIN], force: true }));
    for (const _ of ['sent', 'sent again']) expect((await answered('redeploy', forced)).statusCode).toBe(200);
    expect({ orders: ordersAt(world), pushes: pushes(), served: world.cdn.served(DOMAIN)?.fingerprint }).toEqual({
      ...before,
      pushes: before.pushes + 2,
    });
  });
});
