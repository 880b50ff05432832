import type { Message, Section } from './message.ts';
import { instantText, type Language } from './time.ts';

/** Why FC gave an invocation up. `unknown` when the event does not say. */
export type CrashReason = 'timeout' | 'memory' | 'crashed' | 'failed' | 'throttled' | 'unknown';

/** What is known of a failed invocation; nothing of what it was given or answered but what our own report says. */
export interface Crash {
  readonly functionName?: string | undefined;
  readonly region?: string | undefined;
  /** Of the invocation that failed. */
  readonly requestId?: string | undefined;
  readonly at?: Date | undefined;
  readonly reason: CrashReason;
  /** FC's own word for it, such as FunctionResourceExhausted. */
  readonly condition?: string | undefined;
  /** How often it was tried. */
  readonly tries?: number | undefined;
  /** Names and error codes of what failed, when the run came so far as to say. */
  readonly failed: readonly { readonly name: string; readonly code: string }[];
  /** The Log Service project and logstore. */
  readonly logProject?: string | undefined;
  readonly logStore?: string | undefined;
}

/** For a person who is woken by it: which run, why, where its log is, what to do. */
export function crashMessage(crash: Crash, language: Language, runId: string, now: Date): Message {
  const words = WORDS[language];
  const { functionName, requestId, at, reason, condition, tries = 1, failed } = crash;
  const name = functionName ?? words.unknownFunction;
  const facts: (readonly [string, string])[] = [
    [words.why, words.reasons[reason] + (condition === undefined ? '' : words.inBrackets(condition))],
  ];
  if (failed.length > 0)
    facts.push([words.failed, failed.map((one) => `${one.name}${words.inBrackets(one.code)}`).join(words.comma)]);
  if (at) facts.push([words.at, instantText(at, language)]);
  if (tries > 1) facts.push([words.tries, words.times(tries)]);
  facts.push([words.remedy, words.remedies[reason]], [words.log, logText(crash, language)]);
  const section: Section = { heading: words.heading(name), facts };
  const title = `[autocert] ${words.title}${name}`;
  const fields = {
    kind: 'crashed',
    names: name,
    domains: '',
    endsAt: '',
    daysLeft: '',
    since: at?.toISOString() ?? '',
    code: condition ?? reason,
    cause: words.reasons[reason],
    remedy: words.remedies[reason],
    requestId: requestId ?? '',
    next: '',
    runId,
    time: now.toISOString(),
  };
  return {
    language,
    title,
    severity: 'bad',
    sections: [section],
    remarks: [words.next],
    fields,
    data: { runId, time: now.toISOString(), notices: [], crash },
  };
}

function logText({ requestId, region, functionName, logProject, logStore }: Crash, language: Language): string {
  const words = WORDS[language];
  const place =
    logProject && logStore
      ? `${logProject}/${logStore}`
      : words.functionLog([region, functionName].filter(Boolean).join('/'));
  return requestId === undefined ? words.searchTime(place) : words.searchId(place, requestId);
}

const WORDS = {
  en: {
    title: 'RUN FAILED: ',
    unknownFunction: 'a function of autocert (which one is not known)',
    heading: (name: string) => `${name}: a run failed, and nothing that it was to do is certain to be done.`,
    why: 'Why',
    failed: 'What failed',
    at: 'When',
    tries: 'Tried',
    remedy: 'What to do',
    log: 'Log',
    comma: ', ',
    inBrackets: (text: string) => ` (${text})`,
    times: (count: number) => `${count} times`,
    reasons: {
      timeout: 'it was not done when its time was over, and was killed',
      memory: 'it ran out of memory and was killed',
      crashed: 'its process ended without an answer',
      failed: 'it ended with an error',
      throttled: 'Function Compute did not start it',
      unknown: 'Function Compute does not say',
    },
    remedies: {
      timeout: 'Raise the timeout of the function; if it is long already, look in the log for what hangs.',
      memory: 'Raise the memory of the function.',
      crashed: 'Look in the log for its last line, and raise the memory of the function if it says nothing.',
      failed: 'Look in the log for the lines with "level":"error"; each says what to do.',
      throttled: 'Check the reserved concurrency of the function and the account: a bill may be open.',
      unknown: 'Look into the log of the function for the time of this message.',
    },
    functionLog: (name: string) => (name === '' ? 'the log of the function' : `the log of the function ${name}`),
    searchId: (place: string, id: string) => `${place}: search for ${id}`,
    searchTime: (place: string) => `${place}, at the time of this message`,
    next: 'The timer starts the next run by itself, and that run takes up what this one left.',
  },
  zh: {
    title: '运行失败：',
    unknownFunction: 'autocert 的某个函数（名称未知）',
    heading: (name: string) => `${name}：一次运行失败，其任务可能未完成。`,
    why: '原因',
    failed: '失败项',
    at: '时间',
    tries: '已尝试',
    remedy: '处理办法',
    log: '日志',
    comma: '、',
    inBrackets: (text: string) => `（${text}）`,
    times: (count: number) => `${count} 次`,
    reasons: {
      timeout: '运行超时，已被终止',
      memory: '内存不足，已被终止',
      crashed: '进程异常退出，没有返回结果',
      failed: '运行以错误结束',
      throttled: '函数计算未能启动该函数',
      unknown: '函数计算未说明原因',
    },
    remedies: {
      timeout: '请调大函数的超时时间；若已足够长，请在日志中查看卡在何处。',
      memory: '请调大函数的内存规格。',
      crashed: '请查看日志的最后一行；若没有线索，请调大函数的内存规格。',
      failed: '请在日志中查找 "level":"error" 的行，其中写明了处理办法。',
      throttled: '请检查函数的预留并发和账号是否欠费。',
      unknown: '请查看该函数在此消息时间前后的日志。',
    },
    functionLog: (name: string) => (name === '' ? '函数日志' : `函数 ${name} 的日志`),
    searchId: (place: string, id: string) => `${place}，搜索 ${id}`,
    searchTime: (place: string) => `${place}，查看此消息时间前后的内容`,
    next: '定时器会自动开始下一次运行，并继续完成未完成的任务。',
  },
};
