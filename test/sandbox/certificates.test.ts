import { execFileSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { defaultCa, makeCa, makeCertificate } from './certificates.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'certificates-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

describe('makeCertificate', () => {
  for (const keyType of ['rsa2048', 'ec256'] as const) {
    test(`makes an ${keyType} chain that openssl verifies for its names`, () => {
      const made = makeCertificate({ names: ['www.example.com', '*.example.org'], keyType });
      const root = file(`${keyType}-root.pem`, defaultCa().root);
      const intermediate = file(`${keyType}-intermediate.pem`, defaultCa().intermediate);
      const leaf = file(`${keyType}-leaf.pem`, made.leaf);
      const at = String(Date.parse('2026-02-01T00:00:00Z') / 1000);
      for (const host of ['www.example.com', 'a.example.org']) {
        const answer = execFileSync('openssl', [
          'verify',
          '-x509_strict',
          '-attime',
          at,
          '-purpose',
          'sslserver',
          '-verify_hostname',
          host,
          '-CAfile',
          root,
          '-untrusted',
          intermediate,
          leaf,
        ]);
        expect(answer.toString()).toContain('OK');
      }
    });
  }

  test('gives what it says: fingerprint, serial number, dates, key and shape', () => {
    const made = makeCertificate({
      names: ['www.example.com', '192.0.2.1'],
      notBefore: new Date('2026-01-02T03:04:05Z'),
      notAfter: new Date('2051-01-02T03:04:05Z'),
      serialNumber: '1a2b3c',
      keyType: 'rsa2048',
    });
    const certificate = new X509Certificate(made.chain);
    expect(made.fingerprint).toBe(certificate.fingerprint256.replaceAll(':', '').toLowerCase());
    expect(certificate.serialNumber).toBe('1A2B3C');
    expect(certificate.validFrom).toBe('Jan  2 03:04:05 2026 GMT');
    expect(certificate.validTo).toBe('Jan  2 03:04:05 2051 GMT');
    expect(certificate.subjectAltName).toBe('DNS:www.example.com, IP Address:192.0.2.1');
    expect(certificate.checkPrivateKey(createPrivateKey(made.privateKey))).toBe(true);
    expect(made.privateKey).toMatch(/^-----BEGIN RSA PRIVATE KEY-----\n/);
    expect(made.chain).not.toMatch(/\n\n|\r/);
  });

  test('leaves the subject empty when asked, and never gives neighbours the same key', () => {
    const first = makeCertificate({ names: ['a.example.com'], commonName: false });
    const second = makeCertificate({ names: ['b.example.com'] });
    expect(new X509Certificate(first.leaf).subject).toBeUndefined();
    expect(new X509Certificate(second.leaf).subject).toBe('CN=b.example.com');
    expect(first.privateKey).toMatch(/^-----BEGIN EC PRIVATE KEY-----\n/);
    expect(first.privateKey).not.toBe(second.privateKey);
    expect(makeCertificate({ names: ['c.example.com'], privateKey: first.privateKey }).privateKey).toBe(
      first.privateKey,
    );
  });

  test('an issuer of its own signs instead of the shared one', () => {
    const staging = makeCa('(STAGING) Example');
    const made = makeCertificate({ names: ['www.example.com'], issuer: staging });
    const leaf = new X509Certificate(made.leaf);
    expect(leaf.issuer).toBe('CN=(STAGING) Example');
    expect(leaf.verify(new X509Certificate(staging.intermediate).publicKey)).toBe(true);
    expect(leaf.verify(new X509Certificate(defaultCa().intermediate).publicKey)).toBe(false);
  });
});
