/** An instance of Function Compute: a process that runs one invocation at a time, within its memory and its time. */
import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** https://www.alibabacloud.com/help/en/functioncompute/context-1-1 */
export interface FunctionContext {
  readonly requestId: string;
  /** Temporary ones of the function's role. */
  readonly credentials: {
    readonly accessKeyId: string;
    readonly accessKeySecret: string;
    readonly securityToken: string;
  };
  /** `memory` in MB, `timeout` in seconds. */
  readonly function: {
    readonly name: string;
    readonly handler: string;
    readonly memory: number;
    readonly timeout: number;
  };
  readonly service: {
    readonly name: string;
    readonly logProject: string;
    readonly logStore: string;
    readonly qualifier: string;
    readonly versionId: string;
  };
  readonly region: string;
  readonly accountId: string;
  readonly tracing: { readonly spanContext: string; readonly jaegerEndpoint: string; readonly spanBaggages: object };
}

export interface InvocationResult {
  /** What the handler returned. */
  readonly result: unknown;
  /** What FC tells of a handler that threw, or of an instance that was killed. */
  readonly error: FunctionError | undefined;
  readonly lines: readonly string[];
  /** MB of the largest resident set that the instance has had. */
  readonly peak: number;
  /** Seconds of processor time that the instance has used since it was started. */
  readonly processor: number;
}

export interface FunctionError {
  readonly errorMessage: string;
  /** `FunctionResourceExhausted` of an instance that ended without an answer. */
  readonly errorType: string;
  readonly stackTrace?: string;
}

/** Why an instance ended before its handler did. */
type End = 'timeout' | 'memory' | 'exit';

export interface InstanceOptions {
  /** URL of the module with the handler. */
  readonly file: string;
  /** The name of its export. */
  readonly handler: string;
  readonly environment: Readonly<Record<string, string>>;
  /** MB of resident set; the instance is killed when it has more. Default: unlimited. */
  readonly memory?: number;
}

export interface Call {
  readonly event: string | Buffer;
  readonly context: FunctionContext;
  /** Milliseconds that the instance's clock is ahead of the machine's. Default: it has the machine's. */
  readonly ahead?: number;
  /** With `ahead`: the function's pauses are skipped, and its clock moves by as much. */
  readonly hurries?: boolean;
  readonly onLine?: ((line: string) => void) | undefined;
  /** Seconds after which the process is ended, whatever the function was told. Default: `context.function.timeout`. */
  readonly endsAfter?: number;
}

export interface Instance {
  readonly pid: number;
  readonly isAlive: boolean;
  /** Calls the handler; its timeout ends the process. Not before the last one has answered. */
  invoke(call: Call): Promise<InvocationResult>;
  /** No instruction runs any more, and no packet is answered but by the kernel. */
  freeze(): void;
  thaw(): void;
  /** Waits until the process has nothing more to do and has ended by itself. */
  end(): Promise<void>;
  kill(): Promise<void>;
}

const RUNTIME = fileURLToPath(new URL('./fc-runtime.mjs', import.meta.url));
/** A function may leave its last line without an end. */
const MARK = /^(.*)FC Invoke (Start|End) RequestId: [0-9a-f-]+$/;
/** Milliseconds between two looks at the memory. */
const LOOK = 20;

let requests = 0;

export function nextRequestId(): string {
  requests += 1;
  const [process6, request6] = [process.pid, requests].map((number) => String(number).padStart(6, '0').slice(-6));
  return `00000000-0000-4000-8000-${process6}${request6}`;
}

