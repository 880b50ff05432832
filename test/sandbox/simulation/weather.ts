/** When what is out of order, for one seed: known beforehand, so that a run that fails is repeated exactly. */
import { injected } from '../injections.ts';
import { drawn } from './random.ts';

export type Part = 'ca' | 'dns' | 'api' | 'store';

export interface Weather {
  isDown(part: Part, at: number): boolean;
  /** The name servers answer, but the CA does not see what was written: validations fail. */
  isMisleading(at: number): boolean;
}

interface Outage {
  readonly part: Part;
  readonly from: number;
  readonly to: number;
  readonly misleads: boolean;
}

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** Hours that an outage of each part lasts at most, and how many there are in a year. */
const PARTS: Readonly<Record<Part, readonly [longest: number, perYear: number]>> = {
  ca: [12, 10],
  dns: [18, 8],
  api: [12, 10],
  store: [8, 10],
};

/** @param length Milliseconds; 0 for fair weather for ever. */
export function createWeather(seed: number, start: number, length: number): Weather {
  const outages: Outage[] = [];
  const add = (part: Part, number: number, hours: number) => {
    const from = start + drawn(seed, part, number, 'from') * length;
    outages.push({ part, from, to: from + hours * HOUR, misleads: drawn(seed, part, number, 'misleads') < 0.25 });
  };
  for (const part of ['ca', 'dns', 'api', 'store'] as const) {
    const [longest, perYear] = PARTS[part];
    const count = Math.round((perYear * length) / (365 * DAY));
    for (let number = 0; number < count; number += 1) add(part, number, longest * drawn(seed, part, number, 'hours'));
  }
  // The one that an emergency plan is for.
  if (length > 0) add('ca', -1, 72);
  injected(outages.length);
  return {
    isDown: (part, at) => outages.some((one) => one.part === part && one.from <= at && at < one.to),
    isMisleading: (at) => outages.some((one) => one.part === 'dns' && one.misleads && one.from <= at && at < one.to),
  };
}
