/** Who is told: of each failure once, once more at half time and at the end, and of its recovery once. */
import { NOTHING_TOLD, type Notice, noticesOf, type Told } from '../../../src/notices.ts';
import type { RunReport } from '../../../src/report.ts';

export interface People {
  /** Tells what the run has to tell; gives what should not have been told, or should have been. */
  hear(report: RunReport, now: Date): string[];
}

const RUN = 'the run';

export function createPeople(interval: number): People {
  let told: Told = NOTHING_TOLD;
  /** What is known to be wrong, and the messages about it. */
  const open = new Map<string, Notice['kind'][]>();

  function receive({ kind, subject }: Notice): string[] {
    const name = subject.type === 'certificate' ? subject.name : RUN;
    const heard = open.get(name);
    if (kind === 'recovered') {
      open.delete(name);
      return heard ? [] : [`${name} recovered from nothing`];
    }
    open.set(name, [...(heard ?? []), kind]);
    if (heard?.includes(kind)) return [`${name} is ${kind} for the second time`];
    return kind === 'failing' && heard ? [`${name} began to fail while it was failing`] : [];
  }

  return {
    hear(report, now) {
      const { notices, next } = noticesOf(report, told, { now, interval, full: true });
      told = next;
      const wrong = notices.flatMap(receive);
      if ((report.error !== undefined) !== open.has(RUN)) wrong.push('nobody knows how the run ended');
      for (const { name, status } of report.outcomes) {
        if (status === 'failed' && !open.has(name)) wrong.push(`nobody knows that ${name} fails`);
        if (status !== 'failed' && status !== 'deferred' && open.has(name))
          wrong.push(`${name} is well, and nobody knows`);
      }
      return wrong.map((line) => `${now.toISOString()} ${line}`);
    },
  };
}
