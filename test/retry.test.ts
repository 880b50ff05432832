import { describe, expect, test } from 'vitest';
import { AliyunError, meaningOf } from '../src/aliyun/errors.ts';
import { AutocertError } from '../src/errors.ts';
import { retry } from '../src/retry.ts';
import { steppedDeps } from './aliyun/loopback.ts';

function failure(retryable: boolean, retryAfter?: Date): AutocertError {
  return new AutocertError({ code: 'SERVICE_UNAVAILABLE', message: 'm', retryable, remedy: 'r', retryAfter });
}

function busy(): AliyunError {
  return new AliyunError({ ...meaningOf('ServiceBusy', 403), message: 'm', action: 'A', apiCode: 'ServiceBusy' });
}

/** Fails with the errors in turn, then answers 'done'. */
function failing(...errors: Error[]): { operation: () => Promise<string>; made: () => number } {
  let made = 0;
  return {
    operation: async () => {
      const error = errors[made];
      made += 1;
      if (error) throw error;
      return 'done';
    },
    made: () => made,
  };
}

describe('retry', () => {
  test('an operation that fails twice and then succeeds gives its answer', async () => {
    const deps = steppedDeps();
    const { operation, made } = failing(failure(true), failure(true));
    expect(await retry(operation, { deps })).toBe('done');
    expect(made()).toBe(3);
    expect(deps.waits).toEqual([250, 500]);
  });

  test('waits double from 500 ms, are drawn between nothing and that, and end after six attempts', async () => {
    const deps = steppedDeps();
    const { operation, made } = failing(...Array.from({ length: 9 }, () => failure(true)));
    await expect(retry(operation, { deps })).rejects.toThrow();
    expect(made()).toBe(6);
    expect(deps.waits).toEqual([250, 500, 1_000, 2_000, 4_000]);
  });

  test('a wait is never longer than the cap', async () => {
    const deps = { ...steppedDeps(), random: () => 0.999_999 };
    const { operation } = failing(...Array.from({ length: 8 }, () => failure(true)));
    await retry(operation, { deps, policy: { attempts: 9 } });
    expect(Math.max(...deps.waits)).toBeLessThan(20_000);
    expect(deps.waits.at(-1)).toBeGreaterThan(19_000);
  });

  test('what is thrown at the end is the last error itself', async () => {
    const errors = [failure(true), failure(true), failure(true)];
    const { operation } = failing(...errors);
    await expect(retry(operation, { deps: steppedDeps(), policy: { attempts: 3 } })).rejects.toBe(errors[2]);
  });

  test('an error that says trying again is no use is thrown at once', async () => {
    const error = failure(false);
    const { operation, made } = failing(error);
    await expect(retry(operation, { deps: steppedDeps() })).rejects.toBe(error);
    expect(made()).toBe(1);
  });

  test('what is not one of our errors is a defect and is not tried again', async () => {
    const error = Object.assign(new TypeError('defect'), { retryable: true });
    const { operation, made } = failing(error);
    await expect(retry(operation, { deps: steppedDeps() })).rejects.toBe(error);
    expect(made()).toBe(1);
  });

  test('the instant that the server names is the least wait', async () => {
    const deps = steppedDeps();
    const { operation } = failing(failure(true, new Date('2026-01-02T03:04:35Z')));
    await retry(operation, { deps });
    expect(deps.now()).toEqual(new Date('2026-01-02T03:04:35Z'));
  });

  test('an instant of the past shortens no wait', async () => {
    const deps = steppedDeps();
    const { operation } = failing(failure(true, new Date('2025-01-01T00:00:00Z')));
    await retry(operation, { deps });
    expect(deps.waits).toEqual([250]);
  });

  test('a wait that would end past the deadline is not begun, however long the server asks for', async () => {
    const deps = steppedDeps({ seconds: 20 });
    const error = failure(true, new Date('2099-01-01T00:00:00Z'));
    const { operation, made } = failing(error);
    await expect(retry(operation, { deps })).rejects.toBe(error);
    expect(made()).toBe(1);
    expect(deps.waits).toEqual([]);
  });

  test('a busy service is asked at its own slow pace until the deadline', async () => {
    const deps = steppedDeps({ seconds: 300 });
    const errors = Array.from({ length: 50 }, busy);
    const { operation, made } = failing(...errors);
    const thrown = await retry(operation, { deps }).catch((error: unknown) => error);
    expect(thrown).toBe(errors[made() - 1]);
    expect(deps.waits.slice(0, 5)).toEqual([5_000, 10_000, 20_000, 30_000, 30_000]);
    expect(made()).toBeGreaterThan(6);
    expect(deps.now().getTime()).toBeLessThan(deps.deadline.getTime());
  });

  test('a wait that is broken off ends in the operation’s own error', async () => {
    const controller = new AbortController();
    const deps = {
      ...steppedDeps(),
      sleep: async () => {
        controller.abort(new Error('stop'));
        throw controller.signal.reason;
      },
    };
    const error = failure(true);
    const { operation, made } = failing(error);
    await expect(retry(operation, { deps, signal: controller.signal })).rejects.toBe(error);
    expect(made()).toBe(1);
  });
});
