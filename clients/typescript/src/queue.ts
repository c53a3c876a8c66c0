/** What has come for a reader and was not read yet, and how those who bring more are held back. */

import { A2AError } from "./error.js";

/** So many elements beyond the bound can only come from a server that ignores that it is held back. */
const OVERFLOW = 16_384;

/** A queue with one reader. */
export class EventQueue<T> {
  readonly #bound: number;
  #items: T[] = [];
  #head = 0;
  /** One for each element beyond the bound, in order. */
  #heldBack: (() => void)[] = [];
  #reader: { resolve: (result: IteratorResult<T, undefined>) => void; reject: (why: unknown) => void } | undefined;
  #ended = false;
  #failure: A2AError | undefined;

  /** Holds whoever brings an element back while more than `bound` wait to be read. */
  constructor(bound: number) {
    this.#bound = bound;
  }

  /** Whether nothing more is taken. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Takes an element. What it returns, if anything, resolves when there is room for another. */
  push(item: T): Promise<void> | undefined {
    if (this.#ended) {
      return undefined;
    }
    if (this.#reader) {
      const reader = this.#reader;
      this.#reader = undefined;
      reader.resolve({ done: false, value: item });
      return undefined;
    }
    this.#items.push(item);
    const waiting = this.#items.length - this.#head;
    if (waiting <= this.#bound) {
      return undefined;
    }
    if (waiting > this.#bound + OVERFLOW) {
      this.fail(new A2AError("QUOTA", `the server sent ${waiting} events without waiting for their acknowledgement`));
      return undefined;
    }
    return new Promise((resolve) => {
      this.#heldBack.push(resolve);
    });
  }

  /** The next element: one that is here, or one that comes. What came before a failure is read before it. */
  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#head < this.#items.length) {
      return Promise.resolve({ done: false, value: this.#shift() });
    }
    if (this.#failure) {
      const failure = this.#failure;
      this.#failure = undefined;
      return Promise.reject(failure);
    }
    if (this.#ended) {
      return Promise.resolve({ done: true, value: undefined });
    }
    if (this.#reader) {
      return Promise.reject(new A2AError("INVALID_REQUEST", "a stream has one reader: await one `next` before another"));
    }
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  /** Nothing more comes; what is here can still be read, and holds back whoever brought it. */
  end(): void {
    this.#ended = true;
    this.#reader?.resolve({ done: true, value: undefined });
    this.#reader = undefined;
  }

  /** As {@link end}, and the reader is told why. */
  fail(why: A2AError): void {
    if (this.#ended) {
      return;
    }
    const reader = this.#reader;
    this.#reader = undefined;
    if (reader) {
      reader.reject(why);
    } else {
      this.#failure = why;
    }
    this.end();
    this.#release();
  }

  /** Nobody reads any more: drops what is here. */
  abandon(): void {
    this.#items = [];
    this.#head = 0;
    this.#failure = undefined;
    this.end();
    this.#release();
  }

  #shift(): T {
    const item = this.#items[this.#head] as T;
    this.#head += 1;
    // Moving the rest down for each element would make a long queue slow.
    if (this.#head > 64 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    this.#heldBack.shift()?.();
    return item;
  }

  #release(): void {
    for (const resolve of this.#heldBack) {
      resolve();
    }
    this.#heldBack = [];
  }
}
