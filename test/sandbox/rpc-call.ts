/** The record of the calls a server saw: what tests read, free of key material. */
import type { Product } from './product.ts';

/** One call as the server saw it, in the order of arrival. */
export interface RecordedCall {
  /** Milliseconds of a monotonic clock at the arrival; only differences mean something. */
  readonly at: number;
  readonly action: string;
  /** The API's own parameters; key material is replaced by `[key material]`. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly user: string | undefined;
  /** The HTTP status, 0 for a call without an answer. */
  readonly status: number;
  /** The answer's `Code`, `OK` for a success, or the interception's name. */
  readonly code: string;
}

/** What is known of a call while it is handled. */
export interface Trace {
  action: string;
  parameters: Readonly<Record<string, string>>;
  user: string | undefined;
  product: Product | undefined;
}

const KEY_PARAMETERS = new Set(['PrivateKey', 'SSLPri']);

export function isKeyMaterial(name: string, value: string): boolean {
  return (KEY_PARAMETERS.has(name) && value !== '') || value.includes('PRIVATE KEY');
}

export function record(at: number, trace: Trace, status: number, code: string): RecordedCall {
  const parameters = Object.fromEntries(
    Object.entries(trace.parameters).map(([name, value]) => [
      name,
      isKeyMaterial(name, value) ? '[key material]' : value,
    ]),
  );
  return { at, action: trace.action, parameters, user: trace.user, status, code };
}

/** The most calls within any span of one second. */
export function maxInAnySecond(calls: readonly RecordedCall[]): number {
  const times = calls.map(({ at }) => at).toSorted((a, b) => a - b);
  return times.reduce((most, start, i) => {
    const within = times.slice(i).filter((time) => time < start + 1000).length;
    return Math.max(most, within);
  }, 0);
}
