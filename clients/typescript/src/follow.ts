/** Follows a task to the end of its stream, whatever happens to the line meanwhile. */

import { RpcTarget, type RpcStub } from "capnweb";
import { A2AError, ERROR_CODES, hasReason } from "./error.js";
import {
  type EndReason,
  isInterrupted,
  type Message,
  type StreamEnd,
  type StreamEvent,
  type TaskArtifactUpdateEvent,
  type TaskSnapshot,
  type TaskStatusUpdateEvent,
} from "./model.js";
import type { Operations, TaskObserver } from "./objects.js";
import { Position } from "./position.js";
import type { EventQueue } from "./queue.js";
import { Pause, type SettledRetry, waitAfter } from "./retry.js";
import type { Line } from "./line.js";

/** What a call that starts a stream returns. */
export interface StartCall {
  then<T>(accepted: (result: unknown) => T): Promise<T>;
}

/** How a stream begins, and begins again. */
export interface Origin {
  /** Whether it is a send's own stream, which ends at an interrupted state too. */
  isSend: boolean;
  /** The task, if it is known. */
  taskId: string | undefined;
  /** The event after which a subscription begins. */
  after: number | undefined;
  /** Whether what the call returns is kept for as long as somebody reads. */
  keepsHandle: boolean;
  /** Makes the call with which the stream begins. */
  start(operations: RpcStub<Operations>, callback: TaskObserver): StartCall;
  /** Makes the call with which it goes on. */
  resume(operations: RpcStub<Operations>, taskId: string, callback: TaskObserver, after: number): StartCall;
}

/** Where lines come from. */
export interface Source {
  readonly closed: A2AError | undefined;
  /** Whether a send whose answer was lost may be sent again. */
  readonly maySendAgain: boolean;
  readonly retry: SettledRetry;
  live(): Promise<Line>;
  refuseUnlessLost(line: Line, thrown: unknown): void;
  /** Whether the error says that the line's session is over and another may follow; then the line is given up. */
  expired(line: Line, thrown: unknown): boolean;
  progressed(): void;
}

/** What an attempt came to: the stream's end, or nothing if it has to go on over another call. */
type Outcome = StreamEnd | undefined;

/** See the head of this file. */
export class Follower {
  /** The task, as soon as anything says which. */
  readonly taskId: Promise<string>;
  readonly #source: Source;
  readonly #origin: Origin;
  readonly #queue: EventQueue<StreamEvent>;
  readonly #position: Position;
  #task: string | undefined;
  #foundTask: (id: string) => void = () => {};
  #foundNone: (why: unknown) => void = () => {};
  /** Resolves when nobody reads any more. */
  readonly #abandoned: Promise<void>;
  #abandon: () => void = () => {};
  #isAbandoned = false;
  #pause: Pause | undefined;
  /** Resolves when the server may let go of the stream. */
  #acknowledged: Promise<void> = Promise.resolve();
  /** What keeps the task of a send alive that is canceled with it. */
  #handle: Disposable | undefined;
  #progressed = false;
  #failures = 0;
  /** What the server did that no stream may do. */
  #broken: A2AError | undefined;

