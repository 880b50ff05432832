import { X509Certificate } from 'node:crypto';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type CdnOptions, createCdn } from '../../src/aliyun/cdn.ts';
import { certName } from '../../src/aliyun/certname.ts';
import { createRpc } from '../../src/aliyun/rpc.ts';
import type { Deps } from '../../src/deps.ts';
import { Secret } from '../../src/secret.ts';
import { createCdn as createCdnSandbox, type CdnOptions as SandboxOptions } from '../sandbox/cdn.ts';
import { makeCertificate } from '../sandbox/certificates.ts';
import { ApiError } from '../sandbox/product.ts';
import { startRpcServer } from '../sandbox/rpc-server.ts';
import { ACCOUNT, credentials } from './account.ts';
import { json, listen, realDeps, steppedDeps } from './loopback.ts';

interface SituationOptions {
  readonly sandbox?: SandboxOptions;
  readonly api?: CdnOptions['api'];
  readonly deps?: Deps;
  readonly denied?: readonly string[];
  readonly timeout?: number;
  /** Default: so many that the pace plays no part. */
  readonly callsPerSecond?: number;
}

const NOW = new Date('2026-01-20T00:00:00Z');

async function situation({
  sandbox,
  api = 'auto',
  deps = steppedDeps(),
  denied,
  timeout,
  callsPerSecond = 1_000,
}: SituationOptions = {}) {
  const product = createCdnSandbox({ domains: ['www.example.com'], now: () => NOW, ...sandbox });
  const accounts = [denied ? { ...ACCOUNT, denied } : ACCOUNT];
  const server = await startRpcServer({ products: [product], accounts });
  const rpc = createRpc({ credentials, deps, ...(timeout !== undefined && { timeout }) });
  onTestFinished(async () => {
    rpc.close();
    await server.close();
  });
  const cdn = createCdn({ rpc, endpoint: server.url, api, callsPerSecond, deps });
  return { product, server, cdn, deps };
}

function certificateFor(domainName: string) {
  const { chain, privateKey, fingerprint } = makeCertificate({ names: [domainName.replace(/^\./, '*.')] });
  return { domainName, certName: certName(domainName), chain, privateKey: new Secret(privateKey), fingerprint };
}

function servedBy(product: ReturnType<typeof createCdnSandbox>, domainName: string): string | undefined {
  return product.served(domainName)?.fingerprint;
}

describe('the stable name of a certificate', () => {
  test.each([
    ['www.example.com', undefined, 'autocert-cdn-www_example_com'],
    ['.example.com', undefined, 'autocert-cdn-_example_com'],
    ['*.example.com', undefined, 'autocert-cdn-_example_com'],
    ['a.io', '0123456789ab', 'autocert-cdn-a_io-0123456789ab'],
  ])('of %s with suffix %s is %s', (domain, suffix, expected) => {
    expect(certName(domain, suffix)).toBe(expected);
  });

  test('has at most 64 characters and differs for long domains that begin alike', () => {
    const long = `${'a'.repeat(60)}.example`;
    const names = [`${long}.com`, `${long}.net`].flatMap((domain) => [
      certName(domain),
      certName(domain, '0123456789ab'),
    ]);
    expect(new Set(names).size).toBe(4);
    for (const name of names) expect(name).toMatch(/^autocert-cdn-[a-z0-9_-]{1,51}$/);
  });
});

