import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bundled } from '../bundle.ts';
import { type FcApi, startFcApi } from '../sandbox/fc-api.ts';
import { type FunctionConfig, type Host, startFcHost } from '../sandbox/fc-host.ts';
import { autocert } from '../sandbox/terminal.ts';
import { CREDENTIALS, startWorld, type World } from '../sandbox/world.ts';

let world: World;
let host: Host;
let api: FcApi;
let folder: string;
let environment: Record<string, string>;
beforeAll(async () => {
  world = await startWorld({ zones: ['example.com'] });
  world.cdn.set('www.example.com');
  const certificates = [{ name: 'www', identifiers: ['www.example.com'], keyType: 'ec256' }];
  const renew = functionOf(world.config({ certificates }));
  const broken = functionOf({ certificates });
  host = await startFcHost({
    zip: bundled('autocert.zip'),
    functions: { 'autocert-renew': renew, 'autocert/renew': renew, broken },
    credentials: () => CREDENTIALS,
  });
  api = await startFcApi({ accounts: world.accounts, host });
  folder = await mkdtemp(join(tmpdir(), 'autocert-invoke-'));
  await writeFile(join(folder, 'ca.pem'), api.caBundle);
  environment = { ALIBABA_CLOUD_FC_ENDPOINT: api.url, NODE_EXTRA_CA_CERTS: join(folder, 'ca.pem') };
});
afterAll(async () => {
  await api.close();
  await host.close();
  await world.close();
  await rm(folder, { recursive: true, force: true });
});

function functionOf(config: object): FunctionConfig {
  const environmentVariables = { AUTOCERT_CONFIG: JSON.stringify(config) };
  return { handler: 'renew.handler', memorySize: 256, timeout: 300, environmentVariables };
}

const invoke = (...args: string[]) =>
  autocert(['invoke', '--account', '1234567890123456', '--region', 'cn-hangzhou', ...args], { environment });

describe('autocert invoke', () => {
  test('runs a function of FC 3.0 and tells its report', async () => {
    const { exitCode, report } = await invoke('--function', 'autocert-renew', '--json');
    expect(exitCode).toBe(0);
    expect(report.outcomes.map(({ name, status }) => [name, status])).toEqual([['www', 'renewed']]);
    expect(host.invocations.at(-1)?.functionName).toBe('autocert-renew');
  });

  test('runs a function of a service of FC 2.0, with what it was told to ask for', async () => {
    const { exitCode, stdout } = await invoke(
      '--service',
      'autocert',
      '--function',
      'renew',
      '--only',
      'www',
      '--force',
    );
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^www\s+renewed\s+renew Forced: /);
    expect(host.invocations.at(-1)?.functionName).toBe('autocert/renew');
  });

  test('a function that failed is a failure, with its words and where to look', async () => {
    const { exitCode, stdout } = await invoke('--function', 'broken');
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/^CONFIG_INVALID: acme: /);
    const { requestId } = host.invocations.at(-1) ?? {};
    expect(stdout.endsWith(`\n  The log of request ${requestId} says more.\n`)).toBe(true);
  });

  test.each([
    ['of FC 3.0', ['--function', 'nowhere']],
    ['of FC 2.0', ['--service', 'autocert', '--function', 'nowhere']],
  ])('a function %s that does not exist is named', async (_, args) => {
    const { exitCode, stdout } = await invoke(...args);
    expect(exitCode).toBe(1);
    expect(stdout).toContain('FunctionNotFound');
  });

  test.each([
    ['of FC 3.0', ['--function', 'autocert-renew']],
    ['of FC 2.0', ['--service', 'autocert', '--function', 'renew']],
  ])('a wrong secret is refused %s, and shown nowhere', async (_, args) => {
    const credentials = { ...CREDENTIALS, accessKeySecret: 'not-the-secret-4711' };
    const before = host.invocations.length;
    const { exitCode, stdout, stderr } = await autocert(
      ['invoke', '--account', '1', '--region', 'cn-hangzhou', '--verbose', ...args],
      { environment, credentials },
    );
    expect(exitCode).toBe(1);
    expect(host.invocations.length).toBe(before);
    expect(`${stdout}${stderr}`).not.toMatch(/not-the-secret-4711|sandbox-security-token/);
  });

  test('without a function it says what is missing', async () => {
    const { exitCode, stdout } = await invoke();
    expect(exitCode).toBe(2);
    expect(stdout).toBe('autocert: invoke needs --account, --region and --function\n');
  });
});
