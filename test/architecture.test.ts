import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const IMPORTS = 'lint/style/noRestrictedImports';
const GLOBALS = 'lint/style/noRestrictedGlobals';
const ENVIRONMENT = 'lint/style/noProcessEnv';
const PLUGIN = 'plugin';

/** What `biome.json` must refuse: a file, one statement in it, the rule that says no. */
const refused: readonly (readonly [path: string, code: string, rule: string])[] = [
  ['src/reconcile.ts', "export { handler } from '../functions/renew.ts';", IMPORTS],
  ['src/aliyun/cdn.ts', "export const a = await import('../../functions/renew.ts');", IMPORTS],
  ['src/reconcile.ts', "export const a = await import('../test/sandbox/pebble.ts');", IMPORTS],
  ['functions/renew.ts', "export const a = await import('../test/sandbox/pebble.ts');", IMPORTS],

  ['src/reconcile.ts', "export const a = await import('acme-client');", IMPORTS],
  ['src/reconcile.ts', "import acme from 'acme-client'; export const a = acme;", IMPORTS],
  ['src/aliyun/cdn.ts', "export const a = await import('acme-client');", IMPORTS],
  ['src/aliyun/cdn.ts', "export const a = await import('@alicloud/pop-core');", IMPORTS],
  ['src/acme.ts', "export const a = await import('@alicloud/pop-core');", IMPORTS],
  ['src/store/oss.ts', "export const a = await import('ali-oss');", IMPORTS],
  ['src/aliyun/rpc.ts', "export const a = await import('ali-oss');", IMPORTS],
  ['src/aliyun/oss.ts', "export const a = await import('@alicloud/fc2');", IMPORTS],
  ['functions/renew.ts', "export const a = await import('ali-oss');", IMPORTS],
  ['src/cli/main.ts', "export const a = await import('acme-client');", IMPORTS],

  ...['net', 'tls', 'http', 'https', 'http2', 'dns', 'dns/promises', 'dgram'].flatMap((name) => [
    ['src/reconcile.ts', `export const a = await import('node:${name}');`, IMPORTS] as const,
    ['src/observe.ts', `export const a = await import('${name}');`, IMPORTS] as const,
    ['functions/renew.ts', `export const a = await import('node:${name}');`, IMPORTS] as const,
    ['src/cli/main.ts', `export const a = await import('node:${name}');`, IMPORTS] as const,
  ]),
  ['src/config.ts', "import { connect } from 'node:net'; export const a = connect;", IMPORTS],
  ['src/reconcile.ts', "export const a = await fetch('https://example.com');", GLOBALS],
  ['functions/renew.ts', "export const a = await fetch('https://example.com');", GLOBALS],
  ['src/reconcile.ts', "export const a = await globalThis.fetch('https://example.com');", GLOBALS],
  ['src/notify/webhook.ts', 'export const a = globalThis.Date.now;', GLOBALS],

  ['src/config.ts', "export const a = process.env['HOME'];", ENVIRONMENT],
  ['src/aliyun/oss.ts', "export const a = process.env['HOME'];", ENVIRONMENT],
  ['src/config.ts', "import { env } from 'node:process'; export const a = env;", IMPORTS],

  ...['src/decide.ts', 'src/aliyun/rpc.ts', 'src/acme/transport.ts'].flatMap((path) =>
    ['Date.now()', 'new Date()', 'Math.random()', 'performance.now()', 'Date.now'].map(
      (code) => [path, `export const a = ${code};`, PLUGIN] as const,
    ),
  ),

  ...["'post'", "'GET'", 'verb', '`POST`'].map(
    (method) =>
      ['src/aliyun/rpc.ts', `export const a = (verb: string) => [verb, { method: ${method} }];`, PLUGIN] as const,
  ),
  ['src/aliyun/rpc.ts', "export const a = (o: { method: string }) => { o.method = 'GET'; };", PLUGIN],

  ['src/decide.ts', 'export default 1;', 'lint/style/noDefaultExport'],
  ['src/acme/index.ts', "export * from './link.ts';", 'lint/performance/noReExportAll'],
  ['src/acme/index.ts', "export { link } from './link.ts';", 'lint/performance/noBarrelFile'],
  ['src/decide.ts', 'export enum Action { Keep }', 'lint/style/noEnum'],
  ['src/decide.ts', 'export const a = (b: any) => b;', 'lint/suspicious/noExplicitAny'],
  ['src/decide.ts', 'export const a = (b?: string) => b!.length;', 'lint/style/noNonNullAssertion'],
  ['src/decide.ts', "import { Deps } from './deps.ts'; export const a = (b: Deps) => b;", 'lint/style/useImportType'],
  ['src/decide.ts', 'const a = async () => 1; a();', 'lint/nursery/noFloatingPromises'],
  ['src/decide.ts', "console.log('a');", 'lint/suspicious/noConsole'],
  ['src/decide.ts', "import a from 'left-pad'; export const b = a;", 'lint/correctness/noUndeclaredDependencies'],
  [
    'test/decide.test.ts',
    "import { test } from 'vitest'; test.skip('a', () => undefined);",
    'lint/suspicious/noSkippedTests',
  ],
  [
    'test/decide.test.ts',
    "import { test } from 'vitest'; test.only('a', () => undefined);",
    'lint/suspicious/noFocusedTests',
  ],
];

