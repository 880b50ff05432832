import { createServer } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { errorsOf, ordersAt, statusesOf } from '../sandbox/footprint.ts';
import { type Oss, type OssInterception, startOss } from '../sandbox/oss.ts';
import { OssError } from '../sandbox/oss-api.ts';
import { freePorts } from '../sandbox/ports.ts';
import { KMS_KEY, startWorld, type World } from '../sandbox/world.ts';

let world: World;
let oss: Oss;
let httpPort: number;
beforeAll(async () => {
  [httpPort = 0] = await freePorts(1);
  world = await startWorld({ zones: ['example.com'], pebble: { httpPort } });
  oss = await startOss({ accounts: world.accounts, buckets: { certificates: {}, origin: {} } });
});
afterAll(async () => {
  await oss.close();
  await world.close();
});

const KEY = Buffer.alloc(32, 7).toString('base64');

function certificateFor(domain: string, more: Record<string, unknown>) {
  world.cdn.set(domain);
  const config = world.config({ certificates: [{ name: domain, identifiers: [domain], keyType: 'ec256' }], ...more });
  return { ...config, endpoints: { ...(config['endpoints'] as object), oss: oss.url } };
}

/** Everything that the bucket holds, as text. */
function contents(): string {
  return oss
    .bucket('certificates')
    .keys()
    .map((key) => oss.read('certificates', key)?.toString('latin1'))
    .join('\n');
}

