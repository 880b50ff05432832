import type { Config } from './config.ts';
import { type HttpAnswer, jsonAnswer, parseHttpEvent } from './http.ts';
import { parcelName } from './inbox/parcel.ts';
import type { Invocation } from './invocation.ts';
import { parseRedeployEvent, type RedeployEvent } from './redeploy-event.ts';
import { isGoodRun, type RunReport } from './report.ts';
import { type Asked, run } from './run.ts';

/**
 * Has what is stored served again, as an event asks for it. Events come at least once, late and out of order: what they
 * tell is where to look, never what to do, so that the same event twice does nothing the second time.
 *
 * An HTTP trigger's caller gets the report as the answer: 200 for a good run, 400 for a request that cannot be used, 500
 * for a run that failed. The trigger's `authType` decides who may call; this program knows no callers.
 */
export async function redeploy(
  event: Uint8Array,
  invocation: Invocation,
  accountId: string | undefined,
): Promise<RunReport | HttpAnswer> {
  const read = (bytes: Uint8Array) => {
    const asked = parseRedeployEvent(bytes, accountId);
    return ({ store }: Config) => askedOf(asked, store);
  };
  const request = parseHttpEvent(event);
  if (!request) return run(event, invocation, read);
  if (request.method !== 'POST') return jsonAnswer(405, { error: 'Only POST is understood.' }, { allow: 'POST' });
  const report = await run(request.body, invocation, read);
  return jsonAnswer(statusCodeOf(report), report);
}

/** The words by which the certificates concerned are found. */
export function askedOf(event: RedeployEvent, store: Config['store']): Asked {
  const { askedBy, domains, names, objects, force } = event;
  const stored = objects.flatMap((object) => certificateOf(object, store) ?? []);
  const only = [...new Set([...names, ...domains, ...stored])];
  if (askedBy === 'cloud') return { intent: 'react', only, force: false };
  return { intent: 'redeploy', ...(only.length > 0 && { only }), force };
}

/**
 * The certificate that an object of the store belongs to: `<prefix>certificates/<name>/...`, not an order, which is not
 * issued yet; or the one that `<prefix>inbox/...` is to become.
 */
function certificateOf({ bucket, key }: RedeployEvent['objects'][number], store: Config['store']): string | undefined {
  if (store.type !== 'oss' || bucket !== store.bucket) return undefined;
  const path = decoded(key);
  const folder = store.prefix === '' ? '' : `${store.prefix}/`;
  if (path.startsWith(`${folder}inbox/`)) return parcelName(path.slice(folder.length));
  const prefix = `${folder}certificates/`;
  if (!path.startsWith(prefix)) return undefined;
  const [name = '', file = '', ...rest] = path.slice(prefix.length).split('/');
  return rest.length === 0 && /^(?:record|[0-9a-f]{64})\.json$/.test(file) ? name : undefined;
}

/** OSS writes keys in events percent-encoded, FC's examples show them plain. */
function decoded(key: string): string {
  try {
    return decodeURIComponent(key);
  } catch {
    return key;
  }
}

function statusCodeOf(report: RunReport): number {
  if (report.error?.step === 'event') return 400;
  return isGoodRun(report) ? 200 : 500;
}
