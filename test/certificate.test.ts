import { execFileSync } from 'node:child_process';
import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { certificateFacts, checkIssued, keyPem, parseCertificates, renewalTime } from '../src/certificate.ts';
import { AutocertError } from '../src/errors.ts';
import { Secret } from '../src/secret.ts';
import { makeCa, makeCertificate } from './sandbox/certificates.ts';

const NOW = new Date('2026-01-02T03:04:05Z');
/** RFC 9773 appendix A. */
const RFC_9773_EXAMPLE = `-----BEGIN CERTIFICATE-----
MIIBQzCB66ADAgECAgUAh2VDITAKBggqhkjOPQQDAjAVMRMwEQYDVQQDEwpFeGFt
cGxlIENBMCIYDzAwMDEwMTAxMDAwMDAwWhgPMDAwMTAxMDEwMDAwMDBaMBYxFDAS
BgNVBAMTC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeBZu
7cbpAYNXZLbbh8rNIzuOoqOOtmxA1v7cRm//AwyMwWxyHz4zfwmBhcSrf47NUAFf
qzLQ2PPQxdTXREYEnKMjMCEwHwYDVR0jBBgwFoAUaYhba4dGQEHhs3uEe6CuLN4B
yNQwCgYIKoZIzj0EAwIDRwAwRAIge09+S5TZAlw5tgtiVvuERV6cT4mfutXIlwTb
+FYN/8oCIClDsqBklhB9KAelFiYt9+6FDj3z4KGVelYM5MdsO3pK
-----END CERTIFICATE-----
`;

const folder = mkdtempSync(join(tmpdir(), 'certificate-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

function openssl(args: readonly string[], input = ''): string {
  return execFileSync('openssl', [...args], { input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] }).trim();
}

function failure(run: () => unknown): AutocertError {
  try {
    run();
  } catch (error) {
    if (error instanceof AutocertError) return error;
    throw error;
  }
  throw new Error('Nothing was thrown');
}

const SELF_SIGNED = ['req', '-x509', '-days', '9000', '-subj', '/CN=a.example', '-key'];
const blocks = (pem: string): string[] => pem.match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----\n/g) ?? [];

describe('the facts of a certificate', () => {
  const certificate = makeCertificate({ names: ['WWW.Example.com', '*.example.com'], keyType: 'rsa2048' });

  test('are what openssl says', () => {
    const facts = certificateFacts(certificate.chain);
    const text = (option: string) => openssl(['x509', '-noout', option], certificate.leaf).replace(/^[^=]*=/, '');
    expect(facts.fingerprint).toBe(
      openssl(['x509', '-noout', '-fingerprint', '-sha256'], certificate.leaf)
        .replace(/^.*=|:/g, '')
        .toLowerCase(),
    );
    expect(facts.serial).toBe(text('-serial').toLowerCase().replace(/^0+/, ''));
    expect(facts.notBefore).toEqual(new Date(text('-startdate')));
    expect(facts.notAfter).toEqual(new Date(text('-enddate')));
    const names = openssl(['x509', '-noout', '-ext', 'subjectAltName'], certificate.leaf).match(/DNS:[^,\s]+/g) ?? [];
    expect(facts.identifiers).toEqual(names.map((name) => name.slice(4).toLowerCase()));
    expect(facts.identifiers).toEqual(['www.example.com', '*.example.com']);
    const akid =
      openssl(['x509', '-noout', '-ext', 'authorityKeyIdentifier'], certificate.leaf).match(
        /(?:[0-9A-F]{2}:){19}[0-9A-F]{2}/,
      )?.[0] ?? '';
    expect(facts.certId?.split('.')[0]).toBe(Buffer.from(akid.replaceAll(':', ''), 'hex').toString('base64url'));
  });

  test('name the kind of key, for EC as well', () => {
    expect(certificateFacts(certificate.chain).keyType).toBe('rsa2048');
    expect(certificateFacts(makeCertificate({ names: ['a.example'], keyType: 'ec256' }).chain).keyType).toBe('ec256');
  });

  test('of a certificate without a subject have an empty one', () => {
    const facts = certificateFacts(makeCertificate({ names: ['a.example'], commonName: false }).chain);
    expect(facts).toMatchObject({ subject: '', identifiers: ['a.example'], selfSigned: false });
  });

  test('of a root say that it signed itself', () => {
    const facts = certificateFacts(makeCa('Test CA').root);
    expect(facts).toMatchObject({
      selfSigned: true,
      subject: 'CN=Test CA Root',
      issuer: 'CN=Test CA Root',
      identifiers: [],
    });
  });

  test('leave out subject alternative names that are no DNS names', () => {
    expect(certificateFacts(makeCertificate({ names: ['a.example', '192.0.2.1'] }).chain).identifiers).toEqual([
      'a.example',
    ]);
  });
});

