import { handOverAt } from './brought.ts';
import { deployable } from './decide.ts';
import type { Observation } from './observe.ts';
import type { Reminder } from './report.ts';

const DAY = 86_400_000;
/** How many days before its end the owner of a certificate is reminded of it. */
const REMINDER_DAYS = [1, 3, 7, 14, 30] as const;

/** What is to be said of a certificate that was brought: nothing before its last month, and not of one that is nowhere served. */
export function reminderOf(observation: Observation, now: Date): Reminder | undefined {
  const { spec, record } = observation;
  const { certificate } = record;
  if (spec.origin !== 'brought' || !certificate || stageOf(certificate.notAfter, now) === undefined) return undefined;
  if (deployable(observation, now).length === 0) return undefined;
  const { identifiers, notAfter: endsAt } = certificate;
  return { identifiers, endsAt, ...(spec.succeeded && { replacedAt: handOverAt(certificate).toISOString() }) };
}

/** The last of the reminders that is due: 30, 14, 7, 3 or 1 days. Undefined before the first of them, and after the end. */
export function stageOf(endsAt: string, now: Date): number | undefined {
  const left = Date.parse(endsAt) - now.getTime();
  return left <= 0 ? undefined : REMINDER_DAYS.find((days) => left <= days * DAY);
}
