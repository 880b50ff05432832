import { valueAt } from './issues.ts';
import { type Path, quote } from './problem.ts';

/** Where a configuration of any shape names a file of trusted certificates. */
export function caBundlePaths(config: unknown): { readonly at: Path; readonly file: string }[] {
  const fallback = valueAt(config, ['acme', 'fallback']);
  const places: Path[] = [
    ['acme', 'caBundle'],
    ...(Array.isArray(fallback) ? fallback.map((_, i) => ['acme', 'fallback', i, 'caBundle']) : []),
  ];
  return places.flatMap((at) => {
    const file = valueAt(config, at);
    return typeof file === 'string' && file !== '' ? [{ at, file }] : [];
  });
}

/** Puts the file's text into `files`, or gives what is wrong with it. */
export function readBundle(
  path: string,
  files: Map<string, string>,
  readFile: ((path: string) => string) | undefined,
): { readonly found: string; readonly allowed: string } | undefined {
  const allowed = 'the path of a file with PEM certificates';
  if (readFile === undefined) return { found: 'a path where no file can be read', allowed };
  try {
    const pem = readFile(path);
    if (!pem.includes('-----BEGIN CERTIFICATE-----'))
      return { found: `${quote(path)}, a file without a PEM certificate`, allowed };
    files.set(path, pem);
    return undefined;
  } catch {
    return { found: `${quote(path)}, which cannot be read`, allowed };
  }
}
