import { type WorkDone, work } from '../src/work.ts';
import { type FunctionContext, invocationOf } from './context.ts';

/** Started by renew when a run has more to do than it has time for: does a part of it. Throws when it did not come to its end. */
export async function handler(event: Buffer, context: FunctionContext): Promise<WorkDone> {
  return work(event, invocationOf(context, process.env));
}
