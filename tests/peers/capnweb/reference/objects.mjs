// The objects of A2A as capabilities, on the npm library.

import { randomBytes, timingSafeEqual } from "node:crypto";
import { RpcTarget } from "capnweb";
import { ALL, Authority } from "./authority.mjs";
import { fault, invalid, taskNotFound } from "./faults.mjs";
import { Callback, Feed } from "./feed.mjs";
import { isInterrupted } from "./world.mjs";

/** What all objects of a server share: the world, the keys, the card, and counters for tests. */
export class Context {
  live = { sessions: 0, subscriptions: 0 };
  /** The streams that go on. */
  feeds = new Set();

  constructor({ world, keys, anonymous, card }) {
    this.world = world;
    this.keys = Object.entries(keys).map(([key, subject]) => ({ key: Buffer.from(key), subject }));
    this.anonymous = anonymous;
    this.card = card;
  }

  authenticate(credentials) {
    const { credentials: secret, version } = typeof credentials === "string" ? { credentials } : credentials ?? {};
    if (version !== undefined && version !== "1.0") throw fault("VERSION_NOT_SUPPORTED", "only 1.0 is spoken here");
    const shown = Buffer.from(String(secret ?? ""));
    const found = this.keys.find(({ key }) => key.length === shown.length && timingSafeEqual(key, shown));
    if (!found) throw fault("UNAUTHENTICATED", "no valid credentials: check the key, and that it has not expired");
    return { subject: found.subject, realm: "default", anonymous: false };
  }

  /** Starts a stream and gives the right to be called. */
  subscribe(authority, task, callback, options) {
    const feed = new Feed(task, callback, options);
    this.run(authority, feed);
    return new SubscriptionTarget(this, () => feed.stop("detached"));
  }

  run(authority, feed) {
    this.feeds.add(feed);
    authority.carry(feed).finally(() => this.feeds.delete(feed));
  }
}

class SubscriptionTarget extends RpcTarget {
  #context;
  #stop;

  constructor(context, stop) {
    super();
    this.#context = context;
    this.#stop = stop;
    context.live.subscriptions += 1;
  }

  [Symbol.dispose]() {
    this.#context.live.subscriptions -= 1;
    this.#stop();
  }
}

class GrantTarget extends RpcTarget {
  #authority;
  #keep;

  constructor(authority, policy) {
    super();
    this.#authority = authority;
    this.#keep = policy?.keepOnDrop === true;
  }

  info() {
    return this.#authority.info();
  }

  revoke() {
    this.#authority.end("revoked");
  }

  [Symbol.dispose]() {
    if (!this.#keep) this.#authority.end("revoked");
  }
}

/** The operations under an authority, which the subclasses choose. */
class OperationsTarget extends RpcTarget {
  #context;
  #authority;

  constructor(context, authority) {
    super();
    this.#context = context;
    this.#authority = authority;
  }

  async sendMessage(message, config) {
    const { context, authority, begun } = this.#begin(message, config);
    return settle(context, authority, await begun, config);
  }

  sendMessageStreaming(message, config, given) {
    const { context, authority, begun } = this.#begin(message, config);
    return stream(context, authority, begun, config, new Callback(given));
  }

  getTask(id, historyLength) {
    return this.#find(id, "read").view(historyLength);
  }

  listTasks(params) {
    const authority = this.#checked("read");
    const { principal, scope } = authority;
    return this.#context.world.list(principal.subject, scope.contextId, params);
  }

  cancelTask(id) {
    return this.#context.world.cancel(this.#find(id, "cancel"));
  }

