/** What the operations are asked and, where it is not a data object, what they answer. */

import type { Message, Struct, Task, TaskState, Timestamp } from "./model.js";

/** How a send is to be answered. */
export interface SendConfiguration {
  /** The media types that the client can take; absent for any. */
  acceptedOutputModes?: string[];
  /** A webhook for the task, which is made along with it. */
  taskPushNotificationConfig?: TaskPushNotificationConfig;
  /** How many of the latest messages the answered task should have: absent for all, 0 for none. */
  historyLength?: number;
  /** Whether to answer as soon as there is a task, instead of when it stops. */
  returnImmediately?: boolean;
  /** Metadata of the request, beside the message's own. Not a part of A2A's configuration, but of its request. */
  metadata?: Struct;
  /**
   * Cancel the task when the last stub of the handle that this send returns is gone, by disposal or by the end
   * of its connection. By default the task goes on without anybody watching. Beyond A2A.
   */
  cancelOnDrop?: boolean;
  /** Fail the agent's turn after this time, in milliseconds; narrows the server's limit. Beyond A2A. */
  turnTimeoutMs?: number;
}

/** The answer to a send: exactly one of the two. */
export type SendMessageResponse =
  /** The task that was opened or continued. */
  | { task: Task; message?: undefined }
  /** The whole answer, without a task. */
  | { message: Message; task?: undefined };

/** Which tasks to list. */
export interface ListTasksParams {
  /** Only tasks of this conversation. */
  contextId?: string;
  /** Only tasks in this state. */
  status?: TaskState;
  /** The most tasks to have: 1 to 100, 50 if absent. */
  pageSize?: number;
  /** Where to go on: what the page before gave. */
  pageToken?: string;
  /** How many of the latest messages each task should have: absent for all, 0 for none. */
  historyLength?: number;
  /** Only tasks whose status is of this time or later. */
  statusTimestampAfter?: Timestamp;
  /** Whether the tasks should have their artifacts; no if absent. */
  includeArtifacts?: boolean;
}

/** A page of tasks, those with the latest status first. */
export interface ListTasksResponse {
  /** The tasks; may be empty, but is always there. */
  tasks: Task[];
  /** What to ask for the next page with; empty after the last. */
  nextPageToken: string;
  /** The page size that was used. */
  pageSize: number;
  /** How many tasks there are on all pages. */
  totalSize: number;
}

/** A webhook for the updates of one task. */
export interface TaskPushNotificationConfig {
  /** The id of this configuration; the server makes one if it is absent. */
  id?: string;
  /** The task; absent in the configuration of a send, where the task does not exist yet. */
  taskId?: string;
  /** Where the notifications are posted. */
  url: string;
  /** A text that comes with every notification, by which the receiver knows it. */
  token?: string;
  /** How the server authenticates to the receiver. */
  authentication?: AuthenticationInfo;
}

/** What goes into the `Authorization` header of a notification. */
export interface AuthenticationInfo {
  /** An HTTP authentication scheme by its IANA name, in any case: `Bearer`. */
  scheme: string;
  /** What follows the scheme. */
  credentials?: string;
}

/** Which push configurations to list. */
export interface ListPushConfigsParams {
  /** The most configurations to have; the server chooses if it is absent. */
  pageSize?: number;
  /** Where to go on: what the page before gave. */
  pageToken?: string;
}

/** A page of push configurations. */
export interface ListPushConfigsResponse {
  /** The configurations. */
  configs?: TaskPushNotificationConfig[];
  /** What to ask for the next page with; absent after the last. */
  nextPageToken?: string;
}
