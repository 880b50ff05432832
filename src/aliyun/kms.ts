import { Secret } from '../secret.ts';
import { AliyunError } from './errors.ts';
import type { Rpc } from './rpc.ts';

/** A key for AES-256 and the same key as only KMS can read it. */
export interface DataKey {
  /** 32 bytes, base64. */
  readonly plaintext: Secret;
  /** Opaque text, to be kept beside what the key encrypts. */
  readonly ciphertextBlob: string;
}

/** Envelope encryption by Key Management Service. Throws AliyunError. */
export interface Kms {
  /** Calls GenerateDataKey. `keyId`: a key's id, its ARN or `alias/name`. */
  generateDataKey(keyId: string): Promise<DataKey>;
  /** Calls Decrypt; the blob itself says which key of KMS it needs. */
  decrypt(ciphertextBlob: string): Promise<Secret>;
}

const VERSION = '2016-01-20';

export function createKms({ rpc, endpoint }: { readonly rpc: Pick<Rpc, 'call'>; readonly endpoint: string }): Kms {
  return {
    async generateDataKey(keyId) {
      const action = 'GenerateDataKey';
      const answer = await rpc.call({
        endpoint,
        version: VERSION,
        action,
        parameters: { KeyId: keyId, KeySpec: 'AES_256' },
      });
      const blob = answer['CiphertextBlob'];
      if (typeof blob !== 'string' || blob === '') throw invalid(action, 'CiphertextBlob');
      return { plaintext: plaintextOf(answer, action), ciphertextBlob: blob };
    },

    async decrypt(ciphertextBlob) {
      const action = 'Decrypt';
      const answer = await rpc.call({
        endpoint,
        version: VERSION,
        action,
        parameters: { CiphertextBlob: ciphertextBlob },
      });
      return plaintextOf(answer, action);
    },
  };
}

function plaintextOf(answer: Record<string, unknown>, action: string): Secret {
  const plaintext = answer['Plaintext'];
  if (typeof plaintext !== 'string' || Buffer.from(plaintext, 'base64').length !== 32)
    throw invalid(action, 'Plaintext of 32 bytes');
  return new Secret(plaintext);
}

function invalid(action: string, missing: string): AliyunError {
  return new AliyunError({
    code: 'RESPONSE_INVALID',
    message: `${action}: the answer has no ${missing}`,
    retryable: false,
    remedy: 'Check that encryption.kmsKeyId is a symmetric key for AES-256 and that endpoints.kms is the API of KMS.',
    action,
  });
}
