import { createPieces, PIECE } from './pieces.ts';

/**
 * What must not be printed. Every `Secret` is remembered here when it is made, whoever makes it, so that no list of
 * secrets has to be handed around and none can be forgotten: a private key is known from the moment it exists. Each
 * `AutocertError` and each log line is cleaned by `withoutSecrets`.
 */
const REDACTED = '[redacted]';
/** A shorter text would take innocent ones with it. */
const SHORTEST = 6;
/** A warm instance gets a new security token every few hours: the oldest are forgotten. */
const MOST_TEXTS = 256;

/** One that may be base64 of either alphabet. */
const TOKEN = /^[A-Za-z0-9+/=_-]{20,}$/;

/** Secret -> the forms that are searched for. */
const texts = new Map<string, readonly string[]>();
/** Of the letters and digits of long secrets. */
const pieces = createPieces();

/** From now on `withoutSecrets` takes `value` out, in whatever encoding it stands. */
export function remember(value: string): void {
  if (value.length < SHORTEST) return;
  const isPrivateKey = value.includes('PRIVATE KEY-----');
  // As a whole a private key is found by its pieces: its forms would be a hundred kilobytes.
  if (!isPrivateKey) {
    const forms = texts.get(value) ?? formsOf(value);
    texts.delete(value);
    texts.set(value, forms);
    for (const oldest of texts.keys()) {
      if (texts.size <= MOST_TEXTS) break;
      texts.delete(oldest);
    }
  }
  for (const part of partsOf(value, isPrivateKey)) {
    const letters = lettersOf(part);
    if (letters.length < PIECE) continue;
    for (let at = 0; at <= letters.length - PIECE; at += PIECE) pieces.add(letters, at);
    pieces.add(letters, letters.length - PIECE);
  }
}

/** The parts of a secret that mean nothing else: of a URL not its host. */
function partsOf(value: string, isPrivateKey: boolean): readonly string[] {
  if (isPrivateKey) return [value.replace(/-----[A-Z ]{1,40}-----/g, '')];
  if (TOKEN.test(value)) return [value];
  return URL.canParse(value)
    ? value.split(/[^A-Za-z0-9+_-]+/).filter((part) => part.length >= 20 && /\d/.test(part))
    : [];
}

/**
 * Takes out of `text` every remembered secret (as it is, in JSON, in a URL once or twice encoded, in base64, in hex),
 * pieces of keys and tokens from 31 characters on, also over several lines, and what looks like a private key or a long
 * token nobody told of. Takes time linear in the length of the text.
 */
export function withoutSecrets(text: string): string {
  let clean = withoutPrivateKeys(text);
  for (const forms of texts.values()) for (const form of forms) clean = clean.replaceAll(form, REDACTED);
  return clean.replace(RUN, (run, at: number) => {
    if (run.length < PIECE || !(hasPiece(run) || looksSecret(run))) return run;
    // In JSON the first characters may belong to an escape that began before the run.
    const escaped = clean[at - 1] === '\\' ? (run.startsWith('u') ? 5 : 1) : 0;
    return run.slice(0, escaped) + REDACTED;
  });
}

/** A space is a `+` in a form and `%20` in a URL, whose percent sign may itself be encoded. */
const KEY_BEGIN =
  /-----BEGIN(?:(?: |\+|%(?:25){0,3}20)[A-Z0-9]{1,20}){0,3}(?: |\+|%(?:25){0,3}20)PRIVATE(?: |\+|%(?:25){0,3}20)KEY-----/g;
const KEY_END = /PRIVATE(?: |\+|%(?:25){0,3}20)KEY-----/g;

