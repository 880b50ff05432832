import { describe, expect, test } from 'vitest';
import { AcmeProblem, PROBLEM_NAMESPACE } from '../src/acme/problem.ts';
import { AutocertError } from '../src/errors.ts';
import type { CertificateSpec } from '../src/inventory.ts';
import { type Ledger, openLedger, uniteLedgers } from '../src/ledger.ts';
import { createQuarantine } from '../src/quarantine.ts';
import type { CertificateRecord, Store, StoredCertificate } from '../src/record.ts';
import { createSimulatedStore } from './sandbox/simulation/store.ts';

const NOON = new Date('2026-01-02T12:00:00Z');
const LETS_ENCRYPT = 'https://acme-v02.api.letsencrypt.org/directory';
const ELSEWHERE = 'https://ca.example/directory';
const HELD = { check: async () => undefined };
const ignore = () => undefined;

function ledgerOn(
  store: Store,
  more: { directoryUrl?: string; now?: Date; accountUrl?: string; part?: { folder: string; shares: number } } = {},
): Ledger {
  const { directoryUrl = LETS_ENCRYPT, now = NOON, accountUrl = 'https://ca.example/account/1', part } = more;
  const deps = { now: () => now, log: { debug: ignore, info: ignore, warn: ignore, error: ignore } };
  return openLedger({ directoryUrl, accountUrl, store, quarantine: createQuarantine(store, deps), part, deps });
}

function specOf(...identifiers: readonly string[]): CertificateSpec {
  const [name = ''] = identifiers;
  return { name, identifiers, keyType: 'ec256', profile: undefined, domains: [], origin: 'configured' };
}

function recordOf(name: string, more: Partial<CertificateRecord> = {}): CertificateRecord {
  return { version: 1, name, deployed: {}, ...more };
}

function certificateFor(identifiers: string[], notBefore: string, notAfter: string): StoredCertificate {
  const facts = { fingerprint: 'f', serial: '1', keyType: 'ec256', certId: 'a.b', directoryUrl: LETS_ENCRYPT };
  return { ...facts, identifiers, notBefore, notAfter };
}

async function admit(ledger: Ledger, spec: CertificateSpec, record = recordOf(spec.name), replaces?: string) {
  await ledger.admit({ spec, record, replaces }, HELD);
}

async function refusal(ledger: Ledger, spec: CertificateSpec, record?: CertificateRecord, replaces?: string) {
  const thrown = await admit(ledger, spec, record, replaces).then(
    () => undefined,
    (error: unknown) => error,
  );
  return thrown instanceof AutocertError ? { code: thrown.code, retryAfter: thrown.retryAfter?.toISOString() } : thrown;
}

function problem(type: string, detail: string, more: { identifier?: string; retryAfter?: Date } = {}): AcmeProblem {
  const document = { type: `${PROBLEM_NAMESPACE}${type}`, status: 429, detail, subproblems: [], instance: undefined };
  return new AcmeProblem(document, { url: 'https://ca.example/order', purpose: 'open the order', ...more });
}

describe('what a run has used the next run knows of', () => {
  test('also when the run was killed right after: it is written before the order may be opened', async () => {
    const store = createSimulatedStore(() => false);
    for (let run = 0; run < 4; run += 1) await admit(ledgerOn(store), specOf('example.com'));
    const next = await refusal(ledgerOn(store), specOf('example.com'));
    expect(next).toEqual({ code: 'ACME_LIMIT_REACHED', retryAfter: '2026-01-02T12:01:00.000Z' });
    expect(await store.list('ledger/')).toHaveLength(1);
  });

  test('each account has a ledger of its own', async () => {
    const store = createSimulatedStore(() => false);
    for (let run = 0; run < 4; run += 1) await admit(ledgerOn(store), specOf('example.com'));
    const other = ledgerOn(store, { accountUrl: 'https://ca.example/account/2' });
    expect(await refusal(other, specOf('example.com'))).toBeUndefined();
    expect(await store.list('ledger/')).toHaveLength(2);
  });

  test('eight orders at once count as eight', async () => {
    const store = createSimulatedStore(() => false);
    const ledger = ledgerOn(store);
    const specs = Array.from({ length: 60 }, (_, number) => specOf(`n${number}.example.com`));
    const answers = await Promise.all(specs.map((spec) => refusal(ledger, spec)));
    expect(answers.filter((answer) => answer === undefined)).toHaveLength(49);
  });

  test('a run that lost its lease neither counts nor orders', async () => {
    const store = createSimulatedStore(() => false);
    const lost = new AutocertError({ code: 'LEASE_LOST', message: 'Lost.', retryable: false, remedy: 'Nothing.' });
    const lease = { check: () => Promise.reject(lost) };
    const order = { spec: specOf('example.com'), record: recordOf('example.com'), replaces: undefined };
    await expect(ledgerOn(store).admit(order, lease)).rejects.toBe(lost);
    expect(await store.list('ledger/')).toEqual([]);
  });

  test('a damaged ledger is set aside, and the order is opened', async () => {
    const store = createSimulatedStore(() => false);
    await admit(ledgerOn(store), specOf('example.com'));
    const [key = ''] = await store.list('ledger/');
    await store.put(key, new TextEncoder().encode('{"version":1,'));
    await admit(ledgerOn(store), specOf('example.com'));
    expect(await store.list('corrupt/')).toEqual([`corrupt/20260102T120000Z/${key}`]);
    expect(await store.list('ledger/')).toEqual([key]);
  });

  test('a store that is away stops the order, and what happened before is not hidden by it', async () => {
    let away = false;
    const ledger = ledgerOn(createSimulatedStore(() => away));
    away = true;
    expect(await refusal(ledger, specOf('example.com'))).toMatchObject({ code: 'STORE_UNREADABLE' });
    await ledger.failed(specOf('example.com'), problem('dns', 'no TXT record', { identifier: 'example.com' }));
    await ledger.issued(specOf('example.com'));
  });
});