  subscribeToTask(id, given, after) {
    const task = this.#find(id, "read");
    const subscription = this.#context.subscribe(this.#authority, task, new Callback(given), { after: checkedAfter(after) });
    return { task: new TaskTarget(this.#context, this.#authority, task), subscription };
  }

  createTaskPushNotificationConfig() {
    throw noPush();
  }

  getTaskPushNotificationConfig() {
    throw noPush();
  }

  listTaskPushNotificationConfigs() {
    throw noPush();
  }

  deleteTaskPushNotificationConfig() {
    throw noPush();
  }

  getExtendedAgentCard() {
    this.#checked("extended-card");
    throw fault("UNSUPPORTED_OPERATION", "this agent does not do an extended agent card");
  }

  #begin(message, config) {
    const authority = this.#checked("send");
    const { contextId } = authority.scope;
    if (contextId && (message?.contextId ?? contextId) !== contextId) throw taskNotFound();
    const said = contextId ? { ...message, contextId } : message;
    return { context: this.#context, authority, begun: start(this.#context, authority, said, config) };
  }

  #find(id, permission) {
    const authority = this.#checked(permission);
    const task = this.#context.world.find(id, authority.principal.subject);
    if (authority.scope.contextId && authority.scope.contextId !== task.contextId) throw taskNotFound();
    return task;
  }

  #checked(permission) {
    if (!this.#authority) throw fault("UNAUTHENTICATED", "this server has no anonymous access: call authenticate, and this on its session");
    this.#authority.check(permission);
    return this.#authority;
  }
}

/** The object that everybody gets. */
export class ServiceTarget extends OperationsTarget {
  #context;

  constructor(context) {
    const principal = { subject: "", realm: "default", anonymous: true };
    super(context, context.anonymous ? new Authority(principal, ALL) : undefined);
    this.#context = context;
  }

  info() {
    const limits = { "message-bytes": "33554432" };
    return { revision: 1, software: "reference-server/0.1.0", features: ["delete"], protocolVersions: ["1.0"], limits };
  }

  getAgentCard() {
    return this.#context.card;
  }

