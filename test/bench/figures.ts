/** What a measurement gives: the same quantity for us, for its peers and for its bound, each with every run's value. */
export interface Figure {
  /** The section that was measured: `--only` chooses by it. */
  readonly section: string;
  /** What is counted or timed, in a few words. */
  readonly what: string;
  readonly unit: string;
  readonly rows: readonly Row[];
  /** How the figure is to be read, where the name does not say it. */
  readonly note?: string;
}

export interface Row {
  readonly who: string;
  /** One for each run, in the order of the runs. */
  readonly values: readonly number[];
  /** A bound or a target, computed and not measured. */
  readonly isBound?: boolean;
}

/** What the rows that are ours begin with. */
export const OURS = 'aliyun-cdn-autocert';

export interface Scale {
  /** How often each thing is measured. */
  readonly runs: number;
  /** Everything as small as it can be: for seeing that the programs run. */
  readonly isSmall: boolean;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}

/** The least and the greatest of the runs. */
export function spread(values: readonly number[]): readonly [number, number] {
  return [Math.min(...values), Math.max(...values)];
}

/** Three digits that mean something, without an exponent. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return '-';
  const places = value === 0 ? 0 : Math.max(0, Math.min(3, 2 - Math.floor(Math.log10(Math.abs(value)))));
  return Number.isInteger(value) ? String(value) : value.toFixed(places);
}
