import * as v from 'valibot';
import { AutocertError } from './errors.ts';
import { normaliseDomain } from './identifier.ts';

/** What an event asks to have deployed again. Without domains, names and objects a person means all, the cloud nothing. */
export interface RedeployEvent {
  readonly askedBy: 'person' | 'cloud';
  /** As DNS names: lower case, A-labels, a wildcard domain as `*.example.com`. */
  readonly domains: readonly string[];
  /** Certificate names. */
  readonly names: readonly string[];
  /** Objects of OSS that were written; which certificates they belong to, the configuration's store tells. */
  readonly objects: readonly { readonly bucket: string; readonly key: string }[];
  readonly force: boolean;
}

/** An asynchronous invocation carries at most 128 KB. */
const MAX_BYTES = 128 * 1024;
/** What EventBridge names the CDN: https://help.aliyun.com/document_detail/205719.html */
const SOURCE = 'acs.cdn';
const AUDIT_TYPES = ['cdn:ActionTrail:ApiCall', 'cdn:ActionTrail:ConsoleOperation'];

/** Calls after which a domain may be there, or be back, without its certificate. */
const DOMAIN_APPEARS = ['AddCdnDomain', 'BatchAddCdnDomain', 'StartCdnDomain', 'BatchStartCdnDomain'];
/**
 * Calls that put a certificate on a domain, whoever makes them. Those of this program come back as events too. They are
 * not told apart by their sender, which a role or a user agent does not prove, but by their effect: the run that follows
 * pushes only where the API shows another certificate than the stored one, and after an own call it never does.
 */
const CERTIFICATE_SET = [
  'SetDomainServerCertificate',
  'SetCdnDomainSSLCertificate',
  'BatchSetCdnDomainServerCertificate',
];
const TRIGGER_EVENTS = ['CdnDomainAdded', 'CdnDomainStarted'];

const Text = v.pipe(v.string(), v.nonEmpty(), v.maxLength(2048));
/** Account ids have more digits than some JSON writers keep apart from numbers. */
const AccountId = v.pipe(v.union([v.string(), v.number()]), v.transform(String));

/** CloudEvents 1.0, as EventBridge delivers it: https://help.aliyun.com/document_detail/163289.html */
const CloudEvent = v.object({
  specversion: v.literal('1.0'),
  id: Text,
  source: Text,
  type: Text,
  aliyunaccountid: v.optional(AccountId),
  data: v.optional(v.unknown()),
});

/** https://help.aliyun.com/document_detail/28827.html shows those of the CDN. */
const AuditEvent = v.object({
  eventName: Text,
  errorCode: v.optional(v.string()),
  requestParameters: v.optional(v.object({ DomainName: v.optional(v.string()), DomainNames: v.optional(v.string()) })),
  referencedResources: v.optional(v.object({ 'ACS::CDN::Domain': v.optional(v.array(v.string())) })),
});

/** https://www.alibabacloud.com/help/en/functioncompute/fc-3-0/user-guide/cdn-event-triggers */
const CdnTriggerEvent = v.object({
  eventSource: v.literal('cdn'),
  eventName: Text,
  resource: v.optional(v.object({ domain: v.optional(v.string()) })),
  eventParameter: v.optional(v.object({ domain: v.optional(v.string()) })),
});

/** https://www.alibabacloud.com/help/en/functioncompute/fc-3-0/user-guide/overview-3 */
const OssTriggerEvent = v.object({
  eventSource: v.optional(v.literal('acs:oss')),
  eventName: Text,
  oss: v.object({ bucket: v.object({ name: Text }), object: v.object({ key: Text }) }),
});

const TriggerEvents = v.object({
  events: v.pipe(v.array(v.union([OssTriggerEvent, CdnTriggerEvent])), v.nonEmpty(), v.maxLength(1000)),
});

const Words = v.optional(v.pipe(v.array(v.pipe(v.string(), v.nonEmpty(), v.maxLength(253))), v.nonEmpty()));
const DirectPayload = v.strictObject({ domains: Words, names: Words, force: v.optional(v.boolean(), false) });

const NOTHING: RedeployEvent = { askedBy: 'cloud', domains: [], names: [], objects: [], force: false };

/**
 * What is to be deployed again, out of an event of EventBridge (one, or a batch), of FC's CDN trigger or of an OSS
 * trigger, or out of a person's `{domains?, names?, force?}`. An event that is none of our business asks for nothing.
 * `accountId` is that of the function, when it is known: another account's events are refused.
 *
 * Throws EVENT_INVALID for what is none of these, and for a batch in which one event is not: the timer does what such a
 * batch would have asked for.
 */
