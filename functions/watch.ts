import { isGoodWatch, WatchFailed, type WatchReport, watch } from '../src/watch.ts';
import { type FunctionContext, invocationOf } from './context.ts';

/** A timer of its own: what the edges serve, and whether renewals still happen. Throws when anything is not well. */
export async function handler(_: Buffer, context: FunctionContext): Promise<WatchReport> {
  const report = await watch(invocationOf(context, process.env));
  if (!isGoodWatch(report)) throw new WatchFailed(report);
  return report;
}
