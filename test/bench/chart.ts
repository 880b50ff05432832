import { digits, type Figure, median, OURS, spread } from './figures.ts';

const WIDTH = 860;
const LABELS = 330;
const VALUES = 130;
const BAR = 16;
const LINE = 24;
const HEADING = 34;
const MARGIN = 16;

/**
 * Horizontal bars, a group for each figure, each group on a scale of its own; a thin line shows the spread of the runs.
 * The colours follow the reader's scheme: it is readable on light and on dark.
 */
export function chart(figures: readonly Figure[]): string {
  let y = MARGIN;
  const body: string[] = [];
  for (const { what, unit, rows } of figures) {
    const most = Math.max(...rows.flatMap(({ values }) => values), Number.MIN_VALUE);
    const length = (value: number) => Math.max(1, (value / most) * (WIDTH - LABELS - VALUES - 2 * MARGIN));
    body.push(`<text class="heading" x="${MARGIN}" y="${y + 18}">${markup(what)}, ${markup(unit)}</text>`);
    y += HEADING;
    for (const { who, values, isBound = false } of rows) {
      const kind = who.startsWith(OURS) ? 'ours' : isBound ? 'bound' : 'peer';
      const [x, middle] = [MARGIN + LABELS, y + BAR / 2];
      const [least, greatest] = spread(values);
      body.push(
        `<text class="label" x="${x - 8}" y="${y + 12}" text-anchor="end">${markup(who)}</text>`,
        `<rect class="${kind}" x="${x}" y="${y}" width="${length(median(values)).toFixed(1)}" height="${BAR}" rx="2"/>`,
        `<line x1="${(x + length(least)).toFixed(1)}" x2="${(x + length(greatest)).toFixed(1)}" y1="${middle}" y2="${middle}"/>`,
        `<text class="label" x="${(x + length(greatest) + 6).toFixed(1)}" y="${y + 12}">${digits(median(values))}</text>`,
      );
      y += LINE;
    }
    y += MARGIN;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" viewBox="0 0 ${WIDTH} ${y}" role="img">
<title>Measured figures of ${OURS} and its peers</title>
<style>
  text { font: 12px system-ui, sans-serif; fill: #24292f; }
  .heading { font-weight: 600; font-size: 13px; }
  .ours { fill: #0969da; }
  .peer { fill: #8c959f; }
  .bound { fill: none; stroke: #8c959f; stroke-dasharray: 3 2; }
  line { stroke: #24292f; stroke-width: 1.5; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .ours { fill: #4493f8; }
    line { stroke: #e6edf3; }
  }
</style>
${body.join('\n')}
</svg>
`;
}

function markup(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
