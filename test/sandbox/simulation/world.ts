/** Some years of a fleet's life in the process: the whole flow at every tick, with everything around it simulated. */
import { createAuthorities } from '../../../src/authorities.ts';
import { type Config, parseConfig } from '../../../src/config.ts';
import type { Deps } from '../../../src/deps.ts';
import { AutocertError } from '../../../src/errors.ts';
import type { Solver } from '../../../src/issue.ts';
import { reconcileAll } from '../../../src/reconcile.ts';
import type { RunReport } from '../../../src/report.ts';
import { foundLost, injected } from '../injections.ts';
import { ADVICE_SPREAD, createSimulatedCa, type SimulatedCa, type SimulatedCaOptions } from './ca.ts';
import { createSimulatedCdn } from './cdn.ts';
import { createPeople } from './people.ts';
import { drawn } from './random.ts';
import { createSimulatedStore } from './store.ts';
import { createWeather, type Part } from './weather.ts';

export interface Life {
  readonly seed: number;
  readonly certificates: number;
  readonly days: number;
  /** Nothing is ever out of order, and nothing revoked; only ticks are missing. */
  readonly calm?: boolean;
  /** Days from the beginning in which the timer does not come, or nothing of all that is around works. */
  readonly away?: { readonly what: 'timer' | 'everything'; readonly from: number; readonly to: number };
  /** Default: by the seed, most of them with ARI. */
  readonly offersRenewalInfo?: boolean;
  /** Days. Default: by the seed, 90, 64, 45 or 6. */
  readonly lifetime?: number;
  /** Default: a third of the fleet under one registered domain, the others under forty. */
  readonly registeredDomain?: (number: number) => string;
}

export interface LifeTold {
  readonly ticks: number;
  /** Of the fleet, those that have a certificate at the end. */
  readonly served: number;
  readonly tally: SimulatedCa['tally'];
  /** Certificates that a faultless client would have had issued. */
  readonly ideal: number;
  /** What must never be: one line each. */
  readonly broken: readonly string[];
  /** Certificates that ended while nothing could have renewed them. */
  readonly lost: number;
  /** The outcomes of all ticks in their order, to compare two lives. */
  readonly history: readonly string[];
}

interface Member {
  readonly name: string;
  readonly domain: string;
  readonly lifetime: number;
  /** When it was in the part of its life for renewals, and everything worked, and yet it was not renewed. */
  missed: string[];
  isExpired: boolean;
}

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const TICK = 6 * HOUR;
/** FC's longest time for a function is ten minutes; the run ends before. */
const RUN = 9 * 60_000;
const START = Date.parse('2026-01-02T00:00:00Z');
const LIFETIMES = [90 * DAY, 64 * DAY, 45 * DAY, 6 * DAY] as const;
/** Ticks of every hundred that do not happen. */
const MISSING = 0.1;

export async function live(life: Life): Promise<LifeTold> {
  const { seed, days } = life;
  const fleet = Array.from({ length: life.certificates }, (_, number) => createMember(life, number));
  const byDomain = new Map(fleet.map((member) => [member.domain, member]));
  const length = days * DAY;
  const weather = createWeather(seed, START, life.calm ? 0 : length);
  let now = START;
  const isAway = (what: 'timer' | 'everything') => {
    const { away } = life;
    return away?.what === what && START + away.from * DAY <= now && now < START + away.to * DAY;
  };
  const isDown = (part: Part) => isAway('everything') || weather.isDown(part, now);
  /** Operations of the store in this tick after which it is away: a run that dies on its way. */
  let storeEndsAfter = Number.POSITIVE_INFINITY;
  const store = createSimulatedStore(() => {
    storeEndsAfter -= 1;
    return storeEndsAfter < 0 || isDown('store');
  });
  const options: SimulatedCaOptions = {
    now: () => now,
    isDown: () => isDown('ca'),
    fails: (identifier) => weather.isMisleading(now) || isForlorn(identifier),
    lifetimeOf: (identifier) => byDomain.get(identifier.replace(/^\*\./, ''))?.lifetime ?? DAY,
    offersRenewalInfo: life.offersRenewalInfo ?? drawn(seed, 'ari') < 0.75,
  };
  const ca = createSimulatedCa(options);
  /** Where an order is rehearsed after a failed validation. */
  const stage = createSimulatedCa({ ...options, offersRenewalInfo: false });
  const cdn = createSimulatedCdn({
    domains: fleet.map(({ domain }) => domain),
    now: () => now,
    isDown: () => isDown('api'),
    lag: (domain) => (drawn(seed, domain, now, 'lag') < 0.02 ? 3 * HOUR : 0),
  });
  const solver: Solver = {
    type: 'dns-01',
    present: async () => {
      if (!isDown('dns') || weather.isMisleading(now)) return;
      throw new AutocertError({ code: 'DNS_NOT_PROPAGATED', message: 'Not seen.', retryable: true, remedy: 'Wait.' });
    },
    cleanUp: async () => undefined,
  };
  const config = await createConfig(fleet);
  const revocation = START + (life.calm ? 1 : 0.2 + 0.6 * drawn(seed, 'revocation')) * length;
  const people = createPeople(TICK);
  const broken: string[] = [];
  const history: string[] = [];
  /** The zone of one of them is in no good shape for two months. */
  const forlornFrom = life.calm ? Number.POSITIVE_INFINITY : START + drawn(seed, 'forlorn') * length;
  const isForlorn = (name: string) => name === fleet[1]?.domain && forlornFrom <= now && now < forlornFrom + 60 * DAY;
  let isRevoked = false;
  let lost = 0;
  let ticks = 0;

  for (let tick = 0; tick * TICK < length; tick += 1) {
    now = START + tick * TICK;
    lost += expire(fleet, cdn.servedUntil, now, broken);
    if (!isRevoked && now >= revocation) {
      isRevoked = true;
      injected();
      ca.revokeAll();
    }
    if (isAway('everything')) injected();
    if (isAway('timer') || drawn(seed, tick, 'missing') < MISSING) {
      injected();
      continue;
    }
    ticks += 1;
    const dies = !life.calm && drawn(seed, tick, 'dies') < 0.02;
    if (dies) injected();
    storeEndsAfter = dies ? Math.floor(drawn(seed, tick, 'operation') * 40) : Number.POSITIVE_INFINITY;
    const deps = createDeps(
      () => now,
      (milliseconds) => {
        now += milliseconds;
      },
      drawn(seed, tick, 'random'),
    );
    const open = ({ directoryUrl }: { directoryUrl: string }) =>
      (directoryUrl === config.acme.directoryUrl ? ca : stage).open();
    const authorities = createAuthorities({
      authorities: [config.acme],
      store,
      solver,
      interval: config.renewal.interval,
      deps,
      open,
    });
    const ports = { target: cdn.target, edges: cdn.edges, store, authorities };
    const isFine = !dies && (['ca', 'dns', 'api', 'store'] as const).every((part) => !isDown(part));
    const startedAt = now;
    const report = await reconcileAll(config, ports, { runId: `tick-${tick}`, force: false }, deps);
    history.push(lineOf(tick, report));
    broken.push(...people.hear(report, new Date(now)));
    for (const member of fleet) {
      const end = cdn.servedUntil(member.domain);
      const { lifetime } = member;
      // Up to then the CA may have asked to wait.
      const windowEnd = end - lifetime / (lifetime <= 10 * DAY ? 2 : 3) + lifetime * ADVICE_SPREAD;
      const isDue = end !== 0 && startedAt >= windowEnd;
      if (!isDue) member.missed = [];
      else if (isFine && !isForlorn(member.domain)) member.missed.push(whyNot(member, report, startedAt));
    }
  }
  foundLost(lost);
  return {
    ticks,
    served: fleet.filter(({ domain }) => cdn.servedUntil(domain) > now).length,
    tally: ca.tally,
    ideal: idealOf(fleet, revocation - START) + idealOf(fleet, START + length - revocation),
    broken: [...broken, ...ca.tally.violations],
    lost,
    history,
  };
}

