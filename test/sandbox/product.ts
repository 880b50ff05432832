/**
 * One product of the sandbox's cloud API: the actions of one RPC endpoint (`cdn.aliyuncs.com`, `alidns.aliyuncs.com`, ...).
 * The RPC server checks signature, nonce, clock, STS token and calls per second before a handler sees a call.
 */
export interface Product {
  /** The endpoint's first label: cdn, alidns, kms. */
  readonly name: string;
  readonly version: string;
  readonly actions: Readonly<Record<string, Action>>;
}

export interface Action {
  /** The documented number of calls a second for each user. */
  readonly callsPerSecond: number;
  handle(parameters: Readonly<Record<string, string>>, now: Date): Promise<object> | object;
}

/** What the documented error answers are made of: status, `Code`, `Message`. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}
