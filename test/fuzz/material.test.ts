import { createPrivateKey, createPublicKey } from 'node:crypto';
import fc from 'fast-check';
import * as v from 'valibot';
import { expect, test } from 'vitest';
import { certificateFacts, checkIssued, keyPem, parseCertificates, renewalTime } from '../../src/certificate.ts';
import { elements, oidOf } from '../../src/der.ts';
import { normaliseDomain, normaliseIdentifier } from '../../src/identifier.ts';
import { readAccount, readBundle, readIndex, readOrder, readRecord, type Store } from '../../src/record.ts';
import { Secret } from '../../src/secret.ts';
import { createEncryptedStore } from '../../src/store/encrypted.ts';
import { localKeyId, seal } from '../../src/store/envelope.ts';
import { steppedDeps } from '../aliyun/loopback.ts';
import { makeCertificate } from '../sandbox/certificates.ts';
import { broken, garbled, LONGEST, survives, times } from './hostile.ts';

const NOW = new Date('2026-01-02T03:04:05Z');
const ec = makeCertificate({ names: ['www.example.com'], keyType: 'ec256' });
const rsa = makeCertificate({ names: ['*.example.com', 'example.com'], keyType: 'rsa2048' });
const der = Buffer.from(ec.chain.split('-----')[2] ?? '', 'base64');

/** DER with some of its octets changed, as PEM. */
const wrongDer = fc
  .array(fc.tuple(fc.nat(der.length - 1), fc.oneof(fc.nat(255), fc.constantFrom(0x80, 0x84, 0xff, 0x00))), {
    minLength: 1,
    maxLength: 4,
  })
  .map((changes) => {
    const changed = Buffer.from(der);
    for (const [at, octet] of changes) changed[at] = octet;
    return `-----BEGIN CERTIFICATE-----\n${changed.toString('base64')}\n-----END CERTIFICATE-----\n`;
  });

async function readsCertificates(pem: string): Promise<void> {
  await survives(() => parseCertificates(pem));
  await survives(() => renewalTime(certificateFacts(pem)));
  await survives(() => checkIssued(pem, new Secret(ec.privateKey), { identifiers: ['www.example.com'], now: NOW }));
}

test(
  'F15 certificates with octets that are not',
  () => fc.assert(fc.asyncProperty(wrongDer, readsCertificates), times(600)),
  LONGEST,
);
test(
  'F15 PEM, garbled',
  () => {
    const words = [
      '-----BEGIN CERTIFICATE-----',
      '-----END CERTIFICATE-----',
      '\r\n',
      '-----BEGIN RSA PRIVATE KEY-----',
    ];
    return fc.assert(
      fc.asyncProperty(
        fc.oneof(garbled(ec.chain + rsa.chain, words), fc.string({ unit: 'binary' })),
        readsCertificates,
      ),
      times(300),
    );
  },
  LONGEST,
);

test(
  'private keys, garbled',
  () =>
    fc.assert(
      fc.asyncProperty(
        fc.oneof(garbled(ec.privateKey, ['ENCRYPTED ', 'EC ']), garbled(rsa.privateKey), fc.string({ unit: 'binary' })),
        (key) => survives(() => checkIssued(ec.chain, new Secret(key), { identifiers: ['www.example.com'], now: NOW })),
      ),
      times(300),
    ),
  LONGEST,
);

test('a good key is written in PEM that reads as the same key', () => {
  for (const { privateKey } of [ec, rsa]) {
    const key = createPrivateKey(privateKey);
    expect(createPublicKey(keyPem(key)).equals(createPublicKey(privateKey))).toBe(true);
  }
});

test(
  'DER of any octets is read to its end, or is out of range',
  () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (octets) => {
        try {
          for (const element of elements(Buffer.from(octets))) oidOf(element);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
      times(3000),
    );
  },
  LONGEST,
);

test(
  'F63 names',
  () => {
    const words = fc.array(
      fc.constantFrom(
        '.',
        '*',
        'xn--',
        'a',
        'ß',
        'ａ',
        '。',
        '-',
        '1',
        '0x',
        '[',
        ']',
        ':',
        '\u202e',
        '\u200d',
        'com',
        ' ',
        '_',
      ),
      { maxLength: 20 },
    );
    return fc.assert(
      fc.asyncProperty(
        fc.oneof(
          words.map((parts) => parts.join('')),
          fc.string({ unit: 'binary', maxLength: 300 }),
        ),
        (name) =>
          survives(() => {
            for (const { name: found } of [normaliseIdentifier(name), normaliseDomain(name)]) {
              if (found === undefined) continue;
              expect(found).toMatch(/^(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)+$/);
              expect(normaliseIdentifier(found).name, 'once is enough').toBe(found);
            }
          }),
      ),
      times(3000),
    );
  },
  LONGEST,
);

