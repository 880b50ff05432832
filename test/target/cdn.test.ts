import { describe, expect, onTestFinished, test } from 'vitest';
import { createCdn } from '../../src/aliyun/cdn.ts';
import { createRpc } from '../../src/aliyun/rpc.ts';
import { Secret } from '../../src/secret.ts';
import { createCdnTarget } from '../../src/target/cdn.ts';
import { ACCOUNT, credentials } from '../aliyun/account.ts';
import { steppedDeps } from '../aliyun/loopback.ts';
import { createCdn as createCdnSandbox, type CdnOptions as SandboxOptions } from '../sandbox/cdn.ts';
import { makeCertificate } from '../sandbox/certificates.ts';
import { startRpcServer } from '../sandbox/rpc-server.ts';

async function situation(domains: NonNullable<SandboxOptions['domains']>) {
  const product = createCdnSandbox({ domains, now: () => new Date('2026-01-20T00:00:00Z') });
  const server = await startRpcServer({ products: [product], accounts: [ACCOUNT] });
  const deps = steppedDeps();
  const rpc = createRpc({ credentials, deps });
  onTestFinished(async () => {
    rpc.close();
    await server.close();
  });
  const cdn = createCdn({ rpc, endpoint: server.url, api: 'auto', callsPerSecond: 1_000, deps });
  return { product, server, target: createCdnTarget({ cdn }) };
}

function certificateFor(...names: string[]) {
  const { chain, privateKey, fingerprint } = makeCertificate({ names });
  return { chain, privateKey: new Secret(privateKey), fingerprint };
}

describe('the list of domains', () => {
  test('names a wildcard domain the DNS way, and says what the lists know', async () => {
    const { product, target } = await situation([
      { domainName: 'www.example.com', cname: 'www.example.com.w.kunlunsl.com' },
      '.example.com',
      { domainName: 'old.example.com', status: 'offline' },
    ]);
    const { chain, privateKey } = makeCertificate({ names: ['www.example.com'] });
    product.purchase('www.example.com', { chain, privateKey, certType: 'upload', certName: 'by-hand' });
    const list = await target.list();
    expect(list.map(({ domain }) => domain).sort()).toEqual(['*.example.com', 'old.example.com', 'www.example.com']);
    expect(list.find(({ domain }) => domain === 'www.example.com')).toMatchObject({
      status: 'online',
      https: true,
      cname: 'www.example.com.w.kunlunsl.com',
      certificate: { name: 'by-hand', type: 'upload', expireTime: expect.stringMatching(/^2026-/) },
    });
    const wildcard = list.find(({ domain }) => domain === '*.example.com');
    expect(wildcard).toMatchObject({ https: false });
    expect(wildcard).not.toHaveProperty('certificate');
    expect(list.find(({ domain }) => domain === 'old.example.com')).toMatchObject({ status: 'offline' });
  });

  test('is read once a run, however many domains are deployed to', async () => {
    const { server, target } = await situation(['one.example.com', 'two.example.com']);
    await target.list();
    await target.deploy('one.example.com', certificateFor('one.example.com'));
    await target.deploy('two.example.com', certificateFor('two.example.com'));
    expect(server.callsOf('DescribeUserDomains')).toHaveLength(1);
    expect(server.callsOf('DescribeCdnHttpsDomainList')).toHaveLength(1);
  });

  test('that could not be read is read again when it is asked for again', async () => {
    const { server, target } = await situation(['www.example.com']);
    const recover = server.intercept(({ action }) =>
      action === 'DescribeUserDomains' ? { status: 403, body: '{"Code":"Forbidden.RAM"}' } : undefined,
    );
    await expect(target.list()).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
    recover();
    expect(await target.list()).toHaveLength(1);
  });
});

describe('the certificate of a domain', () => {
  test('is what was deployed', async () => {
    const { target } = await situation(['.example.com']);
    const certificate = certificateFor('*.example.com');
    const deployed = await target.deploy('*.example.com', certificate);
    expect(deployed).toMatchObject({ api: 'SetDomainServerCertificate', certName: 'autocert-cdn-_example_com' });
    const current = await target.current('*.example.com');
    expect(current).toMatchObject({ name: 'autocert-cdn-_example_com', type: 'upload' });
    expect(certificate.chain).toContain(current?.pem.trim().split('\n')[1]);
  });

  test('is none while HTTPS is off', async () => {
    const { target } = await situation(['www.example.com']);
    expect(await target.current('www.example.com')).toBeUndefined();
  });
});

describe('deploying', () => {
  test('a name that stands on another domain is not overwritten', async () => {
    const { product, target } = await situation(['www.example.com', 'other.example.com']);
    const { chain, privateKey } = makeCertificate({ names: ['other.example.com'] });
    product.purchase('other.example.com', {
      chain,
      privateKey,
      certType: 'upload',
      certName: 'autocert-cdn-www_example_com',
    });
    const before = product.served('other.example.com')?.fingerprint;
    const certificate = certificateFor('www.example.com');
    const { certName } = await target.deploy('www.example.com', certificate);
    expect(certName).toBe(`autocert-cdn-www_example_com-${certificate.fingerprint.slice(0, 8)}`);
    expect(product.served('www.example.com')?.fingerprint).toBe(certificate.fingerprint);
    expect(product.served('other.example.com')?.fingerprint).toBe(before);
  });

  test('two domains whose names would be the same keep a certificate each', async () => {
    const { product, target } = await situation(['a.b.example.com', 'a_b.example.com']);
    const [one, two] = [certificateFor('a.b.example.com'), certificateFor('a_b.example.com')];
    await target.deploy('a.b.example.com', one);
    await target.deploy('a_b.example.com', two);
    expect(product.served('a.b.example.com')?.fingerprint).toBe(one.fingerprint);
    expect(product.served('a_b.example.com')?.fingerprint).toBe(two.fingerprint);
  });

  test('a certificate bought by hand is replaced on its domain and stays in the account', async () => {
    const { product, target } = await situation(['www.example.com']);
    const { chain, privateKey } = makeCertificate({ names: ['www.example.com'] });
    product.purchase('www.example.com', { chain, privateKey, certName: 'bought' });
    const certificate = certificateFor('www.example.com');
    await target.deploy('www.example.com', certificate);
    expect(product.served('www.example.com')?.fingerprint).toBe(certificate.fingerprint);
    expect([...product.state.certificates.keys()]).toContain('bought');
  });

  test('a live streaming domain is refused before anything is sent, with what to do instead', async () => {
    const { server, target } = await situation([{ domainName: 'live.example.com', cdnType: 'liveStream' }]);
    await expect(target.deploy('live.example.com', certificateFor('live.example.com'))).rejects.toMatchObject({
      code: 'DOMAIN_REFUSED',
      retryable: false,
      remedy: expect.stringContaining('ApsaraVideo Live'),
    });
    expect(server.callsOf('SetDomainServerCertificate')).toHaveLength(0);
  });
});
