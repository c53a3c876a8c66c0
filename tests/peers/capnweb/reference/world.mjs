// Tasks in memory: each a log of numbered events, of which its state is a fold.

import { randomUUID } from "node:crypto";
import { fault, invalid, taskNotFound } from "./faults.mjs";
import { runDemo } from "./demo.mjs";

const TERMINAL = new Set(["TASK_STATE_COMPLETED", "TASK_STATE_FAILED", "TASK_STATE_CANCELED", "TASK_STATE_REJECTED"]);
const INTERRUPTED = new Set(["TASK_STATE_INPUT_REQUIRED", "TASK_STATE_AUTH_REQUIRED"]);

export const isTerminal = (state) => TERMINAL.has(state);
export const isInterrupted = (state) => INTERRUPTED.has(state);

/** One task. Whoever waits for it gets a promise; a subscriber is nothing but a number in its log. */
export class TaskLog {
  events = [];
  artifacts = new Map();
  history = [];
  status = undefined;
  /** The first event that is kept: a test may cut the log. */
  firstKept = 1;
  /** Rings when the running turn is to stop. */
  cancellation = new AbortController();
  /** Takes messages into the running turn. */
  inbox = [];
  #bells = [];

  constructor(contextId, owner) {
    this.id = randomUUID();
    this.contextId = contextId;
    this.owner = owner;
    this.created = Date.now();
  }

  get lastSeq() {
    return this.events.length;
  }

  get state() {
    return this.status.state;
  }

  get isFinished() {
    return isTerminal(this.state);
  }

  /** Takes a state, unless the task is finished. */
  setState(state, text) {
    if (this.status && this.isFinished) return;
    this.status = { state, timestamp: new Date().toISOString() };
    if (text !== undefined) this.status.message = this.agentMessage(text);
    const { id: taskId, contextId, status } = this;
    const update = { taskId, contextId, status, seq: this.lastSeq + 1, final: isTerminal(state) };
    if (status.message) this.history.push(status.message);
    this.#publish({ method: "onStatusUpdate", update, state });
  }

  /** A piece of an artifact's text. */
  addText(artifactId, text, append, lastChunk) {
    if (this.isFinished) return;
    const artifact = { artifactId, parts: [{ text }] };
    const known = append ? this.artifacts.get(artifactId) : undefined;
    if (known) known.parts.push(...artifact.parts);
    else this.artifacts.set(artifactId, { artifactId, parts: [...artifact.parts] });
    const update = { taskId: this.id, contextId: this.contextId, artifact, seq: this.lastSeq + 1, final: false };
    if (append) update.append = true;
    if (lastChunk) update.lastChunk = true;
    this.#publish({ method: "onArtifactUpdate", update });
  }

  agentMessage(text) {
    const { id: taskId, contextId } = this;
    return { messageId: randomUUID(), contextId, taskId, role: "ROLE_AGENT", parts: [{ text }] };
  }

  /** The whole answer, without a task. */
  reply(text) {
    return { messageId: randomUUID(), contextId: this.contextId, role: "ROLE_AGENT", parts: [{ text }] };
  }

  /** Resolves when something happens. */
  bell() {
    return new Promise((resolve) => this.#bells.push(resolve));
  }

  ring() {
    for (const resolve of this.#bells.splice(0)) resolve();
  }

  /** The task as it stands. */
  view(historyLength, withArtifacts = true) {
    const task = { id: this.id, contextId: this.contextId, status: this.status };
    if (withArtifacts && this.artifacts.size > 0) task.artifacts = [...this.artifacts.values()];
    const history = historyLength === undefined ? this.history : this.history.slice(this.history.length - Math.min(historyLength, this.history.length));
    if (history.length > 0) task.history = history;
    return task;
  }

  /** Resolves when the task is finished or waits for somebody. */
  async stopped() {
    while (!this.isFinished && !isInterrupted(this.state)) await this.bell();
  }

  #publish(entry) {
    this.events.push(entry);
    this.ring();
  }
}

/** Everything that outlives a connection. Give the same world to another server, and it has been restarted. */
export class World {
  tasks = new Map();
  /** What sends were answered, by principal and message id. */
  sends = new Map();
  /** What can be claimed, by secret. */
  shares = new Map();
  /** How many sends did work. */
  begun = 0;

