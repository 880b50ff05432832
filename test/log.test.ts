import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AliyunError } from '../src/aliyun/errors.ts';
import { AutocertError } from '../src/errors.ts';
import { createLogger, type LoggerOptions } from '../src/log.ts';
import { Secret } from '../src/secret.ts';

function logger(options: Partial<LoggerOptions> = {}) {
  const lines: string[] = [];
  const log = createLogger({
    write: (line) => lines.push(line),
    now: () => new Date('2026-01-02T03:04:05.678Z'),
    runId: 'run-1',
    ...options,
  });
  return { log, lines, last: (): Record<string, unknown> => JSON.parse(lines.at(-1) ?? '') };
}

describe('a log line', () => {
  test('is one line of JSON with time, level, event and run', () => {
    const { log, lines, last } = logger();
    log.warn('order_deferred', { name: 'www', waits: [1, 2], at: new Date('2026-01-03T00:00:00Z') });
    expect(lines).toHaveLength(1);
    expect(lines[0]).not.toContain('\n');
    expect(last()).toEqual({
      time: '2026-01-02T03:04:05.678Z',
      level: 'warn',
      event: 'order_deferred',
      runId: 'run-1',
      name: 'www',
      waits: [1, 2],
      at: '2026-01-03T00:00:00.000Z',
    });
  });

  test('keeps its own names, whatever the fields are called', () => {
    const { log, last } = logger();
    log.info('a', { event: 'b', level: 'c', time: 'd', runId: 'e', err: new Error('f'), msg: 'g' });
    expect(last()).toMatchObject({
      event: 'a',
      level: 'info',
      time: '2026-01-02T03:04:05.678Z',
      runId: 'run-1',
      err: { message: 'f' },
      msg: 'g',
    });
  });

  test('is written from its level upwards', () => {
    const { log, lines } = logger({ level: 'warn' });
    log.debug('a');
    log.info('a');
    log.warn('a');
    log.error('a');
    expect(lines).toHaveLength(2);
    const all = logger({ level: 'debug' });
    all.log.debug('a');
    expect(all.lines).toHaveLength(1);
  });

  test('says of an error what a person needs, and what caused it', () => {
    const { log, last } = logger();
    const root = new Error('socket hang up');
    const cause = new AliyunError({
      code: 'SERVICE_UNREACHABLE',
      message: 'broke off',
      retryable: true,
      remedy: 'Check.',
      action: 'A',
      requestId: 'R1',
      cause: root,
    });
    log.error('failed', {
      error: new AutocertError({
        code: 'STORE_UNWRITABLE',
        message: 'not written',
        retryable: false,
        remedy: 'Free space.',
        requestId: 'R1',
        cause,
      }),
    });
    expect(last()['error']).toEqual({
      code: 'STORE_UNWRITABLE',
      message: 'not written',
      remedy: 'Free space.',
      retryable: false,
      requestId: 'R1',
      causes: ['AliyunError: broke off', 'Error: socket hang up'],
    });
  });

  test('takes of an error that is not ours its name and message, and none of what else hangs on it', () => {
    const { log, lines, last } = logger();
    log.error('failed', {
      error: Object.assign(new TypeError('bad'), { config: { headers: { authorization: 'canary' } } }),
    });
    expect(last()['error']).toEqual({ name: 'TypeError', message: 'bad' });
    expect(lines.join()).not.toContain('canary');
  });

  test('survives what JSON cannot hold', () => {
    const { log, last } = logger();
    const loop: Record<string, unknown> = {
      n: 12n,
      bytes: new Uint8Array(5),
      date: new Date('no'),
      lone: '\ud800',
      map: new Map([['a', 1]]),
    };
    loop['self'] = loop;
    const cause = new Error('a');
    cause.cause = cause;
    log.info('a', { loop, error: cause });
    expect(last()['loop']).toMatchObject({
      n: '12',
      bytes: '[5 bytes]',
      date: 'no date',
      self: '[...]',
      map: [['a', 1]],
    });
  });

  test('stays below what Function Compute keeps of a line, and says what was left out', () => {
    const { log, lines, last } = logger();
    log.info('a', { small: 1, list: Array.from({ length: 20_000 }, () => 'item'), text: 'x'.repeat(100_000) });
    expect(Buffer.byteLength(lines[0] ?? '')).toBeLessThan(32_768);
    expect(last()).toMatchObject({ small: 1, list: '[140001 bytes left out]' });
  });
});

