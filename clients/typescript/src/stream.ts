/** A task's events, to be read one by one. */

// Makes `Symbol.dispose` where the platform has none, and so comes first.
import "capnweb";
import { A2AError } from "./error.js";
import { Follower, type Origin, type Source } from "./follow.js";
import type { StreamEnd, StreamEvent } from "./model.js";
import { EventQueue } from "./queue.js";

/** How a stream is read. */
export interface StreamOptions {
  /** How many events may wait for the reader before the server is held back. Default: 16. */
  buffer?: number;
  /** Closes the stream. */
  signal?: AbortSignal;
}

/** How many events wait for a reader if it does not say. */
const DEFAULT_BUFFER = 16;

/**
 * The events of a task in their order, none twice, none left out, however often the line is lost meanwhile. It
 * has begun already, and has one reader: `for await`, or {@link toReadableStream}. Leaving the loop, cancelling
 * the `ReadableStream`, and {@link close} end the calls of the server; the task goes on.
 */
export class TaskStream implements AsyncIterable<StreamEvent>, Disposable {
  /**
   * The task, as soon as its first event has come. Rejected with `NO_TASK` if the agent answers with a message.
   */
  readonly taskId: Promise<string>;
  /** How the stream has ended; rejected with the error that the reader gets. */
  readonly ended: Promise<StreamEnd>;
  readonly #follower: Follower;
  readonly #queue: EventQueue<StreamEvent>;
  #lastSeq: number | undefined;
  #closed = false;

  /** Not for use by others: see `Client.stream`, `Client.follow` and `followTask`. */
  constructor(source: Source, origin: Origin, options: StreamOptions = {}) {
    this.#queue = new EventQueue(bufferOf(options));
    this.#follower = new Follower(source, origin, this.#queue);
    this.#lastSeq = origin.after;
    this.taskId = this.#follower.taskId;
    this.ended = this.#follower.run();
    // The reader gets the error; whoever does not ask for it a second time is not to be bothered.
    this.ended.catch(() => {});
    const { signal } = options;
    if (signal?.aborted) {
      this.close();
    } else if (signal) {
      const close = () => this.close();
      signal.addEventListener("abort", close, { once: true });
      const forget = () => signal.removeEventListener("abort", close);
      this.ended.then(forget, forget);
    }
  }

  /** The last event that was read: where another stream would go on. Undefined before the first. */
  get lastSeq(): number | undefined {
    return this.#lastSeq;
  }

  /** Ends the stream for its reader and lets the server know. May be called twice. */
  close(): void {
    if (!this.#closed) {
      this.#closed = true;
      this.#follower.abandon();
    }
  }

  /** As {@link close}. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** The one reader. */
  [Symbol.asyncIterator](): AsyncIterator<StreamEvent, undefined> {
    return {
      next: () => this.#next(),
      return: () => {
        this.close();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  /** The events as a `ReadableStream` of the platform, to be piped on. It reads no further than it is read. */
  toReadableStream(): ReadableStream<StreamEvent> {
    return new ReadableStream<StreamEvent>(
      {
        pull: async (controller) => {
          const { done, value } = await this.#next();
          if (done) {
            controller.close();
          } else {
            controller.enqueue(value);
          }
        },
        cancel: () => this.close(),
      },
      { highWaterMark: 0 },
    );
  }

  async #next(): Promise<IteratorResult<StreamEvent, undefined>> {
    const result = await this.#queue.next();
    if (result.done) {
      // Lets go of what a send is tied to, now that it has been read to its end.
      this.close();
    } else if (!result.value.message) {
      this.#lastSeq = result.value.seq;
    }
    return result;
  }
}

function bufferOf({ buffer = DEFAULT_BUFFER }: StreamOptions): number {
  if (!Number.isSafeInteger(buffer) || buffer < 1) {
    throw new A2AError("INVALID_PARAMS", `buffer: must be a whole number from 1, not ${buffer}`);
  }
  return buffer;
}
