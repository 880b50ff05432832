import { styleText } from 'node:util';
import { type Outcome, type RunReport, summary } from '../report.ts';

/** The report as a person reads it: a line a certificate, its error and remedy below, the ignored domains at the end. */
export function outcomeTable(report: RunReport): string {
  const { outcomes, ignored = [], error } = report;
  const rows = outcomes.map((outcome) => [outcome.name, outcome.status, decisionOf(outcome)]);
  const widths = [0, 1].map((column) => Math.max(0, ...rows.map((row) => row[column]?.length ?? 0)));
  const lines = outcomes.flatMap((outcome, index) => {
    const [name = '', status = '', decision = ''] = rows[index] ?? [];
    const first = `${name.padEnd(widths[0] ?? 0)}  ${status.padEnd(widths[1] ?? 0)}  ${decision}`.trimEnd();
    return [outcome.status === 'failed' ? styleText('red', first) : first, ...explain(outcome)];
  });
  for (const { domain, reason } of ignored) lines.push(styleText('dim', `${domain}: left alone, ${reason}`));
  if (error) lines.push(styleText('red', `${error.code}: ${error.message}`), `  ${error.remedy}`);
  else lines.push('', summary(report));
  return `${lines.join('\n')}\n`;
}

function decisionOf({ decision }: Outcome): string {
  return decision ? `${decision.action} ${decision.reason}: ${decision.message}` : '';
}

function explain({ error }: Outcome): string[] {
  return error ? [`  ${error.step}: ${error.code}: ${error.message}`, `  ${error.remedy}`] : [];
}
