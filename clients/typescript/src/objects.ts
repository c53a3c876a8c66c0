/**
 * The objects that client and server hold of each other, as Cap'n Web sees them: give these types to `capnweb`'s
 * own functions, as in `newWebSocketRpcSession<A2aService>(url)`.
 *
 * Dropping (disposing) a stub gives up what that stub stood for, and nothing else: tasks go on. What reaches
 * further is a {@link Grant}, `Session.close()`, and the end of the connection.
 */

import type { RpcTarget } from "capnweb";
import type { AgentCard } from "./card.js";
import type {
  EndReason,
  Message,
  StreamEvent,
  Struct,
  Task,
  TaskArtifactUpdateEvent,
  TaskSnapshot,
  TaskStatusUpdateEvent,
  Timestamp,
} from "./model.js";
import type {
  ListPushConfigsParams,
  ListPushConfigsResponse,
  ListTasksParams,
  ListTasksResponse,
  SendConfiguration,
  SendMessageResponse,
  TaskPushNotificationConfig,
} from "./requests.js";

/** What a server may call; made by the client. Every method is optional: a missing one is not called again. */
export interface TaskObserver {
  /** A snapshot of the task: how a stream may begin. */
  onTask?(task: TaskSnapshot): void | Promise<void>;
  /** The task has taken a state. */
  onStatusUpdate?(update: TaskStatusUpdateEvent): void | Promise<void>;
  /** The task has a result, or a piece of one. */
  onArtifactUpdate?(update: TaskArtifactUpdateEvent): void | Promise<void>;
  /** The agent answered with a message: there is no task, and the end follows. */
  onMessage?(message: Message): void | Promise<void>;
  /** The last call, always, unless the line was lost or this object has failed. */
  onEnd?(reason: EndReason, lastSeq: number, error?: unknown): void | Promise<void>;
}

/**
 * Where a task's events go: an `RpcTarget` or a plain object with the observer's methods, or one function for all
 * events. What the method returns is the acknowledgement: the server holds back what exceeds its window, so a slow
 * callback slows the stream down, never the task.
 */
export type TaskCallback = TaskObserver | ((event: StreamEvent) => void | Promise<void>);

/** Who the caller is: a bearer token (or an API key) alone, or with more said about it. */
export type Credentials =
  | string
  | {
      /** `Bearer` or `ApiKey`, in any case. */
      scheme: string;
      /** The token or the key. */
      credentials: string;
      /** `0.3` for values in the shapes of A2A 0.3 on this session. Absent for 1.0, which this package types. */
      version?: string;
    };

/** What a holder of a task may do; each includes the ones before: read · answer when asked · send, cancel · all. */
export type TaskRole = "observe" | "answer" | "control" | "owner";

/** How a derived object is bounded, beside its role. */
export interface GrantPolicy {
  /** When it ends by itself; absent: with the object that it is derived from. */
  expires?: Timestamp;
  /** For people: at most 128 bytes. */
  label?: string;
  /** Whether dropping the last stub of the {@link Grant} leaves the derived object alone; else it revokes. */
  keepOnDrop?: boolean;
}

/** How a derived session is bounded. */
export interface SessionPolicy extends GrantPolicy {
  /** Only get, list, subscribe and the extended card. */
  readOnly?: boolean;
  /** One new conversation, which the server names (see `whoAmI`), or one there is. Absent: all of the session's. */
  context?: "fresh" | { only: string };
}

/** What a grant would take back. */
export interface GrantInfo {
  id: string;
  label?: string;
  permissions: string[];
  contextId?: string;
  taskId?: string;
  created: Timestamp;
  /** Absent: not by itself. */
  expires?: Timestamp;
  /** Whether it is neither revoked nor expired. */
  live: boolean;
}

/** Who a session acts for, and what it may do. */
export interface Identity {
  subject: string;
  realm: string;
  tenant: string;
  permissions: string[];
  /** Set if the session is bound to one conversation. */
  contextId?: string;
  /** When it ends by itself; absent: with the connection. */
  expires?: Timestamp;
  /** Whether nobody showed credentials for it. */
  anonymous: boolean;
}

/** What the server says about itself. */
export interface ServerInfo {
  /** Of these objects: 1. */
  revision: number;
  software: string;
  features: string[];
  protocolVersions: string[];
  /** The bounds that a client should know, by name. */
  limits: { [name: string]: string };
}

