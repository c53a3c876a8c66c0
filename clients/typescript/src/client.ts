/** A client of one server, as one principal, that outlives its connections. */

// Makes `Symbol.dispose` where the platform has none, and so comes first.
import "capnweb";
import type { RpcStub } from "capnweb";
import type { AgentCard } from "./card.js";
import { A2AError, hasReason } from "./error.js";
import type { Origin, Source, StartCall } from "./follow.js";
import type { Line } from "./line.js";
import type { Message, Task } from "./model.js";
import type { A2aService, Credentials, Identity, Operations, ServerInfo, Session, TaskCallback, TaskHandle } from "./objects.js";
import { TaskSubscription } from "./observe.js";
import type { ListTasksParams, ListTasksResponse, SendConfiguration, SendMessageResponse } from "./requests.js";
import { type RetryPolicy, settled } from "./retry.js";
import { type StreamOptions, TaskStream } from "./stream.js";
import { composed, type MessageInput } from "./text.js";
import type { WebSocketConstructor } from "./transport.js";
import { type ConnectionState, type CredentialsSource, Uplink } from "./uplink.js";

/** How a client connects. */
export interface ConnectOptions {
  /** Which of the server's agents; absent for the default one. */
  tenant?: string;
  /** The WebSocket class; absent for the platform's own. Node before 22 has none: give it that of npm `ws`. */
  WebSocket?: WebSocketConstructor;
  /** How a lost line is got back. */
  retry?: RetryPolicy;
  /** How long opening and authenticating may take, in milliseconds. Default: 10,000. */
  connectTimeoutMs?: number;
  /** A server that has been silent so long is asked whether it is there, and after as long again the line counts as lost. Default: 20,000; 0: never. */
  heartbeatMs?: number;
  /** Is told what happens to the connection. */
  onState?: (state: ConnectionState) => void;
}

/**
 * What is shown to the server: always the same, or what a function gives. It is asked for each connection, before a
 * session ends by itself (the session goes on with what it gives then), and, with the error, once more when the
 * server has refused what it gave. Nothing: anonymous.
 */
export type ConnectCredentials = Credentials | CredentialsSource | null | undefined;

/**
 * Connects to a server: `wss://HOST/capnweb`; a bare `https://HOST` means the same. Returns at once, and what is
 * called at once travels with the credentials, so that the first event of a stream is one round trip away. Wrong
 * credentials fail those calls at once, a wrong address after a few tries; await {@link Client.ready} to know beforehand.
 */
export function connect(
  url: string | URL,
  credentials?: ConnectCredentials,
  options: ConnectOptions = {},
): Client {
  return new Client(url, credentials, options);
}

/**
 * A lost line is got back, with the credentials shown again; calls that were under way are made again where that
 * is safe, and streams go on where they were, without gap or repeat.
 */
export class Client implements Disposable {
  readonly #uplink: Uplink;

  /** See {@link connect}. */
  constructor(
    url: string | URL,
    credentials?: ConnectCredentials,
    options: ConnectOptions = {},
  ) {
    this.#uplink = new Uplink({
      url: endpoint(url),
      credentials: credentials ?? undefined,
      tenant: options.tenant,
      WebSocket: options.WebSocket ?? platformWebSocket(),
      connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
      heartbeatMs: options.heartbeatMs ?? 20_000,
      retry: settled(options.retry),
      onState: options.onState ?? (() => {}),
    });
    // The first call finds the line being opened; who makes none reads of it in `onState`.
    this.#uplink.live().catch(() => {});
  }

  /** Resolves when the server has accepted the credentials. */
  async ready(): Promise<void> {
    await this.#uplink.accepted();
  }

  /** What the server says about itself. */
  info(): Promise<ServerInfo> {
    return this.#call((_, line) => line.service.info());
  }

  /** The agent's public card. */
  getAgentCard(tenant?: string): Promise<AgentCard> {
    return this.#call((_, { service }) => (tenant === undefined ? service.getAgentCard() : service.getAgentCard(tenant)));
  }

  /** The card that only authenticated callers see. */
  getExtendedAgentCard(): Promise<AgentCard> {
    return this.#call((operations) => operations.getExtendedAgentCard());
  }

  /** Who the client is to the server. */
  whoAmI(): Promise<Identity> {
    return this.#call((_, line) => {
      if (!line.session) {
        throw new A2AError("UNAUTHENTICATED", "this needs a session: give the client credentials");
      }
      return line.session.whoAmI();
    });
  }

  /**
   * Sends a message and waits until its task is finished or waits for somebody; with `returnImmediately` only until
   * there is a task. If the line is lost meanwhile, the same message is sent again: the server knows it by its id.
   * Not so without credentials: then the loss is the answer, and whether the message has arrived is not known.
   */
  sendMessage(input: MessageInput, config?: SendConfiguration): Promise<SendMessageResponse> {
    const message = composed(input);
    const send = (operations: RpcStub<Operations>) =>
      (config ? operations.sendMessage(message, config) : operations.sendMessage(message)) as PromiseLike<SendMessageResponse>;
    return this.#uplink.maySendAgain ? this.#uplink.call(send) : this.#uplink.callOnce(send);
  }

  /** Sends a message and gives the events of its task, until it is finished or waits for somebody. */
  stream(input: MessageInput, config?: SendConfiguration, options?: StreamOptions): TaskStream {
    return this.#open(sendOrigin(composed(input), config), options);
  }

  /**
   * Gives the events of a task until it is finished: from `after + 1` on, or, without `after`, with a snapshot and
   * what follows it.
   */
  follow(taskId: string, after?: number, options?: StreamOptions): TaskStream {
    return this.#open(followOrigin(taskId, after), options);
  }

  /** As {@link stream}, with the events given to a callback. */
  sendMessageStreaming(input: MessageInput, config: SendConfiguration | undefined, callback: TaskCallback): TaskSubscription {
    return new TaskSubscription(this.stream(input, config), callback);
  }

  /** As {@link follow}, with the events given to a callback. */
  subscribeToTask(taskId: string, callback: TaskCallback, after?: number): TaskSubscription {
    return new TaskSubscription(this.follow(taskId, after), callback);
  }

  /** The task as it stands, with at most so many of its latest messages. */
  getTask(id: string, historyLength?: number): Promise<Task> {
    return this.#call((operations) =>
      historyLength === undefined ? operations.getTask(id) : operations.getTask(id, historyLength),
    );
  }

  /** A page of the client's tasks, latest status first. */
  listTasks(params: ListTasksParams = {}): Promise<ListTasksResponse> {
    return this.#call((operations) => operations.listTasks(params));
  }

  /** Calls off a task that is not finished; the task as it stands then. */
  async cancelTask(id: string): Promise<Task> {
    let attempts = 0;
    try {
      return await this.#call<Task>((operations) => {
        attempts += 1;
        return operations.cancelTask(id);
      });
    } catch (error) {
      if (attempts > 1 && hasReason(error, "TASK_NOT_CANCELABLE")) {
        // The try before was cut off from its answer, and may have done its work.
        const task = await this.getTask(id);
        if (task.status.state === "TASK_STATE_CANCELED") {
          return task;
        }
      }
      throw error;
    }
  }

  /**
   * The session itself, for what this class does not have: `task(id)`, `attenuate`, `renew`, `close`. It ends with
   * the present connection, and so does what is got from it. Dispose of it after use.
   */
  async session(): Promise<RpcStub<Session>> {
    const { session } = await this.#uplink.accepted();
    if (!session) {
      throw new A2AError("UNAUTHENTICATED", "this needs a session: give the client credentials");
    }
    return session.dup();
  }

  /** The object that everybody gets, for what this class does not have: `claim`. As {@link session}. */
  async service(): Promise<RpcStub<A2aService>> {
    const line = await this.#uplink.accepted();
    return line.service.dup();
  }

  /** Ends the connection, every stream, and every call; what is called afterwards fails. May be called twice. */
  close(): void {
    this.#uplink.close();
  }

  /** As {@link close}. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** The types of `capnweb` say that a result is disposable; it holds no stub here, and so need not be. */
  #call<T>(call: (operations: RpcStub<Operations>, line: Line) => PromiseLike<unknown>): Promise<T> {
    return this.#uplink.call(call as (operations: RpcStub<Operations>, line: Line) => PromiseLike<T>);
  }

  #open(origin: Origin, options?: StreamOptions): TaskStream {
    return new TaskStream(this.#uplink, origin, options);
  }
}

