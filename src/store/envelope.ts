import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';

/**
 * An encrypted object: `ACE`, the version 1, the kind of its key, the key's id with its length in two octets (big
 * endian), a 96-bit nonce, a 128-bit tag, then the bytes by AES-256-GCM (NIST SP 800-38D). Authenticated with it are the
 * header and the object's key, so that no object can stand in for another.
 */
export interface Envelope {
  readonly kind: 'local' | 'kms';
  /** local: the first 8 octets of the key's SHA-256. kms: the CiphertextBlob of the data key. */
  readonly keyId: Buffer;
  readonly header: Buffer;
  readonly nonce: Buffer;
  readonly tag: Buffer;
  readonly sealed: Buffer;
}

const MAGIC = Buffer.from('ACE\x01');
const KINDS = { local: 1, kms: 2 } as const;
const NONCE_LENGTH = 12;
const TAG_LENGTH = 16;

/** `key`: 32 octets. `name`: the object's key. */
export function seal(bytes: Uint8Array, name: string, key: Buffer, kind: Envelope['kind'], keyId: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(keyId.length);
  const header = Buffer.concat([MAGIC, Buffer.from([KINDS[kind]]), length, keyId]);
  const nonce = randomBytes(NONCE_LENGTH);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.concat([header, Buffer.from(name)]));
  const sealed = Buffer.concat([cipher.update(bytes), cipher.final()]);
  return Buffer.concat([header, nonce, cipher.getAuthTag(), sealed]);
}

/** Undefined for bytes that are no envelope: written before encryption. 'broken' for one that is cut off or unknown. */
export function readEnvelope(bytes: Uint8Array): Envelope | 'broken' | undefined {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (!all.subarray(0, 3).equals(MAGIC.subarray(0, 3))) return undefined;
  if (all.length < 7 || all[3] !== MAGIC[3]) return 'broken';
  const kind = all[4] === KINDS.local ? 'local' : all[4] === KINDS.kms ? 'kms' : undefined;
  const nonceAt = 7 + all.readUInt16BE(5);
  const sealedAt = nonceAt + NONCE_LENGTH + TAG_LENGTH;
  if (kind === undefined || all.length < sealedAt) return 'broken';
  return {
    kind,
    keyId: all.subarray(7, nonceAt),
    header: all.subarray(0, nonceAt),
    nonce: all.subarray(nonceAt, nonceAt + NONCE_LENGTH),
    tag: all.subarray(nonceAt + NONCE_LENGTH, sealedAt),
    sealed: all.subarray(sealedAt),
  };
}

/** The bytes, or undefined when the envelope, the name or the key is not the one it was sealed with. */
export function unseal(envelope: Envelope, name: string, key: Buffer): Buffer | undefined {
  const decipher = createDecipheriv('aes-256-gcm', key, envelope.nonce, { authTagLength: TAG_LENGTH });
  decipher.setAAD(Buffer.concat([envelope.header, Buffer.from(name)])).setAuthTag(envelope.tag);
  try {
    return Buffer.concat([decipher.update(envelope.sealed), decipher.final()]);
  } catch {
    return undefined;
  }
}

export function localKeyId(key: Buffer): Buffer {
  return createHash('sha256').update(key).digest().subarray(0, 8);
}
