/** Invokes a built function as Function Compute does: a fresh process, the event as a Buffer, the documented context. */
import { fork } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export interface Invocation {
  /** The module of `dist/` with the handler. */
  readonly file: string;
  /** The event's text. */
  readonly event: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly credentials: {
    readonly accessKeyId: string;
    readonly accessKeySecret: string;
    readonly securityToken: string;
  };
  /** Seconds; the instance is killed when they are over. Default: 600. */
  readonly timeout?: number;
  readonly onLine?: (line: string) => void;
}

export interface InvocationResult {
  /** What the handler returned. */
  readonly result: unknown;
  /** What FC tells of a handler that threw, or of an instance that was killed. */
  readonly error: { readonly errorMessage: string; readonly errorType: string } | undefined;
  readonly lines: readonly string[];
}

const INSTANCE = fileURLToPath(new URL('./fc-instance.mjs', import.meta.url));

let invocations = 0;

export async function invoke(invocation: Invocation): Promise<InvocationResult> {
  const { file, event, environment, credentials, timeout = 600, onLine } = invocation;
  invocations += 1;
  const context = {
    requestId: `00000000-0000-4000-8000-${String(process.pid).padStart(6, '0').slice(-6)}${String(invocations).padStart(6, '0')}`,
    credentials,
    function: { name: 'autocert-renew', handler: 'renew.handler', memory: 256, timeout },
    service: { name: '', logProject: '', logStore: '', qualifier: 'LATEST', versionId: '' },
    region: 'cn-hangzhou',
    accountId: '1234567890123456',
    tracing: { spanContext: '', jaegerEndpoint: '', spanBaggages: {} },
  };
  const child = fork(INSTANCE, [], {
    env: { PATH: process.env['PATH'] ?? '', TZ: 'UTC', ...environment },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    execArgv: [],
  });
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    if (!stream) continue;
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line);
      onLine?.(line);
    });
  }
  const timer = setTimeout(() => child.kill('SIGKILL'), timeout * 1000);
  let answer: Pick<InvocationResult, 'result' | 'error'> | undefined;
  child.on('message', (message) => {
    const { result, error } = message as Partial<InvocationResult>;
    answer = { result, error };
  });
  child.send({ file, event: Buffer.from(event).toString('base64'), context });
  try {
    const signal = await new Promise<string | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (_, ended) => resolve(ended));
    });
    const killed = {
      errorMessage: `The instance ended (${signal ?? 'exit'}).`,
      errorType: 'FunctionResourceExhausted',
    };
    return { lines, ...(answer ?? { result: undefined, error: killed }) };
  } finally {
    clearTimeout(timer);
  }
}
