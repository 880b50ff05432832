import { type AlertResult, alert } from '../src/alert.ts';
import { type FunctionContext, invocationOf } from './context.ts';

/** FC's failure destination of the other functions: tells a person which run failed, why, and where its log is. */
export async function handler(event: Buffer, context: FunctionContext): Promise<AlertResult> {
  return alert(event, invocationOf(context, process.env), context.service ?? {});
}