describe('setting a certificate', () => {
  test('uses SetDomainServerCertificate with ForceSet, and the domain serves the certificate', async () => {
    const { product, server, cdn } = await situation();
    const certificate = certificateFor('www.example.com');
    const result = await cdn.setCertificate(certificate);
    expect(result).toMatchObject({ api: 'SetDomainServerCertificate', certName: 'autocert-cdn-www_example_com' });
    expect(result.requestId).not.toBe('');
    expect(servedBy(product, 'www.example.com')).toBe(certificate.fingerprint);
    const [call] = server.callsOf('SetDomainServerCertificate');
    expect(call?.parameters).toMatchObject({ ForceSet: '1', CertType: 'upload', ServerCertificateStatus: 'on' });
    expect(server.violations).toEqual([]);
  });

  test('a renewal keeps the name and adds no certificate to the account', async () => {
    const { product, cdn } = await situation();
    await cdn.setCertificate(certificateFor('www.example.com'));
    const renewed = certificateFor('www.example.com');
    await cdn.setCertificate(renewed);
    expect(servedBy(product, 'www.example.com')).toBe(renewed.fingerprint);
    expect([...product.state.certificates.keys()]).toEqual(['autocert-cdn-www_example_com']);
  });

  test.each(['InvalidApi.NotFound', 'InvalidAction.NotFound'])(
    'auto goes over to the other action after %s, once for the whole run',
    async (code) => {
      const { product, server, cdn } = await situation({
        sandbox: { domains: ['www.example.com', 'two.example.com'] },
      });
      server.intercept(({ action }) =>
        action === 'SetDomainServerCertificate' ? new ApiError(404, code, 'gone') : undefined,
      );
      const certificate = certificateFor('www.example.com');
      const result = await cdn.setCertificate(certificate);
      expect(result).toMatchObject({
        api: 'SetCdnDomainSSLCertificate',
        certName: `autocert-cdn-www_example_com-${certificate.fingerprint.slice(0, 12)}`,
      });
      expect(servedBy(product, 'www.example.com')).toBe(certificate.fingerprint);
      await cdn.setCertificate(certificateFor('two.example.com'));
      expect(server.callsOf('SetDomainServerCertificate')).toHaveLength(1);
      expect(server.callsOf('SetCdnDomainSSLCertificate')).toHaveLength(2);
      const [call] = server.callsOf('SetCdnDomainSSLCertificate');
      expect(call?.parameters).not.toHaveProperty('ForceSet');
    },
  );

  test('an action that is configured by name is not given up for another one', async () => {
    const { server, cdn } = await situation({ api: 'SetDomainServerCertificate' });
    server.removeAction('SetDomainServerCertificate');
    await expect(cdn.setCertificate(certificateFor('www.example.com'))).rejects.toMatchObject({ code: 'API_GONE' });
    expect(server.callsOf('SetCdnDomainSSLCertificate')).toHaveLength(0);
  });

  test('a certificate that was uploaded under its own name before is bound by its CertId', async () => {
    const { product, server, cdn } = await situation({ api: 'SetCdnDomainSSLCertificate' });
    const certificate = certificateFor('www.example.com');
    await cdn.setCertificate(certificate);
    await cdn.setCertificate(certificateFor('www.example.com'));
    const result = await cdn.setCertificate(certificate);
    expect(servedBy(product, 'www.example.com')).toBe(certificate.fingerprint);
    expect(result.certName).toBe(certName('www.example.com', certificate.fingerprint.slice(0, 12)));
    const last = server.callsOf('SetCdnDomainSSLCertificate').at(-1);
    expect(last?.parameters).toMatchObject({ CertType: 'cas', CertRegion: 'cn-hangzhou' });
    expect(last?.parameters).not.toHaveProperty('SSLPri');
  });

  test('content that is there under another name is found by its fingerprint and bound', async () => {
    const { product, cdn } = await situation({
      api: 'SetCdnDomainSSLCertificate',
      sandbox: { domains: ['www.example.com', 'two.example.com'], refuseDuplicateContent: true },
    });
    const { chain, privateKey, fingerprint } = makeCertificate({ names: ['www.example.com', 'two.example.com'] });
    const shared = { chain, privateKey: new Secret(privateKey), fingerprint };
    const first = await cdn.setCertificate({ ...shared, domainName: 'www.example.com', certName: 'n' });
    const second = await cdn.setCertificate({ ...shared, domainName: 'two.example.com', certName: 'm' });
    expect(second.certName).toBe(first.certName);
    expect(servedBy(product, 'two.example.com')).toBe(fingerprint);
    expect(product.state.certificates.size).toBe(1);
  });

  test.each(['SetDomainServerCertificate', 'SetCdnDomainSSLCertificate'] as const)(
    '37 P3 %s that was carried out and not answered is read back and not sent twice',
    async (api) => {
      const { product, server, cdn } = await situation({ api });
      server.intercept(({ action, nth }) => (action === api && nth === 1 ? 'reset-after' : undefined));
      const certificate = certificateFor('www.example.com');
      await cdn.setCertificate(certificate);
      expect(servedBy(product, 'www.example.com')).toBe(certificate.fingerprint);
      expect(server.callsOf(api)).toHaveLength(1);
      expect(server.callsOf('DescribeDomainCertificateInfo').length).toBeGreaterThan(0);
    },
  );

  test('F37 P3 a push that timed out before it had an effect is sent again', async () => {
    const { product, server, cdn } = await situation({ timeout: 300 });
    server.intercept(({ action, nth }) => (action === 'SetDomainServerCertificate' && nth === 1 ? 'hang' : undefined));
    const certificate = certificateFor('www.example.com');
    await cdn.setCertificate(certificate);
    expect(servedBy(product, 'www.example.com')).toBe(certificate.fingerprint);
    expect(server.callsOf('SetDomainServerCertificate')).toHaveLength(2);
  });

  test('F37 the certificate of before is not taken for the new one when a push breaks off', async () => {
    const { product, server, cdn } = await situation();
    await cdn.setCertificate(certificateFor('www.example.com'));
    server.intercept(({ action, nth }) => (action === 'SetDomainServerCertificate' && nth === 2 ? 'reset' : undefined));
    const renewed = certificateFor('www.example.com');
    await cdn.setCertificate(renewed);
    expect(servedBy(product, 'www.example.com')).toBe(renewed.fingerprint);
    expect(server.callsOf('SetDomainServerCertificate')).toHaveLength(3);
  });

  test('F36 a gateway that answers every push with a page is a failure, never a success', async () => {
    const { product, server, cdn } = await situation();
    server.intercept(({ action }) =>
      action === 'SetDomainServerCertificate' ? { status: 502, body: '<html>' } : undefined,
    );
    await expect(cdn.setCertificate(certificateFor('www.example.com'))).rejects.toMatchObject({
      code: 'RESPONSE_INVALID',
    });
    expect(servedBy(product, 'www.example.com')).toBeUndefined();
  });

  test('F35 with every third push throttled all get through, by no more than 1.5 times the calls', async () => {
    const domains = Array.from({ length: 6 }, (_, nth) => `d${nth}.example.com`);
    const { product, server, cdn } = await situation({ sandbox: { domains } });
    server.intercept(({ action, nth }) =>
      action === 'SetDomainServerCertificate' && nth % 3 === 0
        ? new ApiError(400, 'Throttling.User', 'Request was denied due to user flow control.')
        : undefined,
    );
    const certificates = domains.map(certificateFor);
    await Promise.all(certificates.map((certificate) => cdn.setCertificate(certificate)));
    expect(domains.map((domain) => servedBy(product, domain))).toEqual(
      certificates.map(({ fingerprint }) => fingerprint),
    );
    expect(server.callsOf('SetDomainServerCertificate').length).toBeLessThanOrEqual(6 * 1.5);
  });

  test('F35 pushes at once keep the documented 10 calls a second, and none is refused', async () => {
    const domains = Array.from({ length: 25 }, (_, nth) => `d${nth}.example.com`);
    const { server, cdn } = await situation({ sandbox: { domains }, deps: realDeps(), callsPerSecond: 10 });
    await Promise.all(domains.map((domain) => cdn.setCertificate(certificateFor(domain))));
    expect(server.callsOf('SetDomainServerCertificate')).toHaveLength(25);
    expect(server.maxCallsInAnySecond('SetDomainServerCertificate')).toBeLessThanOrEqual(10);
  });

  test('F39 a domain that is being configured is asked again slowly until it is done', async () => {
    const { product, server, cdn, deps } = await situation();
    server.intercept(({ action, nth }) =>
      action === 'SetDomainServerCertificate' && nth <= 3
        ? new ApiError(403, 'ServiceBusy', 'The specified Domain is configuring, please retry later.')
        : undefined,
    );
    const began = deps.now().getTime();
    const certificate = certificateFor('www.example.com');
    await cdn.setCertificate(certificate);
    expect(servedBy(product, 'www.example.com')).toBe(certificate.fingerprint);
    expect(deps.now().getTime() - began).toBeGreaterThan(30_000);
  });

  test.each([
    ['unknown', 'absent.example.com', 'DOMAIN_NOT_FOUND'],
    ['stopped', 'offline.example.com', 'DOMAIN_OFFLINE'],
  ])('F39 a domain that is %s is refused at once and says why', async (_, domainName, code) => {
    const { server, cdn } = await situation({
      sandbox: { domains: [{ domainName: 'offline.example.com', status: 'offline' }] },
    });
    await expect(cdn.setCertificate(certificateFor(domainName))).rejects.toMatchObject({ code, retryable: false });
    expect(server.callsOf('SetDomainServerCertificate')).toHaveLength(1);
  });

  test('F42 without permission for the push the error names the action', async () => {
    const { cdn } = await situation({ denied: ['SetDomainServerCertificate'] });
    await expect(cdn.setCertificate(certificateFor('www.example.com'))).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
      action: 'SetDomainServerCertificate',
    });
  });

  test('a key that is not the certificate’s is refused as such', async () => {
    const { cdn } = await situation();
    const { privateKey } = certificateFor('www.example.com');
    const mixed = { ...certificateFor('www.example.com'), privateKey };
    await expect(cdn.setCertificate(mixed)).rejects.toMatchObject({ code: 'PRIVATE_KEY_REFUSED' });
  });
});

