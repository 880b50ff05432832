import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, type MockInstance, test, vi } from 'vitest';
import { invocationOf } from '../functions/context.ts';
import { parseDestination } from '../src/destination.ts';
import { takeLease } from '../src/lease.ts';
import type { Store } from '../src/record.ts';
import { createFileStore } from '../src/store/file.ts';
import { type WorkDone, work } from '../src/work.ts';
import { CREDENTIALS } from './sandbox/world.ts';

const ORDER = { runId: 'run-1', fence: 1, shard: 0, attempt: 1, shares: 4, deadline: '2026-01-02T12:10:00.000Z' };

let folder: string;
let store: Store;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'autocert-work-'));
  store = createFileStore({ path: folder });
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Of a worker whose APIs and CA are out of reach: what it must not call it cannot. */
async function worked(event: unknown, lines: string[] = []): Promise<WorkDone | Error> {
  const config = {
    acme: { directoryUrl: 'https://127.0.0.1:1/dir', contact: ['mailto:ops@example.com'] },
    certificates: [{ identifiers: ['www.example.com'] }],
    store: pathToFileURL(folder).href,
    endpoints: { cdn: 'http://127.0.0.1:1', alidns: 'http://127.0.0.1:1' },
  };
  const context = { requestId: 'request-1', credentials: CREDENTIALS, function: { timeout: 600 } };
  const invocation = {
    ...invocationOf(context, { AUTOCERT_CONFIG: JSON.stringify(config) }),
    now: () => new Date('2026-01-02T12:00:00Z'),
    endsAt: new Date('2026-01-02T12:10:00Z'),
    write: (line: string) => void lines.push(line),
  };
  const bytes = new TextEncoder().encode(typeof event === 'string' ? event : JSON.stringify(event));
  return work(bytes, invocation).catch((thrown: Error) => thrown);
}

const NOTHING = { runId: 'run-1', shard: 0, attempt: 1, settled: 0 };
const deps = { now: () => new Date('2026-01-02T12:00:00Z') };

describe('a worker that is started', () => {
  test('when its run is long over does nothing and leaves nothing', async () => {
    const lease = await takeLease(store, 'run-1', new Date('2026-01-02T12:11:00Z'), deps);
    await lease.release();
    await takeLease(store, 'run-2', new Date('2026-01-02T12:11:00Z'), deps);
    const before = await store.list('');
    expect(await worked(ORDER)).toEqual(NOTHING);
    expect(await store.list('')).toEqual(before);
  });

  test('after its run has been gathered finds no shard', async () => {
    await takeLease(store, 'run-1', new Date('2026-01-02T12:11:00Z'), deps);
    expect(await worked(ORDER)).toEqual(NOTHING);
    expect(await store.list('work/')).toEqual([]);
  });

  test('logs under the run that it is a part of', async () => {
    const lines: string[] = [];
    await worked(ORDER, lines);
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([{ event: 'shard_is_anothers', runId: 'run-1' }]);
  });

  test('on a shard that cannot be read fails, and FC has nobody told: the coordinator sees to it', async () => {
    await takeLease(store, 'run-1', new Date('2026-01-02T12:11:00Z'), deps);
    await store.put('work/000000000001/0/errands.json', new TextEncoder().encode('{"version":1,'));
    const failed = await worked(ORDER);
    expect(failed).toMatchObject({ name: 'WorkFailed', message: expect.stringContaining('STORE_CORRUPT') });
    const event = {
      timestamp: 1_767_323_045_000,
      requestContext: {
        requestId: 'request-1',
        functionArn: 'acs:fc:cn-hangzhou:1234567890123456:functions/autocert-work',
        condition: 'UnhandledInvocationError',
        approximateInvokeCount: 1,
      },
      responseContext: { statusCode: 200, functionError: 'UnhandledInvocationError' },
      responsePayload: JSON.stringify({
        errorMessage: String(Reflect.get(failed, 'message')),
        errorType: 'WorkFailed',
      }),
    };
    expect(parseDestination(new TextEncoder().encode(JSON.stringify(event))).told).toBe(true);
  });

  test.each([
    ['by a timer', '{"triggerTime":"2026-01-02T03:04:05Z","triggerName":"every-6h","payload":""}'],
    ['with nothing', ''],
    ['for a place outside its folder', JSON.stringify({ ...ORDER, fence: '../..' })],
    ['with more than an order', JSON.stringify({ ...ORDER, force: true })],
  ])('%s is told what it is for', async (_, event) => {
    const failed = await worked(event);
    expect(failed).toMatchObject({ message: expect.stringContaining('EVENT_INVALID') });
    expect(failed).toMatchObject({ message: expect.stringContaining('Invoke renew instead') });
    expect(await store.list('')).toEqual([]);
  });
});

describe('the workers that a function is told of', () => {
  const context = { accountId: '1234567890123456', region: 'cn-hangzhou' };
  const found = (env: Record<string, string>, from: object = context) => invocationOf(from, env).workers;
  const given = { AUTOCERT_WORKERS: '4', AUTOCERT_WORK_FUNCTION: 'autocert-work' };
  let written: MockInstance<typeof process.stdout.write>;
  beforeEach(() => {
    written = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  });
  afterEach(() => written.mockRestore());

  test('are functions of FC 3.0, or of a service of FC 2.0', () => {
    const address = { ...context, service: undefined, function: 'autocert-work' };
    expect(found(given)).toEqual({ count: 4, address });
    expect(found({ ...given, AUTOCERT_WORK_FUNCTION: 'autocert/work' })).toEqual({
      count: 4,
      address: { ...context, service: 'autocert', function: 'work' },
    });
  });

  test.each([
    ['one', { ...given, AUTOCERT_WORKERS: '1' }, context],
    ['no account', given, { region: 'cn-hangzhou' }],
    ['nothing', {}, context],
    ['nothing where a deployment leaves it empty', { AUTOCERT_WORKERS: '', AUTOCERT_WORK_FUNCTION: '' }, context],
  ])('are none with %s, and nothing is said', (_, env, from) => {
    expect(found(env, from)).toBeUndefined();
    expect(lines()).toEqual([]);
  });

  test.each([
    ['four of them', { ...given, AUTOCERT_WORKERS: 'four' }, 'AUTOCERT_WORKERS'],
    ['half of one', { ...given, AUTOCERT_WORKERS: '2.5' }, 'AUTOCERT_WORKERS'],
    ['not even one', { ...given, AUTOCERT_WORKERS: '0' }, 'AUTOCERT_WORKERS'],
    ['less than none', { ...given, AUTOCERT_WORKERS: '-4' }, 'AUTOCERT_WORKERS'],
    ['no function', { AUTOCERT_WORKERS: '4' }, 'AUTOCERT_WORK_FUNCTION'],
  ])('are none with %s, which is said and hinders no run', (_, env, wrong) => {
    const { workers, ...invocation } = invocationOf({ ...context, requestId: 'request-1' }, env);
    expect(workers).toBeUndefined();
    expect(invocation).toMatchObject({ runId: 'request-1', env });
    expect(lines()).toMatchObject([
      {
        level: 'warn',
        event: 'workers_ignored',
        runId: 'request-1',
        error: {
          code: 'CONFIG_INVALID',
          message: expect.stringContaining(wrong),
          remedy: expect.stringContaining(`Set ${wrong}`),
        },
      },
    ]);
  });

  /** What was logged, as objects. */
  function lines(): unknown[] {
    return written.mock.calls.map(([line]) => JSON.parse(String(line)));
  }
});
