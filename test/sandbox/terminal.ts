/** The built command line, as a person runs it. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { RunReport } from '../../src/report.ts';
import { CREDENTIALS } from './world.ts';

const CLI = fileURLToPath(new URL('../../dist/cli.mjs', import.meta.url));

export interface TerminalOptions {
  readonly config?: unknown;
  /** Default: the sandbox's. */
  readonly credentials?: typeof CREDENTIALS | undefined;
  readonly environment?: Readonly<Record<string, string>>;
}

export interface TerminalResult {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** What `--json` printed. Throws when it printed something else. */
  readonly report: RunReport;
}

export async function autocert(args: readonly string[], options: TerminalOptions = {}): Promise<TerminalResult> {
  const credentials = 'credentials' in options ? options.credentials : CREDENTIALS;
  const child = spawn(process.execPath, [CLI, ...args], {
    env: {
      PATH: process.env['PATH'] ?? '',
      ...options.environment,
      ...(options.config !== undefined && { AUTOCERT_CONFIG: JSON.stringify(options.config) }),
      ...(credentials && {
        ALIBABA_CLOUD_ACCESS_KEY_ID: credentials.accessKeyId,
        ALIBABA_CLOUD_ACCESS_KEY_SECRET: credentials.accessKeySecret,
        ALIBABA_CLOUD_SECURITY_TOKEN: credentials.securityToken,
      }),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const exitCode = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  return {
    exitCode,
    stdout,
    stderr,
    get report() {
      return JSON.parse(stdout) as RunReport;
    },
  };
}
