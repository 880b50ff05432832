/**
 * What can happen to an account that is in order, each on Function Compute's host, by the functions, triggers, retries and
 * destinations of a deployment: told step by step, with the messages that people get, and expected to end well.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { RunReport } from '../../src/report.ts';
import type { WatchReport } from '../../src/watch.ts';
import { defaultCa, makeCertificate } from './certificates.ts';
import { type Host, type Invoked, startFcHost } from './fc-host.ts';
import { ordersAt } from './footprint.ts';
import type { ReceivedMessage, Receivers } from './receivers.ts';
import type { Relay } from './relay.ts';
import { CREDENTIALS, parseLine, type World } from './world.ts';

/** Tells what the steps see, and notes what is not as it should be. */
export interface Teller {
  /** The heading of a step; gives what is called at its end, with the time that it took. */
  begin(title: string): () => void;
  say(line: string): void;
  expect(isTrue: boolean, problem: string): void;
}

export interface Setting {
  readonly world: World;
  /** The configuration of the runs before, which goes through `ca` to the CA. */
  readonly config: Readonly<Record<string, unknown>> & { readonly certificates: readonly object[] };
  readonly ca: Relay;
  readonly receivers: Receivers;
  /** The clock of everything but the CA. */
  readonly clock: { now(): Date; advance(milliseconds: number): void };
}

/** Columns of what people get. */
const WIDTH = 92;
const [SECOND, HOUR] = [1000, 3_600_000];
const DAY = 24 * HOUR;
const ZIP = fileURLToPath(new URL('../../dist/autocert.zip', import.meta.url));
const ALERT = { destination: 'acs:fc:cn-hangzhou:1234567890123456:functions/autocert-alert' };
const PASSWORD = 'sandbox-inbox-5d1f';
/** Seconds: long enough for an order, and too short for an instance that hangs. */
const [LONG, SHORT] = [600, 7];

export async function playIncidents(setting: Setting, teller: Teller): Promise<void> {
  const { receivers, clock, config } = setting;
  const environmentVariables = {
    AUTOCERT_CONFIG: JSON.stringify({
      ...config,
      certificates: [
        ...config.certificates,
        { name: 'added', identifiers: ['added.example.com'] },
        { name: 'late', identifiers: ['late.example.com'] },
      ],
      inbox: { passwords: [PASSWORD] },
      notify: [
        { channel: 'dingtalk', url: receivers.url('dingtalk'), secret: receivers.secrets.dingtalk, language: 'zh' },
        { channel: 'webhook', url: receivers.url('webhook'), secret: receivers.secrets.webhook, language: 'en' },
      ],
    }),
  };
  const timers = {
    renew: { cronExpression: '@every 6h', enable: true },
    watch: { cronExpression: '@every 24h', enable: false },
  };
  const renew = { ...functionOf('renew', 0), timeout: LONG, triggers: [timer('every-6h', timers.renew)] };
  function functionOf(name: string, maxAsyncRetryAttempts: number) {
    const destinationConfig = name === 'alert' ? {} : { onFailure: ALERT };
    return {
      handler: `${name}.handler`,
      memorySize: 256,
      timeout: LONG,
      environmentVariables,
      concurrencyConfig: { reservedConcurrency: 1 },
      asyncInvokeConfig: { maxAsyncRetryAttempts, destinationConfig },
    };
  }
  let onDecided: (() => void) | undefined;
  const host = await startFcHost({
    zip: ZIP,
    functions: {
      'autocert-renew': renew,
      'autocert-redeploy': functionOf('redeploy', 1),
      'autocert-watch': { ...functionOf('watch', 0), triggers: [timer('every-day', timers.watch)] },
      'autocert-alert': functionOf('alert', 1),
    },
    credentials: () => CREDENTIALS,
    now: clock.now,
    hurries: () => !setting.ca.isOpen,
    onLine: (line) => {
      if (line.includes('"decided"')) onDecided?.();
    },
  });
  const on: Stage = {
    ...setting,
    teller,
    host,
    timers,
    /** A renewal whose instance hangs once it knows what to do. */
    async hang() {
      renew.timeout = SHORT;
      onDecided = () => host.stall('autocert-renew');
      clock.advance(6 * HOUR);
      await host.tick();
      onDecided = undefined;
      renew.timeout = LONG;
    },
  };
  try {
    await overwritten(on);
    await added(on);
    await caStopped(on);
    await brought(on);
    await killed(on);
    await timerStopped(on);
  } finally {
    await host.close();
  }
}

