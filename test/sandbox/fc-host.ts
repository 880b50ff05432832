/**
 * Function Compute 3.0 on one machine, written from its public documentation: runs the functions of a built zip in
 * instances that are reused while warm and frozen between invocations, with temporary credentials anew for each one, the
 * memory and the timeout of the function, reserved concurrency, timers, and asynchronous invocations with retries and
 * destinations.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { unzipSync } from 'fflate';
import { type FunctionContext, type Instance, type InvocationResult, nextRequestId, startInstance } from './fc.ts';
import { type AsyncInvokeConfig, createQueue } from './fc-queue.ts';
import { nextTime } from './fc-timer.ts';
import { ApiError } from './product.ts';

/** A function in the words of its API (https://www.alibabacloud.com/help/en/functioncompute/fc-3-0/developer-reference/api-fc-2023-03-30-createfunction). */
export interface FunctionConfig {
  /** `module.export`, a module of the zip. */
  readonly handler: string;
  /** MB of resident set; an instance that has more is killed. */
  readonly memorySize: number;
  /** Seconds; an instance that takes longer for an invocation is killed. */
  readonly timeout: number;
  readonly environmentVariables: Readonly<Record<string, string>>;
  readonly concurrencyConfig?: { readonly reservedConcurrency: number };
  readonly asyncInvokeConfig?: AsyncInvokeConfig;
  readonly triggers?: readonly TimerTrigger[];
}

export interface TimerTrigger {
  readonly triggerName: string;
  readonly triggerConfig: { readonly cronExpression: string; readonly payload?: string; readonly enable: boolean };
}

export interface HostOptions {
  /** Path of the zip that a deployment uploads. */
  readonly zip: string;
  /** By name; `service/function` is a function of FC 2.0. */
  readonly functions: Readonly<Record<string, FunctionConfig>>;
  /** Asked anew for each invocation, as FC does with the function's role. */
  readonly credentials: () => FunctionContext['credentials'];
  /** The clock of the host and of its instances. Default: the machine's. */
  readonly now?: () => Date;
  /** With `now`, asked at the beginning of an invocation: its pauses are skipped, and its clock moves by as much. */
  readonly hurries?: () => boolean;
  readonly onLine?: (line: string, functionName: string) => void;
}

/** One try of an invocation, once it has ended. */
export interface Invoked extends InvocationResult {
  readonly requestId: string;
  readonly functionName: string;
  readonly event: string;
  /** Process id of the instance. */
  readonly instance: number;
  /** Whether the instance was started for it. */
  readonly isColdStart: boolean;
  /** Whether the instance ended before the handler did. */
  readonly isKilled: boolean;
}

export interface Host {
  /** In the order in which they ended. */
  readonly invocations: readonly Invoked[];
  /** Synchronous. Throws ApiError 404 FunctionNotFound, 429 ResourceExhausted. */
  invoke(functionName: string, event: string | Buffer): Promise<Invoked>;
  /** Asynchronous: queued, and answered with its request id. Throws ApiError 404 FunctionNotFound. */
  invokeAsync(functionName: string, event: string | Buffer): string;
  /**
   * Looks at the clock: fires every enabled timer whose time has come since the last look, once however far the clock was
   * moved, and resolves when all that is queued has ended, what came of it included.
   */
  tick(): Promise<void>;
  /** Resolves when all that is queued has ended. */
  settled(): Promise<void>;
  /**
   * The running instance of the function stands still, as on a machine that has no time for it, until what is given back
   * is called.
   */
  stall(functionName: string): () => void;
  /** Ends one running instance of the function, as a machine that is lost does. False when none runs. */
  kill(functionName: string): boolean;
  /** Kills every instance and removes the unpacked zip. */
  close(): Promise<void>;
}

const REGION = 'cn-hangzhou';
const ACCOUNT_ID = '1234567890123456';

interface Warm {
  readonly instance: Instance;
  isBusy: boolean;
  /** Until it has run for the first time. */
  isColdStart: boolean;
}

