// The errors of the reference server: each has `code`, `reason` and `details` as properties of its own.

const CODES = {
  TASK_NOT_FOUND: -32001,
  TASK_NOT_CANCELABLE: -32002,
  PUSH_NOTIFICATION_NOT_SUPPORTED: -32003,
  UNSUPPORTED_OPERATION: -32004,
  EXTENDED_AGENT_CARD_NOT_CONFIGURED: -32007,
  VERSION_NOT_SUPPORTED: -32009,
  INVALID_PARAMS: -32602,
  INTERNAL: -32603,
  UNAUTHENTICATED: -31401,
  FORBIDDEN: -31403,
  NO_TASK: -31404,
  CONFLICT: -31409,
  REVOKED: -31410,
  GAP: -31416,
};

/** An error as the callers of this server see it. */
export function fault(reason, message, details = []) {
  const code = CODES[reason];
  const domain = code <= -32001 && code >= -32009 ? "a2a-protocol.org" : "a2a-webcap.dev";
  const info = { "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason, domain };
  return Object.assign(new Error(message), { code, reason, details: [info, ...details] });
}

/** A field that breaks a rule. */
export function invalid(field, description) {
  const violation = { "@type": "type.googleapis.com/google.rpc.BadRequest", fieldViolations: [{ field, description }] };
  return fault("INVALID_PARAMS", `${field}: ${description}`, [violation]);
}

/** The one answer for a task that is not there and for a task of somebody else. */
export function taskNotFound() {
  return fault("TASK_NOT_FOUND", "task not found: check the id, and that it is yours");
}
