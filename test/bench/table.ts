import { digits, type Figure, median, type Row, spread } from './figures.ts';

const HEAD = ['', 'median', 'least to most', 'runs'];

/** The figures as the terminal shows them, in columns. */
export function table(figures: readonly Figure[]): string {
  return figures
    .map(({ section, what, unit, rows, note }) => {
      const cells = [HEAD, ...rows.map((row) => cellsOf(row))];
      const widths = HEAD.map((_, column) => Math.max(...cells.map((line) => (line[column] ?? '').length)));
      const lines = cells.map((line) =>
        line
          .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
          .join('  ')
          .trimEnd(),
      );
      return [`${section}: ${what} (${unit})`, ...(note === undefined ? [] : [note]), ...lines].join('\n  ');
    })
    .join('\n\n');
}

function cellsOf({ who, values, isBound = false }: Row): string[] {
  const [least, most] = spread(values);
  return isBound
    ? [who, digits(median(values)), '', '']
    : [who, digits(median(values)), `${digits(least)} to ${digits(most)}`, String(values.length)];
}
