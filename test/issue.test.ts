import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { AcmeAccount } from '../src/acme/account.ts';
import { createAccountKey, createPrivateKey } from '../src/acme/keys.ts';
import { createCsr } from '../src/acme/signing.ts';
import { openAcme } from '../src/acme.ts';
import { type IssueContext, issue } from '../src/issue.ts';
import { createQuarantine } from '../src/quarantine.ts';
import { emptyRecord, readBundle, type Store } from '../src/record.ts';
import { realDeps } from './acme/deps.ts';
import { failureOf } from './acme/session.ts';
import { ordersAt } from './sandbox/footprint.ts';
import { injected } from './sandbox/injections.ts';
import { type Pebble, startPebble } from './sandbox/pebble.ts';
import { createSimulatedStore } from './sandbox/simulation/store.ts';
import { createSignal } from './signal.ts';

let pebble: Pebble;
beforeAll(async () => {
  pebble = await startPebble({ env: { PEBBLE_VA_ALWAYS_VALID: '1' } });
});
afterAll(() => pebble.close());

const counts = () => ({
  orders: ordersAt({ pebble }),
  issued: pebble.log.filter((line) => line.startsWith('Issued certificate serial')).length,
});

const specOf = (domain: string) => ({
  name: domain,
  identifiers: [domain],
  keyType: 'ec256' as const,
  profile: 'default',
  domains: [domain],
  origin: 'configured' as const,
});

/** A process of its own at one account and one store. */
function createProcesses() {
  const key = createAccountKey();
  const store: Store = createSimulatedStore(() => false);
  return async (change: (account: AcmeAccount) => Partial<AcmeAccount> = () => ({})): Promise<IssueContext> => {
    const { directoryUrl, caBundle } = pebble;
    const deps = realDeps();
    const acme = openAcme({ directoryUrl, caBundle, deps });
    onTestFinished(() => acme.close());
    const account = await acme.account(key, { termsOfServiceAgreed: true });
    return {
      account: { ...account, ...change(account) },
      directoryUrl,
      offersRenewalInfo: false,
      preferredChain: undefined,
      profile: 'default',
      store,
      solver: { type: 'dns-01', present: async () => undefined, cleanUp: async () => undefined },
      ledger: { admit: async () => undefined },
      // Of one that was asked just before another took over, too.
      lease: { check: async () => undefined },
      quarantine: createQuarantine(store, deps),
      deps,
    };
  };
}

test('F26 a process that is overtaken on its way to finalize takes nothing from its successor: one order, one certificate for both', async () => {
  const domain = 'overtaken.example.com';
  const spec = specOf(domain);
  const start = createProcesses();
  const [stopped, late, done] = [createSignal(), createSignal(), createSignal()];
  injected();
  const slow = await start(({ finalize }) => ({
    async finalize(...order) {
      stopped.give();
      await late.given;
      const finalized = await finalize(...order);
      done.give();
      return finalized;
    },
  }));
  const successor = await start(({ finalize }) => ({
    async finalize(order, csr) {
      expect(order.status).toBe('ready');
      late.give();
      await done.given;
      return finalize(order, csr);
    },
  }));
  const before = counts();
  const first = issue(spec, emptyRecord(domain), slow);
  await stopped.given;
  const records = await Promise.all([first, issue(spec, emptyRecord(domain), successor)]);
  expect(counts()).toEqual({ orders: before.orders + 1, issued: before.issued + 1 });
  expect(records[1]).toEqual(records[0]);
  const fingerprint = records[1].certificate?.fingerprint ?? '';
  expect((await readBundle(successor.store, domain, fingerprint)).chain).toContain('BEGIN CERTIFICATE');
  expect(await successor.store.list(`certificates/${domain}/order-`)).toEqual([]);
});

test('F26 an order that was finalized with a key that is not ours is of no use, and the next run opens another', async () => {
  const domain = 'foreign-key.example.com';
  const spec = specOf(domain);
  const start = createProcesses();
  injected();
  const { orders } = counts();
  const first = await start(({ finalize, pollOrder }) => ({
    async finalize(order, csr) {
      const privateKey = await createPrivateKey('ec256');
      await finalize(order, await createCsr({ identifiers: [domain], privateKey }));
      await pollOrder(order.url, ['valid']);
      return finalize(order, csr);
    },
  }));
  expect(await failureOf(issue(spec, emptyRecord(domain), first))).toMatchObject({ code: 'CERTIFICATE_INVALID' });
  const { certificate } = await issue(spec, emptyRecord(domain), await start());
  expect(counts().orders - orders).toBe(2);
  expect((await readBundle(first.store, domain, certificate?.fingerprint ?? '')).chain).toContain('BEGIN CERTIFICATE');
});
