@0xd3a3e6a1c57c4b11;
# The data objects of A2A 1.0.1 (specification/a2a.proto, package lf.a2a.v1), as Cap'n Proto structs.
#
# Names and meaning are A2A's; a field's comment says only what the binding adds. Rules of the mapping:
# - An absent text, list or struct is a null pointer. A REQUIRED field that is null, empty or unset is
#   refused with INVALID_PARAMS, and the error names the field.
# - Times are nanoseconds since 1970-01-01T00:00:00Z; 0 is "not set".
# - Free-form JSON (google.protobuf.Struct and Value) is JSON text in UTF-8.
# - Unions begin with `unset`, which is refused where the union is REQUIRED.
# - Presence of an `optional` bool is a Flag; of an `optional` int32 a negative default.
# - Readers ignore fields that they do not know; fields are only ever added.

using Json = Text;
# JSON text. An empty text is refused; absent is a null pointer.

using Time = Int64;
# Nanoseconds since the Unix epoch, UTC. 0 is "not set".

enum Flag {
  unset @0;
  no @1;
  yes @2;
}

# ---------------------------------------------------------------------------------------------------
# Tasks

enum TaskState {
  # Numbers are the proto's.
  unspecified @0;    # Neither terminal nor interrupted; in a filter "any". This server's tasks are never in it.
  submitted @1;
  working @2;
  completed @3;      # terminal
  failed @4;         # terminal
  canceled @5;       # terminal
  inputRequired @6;  # interrupted
  rejected @7;       # terminal
  authRequired @8;   # interrupted
}

struct Task {
  id @0 :Text;
  contextId @1 :Text;
  status @2 :TaskStatus;
  artifacts @3 :List(Artifact);
  history @4 :List(Message);
  metadata @5 :Json;
}

struct TaskStatus {
  state @0 :TaskState;
  message @1 :Message;
  timestamp @2 :Time;
}

struct TaskStatusUpdateEvent {
  taskId @0 :Text;
  contextId @1 :Text;
  status @2 :TaskStatus;
  metadata @3 :Json;
}

struct TaskArtifactUpdateEvent {
  taskId @0 :Text;
  contextId @1 :Text;
  artifact @2 :Artifact;
  append @3 :Bool;
  lastChunk @4 :Bool;
  metadata @5 :Json;
}

# ---------------------------------------------------------------------------------------------------
# Messages

enum Role {
  unspecified @0;  # Refused.
  user @1;
  agent @2;
}

struct Message {
  messageId @0 :Text;
  contextId @1 :Text;
  taskId @2 :Text;
  role @3 :Role;
  parts @4 :List(Part);  # at least one
  metadata @5 :Json;
  extensions @6 :List(Text);
  referenceTaskIds @7 :List(Text);
}

struct Part {
  content :union {
    unset @0 :Void;
    text @1 :Text;
    raw @2 :Data;
    url @3 :Text;
    data @4 :Json;  # any JSON value, null included
  }
  metadata @5 :Json;
  filename @6 :Text;
  mediaType @7 :Text;
}

struct Artifact {
  artifactId @0 :Text;
  name @1 :Text;
  description @2 :Text;
  parts @3 :List(Part);  # at least one
  metadata @4 :Json;
  extensions @5 :List(Text);
}

# ---------------------------------------------------------------------------------------------------
# Requests and responses. `tenant` is absent from them where a capability already stands for the agent.

struct SendMessageRequest {
  message @0 :Message;
  configuration @1 :SendMessageConfiguration;
  metadata @2 :Json;
  tenant @3 :Text;
}

struct SendMessageConfiguration {
  acceptedOutputModes @0 :List(Text);
  taskPushNotificationConfig @1 :TaskPushNotificationConfig;
  historyLength @2 :Int32 = -1;  # negative: not set
  returnImmediately @3 :Bool;
}

struct SendMessageResponse {
  union {
    unset @0 :Void;
    task @1 :Task;
    message @2 :Message;
  }
}

struct GetTaskRequest {
  id @0 :Text;
  historyLength @1 :Int32 = -1;  # negative: not set
  tenant @2 :Text;
}

struct ListTasksRequest {
  contextId @0 :Text;
  status @1 :TaskState;          # unspecified: any
  pageSize @2 :Int32 = -1;       # 1 to 100; negative: not set, which is 50
  pageToken @3 :Text;
  historyLength @4 :Int32 = -1;  # negative: not set
  statusTimestampAfter @5 :Time;
  includeArtifacts @6 :Flag;
  tenant @7 :Text;
}

struct ListTasksResponse {
  tasks @0 :List(Task);
  nextPageToken @1 :Text;  # empty on the last page
  pageSize @2 :Int32;
  totalSize @3 :Int32;
}

struct CancelTaskRequest {
  id @0 :Text;
  metadata @1 :Json;
  tenant @2 :Text;
}

struct SubscribeToTaskRequest {
  id @0 :Text;
  tenant @1 :Text;
}

