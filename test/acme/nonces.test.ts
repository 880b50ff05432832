import { expect, test } from 'vitest';
import { createNoncePool } from '../../src/acme/nonces.ts';

/** Sleeps end when the test says so; new nonces are n1, n2, ... and come when `isThere` has. */
function situation({
  isThere = Promise.resolve(),
  toCome = 0,
}: {
  readonly isThere?: Promise<void>;
  readonly toCome?: number;
} = {}) {
  const sleeping: (() => void)[] = [];
  let asked = 0;
  const pool = createNoncePool({
    async fresh() {
      asked += 1;
      const nonce = `n${asked}`;
      await isThere;
      return nonce;
    },
    toCome: () => toCome,
    deps: {
      sleep: (_, signal) =>
        new Promise((resolve, reject) => {
          sleeping.push(resolve);
          signal?.addEventListener('abort', () => reject(signal.reason));
        }),
    },
  });
  return {
    pool,
    asked: () => asked,
    /** So many looks go by for everybody who waits. */
    async wait(looks: number) {
      for (let look = 0; look < looks; look += 1) {
        for (const wake of sleeping.splice(0)) wake();
        await new Promise(setImmediate);
      }
    },
  };
}

test('the first nonce is asked for, and one that is kept is not', async () => {
  const { pool, asked } = situation();
  expect(await pool.take()).toBe('n1');
  pool.keep('came-back');
  expect(await pool.take()).toBe('came-back');
  expect(asked()).toBe(1);
});

test('those who wait get what comes back, in the order they came, and nothing is asked for', async () => {
  const { pool, asked } = situation();
  pool.sent();
  const both = Promise.all([pool.take(), pool.take()]);
  pool.keep('first');
  pool.keep(undefined);
  pool.keep('second');
  expect(await both).toEqual(['first', 'second']);
  expect(asked()).toBe(0);
});

test('after five looks in vain one is asked for, and while it is, the others go on waiting for what comes back', async () => {
  let arrive = (): void => {};
  const isThere = new Promise<void>((resolve) => {
    arrive = resolve;
  });
  const { pool, asked, wait } = situation({ isThere });
  pool.sent();
  const both = [pool.take(), pool.take()];
  await wait(4);
  expect(asked()).toBe(0);
  await wait(5);
  expect(asked()).toBe(1);
  pool.keep('came-back');
  arrive();
  expect((await Promise.all(both)).sort()).toEqual(['came-back', 'n1']);
  expect(asked()).toBe(1);
});

test('a new nonce for each fifty requests, had or certain to come, is cheap, and nobody waits for one of those', async () => {
  const { pool, asked } = situation({ toCome: 100 });
  for (let nth = 0; nth < 49; nth += 1) {
    pool.sent();
    pool.answered();
  }
  pool.sent();
  const taken = [pool.take(), pool.take(), pool.take()];
  expect(asked(), '149 requests').toBe(2);
  pool.answered();
  pool.sent();
  taken.push(pool.take());
  expect(asked(), '150 requests').toBe(3);
  pool.keep('came-back');
  expect((await Promise.all(taken)).sort()).toEqual(['came-back', 'n1', 'n2', 'n3']);
});

test('the more are under way, the longer is the wait after which one is asked for', async () => {
  const { pool, asked, wait } = situation();
  for (let nth = 0; nth < 8; nth += 1) pool.sent();
  const taken = pool.take();
  await wait(39);
  expect(asked()).toBe(0);
  await wait(1);
  expect(await taken).toBe('n1');
});

test('who waits for one that comes back looks anew whether another one is cheap by now', async () => {
  const { pool, asked, wait } = situation();
  pool.sent();
  const taken = pool.take();
  expect(asked()).toBe(0);
  for (let nth = 0; nth < 100; nth += 1) {
    pool.sent();
    pool.answered();
  }
  await wait(1);
  expect(await taken).toBe('n1');
});

test('no nonce is given out twice, also not the one that comes in the moment in which a wait ends', async () => {
  const { pool, wait } = situation();
  pool.sent();
  const taken = [pool.take(), pool.take(), pool.take()];
  const waited = wait(5);
  for (const nonce of ['a', 'b']) pool.keep(nonce);
  await waited;
  const all = await Promise.all(taken);
  expect(new Set(all).size).toBe(3);
});
