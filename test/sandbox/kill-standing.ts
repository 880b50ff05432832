/** What must hold once a case was run to its end, as its store, the CA, the DNS and the edges tell. */

import { createPrivateKey, X509Certificate } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { toCredentials } from '../../src/aliyun/credentials.ts';
import { createKms } from '../../src/aliyun/kms.ts';
import type { Oss } from '../../src/aliyun/oss.ts';
import { createRpc } from '../../src/aliyun/rpc.ts';
import { type CertificateRecord, readBundle, readIndex, readRecord, type Store } from '../../src/record.ts';
import { createEncryptedStore } from '../../src/store/encrypted.ts';
import { createFileStore } from '../../src/store/file.ts';
import { createOssStore } from '../../src/store/oss.ts';
import { treeOf } from './footprint.ts';
import { BUCKET, type Case, endOf, type KillWorld, keysOf, runInterfered, ZONES } from './kill.ts';
import { KMS_KEY } from './world.ts';

export interface Standing {
  /** What does not hold, each in words. */
  readonly broken: readonly string[];
  /** Certificates that the CA issued for the case's names. */
  readonly issued: number;
  /** Certificates that the CA issued and whose key is nowhere in the store any more. */
  readonly lost: number;
  readonly txt: number;
}

/** What must hold once a case was run to its end. */
export async function standingOf(world: KillWorld, one: Case, ledger: IssuedLedger): Promise<Standing> {
  const { store, close } = openStore(world, one);
  try {
    return await standingIn(store, world, one, ledger);
  } finally {
    close();
  }
}

async function standingIn(store: Store, world: KillWorld, one: Case, ledger: IssuedLedger): Promise<Standing> {
  const broken: string[] = [];
  let issued = 0;
  let lost = 0;
  const index = await readIndex(store).catch((error: Error) => void broken.push(`index: ${error.message}`));
  if (index && index.working.size > 0) broken.push(`the index still says that ${[...index.working]} are worked on`);
  for (const [name, domains] of Object.entries(one.certificates)) {
    const atCa = ledger.get(domains);
    issued += atCa.length;
    if (atCa.length !== 1) broken.push(`${name}: ${atCa.length} certificates issued`);
    let record: CertificateRecord;
    try {
      record = await readRecord(store, name);
      const { fingerprint = '' } = record.certificate ?? {};
      const { chain, privateKey } = await readBundle(store, name, fingerprint);
      const leaf = new X509Certificate(chain);
      lost += atCa.filter((theirs) => theirs !== leaf.serialNumber).length;
      if (!leaf.checkPrivateKey(createPrivateKey(privateKey.reveal()))) broken.push(`${name}: the key does not fit`);
      if (!isDeepStrictEqual(index?.records.get(name), record)) broken.push(`${name}: the index differs`);
      for (const edge of world.edges) {
        for (const domain of domains) {
          if (edge.fingerprintOf(domain) !== fingerprint) broken.push(`${name}: ${domain} is behind at ${edge.name}`);
        }
      }
    } catch (error) {
      lost += atCa.length;
      broken.push(`${name}: ${String(error)}`);
    }
  }
  const accounts = (await store.list('accounts/')).length;
  if (accounts !== 1) broken.push(`${accounts} accounts stored`);
  if (world.storeType === 'oss' && Object.values(await contentsOf(world, one)).some((each) => /PRIVATE KEY/.test(each)))
    broken.push('a key is stored in clear');
  const txt = txtOf(world, one);
  if (txt.length > 0) broken.push(`left in the DNS: ${txt}`);
  return { broken, issued, lost, txt: txt.length };
}

/** The TXT records of the case. */
export function txtOf(world: KillWorld, { suffix }: Case): string[] {
  const label = suffix.split('.')[0];
  return ZONES.flatMap((zone) => world.dns.records(zone))
    .filter(({ name, type }) => type === 'TXT' && (name.endsWith(`-${suffix}`) || name === `${label}.acme.example.net`))
    .map(({ name }) => name);
}

