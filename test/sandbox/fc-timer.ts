/**
 * When a timer trigger fires: `@every 4m`, or six fields (second minute hour day-of-month month day-of-week), in UTC or in
 * the zone that `CRON_TZ=` names (https://www.alibabacloud.com/help/en/functioncompute/fc-3-0/user-guide/time-triggers).
 */

/** Milliseconds of the units of `@every`. */
const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000 };
const RANGES = [
  [0, 59],
  [0, 59],
  [0, 23],
  [1, 31],
  [1, 12],
  [0, 6],
] as const;
const NAMES = [
  [],
  [],
  [],
  [],
  ['', 'JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'],
  ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'],
] as const;
const [SECOND, MINUTE, HOUR] = [1000, 60_000, 3_600_000];
/** A day that comes in leap years alone comes at least once in eight years. */
const LONGEST = 8 * 366 * 24 * HOUR;

/** The first time after `after`; `since` is when the trigger was made, from which `@every` counts. Throws for what is no expression. */
export function nextTime(cronExpression: string, after: Date, since: Date): Date {
  const [, count, unit = ''] = /^@every (\d+)([smh])$/.exec(cronExpression) ?? [];
  if (count !== undefined) {
    const period = Number(count) * (UNITS[unit] ?? 0);
    if (period === 0) throw new Error(`every nothing: ${cronExpression}`);
    const passed = Math.floor((after.getTime() - since.getTime()) / period);
    return new Date(since.getTime() + (passed + 1) * period);
  }
  const [, zone = 'UTC', expression = ''] = /^(?:CRON_TZ=(\S+) )?(.*)$/.exec(cronExpression) ?? [];
  const fields = expression.split(' ');
  if (fields.length !== RANGES.length) throw new Error(`not six fields: ${cronExpression}`);
  const allowed = fields.map((field, index) => valuesOf(field, index));
  const wall = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    hourCycle: 'h23',
    second: 'numeric',
    minute: 'numeric',
    hour: 'numeric',
    day: 'numeric',
    month: 'numeric',
    weekday: 'short',
  });
  let time = (Math.floor(after.getTime() / SECOND) + 1) * SECOND;
  for (const end = time + LONGEST; time < end; ) {
    const parts = Object.fromEntries(wall.formatToParts(time).map(({ type, value }) => [type, value]));
    const [second, minute, hour, day, month] = ['second', 'minute', 'hour', 'day', 'month'].map((part) =>
      Number(parts[part]),
    );
    const values = [second, minute, hour, day, month, numberOf(parts['weekday'] ?? '', 5)];
    const [fits0, fits1, ...fits] = values.map((value, index) => allowed[index]?.has(value ?? -1) === true);
    // Hours are whole in the zone, which may be half an hour off.
    if (fits.includes(false)) time += HOUR - (minute ?? 0) * MINUTE - (second ?? 0) * SECOND;
    else if (!fits1) time += MINUTE - (second ?? 0) * SECOND;
    else if (!fits0) time += SECOND;
    else return new Date(time);
  }
  throw new Error(`never: ${cronExpression}`);
}

// `*`, `?`, `5`, `1-5`, `MON-FRI`, each of them with `/step` behind it, and lists of all that.
function valuesOf(field: string, index: number): Set<number> {
  const [least, most] = RANGES[index] ?? [0, 0];
  const values = new Set<number>();
  for (const item of field.split(',')) {
    const [, range = '', step = '1'] = /^([^/]+)(?:\/(\d+))?$/.exec(item) ?? [];
    const isAll = range === '*' || range === '?';
    const ends = range.split('-').map((end) => numberOf(end, index));
    const [from, to] = isAll ? [least, most] : [ends[0], item.includes('/') && ends.length === 1 ? most : ends.at(-1)];
    const isGood = from !== undefined && to !== undefined && from >= least && to <= most && from <= to;
    if (!isGood || Number(step) < 1) throw new Error(`not a field of a cron expression: ${field}`);
    for (let value = from; value <= to; value += Number(step)) values.add(value);
  }
  return values;
}

function numberOf(text: string, index: number): number | undefined {
  const named = (NAMES[index] as readonly string[] | undefined)?.indexOf(text.toUpperCase()) ?? -1;
  if (text !== '' && named >= 0) return named;
  return /^\d{1,2}$/.test(text) ? Number(text) : undefined;
}
