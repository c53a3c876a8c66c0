@0xb7c0a4b6f3f54a02;
# A2A as object capabilities. This file is the specification of the Cap'n Proto binding's objects: who
# holds each, what dropping it does, what may be called twice.
#
# Transport: WebSocket at `/capnp`; one binary, unfragmented WebSocket message is one Cap'n Proto RPC
# message in standard framing (segment table, no packing). The bootstrap object is an A2aService.
#
# Errors. An expected failure is the result's `error` (null when all is well), never an exception. Every
# capability in such a result is a broken one: a call pipelined on it fails with an exception whose reason
# contains `A2A <code> <REASON>: `, taken from the first error of the chain. Match that text anywhere in
# the reason, for each hop puts words before it. An exception without it is a defect or a lost line.
#
# Dropping a stub gives up what that stub stood for, and nothing else: a chain written before any reply
# may drop its middle. What reaches further is a Grant (revoked, dropped or expired), Session.close, and
# the end of the connection. Tasks go on through all of them.
#
# Calls on one object start in the order they were made. Across objects nothing is promised.
#
# Later additions (links that survive a restart, approval of tools, large artifacts by reference, agents
# that register themselves) come as new methods and new interfaces; nothing here changes its meaning.

using A2a = import "a2a.capnp";

# ---------------------------------------------------------------------------------------------------
# What accompanies calls

struct Parameter {
  # An A2A service parameter: `A2A-Version`, `A2A-Extensions`, `traceparent`, or any name that begins
  # with `a2a-`. Names are compared without regard to case; other names are ignored. At most 32 in a
  # call, a name of at most 128 and a value of at most 8,192 bytes.
  name @0 :Text;
  value @1 :Text;
}

struct A2aError {
  # Why a call failed. A2A 1.0.1's errors have A2A's codes and the domain "a2a-protocol.org"; this
  # project's own have the domain "a2a-webcap.dev".
  code @0 :Int32;                      # JSON-RPC's number, such as -32001
  reason @1 :Text;                     # ErrorInfo.reason, such as "TASK_NOT_FOUND"
  message @2 :Text;                    # for a person; says what to do
  domain @3 :Text;                     # ErrorInfo.domain
  metadata @4 :List(Parameter);        # ErrorInfo.metadata
  violations @5 :List(Violation);      # google.rpc.BadRequest.fieldViolations

  struct Violation {
    field @0 :Text;                    # path in JSON names: message.parts[0].mediaType
    description @1 :Text;
  }
}

struct SendOptions {
  cancelOnDrop @0 :Bool;
  # Cancel the task when the last stub of the TaskHandle that this send returns is gone, by release or by
  # the end of its connection. Otherwise the task goes on without anybody watching.

  turnTimeoutMs @1 :UInt32;
  # Fail the agent's turn after this many milliseconds. 0: the server's limit, which this can only narrow.
}

# ---------------------------------------------------------------------------------------------------
# Streams

struct ObserverFeatures {
  # Which optional methods an observer has. The server calls no other: it never probes.
  onTask @0 :Bool;
  onMessage @1 :Bool;
  onBatch @2 :Bool;
}

struct Cursor {
  # Where a subscription begins.
  union {
    unset @0 :Void;
    # With a snapshot (onTask, if the observer has it), then whatever follows it. On a finished task: its
    # last status event, which is final.

    after @1 :UInt64;
    # With event `after + 1`. 0 replays from the beginning. If nothing remains, only onEnd comes; if
    # retention has cut event `after + 1`, the call fails with GAP and names the oldest number kept.
  }
}

struct TaskEvent {
  seq @0 :UInt64;
  final @1 :Bool;
  union {
    unset @2 :Void;
    statusUpdate @3 :A2a.TaskStatusUpdateEvent;
    artifactUpdate @4 :A2a.TaskArtifactUpdateEvent;
  }
}