describe('reading', () => {
  test('the certificate of a domain comes as PEM that is the one bound', async () => {
    const { cdn } = await situation();
    const certificate = certificateFor('www.example.com');
    await cdn.setCertificate(certificate);
    const info = await cdn.describeDomainCertificateInfo('www.example.com');
    expect(info).toMatchObject({ CertName: certificate.certName, CertType: 'upload', ServerCertificateStatus: 'on' });
    expect(new X509Certificate(info?.ServerCertificate ?? '').fingerprint256.replaceAll(':', '').toLowerCase()).toBe(
      certificate.fingerprint,
    );
  });

  test('1203 domains come in three pages, each once', async () => {
    const domains = Array.from({ length: 1_203 }, (_, nth) => `d${nth}.example.com`);
    const { server, cdn } = await situation({ sandbox: { domains } });
    const names = (await cdn.describeUserDomains()).map(({ DomainName }) => DomainName);
    expect(names.sort()).toEqual(domains.sort());
    expect(server.callsOf('DescribeUserDomains')).toHaveLength(3);
  });

  test('an account without domains has an empty list', async () => {
    const { cdn } = await situation({ sandbox: { domains: [] } });
    expect(await cdn.describeUserDomains()).toEqual([]);
    expect(await cdn.describeCdnHttpsDomainList()).toEqual([]);
  });

  test.each([
    ['three pages of 500', undefined, 3],
    ['pages of 100, where the API takes no larger ones', 'InvalidParameter', 14],
    ['pages of 100, where it names the page size', 'InvalidPageSize.ValueNotSupported', 14],
  ])('1203 domains with HTTPS come in %s', async (_, refusal, calls) => {
    const { product, server, cdn } = await situation({ sandbox: { domains: [] } });
    const { chain, privateKey } = makeCertificate({ names: ['*.example.com'] });
    product.purchase('d0.example.com', { chain, privateKey, certName: 'one' });
    for (let nth = 1; nth < 1_203; nth += 1) product.set(`d${nth}.example.com`, { certName: 'one', sslProtocol: 'on' });
    server.intercept(({ action, parameters }) =>
      refusal !== undefined && action === 'DescribeCdnHttpsDomainList' && Number(parameters['PageSize']) > 100
        ? new ApiError(400, refusal, 'The specified parameter PageSize is not valid.')
        : undefined,
    );
    const names = (await cdn.describeCdnHttpsDomainList()).map(({ DomainName }) => DomainName);
    expect(new Set(names).size).toBe(1_203);
    expect(server.callsOf('DescribeCdnHttpsDomainList')).toHaveLength(calls);
  });

  test('a list that caps the page size is read to its end', async () => {
    const { product, server, cdn } = await situation({ sandbox: { domains: [] } });
    const { chain, privateKey } = makeCertificate({ names: ['*.example.com'] });
    product.purchase('d0.example.com', { chain, privateKey, certName: 'one' });
    for (let nth = 1; nth < 250; nth += 1) product.set(`d${nth}.example.com`, { certName: 'one', sslProtocol: 'on' });
    const handler = product.actions['DescribeCdnHttpsDomainList'];
    server.intercept(async ({ action, parameters }) => {
      if (action !== 'DescribeCdnHttpsDomainList') return undefined;
      const capped = await handler?.handle({ ...parameters, PageSize: '100' }, NOW);
      return { status: 200, body: JSON.stringify({ RequestId: 'R-1', ...capped }) };
    });
    expect(await cdn.describeCdnHttpsDomainList()).toHaveLength(250);
    expect(server.callsOf('DescribeCdnHttpsDomainList')).toHaveLength(3);
  });

  test.each<[string, object]>([
    ['without a TotalCount', { Domains: { PageData: [] } }],
    ['that ends before its own TotalCount', { TotalCount: 3, Domains: { PageData: [] } }],
    ['whose entries are no domains', { TotalCount: 1, Domains: { PageData: ['www.example.com'] } }],
    ['without a list', { TotalCount: 2 }],
  ])('a list %s is an error and never a short list', async (_, body) => {
    const server = await listen((_request, response) => json(response, 200, { RequestId: 'R-1', ...body }));
    const deps = steppedDeps();
    const rpc = createRpc({ credentials, deps });
    onTestFinished(async () => {
      rpc.close();
      await server.close();
    });
    const cdn = createCdn({ rpc, endpoint: server.url, api: 'auto', callsPerSecond: 10, deps });
    await expect(cdn.describeUserDomains()).rejects.toMatchObject({ code: 'RESPONSE_INVALID' });
  });
});