  /** A task that the principal may see. */
  find(id, owner) {
    const task = this.tasks.get(id);
    if (!task || task.owner !== owner) throw taskNotFound();
    return task;
  }

  /**
   * Begins what a message asks for, once for each message id: resolves to `{ task, after }` as soon as there is a
   * task, or to `{ message }`.
   */
  begin(principal, message, config) {
    checkMessage(message);
    const key = JSON.stringify([principal.subject, message.messageId]);
    const digest = JSON.stringify([message, config ?? null]);
    const before = principal.anonymous ? undefined : this.sends.get(key);
    if (before) {
      if (before.digest !== digest) throw fault("CONFLICT", "this message id was used with another body; choose a new one");
      return before.outcome;
    }
    const outcome = this.#begin(principal, message, config);
    this.sends.set(key, { digest, outcome });
    // A refusal is no answer: the same message may fare better later.
    outcome.catch(() => this.sends.delete(key));
    return outcome;
  }

  async #begin(principal, message, config) {
    this.begun += 1;
    if (message.taskId !== undefined) return this.#continue(principal, message);
    const task = new TaskLog(message.contextId ?? randomUUID(), principal.subject);
    const said = { ...message, taskId: task.id, contextId: task.contextId };
    const open = () => {
      if (task.status) return;
      this.tasks.set(task.id, task);
      task.history.push(said);
      task.setState("TASK_STATE_SUBMITTED");
    };
    if (config?.returnImmediately) open();
    const reply = runDemo(task, said, { open, isFollowUp: false });
    return reply === undefined ? { task, after: 0 } : { message: task.reply(reply) };
  }

  #continue(principal, message) {
    const task = this.find(message.taskId, principal.subject);
    if (task.isFinished) throw fault("UNSUPPORTED_OPERATION", "the task is finished and takes no more messages; send without taskId to open one");
    const after = task.lastSeq;
    const said = { ...message, contextId: task.contextId };
    const waits = isInterrupted(task.state);
    task.history.push(said);
    task.setState("TASK_STATE_WORKING");
    if (waits) runDemo(task, said, { open() {}, isFollowUp: true });
    else task.inbox.push(said);
    task.ring();
    return { task, after };
  }

  cancel(task) {
    if (task.isFinished) throw fault("TASK_NOT_CANCELABLE", "the task is finished already");
    task.setState("TASK_STATE_CANCELED");
    task.cancellation.abort();
    return task.view();
  }

  /** Calls everything off, so that a process can end. */
  stop() {
    for (const task of this.tasks.values()) if (!task.isFinished) this.cancel(task);
  }

  list(owner, contextId, params = {}) {
    const { pageSize = 50, pageToken = "", historyLength, includeArtifacts = false } = params;
    if (!Number.isInteger(pageSize) || pageSize < 1 || pageSize > 100) throw invalid("pageSize", `must be from 1 to 100, not ${pageSize}`);
    const only = contextId ?? params.contextId;
    const all = [...this.tasks.values()]
      .filter((task) => task.owner === owner && (only === undefined || task.contextId === only))
      .filter((task) => params.status === undefined || task.state === params.status)
      .filter((task) => params.statusTimestampAfter === undefined || task.status.timestamp >= params.statusTimestampAfter)
      .sort((a, b) => (a.status.timestamp < b.status.timestamp ? 1 : -1));
    const from = Number(pageToken);
    const page = all.slice(from, from + pageSize);
    const next = from + pageSize < all.length ? String(from + pageSize) : "";
    const tasks = page.map((task) => task.view(historyLength, includeArtifacts));
    return { tasks, nextPageToken: next, pageSize, totalSize: all.length };
  }
}

function checkMessage(message) {
  if (typeof message !== "object" || message === null) throw invalid("message", "is required");
  if (typeof message.messageId !== "string" || message.messageId === "") throw invalid("message.messageId", "must not be empty");
  if (message.role !== "ROLE_USER") throw invalid("message.role", "must be ROLE_USER: a client speaks as the user");
  if (!Array.isArray(message.parts) || message.parts.length === 0) throw invalid("message.parts", "must have at least one element");
}
