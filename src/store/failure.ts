import { AutocertError, type ErrorCode } from '../errors.ts';

export interface StoreFailure {
  readonly code: Extract<ErrorCode, `STORE_${string}`>;
  readonly message: string;
  readonly remedy: string;
  readonly retryable?: boolean;
  readonly cause?: unknown;
}

export function storeError({ retryable = false, cause, ...failure }: StoreFailure): AutocertError {
  const requestId = cause instanceof AutocertError ? cause.requestId : undefined;
  return new AutocertError({ ...failure, retryable, cause, requestId });
}

/** Segments of letters, digits and `! ( ) _ . * ~ @ = + -`: the same key is good for a file and for an object. */
function isStoreKey(key: string): boolean {
  if (key.length === 0 || key.length > 512) return false;
  return key.split('/').every((part) => /^[A-Za-z0-9!()_.*~@=+-]{1,128}$/.test(part) && part !== '.' && part !== '..');
}

/** Throws for a key that could lead out of the store. Such a key is a defect of the caller. */
export function checkKey(key: string, code: 'STORE_UNREADABLE' | 'STORE_UNWRITABLE'): void {
  if (isStoreKey(key)) return;
  throw storeError({
    code,
    message: `${JSON.stringify(key.slice(0, 100))} is no key of a store`,
    remedy: 'This is a defect of aliyun-cdn-autocert: please report it with this message.',
  });
}
