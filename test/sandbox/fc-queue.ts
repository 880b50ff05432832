/**
 * Function Compute's asynchronous invocations: queued, retried after a failure of the function, given up when they are too
 * old, and passed on to a destination when they have ended
 * (https://help.aliyun.com/zh/functioncompute/user-guide/result-callback).
 */
import { type FunctionError, nextRequestId } from './fc.ts';
import type { Invoked } from './fc-host.ts';

/** As the API has it. */
export interface AsyncInvokeConfig {
  /** Tries after the first one. Default: 3. */
  readonly maxAsyncRetryAttempts?: number;
  /** Default: a day. */
  readonly maxAsyncEventAgeInSeconds?: number;
  readonly destinationConfig?: {
    /** ARNs of functions. */
    readonly onSuccess?: { readonly destination: string };
    readonly onFailure?: { readonly destination: string };
  };
}

export interface QueueOptions {
  /** Undefined when there is no instance for it now. */
  readonly run: (functionName: string, event: string | Buffer, requestId: string) => Promise<Invoked> | undefined;
  readonly configOf: (functionName: string) => AsyncInvokeConfig;
  readonly arnOf: (functionName: string) => string;
  readonly now: () => Date;
}

export interface Queue {
  /** Takes an event and gives it a request id, which all its tries have. */
  add(functionName: string, event: string | Buffer): string;
  /** An instance may have become free. */
  pump(): void;
  /** Resolves when nothing is queued and nothing runs. */
  settled(): Promise<void>;
}

interface Queued {
  readonly functionName: string;
  readonly event: string | Buffer;
  readonly requestId: string;
  readonly since: Date;
  tries: number;
}

/** How an asynchronous invocation ended: a try of the function, or that none was made in time. */
type Ended = Pick<Invoked, 'result' | 'error' | 'isKilled'> & { readonly statusCode: number };

const DAY = 86_400;

export function createQueue({ run, configOf, arnOf, now }: QueueOptions): Queue {
  const waiting: Queued[] = [];
  const running = new Set<Promise<void>>();

  function add(functionName: string, event: string | Buffer): string {
    const requestId = nextRequestId();
    waiting.push({ functionName, event, requestId, since: now(), tries: 0 });
    pump();
    return requestId;
  }

  /** Every event that waits is offered an instance, the oldest first; what gets none waits on. */
  function pump(): void {
    for (const queued of waiting.splice(0)) {
      const { functionName, event, requestId, since } = queued;
      const { maxAsyncEventAgeInSeconds = DAY } = configOf(functionName);
      if (now().getTime() - since.getTime() > maxAsyncEventAgeInSeconds * 1000) {
        passOn(queued, { result: undefined, error: TOO_OLD, isKilled: true, statusCode: 429 });
        continue;
      }
      const attempt = run(functionName, event, requestId);
      if (!attempt) {
        waiting.push(queued);
        continue;
      }
      const work: Promise<void> = follow(queued, attempt).finally(() => running.delete(work));
      running.add(work);
    }
  }

  async function follow(queued: Queued, attempt: Promise<Invoked>): Promise<void> {
    const invoked = await attempt;
    queued.tries += 1;
    const { maxAsyncRetryAttempts = 3 } = configOf(queued.functionName);
    if (invoked.error && queued.tries <= maxAsyncRetryAttempts) waiting.push(queued);
    else passOn(queued, { ...invoked, statusCode: 200 });
    pump();
  }

  function passOn({ functionName, event, requestId, tries }: Queued, ended: Ended): void {
    const { onSuccess, onFailure } = configOf(functionName).destinationConfig ?? {};
    const { destination } = (ended.error ? onFailure : onSuccess) ?? {};
    if (destination === undefined) return;
    const { result, error, isKilled, statusCode } = ended;
    const functionError = statusCode === 200 ? 'UnhandledInvocationError' : '';
    const payload = {
      timestamp: now().getTime(),
      requestContext: {
        requestId,
        functionArn: arnOf(functionName),
        // A handler's own error has the word of every error; FC's own ones have theirs.
        condition: !error ? '' : isKilled ? error.errorType : functionError,
        approximateInvokeCount: tries,
      },
      requestPayload: event.toString(),
      responseContext: { statusCode, functionError: error ? functionError : '' },
      responsePayload: error ? errorPayload(error, isKilled) : (JSON.stringify(result) ?? ''),
    };
    add(destination.split('/').slice(1).join('/'), JSON.stringify(payload));
  }

  return {
    add,
    pump,
    async settled() {
      pump();
      while (running.size > 0) await Promise.all(running);
    },
  };
}

const TOO_OLD: FunctionError = {
  errorMessage: 'The event has waited for an instance for too long.',
  errorType: 'ResourceExhausted',
};

/** What FC answers for a function that failed; of one that was killed it knows no type. */
export function errorPayload(error: FunctionError, isKilled: boolean): string {
  return JSON.stringify(isKilled ? { errorMessage: error.errorMessage } : error);
}