/** Whole blocks, and what is left of a block that is cut off. No expression spans the block: that would be slow. */
function withoutPrivateKeys(text: string): string {
  let clean = '';
  let at = 0;
  for (const { index, 0: begin } of text.matchAll(KEY_BEGIN)) {
    if (index < at) continue;
    KEY_END.lastIndex = index + begin.length;
    const end = KEY_END.exec(text);
    clean += text.slice(at, index) + REDACTED;
    at = end === null ? endOfText(text, index) : end.index + end[0].length;
  }
  return clean + text.slice(at);
}

/** In a JSON line a text ends at the next quotation mark at the latest. */
function endOfText(line: string, from: number): number {
  const quote = line.indexOf('"', from);
  return quote === -1 ? line.length : quote;
}

/** Base64 of either alphabet in a row, its line breaks and what else a URL or JSON escapes included. */
const RUN = /(?:[A-Za-z0-9+/=_-]|\r?\n|%(?:25){0,3}(?:2[bf]|0[ad]|3d)|\\{1,8}(?:[nr/]|u00(?:2[bf]|0[ad]|3d)))+/gi;
const ESCAPE = /%(?:25){0,3}(?:2[bf]|0[ad]|3d)|\\{1,8}(?:[nr/]|u00(?:2[bf]|0[ad]|3d))/gi;

function lettersOf(run: string): string {
  return run.replace(ESCAPE, '').replace(/[^A-Za-z0-9]+/g, '');
}

function hasPiece(run: string): boolean {
  const letters = lettersOf(run);
  for (let at = 0; at <= letters.length - PIECE; at += 1) if (pieces.has(letters, at)) return true;
  return false;
}

/** A line of PEM has 64 characters; the longest of the identifiers that are printed, a fingerprint, is 64 of hex. */
const LONG = /[A-Za-z0-9+/]{60,}|[A-Za-z0-9_-]{60,}/g;

function looksSecret(run: string): boolean {
  const plain = run.replace(ESCAPE, (form) => (/[bf]$/i.test(form) ? '+' : '\n'));
  return [...plain.matchAll(LONG)].some(([line]) => {
    if (line.length >= 80 && /^[0-9a-f]+$/i.test(line)) return true;
    const share = (characters: RegExp) => (line.match(characters)?.length ?? 0) / line.length;
    return share(/[A-Z]/g) > 0.2 && share(/[a-z]/g) > 0.2 && share(/[0-9]/g) > 0.04;
  });
}

function formsOf(value: string): string[] {
  const json = JSON.stringify(value).slice(1, -1);
  const encoded = percentEncoded(value);
  const twice = percentEncoded(encoded);
  const hex = [Buffer.from(value), Buffer.from(TOKEN.test(value) ? value : '', 'base64')].map((bytes) =>
    bytes.toString('hex'),
  );
  const forms = [
    value,
    json,
    JSON.stringify(json).slice(1, -1),
    encoded,
    formEncoded(encoded),
    twice,
    percentEncoded(twice),
  ];
  const all = [...forms, ...base64Forms(Buffer.from(value)), ...hex, ...hex.map((form) => form.toUpperCase())];
  return [...new Set(all)].filter((form) => form.length >= SHORTEST).sort((a, b) => b.length - a.length);
}

/** As RFC 3986 wants it, the characters included that encodeURIComponent leaves. */
function percentEncoded(value: string): string {
  // Through UTF-8, which has no lone surrogates: those would make it throw.
  return encodeURIComponent(Buffer.from(value).toString()).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function formEncoded(encoded: string): string {
  return encoded.replaceAll('%20', '+');
}

/** Also inside a longer text, where it may begin at any of three places; the characters it shares with its neighbours stay. */
function base64Forms(bytes: Buffer): string[] {
  return [0, 1, 2].flatMap((shift) => {
    const text = Buffer.concat([Buffer.alloc(shift), bytes]).toString('base64');
    const from = Math.ceil((shift * 8) / 6);
    const to = Math.floor(((shift + bytes.length) * 8) / 6);
    const inner = text.slice(from, to);
    return [inner, inner.replaceAll('+', '-').replaceAll('/', '_')];
  });
}
