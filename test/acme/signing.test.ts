import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { domainToASCII } from 'node:url';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createAccountKey, createPrivateKey } from '../../src/acme/keys.ts';
import { createCsr } from '../../src/acme/signing.ts';
import { Secret } from '../../src/secret.ts';
import { failureOf, hostileSession, register } from './session.ts';

/** What the openssl program reads. */
async function openssl(args: readonly string[], input: string): Promise<string> {
  const running = promisify(execFile)('openssl', [...args]);
  running.child.stdin?.end(input);
  return (await running).stdout;
}

async function readCsr(pem: string): Promise<{ readonly names: readonly string[]; readonly subject: string }> {
  const text = await openssl(['req', '-noout', '-text', '-verify', '-nameopt', 'RFC2253'], pem);
  const names = /Subject Alternative Name:\s*\n\s*(.*)/.exec(text)?.[1] ?? '';
  return { names: names.split(', '), subject: /Subject:(.*)/.exec(text)?.[1]?.trim() ?? '' };
}

describe('a CSR as openssl reads it', () => {
  test.each([
    ['šbc.example', 'xn--bc-kta.example'],
    ['中文.example', 'xn--fiq228c.example'],
    ['ａdmin.example', 'admin.example'],
  ])('A13 %s becomes a request for exactly %s', async (unicode, expected) => {
    const { pem } = await createCsr({ identifiers: [domainToASCII(unicode)], privateKey: createAccountKey() });
    expect((await readCsr(pem)).names).toEqual([`DNS:${expected}`]);
  });

  test.each([
    'šbc.example',
    '中文',
    'ａdmin.example',
    'xn--a.ﬁ',
    'a b.example',
    'a\u0000.example',
    'a..example',
    '',
    'a.*.example',
    '*.*.example',
    '-a.example',
    'a.-b.example',
    `${'a'.repeat(64)}.example`,
    `${'a.'.repeat(127)}example`,
  ])('A13 %j never reaches a CSR nor an order', async (identifier) => {
    const identifiers = ['good.example', identifier];
    expect(await failureOf(createCsr({ identifiers, privateKey: createAccountKey() }))).toMatchObject({
      code: 'CONFIG_INVALID',
      retryable: false,
    });
    const { ca, acme } = await hostileSession();
    const account = await register(acme);
    expect(await failureOf(account.newOrder({ identifiers }))).toMatchObject({ code: 'CONFIG_INVALID' });
    expect(ca.count('newOrder')).toBe(0);
  });

  test('A13 whatever text is given, either it is refused or the CSR names exactly it', async () => {
    const privateKey = createAccountKey();
    const alphabet = fc.constantFrom('a', 'Z', '0', '-', '.', '*', '_', ' ', 'š', '中', 'ａ', '\n', ',', '\u0000');
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: alphabet, minLength: 1, maxLength: 8 }), async (identifier) => {
        const csr = await createCsr({ identifiers: [identifier], privateKey }).catch(() => undefined);
        if (csr === undefined) return;
        expect((await readCsr(csr.pem)).names).toEqual([`DNS:${identifier}`]);
      }),
      { numRuns: 60, seed: 13 },
    );
  });

  test('F65 no CSR has a common name, so that a name of more than 64 characters is like any other', async () => {
    const long = `${'a'.repeat(60)}.${'b'.repeat(60)}.example`;
    for (const identifiers of [[long, 'example.com'], ['example.com']]) {
      const { pem } = await createCsr({ identifiers, privateKey: createAccountKey() });
      expect(await readCsr(pem)).toEqual({ names: identifiers.map((each) => `DNS:${each}`), subject: '' });
    }
  });

  test('F64 a hundred names, wildcards and IP addresses are all there, in order', async () => {
    const names = Array.from({ length: 97 }, (_, index) => `host-${index}.example.com`);
    const identifiers = [...names, '*.example.com', '192.0.2.1', '2001:db8::1'];
    const { pem } = await createCsr({ identifiers, privateKey: createAccountKey() });
    expect((await readCsr(pem)).names).toEqual([
      ...names.map((each) => `DNS:${each}`),
      'DNS:*.example.com',
      'IP Address:192.0.2.1',
      'IP Address:2001:DB8:0:0:0:0:0:1',
    ]);
  });

  test.each(['rsa2048', 'rsa3072', 'ec256', 'ec384'] as const)(
    'DER and PEM are the same request, signed by a %s key',
    async (keyType) => {
      const privateKey = await createPrivateKey(keyType);
      const { pem, der } = await createCsr({ identifiers: ['example.com'], privateKey });
      const publicKey = await openssl(['pkey', '-pubout'], privateKey.reveal());
      expect(await openssl(['req', '-noout', '-pubkey'], pem)).toBe(publicKey);
      expect(der.toString('base64')).toBe(pem.replace(/-----[A-Z ]+-----|\s/g, ''));
    },
  );

  test('a request for nothing is refused', async () => {
    expect(await failureOf(createCsr({ identifiers: [], privateKey: createAccountKey() }))).toMatchObject({
      code: 'CONFIG_INVALID',
    });
  });

  test('a key that is neither RSA nor EC is refused, and nothing of it is shown', async () => {
    const { privateKey } = generateKeyPairSync('ed25519', {
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
      publicKeyEncoding: { type: 'spki', format: 'pem' },
    });
    for (const text of [privateKey, 'nonsense']) {
      const error = await failureOf(createCsr({ identifiers: ['example.com'], privateKey: new Secret(text) }));
      expect(error).toMatchObject({ code: 'STORE_CORRUPT' });
      expect(error.cause).toBeUndefined();
      expect(error.message).not.toContain(text);
    }
  });
});

describe('a private key', () => {
  test.each([
    ['rsa2048', 'RSA PRIVATE KEY', 'Private-Key: (2048 bit'],
    ['rsa3072', 'RSA PRIVATE KEY', 'Private-Key: (3072 bit'],
    ['rsa4096', 'RSA PRIVATE KEY', 'Private-Key: (4096 bit'],
    ['ec256', 'EC PRIVATE KEY', 'NIST CURVE: P-256'],
    ['ec384', 'EC PRIVATE KEY', 'NIST CURVE: P-384'],
  ] as const)('of type %s is what openssl says it is', async (keyType, label, kind) => {
    const key = await createPrivateKey(keyType);
    expect(String(key)).toBe('[redacted]');
    expect(key.reveal().split('\n')[0]).toBe(`-----BEGIN ${label}-----`);
    expect(await openssl(['pkey', '-noout', '-text'], key.reveal())).toContain(kind);
  });

  test('is never made twice', async () => {
    const [first, second] = [await createPrivateKey('ec256'), await createPrivateKey('ec256')];
    expect(first.reveal()).not.toBe(second.reveal());
    expect(createAccountKey().reveal()).not.toBe(createAccountKey().reveal());
  });
});