enum EndReason {
  unset @0;
  completed @1;    # The task is in a terminal state; the event before was final.
  interrupted @2;  # A send's own stream: the task waits for input or authorization.
  detached @3;     # The subscription was dropped, the session closed, or the server is stopping: resume.
  revoked @4;      # The authority behind the stream was taken back or has expired: do not resume.
  cut @5;          # The observer failed or could not be reached in time: resume after lastSeq.
  gap @6;          # Retention has passed this reader: the events after lastSeq are gone.
  failed @7;       # The server could not go on; `error` says why.
}

interface TaskObserver {
  # Made by the client and passed in: what the client lets the server call. The server holds it until the
  # stream ends, and then drops it.
  #
  # Events are numbered 1, 2, 3, … for each task, without gap or repeat; every observer of a task sees
  # the same ones in the same order. Exactly one event of a stream is final, and it is the last. Every
  # method but onEnd is a streaming call: flow control bounds what is on its way. An observer that throws
  # is dropped, and its reason logged; the task and its other observers go on.

  onStatusUpdate @0 (update :A2a.TaskStatusUpdateEvent, seq :UInt64, final :Bool) -> stream;

  onArtifactUpdate @1 (update :A2a.TaskArtifactUpdateEvent, seq :UInt64, final :Bool) -> stream;

  onEnd @2 (reason :EndReason, lastSeq :UInt64, error :A2aError) -> ();
  # The last call, always, unless the observer itself failed. `lastSeq` is the last event that was sent.
  # `error` is set for revoked, gap and failed.

  onTask @3 (task :A2a.Task, seq :UInt64, final :Bool) -> stream;
  # Optional. A snapshot in which the events up to `seq` are contained. At the beginning of a send that
  # opened a task: the task as opened, with `seq` 0, and then every event from 1.

  onMessage @4 (message :A2a.Message) -> stream;
  # Optional. The agent answered with a message; there is no task, and onEnd(completed) follows.

  onBatch @5 (events :List(TaskEvent)) -> stream;
  # Optional. When the observer lags, up to 64 events or 64 KiB in one call, in place of as many calls.
}

interface Subscription {
  # Held by the client: the right to be called. It has no methods. Dropping it ends the calls: at most
  # those on their way still arrive, then onEnd(detached).
}

# ---------------------------------------------------------------------------------------------------
# Authority

enum TaskRole {
  # What a holder of a task may do. Each includes reading; none can be raised again.
  unset @0;
  observe @1;  # get and subscribe
  answer @2;   # and send, while the task waits for input or authorization
  control @3;  # and send at any time, and cancel
  owner @4;    # and delete, attenuate and share
}

struct GrantPolicy {
  # How a derived object is bounded, beside its role.
  expires @0 :A2a.Time;              # 0: with the object that it is derived from
  label @1 :Text;                    # for people: shown in Grant.info, at most 128 bytes
  keepOnDrop @2 :Bool;
  # When the last stub of the Grant is dropped, revoke (the default), or keep the derived object until it
  # expires or what it is derived from ends (true).
}

struct SessionPolicy {
  readOnly @0 :Bool;                 # get, list, subscribe, and the extended card
  context :union {
    unset @1 :Void;                  # every context of the session
    fresh @2 :Void;                  # one new context, which the server names: see whoAmI
    only @3 :Text;                   # one context
  }
  grant @4 :GrantPolicy;
}

struct GrantInfo {
  id @0 :Text;
  label @1 :Text;
  permissions @2 :List(Text);
  contextId @3 :Text;
  taskId @4 :Text;
  created @5 :A2a.Time;
  expires @6 :A2a.Time;              # 0: not by itself
  live @7 :Bool;                     # false once revoked or expired
}

interface Grant {
  # Held by whoever attenuated or shared: the right to take back. Dropping the last stub revokes, unless
  # the policy said keepOnDrop.

  info @0 () -> (info :GrantInfo);

  revoke @1 () -> ();
  # Ends every object derived from this grant, streams included, with the reason REVOKED. Answered when
  # all their streams are closed: after the answer no call through any of them starts. May be called twice.
}

# ---------------------------------------------------------------------------------------------------
# The agent

interface Operations {
  # The eleven operations of A2A, under the authority of the object that has them. `parameters` are A2A's
  # service parameters, both ways; those of the reply name the activated extensions.