interface Stage extends Setting {
  readonly teller: Teller;
  readonly host: Host;
  readonly timers: Readonly<Record<'renew' | 'watch', { enable: boolean }>>;
  hang(): Promise<void>;
}

function timer(triggerName: string, triggerConfig: { readonly cronExpression: string; readonly enable: boolean }) {
  return { triggerName, triggerConfig };
}

async function overwritten(on: Stage): Promise<void> {
  const { world, teller, clock } = on;
  const domain = 'healthy.example.com';
  const end = teller.begin('Somebody uploads another certificate for healthy.example.com in the console');
  const ours = world.cdn.served(domain)?.fingerprint;
  uploadByHand(on, domain, 60);
  const event = audit('cdn:ActionTrail:ConsoleOperation', 'SetCdnDomainSSLCertificate', domain, clock.now());
  await react(on, event, domain, 'deploy NotDeployed redeployed');
  expectServed(on, domain, ours);
  end();
}

async function added(on: Stage): Promise<void> {
  const { world, teller, clock } = on;
  const domain = 'added.example.com';
  const end = teller.begin('A domain that the configuration waits for, added.example.com, is added to the CDN');
  world.cdn.set(domain);
  await react(
    on,
    audit('cdn:ActionTrail:ApiCall', 'AddCdnDomain', domain, clock.now()),
    domain,
    'renew NotIssued renewed',
  );
  expectServed(on, domain, world.cdn.served(domain)?.fingerprint);
  end();
}

async function brought(on: Stage): Promise<void> {
  const { world, teller, clock, host } = on;
  const domain = 'own.example.com';
  const end = teller.begin('A certificate that was bought for own.example.com is put into the inbox as a .pfx');
  const certificate = makeCertificate({
    names: [domain],
    notBefore: clock.now(),
    notAfter: new Date(clock.now().getTime() + 365 * DAY),
  });
  uploadByHand(on, domain, 60);
  await mkdir(join(world.storePath, 'inbox'), { recursive: true });
  await writeFile(join(world.storePath, 'inbox', 'own.pfx'), await pkcs12(certificate));
  clock.advance(6 * HOUR);
  await host.tick();
  const run = last(on, 'autocert-renew');
  const taken = run?.lines.flatMap(parseLine).find(({ event }) => event === 'inbox_taken');
  teller.say(taken ? `renew takes ${String(taken['files'])} as ${String(taken['name'])}` : 'renew takes nothing');
  teller.expect(taken !== undefined, 'the inbox: own.pfx was not taken');
  tellOutcome(on, run, domain, 'deploy NotDeployed redeployed', '_inbox.own');
  expectServed(on, domain, certificate.fingerprint);
  end();
}

async function caStopped(on: Stage): Promise<void> {
  const { world, teller, clock, host, ca } = on;
  const domain = 'late.example.com';
  const end = teller.begin('The CA stops; late.example.com has no certificate yet');
  world.cdn.set(domain);
  await ca.shut();
  for (const silent of [false, true, true]) {
    const told = await during(on, async () => {
      clock.advance(6 * HOUR);
      await host.tick();
    });
    const outcome = outcomeOf(last(on, 'autocert-renew'), 'late');
    teller.expect(outcome?.error?.code === 'ACME_UNREACHABLE', `the CA stopped: ${outcome?.error?.code ?? 'no error'}`);
    teller.say(
      `renew, six hours later: ${outcome?.status} ${outcome?.error?.code}; ${told.length === 0 ? 'silence' : `${told.length} messages`}`,
    );
    teller.expect(told.length === (silent ? 0 : 2), `the CA stopped: ${told.length} messages`);
    for (const message of told) quote(teller, message);
  }
  await ca.reopen();
  const told = await during(on, async () => {
    clock.advance(6 * HOUR);
    await host.tick();
  });
  teller.say('The CA is back.');
  tellOutcome(on, last(on, 'autocert-renew'), domain, 'renew NotIssued renewed', 'late');
  teller.expect(told.length === 2, `the CA is back: ${told.length} messages`);
  for (const message of told) quote(teller, message);
  expectServed(on, domain, world.cdn.served(domain)?.fingerprint);
  end();
}

