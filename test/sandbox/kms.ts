/**
 * A double of Key Management Service, API version 2016-01-20: GenerateDataKey and Decrypt. Errors are the common ones of
 * its documentation (https://www.alibabacloud.com/help/en/kms/key-management-service/support/sample-responses).
 */
import { createCipheriv, createDecipheriv, randomBytes, randomUUID } from 'node:crypto';
import { ApiError, type Product } from './product.ts';

export interface KmsKey {
  readonly keyId: string;
  /** As `alias/name`. */
  readonly alias?: string;
  /** Default: Enabled. */
  state?: 'Enabled' | 'Disabled' | 'PendingDeletion' | 'PendingImport';
}

export interface Kms extends Product {
  /** Read anew for each call. */
  readonly keys: KmsKey[];
}

interface Material {
  readonly keyVersionId: string;
  readonly masterKey: Buffer;
}

const SPECS: Readonly<Record<string, number>> = { AES_256: 32, AES_128: 16 };
const VERSION_ID_LENGTH = 36;
const IV_LENGTH = 12;
const TAG_LENGTH = 16;

export function createKms(keys: KmsKey[] = []): Kms {
  const materials = new Map<string, Material>();

  function material(key: KmsKey): Material {
    const existing = materials.get(key.keyId);
    if (existing !== undefined) return existing;
    const made = { keyVersionId: randomUUID(), masterKey: randomBytes(32) };
    materials.set(key.keyId, made);
    return made;
  }

  function usableKey(keyId: string): KmsKey {
    const isAlias = keyId.startsWith('alias/');
    const key = keys.find((one) => (isAlias ? one.alias : one.keyId) === keyId);
    if (key === undefined) {
      const kind = isAlias ? 'Alias' : 'Key';
      throw new ApiError(404, `Forbidden.${kind}NotFound`, `The specified ${kind} is not found.`);
    }
    const { state = 'Enabled' } = key;
    if (state !== 'Enabled') {
      throw new ApiError(409, `Rejected.${state}`, `The request was rejected because the key state is ${state}.`);
    }
    return key;
  }

  return {
    name: 'kms',
    version: '2016-01-20',
    permissionError: {
      code: 'Forbidden.NoPermission',
      message: 'This operation is forbidden by permission system.',
    },
    keys,
    actions: {
      GenerateDataKey: {
        callsPerSecond: 1000,
        handle: (parameters) => {
          const key = usableKey(needed(parameters, 'KeyId'));
          const plaintext = randomBytes(dataKeyLength(parameters));
          const { keyVersionId, masterKey } = material(key);
          const iv = randomBytes(IV_LENGTH);
          const cipher = createCipheriv('aes-256-gcm', masterKey, iv);
          cipher.setAAD(encryptionContext(parameters));
          const sealed = Buffer.concat([cipher.update(plaintext), cipher.final()]);
          // The documented example begins the same way: the key version's id in clear, then the sealed bytes.
          const blob = Buffer.concat([Buffer.from(keyVersionId), iv, cipher.getAuthTag(), sealed]);
          return {
            CiphertextBlob: blob.toString('base64'),
            KeyId: key.keyId,
            KeyVersionId: keyVersionId,
            Plaintext: plaintext.toString('base64'),
          };
        },
      },
      Decrypt: {
        callsPerSecond: 1000,
        handle: (parameters) => {
          const text = needed(parameters, 'CiphertextBlob');
          const blob = Buffer.from(text, 'base64');
          const keyVersionId = blob.subarray(0, VERSION_ID_LENGTH).toString();
          const found = [...materials].find(([, one]) => one.keyVersionId === keyVersionId);
          const sealedAt = VERSION_ID_LENGTH + IV_LENGTH + TAG_LENGTH;
          if (found === undefined || blob.toString('base64') !== text || blob.length <= sealedAt) {
            throw invalid('CiphertextBlob');
          }
          const [keyId, { masterKey }] = found;
          usableKey(keyId);
          const iv = blob.subarray(VERSION_ID_LENGTH, VERSION_ID_LENGTH + IV_LENGTH);
          const decipher = createDecipheriv('aes-256-gcm', masterKey, iv);
          decipher.setAuthTag(blob.subarray(VERSION_ID_LENGTH + IV_LENGTH, sealedAt));
          decipher.setAAD(encryptionContext(parameters));
          try {
            const plaintext = Buffer.concat([decipher.update(blob.subarray(sealedAt)), decipher.final()]);
            return { KeyId: keyId, KeyVersionId: keyVersionId, Plaintext: plaintext.toString('base64') };
          } catch {
            throw invalid('CiphertextBlob');
          }
        },
      },
    },
  };
}

/** `NumberOfBytes` goes before `KeySpec`; without both the key has 256 bits. */
function dataKeyLength(parameters: Readonly<Record<string, string>>): number {
  const count = parameters['NumberOfBytes'];
  if (count !== undefined) {
    const bytes = /^\d{1,4}$/.test(count) ? Number(count) : 0;
    if (bytes < 1 || bytes > 1024) throw invalid('NumberOfBytes');
    return bytes;
  }
  const length = SPECS[parameters['KeySpec'] ?? 'AES_256'];
  if (length === undefined) throw invalid('KeySpec');
  return length;
}

/** The pairs in one order: the same context must be given to decrypt, however it was written. */
function encryptionContext(parameters: Readonly<Record<string, string>>): Buffer {
  const text = parameters['EncryptionContext'];
  if (text === undefined || text === '') return Buffer.alloc(0);
  let context: unknown;
  try {
    context = JSON.parse(text);
  } catch {
    throw invalid('EncryptionContext');
  }
  if (typeof context !== 'object' || context === null || Array.isArray(context)) throw invalid('EncryptionContext');
  return Buffer.from(JSON.stringify(Object.entries(context).toSorted(([a], [b]) => (a < b ? -1 : 1))));
}

function needed(parameters: Readonly<Record<string, string>>, name: string): string {
  const value = parameters[name];
  if (value !== undefined && value !== '') return value;
  throw new ApiError(400, 'MissingParameter', `The parameter "${name}" is needed but not provided.`);
}

function invalid(name: string): ApiError {
  return new ApiError(400, 'InvalidParameter', `The specified parameter "${name}" is not valid.`);
}