describe('F9 a CA that says rateLimited is not asked again before its time', () => {
  const until = new Date('2026-01-02T18:00:00Z');

  test('by any certificate of a later run, when it is the account that must wait', async () => {
    const store = createSimulatedStore(() => false);
    const first = ledgerOn(store, { directoryUrl: ELSEWHERE });
    await admit(first, specOf('www.example.com'));
    expect(await store.list('ledger/')).toEqual([]);
    await first.failed(specOf('www.example.com'), problem('rateLimited', 'Slow down', { retryAfter: until }));
    const waits = { code: 'ACME_LIMIT_REACHED', retryAfter: '2026-01-02T18:00:00.000Z' };
    expect(await refusal(first, specOf('www.example.org'))).toEqual(waits);
    const later = { directoryUrl: ELSEWHERE, now: new Date('2026-01-02T17:59:59Z') };
    expect(await refusal(ledgerOn(store, later), specOf('www.example.org'))).toEqual(waits);
    expect(await refusal(ledgerOn(store, { ...later, now: until }), specOf('www.example.org'))).toBeUndefined();
  });

  test('by that certificate alone, when it is about its names', async () => {
    const ledger = ledgerOn(createSimulatedStore(() => false));
    const detail = 'too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s';
    await ledger.failed(specOf('www.example.com'), problem('rateLimited', detail, { retryAfter: until }));
    expect(await refusal(ledger, specOf('www.example.com'))).toMatchObject({ code: 'ACME_LIMIT_REACHED' });
    expect(await refusal(ledger, specOf('api.example.com'))).toBeUndefined();
  });
});

describe('a failed validation', () => {
  test('counts for its name, and gives the certificate back that was counted', async () => {
    const ledger = ledgerOn(createSimulatedStore(() => false));
    const spec = specOf('example.com', '*.example.com');
    for (let attempt = 0; attempt < 4; attempt += 1) {
      await admit(ledger, spec);
      await ledger.failed(spec, problem('dns', 'no TXT record', { identifier: '*.example.com' }));
    }
    const waits = { code: 'ACME_LIMIT_REACHED', retryAfter: '2026-01-02T12:01:00.000Z' };
    expect(await refusal(ledger, spec)).toEqual(waits);
    expect(await refusal(ledger, specOf('example.com', 'www.example.com'))).toEqual(waits);
    expect(await refusal(ledger, specOf('www.example.com'))).toBeUndefined();
  });

  test('an order that may yet lead to a certificate stays counted', async () => {
    const store = createSimulatedStore(() => false);
    const spec = specOf('example.com');
    for (let run = 0; run < 4; run += 1) {
      const ledger = ledgerOn(store);
      await admit(ledger, spec);
      await ledger.failed(spec, problem('serverInternal', 'Oops'));
    }
    expect(await refusal(ledgerOn(store), spec)).toMatchObject({ code: 'ACME_LIMIT_REACHED' });
  });
});

