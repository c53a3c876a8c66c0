/** Why a call or a stream failed. */

/** The codes of A2A 1.0.1 and of this project, by reason. */
export const ERROR_CODES = {
  TASK_NOT_FOUND: -32001,
  TASK_NOT_CANCELABLE: -32002,
  PUSH_NOTIFICATION_NOT_SUPPORTED: -32003,
  UNSUPPORTED_OPERATION: -32004,
  CONTENT_TYPE_NOT_SUPPORTED: -32005,
  INVALID_AGENT_RESPONSE: -32006,
  EXTENDED_AGENT_CARD_NOT_CONFIGURED: -32007,
  EXTENSION_SUPPORT_REQUIRED: -32008,
  VERSION_NOT_SUPPORTED: -32009,
  PARSE_ERROR: -32700,
  INVALID_REQUEST: -32600,
  METHOD_NOT_FOUND: -32601,
  INVALID_PARAMS: -32602,
  INTERNAL: -32603,
  /** No credentials, or wrong, or expired: the three are never told apart. */
  UNAUTHENTICATED: -31401,
  /** The object does not include this operation. */
  FORBIDDEN: -31403,
  /** The agent answered with a message, so there is no task. */
  NO_TASK: -31404,
  DEADLINE_EXCEEDED: -31408,
  /** The same message id was used with another body. */
  CONFLICT: -31409,
  /** The object, or one that it was derived from, was taken back or has expired. */
  REVOKED: -31410,
  /** Retention has cut the events after the given number. */
  GAP: -31416,
  /** The caller has used up what it may hold or do. */
  QUOTA: -31429,
  /** The connection is gone, or the client was closed. Never sent by a server. */
  DISCONNECTED: -31499,
  /** The server has no room for more work now. */
  OVERLOADED: -31503,
} as const;

/** Why, in one word. A newer server may know others. */
export type ErrorReason = keyof typeof ERROR_CODES;

/** A detail of an error: `google.rpc.ErrorInfo`, `google.rpc.BadRequest` or another type, in JSON form. */
export interface ErrorDetail {
  /** `type.googleapis.com/google.rpc.ErrorInfo`, for one. */
  "@type": string;
  [member: string]: unknown;
}

/** A failure that has a code: from the server, or found by this package. */
export class A2AError extends Error {
  override readonly name = "A2AError";
  /** A2A's number for it, such as -32001; see {@link ERROR_CODES}. */
  readonly code: number;
  /** The same in one word, such as `TASK_NOT_FOUND`. */
  readonly reason: ErrorReason | (string & {});
  /** What else the server says about it. */
  readonly details: readonly ErrorDetail[];

  constructor(
    reason: ErrorReason | (string & {}),
    message: string,
    more: { code?: number; details?: readonly ErrorDetail[]; cause?: unknown } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.reason = reason;
    this.code = more.code ?? codeOf(reason);
    this.details = more.details ?? [];
  }

  /** Whatever was thrown, as an error with a code. */
  static from(thrown: unknown): A2AError {
    if (thrown instanceof A2AError) {
      return thrown;
    }
    if (typeof thrown !== "object" || thrown === null) {
      return new A2AError("INTERNAL", String(thrown), { cause: thrown });
    }
    const { code, reason, details, message } = thrown as { [name: string]: unknown };
    const text = typeof message === "string" ? message : "the server gave no message";
    if (typeof code === "number") {
      const said = typeof reason === "string" ? reason : reasonOf(code);
      const list = Array.isArray(details) ? (details as ErrorDetail[]) : [];
      return new A2AError(said, text, { code, details: list, cause: thrown });
    }
    // Cap'n Web's own words for a method that the other side does not have.
    const missing = thrown instanceof TypeError && text.endsWith(" is not a function.");
    return new A2AError(missing ? "METHOD_NOT_FOUND" : "INTERNAL", text, { cause: thrown });
  }
}

/** Whether this is an error with one of these reasons. */
export function hasReason(error: unknown, ...reasons: ErrorReason[]): error is A2AError {
  return error instanceof A2AError && (reasons as string[]).includes(error.reason);
}

/** Whether the object's own time is over, which fresh credentials mend; what was taken back is not to be asked for again. */
export function hasExpired(error: A2AError): boolean {
  return error.reason === "REVOKED" && error.details.some(({ metadata }) => {
    return typeof metadata === "object" && metadata !== null && (metadata as { cause?: unknown }).cause === "expired";
  });
}

function codeOf(reason: string): number {
  return Object.hasOwn(ERROR_CODES, reason) ? ERROR_CODES[reason as ErrorReason] : ERROR_CODES.INTERNAL;
}

function reasonOf(code: number): string {
  const found = Object.entries(ERROR_CODES).find(([, number]) => number === code);
  return found?.[0] ?? "INTERNAL";
}