  sendMessage @0 (request :A2a.SendMessageRequest, options :SendOptions, parameters :List(Parameter))
      -> (response :A2a.SendMessageResponse, task :TaskHandle, parameters :List(Parameter), error :A2aError);
  # Answered when the task is terminal or interrupted, or at once with `returnImmediately`. `task` can be
  # pipelined on from the start, but to be called while the agent works use sendStreamingMessage: its
  # answer does not wait. Where the agent answers with a message, `task` is broken with NO_TASK.
  # The same messageId with the same body within 24 hours gives the same task; with another body CONFLICT.

  sendStreamingMessage @1 (request :A2a.SendMessageRequest, observer :TaskObserver,
          features :ObserverFeatures, options :SendOptions, parameters :List(Parameter))
      -> (task :TaskHandle, subscription :Subscription, parameters :List(Parameter), error :A2aError);
  # Answered as soon as the send is accepted. The stream ends at a terminal or an interrupted state.

  getTask @2 (request :A2a.GetTaskRequest, parameters :List(Parameter))
      -> (task :A2a.Task, parameters :List(Parameter), error :A2aError);

  listTasks @3 (request :A2a.ListTasksRequest, parameters :List(Parameter))
      -> (response :A2a.ListTasksResponse, parameters :List(Parameter), error :A2aError);

  cancelTask @4 (request :A2a.CancelTaskRequest, parameters :List(Parameter))
      -> (task :A2a.Task, parameters :List(Parameter), error :A2aError);

  subscribeToTask @5 (request :A2a.SubscribeToTaskRequest, observer :TaskObserver,
          features :ObserverFeatures, cursor :Cursor, parameters :List(Parameter))
      -> (task :TaskHandle, subscription :Subscription, parameters :List(Parameter), error :A2aError);
  # The stream ends at a terminal state only.

  createTaskPushNotificationConfig @6 (config :A2a.TaskPushNotificationConfig, parameters :List(Parameter))
      -> (config :A2a.TaskPushNotificationConfig, parameters :List(Parameter), error :A2aError);

  getTaskPushNotificationConfig @7 (request :A2a.GetTaskPushNotificationConfigRequest, parameters :List(Parameter))
      -> (config :A2a.TaskPushNotificationConfig, parameters :List(Parameter), error :A2aError);

  listTaskPushNotificationConfigs @8 (request :A2a.ListTaskPushNotificationConfigsRequest, parameters :List(Parameter))
      -> (response :A2a.ListTaskPushNotificationConfigsResponse, parameters :List(Parameter), error :A2aError);

  deleteTaskPushNotificationConfig @9 (request :A2a.DeleteTaskPushNotificationConfigRequest, parameters :List(Parameter))
      -> (parameters :List(Parameter), error :A2aError);

  getExtendedAgentCard @10 (request :A2a.GetExtendedAgentCardRequest, parameters :List(Parameter))
      -> (card :A2a.AgentCard, parameters :List(Parameter), error :A2aError);
}

interface TaskHandle {
  # Authority over one task, as far as its role goes. Dropping it gives up that authority; the task goes
  # on, unless the send that returned it asked for cancelOnDrop.

  get @0 (historyLength :Int32 = -1, parameters :List(Parameter))
      -> (task :A2a.Task, parameters :List(Parameter), error :A2aError);

  send @1 (request :A2a.SendMessageRequest, options :SendOptions, parameters :List(Parameter))
      -> (response :A2a.SendMessageResponse, parameters :List(Parameter), error :A2aError);
  # As sendMessage, into this task: taskId may be absent from the message.

  sendStreaming @2 (request :A2a.SendMessageRequest, observer :TaskObserver,
          features :ObserverFeatures, options :SendOptions, parameters :List(Parameter))
      -> (subscription :Subscription, parameters :List(Parameter), error :A2aError);
  # As sendStreamingMessage, into this task; the stream begins with the event that this message causes.

  cancel @3 (metadata :A2a.Json, parameters :List(Parameter))
      -> (task :A2a.Task, parameters :List(Parameter), error :A2aError);

  subscribe @4 (observer :TaskObserver, features :ObserverFeatures, cursor :Cursor, parameters :List(Parameter))
      -> (subscription :Subscription, parameters :List(Parameter), error :A2aError);

