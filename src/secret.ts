import { remember } from './redact.ts';

const REDACTED = '[redacted]';
/** `inspect.custom` of node:util, without loading that. */
const INSPECT = Symbol.for('nodejs.util.inspect.custom');

/**
 * A value that prints as `[redacted]` whichever way it is printed. Only `reveal()` gives it back. From when it is made
 * it is taken out of every error and every log line.
 */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
    remember(value);
  }

  /** The value itself: for the call that needs it, never for a message. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [INSPECT](): string {
    return REDACTED;
  }
}
