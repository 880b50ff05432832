import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { errorsOf, statusesOf } from '../sandbox/footprint.ts';
import { freePorts } from '../sandbox/ports.ts';
import { startRpcServer } from '../sandbox/rpc-server.ts';
import { autocert } from '../sandbox/terminal.ts';
import { CREDENTIALS, startWorld, type World } from '../sandbox/world.ts';

let world: World;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'autocert-bad-input-'));
  world = await startWorld({ zones: ['example.com'] });
  world.cdn.set('www.example.com');
});
afterAll(async () => {
  await world.close();
  await rm(folder, { recursive: true, force: true });
});

const WWW = { certificates: [{ name: 'www', identifiers: ['www.example.com'], keyType: 'ec256' }] };
const GOOD = { name: 'good', keyType: 'ec256' };

describe('a configuration with ten mistakes', () => {
  const mistakes = {
    acme: { directoryURL: 'letsencrypt', contact: ['ops@example.com'] },
    certificates: [
      { name: 'www', identifiers: ['www.example.com', 'a b.example.com'], keytype: 'rsa2048' },
      { name: 'www', identifiers: [`${'a'.repeat(64)}.example.com`], keyType: 'rsa1024' },
    ],
    renewal: { interval: 'often' },
    cdn: { api: 'SetCdnDomainSSLCertificat' },
    store: 'oss:/bucket',
  };

  test('prints ten lines and touches nothing', async () => {
    const calls = world.rpc.calls.length;
    const { exitCode, report } = await autocert(['renew', '--json'], { config: mistakes });
    expect(exitCode).toBe(2);
    expect(report.error).toMatchObject({ code: 'CONFIG_INVALID', step: 'config', retryable: false });
    const lines = report.error?.message.split('\n') ?? [];
    expect(lines.map((line) => line.split(/[:\s]/)[0]).sort()).toEqual([
      'acme.contact[0]',
      'acme.directoryURL',
      'cdn.api',
      'certificates[0].identifiers[1]',
      'certificates[0].keytype',
      'certificates[1].identifiers[0]',
      'certificates[1].keyType',
      'certificates[1].name',
      'renewal.interval',
      'store',
    ]);
    const lineOf = (path: string) => lines.find((line) => line.startsWith(path));
    expect(lineOf('acme.directoryURL'), 'the nearest known key is named').toContain('directoryUrl');
    expect(lineOf('cdn.api'), 'what was found, what is allowed').toMatch(
      /SetCdnDomainSSLCertificat\b.*SetCdnDomainSSLCertificate/,
    );
    expect(world.rpc.calls.length).toBe(calls);
  });

  test('is told to a person by line, with what is allowed', async () => {
    const { stdout } = await autocert(['plan'], { config: mistakes });
    expect(stdout).toContain('keyType');
    expect(stdout).toMatch(/rsa1024.*rsa2048/s);
  });
});

