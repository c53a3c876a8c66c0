// Who may do what: a tree of grants, each of which can be taken back with everything below it.

import { randomUUID } from "node:crypto";
import { fault } from "./faults.mjs";

export const ALL = ["read", "send", "answer", "cancel", "delete", "push", "share", "extended-card"];
const READ_ONLY = ["read", "extended-card"];
const ROLES = {
  observe: ["read"],
  answer: ["read", "answer"],
  control: ["read", "send", "answer", "cancel"],
  owner: ["read", "send", "answer", "cancel", "delete", "push", "share"],
};

/** Authority of one principal, over everything of its own, one conversation, or one task. */
export class Authority {
  id = randomUUID();
  created = new Date().toISOString();
  #children = new Set();
  #feeds = new Set();
  #end;

  constructor(principal, permissions, scope = {}, policy = {}) {
    this.principal = principal;
    this.permissions = permissions;
    this.scope = scope;
    this.label = policy.label;
    this.expires = policy.expires;
    if (policy.expires !== undefined) {
      this.timer = setTimeout(() => this.end("revoked"), Date.parse(policy.expires) - Date.now());
      this.timer.unref();
    }
  }

  /** Less authority, as a policy says. */
  derive(permissions, scope, policy) {
    this.check();
    const kept = this.permissions.filter((permission) => permissions.includes(permission));
    const child = new Authority(this.principal, kept, { ...this.scope, ...scope }, policy);
    this.#children.add(child);
    return child;
  }

  forSession({ readOnly, context, ...policy } = {}) {
    const contextId = context === "fresh" ? randomUUID() : context?.only;
    if (contextId && this.scope.contextId && contextId !== this.scope.contextId) throw fault("FORBIDDEN", "this session is bound to another context");
    return this.derive(readOnly ? READ_ONLY : ALL, contextId ? { contextId } : {}, policy);
  }

  forTask(taskId, role, policy = {}) {
    if (!Object.hasOwn(ROLES, role)) throw fault("INVALID_PARAMS", `role: must be one of ${Object.keys(ROLES).join(", ")}`);
    return this.derive(ROLES[role], { taskId }, policy);
  }

  /** Throws unless this is alive and includes the permission. */
  check(permission) {
    if (this.#end === "closed") throw fault("REVOKED", "this session was closed");
    if (this.#end) throw fault("REVOKED", "this was taken back or has expired");
    if (permission && !this.permissions.includes(permission)) throw fault("FORBIDDEN", `this does not include the permission ${permission}`);
  }

  get isLive() {
    return this.#end === undefined;
  }

  /** Ends this and what is derived from it: `revoked` or `closed`. */
  end(cause) {
    if (this.#end) return;
    this.#end = cause;
    clearTimeout(this.timer);
    for (const child of this.#children) child.end(cause);
    for (const feed of this.#feeds) {
      if (cause === "closed") feed.stop("detached");
      else feed.stop("revoked", fault("REVOKED", "this was taken back or has expired"));
    }
  }

  /** Runs a stream for as long as the authority behind it lives. */
  async carry(feed) {
    this.#feeds.add(feed);
    await feed.run();
    this.#feeds.delete(feed);
  }

  info() {
    const { id, label, permissions, scope, created, expires } = this;
    return { id, ...(label && { label }), permissions, ...scope, created, ...(expires && { expires }), live: this.isLive };
  }
}