describe('what kind of order it is', () => {
  const spec = specOf('www.example.com');
  const certificate = certificateFor(['www.example.com'], '2025-11-01T00:00:00Z', '2026-01-30T00:00:00Z');
  const window = { retryAfter: '2026-01-02T18:00:00Z', selectedTime: '2026-01-02T11:00:00Z' };
  const open = { ...window, start: '2026-01-02T00:00:00Z', end: '2026-01-03T00:00:00Z' };
  const shut = { ...window, start: '2026-01-02T12:00:01Z', end: '2026-01-03T00:00:00Z' };

  /** Every limit of the names and of their domain is used up. */
  async function spentLedger(): Promise<Ledger> {
    const store = createSimulatedStore(() => false);
    for (let run = 0; run < 4; run += 1) await admit(ledgerOn(store), spec);
    for (let number = 0; number < 45; number += 1) await admit(ledgerOn(store), specOf(`n${number}.example.com`));
    return ledgerOn(store);
  }

  test('one that replaces a certificate within the window that ARI suggests is exempt', async () => {
    expect(
      await refusal(await spentLedger(), spec, recordOf(spec.name, { certificate, advice: open }), 'a.b'),
    ).toBeUndefined();
  });

  test.each([
    ['before the window', { certificate, advice: shut }, 'a.b'],
    ['when the CA did not take `replaces`', { certificate, advice: open }, undefined],
    ['without advice', { certificate }, 'a.b'],
  ])('%s it is not', async (_, more, replaces) => {
    expect(await refusal(await spentLedger(), spec, recordOf(spec.name, more), replaces)).toMatchObject({
      code: 'ACME_LIMIT_REACHED',
    });
  });

  test('a renewal of the same names is free of the limit of the domain, a certificate for other names is not', async () => {
    const ledger = await spentLedger();
    const other = specOf('new.example.com');
    const renewed = certificateFor(['new.example.com'], '2025-11-01T00:00:00Z', '2026-01-30T00:00:00Z');
    expect(await refusal(ledger, other)).toMatchObject({ code: 'ACME_LIMIT_REACHED' });
    const longAgo = { ...renewed, notBefore: '2025-09-01T00:00:00Z' };
    const elsewhere = { ...renewed, directoryUrl: ELSEWHERE };
    for (const old of [longAgo, elsewhere]) {
      expect(await refusal(ledger, other, recordOf(other.name, { certificate: old }))).toMatchObject({
        code: 'ACME_LIMIT_REACHED',
      });
    }
    expect(await refusal(ledger, other, recordOf(other.name, { certificate: renewed }))).toBeUndefined();
  });
});

describe('workers that share an account', () => {
  const folder = (shard: number) => `work/000000000007/${shard}/`;
  const part = (shard: number, shares = 3) => ({ part: { folder: folder(shard), shares } });
  const deps = { now: () => NOON, log: { debug: ignore, info: ignore, warn: ignore, error: ignore } };
  const unite = async (store: Store, fence = 7, shares = 3) =>
    uniteLedgers(
      await store.list('work/'),
      { fence, shares },
      { store, quarantine: createQuarantine(store, deps), deps },
    );
  const admitted = async (ledger: Ledger, zone: string, count: number) => {
    const specs = Array.from({ length: count }, (_, number) => specOf(`www.${zone}-${number}.com`));
    return (await Promise.all(specs.map((spec) => refusal(ledger, spec)))).filter((answer) => !answer).length;
  };

  test('each get their part of what is left, and together no more than one would', async () => {
    const [alone, store] = [createSimulatedStore(() => false), createSimulatedStore(() => false)];
    for (const one of [alone, store]) expect(await admitted(ledgerOn(one), 'before', 60)).toBe(60);
    const rest = await admitted(ledgerOn(alone), 'alone', 300);
    const each = await Promise.all([0, 1, 2].map((n) => admitted(ledgerOn(store, part(n)), `shard-${n}`, 300)));
    // A minute's margin: of the whole bucket it is two tokens, of a third of it one.
    expect(rest).toBe(238);
    expect(each).toEqual([79, 79, 79]);
    expect(await store.list('ledger/'), 'nobody writes what all read').toHaveLength(1);
  });

  test('leave one ledger behind, in which the tokens of all are spent', async () => {
    const store = createSimulatedStore(() => false);
    const ledgers = [0, 1, 2].map((n) => ledgerOn(store, part(n)));
    for (const [n, ledger] of ledgers.entries()) await admitted(ledger, `shard-${n}`, 10 * n);
    await unite(store);
    expect(await admitted(ledgerOn(store), 'after', 300)).toBe(298 - 30);
  });

  test('leave what each knows of its own domains, and the wait that the CA told one of them', async () => {
    const store = createSimulatedStore(() => false);
    for (let n = 0; n < 49; n += 1) await admit(ledgerOn(store, part(0)), specOf(`n${n}.example.com`));
    await admit(ledgerOn(store, part(1)), specOf('n1.example.net'));
    const until = new Date('2026-01-02T18:00:00Z');
    const slow = ledgerOn(store, part(2));
    await slow.failed(specOf('n2.example.org'), problem('rateLimited', 'of "example.org"', { retryAfter: until }));
    await unite(store);
    const next = ledgerOn(store);
    expect(await refusal(next, specOf('x.example.com'))).toMatchObject({ code: 'ACME_LIMIT_REACHED' });
    expect(await refusal(next, specOf('x.example.net'))).toBeUndefined();
    expect(await refusal(next, specOf('x.example.org'))).toMatchObject({ retryAfter: '2026-01-02T18:00:00.000Z' });
  });

  test('are counted once, by a run too that finds what a killed one had counted already', async () => {
    const store = createSimulatedStore(() => false);
    for (const n of [0, 1, 2]) await admitted(ledgerOn(store, part(n)), `shard-${n}`, 20);
    await unite(store);
    const [key = ''] = await store.list('ledger/');
    const once = await store.get(key);
    await unite(store);
    expect(await store.get(key)).toEqual(once);
  });

  test('a worker that is begun again goes on with the part of the one before', async () => {
    const store = createSimulatedStore(() => false);
    expect(await admitted(ledgerOn(store, part(0)), 'first', 90)).toBe(90);
    expect(await admitted(ledgerOn(store, part(0)), 'second', 90)).toBe(9);
  });
});
