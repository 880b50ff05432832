import { fileURLToPath } from 'node:url';
import { inject } from 'vitest';

/** The absolute path of a file of `dist/`, or an error that says why it could not be built. */
export function bundled(file: string): string {
  const failure = inject('buildFailure');
  if (failure !== undefined) throw new Error(`dist/ is not built: ${failure}`);
  return fileURLToPath(new URL(`../dist/${file}`, import.meta.url));
}