export function parseRedeployEvent(event: Uint8Array, accountId?: string): RedeployEvent {
  if (event.byteLength > MAX_BYTES) throw invalid(`it has ${event.byteLength} bytes, more than ${MAX_BYTES}`);
  const text = new TextDecoder().decode(event);
  const value = text.trim() === '' ? {} : parseJson(text);
  if (Array.isArray(value)) {
    if (value.length === 0) throw invalid('it is an empty list');
    return merge(value.map((one) => cloudEvent(one, accountId)));
  }
  if (typeof value !== 'object' || value === null) throw invalid('it is no JSON object');
  if ('specversion' in value) return cloudEvent(value, accountId);
  if ('events' in value) return merge(check(TriggerEvents, value).events.map(triggerEvent));
  const { domains = [], names = [], force } = check(DirectPayload, value);
  return { askedBy: 'person', domains: domains.map(toDomain), names, objects: [], force };
}

function cloudEvent(value: unknown, accountId: string | undefined): RedeployEvent {
  const { source, type, aliyunaccountid, data } = check(CloudEvent, value);
  if (source !== SOURCE) throw invalid(`its source is ${quoted(source)}, not ${SOURCE}`);
  if (accountId && aliyunaccountid !== undefined && aliyunaccountid !== accountId) {
    throw invalid(`it is of account ${quoted(aliyunaccountid)}, and this function is of ${accountId}`);
  }
  return AUDIT_TYPES.includes(type) ? auditEvent(data) : NOTHING;
}

function auditEvent(data: unknown): RedeployEvent {
  const { eventName, errorCode } = check(v.pick(AuditEvent, ['eventName', 'errorCode']), data);
  // A call that was refused changed nothing.
  if (errorCode || !(DOMAIN_APPEARS.includes(eventName) || CERTIFICATE_SET.includes(eventName))) return NOTHING;
  const { requestParameters = {}, referencedResources = {} } = check(AuditEvent, data);
  const lists = [requestParameters.DomainName, requestParameters.DomainNames].flatMap((list) => list?.split(',') ?? []);
  const named = [...lists, ...(referencedResources['ACS::CDN::Domain'] ?? [])];
  if (named.length === 0) throw invalid(`${eventName} names no domain`);
  return { ...NOTHING, domains: unique(named.map(toDomain)) };
}

function triggerEvent(event: v.InferOutput<typeof TriggerEvents>['events'][number]): RedeployEvent {
  if ('oss' in event) {
    if (!/^(?:oss:)?ObjectCreated:/.test(event.eventName)) return NOTHING;
    return { ...NOTHING, objects: [{ bucket: event.oss.bucket.name, key: event.oss.object.key }] };
  }
  const { eventName, resource, eventParameter } = event;
  if (!TRIGGER_EVENTS.includes(eventName)) return NOTHING;
  const named = [eventParameter?.domain, resource?.domain].filter((domain) => domain !== undefined);
  if (named.length === 0) throw invalid(`${eventName} names no domain`);
  return { ...NOTHING, domains: unique(named.map(toDomain)) };
}

function merge(events: readonly RedeployEvent[]): RedeployEvent {
  return {
    ...NOTHING,
    domains: unique(events.flatMap(({ domains }) => domains)),
    objects: events.flatMap(({ objects }) => objects),
  };
}

function toDomain(text: string): string {
  const { name } = normaliseDomain(text.trim());
  if (name === undefined) throw invalid(`${quoted(text)} is no domain`);
  return name;
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values)];
}

/** `__proto__` is refused wherever it stands: no honest sender writes it. */
function parseJson(text: string): unknown {
  let proto = false;
  try {
    const value: unknown = JSON.parse(text, (key, member: unknown) => {
      proto ||= key === '__proto__';
      return member;
    });
    if (!proto) return value;
  } catch {
    throw invalid('it is not JSON');
  }
  throw invalid('it has a key __proto__');
}

function check<const S extends v.GenericSchema>(schema: S, value: unknown): v.InferOutput<S> {
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw invalid(`${v.getDotPath(issue) ?? 'it'}: ${issue.message.slice(0, 200)}`);
}

/** Text of a stranger, short and on one line. */
function quoted(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text);
}

function invalid(what: string): AutocertError {
  return new AutocertError({
    code: 'EVENT_INVALID',
    message: `The event cannot be used: ${what}.`,
    retryable: false,
    remedy:
      'Let the rule or trigger send only events of the CDN or of the store, or invoke with {"domains": ["www.example.com"]}.',
  });
}
