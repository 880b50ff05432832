/**
 * The targets of the `Link` headers with the relation type `rel`, resolved against `base` (RFC 8288; RFC 8555 section
 * 7.4.2 uses `alternate` and `up`). Reads each character once, whatever the header holds. Targets that are no URL are left out.
 */
export function linkTargets(headers: readonly string[], rel: string, base: string): string[] {
  const targets: string[] = [];
  for (const header of headers) {
    let at = 0;
    while (at < header.length) {
      const open = header.indexOf('<', at);
      if (open === -1) break;
      const close = header.indexOf('>', open + 1);
      if (close === -1) break;
      const end = endOf(header, close + 1, ',');
      if (relationTypes(header.slice(close + 1, end)).includes(rel)) {
        const target = header.slice(open + 1, close);
        if (URL.canParse(target, base)) targets.push(new URL(target, base).href);
      }
      at = end + 1;
    }
  }
  return targets;
}

/** The index of the next `delimiter` from `start` on that is not inside quotes, or the length of the text. */
function endOf(text: string, start: number, delimiter: ',' | ';'): number {
  let quoted = false;
  for (let at = start; at < text.length; at += 1) {
    const character = text[at];
    if (quoted && character === '\\') at += 1;
    else if (character === '"') quoted = !quoted;
    else if (character === delimiter && !quoted) return at;
  }
  return text.length;
}

/** The value of the first `rel` parameter: RFC 8288 section 3.3 has the others ignored. */
function relationTypes(parameters: string): string[] {
  for (let start = 0; start < parameters.length; ) {
    const end = endOf(parameters, start, ';');
    const parameter = parameters.slice(start, end);
    start = end + 1;
    const equals = parameter.indexOf('=');
    if (equals === -1 || parameter.slice(0, equals).trim().toLowerCase() !== 'rel') continue;
    const value = parameter.slice(equals + 1).trim();
    const unquoted = value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
    return unquoted.toLowerCase().split(' ').filter(Boolean);
  }
  return [];
}
