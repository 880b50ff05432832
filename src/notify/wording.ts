import type { Cause, DeadChannel, Notice } from '../notices.ts';
import { chineseCause } from './chinese.ts';
import type { Message, Section } from './message.ts';
import { durationText, instantText, type Language } from './time.ts';

export interface WordingContext {
  readonly language: Language;
  readonly runId: string;
  readonly now: Date;
  /** Channels that do not take messages, and that whoever reads this does not know of. */
  readonly dead: readonly DeadChannel[];
}

/** The one message of a run. The texts are for a person who is woken by them: what, how bad, why, what to do, what comes. */
export function noticeMessage(notices: readonly Notice[], context: WordingContext): Message {
  const { language, runId, now, dead } = context;
  const words = WORDS[language];
  const isBad = notices.some(({ kind }) => kind !== 'recovered') || notices.length === 0;
  const [first] = notices;
  const isFailing = notices.some(({ kind }) => kind !== 'recovered' && kind !== 'ending');
  const isTimed = notices.some(({ kind, endsAt }) => endsAt && (kind === 'failing' || kind === 'still-failing'));
  const silence = isFailing ? [isTimed ? words.silence : words.longSilence] : [];
  return {
    language,
    title: `[autocert] ${titleOf(notices, context)}`,
    severity: isBad ? 'bad' : 'good',
    sections: notices.map((notice) => sectionOf(notice, context)),
    remarks: [
      ...silence,
      ...dead.map((one) => words.dead(one, instantText(new Date(one.since), language))),
      words.run(runId),
    ],
    fields: fieldsOf(first, notices, context),
    data: { runId, time: now.toISOString(), notices: notices.map(dataOf) },
  };
}

/** Says nothing but that it arrives. */
export function testMessage({ language, runId, now }: Omit<WordingContext, 'dead'>): Message {
  const words = WORDS[language];
  return {
    language,
    title: `[autocert] ${words.test}`,
    severity: 'test',
    sections: [{ heading: words.testHeading, facts: [[words.time, instantText(now, language)]] }],
    remarks: [words.run(runId)],
    fields: { ...NO_FIELDS, kind: 'test', runId, time: now.toISOString() },
    data: { runId, time: now.toISOString(), notices: [] },
  };
}

function titleOf(notices: readonly Notice[], { language, now }: WordingContext): string {
  const words = WORDS[language];
  const [first] = notices;
  if (!first) return words.channelDead;
  const names = notices.map((notice) => subjectOf(notice, language));
  if (notices.length === 1) {
    const left =
      first.endsAt && first.kind !== 'recovered' && first.endsAt > now
        ? words.left(durationText(first.endsAt.getTime() - now.getTime(), language))
        : '';
    return `${words.kinds[first.kind]}${words.colon}${names[0]}${left}`;
  }
  const kinds = (['expired', 'failing', 'still-failing', 'ending', 'recovered'] as const).flatMap((kind) => {
    const count = notices.filter((notice) => notice.kind === kind).length;
    return count > 0 ? [`${words.kinds[kind]} ${count}`] : [];
  });
  const more = names.length > 3 ? words.andMore(names.length - 3) : '';
  return `${kinds.join(words.comma)}${words.colon}${names.slice(0, 3).join(words.comma)}${more}`;
}

function subjectOf({ subject }: Notice, language: Language): string {
  return subject.type === 'certificate' ? subject.name : WORDS[language].subjects[subject.type];
}

function sectionOf(notice: Notice, context: WordingContext): Section {
  const { language } = context;
  const words = WORDS[language];
  const { kind, subject, since, cause, next } = notice;
  const at = (instant: Date) => instantText(instant, language);
  const facts: (readonly [string, string])[] = [];
  if (subject.type === 'certificate' && subject.identifiers.length > 0)
    facts.push([words.domains, namesText(subject.identifiers, words)]);
  if (kind === 'recovered') {
    if (notice.endsAt) facts.push([words.validUntil, at(notice.endsAt)]);
    facts.push([words.failedSince, at(since)]);
    return { heading: headingOf(notice, language), facts };
  }
  if (subject.type !== 'inventory') facts.push([words.timeLeft, timeLeftText(notice, context)]);
  if (kind === 'ending') {
    const isReplaced = subject.type === 'certificate' && subject.replaced === true;
    facts.push([words.remedy, words.bringAnother]);
    facts.push([words.next, isReplaced ? words.isReplaced(at(next)) : words.ends(at(next))]);
    return { heading: headingOf(notice, language), facts };
  }
  facts.push([words.since, at(since)]);
  if (cause) facts.push(...causeFacts(cause, language));
  facts.push([words.next, words.nextRun(at(next))]);
  return { heading: headingOf(notice, language), facts };
}

