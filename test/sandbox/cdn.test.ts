import { execFileSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import sdkModule, {
  DescribeCdnHttpsDomainListRequest,
  DescribeDomainCertificateInfoRequest,
  DescribeUserDomainsRequest,
  SetCdnDomainSSLCertificateRequest,
} from '@alicloud/cdn20180510';
import { $OpenApiUtil } from '@alicloud/openapi-core';
import RPCClient from '@alicloud/pop-core';
import { afterEach, describe, expect, test } from 'vitest';
import { type Cdn, type CdnOptions, createCdn } from './cdn.ts';
import { defaultCa, makeCa, makeCertificate } from './certificates.ts';
import { type RpcServer, startRpcServer } from './rpc-server.ts';

// Node gives a CommonJS module as the default import, Vite its `default`.
const CdnClient = 'default' in sdkModule ? sdkModule.default : sdkModule;

const servers: RpcServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

const NOW = new Date('2026-02-01T00:00:00Z');

interface Sandbox {
  readonly cdn: Cdn;
  readonly server: RpcServer;
  call(action: string, parameters?: object): Promise<Record<string, unknown>>;
}

async function start(options: CdnOptions = {}): Promise<Sandbox> {
  const cdn = createCdn({ now: () => NOW, domains: ['www.example.com'], ...options });
  const server = await startRpcServer({
    products: [cdn],
    accounts: [{ accessKeyId: 'id', accessKeySecret: 'secret', userId: 'user' }],
  });
  servers.push(server);
  const client = new RPCClient({
    endpoint: server.url,
    apiVersion: '2018-05-10',
    accessKeyId: 'id',
    accessKeySecret: 'secret',
  });
  return { cdn, server, call: (action, parameters = {}) => client.request(action, parameters, { method: 'POST' }) };
}

function refusal(code: string, statusCode: number): object {
  return { code, entry: { response: { statusCode } } };
}

const certificate = makeCertificate({ names: ['www.example.com'], keyType: 'rsa2048' });
const other = makeCertificate({ names: ['www.example.com'] });
const expired = makeCertificate({ names: ['www.example.com'], notAfter: new Date('2026-01-31T00:00:00Z') });

const OLD = 'SetDomainServerCertificate';
const NEW = 'SetCdnDomainSSLCertificate';
const old = (change: Record<string, string> = {}): Record<string, string> => ({
  DomainName: 'www.example.com',
  ServerCertificateStatus: 'on',
  CertType: 'upload',
  CertName: 'autocert-www',
  ServerCertificate: certificate.chain,
  PrivateKey: certificate.privateKey,
  ForceSet: '1',
  ...change,
});
const renewed = (change: Record<string, string> = {}): Record<string, string> => ({
  DomainName: 'www.example.com',
  SSLProtocol: 'on',
  CertType: 'upload',
  CertName: 'autocert-www',
  SSLPub: certificate.chain,
  SSLPri: certificate.privateKey,
  ...change,
});

describe('setting a certificate', () => {
  test('both calls put it on the domain, switch HTTPS on and tell listeners', async () => {
    for (const [action, parameters] of [
      [OLD, old()],
      [NEW, renewed()],
    ] as const) {
      const { cdn, call } = await start();
      const changed: string[] = [];
      const stop = cdn.onChange((domainName) => changed.push(domainName));
      expect(Object.keys(await call(action, parameters))).toEqual(['RequestId']);
      expect(cdn.served('www.example.com')).toEqual({
        certificate: certificate.chain,
        privateKey: certificate.privateKey,
        fingerprint: certificate.fingerprint,
      });
      expect(changed).toEqual(['www.example.com']);
      stop();
      cdn.set('www.example.com', { status: 'offline' });
      expect(changed).toHaveLength(1);
      expect(cdn.served('www.example.com')).toBeUndefined();
    }
  });

  test('both take RSA and EC keys in the form of openssl, and a leaf without its intermediate', async () => {
    const { call } = await start();
    await call(OLD, old({ ServerCertificate: other.chain, PrivateKey: other.privateKey }));
    await call(OLD, old({ ServerCertificate: certificate.leaf }));
    await call(
      OLD,
      old({ ServerCertificate: certificate.chain.trimEnd(), PrivateKey: certificate.privateKey.trimEnd() }),
    );
    const converted = execFileSync('openssl', ['rsa', '-traditional'], {
      input: createPrivateKey(certificate.privateKey).export({ type: 'pkcs8', format: 'pem' }),
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    await call(NEW, renewed({ CertName: 'converted', SSLPri: converted.toString() }));
  });

  test('both switch HTTPS off, and the certificate stays bound', async () => {
    const { cdn, call } = await start();
    await call(OLD, old());
    await call(OLD, { DomainName: 'www.example.com', ServerCertificateStatus: 'off' });
    expect(cdn.state.domains.get('www.example.com')).toMatchObject({ sslProtocol: 'off', certName: 'autocert-www' });
    await call(OLD, old());
    await call(NEW, { DomainName: 'www.example.com', SSLProtocol: 'off' });
    expect(cdn.served('www.example.com')).toBeUndefined();
  });

  test('ForceSet=1 overwrites the name for every domain that uses it, even one bought', async () => {
    const { cdn, call } = await start({ domains: ['www.example.com', 'api.example.com', 'img.example.com'] });
    const bought = cdn.purchase('api.example.com', { ...other, certName: 'shared' });
    cdn.purchase('img.example.com', { ...other, certName: 'own' });
    const changed: string[] = [];
    cdn.onChange((domainName) => changed.push(domainName));
    await expect(call(OLD, old({ CertName: 'shared', ForceSet: '0' }))).rejects.toMatchObject(
      refusal('Certificate.Duplicated', 400),
    );
    await call(OLD, old({ CertName: 'shared' }));
    expect(cdn.served('api.example.com')?.fingerprint).toBe(certificate.fingerprint);
    expect(cdn.served('img.example.com')?.fingerprint).toBe(other.fingerprint);
    expect(changed).toEqual(['www.example.com', 'api.example.com']);
    expect(cdn.state.certificates.get('shared')).toMatchObject({ certId: bought.certId, certType: 'upload' });
  });

  test('SetCdnDomainSSLCertificate knows no ForceSet: a name is taken once and for all', async () => {
    const { call } = await start();
    await call(NEW, renewed());
    await expect(call(NEW, renewed({ ForceSet: '1' }))).rejects.toMatchObject(refusal('CertNameAlreadyExists', 400));
    await call(NEW, renewed({ CertName: 'autocert-www-2' }));
  });

  test('content stored under another name is refused when that is switched on', async () => {
    const { call } = await start({ refuseDuplicateContent: true });
    await call(NEW, renewed());
    await expect(call(NEW, renewed({ CertName: 'again' }))).rejects.toMatchObject(
      refusal('CertificateContent.Duplicated', 400),
    );
  });

  test('a stored certificate is bound by name with the old call and by id with the new one', async () => {
    const { cdn, call } = await start({ domains: ['www.example.com', 'api.example.com'] });
    const { certId, certName } = cdn.purchase('api.example.com', other);
    await call(OLD, {
      DomainName: 'www.example.com',
      ServerCertificateStatus: 'on',
      CertType: 'cas',
      CertName: certName,
    });
    expect(cdn.served('www.example.com')?.fingerprint).toBe(other.fingerprint);
    cdn.set('www.example.com', { certName: undefined });
    const byId = { DomainName: 'www.example.com', SSLProtocol: 'on', CertType: 'cas', CertId: String(certId) };
    await call(NEW, byId);
    expect(cdn.served('www.example.com')?.fingerprint).toBe(other.fingerprint);
    const refused: [string, Record<string, string>, string, number][] = [
      [OLD, old({ CertType: 'cas', CertName: 'none' }), 'Certificate.NotFind', 400],
      [NEW, { ...byId, CertId: '1' }, 'Certificate.NotFind', 400],
      [NEW, { ...byId, CertRegion: 'ap-southeast-1' }, 'Certificate.NotFind', 400],
      [NEW, { ...byId, CertRegion: 'cn-beijing' }, 'Abs.CertRegion.ValueNotSupported', 400],
      [NEW, { ...byId, CertId: '' }, 'CertName.MissingParameter', 404],
    ];
    for (const [action, parameters, code, status] of refused) {
      await expect(call(action, parameters)).rejects.toMatchObject(refusal(code, status));
    }
  });

  test('a grey release is accepted and reaches no edge', async () => {
    const { cdn, call } = await start();
    await call(NEW, renewed({ Env: 'staging' }));
    expect(cdn.served('www.example.com')).toBeUndefined();
    await expect(call(NEW, renewed({ Env: 'grey' }))).rejects.toMatchObject(refusal('InvalidEnv', 400));
  });

  test('a domain is busy for as long as it is configuring, then not', async () => {
    let now = NOW;
    const { cdn, call } = await start({ now: () => now, configuringMilliseconds: 30_000 });
    await call(OLD, old());
    for (const [action, parameters] of [
      [OLD, old()],
      [NEW, renewed()],
    ] as const) {
      await expect(call(action, parameters)).rejects.toMatchObject(refusal('ServiceBusy', 403));
    }
    const statuses = await call('DescribeUserDomains', { DomainStatus: 'configuring' });
    expect(statuses).toMatchObject({ TotalCount: 1 });
    now = new Date(NOW.getTime() + 30_000);
    await call(OLD, old());
    cdn.state.configuringMilliseconds = 0;
  });
});

describe('a certificate is refused', () => {
  const lines = certificate.chain.trimEnd().split('\n');
  const pkcs8 = createPrivateKey(certificate.privateKey).export({ type: 'pkcs8', format: 'pem' }).toString();
  const garbage = `-----BEGIN CERTIFICATE-----\n${'A'.repeat(64)}\n-----END CERTIFICATE-----\n`;
  const garbageKey = `-----BEGIN RSA PRIVATE KEY-----\n${'A'.repeat(64)}\n-----END RSA PRIVATE KEY-----\n`;
  const intermediate = defaultCa().intermediate;
  const forgedDer = Buffer.from(new X509Certificate(certificate.leaf).raw);
  forgedDer[forgedDer.length - 1] = (forgedDer.at(-1) ?? 0) ^ 1;
  const forgedLines = forgedDer.toString('base64').match(/.{1,64}/g) ?? [];
  const forged = `-----BEGIN CERTIFICATE-----\n${forgedLines.join('\n')}\n-----END CERTIFICATE-----\n`;
  const stranger = makeCertificate({ names: ['www.example.com'] }).leaf;

  const certificates: [string, string, string][] = [
    ['an empty line between the blocks', `${certificate.leaf}\n${intermediate}`, 'Certificate.FormatError'],
    ['CRLF', certificate.chain.replaceAll('\n', '\r\n'), 'Certificate.FormatError'],
    ['a space at a line end', certificate.chain.replace('\n', ' \n'), 'Certificate.FormatError'],
    ['an empty line at the end', `${certificate.chain}\n`, 'Certificate.FormatError'],
    ['lines of another length', lines.toSpliced(1, 2, `${lines[1]}${lines[2]}`).join('\n'), 'Certificate.FormatError'],
    ['text before the block', `subject=CN\n${certificate.chain}`, 'Certificate.FormatError'],
    ['no PEM', 'certificate', 'Certificate.FormatError'],
    ['the intermediate first', intermediate + certificate.leaf, 'Certificate.FormatError'],
    ['the intermediate alone', intermediate, 'Certificate.FormatError'],
    ['a second block that did not issue the first', certificate.leaf + stranger, 'Certificate.FormatError'],
    [
      'a second block that did not issue the first but has its name',
      certificate.leaf + makeCa('Sandbox CA').intermediate,
      'Certificate.FormatError',
    ],
    ['a signature its issuer did not make', forged + intermediate, 'Certificate.FormatError'],
    ['a block that holds no certificate', garbage, 'malformed'],
    ['more than any chain needs', certificate.leaf + intermediate.repeat(200), 'InvalidCertificate.TooLong'],
  ];
  test.each(certificates)('with %s', async (_, chain, code) => {
    const { cdn, call } = await start();
    const [oldCode, newCode] = code === 'malformed' ? ['InvalidCertificate', 'InvalidSSLPub'] : [code, code];
    await expect(call(OLD, old({ ServerCertificate: chain }))).rejects.toMatchObject(refusal(oldCode, 400));
    await expect(call(NEW, renewed({ SSLPub: chain }))).rejects.toMatchObject(refusal(newCode, 400));
    expect(cdn.state.certificates.size).toBe(0);
  });

  const keys: [string, string, string, string][] = [
    ['of another certificate', other.privateKey, 'Certificate.MissMatch', 'Certificate.MissMatch'],
    ['in PKCS#8', pkcs8, 'Key.Malformed', 'Key.Malformed'],
    ['with CRLF', certificate.privateKey.replaceAll('\n', '\r\n'), 'Key.Malformed', 'Key.Malformed'],
    ['with an empty line', `${certificate.privateKey}\n`, 'Key.Malformed', 'Key.Malformed'],
    ['that is not one', garbageKey, 'InvalidPrivateKey', 'InvalidSSLPri'],
    ['of blanks', ' \n', 'Certificate.KeyNull', 'Certificate.KeyNull'],
  ];
  test.each(keys)('with a key %s', async (_, key, oldCode, newCode) => {
    const { call } = await start();
    await expect(call(OLD, old({ PrivateKey: key }))).rejects.toMatchObject(refusal(oldCode, 400));
    await expect(call(NEW, renewed({ SSLPri: key }))).rejects.toMatchObject(refusal(newCode, 400));
  });

  const parameters: [string, Record<string, string>, string][] = [
    [OLD, old({ DomainName: '' }), 'MissingDomainName'],
    [OLD, old({ ServerCertificateStatus: '' }), 'MissingServerCertificateStatus'],
    [OLD, old({ ServerCertificateStatus: 'ON' }), 'InvalidServerCertificateStatus.ValueNotSupported'],
    [OLD, old({ ServerCertificate: '' }), 'ServerCertificate.MissingParameter'],
    [OLD, old({ PrivateKey: '' }), 'PrivateKey.MissingParameter'],
    [OLD, old({ CertName: 'n'.repeat(129) }), 'InvalidCertName.TooLong'],
    [OLD, old({ CertType: 'bought' }), 'SetDomainServerCertificate.ParameterError'],
    [NEW, renewed({ DomainName: '' }), 'MissingDomainName'],
    [NEW, renewed({ SSLProtocol: '' }), 'MissingSSLProtocol'],
    [NEW, renewed({ SSLProtocol: 'true' }), 'InvalidSSLProtocol.ValueNotSupported'],
    [NEW, renewed({ SSLPub: '' }), 'SSLPub.MissingParameter'],
    [NEW, renewed({ SSLPri: '' }), 'SSLPri.MissingParameter'],
    [NEW, renewed({ CertName: 'n'.repeat(129) }), 'InvalidCertName.TooLong'],
    [NEW, renewed({ CertType: 'free' }), 'SetDomainCertificate.ParameterError'],
    [NEW, renewed({ SSLPub: expired.chain, SSLPri: expired.privateKey }), 'Certificate.Expired'],
  ];
  test.each(parameters)('by %s for a wrong parameter (%#)', async (action, wrong, code) => {
    const { call } = await start();
    await expect(call(action, wrong)).rejects.toMatchObject(refusal(code, 400));
  });

  test('with a name of 128 characters it is not, nor by the old call when it has expired', async () => {
    const { call } = await start();
    await call(OLD, old({ CertName: 'n'.repeat(128) }));
    await call(OLD, old({ ServerCertificate: expired.chain, PrivateKey: expired.privateKey }));
  });

  const states: [string, Parameters<Cdn['set']>[1], string, number][] = [
    ['is offline', { status: 'offline' }, 'InvalidDomain.Offline', 400],
    ['is configuring', { status: 'configuring' }, 'ServiceBusy', 403],
    ['failed to be configured', { status: 'configure_failed' }, 'InvalidDomain.Configure_failed', 400],
    ['is under review', { status: 'checking' }, 'IllegalOperation', 403],
    ['is no HTTPS domain', { httpsRequests: false }, 'IllegalOperation', 403],
  ];
  test.each(states)('when the domain %s', async (_, state, code, status) => {
    const { cdn, call } = await start();
    cdn.set('www.example.com', state);
    await expect(call(OLD, old())).rejects.toMatchObject(refusal(code, status));
    await expect(call(NEW, renewed())).rejects.toMatchObject(refusal(code, status));
  });

  test('for a domain of live streaming, by the old call alone', async () => {
    const { call } = await start({ domains: [{ domainName: 'www.example.com', cdnType: 'liveStream' }] });
    await expect(call(OLD, old())).rejects.toMatchObject(refusal('IllegalOperation', 403));
    await call(NEW, renewed());
  });

  test('for a domain of somebody else, a list of domains, or `*.` for a wildcard domain', async () => {
    const { call } = await start({ domains: ['www.example.com', 'api.example.com', '.example.com'] });
    for (const DomainName of ['www.example.net', 'www.example.com,api.example.com', '*.example.com']) {
      await expect(call(OLD, old({ DomainName }))).rejects.toMatchObject(refusal('InvalidDomain.NotFound', 404));
    }
    await call(OLD, old({ DomainName: '.example.com' }));
  });

  test('while the service is suspended', async () => {
    const { cdn, call } = await start();
    cdn.state.suspended = true;
    await expect(call(OLD, old())).rejects.toMatchObject(refusal('OperationDenied', 403));
  });
});

describe('reading back', () => {
  test('each action has the calls per second of its page', async () => {
    const { cdn } = await start();
    const limits = Object.entries(cdn.actions).map(([name, action]) => [name, action.callsPerSecond]);
    expect(Object.fromEntries(limits)).toEqual({
      SetDomainServerCertificate: 10,
      SetCdnDomainSSLCertificate: 30,
      DescribeUserDomains: 100,
      DescribeDomainCertificateInfo: 100,
      DescribeCdnHttpsDomainList: 100,
      DescribeCdnCertificateList: 30,
      DescribeCdnSSLCertificateList: 30,
      DescribeCdnCertificateDetail: 20,
      DescribeCertificateInfoByID: 100,
      DescribeUserCertificateExpireCount: 100,
    });
  });

  test('DescribeDomainCertificateInfo tells the certificate, with times in UTC', async () => {
    const { call } = await start();
    await call(OLD, old());
    const { CertInfos } = await call('DescribeDomainCertificateInfo', { DomainName: 'www.example.com' });
    expect(CertInfos).toEqual({
      CertInfo: [
        {
          DomainName: 'www.example.com',
          CertName: 'autocert-www',
          CertId: '9002449',
          CertDomainName: 'www.example.com',
          CertOrg: 'Sandbox CA',
          CertRegion: 'cn-hangzhou',
          CertType: 'upload',
          CertLife: '3 months',
          CertStartTime: '2026-01-01T00:00:00Z',
          CertExpireTime: '2026-04-01T00:00:00Z',
          CertUpdateTime: '2026-02-01T00:00:00Z',
          ServerCertificate: certificate.chain,
          ServerCertificateStatus: 'on',
          DomainCnameStatus: 'ok',
          Status: 'success',
        },
      ],
    });
  });

  test('a domain without certificate has an empty list, an unknown one is an error', async () => {
    const { call } = await start();
    const answer = await call('DescribeDomainCertificateInfo', { DomainName: 'www.example.com' });
    expect(answer['CertInfos']).toEqual({ CertInfo: [] });
    await expect(call('DescribeDomainCertificateInfo', { DomainName: 'x' })).rejects.toMatchObject(
      refusal('InvalidDomain.NotFound', 404),
    );
    await expect(call('DescribeDomainCertificateInfo')).rejects.toMatchObject(refusal('MissingDomainName', 400));
  });

  test('DescribeCdnHttpsDomainList tells each domain with HTTPS on, its state, and times without a zone', async () => {
    const { cdn, call } = await start({ domains: ['www.example.com', 'off.example.com', 'none.example.com'] });
    const soon = makeCertificate({ names: ['soon.example.com'], notAfter: new Date('2026-03-03T00:00:00Z') });
    cdn.purchase('www.example.com', { ...certificate, certName: 'www', certType: 'upload' });
    cdn.purchase('wrong.example.com', { ...other, certType: 'free' });
    cdn.purchase('expired.example.com', expired);
    cdn.purchase('soon.example.com', soon);
    cdn.purchase('.example.com', makeCertificate({ names: ['*.example.com'] }));
    cdn.purchase('off.example.com', other);
    cdn.set('off.example.com', { sslProtocol: 'off' });
    const answer = await call('DescribeCdnHttpsDomainList');
    const infos: Record<string, string>[] = JSON.parse(JSON.stringify(answer))['CertInfos']['CertInfo'];
    expect(infos.map((info) => [info['DomainName'], info['CertStatus'], info['CertType']])).toEqual([
      ['www.example.com', 'ok', 'upload'],
      ['wrong.example.com', 'mismatch', 'free'],
      ['expired.example.com', 'expired', 'cas'],
      ['soon.example.com', 'expire_soon', 'cas'],
      ['.example.com', 'ok', 'cas'],
    ]);
    expect(answer['TotalCount']).toBe(5);
    expect(infos[0]).toEqual({
      DomainName: 'www.example.com',
      CertName: 'www',
      CertCommonName: 'www.example.com',
      CertType: 'upload',
      CertStatus: 'ok',
      CertStartTime: '2026-01-01 08:00:00',
      CertExpireTime: '2026-04-01 08:00:00',
      CertUpdateTime: '2026-02-01 08:00:00',
    });
    expect(await call('DescribeCdnHttpsDomainList', { Keyword: 'soon' })).toMatchObject({ TotalCount: 1 });
    expect(await call('DescribeUserCertificateExpireCount')).toMatchObject({
      ExpiredCount: 1,
      ExpireWithin30DaysCount: 1,
    });
  });

  test('pages have 20 entries unless asked otherwise, and end', async () => {
    const { cdn, call } = await start({ domains: [] });
    for (let i = 1; i <= 45; i++) cdn.purchase(`d${i}.example.com`, { ...other, certName: `c${i}` });
    const names = (answer: object): string[] =>
      [...JSON.stringify(answer).matchAll(/"DomainName":"([^"]+)"/g)].map(([, name]) => name ?? '');
    for (const action of ['DescribeCdnHttpsDomainList', 'DescribeUserDomains']) {
      const pages = [];
      for (const PageNumber of ['1', '2', '3', '4']) pages.push(names(await call(action, { PageNumber })));
      expect(pages.map(({ length }) => length)).toEqual([20, 20, 5, 0]);
      expect(new Set(pages.flat()).size).toBe(45);
      expect(names(await call(action, { PageSize: '500' }))).toHaveLength(45);
      for (const wrong of [{ PageSize: '501' }, { PageSize: '0' }, { PageNumber: '0' }, { PageNumber: '100001' }]) {
        await expect(call(action, wrong)).rejects.toMatchObject(refusal('InvalidParameter', 400));
      }
    }
    const listed = await call('DescribeCdnSSLCertificateList', { PageNumber: '3', PageSize: '20' });
    expect(listed['CertificateListModel']).toMatchObject({ Count: 45, PageNumber: 3, PageSize: 20 });
    expect(JSON.stringify(listed).match(/"CertName"/g)).toHaveLength(5);
  });

  test('DescribeUserDomains finds by name, kind of match, status, type and coverage', async () => {
    const { call } = await start({
      domains: [
        'www.example.com',
        { domainName: 'api.example.com', status: 'offline', cdnType: 'video' },
        { domainName: '.example.net', coverage: 'domestic' },
      ],
    });
    const found = async (parameters: object): Promise<string[]> => {
      const answer = JSON.parse(JSON.stringify(await call('DescribeUserDomains', parameters)));
      return answer.Domains.PageData.map((data: { DomainName: string }) => data.DomainName);
    };
    expect(await found({})).toEqual(['www.example.com', 'api.example.com', '.example.net']);
    expect(await found({ DomainName: 'example.com' })).toEqual([]);
    expect(await found({ DomainName: 'www.example.com,.example.net' })).toEqual(['www.example.com', '.example.net']);
    expect(await found({ DomainName: 'example', DomainSearchType: 'fuzzy_match' })).toHaveLength(3);
    expect(await found({ DomainName: 'api', DomainSearchType: 'pre_match' })).toEqual(['api.example.com']);
    expect(await found({ DomainName: '.com', DomainSearchType: 'suf_match' })).toHaveLength(2);
    expect(await found({ DomainStatus: 'online' })).toEqual(['www.example.com', '.example.net']);
    expect(await found({ CdnType: 'video,download' })).toEqual(['api.example.com']);
    expect(await found({ Coverage: 'domestic' })).toEqual(['.example.net']);
    await expect(found({ DomainName: 'a', DomainSearchType: 'regex' })).rejects.toMatchObject(
      refusal('InvalidParameter', 400),
    );
  });

  test('the lists and details of certificates tell the id, the SHA-1 fingerprint and never the key', async () => {
    const { cdn, call } = await start();
    const { certId } = cdn.purchase('www.example.com', { ...certificate, certName: 'www' });
    const sha1 = new X509Certificate(certificate.leaf).fingerprint.replaceAll(':', '').toLowerCase();
    const entry = {
      CertId: certId,
      CertName: 'www',
      Common: 'www.example.com',
      Fingerprint: sha1,
      Issuer: 'Sandbox CA',
      LastTime: 1769904000,
    };
    const listed = await call('DescribeCdnCertificateList', { DomainName: 'www.example.com' });
    expect(listed['CertificateListModel']).toEqual({ Count: 1, CertList: { Cert: [entry] } });
    const other = await call('DescribeCdnCertificateList', { DomainName: 'www.example.net' });
    expect(other['CertificateListModel']).toMatchObject({ Count: 0 });
    const paged = await call('DescribeCdnSSLCertificateList', { SearchKeyword: 'ww' });
    expect(paged['CertificateListModel']).toMatchObject({
      CertList: { Cert: [{ ...entry, CertRegion: 'cn-hangzhou' }] },
    });
    const detail = await call('DescribeCdnCertificateDetail', { CertName: 'www' });
    expect(detail).toMatchObject({ CertId: certId, CertName: 'www', Cert: certificate.chain });
    expect(detail['Key']).toMatch(/^[0-9a-f]{32}$/);
    await expect(call('DescribeCdnCertificateDetail', { CertName: 'x' })).rejects.toMatchObject(
      refusal('Certificate.NotFind', 400),
    );
  });

  test('DescribeCertificateInfoByID tells a certificate in use, with times that name UTC', async () => {
    const { cdn, call } = await start();
    const CertId = String(cdn.purchase('www.example.com', { ...certificate, certName: 'www' }).certId);
    const answer = await call('DescribeCertificateInfoByID', { CertId });
    expect(answer['CertInfos']).toEqual({
      CertInfo: [
        {
          CertId,
          CertName: 'www',
          CertType: 'cas',
          CreateTime: '2026-01-01 00:00:00 +0000 UTC',
          CertExpireTime: '2026-04-01 00:00:00 +0000 UTC',
          DomainList: '["www.example.com"]',
          HttpsCrt: certificate.chain,
        },
      ],
    });
    cdn.set('www.example.com', { sslProtocol: 'off' });
    await expect(call('DescribeCertificateInfoByID', { CertId })).rejects.toMatchObject(
      refusal('Certificate.NotFind', 400),
    );
  });
});

describe('the official SDK, which signs with ACS3-HMAC-SHA256', () => {
  function client(server: RpcServer, accessKeySecret = 'secret'): InstanceType<typeof CdnClient> {
    const { endpoint } = server;
    return new CdnClient(
      new $OpenApiUtil.Config({
        accessKeyId: 'id',
        accessKeySecret,
        endpoint,
        protocol: 'HTTP',
        regionId: 'cn-hangzhou',
      }),
    );
  }

  test('reads domains and certificates', async () => {
    const { cdn, server } = await start();
    cdn.purchase('www.example.com', { ...certificate, certName: '证书 www' });
    const sdkClient = client(server);
    const domains = await sdkClient.describeUserDomains(
      new DescribeUserDomainsRequest({ domainName: 'www.example.com', pageSize: 500, domainStatus: 'online' }),
    );
    expect(domains.body?.domains?.pageData).toMatchObject([{ domainName: 'www.example.com', sslProtocol: 'on' }]);
    const list = await sdkClient.describeCdnHttpsDomainList(
      new DescribeCdnHttpsDomainListRequest({ keyword: '证书', pageNumber: 1 }),
    );
    expect(list.body?.certInfos?.certInfo).toMatchObject([{ certName: '证书 www', certStatus: 'ok' }]);
    const info = await sdkClient.describeDomainCertificateInfo(
      new DescribeDomainCertificateInfoRequest({ domainName: 'www.example.com' }),
    );
    expect(info.body?.certInfos?.certInfo?.[0]?.serverCertificate).toBe(certificate.chain);
    expect(server.violations).toEqual([]);
    expect(server.calls.map(({ code, user }) => [code, user])).toEqual(new Array(3).fill(['OK', 'user']));
  });

  test('is refused with a wrong secret, and told by its code why a domain is refused', async () => {
    const { server } = await start();
    const request = new DescribeDomainCertificateInfoRequest({ domainName: 'www.example.net' });
    await expect(client(server).describeDomainCertificateInfo(request)).rejects.toMatchObject({
      code: 'InvalidDomain.NotFound',
      statusCode: 404,
    });
    await expect(client(server, 'wrong').describeDomainCertificateInfo(request)).rejects.toMatchObject({
      code: 'SignatureDoesNotMatch',
    });
  });

  test('puts the private key into the URL: refused, and a violation', async () => {
    const { cdn, server } = await start();
    const request = new SetCdnDomainSSLCertificateRequest({
      domainName: 'www.example.com',
      SSLProtocol: 'on',
      SSLPub: certificate.chain,
      SSLPri: certificate.privateKey,
    });
    await expect(client(server).setCdnDomainSSLCertificate(request)).rejects.toMatchObject({
      code: 'Sandbox.PrivateKeyInUrl',
    });
    expect(server.violations).toEqual(['SetCdnDomainSSLCertificate: SSLPri in the URL']);
    expect(cdn.served('www.example.com')).toBeUndefined();
  });
});
