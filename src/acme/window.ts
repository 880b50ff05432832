import { type Deps, timeLeft } from '../deps.ts';

/** What the CA's answer says of its load; undefined where it says nothing. */
export type Verdict = 'taken' | 'refused' | undefined;

/** The requests that may be under way at one CA at once. */
export interface Window {
  /**
   * Sends when there is room, at once or later. Requests of orders under way go before one that `begins` an order: what was
   * begun is finished first. Those of one kind go in the order they came. Room is halved when the CA refuses a request as one
   * too many, once for all that were under way with it, and grows by one for each windowful that it takes.
   */
  run<T>(request: WindowedRequest<T>): Promise<T>;
  /** The CA wants to be left alone until then (RFC 9110 section 15.6.4). Longer than the run lasts, it counts for nothing. */
  pause(until: Date): void;
  /** Requests that are certain to come: those that wait, and those that orders not yet begun will need. */
  readonly toCome: number;
}

export interface WindowedRequest<T> {
  send(): Promise<T>;
  judge(result: T): Verdict;
  readonly begins: boolean;
  /** It may wait for the end of a pause. */
  readonly patient: boolean;
}

export interface WindowOptions {
  /** Room as long as the CA refuses nothing. */
  readonly most: number;
  readonly deps: Pick<Deps, 'now' | 'sleep' | 'deadline'>;
}

/** newOrder, authorization, challenge, order, finalize, order, certificate. */
const REQUESTS_OF_AN_ORDER = 7;

/** Additive increase, multiplicative decrease: clients that do so share a server fairly without knowing of each other. */
export function createWindow({ most, deps }: WindowOptions): Window {
  const begun: (() => void)[] = [];
  const beginning: (() => void)[] = [];
  let room = most;
  let underWay = 0;
  let narrowings = 0;
  let pausedUntil = Number.NEGATIVE_INFINITY;

  function admit(): void {
    while (underWay < Math.floor(room)) {
      const next = begun.shift() ?? beginning.shift();
      if (!next) return;
      underWay += 1;
      next();
    }
  }

  /** Ends at once where the pause is longer than the run: the CA's own answer then says what is the matter. */
  async function pauseEnds(): Promise<void> {
    for (;;) {
      const left = pausedUntil - deps.now().getTime();
      if (left <= 0 || left >= timeLeft(deps)) return;
      await deps.sleep(left);
    }
  }

  function adjust(verdict: Verdict, narrowingsBefore: number): void {
    if (verdict === 'taken') room = Math.min(most, room + 1 / Math.floor(room));
    if (verdict !== 'refused' || narrowings > narrowingsBefore) return;
    room = Math.max(1, Math.floor(room / 2));
    narrowings += 1;
  }

  return {
    async run({ send, judge, begins, patient }) {
      await new Promise<void>((resolve) => {
        (begins ? beginning : begun).push(resolve);
        admit();
      });
      try {
        if (patient) await pauseEnds();
        const narrowingsBefore = narrowings;
        const result = await send();
        adjust(judge(result), narrowingsBefore);
        return result;
      } finally {
        underWay -= 1;
        admit();
      }
    },
    pause(until) {
      pausedUntil = Math.max(pausedUntil, until.getTime());
    },
    get toCome() {
      return begun.length + REQUESTS_OF_AN_ORDER * beginning.length;
    },
  };
}
