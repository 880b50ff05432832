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
      const end = endOfLink(header, close + 1);
      if (relationTypes(header.slice(close + 1, end)).includes(rel)) {
        const target = header.slice(open + 1, close);
        if (URL.canParse(target, base)) targets.push(new URL(target, base).href);
      }
      at = end + 1;
    }
  }
  return targets;
}

/** The index of the comma that ends the link whose parameters begin at `start`: commas inside quotes belong to it. */
function endOfLink(header: string, start: number): number {
  let quoted = false;
  for (let at = start; at < header.length; at += 1) {
    const character = header[at];
    if (quoted && character === '\\') at += 1;
    else if (character === '"') quoted = !quoted;
    else if (character === ',' && !quoted) return at;
  }
  return header.length;
}

function relationTypes(parameters: string): string[] {
  for (const parameter of parameters.split(';')) {
    const equals = parameter.indexOf('=');
    if (equals === -1 || parameter.slice(0, equals).trim().toLowerCase() !== 'rel') continue;
    const value = parameter.slice(equals + 1).trim();
    const unquoted = value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
    return unquoted.toLowerCase().split(' ').filter(Boolean);
  }
  return [];
}
