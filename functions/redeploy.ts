import type { HttpAnswer } from '../src/http.ts';
import { redeploy } from '../src/redeploy.ts';
import { isGoodRun, RunFailed, type RunReport } from '../src/report.ts';
import { type FunctionContext, invocationOf } from './context.ts';

/** Events of EventBridge, of the CDN or the OSS trigger, of an HTTP trigger, or by hand: deploys what is stored again. */
export async function handler(event: Buffer, context: FunctionContext): Promise<RunReport | HttpAnswer> {
  const result = await redeploy(event, invocationOf(context, process.env), context.accountId);
  if ('statusCode' in result || isGoodRun(result)) return result;
  throw new RunFailed(result);
}
