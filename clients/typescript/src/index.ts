/**
 * A2A (Agent2Agent) over Cap'n Web: tasks stream into your own callbacks, and survive lost lines.
 *
 * {@link connect} gives a client that reconnects and resumes. The types of the objects themselves, for use with
 * `capnweb` alone, are {@link A2aService} and what it leads to.
 */

export type {
  AgentCapabilities,
  AgentCard,
  AgentCardSignature,
  AgentExtension,
  AgentInterface,
  AgentProvider,
  AgentSkill,
  ApiKeySecurityScheme,
  AuthorizationCodeOAuthFlow,
  ClientCredentialsOAuthFlow,
  DeviceCodeOAuthFlow,
  HttpAuthSecurityScheme,
  ImplicitOAuthFlow,
  MutualTlsSecurityScheme,
  OAuth2SecurityScheme,
  OAuthFlowCommon,
  OAuthFlows,
  OpenIdConnectSecurityScheme,
  PasswordOAuthFlow,
  SecurityRequirement,
  SecurityScheme,
} from "./card.js";
export { Client, connect, type ConnectCredentials, type ConnectOptions, followTask } from "./client.js";
export { EventCollector } from "./collector.js";
export { A2AError, ERROR_CODES, type ErrorDetail, type ErrorReason, hasReason } from "./error.js";
export {
  type Artifact,
  type DataPart,
  type EndReason,
  isInterrupted,
  isTerminal,
  type Message,
  type Numbered,
  type Part,
  type PartCommon,
  type RawPart,
  type Role,
  type StreamEnd,
  type StreamEvent,
  type Struct,
  type Task,
  type TaskArtifactUpdateEvent,
  type TaskSnapshot,
  type TaskState,
  type TaskStatus,
  type TaskStatusUpdateEvent,
  type TextPart,
  type Timestamp,
  type UrlPart,
} from "./model.js";
export type {
  A2aService,
  Credentials,
  Grant,
  GrantInfo,
  GrantPolicy,
  Identity,
  Operations,
  ServerInfo,
  Session,
  SessionPolicy,
  Started,
  Subscription,
  TaskCallback,
  TaskHandle,
  TaskObserver,
  TaskRole,
} from "./objects.js";
export { TaskSubscription } from "./observe.js";
export type {
  AuthenticationInfo,
  ListPushConfigsParams,
  ListPushConfigsResponse,
  ListTasksParams,
  ListTasksResponse,
  SendConfiguration,
  SendMessageResponse,
  TaskPushNotificationConfig,
} from "./requests.js";
export type { RetryPolicy } from "./retry.js";
export { type StreamOptions, TaskStream } from "./stream.js";
export { composed, freshId, type MessageInput, textOf } from "./text.js";
export type { WebSocketConstructor, WebSocketLike } from "./transport.js";
export type { ConnectionState, CredentialsSource } from "./uplink.js";
// For pages that have the bundle and nothing else.
export { newHttpBatchRpcSession, newWebSocketRpcSession, RpcStub, RpcTarget } from "capnweb";