describe('F70 no secret is in any line', () => {
  const pem = generateKeyPairSync('rsa', { modulusLength: 2048 })
    .privateKey.export({ type: 'pkcs1', format: 'pem' })
    .toString();
  const value = 'a+b/c=d "canary" é%&\\e';
  const forms: Record<string, string> = {
    plain: value,
    'in a URL': `https://example.com/?s=${encodeURIComponent(value)}`,
    'in a form': new URLSearchParams({ s: value }).toString(),
    'encoded twice': encodeURIComponent(encodeURIComponent(value)),
    'in JSON': JSON.stringify({ s: value }),
    'in JSON in JSON': JSON.stringify(JSON.stringify({ s: value })),
    'in base64': Buffer.from(value).toString('base64'),
    'in base64 after one byte': Buffer.from(`x${value}`).toString('base64'),
    'in base64 after two bytes': Buffer.from(`xx${value}y`).toString('base64'),
    'in base64url': Buffer.from(`xy${value}z`).toString('base64url'),
  };
  const parts = [
    'canary',
    'a+b/c=d',
    encodeURIComponent('"canary"'),
    Buffer.from(value).toString('base64').slice(4, -4),
  ];

  test.each(Object.entries(forms))('%s: as a text, a key, an error, a cause, inside a list', (_, text) => {
    const { log, lines } = logger({ secrets: [new Secret(value)] });
    const error = new AutocertError({
      code: 'INTERNAL',
      message: text,
      retryable: false,
      remedy: text,
      cause: new Error(text, { cause: text }),
    });
    log.info('a', { text, list: [[{ text }]], [text]: 1, error, foreign: new Error(text) });
    expect(lines[0]).toContain('[redacted]');
    for (const part of parts) expect(lines[0]).not.toContain(part);
    expect(() => JSON.parse(lines[0] ?? '')).not.toThrow();
  });

  test('as a Secret, in whatever it stands', () => {
    const { log, lines } = logger();
    log.info('a', {
      secret: new Secret('canary'),
      list: [{ secret: new Secret('canary') }],
      map: new Map([['k', new Secret('canary')]]),
    });
    expect(lines[0]).not.toContain('canary');
  });

  test('also one that became known after the log was made', () => {
    const secrets: Secret[] = [];
    const { log, lines } = logger({ secrets });
    log.info('a');
    secrets.push(new Secret('late-canary'));
    log.info('a', { text: 'late-canary' });
    expect(lines[1]).not.toContain('late-canary');
  });

  test('a private key that nobody told it of, whole or cut off', () => {
    const line = (pem.split('\n')[3] ?? '').slice(0, 40);
    const { log, lines } = logger();
    for (const text of [
      pem,
      JSON.stringify({ pem }),
      `before ${pem} after`,
      pem.slice(0, 600),
      `${pem}${pem}`,
      pem.replaceAll('\n', '\r\n'),
    ]) {
      log.info('a', { text, error: new Error(text) });
      expect(lines.at(-1)).not.toContain(line);
      expect(() => JSON.parse(lines.at(-1) ?? '')).not.toThrow();
    }
    log.info('a', { text: `before ${pem} after` });
    expect(lines.at(-1)).toContain('before [redacted]');
    expect(lines.at(-1)).toContain('after');
  });

  test('wherever a text puts it', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 8, unit: 'grapheme' }), fc.string(), fc.string(), (secret, before, after) => {
        fc.pre(!/^[[\]a-z0-9"{},:.\s-]*$/i.test(secret));
        const { log, lines } = logger({ secrets: [new Secret(secret)] });
        log.info('a', { text: `${before}${secret}${after}` });
        const { text }: { text: string } = JSON.parse(lines[0] ?? '');
        expect(text).not.toContain(secret);
      }),
    );
  });

  test('F68 100 KB of half begun keys take no time to look through', () => {
    const { log, lines } = logger();
    log.info('a', { text: '-----BEGIN PRIVATE KEY-----'.repeat(4_000) });
    log.info('a', { text: '-----BEGIN RSA '.repeat(7_000) });
    expect(lines).toHaveLength(2);
  });
});