describe('the certID of RFC 9773', () => {
  test('is the one of the example in the RFC, with the leading zero of the serial number', () => {
    expect(certificateFacts(RFC_9773_EXAMPLE).certId).toBe('aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE');
  });

  test('does not exist for a certificate without an authority key identifier', () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const key = privateKey.export({ type: 'sec1', format: 'pem' }).toString();
    const pem = openssl([...SELF_SIGNED, file('plain.key', key), '-addext', 'authorityKeyIdentifier=none']);
    expect(certificateFacts(pem).certId).toBeUndefined();
  });
});

describe('a chain from a CA', () => {
  const ca = makeCa('Chain CA');
  const { chain, leaf, privateKey, fingerprint } = makeCertificate({
    names: ['www.example.com', '*.example.org'],
    issuer: ca,
  });
  const expected = { identifiers: ['www.example.com', '*.example.org'], now: NOW };
  const key = new Secret(privateKey);

  test('passes as it is when it is as the CDN wants it', () => {
    expect(checkIssued(chain, key, expected)).toBe(chain);
    expect(certificateFacts(checkIssued(chain, key, expected)).fingerprint).toBe(fingerprint);
  });

  test('loses its root, carriage returns, blank lines and text between the blocks, and is folded at 64 characters', () => {
    const unfolded = blocks(chain).map((block) => block.replace(/(?<=[A-Za-z0-9+/=])\n(?=[A-Za-z0-9+/=])/g, ''));
    const untidy = `# leaf\n${[...unfolded, ca.root].join('\n\n text \n')}\n\n`.replaceAll('\n', '\r\n');
    const tidy = checkIssued(untidy, key, expected);
    expect(tidy).toBe(chain);
    expect(Math.max(...tidy.split('\n').map((line) => line.length))).toBeLessThanOrEqual(64);
  });

  test('is, without its root, what openssl verifies against that root', () => {
    const tidy = file('chain.pem', checkIssued(`${chain}${ca.root}`, key, expected));
    const at = String(NOW.getTime() / 1000);
    const verified = openssl(['verify', '-attime', at, '-CAfile', file('root.pem', ca.root), '-untrusted', tidy, tidy]);
    expect(verified).toBe(`${tidy}: OK`);
  });

  test('may name more than was asked for, and cover a name by a wildcard', () => {
    expect(checkIssued(chain, key, { identifiers: ['a.example.org'], now: NOW })).toBe(chain);
  });

  test('may begin within the hour, for this clock may be slow', () => {
    const young = makeCertificate({ names: ['a.example'], notBefore: new Date('2026-01-02T04:04:00Z') });
    expect(checkIssued(young.chain, new Secret(young.privateKey), { identifiers: ['a.example'], now: NOW })).toBe(
      young.chain,
    );
  });

  const other = makeCertificate({ names: ['www.example.com'], issuer: makeCa('Other CA') });
  const late = makeCertificate({
    names: ['a.example'],
    notBefore: new Date('2049-12-01T00:00:00Z'),
    notAfter: new Date('2050-03-01T00:00:00Z'),
  });
  const young = makeCertificate({ names: ['a.example'], notBefore: new Date('2026-01-02T04:04:06Z') });
  const [first = '', second = ''] = blocks(chain);

  test.each([
    { situation: 'is empty', pem: '', message: 'is empty' },
    { situation: 'is a web page', pem: '<html>-----BEGIN</html>', message: 'holds no PEM certificate' },
    { situation: 'is cut off', pem: chain.slice(0, -40), message: 'ends in the middle' },
    {
      situation: 'has a block that is no certificate',
      pem: chain.replace(/MII[A-Za-z0-9]/, 'AAAA'),
      message: 'cannot be read',
    },
    { situation: 'has a block that is no base64', pem: chain.replace(/MII[A-Za-z0-9]/, '{}{}'), message: 'no base64' },
    { situation: 'is longer than 100 KB', pem: chain + ' '.repeat(100 * 1024), message: 'more than 102400' },
    { situation: 'has 11 certificates', pem: first + second.repeat(10), message: 'more than 10 certificates' },
    { situation: 'is a leaf alone', pem: leaf, message: 'without the intermediate' },
    { situation: 'is reversed', pem: second + first, message: 'another private key' },
    {
      situation: 'has an intermediate of another CA',
      pem: first + (blocks(other.chain)[1] ?? ''),
      message: 'out of order: certificate 2 did not sign certificate 1',
    },
    { situation: 'skips the intermediate', pem: first + ca.root, message: 'out of order' },
    { situation: 'repeats the leaf as its issuer', pem: first + first + second, message: 'out of order' },
    { situation: 'is for another key', pem: other.chain, message: 'another private key' },
  ])('F15 that $situation is refused', ({ pem, message }) => {
    const error = failure(() => checkIssued(pem, key, expected));
    expect(error).toMatchObject({ code: 'CERTIFICATE_INVALID', retryable: false });
    expect(error.message).toContain(message);
  });

  test.each([
    {
      situation: 'has expired',
      certificate: young,
      now: new Date('2026-04-02T04:04:06Z'),
      message: 'expired at 2026-04-02T04:04:06.000Z',
    },
    {
      situation: 'begins in more than an hour',
      certificate: young,
      now: NOW,
      message: 'not valid before 2026-01-02T04:04:06.000Z',
    },
    {
      situation: 'has an expired intermediate',
      certificate: late,
      now: new Date('2050-01-01T00:00:00Z'),
      message: 'intermediate certificate',
    },
  ])('F15 that $situation is refused', ({ certificate, now, message }) => {
    const error = failure(() =>
      checkIssued(certificate.chain, new Secret(certificate.privateKey), { identifiers: ['a.example'], now }),
    );
    expect(error).toMatchObject({ code: 'CERTIFICATE_INVALID' });
    expect(error.message).toContain(message);
  });

  test('F15 without one of the names is refused, and says which', () => {
    const error = failure(() =>
      checkIssued(chain, key, { identifiers: ['www.example.com', 'b.a.example.org', 'example.org'], now: NOW }),
    );
    expect(error.message).toBe('The certificate does not name b.a.example.org, example.org.');
  });

  test('F15 whose leaf has another signature than its issuer made is refused', () => {
    const der = Buffer.from(parseCertificates(leaf)[0]?.raw ?? []);
    der.writeUInt8(der.readUInt8(der.length - 1) ^ 1, der.length - 1);
    const forged = `-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----\n`;
    const error = failure(() => checkIssued(forged + second, key, expected));
    expect(error.message).toContain('out of order: certificate 2 did not sign certificate 1');
  });

  test('F15 that signed itself is refused', () => {
    const pem = openssl([...SELF_SIGNED, file('self.key', privateKey), '-addext', 'subjectAltName=DNS:a.example']);
    expect(failure(() => checkIssued(pem, key, { identifiers: ['a.example'], now: new Date() })).message).toBe(
      'The certificate is self-signed.',
    );
  });

  test('with a private key that is none is refused without a word of the key', () => {
    const error = failure(() =>
      checkIssued(chain, new Secret('-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n'), expected),
    );
    expect(error.code).toBe('CERTIFICATE_INVALID');
    expect(`${error.message}${String(error.cause)}`).not.toContain('c2VjcmV0');
  });

  test('F68 with any text put into it is refused, or still has the leaf that the CA signed', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.nat(chain.length), (text, at) => {
        const broken = chain.slice(0, at) + text + chain.slice(at);
        try {
          // The root is not there, so nobody can tell whether the signature of the intermediate is good.
          expect(certificateFacts(checkIssued(broken, key, expected)).fingerprint).toBe(fingerprint);
        } catch (error) {
          expect(error).toBeInstanceOf(AutocertError);
        }
      }),
    );
    const nearMisses = '-----BEGIN CERTIFICATE-----\n'.repeat(3600);
    expect(failure(() => parseCertificates(nearMisses)).message).toContain('middle');
  });
});

