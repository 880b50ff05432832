import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AcmeProblem, parseProblem } from '../src/acme/problem.ts';
import { toAliyunError } from '../src/aliyun/failure.ts';
import { ossError } from '../src/aliyun/oss-failure.ts';
import { redact } from '../src/aliyun/redact.ts';
import { parseConfig } from '../src/config.ts';
import { AutocertError, toAutocertError } from '../src/errors.ts';
import { withFailure } from '../src/failures.ts';
import { createLogger } from '../src/log.ts';
import { failedOutcome } from '../src/outcome.ts';
import { emptyRecord } from '../src/record.ts';
import { withoutSecrets } from '../src/redact.ts';
import { RunFailed, type RunReport } from '../src/report.ts';
import { Secret } from '../src/secret.ts';
import { ENCODINGS, leaksOf, STRANGERS, secretValue, shownBy } from './canaries.ts';

const NOW = new Date('2026-01-02T03:04:05Z');
const RUNS = process.env['AUTOCERT_SOAK'] === '1' ? 20_000 : 150;

/** What a server said, as each place of this program that hears it passes it on. */
const PATHS: Readonly<Record<string, (text: string, value: string) => string | Promise<string>>> = {
  'an error': (message) =>
    shownBy(
      new AutocertError({
        code: 'INTERNAL',
        message,
        retryable: false,
        remedy: message,
        requestId: message,
        cause: message,
      }),
    ),
  'an error of a library, with its request': (message) => {
    const cause = Object.assign(new TypeError(message, { cause: new Error(message) }), {
      config: { url: message },
      code: message,
    });
    return shownBy(
      new AutocertError({ code: 'INTERNAL', message: 'It failed', retryable: false, remedy: 'Look.', cause }),
    );
  },
  'an error that nobody expected': (message) =>
    shownBy(toAutocertError(Object.assign(new Error(message), { request: message }))),
  'a refusal of a cloud API': (message, value) => {
    const data = { Code: message, Message: `Specified signature is not matched: ${message}`, RequestId: message };
    const thrown = Object.assign(new Error(message), {
      data,
      entry: { url: message, response: { statusCode: 400, headers: {} } },
    });
    const context = {
      action: 'A',
      version: '2018-05-10',
      host: 'h',
      secrets: [new Secret(value)],
      now: NOW,
      timedOutAfter: undefined,
    };
    return shownBy(toAliyunError(thrown, context)) + redact(message, []);
  },
  'a refusal of OSS': (message) => {
    const thrown = Object.assign(new Error(message), {
      name: message,
      status: 403,
      code: message,
      requestId: message,
      params: { message },
    });
    const call = { action: 'PutObject', bucket: 'b', key: 'k', endpoint: 'https://oss.example.com' } as const;
    return shownBy(ossError(thrown, call)) + shownBy(ossError({ ...thrown, code: 'SignatureDoesNotMatch' }, call));
  },
  'a problem of a CA': (detail) => {
    const subproblems = [{ type: detail, detail, identifier: { type: 'dns', value: detail } }];
    const document = parseProblem({ type: detail, detail, instance: detail, subproblems }, 400);
    return document === undefined
      ? 'none'
      : shownBy(document) + shownBy(new AcmeProblem(document, { url: 'https://ca/', purpose: 'do it' }));
  },
  'a log line': (text) => {
    const lines: string[] = [];
    const log = createLogger({ write: (line) => lines.push(line), now: () => NOW, runId: 'run-1', level: 'debug' });
    log.debug('a', { text, [text]: [{ text }], error: new Error(text), map: new Map([[text, text]]) });
    JSON.parse(lines.join());
    return lines.join();
  },
  'the report, the error of the run and the record': (message) => {
    const error = new AutocertError({ code: 'INTERNAL', message, retryable: false, remedy: message });
    const report: RunReport = {
      version: 1,
      runId: 'run-1',
      startedAt: '',
      finishedAt: '',
      outcomes: [failedOutcome('www', error, 'issue')],
    };
    const record = withFailure(emptyRecord('www'), error, { now: () => NOW, random: () => 0 });
    return [JSON.stringify(report), shownBy(new RunFailed(report)), JSON.stringify(record)].join('\n');
  },
  'a configuration that is wrong': async (_text, value) => {
    const places = [
      'notify: [{channel: x, url: "${S}", secret: ["${S}"]}]',
      'store: "${S}"',
      'encryption: {key: "${S}x"}',
      'heartbeat: ["${S}"]',
    ];
    const literal = [
      { encryption: value },
      { notify: [value] },
      { acme: { externalAccountBinding: value } },
      { heartbeat: `${value} x` },
      { store: `oss://id:${value}@bucket` },
      { endpoints: { cdn: `https://id:${value}@cdn` } },
    ];
    const shown = [...places, ...literal.map((entry) => JSON.stringify(entry))].map(async (text) => {
      try {
        await parseConfig(text, { env: { S: value } });
        return '';
      } catch (error) {
        return shownBy(error);
      }
    });
    return (await Promise.all(shown)).join('\n');
  },
};

