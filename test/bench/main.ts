/**
 * `npm run bench [-- --only requests,cold --runs 3 --small]`: measures, prints the table, and writes `bench.json` and
 * `bench.svg` into this folder. With `--only`, what was not measured stays as an earlier run left it. With `--small`
 * nothing is written: it shows that the programs run, and its figures mean nothing.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { arch, cpus, platform, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import { build } from '../../build.ts';
import { chart } from './chart.ts';
import { cold } from './cold.ts';
import { fanout } from './fanout.ts';
import { type Figure, OURS, type Scale } from './figures.ts';
import { idle } from './idle.ts';
import { latency } from './latency.ts';
import { memory } from './memory.ts';
import { money } from './money.ts';
import { pushes } from './pushes.ts';
import { requests } from './requests.ts';
import { table } from './table.ts';

const SECTIONS: Readonly<Record<string, (scale: Scale) => Promise<Figure[]>>> = {
  requests,
  latency,
  cold,
  idle,
  memory,
  pushes,
  fanout,
  money,
};
const JSON_FILE = new URL('./bench.json', import.meta.url);
const CHART_FILE = new URL('./bench.svg', import.meta.url);

interface Written {
  readonly measuredAt: string;
  readonly machine: Readonly<Record<string, string | number>>;
  readonly figures: readonly Figure[];
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { only: { type: 'string' }, runs: { type: 'string' }, small: { type: 'boolean', default: false } },
  });
  const chosen = values.only?.split(',') ?? Object.keys(SECTIONS);
  const unknown = chosen.filter((name) => !Object.hasOwn(SECTIONS, name));
  const runs = Number(values.runs ?? (values.small ? 1 : 3));
  if (unknown.length > 0 || !Number.isInteger(runs) || runs < 1) {
    const known = Object.keys(SECTIONS).join(', ');
    throw new Error(`--only takes sections out of ${known}, and --runs a number from 1 on`);
  }
  await build();
  const measured: Figure[] = [];
  for (const [name, measure] of Object.entries(SECTIONS)) {
    if (!chosen.includes(name)) continue;
    process.stderr.write(`bench: ${name}\n`);
    const figures = await measure({ runs, isSmall: values.small });
    process.stdout.write(`${table(figures)}\n\n`);
    measured.push(...figures);
  }
  if (!values.small) await write(measured, chosen);
}

async function write(measured: readonly Figure[], chosen: readonly string[]): Promise<void> {
  const earlier = await readFile(JSON_FILE, 'utf8').then(
    (text) => (JSON.parse(text) as Written).figures,
    () => [],
  );
  const order = Object.keys(SECTIONS);
  const figures = [...earlier.filter(({ section }) => !chosen.includes(section)), ...measured].sort(
    (a, b) => order.indexOf(a.section) - order.indexOf(b.section),
  );
  const [cpu] = cpus();
  const machine = {
    node: process.version,
    system: `${platform()} ${arch()}`,
    cpu: cpu?.model ?? '',
    cores: cpus().length,
    memoryGigabytes: Math.round(totalmem() / 2 ** 30),
  };
  const written: Written = { measuredAt: new Date().toISOString(), machine, figures };
  await writeFile(JSON_FILE, `${JSON.stringify(written, null, 2)}\n`);
  await writeFile(CHART_FILE, chart(figures.filter(hasPeer)));
}

/** The rest has only a bound to be measured by, and stands in the table. */
function hasPeer({ rows }: Figure): boolean {
  return rows.some(({ who, isBound = false }) => !isBound && !who.startsWith(OURS));
}

try {
  await main();
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
// Left to end by itself, Node 20 was seen not to, over the handles of children that are gone.
process.exit();