export function startInstance({ file, handler, environment, memory }: InstanceOptions): Instance {
  const child = fork(RUNTIME, [], {
    env: { PATH: process.env['PATH'] ?? '', TZ: 'UTC', ...environment },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    // Node sizes its heap by the memory of the machine that it is in, which is the instance's and not this one's.
    execArgv: memory === undefined ? [] : [`--max-heap-size=${memory}`],
  });
  const startedAt = performance.now();
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  let isAlive = true;
  child.once('exit', () => {
    isAlive = false;
  });
  // Without a process there is no exit.
  child.once('error', () => {
    isAlive = false;
  });
  let lines: string[] = [];
  let onLine: Call['onLine'];
  let onEnd: (() => void) | undefined;
  for (const stream of [child.stdout, child.stderr]) {
    if (!stream) continue;
    createInterface({ input: stream }).on('line', (line) => {
      const [, rest = line, mark] = MARK.exec(line) ?? [];
      if (rest !== '' || mark === undefined) {
        lines.push(rest);
        onLine?.(rest);
      }
      if (mark === 'End') onEnd?.();
    });
  }

  return {
    pid: child.pid ?? 0,
    get isAlive() {
      return isAlive;
    },
    async invoke({ event, context, ahead, hurries, onLine: listener, endsAfter = context.function.timeout }) {
      lines = [];
      onLine = listener;
      const called = { lines };
      let peak = 0;
      let processor = 0;
      let end: End = 'exit';
      const kill = (why: End) => {
        end = why;
        child.kill('SIGKILL');
      };
      const timer = setTimeout(() => kill('timeout'), endsAfter * 1000);
      const look = setInterval(() => {
        peak = Math.max(peak, peakOf(child));
        processor = Math.max(processor, processorOf(child));
        if (memory !== undefined && peak > memory) kill('memory');
      }, LOOK);
      const isLogged = new Promise<void>((resolve) => {
        onEnd = resolve;
      });
      const answered = new Promise<Pick<InvocationResult, 'result' | 'error'>>((resolve) => {
        child.once('message', (message) => {
          const { result, error } = message as Partial<InvocationResult>;
          resolve({ result, error });
        });
      });
      const failed = new Promise<never>((_, reject) => child.once('error', reject));
      child.send({ file, handler, event: Buffer.from(event).toString('base64'), context, ahead, hurries }, () => {});
      try {
        const answer = await Promise.race([isLogged.then(() => answered), closed.then(() => undefined), failed]);
        peak = Math.max(peak, peakOf(child));
        processor = Math.max(processor, processorOf(child));
        if (answer) return { ...called, ...answer, peak, processor };
        const milliseconds = Math.round(performance.now() - startedAt);
        const error = errorOf(end, endsAfter, milliseconds, peak);
        return { ...called, result: undefined, error, peak, processor };
      } finally {
        clearTimeout(timer);
        clearInterval(look);
        child.removeAllListeners('message');
      }
    },
    freeze() {
      if (isAlive) child.kill('SIGSTOP');
    },
    thaw() {
      if (isAlive) child.kill('SIGCONT');
    },
    async end() {
      // A channel that is disconnected from this side keeps `close` from ever being emitted.
      if (child.connected) child.send('end', () => {});
      await closed;
    },
    async kill() {
      child.kill('SIGKILL');
      await closed;
    },
  };
}

/** MB of the largest resident set that the process has had. */
function peakOf({ pid }: ChildProcess): number {
  try {
    const [, kilobytes = '0'] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return Number(kilobytes) / 1024;
  } catch {
    return 0;
  }
}

/** Seconds in user and system mode, which /proc counts in ticks of 10 ms; the command before them may hold anything. */
function processorOf({ pid }: ChildProcess): number {
  try {
    const [user, system] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ').slice(11, 13) ?? [];
    return (Number(user) + Number(system)) / 100;
  } catch {
    return 0;
  }
}

function errorOf(end: End, timeout: number, milliseconds: number, peak: number): FunctionError {
  const used = `maxMemoryUsage: ${peak.toFixed(2)}MB`;
  const duration = `duration: ${milliseconds}ms`;
  const words = {
    timeout: `Function timed out after ${timeout} seconds (${used})`,
    memory: `Process exited unexpectedly before completing request: out of memory (${duration}, ${used})`,
    exit: `Process exited unexpectedly before completing request (${duration}, ${used})`,
  };
  return { errorMessage: words[end], errorType: 'FunctionResourceExhausted' };
}

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
  /** Seconds after which it is killed although it was told of `timeout`: as when its own clock stood still. */
  readonly endsAfter?: number;
  /** MB of resident set; the instance is killed when it has more. Default: unlimited. */
  readonly memory?: number;
  readonly onLine?: (line: string) => void;
}

/** For a cold start whose instance is never used again. */
export async function invoke(invocation: Invocation): Promise<InvocationResult> {
  const { file, event, environment, credentials, timeout = 600, endsAfter, memory, onLine } = invocation;
  const context = {
    requestId: nextRequestId(),
    credentials,
    function: { name: 'autocert-renew', handler: 'renew.handler', memory: memory ?? 256, timeout },
    service: { name: '', logProject: '', logStore: '', qualifier: 'LATEST', versionId: '' },
    region: 'cn-hangzhou',
    accountId: '1234567890123456',
    tracing: { spanContext: '', jaegerEndpoint: '', spanBaggages: {} },
  };
  const instance = startInstance({ file, handler: 'handler', environment, ...(memory && { memory }) });
  const result = await instance.invoke({ event, context, onLine, ...(endsAfter !== undefined && { endsAfter }) });
  await instance.end();
  return result;
}
