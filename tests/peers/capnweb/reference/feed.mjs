// Feeds a task's events to a client's callback, from a number on, until the stream is over.

import { fault } from "./faults.mjs";
import { isInterrupted } from "./world.mjs";

/** How many events may wait for their acknowledgement. */
const WINDOW = 32;

/** One stream. It calls back until the task is over, it is stopped, or the callback fails. */
export class Feed {
  lastSeq = 0;
  #stopped;
  #stop;

  constructor(task, callback, { after, isSend, opening }) {
    this.task = task;
    this.callback = callback;
    this.isSend = isSend;
    this.opening = opening;
    this.lastSeq = after ?? 0;
    this.withSnapshot = after === undefined;
    this.#stopped = new Promise((resolve) => {
      this.#stop = resolve;
    });
    if (after !== undefined && after + 1 < task.firstKept) {
      throw fault("GAP", `events before ${task.firstKept} are gone; subscribe without a number`);
    }
  }

  /** Ends the stream: `detached` or `revoked`. */
  stop(reason, error) {
    this.stoppedBy ??= { reason, error };
    this.#stop();
    this.task.ring();
  }

  async run() {
    const { reason, error } = await this.#drive().catch((error) => ({ reason: "cut", error }));
    // The library sends a call's arguments at once: the last word cannot be overtaken.
    await this.callback.call("onEnd", [reason, this.lastSeq, ...(error && reason !== "cut" ? [error] : [])]).catch(() => {});
    this.callback.release();
  }

  async #drive() {
    const { task } = this;
    const unanswered = [];
    if (this.opening) {
      const { id, contextId } = task;
      await this.callback.call("onTask", [{ id, contextId, status: task.events[0].update.status, history: task.history.slice(0, 1), seq: 0, final: false }]);
    } else if (this.withSnapshot) {
      const seq = task.lastSeq;
      const wasFinished = task.isFinished;
      await this.callback.call("onTask", [{ ...task.view(), seq, final: false }]);
      this.lastSeq = wasFinished ? seq - 1 : seq;
    }
    for (;;) {
      while (this.lastSeq < task.lastSeq && !this.stoppedBy) {
        const { method, update, state } = task.events[this.lastSeq];
        const waits = this.isSend && state !== undefined && isInterrupted(state);
        const answer = this.callback.call(method, [waits ? { ...update, final: true } : update]);
        this.lastSeq = update.seq;
        if (update.final || waits) {
          await Promise.all([...unanswered, answer]);
          return { reason: waits ? "interrupted" : "completed" };
        }
        if (this.callback.isUndecided) {
          await answer;
          continue;
        }
        // It is awaited below, but may fail before.
        answer.catch(() => {});
        unanswered.push(answer);
        if (unanswered.length >= WINDOW) await Promise.race([unanswered.shift(), this.#stopped]);
      }
      if (this.stoppedBy) return this.stoppedBy;
      if (task.isFinished) return { reason: "completed" };
      await task.bell();
    }
  }
}

/**
 * A client's callback of any shape: an RpcTarget, a plain object with functions, or one function. The first and the
 * last look alike, so the answer to the first event decides.
 */
export class Callback {
  #given;
  #shape;
  #missing = new Set();

  constructor(given) {
    if (typeof given === "function") {
      this.#given = given.dup();
    } else if (typeof given === "object" && given !== null) {
      this.#shape = "members";
      this.#given = {};
      for (const name of Object.keys(given)) this.#given[name] = given[name].dup();
    } else {
      throw fault("INVALID_PARAMS", "callback: must be an object with the observer's methods, or a function");
    }
  }

  get isUndecided() {
    return this.#shape === undefined;
  }

  async call(method, args) {
    if (this.#missing.has(method)) return;
    switch (this.#shape) {
      case "members":
        return this.#given[method]?.(...args);
      case "function":
        return method === "onEnd" ? undefined : this.#given(asEvent(method, args[0]));
      case "target":
        return this.#given[method](...args).catch((error) => this.#tolerate(method, error));
      default:
        return this.#probe(method, args);
    }
  }

  async #probe(method, args) {
    try {
      await this.#given[method](...args);
      this.#shape = "target";
    } catch (error) {
      if (!isMissing(error)) throw error;
      if (method === "onEnd") return;
      try {
        await this.#given(asEvent(method, args[0]));
        this.#shape = "function";
      } catch (second) {
        if (!isMissing(second)) throw second;
        this.#missing.add(method);
      }
    }
  }

  #tolerate(method, error) {
    if (!isMissing(error)) throw error;
    this.#missing.add(method);
  }

  release() {
    const stubs = this.#shape === "members" ? Object.values(this.#given) : [this.#given];
    for (const stub of stubs) stub[Symbol.dispose]();
  }
}

function isMissing(error) {
  return error instanceof TypeError && error.message.endsWith("is not a function.");
}

function asEvent(method, value) {
  const member = { onTask: "task", onMessage: "message", onStatusUpdate: "statusUpdate", onArtifactUpdate: "artifactUpdate" }[method];
  return { [member]: value, seq: value.seq ?? 0, final: value.final ?? true };
}
