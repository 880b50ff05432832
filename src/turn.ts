export interface Turns {
  /** How many domains there are to look at. */
  readonly domains: number;
  readonly now: Date;
  /** Milliseconds between two runs of the timer. */
  readonly interval: number;
}

/** Domains whose edges every run reads, all of them: an account that has no more waits for no turn. */
const LOOKS_PER_RUN = 250;
/** The share of a run grows with the account, so that each domain's turn comes within days however many there are. */
const MOST_TURNS = 20;

/**
 * Which domains' edges a run reads though nothing speaks for them: in an account of up to 250 domains all, in a larger one
 * about 250, and of more than 5,000 a twentieth. Nothing is remembered for it: the clock alone says whose turn it is.
 *
 * Intervals are counted from 1970 on, and the run in interval `n` belongs to the class that the sum of the digits of `n`
 * gives, `n` being written to the base of the number of classes. Of as many intervals as there are classes, from a
 * multiple of their number on, one belongs to each. So with a timer that keeps to the interval, a domain is read once in
 * each such round and waits for less than two. A run that is missed, or that comes more than half an interval late, is one
 * turn less for its class in that round. A timer that is slower than the interval says, and skips as many each time,
 * starves no class: along every such progression the sums of digits come to each class equally often in the long run
 * (Gelfond 1968), where the bare number would come to some of them alone. Two runs in one interval read the same share.
 */
export function inTurn({ domains, now, interval }: Turns): (domain: string) => boolean {
  const turns = Math.min(MOST_TURNS, Math.max(1, Math.ceil(domains / LOOKS_PER_RUN)));
  if (turns === 1) return () => true;
  // Rounded: timers fire on the whole hour, where a little early must not be the interval before.
  const turn = digitSum(Math.round(now.getTime() / interval), turns) % turns;
  return (domain) => hashOf(domain) % turns === turn;
}

/** FNV-1a, 32 bits: the class of a domain is the same in every run, whatever other domains there are. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}

function digitSum(number: number, base: number): number {
  let sum = 0;
  for (let rest = number; rest > 0; rest = Math.floor(rest / base)) sum += rest % base;
  return sum;
}
