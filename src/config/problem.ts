import { AutocertError } from '../errors.ts';

/** What can be wrong with a configuration. A code is never reused for another meaning. */
export const CONFIG_PROBLEM_CODES = [
  // The text.
  'SOURCE_UNREADABLE',
  'TEXT_TOO_LARGE',
  'TEXT_SYNTAX',
  'TEXT_TOO_DEEP',
  'TEXT_ALIASES',
  'TEXT_TAG',
  'KEY_DUPLICATE',
  'KEY_REFUSED',
  // The environment.
  'ENV_MISSING',
  'ENV_SYNTAX',
  // The shape.
  'KEY_UNKNOWN',
  'KEY_MISSING',
  'TYPE_WRONG',
  'VALUE_NOT_ALLOWED',
  'NUMBER_OUT_OF_RANGE',
  'TEXT_EMPTY',
  'LIST_EMPTY',
  // One value.
  'DURATION_INVALID',
  'URL_INVALID',
  'URL_HOST_REFUSED',
  'DIRECTORY_INVALID',
  'ADDRESS_INVALID',
  'CONTACT_INVALID',
  'TERMS_NOT_AGREED',
  'STORE_INVALID',
  'KEY_LENGTH',
  'KEY_ENCODING',
  'CA_BUNDLE_UNREADABLE',
  'NAME_INVALID',
  'IDENTIFIER_INVALID',
  'PATTERN_INVALID',
  'BUCKET_INVALID',
  // What does not go together.
  'NOTHING_TO_MANAGE',
  'NAME_DUPLICATE',
  'IDENTIFIERS_TOO_MANY',
  'TARGET_NOT_COVERED',
  'TARGET_DUPLICATE',
  'WILDCARD_NEEDS_DNS01',
  'CHALLENGE_INCOMPLETE',
  'ENCRYPTION_INCOMPLETE',
  'CHANNEL_INCOMPLETE',
  'EXTERNAL_ACCOUNT_BINDING_MISSING',
  'REGION_MISSING',
] as const;

/** Nobody reads more of them, and a text can hold hundreds of thousands. */
export const MAX_PROBLEMS = 100;

export type ConfigProblemCode = (typeof CONFIG_PROBLEM_CODES)[number];

export interface ConfigProblem {
  readonly code: ConfigProblemCode;
  /** As `certificates[0].identifiers[1]`; empty for the configuration as a whole. */
  readonly path: string;
  /** What is there, never a secret. */
  readonly found: string;
  readonly allowed: string;
  readonly remedy?: string | undefined;
  /** Line of the text, from 1, when it is known. */
  readonly line?: number | undefined;
}

/** CONFIG_INVALID with every problem; its message has one line for each. */
export class ConfigError extends AutocertError {
  override readonly name: string = 'ConfigError';
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    const [first] = problems;
    super({
      code: 'CONFIG_INVALID',
      message: problems.map(toLine).join('\n'),
      retryable: false,
      remedy:
        problems.length === 1 && first?.remedy !== undefined
          ? first.remedy
          : `Correct the ${problems.length} places that the message lists, then run again.`,
    });
    this.problems = problems;
  }
}

function toLine({ path, line, found, allowed, remedy }: ConfigProblem): string {
  const where = `${path === '' ? 'the configuration' : path}${line === undefined ? '' : ` (line ${line})`}`;
  return `${where}: found ${found}; allowed: ${allowed}.${remedy === undefined ? '' : ` ${remedy}`}`;
}

export type Path = readonly (string | number)[];

/** `['certificates', 0, 'name']` as `certificates[0].name`. A key that is no plain word is quoted, so it stays one line. */
export function pathText(path: Path): string {
  return path
    .map((part, index) => {
      if (typeof part === 'number') return `[${part}]`;
      if (!/^[A-Za-z_][A-Za-z0-9_-]{0,63}$/.test(part)) return `[${quote(part)}]`;
      return index === 0 ? part : `.${part}`;
    })
    .join('');
}

const LONGEST = 80;

/** A text from outside on one line, shortened. */
export function quote(text: string): string {
  return JSON.stringify(text.length > LONGEST ? `${text.slice(0, LONGEST)}...` : text);
}

/** Keys whose values are never printed, wherever they stand. */
const SECRET_KEYS: ReadonlySet<string | number> = new Set([
  'hmacKey',
  'key',
  'previousKeys',
  'secret',
  'heartbeat',
  'url',
]);

/** Where a map or a list belongs that holds secrets, a text is one of them that was written at the wrong level. */
const SECRET_PARENTS: ReadonlySet<string | number | undefined> = new Set([
  'encryption',
  'externalAccountBinding',
  'notify',
]);

/** What is at a place: its value when that may be shown, else its kind and length. */
export function describe(value: unknown, path: Path, isFromEnvironment: boolean): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object') return 'a map';
  if (typeof value !== 'string') return SECRET_KEYS.has(path.at(-1) ?? '') ? `a ${typeof value}` : String(value);
  if (isFromEnvironment) return `a text of ${value.length} characters from the environment`;
  const isSecret = path.some((part) => SECRET_KEYS.has(part)) || SECRET_PARENTS.has(path.findLast(isName));
  return isSecret ? `a text of ${value.length} characters` : quote(withoutUserInfo(value));
}

/** `https://user:password@host` is refused wherever a URL belongs, and must not be repeated when that is said. */
function withoutUserInfo(text: string): string {
  const [start, end] = [text.indexOf('//') + 2, text.lastIndexOf('@')];
  return start >= 2 && end >= start ? `${text.slice(0, start)}[redacted]${text.slice(end)}` : text;
}

function isName(part: string | number): boolean {
  return typeof part === 'string';
}