/**
 * Gives the events of a task by a handle on it, such as one that was claimed. Neither outlives the connection that
 * the handle came over: its loss is the stream's error.
 */
export function followTask(handle: RpcStub<TaskHandle>, after?: number, options?: StreamOptions): TaskStream {
  const own = handle.dup();
  const lost = new A2AError("DISCONNECTED", "the connection of this task's handle is lost");
  const line = { operations: undefined, loss: undefined as A2AError | undefined };
  own.onRpcBroken(() => {
    line.loss = lost;
  });
  const source: Source = {
    closed: undefined,
    maySendAgain: false,
    retry: settled({ tries: 0 }),
    live: () => (line.loss ? Promise.reject(line.loss) : Promise.resolve(line as unknown as Line)),
    refuseUnlessLost: (_, thrown) => {
      throw line.loss ?? A2AError.from(thrown);
    },
    expired: () => false,
    progressed: () => {},
  };
  const subscribe = (callback: TaskCallback, from: number | undefined): StartCall =>
    (from === undefined ? own.subscribe(callback) : own.subscribe(callback, from)) as unknown as StartCall;
  const stream = new TaskStream(
    source,
    {
      isSend: false,
      taskId: undefined,
      after,
      keepsHandle: false,
      start: (_, callback) => subscribe(callback, after),
      resume: (_operations, _taskId, callback, from) => subscribe(callback, from),
    },
    options,
  );
  const release = () => own[Symbol.dispose]();
  stream.ended.then(release, release);
  return stream;
}

function sendOrigin(message: Message, config: SendConfiguration | undefined): Origin {
  return {
    isSend: true,
    taskId: message.taskId,
    after: undefined,
    keepsHandle: config?.cancelOnDrop === true,
    start: (operations, callback) =>
      operations.sendMessageStreaming(message, config, callback) as unknown as StartCall,
    resume: subscribe,
  };
}

function followOrigin(taskId: string, after: number | undefined): Origin {
  return {
    isSend: false,
    taskId,
    after,
    keepsHandle: false,
    start: (operations, callback) => operations.subscribeToTask(taskId, callback) as unknown as StartCall,
    resume: subscribe,
  };
}

function subscribe(operations: RpcStub<Operations>, taskId: string, callback: TaskCallback, after: number): StartCall {
  return operations.subscribeToTask(taskId, callback, after) as unknown as StartCall;
}

function endpoint(url: string | URL): string {
  const parsed = new URL(url);
  parsed.protocol = parsed.protocol.replace(/^http/, "ws");
  if (parsed.pathname === "/") {
    parsed.pathname = "/capnweb";
  }
  return parsed.href;
}

function platformWebSocket(): WebSocketConstructor {
  const found = (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
  if (!found) {
    const message = "this platform has no WebSocket: give one as options.WebSocket, such as that of npm `ws`";
    throw new A2AError("INVALID_PARAMS", message);
  }
  return found;
}
