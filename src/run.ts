import { readFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { createAlidns } from './aliyun/alidns.ts';
import { createCdn } from './aliyun/cdn.ts';
import type { Credentials } from './aliyun/credentials.ts';
import { createKms } from './aliyun/kms.ts';
import { createOss, type Oss } from './aliyun/oss.ts';
import { createRpc, type Rpc } from './aliyun/rpc.ts';
import { type Authorities, createAuthorities } from './authorities.ts';
import { createAlidnsSolver } from './challenge/alidns.ts';
import { createOssSolver } from './challenge/oss.ts';
import { type Config, loadConfig } from './config.ts';
import type { Deps } from './deps.ts';
import { AutocertError, toAutocertError } from './errors.ts';
import { parseRenewEvent } from './event.ts';
import type { Solver } from './issue.ts';
import { createLogger } from './log.ts';
import { type Ports, reconcileAll } from './reconcile.ts';
import type { Store } from './record.ts';
import { isGoodRun, type RunReport, reported, type Step, summary } from './report.ts';
import { createEncryptedStore } from './store/encrypted.ts';
import { createFileStore } from './store/file.ts';
import { createOssStore } from './store/oss.ts';
import { createCdnTarget } from './target/cdn.ts';
import { createEdges } from './verify.ts';

/** What the outside gives to a run, whoever starts it: FC or a terminal. */
export interface Invocation {
  readonly runId: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly region: string | undefined;
  readonly credentials: Credentials | undefined;
  /** When the process is ended from outside. */
  readonly endsAt: Date;
  readonly now: () => Date;
  readonly random: () => number;
  /** Takes one log line. */
  readonly write: (line: string) => void;
}

/** The share of the time that is kept for records, report and alert, and its bounds in milliseconds. */
const MARGIN = { share: 0.1, least: 3_000, most: 60_000 };

/** One run, from event and environment to the report. Never throws: what ends it is in the report. */
export async function run(event: Uint8Array, invocation: Invocation): Promise<RunReport> {
  const startedAt = invocation.now();
  const deps = createDeps(invocation, startedAt);
  let step: Step = 'event';
  let connections: Connections | undefined;
  let report: RunReport;
  try {
    const { only, force } = parseRenewEvent(event);
    step = 'config';
    const config = await readConfig(invocation, deps);
    connections = await connect(config, invocation, deps);
    report = await reconcileAll(config, connections.ports, { runId: invocation.runId, only, force }, deps);
  } catch (thrown) {
    const error = toAutocertError(thrown);
    const finishedAt = invocation.now().toISOString();
    report = { version: 1, runId: invocation.runId, startedAt: startedAt.toISOString(), finishedAt, outcomes: [], error: reported(error, step) };
  } finally {
    connections?.close();
  }
  deps.log[isGoodRun(report) ? 'info' : 'error']('run_finished', { summary: summary(report), report });
  return report;
}
