import { run } from '../src/run.ts';
import { RunFailed, type RunReport, isGoodRun } from '../src/report.ts';
import { type FunctionContext, invocationOf } from './context.ts';

/** FC's timer: reconciles every managed certificate. Throws when any of them failed, so that FC counts a failure. */
export async function handler(event: Buffer, context: FunctionContext): Promise<RunReport> {
  const report = await run(event, invocationOf(context, process.env));
  if (!isGoodRun(report)) throw new RunFailed(report);
  return report;
}
