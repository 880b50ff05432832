import { expect, onTestFinished, test } from 'vitest';
import { createWindow, type Verdict } from '../../src/acme/window.ts';
import { openAcme } from '../../src/acme.ts';
import { manualDeps, realDeps } from './deps.ts';
import { type Fault, startHostileCa } from './hostile-ca.ts';

/** A machine with much else to do. */
const PATIENT = { timeout: 30_000 };

interface Request {
  readonly begins?: boolean;
  readonly patient?: boolean;
}

/** Requests are answered when the test says so, by what the CA says of its load. */
function situation(most: number) {
  const deps = manualDeps();
  const window = createWindow({ most, deps });
  const sent: { readonly name: string; readonly answer: (verdict: Verdict) => Promise<void> }[] = [];
  return {
    deps,
    window,
    /** Those under way, in the order in which they were sent. */
    underWay: () => sent.map(({ name }) => name),
    async ask(name: string, { begins = false, patient = true }: Request = {}) {
      const answered = window.run<Verdict>({
        begins,
        patient,
        judge: (verdict) => verdict,
        send: () =>
          new Promise((resolve) => {
            const answer = async (verdict: Verdict) => {
              sent.splice(
                sent.findIndex((one) => one.name === name),
                1,
              );
              resolve(verdict);
              await answered;
              await new Promise(setImmediate);
            };
            sent.push({ name, answer });
          }),
      });
      await new Promise(setImmediate);
    },
    answer: async (name: string, verdict: Verdict) => sent.find((one) => one.name === name)?.answer(verdict),
  };
}

test('as many are under way as there is room for, the others in the order they came', async () => {
  const { ask, answer, underWay } = situation(2);
  for (const name of ['a', 'b', 'c', 'd']) await ask(name);
  expect(underWay()).toEqual(['a', 'b']);
  await answer('b', 'taken');
  expect(underWay()).toEqual(['a', 'c']);
  await answer('a', undefined);
  expect(underWay()).toEqual(['c', 'd']);
});

test('what belongs to an order under way goes before what begins one', async () => {
  const { window, ask, answer, underWay } = situation(1);
  await ask('first', { begins: true });
  await ask('second', { begins: true });
  await ask('third', { begins: true });
  await ask('authorization of the first');
  expect(window.toCome, 'one, and two orders of seven').toBe(15);
  await answer('first', 'taken');
  expect(underWay()).toEqual(['authorization of the first']);
  await answer('authorization of the first', 'taken');
  expect(underWay()).toEqual(['second']);
});

test('a refusal halves the room, once for all that were under way with it, and never to nothing', async () => {
  const { ask, answer, underWay } = situation(8);
  const names = Array.from({ length: 40 }, (_, nth) => `${nth}`);
  for (const name of names) await ask(name);
  expect(underWay()).toHaveLength(8);
  await answer('0', 'refused');
  for (const name of ['1', '2', '3']) await answer(name, 'refused');
  expect(underWay(), 'four of them are still there, and nobody was let in').toEqual(['4', '5', '6', '7']);
  await answer('4', 'refused');
  expect(underWay()).toEqual(['5', '6', '7', '8']);
  await answer('8', 'refused');
  for (const name of ['5', '6']) await answer(name, undefined);
  expect(underWay(), 'room for two').toEqual(['7', '9']);
  await answer('9', 'refused');
  await answer('7', undefined);
  expect(underWay(), 'room for one').toEqual(['10']);
  await answer('10', 'refused');
  expect(underWay(), 'room for one still').toEqual(['11']);
});

test('each windowful that is taken makes room for one more, up to what there was', async () => {
  const { ask, answer, underWay } = situation(4);
  for (let nth = 0; nth < 40; nth += 1) await ask(`${nth}`);
  await answer('0', 'refused');
  const room: number[] = [];
  for (let nth = 1; nth < 20; nth += 1) {
    await answer(`${nth}`, 'taken');
    room.push(underWay().length);
  }
  expect(room.slice(0, 10)).toEqual([2, 3, 3, 3, 4, 4, 4, 4, 4, 4]);
  expect(Math.max(...room)).toBe(4);
});

test('a pause that the CA asks for holds all but what is impatient, and none when it is longer than the run', async () => {
  const { deps, window, ask, answer, underWay } = situation(2);
  const until = new Date(deps.now().getTime() + 30_000);
  window.pause(until);
  await ask('impatient', { patient: false });
  expect(deps.sleeps).toEqual([]);
  await answer('impatient', undefined);
  await ask('patient');
  expect(deps.sleeps).toEqual([30_000]);
  expect(deps.now()).toEqual(until);
  await answer('patient', 'taken');
  window.pause(new Date(deps.deadline.getTime() + 1));
  await ask('last');
  expect(underWay()).toEqual(['last']);
  expect(deps.sleeps).toEqual([30_000]);
});

test('requests in flight at the CA are never more than sixteen, and eight after a 429', async () => {
  const ca = await startHostileCa();
  const acme = openAcme({ directoryUrl: ca.directoryUrl, caBundle: ca.caBundle, deps: realDeps() });
  onTestFinished(() => {
    acme.close();
    return ca.close();
  });
  const held: Parameters<Fault>[0][] = [];
  const inFlight: number[] = [];
  ca.misbehave('renewalInfo', (exchange) => {
    held.push(exchange);
    inFlight.push(held.length);
    return undefined;
  });
  const answer = (status?: number) => {
    const { response, honest } = held.shift() ?? {};
    response?.writeHead(status ?? 200).end(honest?.().body);
  };
  const asked = Promise.allSettled(Array.from({ length: 60 }, () => acme.renewalInfo('AAAA.BBBB')));
  await expect.poll(() => held.length, PATIENT).toBe(16);
  for (let nth = 0; nth < 10; nth += 1) answer();
  await expect.poll(() => inFlight.length, PATIENT).toBe(26);
  answer(429);
  for (let nth = 0; nth < 8; nth += 1) answer();
  // Seven were left, and with the eight that were taken there was room for nine.
  await expect.poll(() => inFlight.length, PATIENT).toBe(28);
  expect(Math.max(...inFlight)).toBe(16);
  const before = inFlight.length;
  let isOver = false;
  void asked.then(() => {
    isOver = true;
  });
  while (!isOver) {
    answer();
    await new Promise(setImmediate);
  }
  expect(inFlight.slice(before, before + 8).every((many) => many <= 9)).toBe(true);
});