describe('an OSS bucket as the store', () => {
  test('keeps certificate, account and record: the second run has nothing to do', async () => {
    const config = certificateFor('plain.example.com', { store: 'oss://certificates/plain' });
    expect(statusesOf(await world.renew(config))).toEqual({ 'plain.example.com': 'renewed' });
    const orders = ordersAt(world);
    const requests = oss.requests.length;
    expect(statusesOf(await world.renew(config))).toEqual({ 'plain.example.com': 'kept' });
    expect(ordersAt(world)).toBe(orders);
    expect(
      oss.requests.slice(requests).map(({ method, key }) => `${method} ${key}`),
      'one read, one look into the inbox, no write',
    ).toEqual(['GET plain/index.json', 'GET ']);
  });

  test.each([
    ['a key of 32 bytes', { key: '${AUTOCERT_KEY}' }],
    ['a KMS key', { kmsKeyId: KMS_KEY }],
  ])('holds no key in clear when %s is configured', async (name, encryption) => {
    const domain = `${name.includes('KMS') ? 'kms' : 'local'}.example.com`;
    const config = certificateFor(domain, { store: `oss://certificates/${domain}`, encryption });
    const environment = { AUTOCERT_KEY: KEY };
    const before = contents().split('PRIVATE KEY').length;
    const first = await world.renew(config, { environment });
    expect(statusesOf(first)).toEqual({ [domain]: 'renewed' });
    expect(contents().split('PRIVATE KEY').length).toBe(before);
    expect(statusesOf(await world.renew(config, { environment }))).toEqual({ [domain]: 'kept' });
    expect(first.lines.join('\n')).not.toContain(KEY);
  });

  test('F46 a wrong key is said, and nothing is issued or overwritten', async () => {
    const domain = 'wrong-key.example.com';
    const config = certificateFor(domain, {
      store: `oss://certificates/${domain}`,
      encryption: { key: '${AUTOCERT_KEY}' },
    });
    const first = await world.renew(config, { environment: { AUTOCERT_KEY: KEY } });
    expect(statusesOf(first)).toEqual({ [domain]: 'renewed' });
    const before = contents();
    const orders = ordersAt(world);
    const environment = { AUTOCERT_KEY: Buffer.alloc(32, 8).toString('base64') };
    const { report } = await world.renew(config, { environment });
    expect(report.error).toMatchObject({ code: 'STORE_KEY_WRONG', step: 'record' });
    expect(contents()).toBe(before);
    expect(ordersAt(world)).toBe(orders);
  });

  test('F47 a bucket that refuses is named with the permission that is missing, and no order is made', async () => {
    const domain = 'refused.example.com';
    const config = certificateFor(domain, { store: 'oss://certificates/refused' });
    const stop = oss.intercept(({ method }) =>
      method === 'PUT'
        ? { status: 403, body: '<Error><Code>AccessDenied</Code><Message>no</Message></Error>' }
        : undefined,
    );
    const orders = ordersAt(world);
    const renewal = await world.renew(config);
    stop();
    expect(errorsOf(renewal)).toEqual({ [domain]: 'STORE_UNWRITABLE' });
    expect(renewal.report.outcomes[0]?.error?.remedy).toContain('oss:PutObject');
    expect(ordersAt(world)).toBe(orders);
  });

  test.each<[string, OssInterception, string]>([
    ['403', new OssError(403, 'AccessDenied', 'no'), 'oss:GetObject'],
    ['500', new OssError(500, 'InternalError', 'no'), ''],
    ['a page of HTML with status 502', { status: 502, body: '<html></html>' }, ''],
    ['nothing, the connection cut', 'reset', ''],
  ])(
    'F46 that answers %s to a read is not taken for an empty one: nothing is issued',
    async (_, answer, permission) => {
      const config = certificateFor('plain.example.com', { store: 'oss://certificates/plain' });
      const before = contents();
      const stop = oss.intercept(({ method }) => (method === 'GET' ? answer : undefined));
      const orders = ordersAt(world);
      const { report, error } = await world.renew(config, { timeout: 60 });
      stop();
      expect(report.error).toMatchObject({ code: 'STORE_UNREADABLE', step: 'record' });
      expect(report.error?.remedy).toContain(permission);
      expect(error?.errorType).toBe('RunFailed');
      expect(ordersAt(world)).toBe(orders);
      expect(contents()).toBe(before);
    },
  );

  test.each([
    ['the certificate', 403, 'AccessDenied', /\/[0-9a-f]{64}\.json$/],
    ['the record', 403, 'AccessDenied', /\/record\.json$/],
    ['the certificate', 409, 'FileImmutable', /\/[0-9a-f]{64}\.json$/],
  ])(
    'F47 that takes %s no more after the CA issued it (%i %s): nothing is deployed, and nothing issued again',
    async (_, status, code, key) => {
      const domain = `full-${status}-${key.source.includes('record') ? 'record' : 'bundle'}.example.com`;
      const config = certificateFor(domain, { store: `oss://certificates/${domain}` });
      const stop = oss.intercept((request) =>
        request.method === 'PUT' && key.test(request.key) ? new OssError(status, code, 'no') : undefined,
      );
      const orders = ordersAt(world);
      const renewal = await world.renew(config);
      stop();
      expect(errorsOf(renewal)).toEqual({ [domain]: 'STORE_UNWRITABLE' });
      expect(world.cdn.served(domain)).toBeUndefined();
      expect(ordersAt(world)).toBe(orders + 1);
      expect(statusesOf(await world.renew(config))).toEqual({ [domain]: 'renewed' });
      expect(ordersAt(world), 'the order that is there gives its certificate again').toBe(orders + 1);
    },
  );
});

test('http-01 is answered by the bucket that is the origin of the domain', async () => {
  const domain = 'http.example.com';
  world.dns.addRecord('example.com', { name: domain, type: 'A', value: '127.0.0.1' });
  const asked: string[] = [];
  const origin = createServer((request, response) => {
    asked.push(request.url ?? '');
    const body = oss.read('origin', (request.url ?? '').slice(1));
    response.writeHead(body ? 200 : 404).end(body);
  });
  await new Promise<void>((resolve) => origin.listen(httpPort, '127.0.0.1', resolve));
  try {
    const challenge = { type: 'http-01', solver: 'oss', bucket: 'origin' };
    const renewal = await world.renew(certificateFor(domain, { challenge }));
    expect(statusesOf(renewal)).toEqual({ [domain]: 'renewed' });
    expect(asked[0]).toMatch(/^\/\.well-known\/acme-challenge\/[\w-]+$/);
    expect(oss.bucket('origin').keys(), 'cleaned up').toEqual([]);
  } finally {
    await new Promise((resolve) => origin.close(resolve));
  }
});
