/** Letters and digits in a row by which a piece of a long secret is known. */
export const PIECE = 16;

/** Places of the smallest table, and of the largest: 2 MB, for some 200,000 pieces, which is those of 2,000 keys of 2048 bits. */
const [SMALLEST, LARGEST] = [2 ** 10, 2 ** 18];
/** The share of a table's places that is taken at most. */
const FULL = 3 / 4;

/** A set of texts of sixteen characters each, by a number for each. */
export interface Pieces {
  /** The sixteen characters of `text` from `at` on. */
  add(text: string, at: number): void;
  has(text: string, at: number): boolean;
}

/**
 * Once there are as many as the largest table takes, a new one is begun, and the one before it is forgotten: at least that
 * many of those added last are always known. What is in the set is always found, for the same text has the same number. That
 * another text is taken for one of them, and goes with it, is as likely as one in 2^35.
 *
 * A Set of the texts themselves would be the most of what a run holds of a certificate that is done.
 */
export function createPieces(): Pieces {
  let table = new Float64Array(SMALLEST);
  let before = new Float64Array(SMALLEST);
  let count = 0;
  return {
    add(text, at) {
      const piece = numberOf(text, at);
      const place = placeOf(piece, table);
      if (table[place] === piece) return;
      table[place] = piece;
      count += 1;
      if (count < table.length * FULL) return;
      if (table.length < LARGEST) {
        table = enlarged(table);
      } else {
        [before, table] = [table, new Float64Array(SMALLEST)];
        count = 0;
      }
    },
    has(text, at) {
      const piece = numberOf(text, at);
      return table[placeOf(piece, table)] === piece || before[placeOf(piece, before)] === piece;
    },
  };
}

function enlarged(table: Float64Array): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(table.length * 2);
  for (const piece of table) if (piece !== 0) larger[placeOf(piece, larger)] = piece;
  return larger;
}

/** Where the piece is, or belongs: the places are searched from one that it names itself. A place that is free has a 0. */
function placeOf(piece: number, table: Float64Array): number {
  let place = piece % table.length;
  while (table[place] !== 0 && table[place] !== piece) place = (place + 1) % table.length;
  return place;
}

/** From 1 to 2^53: FNV-1a of 32 bits, and above it 21 bits of another hash that is multiplied and shifted. */
function numberOf(text: string, at: number): number {
  let [high, low] = [0x9e3779b9, 0x811c9dc5];
  for (let next = at; next < at + PIECE; next += 1) {
    const code = text.charCodeAt(next);
    high = Math.imul(high ^ code, 0x85ebca6b);
    high ^= high >>> 15;
    low = Math.imul(low ^ code, 0x01000193);
  }
  return (high >>> 11) * 2 ** 32 + (low >>> 0) + 1;
}