  constructor(source: Source, origin: Origin, queue: EventQueue<StreamEvent>) {
    this.#source = source;
    this.#origin = origin;
    this.#queue = queue;
    this.#position = new Position(origin.after);
    this.#task = origin.taskId;
    this.taskId = new Promise((resolve, reject) => {
      this.#foundTask = resolve;
      this.#foundNone = reject;
    });
    // Whoever does not ask for the task is not to be bothered with there being none.
    this.taskId.catch(() => {});
    if (origin.taskId !== undefined) {
      this.#foundTask(origin.taskId);
    }
    this.#abandoned = new Promise((resolve) => {
      this.#abandon = resolve;
    });
  }

  /** The last event that has come; 0 before the first. */
  get lastSeq(): number {
    return this.#position.last ?? 0;
  }

  /** Nobody reads any more: lets the server know, wherever the stream stands. */
  abandon(): void {
    this.#isAbandoned = true;
    this.#pause?.end();
    this.#queue.abandon();
    this.#handle?.[Symbol.dispose]();
    this.#handle = undefined;
    this.#foundNone(new A2AError("DISCONNECTED", "the stream was closed before it named its task"));
    this.#abandon();
  }

  /** Fills the queue until the stream is over, and says how it ended. */
  async run(): Promise<StreamEnd> {
    try {
      const end = await this.#run();
      this.#queue.end();
      this.#foundNone(noTask());
      return end;
    } catch (thrown) {
      const error = this.#source.closed ?? A2AError.from(thrown);
      this.#queue.fail(error);
      this.#foundNone(error);
      throw error;
    }
  }

  async #run(): Promise<StreamEnd> {
    for (let first = true; ; first = false) {
      if (this.#isAbandoned) {
        return { reason: "detached", lastSeq: this.lastSeq };
      }
      this.#progressed = false;
      const line = await Promise.race([this.#source.live(), this.#abandoned]);
      if (!line || this.#isAbandoned) {
        continue;
      }
      const end = await this.#attempt(line, first);
      if (end) {
        return end;
      }
      if (this.#origin.isSend && this.#position.last === undefined && !this.#source.maySendAgain) {
        throw line.loss ?? new A2AError("DISCONNECTED", "the send may or may not have arrived; it is not sent again");
      }
      this.#failures = this.#progressed ? 0 : this.#failures + 1;
      // Getting a lost line back has waits of its own.
      if (!line.loss) {
        await this.#wait();
      }
    }
  }

  async #wait(): Promise<void> {
    const { retry } = this.#source;
    if (this.#failures > retry.tries) {
      throw new A2AError("DISCONNECTED", `the server ended the stream ${this.#failures} times without an event`);
    }
    this.#pause = new Pause(waitAfter(Math.max(this.#failures, 1), retry, Math.random()));
    await this.#pause.done;
    this.#pause = undefined;
  }

  /** One call and what comes of it. Throws what a further call would meet again. */
  async #attempt(line: Line, first: boolean): Promise<Outcome> {
    const attempt = new Attempt(this);
    let call: StartCall;
    try {
      call = this.#begin(line.operations, new Sink(attempt));
    } catch (thrown) {
      // The line was lost between two turns of the event loop.
      this.#source.refuseUnlessLost(line, thrown);
      return undefined;
    }
    const answer = call.then((result) => (isDisposable(result) ? result : undefined));
    answer.catch(() => {});
    try {
      return await this.#outcome(line, first, attempt, answer);
    } finally {
      attempt.detach();
      if (this.#origin.keepsHandle && first && !line.loss && !this.#isAbandoned) {
        this.#handle = { [Symbol.dispose]: () => release(answer) };
      } else {
        // Not before the last event is acknowledged: for the server it would have been broken off.
        this.#acknowledged.then(() => release(answer));
      }
    }
  }

  async #outcome(line: Line, first: boolean, attempt: Attempt, answer: Promise<Disposable | undefined>): Promise<Outcome> {
    const abandoned = this.#abandoned.then((): ToldEnd => ({ reason: "detached" }));
    // An answer only matters if it is a refusal, so one that is none never wins.
    const refused = answer.then(() => new Promise<never>(() => {}));
    try {
      const end = await Promise.race([attempt.ended, refused, abandoned]);
      if (end) {
        return this.#judged(end, line);
      }
      // The server has let go of the callback without a word: it may be about to say why.
      await Promise.race([answer, abandoned]);
      return undefined;
    } catch (thrown) {
      const error = A2AError.from(thrown);
      if (hasReason(error, "NO_TASK") && !line.loss) {
        // The agent has answered with a message, which the callback gets.
        const end = await Promise.race([attempt.ended, abandoned]);
        return this.#judged(end ?? { reason: "completed" }, line);
      }
      // A server that has just come back may be too busy for a moment.
      const isBusy = !first && !line.loss && hasReason(error, "OVERLOADED");
      if (!isBusy) {
        this.#source.refuseUnlessLost(line, thrown);
      }
      return undefined;
    }
  }

  /** Whether an end that the server has told is this stream's. */
  #judged(end: ToldEnd, line: Line): Outcome {
    if (this.#broken) {
      throw this.#broken;
    }
    switch (end.reason) {
      case "completed":
      case "interrupted":
        return { reason: end.reason, lastSeq: this.lastSeq };
      case "revoked":
      case "gap":
      case "failed": {
        const error = endError(end.reason, end.error);
        if (this.#source.expired(line, error)) {
          return undefined;
        }
        throw error;
      }
      default:
        return this.#isAbandoned ? { reason: "detached", lastSeq: this.lastSeq } : undefined;
    }
  }

  #begin(operations: RpcStub<Operations>, sink: Sink): StartCall {
    const after = this.#position.last;
    if (this.#task !== undefined && after !== undefined) {
      return this.#origin.resume(operations, this.#task, sink, after);
    }
    // The server knows a repeated send by its message id.
    return this.#origin.start(operations, sink);
  }

  /** An event has come for the attempt that is going on. What this returns is its acknowledgement. */
  take(event: StreamEvent, attempt: Attempt): Promise<void> | undefined {
    const state = event.statusUpdate?.status?.state;
    try {
      const isNews = event.task
        ? this.#position.takesSnapshot(event.seq)
        : event.message !== undefined || this.#position.takesEvent(event.seq, event.final);
      if (!isNews) {
        return undefined;
      }
    } catch (thrown) {
      this.#broken = A2AError.from(thrown);
      attempt.end({ reason: "failed" });
      throw thrown;
    }
    this.#progress(event.task?.id ?? event.statusUpdate?.taskId ?? event.artifactUpdate?.taskId);
    const waits = state !== undefined && isInterrupted(state);
    if (this.#origin.isSend && waits && !event.final) {
      // So that a send's stream ends in the same place after it was resumed by a subscription.
      event.final = true;
      event.statusUpdate!.final = true;
    }
    if (event.message) {
      this.#foundNone(new A2AError("NO_TASK", "the agent answered with a message, so there is no task"));
    }
    const room = this.#queue.push(event);
    if (event.final) {
      // The server's last word may not come any more if the line is lost now; it would say nothing new.
      this.#queue.end();
      this.#acknowledged = room ?? this.#acknowledged;
      attempt.end({ reason: waits ? "interrupted" : "completed" });
    }
    return room;
  }

  #progress(taskId: string | undefined): void {
    this.#progressed = true;
    this.#source.progressed();
    if (taskId !== undefined && this.#task === undefined) {
      this.#task = taskId;
      this.#foundTask(taskId);
    }
  }
}

