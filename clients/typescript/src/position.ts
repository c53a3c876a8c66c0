/** Where a reader stands in a task's numbered events: what has come, what comes twice, what is missing. */

import { A2AError } from "./error.js";

/** Holds a stream to its order: 1, 2, 3, … without gap or repeat, across every reconnect. */
export class Position {
  #last: number | undefined;
  /** The last event that only a snapshot has shown. */
  #inSnapshot: number | undefined;

  /** Right after event `after`, 0 being before the first; or, without it, wherever the stream begins. */
  constructor(after?: number) {
    this.#last = after;
  }

  /** The last event taken, or contained in a snapshot; undefined if the stream has not begun. */
  get last(): number | undefined {
    return this.#last;
  }

  /**
   * An event has come: whether it is the next one; if not, it has been taken before. After a snapshot of a finished
   * task its last event comes too, so that the stream has a final one.
   *
   * @throws {A2AError} INVALID_AGENT_RESPONSE if an event is missing or has no number
   */
  takesEvent(seq: unknown, final: boolean): boolean {
    const number = checked(seq, 1);
    if (final && this.#inSnapshot === number) {
      this.#inSnapshot = undefined;
      return true;
    }
    if (this.#last !== undefined) {
      if (number <= this.#last) {
        return false;
      }
      if (number > this.#last + 1) {
        throw broken(`event ${number} follows event ${this.#last}`);
      }
    }
    this.#last = number;
    this.#inSnapshot = undefined;
    return true;
  }

  /** A snapshot has come that contains the events up to `seq`: whether it says something new. */
  takesSnapshot(seq: unknown): boolean {
    const number = checked(seq, 0);
    if (this.#last !== undefined && number <= this.#last) {
      return false;
    }
    this.#last = number;
    this.#inSnapshot = number;
    return true;
  }
}

function checked(seq: unknown, least: number): number {
  if (!Number.isSafeInteger(seq) || (seq as number) < least) {
    throw broken(`an event has the number ${String(seq)}`);
  }
  return seq as number;
}

function broken(what: string): A2AError {
  const message = `the server broke the order of a task's events: ${what}; subscribe anew`;
  return new A2AError("INVALID_AGENT_RESPONSE", message);
}
