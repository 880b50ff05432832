/** The invoke calls of FC's APIs 2016-08-15 (FC 2.0) and 2023-03-30 (FC 3.0), in front of the host. */
import { createHash, createHmac } from 'node:crypto';
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { makeCa, makeCertificate } from './certificates.ts';
import { nextRequestId } from './fc.ts';
import type { Host } from './fc-host.ts';
import { errorPayload } from './fc-queue.ts';
import { ApiError } from './product.ts';
import type { Account } from './rpc-account.ts';
import { readSignedCall } from './rpc-signature.ts';

export interface FcApi {
  /** `https://localhost:port`, or with http. */
  readonly url: string;
  /** PEM of the CA that its certificate is from. */
  readonly caBundle: string;
  close(): Promise<void>;
}

export interface FcApiOptions {
  readonly accounts: readonly Account[];
  /** Whose functions are invoked: `service/function` (2.0) and `function` (3.0). */
  readonly host: Pick<Host, 'invoke' | 'invokeAsync'>;
  /** False for http, which FC takes too. Default: true. */
  readonly secure?: boolean;
}

const SERVICE_PATH = /^\/2016-08-15\/services\/([^/]+)\/functions\/([^/]+)\/invocations$/;
const FUNCTION_PATH = /^\/2023-03-30\/functions\/([^/]+)\/invocations$/;

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export async function startFcApi({ accounts, host, secure = true }: FcApiOptions): Promise<FcApi> {
  const ca = makeCa('Sandbox FC CA');
  const hour = 3_600_000;
  const { chain, privateKey } = makeCertificate({
    names: ['localhost', '127.0.0.1'],
    notBefore: new Date(Date.now() - hour),
    notAfter: new Date(Date.now() + 24 * hour),
    issuer: ca,
  });

  async function answer(request: IncomingMessage): Promise<Answer> {
    const path = request.url ?? '';
    const body = await buffer(request);
    const [, service, serviceFunction] = SERVICE_PATH.exec(path) ?? [];
    const [, functionName] = FUNCTION_PATH.exec(path) ?? [];
    if (serviceFunction === undefined && functionName === undefined) {
      throw new ApiError(404, 'PathNotSupported', `The path ${path} is not supported.`);
    }
    if (functionName === undefined) verifyFc(request, path, body, accounts);
    else verifyAcs3(request, path, body, accounts);
    const name = functionName ?? `${service}/${serviceFunction}`;
    if (request.headers['x-fc-invocation-type'] === 'Async') {
      return { status: 202, headers: { 'x-fc-request-id': host.invokeAsync(name, body) }, body: '' };
    }
    const { result, error, isKilled, requestId } = await host.invoke(name, body);
    const headers = { 'content-type': 'application/octet-stream', 'x-fc-request-id': requestId };
    if (!error) return { status: 200, headers, body: typeof result === 'string' ? result : JSON.stringify(result) };
    const failed = { ...headers, 'x-fc-error-type': 'UnhandledInvocationError' };
    return { status: 200, headers: failed, body: errorPayload(error, isKilled) };
  }

  function listener(request: IncomingMessage, response: ServerResponse): void {
    answer(request).then(
      ({ status, headers, body }) => response.writeHead(status, headers).end(body),
      (thrown) => {
        const { status, code, message } =
          thrown instanceof ApiError ? thrown : new ApiError(500, 'InternalServerError', String(thrown));
        const headers = { 'content-type': 'application/json', 'x-fc-request-id': nextRequestId() };
        // 2.0 writes ErrorCode and ErrorMessage, 3.0 Code and Message.
        response
          .writeHead(status, headers)
          .end(JSON.stringify({ ErrorCode: code, ErrorMessage: message, Code: code, Message: message }));
      },
    );
  }

  const server = secure ? createHttpsServer({ cert: chain, key: privateKey }, listener) : createHttpServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `${secure ? 'https' : 'http'}://localhost:${(server.address() as AddressInfo).port}`,
    caBundle: `${ca.root}${ca.intermediate}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** `FC id:base64(HMAC-SHA256(METHOD, Content-MD5, Content-Type, Date, sorted x-fc- headers, path))`. */
function verifyFc(request: IncomingMessage, path: string, body: Buffer, accounts: readonly Account[]): void {
  const { headers } = request;
  const [, accessKeyId, signature] = /^FC ([^:]+):(.+)$/.exec(headers.authorization ?? '') ?? [];
  const account = accountOf(accessKeyId, headers['x-fc-security-token'], accounts);
  const md5 = Buffer.from(createHash('md5').update(body).digest('hex')).toString('base64');
  if (headers['content-md5'] !== md5) throw new ApiError(400, 'InvalidArgument', 'Content-MD5 does not match.');
  const signed = Object.keys(headers)
    .filter((name) => name.startsWith('x-fc-'))
    .sort()
    .map((name) => `${name}:${headers[name]}\n`);
  const stringToSign = `${request.method}\n${md5}\n${headers['content-type']}\n${headers.date}\n${signed.join('')}${path}`;
  const expected = createHmac('sha256', account.accessKeySecret).update(stringToSign).digest('base64');
  if (signature !== expected) throw new ApiError(403, 'SignatureNotMatch', 'The request signature does not match.');
}

function verifyAcs3(request: IncomingMessage, path: string, body: Buffer, accounts: readonly Account[]): void {
  const { method = '', headers } = request;
  const call = readSignedCall({ method, path, query: new Map(), form: new Map(), body, headers });
  call.verify(accountOf(call.accessKeyId, call.securityToken, accounts).accessKeySecret);
}

function accountOf(accessKeyId: string | undefined, token: unknown, accounts: readonly Account[]): Account {
  const account = accounts.find((one) => one.accessKeyId === accessKeyId);
  if (!account) throw new ApiError(404, 'InvalidAccessKeyId.NotFound', 'The AccessKey ID does not exist.');
  if (account.securityToken !== token)
    throw new ApiError(403, 'InvalidSecurityToken.Mismatch', 'The token does not match.');
  return account;
}