function headingOf(notice: Notice, language: Language): string {
  const words = WORDS[language];
  const { kind, subject, cause, endsAt } = notice;
  const name = subjectOf(notice, language);
  if (kind === 'recovered') return words.well(name);
  if (kind === 'ending') return words.ending(name);
  if (subject.type !== 'certificate') return `${words.broken[subject.type]}${kind === 'failing' ? '' : words.still}`;
  const step = cause?.step ?? 'issue';
  const broken =
    step === 'issue' && !endsAt ? words.steps['first-issue'] : words.steps[step === 'inventory' ? 'observe' : step];
  const what = `${name}${words.colon}${broken ?? words.steps['issue']}`;
  if (kind === 'expired') return `${what}${words.expired}`;
  return kind === 'still-failing' ? `${what}${words.still}` : what;
}

function timeLeftText({ endsAt, cause, subject }: Notice, { language, now }: WordingContext): string {
  const words = WORDS[language];
  if (!endsAt)
    return subject.type === 'run' || cause?.step === 'inbox' || cause?.step === 'observe' || cause?.step === 'record'
      ? words.notKnown
      : words.noCertificate;
  const left = endsAt.getTime() - now.getTime();
  const text = left > 0 ? words.until : words.ended;
  return text(durationText(Math.abs(left), language), instantText(endsAt, language));
}

function causeFacts({ code, message, remedy, requestId }: Cause, language: Language): (readonly [string, string])[] {
  const words = WORDS[language];
  const request: (readonly [string, string])[] = requestId === undefined ? [] : [[words.requestId, requestId]];
  if (language === 'en')
    return [[words.cause, `${code}: ${message}`], [words.remedy, remedy ?? words.seeLog], ...request];
  const chinese = chineseCause(code);
  if (!chinese) return [[words.cause, `${code}：${message}`], [words.remedy, remedy ?? words.seeLog], ...request];
  return [[words.cause, `${chinese.cause}（${code}）`], ['详情', message], [words.remedy, chinese.remedy], ...request];
}

const MOST_NAMES = 10;

function namesText(names: readonly string[], words: (typeof WORDS)[Language]): string {
  const more = names.length > MOST_NAMES ? words.andMore(names.length - MOST_NAMES) : '';
  return names.slice(0, MOST_NAMES).join(words.comma) + more;
}

const NO_FIELDS = {
  kind: '',
  names: '',
  domains: '',
  endsAt: '',
  daysLeft: '',
  since: '',
  code: '',
  cause: '',
  remedy: '',
  requestId: '',
  next: '',
  runId: '',
  time: '',
};

/** What a template may use: of the first notice, which is the worst, but for `names`, which are all. Instants are ISO 8601. */
function fieldsOf(
  first: Notice | undefined,
  notices: readonly Notice[],
  { language, runId, now }: WordingContext,
): Record<string, string> {
  const common = { ...NO_FIELDS, runId, time: now.toISOString() };
  if (!first) return { ...common, kind: 'channel' };
  const { kind, subject, since, endsAt, cause, next } = first;
  const chinese = language === 'zh' && cause ? chineseCause(cause.code) : undefined;
  return {
    ...common,
    kind,
    names: notices.map((notice) => subjectOf(notice, language)).join(', '),
    domains: subject.type === 'certificate' ? subject.identifiers.join(', ') : '',
    endsAt: endsAt?.toISOString() ?? '',
    daysLeft: endsAt ? String(Math.floor((endsAt.getTime() - now.getTime()) / 86_400_000)) : '',
    since: since.toISOString(),
    code: cause?.code ?? '',
    cause: cause?.message ?? '',
    remedy: chinese?.remedy ?? cause?.remedy ?? '',
    requestId: cause?.requestId ?? '',
    next: next.toISOString(),
  };
}

function dataOf({ kind, subject, since, endsAt, cause, next }: Notice): object {
  return {
    kind,
    subject,
    since: since.toISOString(),
    endsAt: endsAt?.toISOString() ?? null,
    cause: cause ?? null,
    next: next.toISOString(),
  };
}

