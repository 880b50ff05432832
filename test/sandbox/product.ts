/**
 * One product of the sandbox's cloud API: the actions of one RPC endpoint (`cdn.aliyuncs.com`, `alidns.aliyuncs.com`, ...).
 * The RPC server checks signature, nonce, clock, STS token and calls per second before a handler sees a call.
 */
export interface Product {
  /** The endpoint's first label: cdn, alidns, kms. It makes the `HostId` of error answers and the RAM action's prefix. */
  readonly name: string;
  readonly version: string;
  readonly actions: Readonly<Record<string, Action>>;
  /** What this product answers when RAM refuses a call. Default: 403 `Forbidden.RAM`. */
  readonly permissionError?: { readonly code: string; readonly message: string };
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

/** The value of a parameter the API requires; the gateway answers `Missing{ParameterName}` without it. */
export function required(parameters: Readonly<Record<string, string>>, name: string): string {
  const value = parameters[name];
  if (value === undefined || value === '') {
    throw new ApiError(400, `Missing${name}`, `${name} is mandatory for this action.`);
  }
  return value;
}

/** An integer parameter within its documented range, or its default; 400 `InvalidParameter` outside of it. */
export function integer(
  parameters: Readonly<Record<string, string>>,
  name: string,
  range: { readonly minimum: number; readonly maximum: number; readonly otherwise: number },
): number {
  const text = parameters[name];
  if (text === undefined || text === '') return range.otherwise;
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= range.minimum && value <= range.maximum)) {
    throw new ApiError(400, 'InvalidParameter', `The specified parameter "${name}" is not valid.`);
  }
  return value;
}