describe('each a named error', () => {
  test.each<[string, Record<string, unknown>, string]>([
    [
      'a domain in two certificates',
      {
        certificates: [
          { ...GOOD, identifiers: ['www.example.com'] },
          { name: 'b', identifiers: ['www.example.com'] },
        ],
      },
      'certificates[1]',
    ],
    [
      'a wildcard with http-01',
      {
        certificates: [{ ...GOOD, identifiers: ['*.example.com'] }],
        challenge: { type: 'http-01', solver: 'oss', bucket: 'origin' },
        region: 'cn-hangzhou',
      },
      '*.example.com',
    ],
    [
      'more than 100 identifiers',
      {
        certificates: [{ ...GOOD, identifiers: Array.from({ length: 101 }, (_, i) => `n${i}.example.com`) }],
      },
      '101',
    ],
    [
      'a name over 253 bytes',
      {
        certificates: [{ ...GOOD, identifiers: [`${'abcdefghi.'.repeat(25)}example.com`] }],
      },
      '253',
    ],
    ['a key that is not 32 bytes', { ...WWW, encryption: { key: Buffer.alloc(16).toString('base64') } }, '32'],
  ])('%s', async (_, more, mentioned) => {
    const calls = world.rpc.calls.length;
    const { exitCode, report } = await autocert(['renew', '--json'], { config: world.config(more) });
    expect(exitCode).toBe(2);
    expect(report.error?.code).toBe('CONFIG_INVALID');
    expect(report.error?.message).toContain(mentioned);
    expect(world.rpc.calls.length).toBe(calls);
  });

  test('a filter that matches no domain', async () => {
    const { exitCode, report } = await autocert(['plan', '--only', 'nowhere', '--json'], { config: world.config(WWW) });
    expect(exitCode).toBe(1);
    expect(report.outcomes.map(({ error }) => error?.code)).toEqual(['FILTER_MATCHED_NOTHING']);
  });

  test('F47 a store that cannot be written: nothing is ordered', async () => {
    const file = join(folder, 'a-file');
    await writeFile(file, '');
    const renewal = await world.renew({ ...world.config(WWW), store: `file://${file}/store` });
    const codes = [renewal.report.error?.code, ...Object.values(errorsOf(renewal))];
    expect(codes.some((code) => code === 'STORE_UNREADABLE' || code === 'STORE_UNWRITABLE')).toBe(true);
    expect(renewal.error?.errorType).toBe('RunFailed');
    expect(world.cdn.served('www.example.com')).toBeUndefined();
  });

  test('credentials that are missing', async () => {
    const { exitCode, report } = await autocert(['renew', '--json'], {
      config: world.config(WWW),
      credentials: undefined,
    });
    expect(exitCode).toBe(1);
    expect(report.error).toMatchObject({ code: 'CREDENTIALS_MISSING', remedy: expect.stringContaining('role') });
  });

  test('credentials that are refused', async () => {
    const credentials = { ...CREDENTIALS, accessKeySecret: 'not-the-secret' };
    const { report, lines } = await world.renew(world.config(WWW), { credentials });
    expect(report.error?.code).toBe('CREDENTIALS_REFUSED');
    expect(lines.join('\n')).not.toContain('not-the-secret');
  });

  test('F43 a clock that is off by hours', async () => {
    const now = () => new Date(Date.now() + 5 * 3_600_000);
    const ahead = await startRpcServer({ products: [world.cdn, world.alidns], accounts: world.accounts, now });
    const { report } = await world.renew({ ...world.config(WWW), endpoints: { cdn: ahead.url, alidns: ahead.url } });
    await ahead.close();
    expect(report.error).toMatchObject({
      code: 'CLOCK_SKEWED',
      step: 'inventory',
      remedy: expect.stringContaining('clock'),
    });
    expect(report.error?.message).toMatch(/this clock is 1[78]\d{3} s behind/);
  });

  test('F42 an action that the role may not call', async () => {
    const [account] = world.accounts;
    if (!account) throw new Error('the world has an account');
    world.accounts[0] = { ...account, denied: ['AddDomainRecord'] };
    const renewal = await world.renew(world.config(WWW));
    world.accounts[0] = account;
    expect(errorsOf(renewal)).toEqual({ www: 'PERMISSION_DENIED' });
    expect(renewal.report.outcomes[0]?.error?.remedy).toContain('alidns:AddDomainRecord');
  });

  test('F59 a CA that cannot be reached', async () => {
    const [port] = await freePorts(1);
    const acme = {
      directoryUrl: `https://127.0.0.1:${port}/dir`,
      contact: ['mailto:ops@example.com'],
      profile: 'default',
    };
    const renewal = await world.renew({
      ...world.config({ certificates: [{ name: 'down', identifiers: ['www.example.com'] }] }),
      acme,
    });
    expect(errorsOf(renewal)).toEqual({ down: 'ACME_UNREACHABLE' });
    expect(renewal.report.outcomes[0]?.error?.remedy).toMatch(/\S/);
  });

  test('F67 an event with rubbish in it', async () => {
    const { report } = await world.renew(world.config(WWW), { payload: { only: [], force: true } });
    expect(report.error).toMatchObject({ code: 'EVENT_INVALID', step: 'event' });
  });
});

test('after all of this the certificate is issued', async () => {
  const renewal = await world.renew(world.config(WWW), { payload: { force: true } });
  expect(statusesOf(renewal)).toEqual({ www: 'renewed' });
});
