import type { ConfigProblem } from './problem.ts';

/** Values by name; undefined where there is none. */
export type Environment = Readonly<Record<string, string | undefined>>;

export interface Substituted {
  readonly text: string;
  /** The variables that it asks for. */
  readonly names: readonly string[];
  readonly faults: readonly Pick<ConfigProblem, 'code' | 'found' | 'allowed'>[];
}

/** `${NAME}` replaced; `$${` is a literal `${`. What comes from the environment is never read as YAML or JSON. */
export function substitute(text: string, environment: Environment): Substituted {
  const names: string[] = [];
  const faults: Substituted['faults'][number][] = [];
  const replaced = text.replace(
    /\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]{0,127})\}|\$\{/g,
    (match, name: string | undefined) => {
      if (match === '$${') return '${';
      if (name === undefined) {
        const allowed = `\${NAME}, or $\${ for the characters themselves`;
        faults.push({ code: 'ENV_SYNTAX', found: `\${ without a name and }`, allowed });
        return match;
      }
      names.push(name);
      const value = Object.hasOwn(environment, name) ? environment[name] : undefined;
      if (value === undefined) {
        const allowed = `an environment variable named ${name}`;
        faults.push({ code: 'ENV_MISSING', found: `\${${name}}, which is not set`, allowed });
      }
      return value ?? '';
    },
  );
  return { text: replaced, names, faults };
}
