export type Language = 'zh' | 'en';

const BEIJING = 8 * 3_600_000;

/** To the minute, in the time of the readers: UTC, and in Chinese Beijing time, which is eight hours ahead and knows no summer. */
export function instantText(instant: Date, language: Language): string {
  if (language === 'en') return `${toMinute(instant)} UTC`;
  return `${toMinute(new Date(instant.getTime() + BEIJING))}（北京时间）`;
}

function toMinute(instant: Date): string {
  return instant.toISOString().slice(0, 16).replace('T', ' ');
}

const UNITS = [
  { milliseconds: 86_400_000, en: 'day', zh: '天' },
  { milliseconds: 3_600_000, en: 'hour', zh: '小时' },
  { milliseconds: 60_000, en: 'minute', zh: '分钟' },
] as const;

/** The largest unit of which there are at least two: `19 days`, `29 hours`. Rounded down. */
export function durationText(milliseconds: number, language: Language): string {
  const unit = UNITS.find((one) => milliseconds >= 2 * one.milliseconds) ?? UNITS[2];
  const count = Math.max(1, Math.floor(milliseconds / unit.milliseconds));
  return language === 'zh' ? `${count} ${unit.zh}` : `${count} ${unit.en}${count === 1 ? '' : 's'}`;
}
