/**
 * A double of the RPC gateway in front of Alibaba Cloud's products: common parameters, AccessKeys and STS tokens,
 * signatures, nonces, clock, RAM and calls per second. All products share one port: a call finds its product by
 * `Version` and `Action`. Answers are JSON. Sources: the public error codes of the API gateway
 * (https://help.aliyun.com/document_detail/53438.html) and the documentation of each product.
 */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { performance } from 'node:perf_hooks';
import { injected } from './injections.ts';
import { type Action, ApiError, type Product } from './product.ts';
import { type Account, createAuthenticator, PermissionError } from './rpc-account.ts';
import { isKeyMaterial, maxInAnySecond, type RecordedCall, record, type Trace } from './rpc-call.ts';
import { type ReceivedRequest, readSignedCall, type SignedCall } from './rpc-signature.ts';

/** What a hook sees of a call that passed every check of the gateway. */
export interface InterceptedCall {
  readonly action: string;
  /** The API's own parameters, key material included. */
  readonly parameters: Readonly<Record<string, string>>;
  /** 1 for the first call of this action that passed the checks. */
  readonly nth: number;
}

/**
 * What a hook may do instead of an ordinary answer. `hang` never answers, `reset` cuts the connection before the call
 * has any effect, `reset-after` when it had its effect; a delay lets the call go on afterwards.
 */
export type Interception =
  | ApiError
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body: string }
  | { readonly delayMilliseconds: number }
  | 'hang'
  | 'reset'
  | 'reset-after';

export type Hook = (call: InterceptedCall) => Interception | undefined | Promise<Interception | undefined>;

export interface RpcServer {
  /** `http://127.0.0.1:port`, as pop-core's `endpoint` takes it. */
  readonly url: string;
  /** `127.0.0.1:port`, as the generated SDKs' `endpoint` takes it, with protocol HTTP. */
  readonly endpoint: string;
  /** Every call that carried a readable action. */
  readonly calls: readonly RecordedCall[];
  /** Rules a client broke, without the secret itself. A test that finds one has found a leak. */
  readonly violations: readonly string[];
  callsOf(action: string): RecordedCall[];
  /** The most calls of `action` that arrived within any one second, refused ones among them. */
  maxCallsInAnySecond(action: string): number;
  /** Adds a hook; of several, the first that answers counts. Returns what removes it. */
  intercept(hook: Hook): () => void;
  /** From now on the action answers 404 `InvalidApi.NotFound`, as one that was switched off. */
  removeAction(action: string): void;
  /** Ends every connection, answered or not. */
  close(): Promise<void>;
}

export interface RpcServerOptions {
  readonly products: readonly Product[];
  /** Read anew for each call: a test may push to it or replace an element. */
  readonly accounts: readonly Account[];
  /** The clock of the timestamp and token checks, and what handlers get as now. Default: the real one. */
  readonly now?: () => Date;
  /** Milliseconds of the clock that counts calls per second. Default, and right for all but tests of it: the real one. */
  readonly monotonicNow?: () => number;
}

const MAX_BODY_BYTES = 1 << 20;