const WORDS = {
  en: {
    colon: ': ',
    comma: ', ',
    kinds: {
      failing: 'FAILING',
      'still-failing': 'STILL FAILING',
      expired: 'EXPIRED',
      ending: 'ENDING SOON',
      recovered: 'RECOVERED',
    },
    subjects: { run: 'the whole run', inventory: 'a filter of the configuration' },
    broken: {
      run: 'The run stopped before it came to any certificate. Nothing is renewed until this is repaired.',
      inventory: 'A filter of the configuration finds nothing; the other certificates are looked after.',
    },
    steps: {
      'first-issue': 'the first certificate cannot be obtained.',
      issue: 'the certificate cannot be renewed.',
      deploy: 'the certificate is there, but cannot be put on CDN.',
      verify: 'the new certificate was put on CDN, but is not served everywhere.',
      observe: 'its present state cannot be read, so nothing is done for it.',
      record: 'its state cannot be stored, so nothing is done for it.',
      inbox: 'what was put into the inbox was not taken. The certificates in place stay as they are.',
      decide: 'nobody has brought a new certificate.',
    } as Readonly<Record<string, string>>,
    still: ' It still fails, and half of the time is over.',
    expired: ' THE CERTIFICATE HAS EXPIRED: browsers refuse these domains.',
    ending: (name: string) => `${name}: this certificate was brought by its owner. Nobody renews it.`,
    bringAnother: "Renew it at its CA, and put the new one into inbox/ of the function's store.",
    isReplaced: (at: string) => `a certificate of the CA takes its place at ${at}, if there is no new one by then`,
    ends: (at: string) => `it ends at ${at}, and browsers refuse its domains then`,
    well: (name: string) => `${name}: well again. There is nothing to do.`,
    left: (duration: string) => `, ${duration} left`,
    until: (duration: string, end: string) => `${duration} (until ${end})`,
    ended: (duration: string, end: string) => `none, it ended ${duration} ago (${end})`,
    notKnown: 'not known',
    noCertificate: 'no certificate is in place',
    domains: 'Domains',
    timeLeft: 'Time left',
    since: 'Failing since',
    failedSince: 'Was failing since',
    validUntil: 'Valid until',
    cause: 'Cause',
    remedy: 'What to do',
    requestId: 'Request id',
    next: 'What comes next',
    time: 'Time',
    nextRun: (at: string) => `tried again without you at about ${at}`,
    seeLog: 'Look into the log of this run.',
    silence:
      'Until it is well you will hear of it again when half of the time left is over, and when the certificate ends.',
    longSilence: 'You will hear of it again when it is well.',
    dead: ({ channel, message }: DeadChannel, since: string) =>
      `Repair the alert channel too: since ${since} ${channel} takes no messages. ${message}`,
    run: (runId: string) => `Run ${runId}; its log lines carry this id.`,
    channelDead: 'FAILING: an alert channel',
    andMore: (count: number) => ` and ${count} more`,
    test: 'Test message',
    testHeading: 'This channel works. Alerts about certificates will look like this one.',
  },
  zh: {
    colon: '：',
    comma: '、',
    kinds: {
      failing: '证书故障',
      'still-failing': '证书故障仍未恢复',
      expired: '证书已过期',
      ending: '证书即将到期',
      recovered: '已恢复',
    },
    subjects: { run: '整个任务', inventory: '配置中的筛选条件' },
    broken: {
      run: '任务在处理证书之前就已中止。修复之前，所有证书都不会续期。',
      inventory: '配置中的某个筛选条件没有匹配到任何域名；其他证书正常处理。',
    },
    steps: {
      'first-issue': '首张证书申请失败。',
      issue: '证书续期失败。',
      deploy: '证书已签发，但部署到 CDN 失败。',
      verify: '新证书已提交到 CDN，但尚未在所有节点生效。',
      observe: '无法读取当前状态，因此未做任何处理。',
      record: '无法保存状态，因此未做任何处理。',
      inbox: '放入 inbox 的内容未被采用，线上证书保持不变。',
      decide: '未收到新证书。',
    } as Readonly<Record<string, string>>,
    still: '剩余时间已过半，故障仍未恢复。',
    expired: '证书已过期，浏览器会拒绝访问这些域名！',
    ending: (name: string) => `${name}：此证书由您自行放入，不会自动续期。`,
    bringAnother: '请在证书颁发机构续期，并将新证书放入函数存储的 inbox/。',
    isReplaced: (at: string) => `若届时仍无新证书，将于 ${at}改用自动申请的证书`,
    ends: (at: string) => `将于 ${at}到期，届时浏览器会拒绝访问这些域名`,
    well: (name: string) => `${name}：已恢复正常，无需处理。`,
    left: (duration: string) => `，剩余 ${duration}`,
    until: (duration: string, end: string) => `${duration}，到期时间 ${end}`,
    ended: (duration: string, end: string) => `已过期 ${duration}，到期时间 ${end}`,
    notKnown: '未知',
    noCertificate: '目前没有证书',
    domains: '域名',
    timeLeft: '剩余时间',
    since: '故障开始',
    failedSince: '故障曾始于',
    validUntil: '有效期至',
    cause: '原因',
    remedy: '处理办法',
    requestId: '请求 ID',
    next: '接下来',
    time: '时间',
    nextRun: (at: string) => `约 ${at}自动重试，无需手动触发`,
    seeLog: '请查看本次运行的日志。',
    silence: '恢复之前，只会在剩余时间过半和证书到期时再次提醒。',
    longSilence: '恢复之前不再重复提醒。',
    dead: ({ channel, message }: DeadChannel, since: string) =>
      `另请修复告警渠道：${channel} 自 ${since}起无法接收消息。${message}`,
    run: (runId: string) => `运行 ID：${runId}（可用它搜索日志）`,
    channelDead: '告警渠道故障',
    andMore: (count: number) => ` 等，另有 ${count} 个`,
    test: '测试消息',
    testHeading: '此渠道工作正常，证书告警将以这种形式送达。',
  },
};
