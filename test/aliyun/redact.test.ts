import { expect, test } from 'vitest';
import { redact } from '../../src/aliyun/redact.ts';
import { Secret } from '../../src/secret.ts';

test('P1 nothing of a quoted string to sign stays, however short its parts are', () => {
  const message =
    'Specified signature is not matched. server string to sign is:POST&%2F&AccessKeyId%3Dshort%26PrivateKey%3Dtiny';
  expect(redact(message, [])).toBe('Specified signature is not matched. server [redacted]');
});

test('P1 a secret is taken out in each encoding that a request has it in', () => {
  const secret = 'a+b/c=';
  const twice = encodeURIComponent(encodeURIComponent(secret));
  expect(redact(`x ${secret} ${encodeURIComponent(secret)} ${twice} y`, [new Secret(secret), undefined, ''])).toBe(
    'x [redacted] [redacted] [redacted] y',
  );
});

test('P1 a key that is quoted in part is taken out, and an ordinary message stays as it is', () => {
  expect(redact('bad: -----BEGIN PRIVATE KEY-----\nMIIE', [])).toBe('bad: [redacted]');
  const ordinary = 'The domain www.example.com does not belong to you. 16A96B9A-F203-4EC5-8E43-CB92E68F4CD8';
  expect(redact(ordinary, [])).toBe(ordinary);
});
