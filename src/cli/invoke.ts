import { createFc } from '../aliyun/fc.ts';
import { toAutocertError } from '../errors.ts';
import { createDeps, credentialsOf, type Invocation, secretsOf } from '../invocation.ts';
import { isGoodRun, type RunReport } from '../report.ts';
import { outcomeTable } from './table.ts';

interface Values {
  readonly account?: string;
  readonly region?: string;
  readonly function?: string;
  readonly service?: string;
  readonly json?: boolean;
}

/** Invokes the deployed function and tells its report. Exit code 0 all good, 1 it failed or was not run, 2 usage. */
export async function invokeFunction(
  { account, region, function: name, service, json = false }: Values,
  event: Uint8Array,
  invocation: Invocation,
): Promise<{ readonly text: string; readonly exitCode: number }> {
  if (!account || !region || !name) {
    return { text: 'autocert: invoke needs --account, --region and --function\n', exitCode: 2 };
  }
  const deps = createDeps(invocation, invocation.now(), secretsOf(invocation));
  const endpoint = invocation.env['ALIBABA_CLOUD_FC_ENDPOINT'];
  try {
    const fc = createFc({ credentials: () => credentialsOf(invocation), endpoint, deps });
    const address = { accountId: account, region, function: name, service };
    const { payload, errorType, requestId } = await fc.invoke(address, new TextDecoder().decode(event));
    if (errorType !== undefined) return { text: failure(payload, requestId, json), exitCode: 1 };
    const report: RunReport = JSON.parse(payload);
    return { text: json ? `${JSON.stringify(report)}\n` : outcomeTable(report), exitCode: isGoodRun(report) ? 0 : 1 };
  } catch (thrown) {
    const { code, message, remedy } = toAutocertError(thrown);
    const text = json ? JSON.stringify({ error: { code, message, remedy } }) : `${code}: ${message}\n  ${remedy}`;
    return { text: `${text}\n`, exitCode: 1 };
  }
}

/** FC tells of a handler that threw `{errorMessage, errorType, stackTrace}`; the message names what failed. */
function failure(payload: string, requestId: string, json: boolean): string {
  if (json) return `${payload}\n`;
  const { errorMessage = payload }: { errorMessage?: string } = JSON.parse(payload);
  return `${errorMessage}\n  The log of request ${requestId} says more.\n`;
}
