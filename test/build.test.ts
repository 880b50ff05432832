import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  access,
  constants,
  cp,
  mkdir,
  mkdtemp,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { unzipSync } from 'fflate';
import { expect, onTestFinished, test } from 'vitest';
import { build } from '../build.ts';
import { bundled } from './bundle.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const RENEW = `
import { box, word } from './shared.ts';
export async function handler(event: Buffer): Promise<string> {
  if (event.toString() === 'order') return (await import('acme-client')).default.Client.name;
  if (event.toString() === 'put') return (await import('ali-oss')).default.name;
  if (event.toString() === 'call') return (await import('@alicloud/pop-core')).default.RPCClient.name;
  if (event.toString() === 'decode') return (await import('iconv-lite')).default.decode(Buffer.from([0xd6, 0xd0]), 'gbk');
  if (event.toString() === 'unpack') {
    const httpx = (await import('httpx')).default;
    const packed = (await import('node:zlib')).gzipSync('unpacked');
    const server = (await import('node:http')).createServer((_, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(packed);
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const answer = await httpx.request(\`http://127.0.0.1:\${server.address().port}/\`);
    const text = await httpx.read(answer, 'utf8');
    server.close();
    server.closeAllConnections();
    return text;
  }
  if (event.toString() === 'number') {
    const { CertId } = (await import('json-bigint')).default.parse('{"CertId":12345678901234567890}');
    return CertId.toFixed();
  }
  if (event.toString() === 'later') {
    box.push('one module');
    return (await import('./later.ts')).seen();
  }
  return word;
}
`;
const CLI = `#!/usr/bin/env node
import { handler } from '../../functions/renew.ts';
import { onlyHere } from './only.ts';
console.log(await handler(Buffer.from('order')), onlyHere);
`;

test('the function that is deployed is built, under a megabyte and a half', async () => {
  const { size } = await stat(bundled('autocert.zip'));

  expect(size).toBeLessThan(1_500_000);
  expect(Object.keys(unzipSync(await readFile(bundled('autocert.zip'))))).toContain('renew.mjs');
});

test('the template lies beside the command line, which deploys it, and is not in the zip', async () => {
  expect(await readFile(bundled('template.yml'))).toEqual(await readFile(join(ROOT, 'template.yml')));
  expect(Object.keys(unzipSync(await readFile(bundled('autocert.zip'))))).not.toContain('template.yml');
});

test('the same sources make the same zip, in another folder, at another time and in another time zone', async () => {
  const first = await newProject();
  const second = await newProject();
  await utimes(join(second, 'functions/renew.ts'), new Date('2020-01-02T03:04:05Z'), new Date('2020-01-02T03:04:05Z'));

  await buildIn(first, 'Asia/Shanghai');
  await buildIn(second, 'America/Los_Angeles');

  expect(await sha256(join(first, 'dist/autocert.zip'))).toBe(await sha256(join(second, 'dist/autocert.zip')));
});

test('what is in the zip runs without node_modules, and without what nobody needs of the SDKs', async () => {
  const { deployed, sources } = await deploy();

  const results = await Promise.all(
    ['', 'order', 'put', 'call', 'decode', 'unpack', 'number'].map((event) => invoke(deployed, event)),
  );

  expect(results).toEqual(['shared', 'AcmeClient', 'Client', 'RPCClient', '中', 'unpacked', '12345678901234567890']);
  const unneeded = /node_modules\/(?:axios|bignumber\.js|debug|iconv-lite)\//;
  expect([...sources.values()].flat().filter((source) => unneeded.test(source))).toEqual([]);
});

test('what is loaded later shares its modules with what was loaded at once, which is one file', async () => {
  const { deployed, sources } = await deploy();

  expect(await invoke(deployed, 'later')).toBe('one module');
  expect(sources.get('start.mjs')).toContain('functions/shared.ts');
  expect(sources.get('start.mjs')).not.toContain('functions/later.ts');
});

test('the other handlers are one more file, which shares its modules with the first', async () => {
  const project = await newProject();
  const other = (name: string) =>
    writeFile(
      join(project, `functions/${name}.ts`),
      [
        "import { box } from './shared.ts';",
        "import { both } from './both.ts';",
        'export async function handler(event: Buffer): Promise<string> {',
        "  const { handler: renew } = await import('./renew.ts');",
        `  return [await renew(event), ...box, both, '${name}'].join();`,
        '}',
      ].join('\n'),
    );
  await Promise.all([other('status'), other('watch')]);
  await writeFile(join(project, 'functions/both.ts'), "export const both = 'both';\n");

  const { sources } = await build(project);

  const results = await Promise.all(['status', 'watch'].map((name) => invoke(join(project, 'dist'), 'later', name)));
  expect(results).toEqual(['one module,one module,both,status', 'one module,one module,both,watch']);
  const ours = (file: string) => sources.get(file)?.filter((source) => source.startsWith('functions/'));
  expect(ours('start.mjs')).toEqual(['functions/renew.ts', 'functions/shared.ts']);
  expect(ours('functions.mjs')).toEqual(['functions/both.ts', 'functions/status.ts', 'functions/watch.ts']);
});

test('a run that needs no dependency does not load it', async () => {
  const { deployed, sources } = await deploy();
  for (const [file, inputs] of sources) {
    const isDependency = inputs.some((path) =>
      /node_modules\/(?:acme-client|ali-oss|@alicloud\/pop-core)\//.test(path),
    );
    if (isDependency) await rm(join(deployed, file), { force: true });
  }

  expect(await invoke(deployed, '')).toBe('shared');
  await expect(invoke(deployed, 'order')).rejects.toThrow('ERR_MODULE_NOT_FOUND');
});

test('the zip holds the handlers, their chunks and the notices, and nothing that only the command line needs', async () => {
  const project = await newProject();
  await build(project);

  const files = unzipSync(await readFile(join(project, 'dist/autocert.zip')));

  const names = Object.keys(files);
  expect(names).toEqual([...names].sort());
  expect(names.filter((name) => !name.startsWith('chunks/'))).toEqual([
    'LICENSE',
    'THIRD-PARTY-LICENSES',
    'renew.mjs',
    'start.mjs',
  ]);
  const text = Object.values(files)
    .map((contents) => Buffer.from(contents).toString())
    .join('');
  expect(text).not.toContain('only the command line');
  expect(Buffer.from(files['THIRD-PARTY-LICENSES'] ?? '').toString()).toMatch(/^acme-client 5\.4\.0 \(MIT\)$/m);
});

test('the command line is an executable, and a later build removes what an earlier one left', async () => {
  const project = await newProject();
  await mkdir(join(project, 'dist/chunks'), { recursive: true });
  await writeFile(join(project, 'dist/chunks/old-ABCDEFGH.mjs'), '');

  await build(project);

  await access(join(project, 'dist/cli.mjs'), constants.X_OK);
  const { stdout } = await promisify(execFile)(join(project, 'dist/cli.mjs'));
  expect(stdout).toBe('AcmeClient only the command line\n');
  await expect(access(join(project, 'dist/chunks/old-ABCDEFGH.mjs'))).rejects.toThrow('ENOENT');
});

test('a folder without a handler is an error, not an empty zip', async () => {
  const project = await newProject();
  await rm(join(project, 'functions/renew.ts'));
  await rm(join(project, 'src'), { recursive: true });

  await expect(build(project)).rejects.toThrow('nothing to build');
});

/** A project of its own, with this project's dependencies. */
async function newProject(): Promise<string> {
  const project = await mkdtemp(join(tmpdir(), 'autocert-build-'));
  onTestFinished(() => rm(project, { recursive: true }));
  await mkdir(join(project, 'functions'));
  await mkdir(join(project, 'src/cli'), { recursive: true });
  await writeFile(join(project, 'functions/renew.ts'), RENEW);
  await writeFile(
    join(project, 'functions/shared.ts'),
    "export const word = 'shared';\nexport const box: string[] = [];\n",
  );
  await writeFile(
    join(project, 'functions/later.ts'),
    "import { box } from './shared.ts';\nexport const seen = () => box.join();\n",
  );
  await writeFile(join(project, 'src/cli/main.ts'), CLI);
  await writeFile(join(project, 'src/cli/only.ts'), "export const onlyHere = 'only the command line';\n");
  await writeFile(join(project, 'package.json'), JSON.stringify({ type: 'module' }));
  await cp(join(ROOT, 'LICENSE'), join(project, 'LICENSE'));
  await symlink(join(ROOT, 'node_modules'), join(project, 'node_modules'));
  return project;
}

async function buildIn(project: string, timeZone: string): Promise<void> {
  const program = `
    const { build } = await import(${JSON.stringify(join(ROOT, 'build.ts'))});
    await build(${JSON.stringify(project)});`;
  await promisify(execFile)(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', program], {
    cwd: ROOT,
    env: { ...process.env, TZ: timeZone },
  });
}

/** The zip of a new project, unpacked where there are no dependencies. */
async function deploy() {
  const project = await newProject();
  const { sources } = await build(project);
  const deployed = await mkdtemp(join(tmpdir(), 'autocert-deployed-'));
  onTestFinished(() => rm(deployed, { recursive: true }));
  const files = unzipSync(await readFile(join(project, 'dist/autocert.zip')));
  for (const [name, contents] of Object.entries(files)) {
    await mkdir(dirname(join(deployed, name)), { recursive: true });
    await writeFile(join(deployed, name), contents);
  }
  return { deployed, sources };
}

/** What the handler answers in a process of its own. */
async function invoke(deployed: string, event: string, name = 'renew'): Promise<string> {
  const program = `
    const { handler } = await import(${JSON.stringify(join(deployed, `${name}.mjs`))});
    process.stdout.write(await handler(Buffer.from(${JSON.stringify(event)})));`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program]);
  return stdout;
}

async function sha256(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}
