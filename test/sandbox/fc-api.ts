/** The invoke calls of FC's APIs 2016-08-15 (FC 2.0) and 2023-03-30 (FC 3.0), over TLS as both are. */
import { createHash, createHmac } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { makeCa, makeCertificate } from './certificates.ts';
import type { InvocationResult } from './fc.ts';
import { ApiError } from './product.ts';
import type { Account } from './rpc-account.ts';
import { readSignedCall } from './rpc-signature.ts';

export interface FcApi {
  /** `https://localhost:port` */
  readonly url: string;
  /** PEM of the CA that its certificate is from. */
  readonly caBundle: string;
  /** `service/function` or `function` of every invocation. */
  readonly invoked: readonly string[];
  close(): Promise<void>;
}

export interface FcApiOptions {
  readonly accounts: readonly Account[];
  /** By `service/function` (2.0) or `function` (3.0): what an invocation runs. */
  readonly functions: Readonly<Record<string, (event: string) => Promise<InvocationResult>>>;
}

const SERVICE_PATH = /^\/2016-08-15\/services\/([^/]+)\/functions\/([^/]+)\/invocations$/;
const FUNCTION_PATH = /^\/2023-03-30\/functions\/([^/]+)\/invocations$/;

export async function startFcApi({ accounts, functions }: FcApiOptions): Promise<FcApi> {
  const ca = makeCa('Sandbox FC CA');
  const hour = 3_600_000;
  const { chain, privateKey } = makeCertificate({
    names: ['localhost', '127.0.0.1'],
    notBefore: new Date(Date.now() - hour),
    notAfter: new Date(Date.now() + 24 * hour),
    issuer: ca,
  });
  const invoked: string[] = [];

  async function answer(request: IncomingMessage): Promise<{ headers: Record<string, string>; body: string }> {
    const path = request.url ?? '';
    const body = await buffer(request);
    const [, service, serviceFunction] = SERVICE_PATH.exec(path) ?? [];
    const [, functionName] = FUNCTION_PATH.exec(path) ?? [];
    if (serviceFunction === undefined && functionName === undefined) {
      throw new ApiError(404, 'PathNotSupported', `The path ${path} is not supported.`);
    }
    if (functionName === undefined) verifyFc(request, path, body, accounts);
    else verifyAcs3(request, path, body, accounts);
    const key = functionName ?? `${service}/${serviceFunction}`;
    const run = functions[key];
    if (!run) throw new ApiError(404, 'FunctionNotFound', `function '${key}' does not exist`);
    invoked.push(key);
    const { result, error } = await run(body.toString());
    const headers = { 'content-type': 'application/octet-stream', 'x-fc-request-id': 'sandbox-request-1' };
    if (!error) return { headers, body: JSON.stringify(result) };
    return { headers: { ...headers, 'x-fc-error-type': 'UnhandledInvocationError' }, body: JSON.stringify(error) };
  }

  const server = createServer({ cert: chain, key: privateKey }, (request, response) => {
    answer(request).then(
      ({ headers, body }) => response.writeHead(200, headers).end(body),
      (thrown) => {
        const { status, code, message } =
          thrown instanceof ApiError ? thrown : new ApiError(500, 'InternalServerError', String(thrown));
        const headers = { 'content-type': 'application/json', 'x-fc-request-id': 'sandbox-request-1' };
        // 2.0 writes ErrorCode and ErrorMessage, 3.0 Code and Message.
        response
          .writeHead(status, headers)
          .end(JSON.stringify({ ErrorCode: code, ErrorMessage: message, Code: code, Message: message }));
      },
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `https://localhost:${(server.address() as AddressInfo).port}`,
    caBundle: `${ca.root}${ca.intermediate}`,
    invoked,
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
