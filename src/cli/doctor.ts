import { toAutocertError } from '../errors.ts';
import type { Invocation } from '../invocation.ts';
import { checkServices, checkStore } from './check-account.ts';
import { checkCaaRecords, checkCdnDomains, checkZones } from './check-domains.ts';
import { counted, type Finding, findingText, good, problem, thrownFindings } from './finding.ts';
import { type Ground, openGround } from './ground.ts';
import { testChannels } from './notify.ts';
import { type StackParameters, stackParameters } from './stack-parameters.ts';
import { readStackTemplate, STACK_NAME, type StackTemplate } from './stack-template.ts';

export interface StackOptions {
  /** Of the stack; what every name in it begins with. */
  readonly name: string;
  readonly region?: string | undefined;
  /** `Name=value` each: parameters of the template that the configuration does not determine. */
  readonly parameter: readonly string[];
  /** The folder that the command line was built into: the template and the zip are in it. */
  readonly folder: string;
  /** Takes one line, or several. */
  readonly print: (text: string) => void;
}

/** What the doctor knows when it is through. */
export interface Examined {
  readonly ground: Ground;
  readonly template: StackTemplate;
  /** All but those of the code and the bucket. */
  readonly parameters: StackParameters;
  readonly storeExists: boolean;
}

/** Looks at everything that a deployment needs, and changes nothing. Exit code 0 all good, 1 a problem, 2 configuration. */
export async function doctor(
  options: StackOptions & { readonly test: boolean },
  invocation: Invocation,
): Promise<number> {
  const open: { close(): void }[] = [];
  try {
    const { exitCode } = await examine(options, invocation, open);
    if (exitCode !== 0 || !options.test) return exitCode;
    const sent = await testChannels(invocation, {});
    options.print(sent.text.trimEnd());
    return sent.exitCode;
  } finally {
    for (const connection of open) connection.close();
  }
}

/** The doctor's rounds. `examined` is there when exit code is 0. */
export async function examine(
  { name, region, parameter, folder, print }: StackOptions,
  invocation: Invocation,
  open: { close(): void }[],
): Promise<{ readonly exitCode: 0 | 1 | 2; readonly examined: Examined | undefined }> {
  let problems = 0;
  const tell = (findings: readonly Finding[]) => {
    for (const finding of findings) {
      if (finding.mark === '✗') problems += 1;
      print(findingText(finding));
    }
  };
  /** One check that fails leaves the others their turn. */
  const attempt = async <T>(check: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await check();
    } catch (thrown) {
      tell(thrownFindings(thrown));
      return undefined;
    }
  };

  if (!STACK_NAME.test(name)) {
    const remedy = 'Give --name 3 to 20 lower-case letters, digits and hyphens, a letter first.';
    tell([problem(`no stack can have the name ${JSON.stringify(name.slice(0, 80))}`, remedy)]);
    return { exitCode: 2, examined: undefined };
  }
  let ground: Ground;
  let template: StackTemplate;
  try {
    template = await readStackTemplate(folder);
    ground = await openGround({ name, region }, invocation, open);
  } catch (thrown) {
    tell(thrownFindings(thrown));
    return { exitCode: toAutocertError(thrown).code === 'CONFIG_INVALID' ? 2 : 1, examined: undefined };
  }
  const { config, text, place, identity } = ground;
  tell([
    good(
      `configuration: ${counted(config.certificates.length, 'certificate')}${config.discover ? ' and discovery' : ''}`,
    ),
    good(`account: ${identity.AccountId} as ${identity.Arn}, region ${place.region}`),
  ]);

  const names = await attempt(() => checkCdnDomains(ground));
  tell(names?.findings ?? []);
  const identifiers = names?.identifiers ?? config.certificates.flatMap((certificate) => certificate.identifiers);
  const zones = await attempt(() => checkZones(ground, identifiers));
  tell(zones?.findings ?? []);
  tell((await attempt(() => checkCaaRecords(ground, identifiers))) ?? []);
  const store = await checkStore(ground, template.url('StoreUrl', place));
  tell(store.findings);

  const derivation = { config, text, env: invocation.env, template, name, zones: zones?.zones ?? [], given: parameter };
  const derived = stackParameters(derivation);
  tell(derived.problems);
  const content = { templateBody: template.text, parameters: { ...derived.parameters, CodeBucket: `${name}-code` } };
  tell((await attempt(() => checkServices(ground, content))) ?? []);

  if (problems > 0) return { exitCode: 1, examined: undefined };
  return {
    exitCode: 0,
    examined: { ground, template, parameters: derived.parameters, storeExists: store.exists },
  };
}