export async function startFcHost(options: HostOptions): Promise<Host> {
  const { functions, credentials, onLine } = options;
  const now = options.now ?? (() => new Date());
  const folder = await unpack(options.zip);
  const instances = new Map<string, Warm[]>(Object.keys(functions).map((name) => [name, []]));
  const invocations: Invoked[] = [];
  // A frozen process notices nothing, not even that its host is gone.
  const killAll = () => {
    for (const { instance } of [...instances.values()].flat()) void instance.kill();
  };
  process.once('exit', killAll);
  const startedAt = now();
  let lookedAt = startedAt;

  function configOf(functionName: string): FunctionConfig {
    const config = functions[functionName];
    if (config) return config;
    throw new ApiError(404, 'FunctionNotFound', `function '${functionName}' does not exist`);
  }

  /** An instance that is warm and has nothing to do, or a new one, or none when the concurrency is used up. */
  function take(functionName: string): Warm | undefined {
    const { concurrencyConfig, handler, memorySize, environmentVariables } = configOf(functionName);
    const alive = (instances.get(functionName) ?? []).filter(({ instance }) => instance.isAlive);
    instances.set(functionName, alive);
    const idle = alive.find(({ isBusy }) => !isBusy);
    if (idle) return Object.assign(idle, { isBusy: true, isColdStart: false });
    if (alive.length >= (concurrencyConfig?.reservedConcurrency ?? Number.POSITIVE_INFINITY)) return undefined;
    const [module = '', name = ''] = handler.split('.');
    const instance = startInstance({
      file: pathToFileURL(join(folder, `${module}.mjs`)).href,
      handler: name,
      memory: memorySize,
      environment: {
        FC_ACCOUNT_ID: ACCOUNT_ID,
        FC_REGION: REGION,
        FC_FUNCTION_NAME: functionName,
        FC_FUNCTION_HANDLER: handler,
        FC_FUNCTION_MEMORY_SIZE: String(memorySize),
        ...environmentVariables,
      },
    });
    const warm: Warm = { instance, isBusy: true, isColdStart: true };
    alive.push(warm);
    return warm;
  }

  function run(functionName: string, event: string | Buffer, requestId: string): Promise<Invoked> | undefined {
    const warm = take(functionName);
    return warm && runIn(warm, functionName, event, requestId);
  }

  async function runIn(warm: Warm, functionName: string, event: string | Buffer, requestId: string): Promise<Invoked> {
    const { instance, isColdStart } = warm;
    instance.thaw();
    const result = await instance.invoke({
      event,
      context: contextOf(functionName, configOf(functionName), credentials(), requestId),
      ...(options.now && { ahead: now().getTime() - Date.now(), hurries: options.hurries?.() ?? false }),
      onLine: onLine && ((line) => onLine(line, functionName)),
    });
    instance.freeze();
    warm.isBusy = false;
    const isKilled = !instance.isAlive;
    const about = { requestId, functionName, event: event.toString(), instance: instance.pid, isColdStart, isKilled };
    const invoked = { ...about, ...result };
    invocations.push(invoked);
    return invoked;
  }

  const queue = createQueue({
    run,
    configOf: (functionName) => configOf(functionName).asyncInvokeConfig ?? {},
    arnOf: (functionName) => `acs:fc:${REGION}:${ACCOUNT_ID}:functions/${functionName}`,
    now,
  });

  return {
    invocations,
    async invoke(functionName, event) {
      const running = run(functionName, event, nextRequestId());
      if (!running)
        throw new ApiError(429, 'ResourceExhausted', `The reserved concurrency of '${functionName}' is used up.`);
      const invoked = await running;
      queue.pump();
      return invoked;
    },
    invokeAsync(functionName, event) {
      configOf(functionName);
      return queue.add(functionName, event);
    },
    async tick() {
      const [since, until] = [lookedAt, now()];
      lookedAt = until;
      for (const [functionName, { triggers = [] }] of Object.entries(functions)) {
        for (const { triggerName, triggerConfig } of triggers) {
          if (!triggerConfig.enable) continue;
          const { cronExpression, payload = '' } = triggerConfig;
          const time = nextTime(cronExpression, since, startedAt);
          if (time > until) continue;
          const triggerTime = `${time.toISOString().slice(0, 19)}Z`;
          queue.add(functionName, JSON.stringify({ triggerTime, triggerName, payload }));
        }
      }
      await queue.settled();
    },
    settled: queue.settled,
    stall(functionName) {
      const busy = (instances.get(functionName) ?? []).filter(({ isBusy }) => isBusy);
      for (const { instance } of busy) instance.freeze();
      return () => {
        for (const { instance } of busy) instance.thaw();
      };
    },
    kill(functionName) {
      const running = (instances.get(functionName) ?? []).find(({ isBusy, instance }) => isBusy && instance.isAlive);
      void running?.instance.kill();
      return running !== undefined;
    },
    async close() {
      process.removeListener('exit', killAll);
      await Promise.all([...instances.values()].flat().map(({ instance }) => instance.kill()));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function unpack(zip: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'autocert-fc-'));
  for (const [name, contents] of Object.entries(unzipSync(await readFile(zip)))) {
    const path = join(folder, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, contents);
  }
  return folder;
}

/** In FC 3.0 there is no service; the logs' place is said there all the same. */
function contextOf(
  functionName: string,
  { handler, memorySize: memory, timeout }: FunctionConfig,
  credentials: FunctionContext['credentials'],
  requestId: string,
): FunctionContext {
  const [name = '', service = ''] = functionName.split('/').reverse();
  return {
    requestId,
    credentials,
    function: { name, handler, memory, timeout },
    service: { name: service, logProject: '', logStore: '', qualifier: 'LATEST', versionId: '' },
    region: REGION,
    accountId: ACCOUNT_ID,
    tracing: { spanContext: '', jaegerEndpoint: '', spanBaggages: {} },
  };
}