/** What it must leave alone: the places that the rules name. */
const allowed: readonly (readonly [path: string, code: string])[] = [
  ['src/acme.ts', "export const a = await import('acme-client');"],
  ['src/acme/client.ts', "export const a = [await import('acme-client'), await import('node:https')];"],
  ['src/aliyun/rpc.ts', "export const a = await import('@alicloud/pop-core');"],
  ['src/aliyun/rpc.ts', "export const a = { method: 'POST' };"],
  ['src/aliyun/oss.ts', "export const a = [await import('ali-oss'), { method: 'PUT' }];"],
  ['src/aliyun/fc.ts', "export const a = await import('@alicloud/fc2');"],
  ['src/verify.ts', "export const a = await import('node:tls');"],
  ['src/store/file.ts', "export const a = await import('node:net');"],
  ['src/challenge/alidns.ts', "export const a = await import('node:dns');"],
  ['src/target/cdn.ts', "export const a = await import('node:tls');"],
  ['src/notify/webhook.ts', "export const a = await fetch('https://example.com');"],
  ['src/config.ts', "import { isIP } from 'node:net'; export const a = isIP;"],
  ['src/decide.ts', 'export const a = (b: number) => [new Date(b), new Date(2026, 0), Date.UTC(2026, 0)];'],
  ['functions/renew.ts', "export const a = [process.env['HOME'], new Date(), Math.random()];"],
  ['src/cli/main.ts', "export const a = [process.env['HOME'], new Date(), Math.random()];"],
  [
    'test/decide.test.ts',
    "import { connect } from 'node:net'; export const a = [connect, fetch, process.env['HOME'], Date.now()];",
  ],
];

/** Rules found at each case, by its number: first those of `refused`, then those of `allowed`. */
const found: string[][] = [];
let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'autocert-architecture-'));
  // Cases for the same file are in projects of their own, so that each is alone in it.
  const projects: [path: string, code: string][][] = [];
  const places = [...refused, ...allowed].map(([path, code]) => {
    let number = projects.findIndex((project) => project.every(([taken]) => taken !== path));
    if (number === -1) number = projects.push([]) - 1;
    projects[number]?.push([path, code]);
    found.push([]);
    return `${number}/${path}`;
  });
  for (const [number, cases] of projects.entries()) {
    const project = join(folder, String(number));
    for (const file of ['biome.json', 'package.json', 'test/architecture']) {
      await cp(join(ROOT, file), join(project, file), { recursive: true });
    }
    for (const [path, code] of cases) {
      await mkdir(dirname(join(project, path)), { recursive: true });
      await writeFile(join(project, path), `${code}\n`);
    }
    for (const { path, category } of await lint(project)) {
      found[places.indexOf(`${number}/${path}`)]?.push(category);
    }
  }
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describe('refused', () => {
  test.each(refused.map(([path, code, rule], index) => ({ path, code, rule, index })))(
    '$path: $code',
    ({ rule, index }) => {
      expect(found[index]).toContain(rule);
    },
  );
});

describe('allowed', () => {
  test.each(allowed.map(([path, code], index) => ({ path, code, index: refused.length + index })))(
    '$path: $code',
    ({ index }) => {
      expect(found[index]).toEqual([]);
    },
  );
});

interface Diagnostic {
  readonly path: string;
  readonly category: string;
}

async function lint(project: string): Promise<Diagnostic[]> {
  const biome = join(ROOT, 'node_modules', '.bin', 'biome');
  const args = ['lint', '--reporter=json', '--vcs-enabled=false', '--max-diagnostics=none'];
  const output = await new Promise<string>((resolve, reject) => {
    // It ends with 1 when it found something.
    execFile(biome, args, { cwd: project, maxBuffer: 2 ** 26 }, (error, stdout) => {
      if (error !== null && error.code !== 1) reject(error);
      else resolve(stdout);
    });
  });
  const report: { diagnostics: { category: string; location: { path: string } }[] } = JSON.parse(output);
  return report.diagnostics.map(({ category, location }) => ({ category, path: location.path }));
}
