/** A number in [0, 1) that depends on nothing but the words: the same wherever and in whatever order it is asked for. */
export function drawn(...words: readonly (string | number)[]): number {
  // FNV-1a, then the finalizer of MurmurHash3: near seeds give far numbers.
  let hash = 0x811c9dc5;
  for (const character of words.join(' ')) hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}
