import { isGoodRun, RunFailed, type RunReport } from '../src/report.ts';
import { run } from '../src/run.ts';
import { type FunctionContext, invocationOf } from './context.ts';

/** FC's timer: reconciles every managed certificate. Throws when any of them failed, so that FC counts a failure. */
export async function handler(event: Buffer, context: FunctionContext): Promise<RunReport> {
  const report = await run(event, invocationOf(context, process.env));
  if (!isGoodRun(report)) throw new RunFailed(report);
  return report;
}
