import type { Deps } from '../deps.ts';

export interface NoncePool {
  /** A nonce that nobody else gets. Throws what `fresh` throws. */
  take(): Promise<string>;
  /** One that came with an answer; undefined when the answer had none. */
  keep(nonce: string | undefined): void;
  /** A request went out whose answer will bring a nonce. */
  sent(): void;
  /** It is over, with an answer or without. */
  answered(): void;
}

export interface NoncePoolOptions {
  /** Asks the CA: RFC 8555 section 7.2. */
  fresh(): Promise<string>;
  /** Requests that are certain to come. */
  toCome(): number;
  readonly deps: Pick<Deps, 'sleep'>;
}

/** Those beyond it are the oldest, which a CA forgets first. */
const MOST_NONCES = 32;
/** Milliseconds between two looks whether to go on waiting for a nonce that comes back. */
const LOOK = 100;
/** Milliseconds after which a nonce is asked for, for each that is on its way already: few are soon too few, many are not. */
const LONG = 500;
/** A new nonce for so many requests, those had and those certain to come, is cheap: nobody waits for one that comes back. */
const MANY = 50;

/**
 * The nonces of one CA during one run (RFC 8555 section 6.5). Each answer brings one, so as many are on their way back as
 * requests are under way: near a CA one of them is here before new-nonce would answer, and a request is saved. Where there is
 * much to do a share of one in fifty is spent on more of them at once; far from the CA as many are asked for, one after
 * the other, as keep the requests from waiting long for one.
 */
export function createNoncePool({ fresh, toCome, deps }: NoncePoolOptions): NoncePool {
  const kept: string[] = [];
  const waiting: ((nonce: string) => void)[] = [];
  let underWay = 0;
  let asking = 0;
  let asked = 0;
  let answers = 0;

  function isCheap(): boolean {
    return (Math.max(asked, 1) + 1) * MANY <= answers + toCome();
  }

  async function ask(): Promise<string> {
    asked += 1;
    asking += 1;
    try {
      return await fresh();
    } finally {
      asking -= 1;
    }
  }

  async function waitOrAsk(): Promise<string> {
    let give: (nonce: string) => void = () => {};
    const brought = new Promise<string>((resolve) => {
      give = resolve;
    });
    waiting.push(give);
    for (let waited = 0; waited < LONG * Math.max(1, underWay + asking); ) {
      const arrived = new AbortController();
      const isLate = deps.sleep(LOOK, arrived.signal).catch(() => {});
      const nonce = await Promise.race([brought, isLate]);
      arrived.abort();
      if (nonce !== undefined) return nonce;
      waited += LOOK;
      if (isCheap()) break;
    }
    const place = waiting.indexOf(give);
    // It may have come in the very moment in which the wait ended.
    if (place < 0) return await brought;
    waiting.splice(place, 1);
    return await ask();
  }

  return {
    async take() {
      return kept.pop() ?? (await (underWay + asking > 0 && !isCheap() ? waitOrAsk() : ask()));
    },
    keep(nonce) {
      if (nonce === undefined) return;
      const next = waiting.shift();
      if (next) return next(nonce);
      kept.push(nonce);
      if (kept.length > MOST_NONCES) kept.shift();
    },
    sent() {
      underWay += 1;
    },
    answered() {
      underWay -= 1;
      answers += 1;
    },
  };
}
