import { IDENTIFIER_RULES, normaliseDomain, normaliseIdentifier, withoutWildcard } from '../identifier.ts';
import type { Path } from './problem.ts';
import { at, list, type RuleProblem } from './rules.ts';

/** Below these the list has suffixes of three labels and more, such as city.prefecture.jp. */
const DEEP = ['at', 'au', 'br', 'im', 'jp', 'no', 'pl', 'tr', 'uk', 'us'];
/** Beside the countries, these have suffixes below them; com, net, org and some thousand others have none. */
const BEYOND_COUNTRIES = ['aero', 'arpa', 'int', 'pro'];

/**
 * Can the name be a public suffix, by its form? Far more are said to be than are, but never too few; the list itself is
 * loaded for those alone. A-labels, lower case, two labels or more.
 */
export function mayBeSuffix(name: string): boolean {
  const labels = withoutWildcard(name).split('.');
  const [first = ''] = labels;
  const top = labels.at(-1) ?? '';
  if (top.length > 2 && !top.startsWith('xn--') && !BEYOND_COUNTRIES.includes(top)) return false;
  if (labels.length > 2) return DEEP.includes(top);
  // com.cn, bj.cn and their like.
  return top !== 'cn' || first.length <= 3 || first.startsWith('xn--');
}

/** The names of the configuration, of any shape, that are public suffixes of several labels: no CA issues for them. */
export async function checkSuffixes(config: unknown): Promise<RuleProblem[]> {
  const suspects = namesOf(config).filter(({ name }) => mayBeSuffix(name));
  if (suspects.length === 0) return [];
  const { isPublicSuffix } = await import('../suffix.ts');
  return suspects
    .filter(({ name }) => isPublicSuffix(name))
    .map(({ path }) => ({ code: 'IDENTIFIER_INVALID', path, allowed: IDENTIFIER_RULES['public-suffix'] }));
}

/** Those that are names at all, each with its place. */
function namesOf(config: unknown): { readonly name: string; readonly path: Path }[] {
  const named = (values: unknown, path: Path, normalise: typeof normaliseDomain) =>
    list(values).flatMap((value, nth) => {
      const { name } = typeof value === 'string' ? normalise(value) : { name: undefined };
      return name === undefined ? [] : [{ name, path: [...path, nth] }];
    });
  return list(at(config, 'certificates')).flatMap((certificate, index) => {
    const path = ['certificates', index];
    return [
      ...named(at(certificate, 'identifiers'), [...path, 'identifiers'], normaliseIdentifier),
      ...list(at(certificate, 'targets')).flatMap((target, nth) =>
        named(at(target, 'domains'), [...path, 'targets', nth, 'domains'], normaliseDomain),
      ),
    ];
  });
}
