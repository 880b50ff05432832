import type { Reporter, SerializedError, TestModule, TestSpecification, Vitest } from 'vitest/node';
import { faultTable, type Tested } from './table.ts';

/** Prints what was survived, and as the last line what the tests came to. Fails a run that shows nothing of a fault. */
export class FaultReporter implements Reporter {
  #vitest: Vitest | undefined;
  #isWhole = false;
  readonly #closingLine: boolean;

  /** @param options.closingLine False where the run has a last line of its own. */
  constructor({ closingLine = true }: { readonly closingLine?: boolean } = {}) {
    this.#closingLine = closingLine;
  }

  onInit(vitest: Vitest): void {
    this.#vitest = vitest;
  }

  /** Not when files were named: a fault that has its tests elsewhere is no gap then. */
  async onTestRunStart(specifications: readonly TestSpecification[]): Promise<void> {
    const all = await this.#vitest?.globTestSpecifications();
    this.#isWhole = specifications.length === all?.length;
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const tested = tests.map(
      (test): Tested => ({
        fullName: test.fullName,
        state: test.result().state,
        injections: test.meta().injections,
      }),
    );
    const { lines, gaps } = faultTable(tested, { whole: this.#isWhole });
    const countOf = (state: Tested['state']) => tested.filter((test) => test.state === state).length;
    // A file that could not be loaded or prepared has failed, and none of its tests has.
    const broken = modules.filter(
      (module) => module.state() === 'failed' && [...module.children.allTests('failed')].length === 0,
    );
    const failed = countOf('failed') + broken.length + unhandledErrors.length + gaps.length;
    const closing = this.#closingLine ? ['', `${countOf('passed')} passed, ${failed} failed`] : [];
    process.stdout.write(`${['', ...lines, ...gaps.map((gap) => `! ${gap}`), ...closing].join('\n')}\n`);
    if (failed > 0) process.exitCode = 1;
  }
}
