/** Something that happens once, and that others wait for. */
export interface Signal {
  readonly given: Promise<void>;
  readonly isGiven: boolean;
  give(): void;
}

export function createSignal(): Signal {
  let resolve: () => void = () => undefined;
  const given = new Promise<void>((done) => {
    resolve = done;
  });
  let isGiven = false;
  return {
    given,
    get isGiven() {
      return isGiven;
    },
    give() {
      isGiven = true;
      resolve();
    },
  };
}