  attenuate @5 (role :TaskRole, policy :GrantPolicy)
      -> (task :TaskHandle, grant :Grant, error :A2aError);
  # A handle with less authority, and the right to take it back.

  share @6 (role :TaskRole, policy :GrantPolicy)
      -> (secret :Text, grant :Grant, error :A2aError);
  # A secret that somebody on another connection turns into a handle with A2aService.claim. It works
  # once, and not after the policy's expiry (by default and at most 24 hours). Whoever has the secret
  # has the authority: pass it on as you would a password.

  delete @7 () -> (error :A2aError);
  # Deletes the task, once it is finished: its events, its history and artifacts, its webhooks. Answered
  # when the deletion is durable; nothing brings the task back. A server that has it names the feature
  # `delete` in ServerInfo.
  #
  # Who may: a principal whose permissions include `delete`, on its own tasks, and whoever was handed the
  # task as `owner`. Any other handle fails with FORBIDDEN, and nothing happens. A task that is not in a
  # terminal state fails with UNSUPPORTED_OPERATION: cancel it first.
  #
  # Afterwards the task is as one that never was, for everybody: get, subscribe, send and a second delete
  # fail with TASK_NOT_FOUND, lists do not count it, and a stream that was still reading its events fails
  # with that error. A repeat of the send that opened it opens another task. This handle and every other one on the task, handed on or not, can do nothing more
  # than be dropped. A caller that lost the answer deletes again, and takes TASK_NOT_FOUND for success.
}

struct Identity {
  subject @0 :Text;
  realm @1 :Text;
  tenant @2 :Text;
  permissions @3 :List(Text);
  contextId @4 :Text;      # set if the session is bound to one context
  expires @5 :A2a.Time;    # 0: with the connection
  anonymous @6 :Bool;
}

interface Session extends(Operations) {
  # Held by the client: a principal's authority over one tenant's agent, as attenuated. No later call
  # carries credentials. Dropping it gives up this stub only; the objects that it returned live on.

  task @0 (id :Text) -> (task :TaskHandle, error :A2aError);
  # A handle on one of the principal's own tasks. A missing and a foreign task give the same error.

  whoAmI @1 () -> (identity :Identity, error :A2aError);

  renew @2 (credentials :Credentials) -> (expires :A2a.Time, error :A2aError);
  # Extends this session with fresh credentials of the same principal; others are refused.

  attenuate @3 (policy :SessionPolicy) -> (session :Session, grant :Grant, error :A2aError);

  close @4 () -> ();
  # Ends this session and everything derived from it at once, streams included. May be called twice.
}

# ---------------------------------------------------------------------------------------------------
# The bootstrap object

struct Credentials {
  union {
    unset @0 :Void;
    apiKey @1 :Text;
    bearer @2 :Text;  # a token of a configured issuer, or an API key
  }
}

struct ServerInfo {
  revision @0 :UInt32;           # of this schema: 1
  software @1 :Text;
  features @2 :List(Text);
  protocolVersions @3 :List(Text);
  limits @4 :List(Parameter);    # the bounds that a client should know, by name
}

interface A2aService extends(Operations) {
  # Held by everybody who connects: nothing but what is public. Where the server allows anonymous access,
  # the A2A operations work on it with that authority; otherwise they fail with UNAUTHENTICATED.

  info @0 () -> (info :ServerInfo);

  getAgentCard @1 (tenant :Text, parameters :List(Parameter))
      -> (card :A2a.AgentCard, parameters :List(Parameter), error :A2aError);

  authenticate @2 (credentials :Credentials, tenant :Text, parameters :List(Parameter))
      -> (session :Session, error :A2aError);
  # Wrong, missing and expired credentials get one and the same answer. May be called again, for another
  # principal or tenant: the sessions are independent.

  claim @3 (secret :Text) -> (task :TaskHandle, error :A2aError);
  # Turns the secret of TaskHandle.share into the handle. The first claim wins; every other attempt, and
  # a wrong, expired or revoked secret, gets one and the same answer.
}