/** One more run, after which nothing in the store may be another. */
export async function writesNothing(world: KillWorld, one: Case): Promise<string[]> {
  const before = await contentsOf(world, one);
  const run = await runInterfered(world, one);
  const broken = Object.entries(endOf(run))
    .filter(([, end]) => end !== 'kept')
    .map(([name, end]) => `${name} ${end} at last`);
  if (JSON.stringify(await contentsOf(world, one)) !== JSON.stringify(before)) broken.push('the last run wrote');
  const requests = run.points.filter((point) => point.startsWith('ca '));
  if (requests.length > 0) broken.push(`the last run asked the CA: ${requests}`);
  return broken;
}

/** What the CA has issued, by the names in it. */
export interface IssuedLedger {
  /** Reads every certificate that the CA, in its own log, says to have issued since it was read last. */
  read(): Promise<void>;
  /** Serial numbers, upper-case hexadecimal, of the certificates that hold the first of the names. */
  get(names: readonly string[]): readonly string[];
}

export function createLedger({ pebble }: KillWorld): IssuedLedger {
  const byName = new Map<string, string[]>();
  let line = 0;
  return {
    async read() {
      for (; line < pebble.log.length; line += 1) {
        const serial = /^Issued certificate serial (\w+)/.exec(pebble.log[line] ?? '')?.[1];
        if (serial === undefined) continue;
        const { certificatePem } = await pebble.certificateStatus(serial);
        const { subjectAltName = '', serialNumber } = new X509Certificate(certificatePem);
        for (const name of subjectAltName.split(', ')) {
          const key = name.replace(/^DNS:/, '').replace(/^\*/, 'any');
          byName.set(key, [...(byName.get(key) ?? []), serialNumber]);
        }
      }
    },
    get: ([first = '']) => byName.get(first) ?? [],
  };
}

/** Every object of the case's store, wherever that is: key to its digest or bytes. */
async function contentsOf(world: KillWorld, one: Case): Promise<Record<string, string>> {
  if (world.storeType === 'file') return treeOf(one.storePath);
  return Object.fromEntries(
    keysOf(world, one).map((key) => [key, world.oss.read(BUCKET, key)?.toString('latin1') ?? '']),
  );
}

/** The case's store, for whoever looks at it from outside. The bucket is read past its clock, which is hours ahead of ours. */
function openStore(world: KillWorld, one: Case): { readonly store: Store; close(): void } {
  if (world.storeType === 'file') return { store: createFileStore({ path: one.storePath }), close: () => undefined };
  const now = () => new Date(Date.now() + world.passed());
  const ignore = () => undefined;
  const log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
  const deps = { now, random: Math.random, sleep: async () => {}, deadline: new Date(now().getTime() + 60_000), log };
  const credentials = toCredentials(one.credentials);
  if (!credentials) throw new Error('a case has credentials');
  const rpc = createRpc({ credentials: async () => credentials, deps });
  const refuse = () => Promise.reject(new Error('nothing is changed by looking'));
  const oss: Oss = {
    bucket: BUCKET,
    get: async (key) => world.oss.read(BUCKET, key),
    list: async (prefix) => keysOf(world, one).filter((key) => key.startsWith(prefix)),
    put: refuse,
    delete: refuse,
    close: ignore,
  };
  const cloud = createKms({ rpc, endpoint: world.rpc.url });
  // The first call may be refused: by that the program learns how far ahead the cloud's clock is.
  const kms = { ...cloud, decrypt: (blob: string) => cloud.decrypt(blob).catch(() => cloud.decrypt(blob)) };
  const encryption = { kms, kmsKeyId: KMS_KEY, previousKeys: [] };
  const store = createEncryptedStore({ store: createOssStore({ oss, prefix: one.prefix }), encryption, log });
  return { store, close: () => rpc.close() };
}
