import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { startHostileCa } from './hostile-ca.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Runs the code in a process of its own and gives the files of node_modules that it had loaded at its end. */
async function loadedBy(code: string): Promise<readonly string[]> {
  const program = `
    import { createRequire } from 'node:module';
    import { openAcme } from ${JSON.stringify(pathToFileURL(join(root, 'src/acme.ts')).href)};
    import { createAccountKey } from ${JSON.stringify(pathToFileURL(join(root, 'src/acme/keys.ts')).href)};
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    const deps = { log, now: () => new Date(), random: Math.random, deadline: new Date(Date.now() + 30000), sleep: async () => {} };
    const caBundle = process.env.CA_BUNDLE;
    const acme = openAcme({ directoryUrl: process.env.DIRECTORY_URL, caBundle, deps });
    ${code}
    acme.close();
    const require = createRequire(import.meta.url);
    console.log(JSON.stringify(Object.keys(require.cache)));`;
  const ca = await startHostileCa();
  onTestFinished(() => ca.close());
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '--eval', program],
    {
      cwd: root,
      env: { ...process.env, DIRECTORY_URL: ca.directoryUrl, CA_BUNDLE: ca.caBundle },
    },
  );
  const files: string[] = JSON.parse(stdout);
  return files;
}

const library = /node_modules\/(acme-client|node-forge|axios|@peculiar)\//;

test('A19 a run that only reads the directory and ARI loads nothing of acme-client', async () => {
  const files = await loadedBy(`await acme.directory(); await acme.renewalInfo('AAAA.BBBB');`);
  expect(files.filter((file) => library.test(file))).toEqual([]);
});

test('A19 acme-client is loaded by the first thing that must be signed', async () => {
  const files = await loadedBy('await acme.account(createAccountKey(), { termsOfServiceAgreed: true });');
  expect(files.some((file) => /node_modules\/acme-client\//.test(file))).toBe(true);
});

test('A15 one file alone knows acme-client, and takes from it what signs', async () => {
  const files = (await readdir(join(root, 'src'), { recursive: true })).filter((file) => file.endsWith('.ts'));
  const knowing = [];
  for (const file of files) {
    const text = await readFile(join(root, 'src', file), 'utf8');
    if (/(from|import\()\s*'acme-client/.test(text)) knowing.push(file);
  }
  expect(knowing).toEqual(['acme/signing.ts']);
});