describe('F70 what a server repeats is shown nowhere', () => {
  test.each(Object.entries(PATHS))('in %s', async (_, pass) => {
    const encodings = fc.constantFrom(...Object.keys(ENCODINGS));
    await fc.assert(
      fc.asyncProperty(secretValue, encodings, fc.string(), async (value, encoding, around) => {
        const secret = new Secret(value);
        const text = `${around} ${ENCODINGS[encoding]?.(secret.reveal())} ${around}`;
        expect(leaksOf(await pass(text, value), value), encoding).toEqual([]);
      }),
      { numRuns: RUNS, seed: 70 },
    );
  });

  test.each(Object.keys(ENCODINGS))(
    'a test that finds nothing when nothing is taken out would prove nothing: %s',
    (encoding) => {
      const [key = ''] = STRANGERS;
      expect(leaksOf(ENCODINGS[encoding]?.(key) ?? '', key)).not.toEqual([]);
    },
  );

  test.each(Object.keys(ENCODINGS).filter((encoding) => encoding !== 'on lines of 20'))(
    'also a private key that nobody told of: %s',
    (encoding) => {
      for (const key of STRANGERS) {
        const clean = withoutSecrets(`before ${ENCODINGS[encoding]?.(key)} after`);
        // The last line of a block may be too short to be known for what it is.
        expect(leaksOf(clean, key.split('\n').slice(0, -3).join('\n'))).toEqual([]);
        expect(clean).toMatch(/^before .* ?after$/s);
      }
    },
  );

  test('what is not secret stays: fingerprints, URLs of orders, paths, certificate ids', () => {
    new Secret(STRANGERS[1] ?? '');
    for (const text of [
      'The certificate 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 is not served at 127.0.0.1:8443.',
      'https://127.0.0.1:14000/my-order/GmBuk_9wIzYQ4rrOwHmBaXFaCfmJd8vRWvL1Pzb0pVo',
      '/tmp/autocert-store-X1yZ2w/certificates/wwwexamplecom/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08.json',
      'aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE and 16A96B9A-F203-4EC5-8E43-CB92E68F4CD8',
      'Query TXT _acme-challenge.www.example.com at every authoritative name server.',
    ]) {
      expect(withoutSecrets(text)).toBe(text);
    }
  });

  test('F68 texts of 100 KB that look a little like secrets take no time', () => {
    for (const part of [
      '-----BEGIN PRIVATE KEY-----',
      '-----BEGIN%2520',
      '%25',
      '%250A',
      '\\',
      'PRIVATE KEY',
      'aA1',
      '\\u002',
      '\r',
      '----',
    ]) {
      expect(withoutSecrets(part.repeat(100_000 / part.length)).length).toBeGreaterThan(0);
    }
  });
});