async function killed(on: Stage): Promise<void> {
  const { world, teller, clock, host } = on;
  const domain = 'healthy.example.com';
  const end = teller.begin(`renew hangs, with a timeout of ${SHORT} s, while ${domain} is overwritten again`);
  const ours = world.cdn.served(domain)?.fingerprint;
  const orders = ordersAt(world);
  uploadByHand(on, domain, 60);
  const told = await during(on, on.hang);
  const run = last(on, 'autocert-renew');
  teller.say(`Function Compute: ${run?.error?.errorMessage}`);
  teller.expect(run?.isKilled === true, 'renew was not killed');
  teller.expect(told.length === 2, `the killed run: ${told.length} messages`);
  teller.say('alert, by the failure destination:');
  for (const message of told) quote(teller, message);
  clock.advance(6 * HOUR);
  await host.tick();
  tellOutcome(on, last(on, 'autocert-renew'), domain, 'deploy NotDeployed redeployed', domain);
  expectServed(on, domain, ours);
  teller.expect(ordersAt(world) === orders, 'the killed run cost an order');
  end();
}

async function timerStopped(on: Stage): Promise<void> {
  const { teller, clock, host, timers } = on;
  const end = teller.begin('The timer of renew is switched off; 65 days go by');
  timers.renew.enable = false;
  timers.watch.enable = true;
  clock.advance(65 * DAY);
  const told = await during(on, () => host.tick());
  const finished = last(on, 'autocert-watch')
    ?.lines.flatMap(parseLine)
    .find(({ event }) => event === 'watch_finished');
  const certificates = (finished?.['report'] as WatchReport | undefined)?.certificates ?? [];
  const overdue = new Set(certificates.flatMap(({ name, status }) => (status === 'overdue' ? [name] : [])));
  teller.say(`watch: ${overdue.size} certificates are overdue; of the first it says:`);
  const { message = '' } = certificates.find(({ status }) => status === 'overdue') ?? {};
  for (const part of wrap(message, WIDTH)) teller.say(`  ${part}`);
  teller.expect(overdue.size > 0, 'watch did not notice that the timer stopped');
  teller.say('alert, by the failure destination:');
  teller.expect(told.length === 2, `the timer stopped: ${told.length} messages`);
  for (const message of told) quote(teller, message);
  end();
}

/** The event starts `redeploy`; what it does for the domain is told and has to be as expected. */
async function react({ host, teller, world }: Stage, event: object, domain: string, expected: string): Promise<void> {
  host.invokeAsync('autocert-redeploy', JSON.stringify(event));
  await host.settled();
  const invoked = host.invocations.filter(({ functionName }) => functionName === 'autocert-redeploy').at(-1);
  const { outcomes } = reportOf(invoked);
  const found = outcomes.map(({ decision, status }) => `${decision?.action} ${decision?.reason} ${status}`);
  teller.say(`EventBridge event -> redeploy: ${found.join(', ')}`);
  teller.expect(found.join() === expected, `${domain}: expected "${expected}", got "${found.join()}"`);
  teller.expect(invoked?.error === undefined, `${domain}: ${invoked?.error?.errorMessage}`);
  teller.expect(world.cdn.served(domain) !== undefined, `${domain} has no certificate`);
}

function tellOutcome(on: Stage, run: Invoked | undefined, domain: string, expected: string, name: string): void {
  const outcome = outcomeOf(run, name);
  const found = `${outcome?.decision?.action} ${outcome?.decision?.reason} ${outcome?.status}`;
  on.teller.say(`renew, at its next time: ${found}`);
  on.teller.expect(found === expected, `${domain}: expected "${expected}", got "${found}"`);
}

