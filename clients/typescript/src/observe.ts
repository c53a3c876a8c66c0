/** A task's events, given to a callback one by one. */

// Makes `Symbol.dispose` where the platform has none, and so comes first.
import "capnweb";
import { type A2AError, hasReason } from "./error.js";
import type { EndReason, StreamEnd, StreamEvent } from "./model.js";
import type { TaskCallback } from "./objects.js";
import type { TaskStream } from "./stream.js";

/**
 * The calls to a callback. They come one at a time, in order; the next waits until the promise of the one before
 * is settled. A callback that throws gets no more of them; the task goes on.
 */
export class TaskSubscription implements Disposable {
  /** The task, as soon as its first event has come. Rejected with `NO_TASK` if the agent answers with a message. */
  readonly taskId: Promise<string>;
  /** How the stream has ended, after the last call. Rejected if it has failed, or the callback has thrown. */
  readonly ended: Promise<StreamEnd>;
  readonly #stream: TaskStream;

  /** Not for use by others: see `Client.sendMessageStreaming` and `Client.subscribeToTask`. */
  constructor(stream: TaskStream, callback: TaskCallback) {
    this.#stream = stream;
    this.taskId = stream.taskId;
    this.ended = pump(stream, callback);
    // A callback's `onEnd` is told; whoever does not ask for it here is not to be bothered.
    this.ended.catch(() => {});
  }

  /** The last event that the callback was given. */
  get lastSeq(): number | undefined {
    return this.#stream.lastSeq;
  }

  /** Ends the calls; the task goes on. May be called twice. */
  close(): void {
    this.#stream.close();
  }

  /** As {@link close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}

async function pump(stream: TaskStream, callback: TaskCallback): Promise<StreamEnd> {
  const reader = stream[Symbol.asyncIterator]();
  for (;;) {
    let next: IteratorResult<StreamEvent, undefined>;
    try {
      next = await reader.next();
    } catch (thrown) {
      const error = thrown as A2AError;
      await tellEnd(callback, endOf(error), stream.lastSeq ?? 0, error);
      throw error;
    }
    if (next.done) {
      const end = await stream.ended;
      await tellEnd(callback, end.reason, stream.lastSeq ?? 0);
      return end;
    }
    try {
      await deliver(callback, next.value);
    } catch (thrown) {
      stream.close();
      throw thrown;
    }
  }
}

/** Calls what the event belongs to, if the callback has it. */
export function deliver(callback: TaskCallback, event: StreamEvent): void | Promise<void> {
  if (typeof callback === "function") {
    return callback(event);
  }
  if (event.statusUpdate) {
    return callback.onStatusUpdate?.(event.statusUpdate);
  }
  if (event.artifactUpdate) {
    return callback.onArtifactUpdate?.(event.artifactUpdate);
  }
  return event.task ? callback.onTask?.(event.task) : callback.onMessage?.(event.message);
}

async function tellEnd(callback: TaskCallback, reason: EndReason, lastSeq: number, error?: A2AError): Promise<void> {
  if (typeof callback !== "function") {
    await callback.onEnd?.(reason, lastSeq, error);
  }
}

function endOf(error: A2AError): EndReason {
  if (hasReason(error, "REVOKED")) {
    return "revoked";
  }
  if (hasReason(error, "GAP")) {
    return "gap";
  }
  return hasReason(error, "DISCONNECTED") ? "cut" : "failed";
}
