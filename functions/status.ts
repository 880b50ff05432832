import type { HttpAnswer } from '../src/http.ts';
import { status } from '../src/status.ts';
import { type FunctionContext, invocationOf } from './context.ts';

/** An HTTP trigger: a page and JSON with the state of every certificate. */
export async function handler(event: Buffer, context: FunctionContext): Promise<HttpAnswer> {
  return status(event, invocationOf(context, process.env));
}