/** Starts the gateway on a free port of 127.0.0.1. */
export async function startRpcServer(options: RpcServerOptions): Promise<RpcServer> {
  const { products, accounts } = options;
  const now = options.now ?? (() => new Date());
  const monotonicNow = options.monotonicNow ?? (() => performance.now());
  const calls: RecordedCall[] = [];
  const violations: string[] = [];
  const hooks: Hook[] = [];
  const removed = new Set<string>();
  const authenticate = createAuthenticator(accounts, now);
  const passed = new Map<string, number>();
  const windows = new Map<string, number[]>();
  const timers = new Set<NodeJS.Timeout>();

  const server = createServer({ maxHeaderSize: 1 << 17 }, (request, response) => {
    answer(request, response).catch(() => response.destroy());
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const at = monotonicNow();
    const received = await receive(request);
    const trace: Trace = { action: actionOf(received), parameters: {}, user: undefined, product: undefined };
    // Taken at arrival, so that the list keeps the order in which calls came, not that of their answers.
    const index = trace.action === '' ? -1 : calls.push(record(at, trace, 0, 'unanswered')) - 1;
    const finish = (status: number, code: string): void => {
      if (index >= 0) calls[index] = record(at, trace, status, code);
    };
    try {
      const outcome = await handle(received, at, trace);
      if (outcome === 'hang') return finish(0, 'hang');
      if (outcome === 'reset' || outcome === 'reset-after') {
        finish(0, outcome);
        request.socket.resetAndDestroy();
        return;
      }
      finish(outcome.status, outcome.code);
      response.writeHead(outcome.status, { Date: now().toUTCString(), ...outcome.headers }).end(outcome.body);
    } catch (error) {
      const problem =
        error instanceof ApiError ? error : new ApiError(500, 'InternalError', `The sandbox failed: ${String(error)}`);
      finish(problem.status, problem.code);
      response.writeHead(problem.status, { Date: now().toUTCString(), ...JSON_HEADERS }).end(errorBody(problem, trace));
    }
  }

  async function handle(received: ReceivedRequest, at: number, trace: Trace): Promise<Outcome> {
    refuseSecretsInUrl(received, trace.action, violations);
    if (received.method !== 'POST' && received.method !== 'GET') {
      throw new ApiError(403, 'UnsupportedHTTPMethod', 'This http method is not supported.');
    }
    const call = readSignedCall(received);
    trace.parameters = call.parameters;
    const action = admit(call, trace, at);

    const nth = (passed.get(call.action) ?? 0) + 1;
    passed.set(call.action, nth);
    const interception = await firstInterception({ action: call.action, parameters: call.parameters, nth });
    if (interception !== undefined) injected();
    if (interception instanceof ApiError) throw interception;
    if (interception === 'hang' || interception === 'reset') return interception;
    if (typeof interception === 'object' && 'status' in interception) {
      return {
        status: interception.status,
        headers: { ...interception.headers },
        body: interception.body,
        code: 'raw',
      };
    }
    if (typeof interception === 'object') await wait(interception.delayMilliseconds);
    const result = await action.handle(call.parameters, now());
    if (interception === 'reset-after') return interception;
    const body = JSON.stringify({ RequestId: newRequestId(), ...result });
    return { status: 200, headers: JSON_HEADERS, body, code: 'OK' };
  }

  /** Whatever is refused here is refused because a test made it so. */
  function admit(call: SignedCall, trace: Trace, at: number): Action {
    try {
      const found = findAction(call);
      trace.product = found.product;
      const account = authenticate(call);
      trace.user = account.userId;
      if (account.denied?.includes(call.action)) throw new PermissionError(found.product, account, call.action);
      throttle(`${account.userId} ${call.action}`, found.action.callsPerSecond, at);
      return found.action;
    } catch (refusal) {
      injected();
      throw refusal;
    }
  }

  function findAction(call: SignedCall): { product: Product; action: Action } {
    const ofVersion = products.filter((product) => product.version === call.version);
    if (ofVersion.length === 0) throw new ApiError(400, 'InvalidVersion', 'Specified parameter Version is not valid.');
    for (const product of ofVersion) {
      const action = Object.hasOwn(product.actions, call.action) ? product.actions[call.action] : undefined;
      if (action !== undefined && !removed.has(call.action)) return { product, action };
    }
    throw new ApiError(404, 'InvalidApi.NotFound', 'Specified api is not found, please check your url and method.');
  }

  /** Refuses a call when `limit` calls were let through in the second before it. */
  function throttle(key: string, limit: number, at: number): void {
    const recent = (windows.get(key) ?? []).filter((earlier) => earlier > at - 1000);
    windows.set(key, recent);
    if (recent.length >= limit) {
      throw new ApiError(400, 'Throttling.User', 'Request was denied due to user flow control.');
    }
    recent.push(at);
  }

  async function firstInterception(call: InterceptedCall): Promise<Interception | undefined> {
    for (const hook of [...hooks]) {
      const interception = await hook(call);
      if (interception !== undefined) return interception;
    }
    return undefined;
  }

  function wait(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        timers.delete(timer);
        resolve();
      }, milliseconds);
      timers.add(timer);
    });
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const endpoint = `127.0.0.1:${portOf(server.address())}`;

  return {
    url: `http://${endpoint}`,
    endpoint,
    calls,
    violations,
    callsOf: (action) => calls.filter((call) => call.action === action),
    maxCallsInAnySecond: (action) => maxInAnySecond(calls.filter((call) => call.action === action)),
    intercept: (hook) => {
      hooks.push(hook);
      return () => {
        const index = hooks.indexOf(hook);
        if (index >= 0) hooks.splice(index, 1);
      };
    },
    removeAction: (action) => {
      removed.add(action);
    },
    close: () =>
      new Promise((resolve) => {
        for (const timer of timers) clearTimeout(timer);
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

type Outcome =
  | { readonly status: number; readonly headers: Record<string, string>; readonly body: string; readonly code: string }
  | 'hang'
  | 'reset'
  | 'reset-after';

const JSON_HEADERS = { 'content-type': 'application/json;charset=utf-8' };

function errorBody(error: ApiError, trace: Trace): string {
  const detail = error instanceof PermissionError ? { AccessDeniedDetail: error.accessDeniedDetail } : {};
  return JSON.stringify({
    RequestId: newRequestId(),
    HostId: `${trace.product?.name ?? 'sandbox'}.aliyuncs.com`,
    Code: error.code,
    Message: error.message,
    Recommend: `https://api.aliyun.com/troubleshoot?q=${encodeURIComponent(error.code)}`,
    ...detail,
  });
}

function newRequestId(): string {
  return randomUUID().toUpperCase();
}

async function receive(request: IncomingMessage): Promise<ReceivedRequest> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    const bytes = Buffer.from(chunk);
    size += bytes.length;
    if (size > MAX_BODY_BYTES) throw new Error('the body is too long');
    chunks.push(bytes);
  }
  const body = Buffer.concat(chunks);
  const isForm = request.headers['content-type']?.startsWith('application/x-www-form-urlencoded') ?? false;
  return {
    method: request.method ?? '',
    query: new Map(new URL(request.url ?? '/', 'http://sandbox').searchParams),
    form: new Map(isForm ? new URLSearchParams(body.toString()) : []),
    body,
    headers: request.headers,
  };
}

function actionOf({ query, form, headers }: ReceivedRequest): string {
  const header = headers['x-acs-action'];
  return form.get('Action') ?? query.get('Action') ?? (typeof header === 'string' ? header : '');
}

/**
 * URLs end in access logs. The real gateway takes a private key there; the sandbox refuses it with a code of its own.
 * A SecurityToken in the URL is noted and let through.
 */
function refuseSecretsInUrl({ query }: ReceivedRequest, action: string, violations: string[]): void {
  for (const [name, value] of query) {
    if (name === 'SecurityToken') violations.push(`${action}: SecurityToken in the URL`);
    if (!isKeyMaterial(name, value)) continue;
    violations.push(`${action}: ${name} in the URL`);
    throw new ApiError(400, 'Sandbox.PrivateKeyInUrl', 'A private key must not be sent in a URL.');
  }
}

function portOf(address: string | AddressInfo | null): number {
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return address.port;
}