function reportOf(run: Invoked | undefined): Pick<RunReport, 'outcomes'> {
  const finished = run?.lines.flatMap(parseLine).find(({ event }) => event === 'run_finished');
  return (finished?.['report'] as RunReport | undefined) ?? { outcomes: [] };
}

function outcomeOf(run: Invoked | undefined, name: string): RunReport['outcomes'][number] | undefined {
  return reportOf(run).outcomes.find((outcome) => outcome.name === name);
}

function last({ host }: Stage, functionName: string): Invoked | undefined {
  return host.invocations.filter((one) => one.functionName === functionName).at(-1);
}

/** What reached people meanwhile. */
async function during({ receivers }: Stage, act: () => Promise<void>): Promise<ReceivedMessage[]> {
  const before = receivers.messages.length;
  await act();
  return receivers.messages.slice(before);
}

function quote({ say }: Teller, { receiver, text }: ReceivedMessage): void {
  say(`${receiver} gets:`);
  for (const line of text.trimEnd().split('\n')) for (const part of wrap(line, WIDTH)) say(`  | ${part}`.trimEnd());
}

/** At spaces, and between characters that are two columns wide. */
function wrap(line: string, width: number): string[] {
  const lines: string[] = [];
  let [current, columns] = ['', 0];
  // A word with the spaces before it, or one wide character, and the punctuation that must not begin a line.
  for (const [piece] of line.matchAll(/(?:\s*[^\s\u2e80-\uffef]+|\s*[\u2e80-\uffef])[，。；：、）]*|\s+$/g)) {
    const wide = piece.match(/[\u2e80-\uffef]/g)?.length ?? 0;
    if (current !== '' && columns + piece.length + wide > width) {
      lines.push(current);
      [current, columns] = ['', 0];
    }
    const next = current === '' ? piece.trimStart() : piece;
    current += next;
    columns += next.length + wide;
  }
  return [...lines, current];
}

/** By the edges themselves, not by the function's word. */
function expectServed({ world, teller }: Stage, domain: string, fingerprint: string | undefined): void {
  const seen = world.edges.map((edge) => edge.fingerprintOf(domain));
  teller.say(`served: ${world.edges.map(({ name }, index) => `${name} ${seen[index]?.slice(0, 12)}`).join(', ')}`);
  const isServed = fingerprint !== undefined && seen.every((one) => one === fingerprint);
  teller.expect(isServed, `${domain}: the edges do not serve what they should`);
}

function uploadByHand({ world, clock }: Stage, domain: string, daysLeft: number): void {
  const notAfter = new Date(clock.now().getTime() + daysLeft * DAY);
  const notBefore = new Date(notAfter.getTime() - 90 * DAY);
  world.cdn.purchase(domain, { ...makeCertificate({ names: [domain], notBefore, notAfter }), certType: 'upload' });
}

/** An event of EventBridge, as ActionTrail tells of a write to CDN. */
function audit(type: string, eventName: string, domain: string, now: Date) {
  return {
    id: `${eventName}-${domain}`,
    source: 'acs.cdn',
    specversion: '1.0',
    type,
    time: now.toISOString(),
    aliyunaccountid: '1234567890123456',
    data: { eventName, eventRW: 'Write', requestParameters: { DomainName: domain } },
  };
}

/** A PKCS#12 file with key and chain, root included, made by openssl. */
async function pkcs12({ chain, privateKey }: { readonly chain: string; readonly privateKey: string }): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), 'autocert-pfx-'));
  try {
    const path = join(folder, 'all.pem');
    await writeFile(path, `${privateKey}\n${chain}${defaultCa().root}`);
    const args = ['pkcs12', '-export', '-in', path, '-passout', `pass:${PASSWORD}`];
    const { stdout } = await promisify(execFile)('openssl', args, { encoding: 'buffer', timeout: 20 * SECOND });
    return stdout;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
