import type { Message, Section } from './message.ts';
import { instantText, type Language } from './time.ts';

/**
 * Why FC gave an invocation up. `noticed` is none of a failure: `watch` ends so to say that something is not well.
 * `unknown` when the event does not say.
 */
export type CrashReason = 'timeout' | 'memory' | 'crashed' | 'failed' | 'noticed' | 'throttled' | 'unknown';

/** What `watch` finds wrong with a domain. */
export type Finding = 'overdue' | 'expired' | 'stale' | 'unreachable' | 'mismatch';

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
  /** What `watch` has noticed, a domain once. */
  readonly noticed: readonly { readonly domain: string; readonly finding: Finding }[];
  /** The Log Service project and logstore. */
  readonly logProject?: string | undefined;
  readonly logStore?: string | undefined;
}

/** For a person who is woken by it: which run, why, where its log is, what to do. */
export function crashMessage(crash: Crash, language: Language, runId: string, now: Date): Message {
  const words = WORDS[language];
  const { functionName, requestId, at, reason, condition, tries = 1, failed, noticed } = crash;
  const isNoticed = reason === 'noticed';
  const name = functionName ?? words.unknownFunction;
  const facts: (readonly [string, string])[] = [
    [words.why, words.reasons[reason] + (condition === undefined || isNoticed ? '' : words.inBrackets(condition))],
  ];
  if (failed.length > 0)
    facts.push([words.failed, failed.map((one) => `${one.name}${words.inBrackets(one.code)}`).join(words.comma)]);
  for (const [finding, domains] of byFinding(noticed)) facts.push([words.findings[finding], domains.join(words.comma)]);
  if (at) facts.push([words.at, instantText(at, language)]);
  if (tries > 1) facts.push([words.tries, words.times(tries)]);
  facts.push([words.remedy, words.remedies[reason]], [words.log, logText(crash, language)]);
  const heading = isNoticed ? words.noticed(name) : words.heading(name);
  const section: Section = { heading, facts };
  const title = `[autocert] ${isNoticed ? words.noticedTitle : words.title}${name}`;
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
    remarks: [isNoticed ? words.nextLook : words.next],
    fields,
    data: { runId, time: now.toISOString(), notices: [], crash },
  };
}

function byFinding(noticed: Crash['noticed']): Map<Finding, string[]> {
  const domains = new Map<Finding, string[]>();
  for (const { domain, finding } of noticed) domains.set(finding, [...(domains.get(finding) ?? []), domain]);
  return domains;
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
    noticedTitle: 'NOT WELL: ',
    noticed: (name: string) => `${name}: certificates are not as they should be.`,
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
      noticed: 'what is served is not what should be, or will not be for long',
      throttled: 'Function Compute did not start it',
      unknown: 'Function Compute does not say',
    },
    findings: {
      overdue: 'Not renewed in time',
      expired: 'Expired',
      stale: 'Served otherwise by an edge',
      unreachable: 'No answer of an edge',
      mismatch: 'Otherwise at the CDN',
    },
    remedies: {
      timeout: 'Raise the timeout of the function; if it is long already, look in the log for what hangs.',
      memory: 'Raise the memory of the function.',
      crashed: 'Look in the log for its last line, and raise the memory of the function if it says nothing.',
      failed: 'Look in the log for the lines with "level":"error"; each says what to do.',
      noticed:
        'Look whether the timer of renew fires. If it does, its log says what to do, in the lines with "level":"error".',
      throttled: 'Check the reserved concurrency of the function and the account: a bill may be open.',
      unknown: 'Look into the log of the function for the time of this message.',
    },
    functionLog: (name: string) => (name === '' ? 'the log of the function' : `the log of the function ${name}`),
    searchId: (place: string, id: string) => `${place}: search for ${id}`,
    searchTime: (place: string) => `${place}, at the time of this message`,
    nextLook: 'It looks again at its next time, and tells what is not well then.',
    next: 'The timer starts the next run by itself, and that run takes up what this one left.',
  },
  zh: {
    title: '运行失败：',
    unknownFunction: 'autocert 的某个函数（名称未知）',
    noticedTitle: '巡检异常：',
    noticed: (name: string) => `${name}：发现证书状态异常。`,
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
      noticed: '实际提供的证书与应有的不符，或即将失效',
      throttled: '函数计算未能启动该函数',
      unknown: '函数计算未说明原因',
    },
    findings: {
      overdue: '未按时续期',
      expired: '已过期',
      stale: '节点证书不一致',
      unreachable: '节点无响应',
      mismatch: 'CDN 配置不一致',
    },
    remedies: {
      timeout: '请调大函数的超时时间；若已足够长，请在日志中查看卡在何处。',
      memory: '请调大函数的内存规格。',
      crashed: '请查看日志的最后一行；若没有线索，请调大函数的内存规格。',
      failed: '请在日志中查找 "level":"error" 的行，其中写明了处理办法。',
      noticed:
        '请检查 renew 的定时器是否仍在触发；若在触发，请在其日志中查找 "level":"error" 的行，其中写明了处理办法。',
      throttled: '请检查函数的预留并发和账号是否欠费。',
      unknown: '请查看该函数在此消息时间前后的日志。',
    },
    functionLog: (name: string) => (name === '' ? '函数日志' : `函数 ${name} 的日志`),
    searchId: (place: string, id: string) => `${place}，搜索 ${id}`,
    searchTime: (place: string) => `${place}，查看此消息时间前后的内容`,
    nextLook: '下次巡检时会再次检查，届时若仍有异常会再次提醒。',
    next: '定时器会自动开始下一次运行，并继续完成未完成的任务。',
  },
};