/** What a streaming send gives at once. Disposing it ends the calls; see {@link SendConfiguration.cancelOnDrop}. */
export interface Started {
  /** The task. Where the agent may answer with a message it is a promise, broken with `NO_TASK` if it does. */
  task: TaskHandle;
  /** The right to be called. */
  subscription: Subscription;
}

/** Held by the client: the right to be called. It has no methods; disposing it ends the calls, not the task. */
export interface Subscription extends RpcTarget {}

/** Held by whoever attenuated or shared: the right to take back. Disposing the last stub revokes, unless `keepOnDrop`. */
export interface Grant extends RpcTarget {
  /** What it would take back. */
  info(): GrantInfo;
  /** Ends every object derived from it, streams included. After the answer no call through any of them starts. */
  revoke(): void;
}

/** A2A's operations, under the authority of the object that has them. */
export interface Operations {
  /** Sends a message; answered when its task is finished or waits, or at once with `returnImmediately`. */
  sendMessage(message: Message, config?: SendConfiguration): SendMessageResponse;
  /** Sends a message; answered as soon as it is accepted. The stream ends when the task is finished or waits. */
  sendMessageStreaming(message: Message, config: SendConfiguration | undefined, callback: TaskCallback): Started;
  /** The task as it stands. */
  getTask(id: string, historyLength?: number): Task;
  /** A page of the caller's tasks. */
  listTasks(params?: ListTasksParams): ListTasksResponse;
  /** Calls a task off. */
  cancelTask(id: string, metadata?: Struct): Task;
  /**
   * Calls back with a task's events: from `after + 1` on, or, without `after`, with a snapshot and what follows
   * it. The stream ends at a terminal state only.
   */
  subscribeToTask(id: string, callback: TaskCallback, after?: number): Started;
  createTaskPushNotificationConfig(config: TaskPushNotificationConfig): TaskPushNotificationConfig;
  getTaskPushNotificationConfig(taskId: string, id: string): TaskPushNotificationConfig;
  listTaskPushNotificationConfigs(taskId: string, params?: ListPushConfigsParams): ListPushConfigsResponse;
  deleteTaskPushNotificationConfig(taskId: string, id: string): void;
  /** The card that only authenticated callers see. */
  getExtendedAgentCard(): AgentCard;
}

/** Held by the client: authority over one task, as far as its role goes. */
export interface TaskHandle extends RpcTarget {
  get(historyLength?: number): Task;
  send(message: Message, config?: SendConfiguration): SendMessageResponse;
  sendStreaming(message: Message, config: SendConfiguration | undefined, callback: TaskCallback): Subscription;
  cancel(metadata?: Struct): Task;
  subscribe(callback: TaskCallback, after?: number): Subscription;
  /** A handle with less authority, and the right to take it back. */
  attenuate(role: TaskRole, policy?: GrantPolicy): { task: TaskHandle; grant: Grant };
  /** A one-use secret that `A2aService.claim` turns into a handle on another connection. A password: keep it so. */
  share(role: TaskRole, policy?: GrantPolicy): { secret: string; grant: Grant };
  /** Deletes the task, which has to be finished, for everybody and for good. */
  delete(): void;
}

/** Held by the client: a principal's authority over one agent. No call on it carries credentials. */
export interface Session extends RpcTarget, Operations {
  /** A handle on one of the principal's own tasks. A missing and a foreign one give the same error. */
  task(id: string): TaskHandle;
  whoAmI(): Identity;
  /** Puts the session's end off to that of fresh credentials of the same principal. */
  renew(credentials: Credentials): { expires?: Timestamp };
  /** A narrower session, and the right to take it back. */
  attenuate(policy: SessionPolicy): { session: Session; grant: Grant };
  /** The agent's public card. */
  getAgentCard(): AgentCard;
  /** Ends this session and everything derived from it at once, streams included. */
  close(): void;
}

/** Held by everybody who connects. Its operations work only where the server allows anonymous access. */
export interface A2aService extends RpcTarget, Operations {
  info(): ServerInfo;
  /** The public card of a tenant's agent; of the default agent without one. */
  getAgentCard(tenant?: string): AgentCard;
  /** Wrong, missing and expired credentials get one and the same answer. */
  authenticate(credentials: Credentials, tenant?: string): Session;
  /** Turns the secret of `TaskHandle.share` into the handle; it works once. */
  claim(secret: string): TaskHandle;
}