describe('the PEM of a key', () => {
  test.each([
    {
      kind: 'RSA',
      header: '-----BEGIN RSA PRIVATE KEY-----',
      pair: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
    },
    {
      kind: 'EC',
      header: '-----BEGIN EC PRIVATE KEY-----',
      pair: () => generateKeyPairSync('ec', { namedCurve: 'P-384' }),
    },
  ])('is the traditional one for $kind, whatever it was read from, and openssl reads it', ({ header, pair }) => {
    const { privateKey } = pair();
    const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'pem' });
    const pem = keyPem(createPrivateKey(pkcs8));
    expect(pem.startsWith(`${header}\n`)).toBe(true);
    expect(openssl(['pkey', '-outform', 'PEM'], pem)).toBe(pkcs8.toString().trim());
  });
});

describe('F53 without advice a certificate is due', () => {
  test.each([
    { life: '160 hours', notAfter: '2026-01-07T16:00:00Z', due: '2026-01-04T08:00:00Z' },
    { life: '10 days', notAfter: '2026-01-11T00:00:00Z', due: '2026-01-06T00:00:00Z' },
    { life: '10 days and three seconds', notAfter: '2026-01-11T00:00:03Z', due: '2026-01-07T16:00:02Z' },
    { life: '45 days', notAfter: '2026-02-15T00:00:00Z', due: '2026-01-31T00:00:00Z' },
    { life: '64 days', notAfter: '2026-03-06T00:00:00Z', due: '2026-02-12T16:00:00Z' },
    { life: '90 days', notAfter: '2026-04-01T00:00:00Z', due: '2026-03-02T00:00:00Z' },
    { life: '398 days', notAfter: '2027-02-03T00:00:00Z', due: '2026-09-23T08:00:00Z' },
  ])('in the last third of $life, or the last half of a short life', ({ notAfter, due }) => {
    const notBefore = new Date('2026-01-01T00:00:00Z');
    expect(renewalTime({ notBefore, notAfter: new Date(notAfter) }).toISOString()).toBe(new Date(due).toISOString());
  });
});

test('a certificate whose public key cannot be read has facts all the same, and is for no private key', () => {
  const { leaf, chain, privateKey } = makeCertificate({ names: ['www.example.com'], keyType: 'ec256' });
  const der = Buffer.from(leaf.split('-----')[2] ?? '', 'base64');
  // The OID of EC keys, once: in the subjectPublicKeyInfo.
  const oid = der.indexOf(Buffer.from('2a8648ce3d0201', 'hex'));
  der.writeUInt8(0, oid + 1);
  const broken = `-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----\n`;
  expect(certificateFacts(broken)).toMatchObject({
    identifiers: ['www.example.com'],
    keyType: undefined,
    selfSigned: false,
  });
  const expected = { identifiers: ['www.example.com'], now: NOW };
  expect(failure(() => checkIssued(chain.replace(leaf, broken), new Secret(privateKey), expected)).message).toContain(
    'another private key',
  );
});
