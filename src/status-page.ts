import type { CertificateStatus, StatusReport } from './status.ts';

const STYLE = `
:root{color-scheme:light dark;--ink:#1c2128;--dim:#57606a;--paper:#f6f8fa;--card:#fff;--line:#d0d7de;--good:#1a7f37;--due:#9a6700;--bad:#cf222e}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--dim:#9198a1;--paper:#0d1117;--card:#161b22;--line:#30363d;--good:#3fb950;--due:#d29922;--bad:#f85149}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:1.25rem 1rem 3rem;font:16px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
h1{margin:0;font-size:1.4rem}
header p{margin:.15rem 0 1rem;color:var(--dim)}
main{columns:21rem;column-gap:.75rem}
article{break-inside:avoid;margin:0 0 .75rem;padding:.8rem 1rem;background:var(--card);border:1px solid var(--line);border-left:.3rem solid var(--tone);border-radius:.4rem}
.good{--tone:var(--good)}.due{--tone:var(--due)}.missing{--tone:var(--due)}.failing,.expired{--tone:var(--bad)}
h2{display:flex;gap:.75rem;justify-content:space-between;align-items:baseline;margin:0;font-size:1.05rem;overflow-wrap:anywhere}
h2 span{flex:none;font-size:.85rem;font-weight:600;color:var(--tone)}
dl{display:grid;grid-template-columns:4.8rem 1fr;gap:.1rem .6rem;margin:.5rem 0 0;font-size:.9rem}
dt{color:var(--dim)}
dd{margin:0;overflow-wrap:anywhere}
section{margin-top:.6rem;padding-top:.5rem;border-top:1px solid var(--line);font-size:.9rem;overflow-wrap:anywhere}
section p{margin:.2rem 0 0}
section .dim{color:var(--dim)}`;

const LABELS: Readonly<Record<CertificateStatus['state'], string>> = {
  expired: 'expired',
  failing: 'failing',
  missing: 'not issued yet',
  due: 'renewal due',
  good: 'good',
};

/** How many names are written out. */
const NAMES = 6;

/** The whole page: nothing is loaded with it, nothing in it runs. */
export function statusPage({ generatedAt, certificates }: StatusReport): string {
  const wrong = certificates.filter(({ state }) => state === 'expired' || state === 'failing').length;
  const all = certificates.length === 1 ? '1 certificate' : `${certificates.length} certificates`;
  const title = wrong > 0 ? `${wrong} of ${all} failing` : all;
  const cards = certificates.map((certificate) => card(certificate, generatedAt)).join('');
  const empty = '<p>Nothing is stored yet: the first run of <code>renew</code> has not finished.</p>';
  return page(
    title,
    `What the last run recorded, read at ${instant(generatedAt)}. All times are UTC.`,
    `<main>${cards || empty}</main>`,
  );
}

export function failurePage(code: string, remedy: string): string {
  const text = `<main><article class="failing"><h2>${asText(code)}</h2><section><p>${asText(remedy)}</p></section></article></main>`;
  return page('The state cannot be read', 'The log of this function says why.', text);
}

function page(title: string, subtitle: string, main: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="robots" content="noindex"><title>${asText(title)}</title><style>${STYLE}</style></head>
<body><header><h1>${asText(title)}</h1><p>${asText(subtitle)}</p></header>
${main}
</body></html>
`;
}

function card(certificate: CertificateStatus, now: string): string {
  const { name, state, inProgress, identifiers, domains, authority, notAfter, nextRenewal, keyType, brought } =
    certificate;
  const facts: [string, string | undefined][] = [
    ['Names', sameNames(identifiers, [name]) ? undefined : list(identifiers)],
    ['Served on', sameNames(identifiers, domains) ? undefined : list(domains)],
    ['CA', authority && `${authority}${keyType ? `, ${keyType}` : ''}`],
    ['Valid until', notAfter && `${instant(notAfter)}${left(certificate)}`],
    ['Renewal', brought ? 'by its owner, who brought it' : nextRenewal && renewal(nextRenewal, now)],
    ['Now', inProgress ? 'work on it is under way, or was cut off' : undefined],
  ];
  const rows = facts.flatMap(([term, text]) => (text ? [`<dt>${term}</dt><dd>${asText(text)}</dd>`] : []));
  return `<article class="${state}"><h2>${asText(name)} <span>${LABELS[state]}</span></h2><dl>${rows.join('')}</dl>${failure(certificate)}</article>\n`;
}

function renewal({ at, by }: NonNullable<CertificateStatus['nextRenewal']>, now: string): string {
  const when = Date.parse(at) <= Date.parse(now) ? `due since ${instant(at)}` : instant(at);
  return by === 'the CA' ? `${when}, as the CA suggests` : when;
}

function failure({ failure: last }: CertificateStatus): string {
  if (!last) return '';
  const { code, step = 'issue', message, remedy, since, nextAttemptAt, attempts, requestId } = last;
  const tries = attempts === 1 ? '1 try' : `${attempts} tries`;
  const when = `${tries}, since ${instant(since)}; next after ${instant(nextAttemptAt)}${requestId ? `; request id ${requestId}` : ''}`;
  return (
    `<section><p><b>${asText(code)}</b> at ${asText(step)}: ${asText(message)}</p>` +
    `${remedy ? `<p><b>What to do:</b> ${asText(remedy)}</p>` : ''}<p class="dim">${asText(when)}</p></section>`
  );
}

function left({ daysLeft }: CertificateStatus): string {
  if (daysLeft === undefined) return '';
  if (daysLeft < 0) return ` (${count(-daysLeft)} ago)`;
  return daysLeft === 0 ? ' (less than a day)' : ` (${count(daysLeft)})`;
}

function count(days: number): string {
  return days === 1 ? '1 day' : `${days} days`;
}

function list(names: readonly string[]): string {
  const more = names.length - NAMES;
  return more > 0 ? `${names.slice(0, NAMES).join(', ')} and ${more} more` : names.join(', ');
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name) => b.includes(name));
}

/** `2026-03-02T04:05:06.000Z` as `2026-03-02 04:05`. */
function instant(iso: string): string {
  return `${iso.slice(0, 10)} ${iso.slice(11, 16)}`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function asText(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '');
}
