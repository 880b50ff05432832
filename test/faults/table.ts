import type { Injections } from '../sandbox/injections.ts';
import { FAULTS, type Fault } from './catalogue.ts';

/** What a test came to. */
export interface Tested {
  readonly fullName: string;
  readonly state: 'passed' | 'failed' | 'skipped' | 'pending';
  /** Undefined for a test that did not run. */
  readonly injections?: Injections | undefined;
}

export interface FaultTable {
  readonly lines: readonly string[];
  /** What the failed tests do not tell: faults that nothing shows, ids of no fault. One line each. */
  readonly gaps: readonly string[];
}

interface Row {
  readonly cells: readonly string[];
  readonly remark: string;
}

const ID = /\bF[1-9]\d?\b/g;

/** The faults that a test is about. */
export function idsOf(fullName: string): readonly string[] {
  return [...new Set(fullName.match(ID))];
}

/**
 * One line for each fault. What a failed test injected counts as lost, and so do the keys and certificates that a sweep
 * found to be lost. A test of several faults counts for each of them, and a test that ran for one injection at least.
 *
 * @param options.whole Were all tests to run? If not, faults without a test are left out.
 */
export function faultTable(tests: readonly Tested[], { whole }: { readonly whole: boolean }): FaultTable {
  const gaps: string[] = [];
  const ran = tests.filter(({ state }) => state === 'passed' || state === 'failed');
  for (const { fullName } of ran) {
    const unknown = idsOf(fullName).filter((id) => !FAULTS.some((fault) => fault.id === id));
    for (const id of unknown) gaps.push(`${id} is no fault of the catalogue: ${fullName}`);
  }
  const rows = FAULTS.flatMap((fault): Row[] => {
    const its = ran.filter(({ fullName }) => idsOf(fullName).includes(fault.id));
    if (its.length > 0) return [rowOf(fault, its)];
    if (!whole) return [];
    const isSkipped = tests.some(({ fullName }) => idsOf(fullName).includes(fault.id));
    const remark = isSkipped ? 'its tests did not run' : 'it has no test';
    gaps.push(`${fault.id} ${fault.fault}: ${remark}`);
    return [{ cells: [labelOf(fault), '0', '0', '-'], remark }];
  });
  return { lines: aligned([{ cells: ['fault', 'injected', 'survived', 'lost'], remark: '' }, ...rows]), gaps };
}

function rowOf(fault: Fault, tests: readonly Tested[]): Row {
  const counted = tests.map(countOf);
  const injected = counted.reduce((sum, count) => sum + count.injected, 0);
  const lost = counted.reduce((sum, count) => sum + count.lost, 0);
  const failed = tests.filter(({ state }) => state === 'failed').length;
  const cells = [labelOf(fault), ...[injected, injected - lost, lost].map(String)];
  return { cells, remark: failed === 0 ? '' : `${failed} of ${tests.length} tests failed` };
}

function countOf({ state, injections }: Tested): Injections {
  const injected = Math.max(1, injections?.injected ?? 0);
  return { injected, lost: state === 'failed' ? injected : Math.min(injected, injections?.lost ?? 0) };
}

function labelOf({ id, fault }: Fault): string {
  return `${id.padEnd(4)} ${fault}`;
}

/** The first column to the left, the figures to the right. */
function aligned(rows: readonly Row[]): string[] {
  const widthOf = (column: number) => Math.max(...rows.map(({ cells }) => cells[column]?.length ?? 0));
  return rows.map(({ cells, remark }) => {
    const padded = cells.map((cell, column) =>
      column === 0 ? cell.padEnd(widthOf(0)) : cell.padStart(widthOf(column)),
    );
    return [...padded, remark].join('  ').trimEnd();
  });
}
