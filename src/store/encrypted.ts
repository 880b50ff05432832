import type { DataKey, Kms } from '../aliyun/kms.ts';
import type { Logger } from '../deps.ts';
import { AutocertError } from '../errors.ts';
import type { Store } from '../record.ts';
import type { Secret } from '../secret.ts';
import { type Envelope, localKeyId, readEnvelope, seal, unseal } from './envelope.ts';
import { storeError } from './failure.ts';

/** What a store is encrypted with. Keys are 32 bytes in base64. */
export type Encryption = (
  | { readonly key: Secret }
  /** A data key of KMS for each run. */
  | { readonly kms: Kms; readonly kmsKeyId: string }
) & {
  /** Keys that objects may still be encrypted with: for reading only. */
  readonly previousKeys: readonly Secret[];
};

export interface EncryptedStoreOptions {
  readonly store: Store;
  readonly encryption: Encryption;
  readonly log: Logger;
}

/**
 * Encrypts what goes into `store` and decrypts what comes out; keys and their order stay in clear. An object written
 * before encryption was configured is read as it is, with a warning, and is encrypted when it is next written. Throws
 * besides the store's errors STORE_KEY_WRONG for an object of a key it does not have, and STORE_CORRUPT for one that was
 * changed.
 */
export function createEncryptedStore({ store, encryption, log }: EncryptedStoreOptions): Store {
  const localKeys = ['key' in encryption ? [encryption.key] : [], encryption.previousKeys].flat().map(toBytes);
  const unsealed = new Map<string, Promise<Buffer>>();
  let dataKey: Promise<DataKey> | undefined;

  async function sealed(name: string, bytes: Uint8Array): Promise<Uint8Array> {
    if ('key' in encryption) {
      const key = toBytes(encryption.key);
      return seal(bytes, name, key, 'local', localKeyId(key));
    }
    dataKey ??= encryption.kms.generateDataKey(encryption.kmsKeyId);
    try {
      const { plaintext, ciphertextBlob } = await dataKey;
      unsealed.set(ciphertextBlob, Promise.resolve(toBytes(plaintext)));
      return seal(bytes, name, toBytes(plaintext), 'kms', Buffer.from(ciphertextBlob));
    } catch (error) {
      dataKey = undefined;
      throw fromKms(error, 'STORE_UNWRITABLE', `${name} cannot be encrypted`);
    }
  }

  async function keyOf({ kind, keyId }: Envelope, name: string): Promise<Buffer> {
    if (kind === 'local') {
      const found = localKeys.find((key) => localKeyId(key).equals(keyId));
      if (found) return found;
      throw keyWrong(name, `Put the key that it was encrypted with into encryption.key or encryption.previousKeys.`);
    }
    if (!('kms' in encryption)) throw keyWrong(name, 'It was encrypted by KMS: set encryption.kmsKeyId as before.');
    const blob = keyId.toString();
    const key = unsealed.get(blob) ?? encryption.kms.decrypt(blob).then(toBytes);
    unsealed.set(blob, key);
    try {
      return await key;
    } catch (error) {
      unsealed.delete(blob);
      throw fromKms(error, 'STORE_UNREADABLE', `${name} cannot be decrypted`);
    }
  }

  return {
    async get(name) {
      const bytes = await store.get(name);
      if (bytes === undefined) return undefined;
      const envelope = readEnvelope(bytes);
      if (envelope === undefined) {
        log.warn('store_object_not_encrypted', { key: name });
        return bytes;
      }
      if (envelope === 'broken') throw corrupt(name);
      const opened = unseal(envelope, name, await keyOf(envelope, name));
      if (opened === undefined) throw corrupt(name);
      return opened;
    },

    async put(name, bytes, options) {
      return store.put(name, await sealed(name, bytes), options);
    },

    delete: (name) => store.delete(name),
    list: (prefix) => store.list(prefix),
    beneath: store,
  };
}

function toBytes(key: Secret): Buffer {
  return Buffer.from(key.reveal(), 'base64');
}

function keyWrong(name: string, remedy: string): AutocertError {
  return storeError({ code: 'STORE_KEY_WRONG', message: `${name} is encrypted with another key`, remedy });
}

function corrupt(name: string): AutocertError {
  return storeError({
    code: 'STORE_CORRUPT',
    message: `${name} is not what was written: its bytes were changed, cut off or moved here from another key`,
    remedy: `Restore ${name} from a backup, or delete it: what it held is then made anew.`,
  });
}

function fromKms(error: unknown, code: 'STORE_UNREADABLE' | 'STORE_UNWRITABLE', what: string): unknown {
  if (!(error instanceof AutocertError)) return error;
  const { message, remedy, retryable } = error;
  const kept = error.code === 'STORE_KEY_WRONG' ? error.code : code;
  return storeError({ code: kept, message: `${what}: ${message}`, remedy, retryable, cause: error });
}
