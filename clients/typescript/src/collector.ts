/** A callback that keeps what it gets. */

import { RpcTarget } from "capnweb";
import { A2AError } from "./error.js";
import type {
  Artifact,
  EndReason,
  Message,
  StreamEnd,
  StreamEvent,
  TaskArtifactUpdateEvent,
  TaskSnapshot,
  TaskStatusUpdateEvent,
} from "./model.js";
import type { TaskObserver } from "./objects.js";

/**
 * Keeps every event of a stream: for tests, scripts, and tasks whose events are few. Give it to a `Client`, or to
 * an object of `capnweb` itself. It has no bound: read what may be long with `Client.stream`.
 */
export class EventCollector extends RpcTarget implements TaskObserver {
  readonly #events: StreamEvent[] = [];
  #final: StreamEvent | undefined;
  #end: StreamEnd | undefined;
  #error: A2AError | undefined;
  #waiting: { resolve: (event: StreamEvent) => void; reject: (why: unknown) => void }[] = [];

  /** What has come so far, in order. */
  events(): readonly StreamEvent[] {
    return this.#events;
  }

  /** How the stream has ended; undefined if it has not. */
  end(): StreamEnd | undefined {
    return this.#end;
  }

  /** The artifacts as they stand by what has come. */
  artifacts(): Artifact[] {
    const artifacts = new Map<string, Artifact>();
    for (const event of this.#events) {
      for (const artifact of event.task?.artifacts ?? []) {
        artifacts.set(artifact.artifactId, { ...artifact, parts: [...artifact.parts] });
      }
      if (event.artifactUpdate) {
        const { artifact, append } = event.artifactUpdate;
        const before = append ? artifacts.get(artifact.artifactId) : undefined;
        artifacts.set(artifact.artifactId, { ...before, ...artifact, parts: [...(before?.parts ?? []), ...artifact.parts] });
      }
    }
    return [...artifacts.values()];
  }

  /**
   * The stream's final event: the one that is here, or the one that comes.
   *
   * @param timeoutMs how long to wait; for ever if absent
   * @throws {A2AError} DEADLINE_EXCEEDED after that time, or why the stream has ended without such an event
   */
  waitForFinal(timeoutMs?: number): Promise<StreamEvent> {
    if (this.#final) {
      return Promise.resolve(this.#final);
    }
    if (this.#error) {
      return Promise.reject(this.#error);
    }
    return new Promise((resolve, reject) => {
      const waiting = { resolve, reject };
      if (timeoutMs !== undefined) {
        const timer = setTimeout(() => {
          const last = this.#events.at(-1)?.seq ?? 0;
          const message = `no final event within ${timeoutMs} ms; ${this.#events.length} have come, the last is ${last}`;
          this.#waiting = this.#waiting.filter((other) => other !== waiting);
          reject(new A2AError("DEADLINE_EXCEEDED", message));
        }, timeoutMs);
        waiting.resolve = (event) => {
          clearTimeout(timer);
          resolve(event);
        };
        waiting.reject = (why) => {
          clearTimeout(timer);
          reject(why);
        };
      }
      this.#waiting.push(waiting);
    });
  }

  onTask(task: TaskSnapshot): void {
    this.#take({ task, seq: task.seq, final: task.final === true });
  }

  onStatusUpdate(statusUpdate: TaskStatusUpdateEvent): void {
    this.#take({ statusUpdate, seq: statusUpdate.seq, final: statusUpdate.final === true });
  }

  onArtifactUpdate(artifactUpdate: TaskArtifactUpdateEvent): void {
    this.#take({ artifactUpdate, seq: artifactUpdate.seq, final: artifactUpdate.final === true });
  }

  onMessage(message: Message): void {
    this.#take({ message, seq: 0, final: true });
  }

  onEnd(reason: EndReason, lastSeq: number, error?: unknown): void {
    this.#end ??= { reason, lastSeq };
    this.#fail(error ? A2AError.from(error) : new A2AError("NO_TASK", `the stream has ended (${reason}) without a final event`));
  }

  /** Called by `capnweb` when the server lets go of this object. */
  [Symbol.dispose](): void {
    this.#fail(new A2AError("DISCONNECTED", "the stream was cut off before its final event"));
  }

  #take(event: StreamEvent): void {
    this.#events.push(event);
    if (event.final) {
      this.#final = event;
      for (const { resolve } of this.#waiting.splice(0)) {
        resolve(event);
      }
    }
  }

  #fail(why: A2AError): void {
    if (this.#final) {
      return;
    }
    this.#error ??= why;
    for (const { reject } of this.#waiting.splice(0)) {
      reject(this.#error);
    }
  }
}
