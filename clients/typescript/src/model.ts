/**
 * A2A 1.0's words in their JSON form: tasks, messages, artifacts, and the events by which a task changes.
 *
 * Times are RFC 3339 texts in UTC, bytes are base64, enums go by name. Absent and `undefined` are the same.
 */

/** A free-form JSON object, such as metadata. */
export type Struct = { [name: string]: unknown };

/** An RFC 3339 time in UTC: `2026-01-31T12:00:00Z`. */
export type Timestamp = string;

/** Where a task stands. */
export type TaskState =
  /** Accepted, not begun. */
  | "TASK_STATE_SUBMITTED"
  /** The agent is at it. */
  | "TASK_STATE_WORKING"
  /** Terminal: done. */
  | "TASK_STATE_COMPLETED"
  /** Terminal: could not be done. */
  | "TASK_STATE_FAILED"
  /** Terminal: called off. */
  | "TASK_STATE_CANCELED"
  /** Interrupted: the agent waits for a message. */
  | "TASK_STATE_INPUT_REQUIRED"
  /** Terminal: the agent would not do it. */
  | "TASK_STATE_REJECTED"
  /** Interrupted: the agent waits for credentials, which come by another way. */
  | "TASK_STATE_AUTH_REQUIRED"
  /** Unknown or indeterminate: neither terminal nor interrupted. */
  | "TASK_STATE_UNSPECIFIED";

/** Whether a task in this state is finished for good. */
export function isTerminal(state: TaskState): boolean {
  return (
    state === "TASK_STATE_COMPLETED" ||
    state === "TASK_STATE_FAILED" ||
    state === "TASK_STATE_CANCELED" ||
    state === "TASK_STATE_REJECTED"
  );
}

/** Whether a task in this state waits for somebody else than its agent. */
export function isInterrupted(state: TaskState): boolean {
  return state === "TASK_STATE_INPUT_REQUIRED" || state === "TASK_STATE_AUTH_REQUIRED";
}

/** Who speaks. */
export type Role = "ROLE_USER" | "ROLE_AGENT";

/** What every part can have beside its content. */
export interface PartCommon {
  /** Anything else, by extensions. */
  metadata?: Struct;
  /** A name for the content if it is kept as a file. */
  filename?: string;
  /** The media type of the content: `image/png`. */
  mediaType?: string;
}

/** A text. */
export interface TextPart extends PartCommon {
  text: string;
  raw?: undefined;
  url?: undefined;
  data?: undefined;
}

/** Bytes, in base64. */
export interface RawPart extends PartCommon {
  raw: string;
  text?: undefined;
  url?: undefined;
  data?: undefined;
}

/** The address of content that is elsewhere. */
export interface UrlPart extends PartCommon {
  url: string;
  text?: undefined;
  raw?: undefined;
  data?: undefined;
}

/** Any JSON value. */
export interface DataPart extends PartCommon {
  data: unknown;
  text?: undefined;
  raw?: undefined;
  url?: undefined;
}

/** A piece of content: exactly one of `text`, `raw`, `url` and `data`. */
export type Part = TextPart | RawPart | UrlPart | DataPart;

/** One turn of a conversation. */
export interface Message {
  /** Made by the sender, unique among its messages; a repeated send is known by it. */
  messageId: string;
  /** The conversation; the server makes one if neither it nor the task is given. */
  contextId?: string;
  /** The task that this message belongs to; absent in the message that opens one. */
  taskId?: string;
  /** Who speaks. */
  role: Role;
  /** What is said: at least one part. */
  parts: Part[];
  /** Anything else, by extensions. */
  metadata?: Struct;
  /** URIs of the extensions that are present in this message. */
  extensions?: string[];
  /** Other tasks that the message refers to. */
  referenceTaskIds?: string[];
}

/** A result of a task. */
export interface Artifact {
  /** Unique in its task. */
  artifactId: string;
  /** For humans. */
  name?: string;
  /** For humans. */
  description?: string;
  /** The content: at least one part. */
  parts: Part[];
  /** Anything else, by extensions. */
  metadata?: Struct;
  /** URIs of the extensions that are present in this artifact. */
  extensions?: string[];
}

/** A task's state, and what the agent says about it. */
export interface TaskStatus {
  /** Where the task stands. */
  state: TaskState;
  /** What the agent says about it. */
  message?: Message;
  /** Since when. */
  timestamp?: Timestamp;
}

/** A piece of work that an agent does for a client. */
export interface Task {
  /** Made by the server. */
  id: string;
  /** The conversation. */
  contextId?: string;
  /** Where the task stands. */
  status: TaskStatus;
  /** The results so far. */
  artifacts?: Artifact[];
  /** The messages so far, oldest first. */
  history?: Message[];
  /** Anything else, by extensions. */
  metadata?: Struct;
}

/** What an element of a stream carries beside A2A's own fields. */
export interface Numbered {
  /**
   * The event's number: 1, 2, 3, … for each task, without gap or repeat. Of a snapshot the last event that it
   * contains; 0 if it contains none.
   */
  seq: number;
  /** Whether the stream ends with this. Exactly one event of a stream is final, and it is the last. */
  final: boolean;
}

/** The task has taken a state. */
export interface TaskStatusUpdateEvent extends Numbered {
  /** The task. */
  taskId: string;
  /** Its conversation. */
  contextId: string;
  /** Where it stands now. */
  status: TaskStatus;
  /** Anything else, by extensions. */
  metadata?: Struct;
}

/** The task has a result, or a piece of one. */
export interface TaskArtifactUpdateEvent extends Numbered {
  /** The task. */
  taskId: string;
  /** Its conversation. */
  contextId: string;
  /** The result, or the piece. */
  artifact: Artifact;
  /** Whether the parts are added to an artifact with the same id; else they replace it. */
  append?: boolean;
  /** Whether this was the last piece. */
  lastChunk?: boolean;
  /** Anything else, by extensions. */
  metadata?: Struct;
}

/** The task as it stood after event `seq`. */
export interface TaskSnapshot extends Task, Numbered {}

/**
 * One element of a task's stream: exactly one of the four members, and where it stands in the stream. A message
 * has the number 0: it is the whole answer, and there is no task.
 */
export type StreamEvent = Numbered &
  (
    | { statusUpdate: TaskStatusUpdateEvent; artifactUpdate?: undefined; task?: undefined; message?: undefined }
    | { artifactUpdate: TaskArtifactUpdateEvent; statusUpdate?: undefined; task?: undefined; message?: undefined }
    | { task: TaskSnapshot; statusUpdate?: undefined; artifactUpdate?: undefined; message?: undefined }
    | { message: Message; statusUpdate?: undefined; artifactUpdate?: undefined; task?: undefined }
  );

/** Why a stream has ended. */
export type EndReason =
  /** The task is in a terminal state, or the agent has answered with a message. */
  | "completed"
  /** A send's own stream: the task waits for input or authorization. */
  | "interrupted"
  /** The subscription was dropped, the session closed, or the server is stopping: resume. */
  | "detached"
  /** The authority behind the stream was taken back or has expired: do not resume. */
  | "revoked"
  /** The callback failed or could not be reached in time: resume after the last number. */
  | "cut"
  /** Retention has passed this reader: the events after the last number are gone. */
  | "gap"
  /** The server could not go on. */
  | "failed";

/** The last word on a stream. */
export interface StreamEnd {
  /** Why. */
  reason: EndReason;
  /** The last event that the stream has given; 0 if it has given none. */
  lastSeq: number;
}
