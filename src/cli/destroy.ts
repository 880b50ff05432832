import type { Invocation } from '../invocation.ts';
import { findingText, good, thrownFindings, warning } from './finding.ts';
import { openRos, regionMissing } from './ground.ts';
import { eventsSoFar, explainFailure, followStack } from './stack-progress.ts';

export interface DestroyOptions {
  /** Of the stack. */
  readonly name: string;
  readonly region?: string | undefined;
  readonly yes: boolean;
  readonly print: (text: string) => void;
  /** Asks a person; undefined where nobody is there to answer. */
  readonly ask: (question: string) => Promise<string | undefined>;
}

/**
 * Deletes the stack: functions, timers, roles, logs. The bucket with keys and certificates stays, and so does the code's.
 * Exit code 0 gone, 1 it failed or was not wanted, 2 usage.
 */
export async function destroy(options: DestroyOptions, given: Invocation): Promise<number> {
  const { name, yes, print, ask } = options;
  const region = options.region ?? given.region;
  const open: { close(): void }[] = [];
  try {
    if (region === undefined) throw regionMissing();
    const { ros, deps } = openRos(region, given, open);
    const found = await ros.findStack(name);
    if (!found) {
      print(`There is no stack ${name} in ${region}.`);
      return 0;
    }
    print(
      `The stack ${name} in ${region} (${found.Status}) and all its functions, timers, roles and logs are deleted.`,
    );
    print(
      'The bucket stays, with the account key, the certificates and the configuration; so does the one of the code.',
    );
    if (!yes) {
      const answer = await ask(`Type ${name} to delete it: `);
      if (answer === undefined) {
        print('Nobody is here to be asked: give --yes.');
        return 2;
      }
      if (answer.trim() !== name) {
        print('Nothing was changed.');
        return 1;
      }
    }
    const seen = await eventsSoFar(ros, found.StackId);
    await ros.deleteStack(found.StackId);
    const followed = await followStack({ ros, stackId: found.StackId, seen, print, deps });
    if (followed.stack === undefined || followed.stack.Status === 'DELETE_COMPLETE') {
      print(findingText(good(`the stack ${name} is deleted`)));
      const remedy = 'Run `autocert deploy` to renew again, or watch their ends yourself.';
      print(findingText(warning('the certificates on the CDN stay in use, and nobody renews them', remedy)));
      return 0;
    }
    print(`\nThe stack ${name} is ${followed.stack.Status}, because:`);
    for (const finding of explainFailure(followed)) print(findingText(finding));
    return 1;
  } catch (thrown) {
    for (const finding of thrownFindings(thrown)) print(findingText(finding));
    return region === undefined ? 2 : 1;
  } finally {
    for (const connection of open) connection.close();
  }
}