struct GetExtendedAgentCardRequest {
  tenant @0 :Text;
}

# ---------------------------------------------------------------------------------------------------
# Push notifications

struct AuthenticationInfo {
  scheme @0 :Text;
  credentials @1 :Text;
}

struct TaskPushNotificationConfig {
  id @0 :Text;
  taskId @1 :Text;
  url @2 :Text;
  token @3 :Text;
  authentication @4 :AuthenticationInfo;
  tenant @5 :Text;
}

struct GetTaskPushNotificationConfigRequest {
  taskId @0 :Text;
  id @1 :Text;
  tenant @2 :Text;
}

struct DeleteTaskPushNotificationConfigRequest {
  taskId @0 :Text;
  id @1 :Text;
  tenant @2 :Text;
}

struct ListTaskPushNotificationConfigsRequest {
  taskId @0 :Text;
  pageSize @1 :Int32;
  pageToken @2 :Text;
  tenant @3 :Text;
}

struct ListTaskPushNotificationConfigsResponse {
  configs @0 :List(TaskPushNotificationConfig);
  nextPageToken @1 :Text;
}

# ---------------------------------------------------------------------------------------------------
# The agent card

struct AgentCard {
  name @0 :Text;
  description @1 :Text;
  supportedInterfaces @2 :List(AgentInterface);
  provider @3 :AgentProvider;
  version @4 :Text;
  documentationUrl @5 :Text;
  capabilities @6 :AgentCapabilities;
  securitySchemes @7 :List(NamedSecurityScheme);
  securityRequirements @8 :List(SecurityRequirement);
  defaultInputModes @9 :List(Text);
  defaultOutputModes @10 :List(Text);
  skills @11 :List(AgentSkill);
  signatures @12 :List(AgentCardSignature);
  iconUrl @13 :Text;
}

struct AgentInterface {
  url @0 :Text;
  protocolBinding @1 :Text;
  tenant @2 :Text;
  protocolVersion @3 :Text;
}

struct AgentProvider {
  url @0 :Text;
  organization @1 :Text;
}

struct AgentCapabilities {
  streaming @0 :Flag;
  pushNotifications @1 :Flag;
  extensions @2 :List(AgentExtension);
  extendedAgentCard @3 :Flag;
}

struct AgentExtension {
  uri @0 :Text;
  description @1 :Text;
  required @2 :Bool;
  params @3 :Json;
}

struct AgentSkill {
  id @0 :Text;
  name @1 :Text;
  description @2 :Text;
  tags @3 :List(Text);
  examples @4 :List(Text);
  inputModes @5 :List(Text);
  outputModes @6 :List(Text);
  securityRequirements @7 :List(SecurityRequirement);
}

struct AgentCardSignature {
  protected @0 :Text;
  signature @1 :Text;
  header @2 :Json;
}

struct SecurityRequirement {
  schemes @0 :List(RequiredScheme);

  struct RequiredScheme {
    name @0 :Text;
    scopes @1 :List(Text);
  }
}

struct NamedSecurityScheme {
  name @0 :Text;
  scheme @1 :SecurityScheme;
}

struct SecurityScheme {
  union {
    unset @0 :Void;
    apiKey @1 :ApiKeySecurityScheme;
    httpAuth @2 :HttpAuthSecurityScheme;
    oauth2 @3 :OAuth2SecurityScheme;
    openIdConnect @4 :OpenIdConnectSecurityScheme;
    mutualTls @5 :MutualTlsSecurityScheme;
  }
}

struct ApiKeySecurityScheme {
  description @0 :Text;
  location @1 :Text;  # "query", "header" or "cookie"
  name @2 :Text;
}

struct HttpAuthSecurityScheme {
  description @0 :Text;
  scheme @1 :Text;
  bearerFormat @2 :Text;
}

struct OAuth2SecurityScheme {
  description @0 :Text;
  flows @1 :OAuthFlows;
  oauth2MetadataUrl @2 :Text;
}

struct OpenIdConnectSecurityScheme {
  description @0 :Text;
  openIdConnectUrl @1 :Text;
}

struct MutualTlsSecurityScheme {
  description @0 :Text;
}

struct OAuthFlows {
  union {
    unset @0 :Void;
    authorizationCode @1 :OAuthFlow;
    clientCredentials @2 :OAuthFlow;
    implicit @3 :OAuthFlow;
    password @4 :OAuthFlow;
    deviceCode @5 :OAuthFlow;
  }
}

struct OAuthFlow {
  # One struct for the five flows; each uses the fields that A2A gives it.
  authorizationUrl @0 :Text;
  tokenUrl @1 :Text;
  refreshUrl @2 :Text;
  deviceAuthorizationUrl @3 :Text;
  scopes @4 :List(Scope);
  pkceRequired @5 :Bool;

  struct Scope {
    name @0 :Text;
    description @1 :Text;
  }
}
