/** How long to wait before the next try, and when to give up. */

/** How a client gets a lost line back. */
export interface RetryPolicy {
  /** The wait before the first try, in milliseconds. Default: 250. Each further wait is twice as long. */
  firstWaitMs?: number;
  /** The longest wait, in milliseconds. Default: 30,000. */
  longestWaitMs?: number;
  /**
   * Further tries in a row that bring nothing before the client gives up. Default: no end. 0: never reconnect.
   */
  tries?: number;
  /**
   * The same for a client that the server has never accepted, so that a server which is just starting is found, and
   * a wrong address is told after a few seconds. Default: 4; never more than `tries`. What the server refuses, and
   * what is no address, is told at once.
   */
  firstTries?: number;
  /** How much of a wait may be left out at random, so that clients of a restarted server come one by one. Default: 0.5. */
  jitter?: number;
}

/** A policy with nothing left open. */
export type SettledRetry = Required<RetryPolicy>;

/** Fills in the defaults. */
export function settled(policy: RetryPolicy = {}): SettledRetry {
  return {
    firstWaitMs: policy.firstWaitMs ?? 250,
    longestWaitMs: policy.longestWaitMs ?? 30_000,
    tries: policy.tries ?? Number.POSITIVE_INFINITY,
    firstTries: policy.firstTries ?? 4,
    jitter: policy.jitter ?? 0.5,
  };
}

/** The wait after so many failures in a row, in milliseconds; `chance` is from 0 to 1. */
export function waitAfter(failures: number, policy: SettledRetry, chance: number): number {
  const doubled = policy.firstWaitMs * 2 ** Math.min(failures - 1, 52);
  return Math.min(doubled, policy.longestWaitMs) * (1 - policy.jitter * chance);
}

/** A wait that can be cut short. */
export class Pause {
  readonly done: Promise<void>;
  readonly #end: () => void;

  /** Begins the wait. It ends early when the page is told that it is online again. */
  constructor(ms: number) {
    let resolve = () => {};
    this.done = new Promise((resolved) => {
      resolve = resolved;
    });
    const timer = setTimeout(() => this.#end(), ms);
    const online = () => this.#end();
    const target = globalThis as Partial<Pick<EventTarget, "addEventListener" | "removeEventListener">>;
    target.addEventListener?.("online", online);
    this.#end = () => {
      clearTimeout(timer);
      target.removeEventListener?.("online", online);
      resolve();
    };
  }

  /** Ends the wait now. */
  end(): void {
    this.#end();
  }
}
