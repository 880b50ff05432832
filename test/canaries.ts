import { generateKeyPairSync } from 'node:crypto';
import { inspect } from 'node:util';
import fc from 'fast-check';

function pem(type: 'rsa' | 'ec', form: 'pkcs1' | 'sec1' | 'pkcs8'): string {
  const { privateKey } =
    type === 'rsa'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return form === 'pkcs1'
    ? privateKey.export({ type: 'pkcs1', format: 'pem' }).toString()
    : privateKey.export({ type: form === 'sec1' && type === 'ec' ? 'sec1' : 'pkcs8', format: 'pem' }).toString();
}

const PRIVATE_KEYS = [
  pem('rsa', 'pkcs1'),
  pem('rsa', 'pkcs8'),
  pem('ec', 'sec1'),
  pem('ec', 'pkcs8'),
  pem('rsa', 'pkcs1'),
];

/** A private key that no `Secret` was ever made of. */
export const STRANGERS = [pem('rsa', 'pkcs1'), pem('rsa', 'pkcs8')];

const base64 = (min: number, max: number) =>
  fc
    .uint8Array({ minLength: min, maxLength: max })
    .filter((bytes) => new Set(bytes).size > 12)
    .map((bytes) => Buffer.from(bytes));
const alphanumeric = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const word = (length: number) =>
  fc
    .array(fc.constantFrom(...alphanumeric), { minLength: length, maxLength: length })
    .filter((letters) => new Set(letters).size > 12)
    .map((letters) => letters.join(''));

/** Every kind of secret that this program has. */
export const secretValue = fc.oneof(
  fc.constantFrom(...PRIVATE_KEYS),
  // AccessKey secret, STS token, EAB hmac key, encryption key, webhook URL and its secret.
  word(30),
  base64(150, 300).map((bytes) => `CAIS${bytes.toString('base64')}`),
  base64(32, 64).map((bytes) => bytes.toString('base64url')),
  base64(32, 32).map((bytes) => bytes.toString('base64')),
  word(40).map((token) => `https://hooks.example.com/services/send?access_token=${token}`),
  word(24).map((token) => `SEC${token}`),
);

const wrap = (text: string, width: number, between: string) =>
  text.match(new RegExp(`.{1,${width}}`, 'gs'))?.join(between) ?? '';
const bodyOf = (text: string) => text.replace(/-----[A-Z ]+-----/g, '').replace(/\s+/g, '');

/** In how many ways a server may give back what it was sent. */
export const ENCODINGS: Readonly<Record<string, (value: string) => string>> = {
  raw: (value) => value,
  'in a URL': encodeURIComponent,
  'in a string to sign': (value) => encodeURIComponent(encodeURIComponent(value)),
  'three times in a URL': (value) => encodeURIComponent(encodeURIComponent(encodeURIComponent(value))),
  'in a form': (value) => new URLSearchParams({ PrivateKey: value }).toString(),
  base64: (value) => Buffer.from(value).toString('base64'),
  'base64 after one byte': (value) => Buffer.from(`x${value}`).toString('base64'),
  base64url: (value) => Buffer.from(`xy${value}`).toString('base64url'),
  JSON: (value) => JSON.stringify({ value }),
  'JSON in JSON': (value) => JSON.stringify(JSON.stringify({ value })),
  hex: (value) => Buffer.from(value).toString('hex'),
  'HEX of what PEM holds': (value) => Buffer.from(bodyOf(value), 'base64').toString('hex').toUpperCase(),
  'without the lines around': bodyOf,
  'without the lines around, in a URL': (value) => encodeURIComponent(bodyOf(value)),
  'on lines of 64': (value) => wrap(bodyOf(value), 64, '\n'),
  'on lines of 20': (value) => wrap(bodyOf(value), 20, '\r\n'),
  'on lines of 76, in JSON': (value) => JSON.stringify(wrap(bodyOf(value), 76, '\n')),
  'on lines of 64, in a string to sign': (value) =>
    encodeURIComponent(encodeURIComponent(wrap(bodyOf(value), 64, '\n'))),
};

/** The pieces of a secret that are looked for, by other means than those of the code under test. */
function piecesOf(value: string): string[] {
  if (value.includes('PRIVATE KEY'))
    return value.split('\n').filter((line) => line.length >= 20 && !line.includes('-----'));
  return [URL.canParse(value) ? (new URL(value).searchParams.get('access_token') ?? value) : value];
}

/** Where `text` gives `value` away, in whatever encoding; empty when it does not. */
export function leaksOf(text: string, value: string): string[] {
  const joined = text.replace(/\s+|\\+[rn]|%(?:25)*0[AD]/g, '');
  const lower = joined.toLowerCase();
  return piecesOf(value).flatMap((piece) => {
    const once = encodeURIComponent(piece);
    const inBase64 = ['', 'x', 'xy'].map((before) =>
      Buffer.from(before + piece)
        .toString('base64')
        .slice(4, -4),
    );
    const forms = [
      piece,
      once,
      encodeURIComponent(once),
      encodeURIComponent(encodeURIComponent(once)),
      ...inBase64,
      ...inBase64.map((form) => form.replaceAll('+', '-').replaceAll('/', '_')),
    ];
    const found = forms.filter((form) => form.length >= 8 && joined.includes(form));
    const hex = [Buffer.from(piece), Buffer.from(piece, 'base64').subarray(1, -1)].map((bytes) =>
      bytes.toString('hex'),
    );
    return [...found, ...hex.filter((form) => form.length >= 24 && lower.includes(form))];
  });
}

/** Everything an error can show of itself. */
export function shownBy(error: unknown): string {
  const own =
    error instanceof Error ? Object.getOwnPropertyNames(error).map((name) => String(Reflect.get(error, name))) : [];
  return [
    String(error),
    inspect(error, { depth: 20, showHidden: true, maxStringLength: null }),
    JSON.stringify(error),
    ...own,
  ].join('\n');
}
