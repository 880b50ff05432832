// Function Compute's nodejs20 runtime inside one instance: imports the function's module, calls its handler for one
// invocation after the other and sends each result to the host. Standard output is the function's log, as in FC, and so
// are the two lines around each invocation.
import { syncBuiltinESMExports } from 'node:module';
import timers from 'node:timers/promises';

/**
 * @typedef {object} Call
 * @property {string} file the module
 * @property {string} handler the name of its export
 * @property {string} event base64
 * @property {{requestId: string}} context
 * @property {number} [ahead] milliseconds that the host's clock is ahead of the machine's
 * @property {boolean} [hurries] the function's pauses are skipped; its clock moves by as much
 */

let ahead = 0;
let hurries = false;

/** Before the function is imported: what it loads keeps the clock that it finds. */
function moveClock() {
  const RealDate = Date;
  globalThis.Date = new Proxy(RealDate, {
    construct: (target, args, newTarget) =>
      Reflect.construct(target, args.length === 0 ? [RealDate.now() + ahead] : args, newTarget),
    get: (target, name) => (name === 'now' ? () => RealDate.now() + ahead : Reflect.get(target, name)),
  });
}

/** Of several pauses at once the clock moves by the longest. */
function skipPauses() {
  const { setTimeout: pause } = timers;
  timers.setTimeout = async (milliseconds = 0, ...rest) => {
    if (!hurries) return pause(milliseconds, ...rest);
    const until = Date.now() + milliseconds;
    const value = await pause(0, ...rest);
    ahead += Math.max(0, until - Date.now());
    return value;
  };
  syncBuiltinESMExports();
}

/** FC tells the caller of a failed invocation the error's message, type and stack, and nothing else. @param {unknown} error */
function asFcTells(error) {
  if (!(error instanceof Error)) return { errorMessage: String(error), errorType: 'unknown' };
  return { errorMessage: error.message, errorType: error.name, stackTrace: error.stack };
}

/** @param {Call} call */
async function answer({ file, handler, event, context }) {
  try {
    const { [handler]: run } = await import(file);
    return { result: await run(Buffer.from(event, 'base64'), context) };
  } catch (error) {
    return { error: asFcTells(error) };
  }
}

let isFirst = true;

process.on('message', async (/** @type {Call | 'end'} */ call) => {
  if (call === 'end') {
    process.disconnect();
    return;
  }
  if (isFirst && call.ahead !== undefined) {
    moveClock();
    skipPauses();
  }
  isFirst = false;
  ahead = call.ahead ?? 0;
  hurries = call.hurries ?? false;
  process.stdout.write(`FC Invoke Start RequestId: ${call.context.requestId}\n`);
  const told = await answer(call);
  process.stdout.write(`FC Invoke End RequestId: ${call.context.requestId}\n`);
  process.send?.(told);
});
