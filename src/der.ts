/** One element of DER (X.690): its first tag octet and its content octets. */
export interface Element {
  readonly tag: number;
  readonly content: Buffer;
}

/** The elements that stand one after the other in `der`; none for undefined. Throws RangeError when it is cut off. */
export function elements(der: Buffer | undefined): Element[] {
  const found: Element[] = [];
  for (let at = 0; der !== undefined && at < der.length; ) {
    const tag = der.readUInt8(at);
    const first = der.readUInt8(at + 1);
    // X.690 section 8.1.3: up to 127 in the short form, else the number of octets that hold the length.
    const octets = first < 0x80 ? 0 : first & 0x7f;
    const length = octets === 0 ? first : der.readUIntBE(at + 2, octets);
    const start = at + 2 + octets;
    if (start + length > der.length) throw new RangeError('An element ends after the octets that hold it');
    found.push({ tag, content: der.subarray(start, start + length) });
    at = start + length;
  }
  return found;
}

/** Dotted form of an OBJECT IDENTIFIER whose first arc is 0 to 2 and second arc below 40, as all of X.509's are. */
export function oidOf({ tag, content }: Element): string | undefined {
  if (tag !== 0x06) return undefined;
  const arcs: number[] = [];
  let arc = 0;
  for (const octet of content) {
    arc = arc * 128 + (octet & 0x7f);
    if (octet < 0x80) {
      arcs.push(arc);
      arc = 0;
    }
  }
  const [first = 0, ...rest] = arcs;
  return [Math.floor(first / 40), first % 40, ...rest].join('.');
}