/** What the server says at the end. */
interface ToldEnd {
  reason: EndReason;
  error?: unknown;
}

/** One call that feeds the stream. */
class Attempt {
  /** The last word; undefined if the server has let go without one. */
  readonly ended: Promise<ToldEnd | undefined>;
  #resolve: (end: ToldEnd | undefined) => void = () => {};
  #follower: Follower | undefined;

  constructor(follower: Follower) {
    this.#follower = follower;
    this.ended = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** The first word that comes is the last. */
  end(end: ToldEnd | undefined): void {
    this.#resolve(end);
  }

  /** What comes now no longer counts. */
  detach(): void {
    this.#follower = undefined;
  }

  take(event: StreamEvent): Promise<void> | undefined {
    return this.#follower?.take(event, this);
  }
}

/** The object that the server calls. It can call whatever this class has, so it has nothing else. */
class Sink extends RpcTarget implements TaskObserver {
  readonly #attempt: Attempt;

  constructor(attempt: Attempt) {
    super();
    this.#attempt = attempt;
  }

  onTask(task: TaskSnapshot): Promise<void> | undefined {
    return this.#attempt.take({ task, seq: task.seq, final: task.final === true });
  }

  onStatusUpdate(statusUpdate: TaskStatusUpdateEvent): Promise<void> | undefined {
    return this.#attempt.take({ statusUpdate, seq: statusUpdate.seq, final: statusUpdate.final === true });
  }

  onArtifactUpdate(artifactUpdate: TaskArtifactUpdateEvent): Promise<void> | undefined {
    return this.#attempt.take({ artifactUpdate, seq: artifactUpdate.seq, final: artifactUpdate.final === true });
  }

  onMessage(message: Message): Promise<void> | undefined {
    return this.#attempt.take({ message, seq: 0, final: true });
  }

  onEnd(reason: EndReason, _lastSeq?: number, error?: unknown): void {
    this.#attempt.end({ reason, error });
  }

  /** Called when the server lets go, and when the line is lost. */
  [Symbol.dispose](): void {
    this.#attempt.end(undefined);
  }
}

/**
 * Lets go of what a call has returned, or is going to return. Letting go of the call itself would be shorter, but an
 * answer that comes after that, with a promise inside, ends a program on Node by an unhandled rejection (capnweb 0.12).
 */
function release(answer: Promise<Disposable | undefined>): void {
  answer.then((result) => result?.[Symbol.dispose](), () => {});
}

function isDisposable(value: unknown): value is Disposable {
  const isObject = (typeof value === "object" && value !== null) || typeof value === "function";
  return isObject && typeof (value as Partial<Disposable>)[Symbol.dispose] === "function";
}

function endError(reason: "revoked" | "gap" | "failed", told: unknown): A2AError {
  const [kind, text] = {
    revoked: ["REVOKED", "the authority behind the stream was taken back or has expired"],
    gap: ["GAP", "the server no longer has the events that follow; subscribe anew"],
    failed: ["INTERNAL", "the server could not go on with the stream"],
  }[reason] as [keyof typeof ERROR_CODES, string];
  const error = told === undefined || told === null ? undefined : A2AError.from(told);
  // A plain object in place of an error is as good; one without a code says less than the reason does.
  return error && error.reason !== "INTERNAL" ? error : new A2AError(kind, error?.message ?? text, { cause: told });
}

function noTask(): A2AError {
  return new A2AError("NO_TASK", "the stream has ended without naming a task");
}