function createMember({ seed, lifetime: days, registeredDomain = domainOf }: Life, number: number): Member {
  const drawnLifetime = LIFETIMES[Math.floor(drawn(seed, number, 'lifetime') * LIFETIMES.length)] ?? 90 * DAY;
  const lifetime = days === undefined ? drawnLifetime : days * DAY;
  return {
    name: `certificate-${number}`,
    domain: `n${number}.${registeredDomain(number)}`,
    lifetime,
    missed: [],
    isExpired: false,
  };
}

function domainOf(number: number): string {
  return number % 3 === 0 ? 'example.com' : `domain-${number % 40}.com`;
}

function createConfig(fleet: readonly Member[]): Promise<Config> {
  const text = {
    acme: { directoryUrl: 'letsencrypt', contact: ['mailto:ops@example.com'] },
    store: 'file:///simulated',
    verify: { patience: '1s' },
    certificates: fleet.map(({ name, domain }) => ({
      name,
      identifiers: [domain],
      keyType: 'ec256',
      targets: [{ type: 'cdn', domains: [domain] }],
    })),
  };
  return parseConfig(JSON.stringify(text), { env: {} });
}

/** Randomness is one number a tick: certificates that are worked on at once draw in no fixed order. */
function createDeps(now: () => number, pass: (milliseconds: number) => void, random: number): Deps {
  const ignore = () => undefined;
  return {
    now: () => new Date(now()),
    random: () => random,
    sleep: async (milliseconds) => pass(milliseconds),
    deadline: new Date(now() + RUN),
    log: { debug: ignore, info: ignore, warn: ignore, error: ignore },
  };
}

/** Gives how many ended since the last look without anybody's fault. */
function expire(
  fleet: readonly Member[],
  servedUntil: (domain: string) => number,
  now: number,
  broken: string[],
): number {
  let lost = 0;
  for (const member of fleet) {
    const end = servedUntil(member.domain);
    if (end === 0 || end > now) {
      member.isExpired = false;
      continue;
    }
    if (member.isExpired) continue;
    member.isExpired = true;
    if (member.missed.length === 0) lost += 1;
    else
      broken.push(
        `${new Date(end).toISOString()} ${member.name} (${member.lifetime / DAY} d) ended: ${member.missed.join(' | ')}`,
      );
  }
  return lost;
}

function whyNot({ name }: Member, report: RunReport, at: number): string {
  const outcome = report.outcomes.find((one) => one.name === name);
  const decision = `${outcome?.decision?.reason}: ${outcome?.decision?.message}`;
  return `${new Date(at).toISOString()} ${outcome?.status} ${decision} ${outcome?.error?.message ?? ''}${report.error?.message ?? ''}`;
}

function lineOf(tick: number, report: RunReport): string {
  const changed = report.outcomes.filter(({ status }) => status !== 'kept');
  return `${tick} ${report.error?.code ?? ''} ${changed.map(({ name, status, error }) => `${name} ${status} ${error?.code ?? ''}`).join(', ')}`;
}

/** The first of each, and one at each end of the part of the life that a certificate is left alone in. */
function idealOf(fleet: readonly Member[], length: number): number {
  const times = fleet.map(
    ({ lifetime }) => 1 + Math.floor(length / (lifetime * (lifetime <= 10 * DAY ? 1 / 2 : 2 / 3))),
  );
  return times.reduce((sum, count) => sum + count, 0);
}