  authenticate(credentials) {
    const principal = this.#context.authenticate(credentials);
    return new SessionTarget(this.#context, new Authority(principal, ALL));
  }

  claim(secret) {
    const shared = this.#context.world.shares.get(secret);
    this.#context.world.shares.delete(secret);
    if (!shared || !shared.authority.isLive) throw fault("FORBIDDEN", "nothing can be claimed with this secret; ask for another");
    return new TaskTarget(this.#context, shared.authority, shared.task);
  }
}

class SessionTarget extends OperationsTarget {
  #context;
  #authority;

  constructor(context, authority) {
    super(context, authority);
    this.#context = context;
    this.#authority = authority;
    context.live.sessions += 1;
  }

  task(id) {
    this.getTask(id, 0);
    return new TaskTarget(this.#context, this.#authority, this.#context.world.tasks.get(id));
  }

  whoAmI() {
    this.#authority.check();
    const { principal, permissions, scope, expires } = this.#authority;
    const bound = { ...(scope.contextId && { contextId: scope.contextId }), ...(expires && { expires }) };
    return { subject: principal.subject, realm: principal.realm, tenant: "default", permissions, ...bound, anonymous: false };
  }

  renew(credentials) {
    const { subject } = this.#context.authenticate(credentials);
    if (subject !== this.#authority.principal.subject) throw fault("FORBIDDEN", "these credentials are somebody else's: authenticate for a session of theirs");
    return {};
  }

  attenuate(policy) {
    const authority = this.#authority.forSession(policy);
    return { session: new SessionTarget(this.#context, authority), grant: new GrantTarget(authority, policy) };
  }

  getAgentCard() {
    return this.#context.card;
  }

  close() {
    this.#authority.end("closed");
  }

  [Symbol.dispose]() {
    this.#context.live.sessions -= 1;
  }
}

/** A handle on a task, or on one that may yet be opened: then what is asked of it waits. */
class TaskTarget extends RpcTarget {
  #context;
  #authority;
  #task;
  #cancelOnDrop;

  constructor(context, authority, task, cancelOnDrop = false) {
    super();
    this.#context = context;
    this.#authority = authority;
    this.#task = task;
    this.#cancelOnDrop = cancelOnDrop;
  }

  async get(historyLength) {
    return (await this.#live("read")).view(historyLength);
  }

  async send(message, config) {
    const begun = await this.#begin(message, config);
    return settle(this.#context, this.#authority, begun, config);
  }

  sendStreaming(message, config, given) {
    const begun = this.#begin(message, config);
    return stream(this.#context, this.#authority, begun, config, new Callback(given)).subscription;
  }

  async cancel() {
    return this.#context.world.cancel(await this.#live("cancel"));
  }

  async subscribe(given, after) {
    const callback = new Callback(given);
    const task = await this.#live("read");
    return this.#context.subscribe(this.#authority, task, callback, { after: checkedAfter(after) });
  }

  async attenuate(role, policy) {
    const task = await this.#live("read");
    const authority = this.#authority.forTask(task.id, role, policy);
    return { task: new TaskTarget(this.#context, authority, task), grant: new GrantTarget(authority, policy) };
  }

  async share(role, policy) {
    const task = await this.#live("share");
    const authority = this.#authority.forTask(task.id, role, policy);
    const secret = randomBytes(32).toString("base64url");
    this.#context.world.shares.set(secret, { authority, task });
    return { secret, grant: new GrantTarget(authority, policy) };
  }

  async delete() {
    const task = await this.#live("delete");
    if (!task.isFinished) throw fault("UNSUPPORTED_OPERATION", "the task is not finished: cancel it first");
    this.#context.world.tasks.delete(task.id);
  }

  async [Symbol.dispose]() {
    if (!this.#cancelOnDrop) return;
    const task = await this.#task.catch(() => undefined);
    if (task && !task.isFinished) this.#context.world.cancel(task);
  }

  async #begin(message, config) {
    const task = await this.#live("answer");
    if (!isInterrupted(task.state)) this.#authority.check("send");
    if ((message?.taskId ?? task.id) !== task.id) throw invalid("message.taskId", "names another task than this handle's; leave it out");
    return start(this.#context, this.#authority, { ...message, taskId: task.id }, config);
  }

  async #live(permission) {
    this.#authority.check(permission);
    const task = await this.#task;
    if (!this.#context.world.tasks.has(task.id)) throw taskNotFound();
    return task;
  }
}

async function start(context, authority, message, config) {
  return context.world.begin(authority.principal, message, config);
}

/** The answer of a send that is waited for. */
async function settle(context, authority, { task, message }, config) {
  if (message) return { message };
  if (!config?.returnImmediately) await task.stopped();
  return { task: task.view(config?.historyLength) };
}

/**
 * The answer of a streaming send: given at once. The handle waits for its task by itself: a promise inside the answer
 * would end a client on Node by an unhandled rejection if that has let go of the call before.
 */
function stream(context, authority, begun, config, callback) {
  let stop = (reason) => {
    stoppedEarly = reason;
  };
  let stoppedEarly;
  const opened = begun.then(({ task, after, message }) => {
    if (message) {
      callback.call("onMessage", [message]).then(() => callback.call("onEnd", ["completed", 0])).catch(() => {}).finally(() => callback.release());
      throw fault("NO_TASK", "the agent answered with a message, so there is no task");
    }
    const feed = new Feed(task, callback, { after, isSend: true, opening: after === 0 });
    stop = (reason) => feed.stop(reason);
    if (stoppedEarly) stop(stoppedEarly);
    context.run(authority, feed);
    return task;
  });
  // Whoever uses the handle gets the failure, and so does the callback.
  opened.catch(() => {});
  begun.catch((error) => callback.call("onEnd", ["failed", 0, error]).catch(() => {}).finally(() => callback.release()));
  const task = new TaskTarget(context, authority, opened, config?.cancelOnDrop === true);
  return { task, subscription: new SubscriptionTarget(context, () => stop("detached")) };
}

function checkedAfter(after) {
  if (after === undefined || after === null) return undefined;
  if (!Number.isSafeInteger(after) || after < 0) throw invalid("after", `must be a whole number from 0, not ${after}`);
  return after;
}

function noPush() {
  return fault("PUSH_NOTIFICATION_NOT_SUPPORTED", "this agent calls no webhooks");
}