const CA = 'https://ca.example/dir';
const RECORD = {
  version: 1,
  name: 'www',
  deployed: { 'www.example.com': 'n' },
  certificate: {
    fingerprint: 'ab',
    serial: '1',
    identifiers: ['www.example.com'],
    keyType: 'ec256',
    directoryUrl: CA,
    notBefore: '2026-01-01T00:00:00Z',
    notAfter: '2026-04-01T00:00:00Z',
  },
  advice: {
    start: '2026-03-01T00:00:00Z',
    end: '2026-03-02T00:00:00Z',
    selectedTime: '2026-03-01T12:00:00Z',
    retryAfter: '2026-01-03T00:00:00Z',
  },
  failures: {
    count: 1,
    since: '2026-01-01T00:00:00Z',
    nextAttemptAt: '2026-01-02T00:00:00Z',
    code: 'INTERNAL',
    message: 'm',
  },
};
const OBJECTS: readonly unknown[] = [
  RECORD,
  { version: 1, working: ['www'], records: [RECORD] },
  { version: 1, chain: ec.chain, privateKey: ec.privateKey },
  {
    version: 1,
    directoryUrl: CA,
    identifiers: ['www.example.com'],
    keyType: 'ec256',
    privateKey: ec.privateKey,
    createdAt: '2026-01-01T00:00:00Z',
    challenges: [],
  },
  { version: 1, directoryUrl: CA, privateKey: ec.privateKey, url: 'https://ca.example/a/1' },
];

function holding(bytes: Uint8Array): Store {
  return { get: async () => bytes, put: async () => true, delete: async () => undefined, list: async () => [] };
}

async function readsStore(store: Store): Promise<void> {
  await survives(() => readRecord(store, 'www'));
  await survives(() => readIndex(store));
  await survives(() => readBundle(store, 'www', 'ab'));
  await survives(() => readOrder(store, 'www', CA, undefined));
  await survives(() => readAccount(store, CA));
}

test(
  'F46 objects of the store with values that are not, garbled, or bytes',
  () => {
    const objects = OBJECTS.flatMap((sample) => [
      broken(sample).map((value) => JSON.stringify(value) ?? ''),
      garbled(JSON.stringify(sample), ['"version":2,']),
    ]);
    const bytes = fc.oneof(
      ...objects.map((object) => object.map((text) => Buffer.from(text))),
      fc.uint8Array({ maxLength: 100 }),
    );
    return fc.assert(
      fc.asyncProperty(bytes, (object) => readsStore(holding(object))),
      times(600),
    );
  },
  LONGEST,
);

test(
  'F46 encrypted objects with octets that are not',
  () => {
    const key = Buffer.alloc(32, 7);
    const sealed = seal(
      Buffer.from(JSON.stringify(RECORD)),
      'certificates/www/record.json',
      key,
      'local',
      localKeyId(key),
    );
    const changed = fc
      .record({ at: fc.nat(sealed.length - 1), octet: fc.nat(255), end: fc.nat(sealed.length) })
      .map(({ at, octet, end }) => {
        const bytes = Buffer.from(sealed);
        bytes[at] = octet;
        return bytes.subarray(0, end % 3 === 0 ? end : undefined);
      });
    const { log } = steppedDeps();
    return fc.assert(
      fc.asyncProperty(
        fc.oneof(
          changed,
          fc.uint8Array({ maxLength: 80 }).map((octets) => Buffer.concat([Buffer.from('ACE\x01'), octets])),
        ),
        (bytes) => {
          const encryption = { key: new Secret(key.toString('base64')), previousKeys: [] };
          return readsStore(createEncryptedStore({ store: holding(bytes), encryption, log }));
        },
      ),
      times(500),
    );
  },
  LONGEST,
);

test('the samples are good ones', async () => {
  expect((await readRecord(holding(Buffer.from(JSON.stringify(RECORD))), 'www')).certificate?.serial).toBe('1');
  expect(v.is(v.string(), certificateFacts(ec.chain).certId ?? '')).toBe(true);
});
