import { generateKeyPair, generateKeyPairSync } from 'node:crypto';
import { promisify } from 'node:util';
import { Secret } from '../secret.ts';

const generate = promisify(generateKeyPair);

export type KeyType = 'rsa2048' | 'rsa3072' | 'rsa4096' | 'ec256' | 'ec384';

const MODULUS_LENGTH = { rsa2048: 2048, rsa3072: 3072, rsa4096: 4096 } as const;
const NAMED_CURVE = { ec256: 'P-256', ec384: 'P-384' } as const;

/**
 * A new private key for a certificate, as the PEM that Alibaba Cloud CDN takes: `RSA PRIVATE KEY` (PKCS#1, RFC 8017) or
 * `EC PRIVATE KEY` (SEC1, RFC 5915). RSA keys are made off the event loop: a 4096-bit one takes seconds.
 */
export async function createPrivateKey(keyType: KeyType): Promise<Secret> {
  if (keyType === 'ec256' || keyType === 'ec384') {
    const { privateKey } = await generate('ec', { namedCurve: NAMED_CURVE[keyType] });
    return new Secret(privateKey.export({ type: 'sec1', format: 'pem' }).toString());
  }
  const { privateKey } = await generate('rsa', { modulusLength: MODULUS_LENGTH[keyType] });
  return new Secret(privateKey.export({ type: 'pkcs1', format: 'pem' }).toString());
}

/** A new account key: EC P-256, PEM (SEC1). Every ACME server must take ES256 (RFC 8555 section 6.2). */
export function createAccountKey(): Secret {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return new Secret(privateKey.export({ type: 'sec1', format: 'pem' }).toString());
}
