// What the page says: names of states and roles, and what to do about an error.

/** A mark (besides the colour) and a name for each state. */
export const STATES = {
  TASK_STATE_SUBMITTED: ["○", "Submitted"],
  TASK_STATE_WORKING: ["◐", "Working"],
  TASK_STATE_INPUT_REQUIRED: ["?", "Waits for you"],
  TASK_STATE_AUTH_REQUIRED: ["!", "Waits for credentials"],
  TASK_STATE_COMPLETED: ["✓", "Completed"],
  TASK_STATE_FAILED: ["✕", "Failed"],
  TASK_STATE_CANCELED: ["⊘", "Canceled"],
  TASK_STATE_REJECTED: ["✕", "Rejected"],
};

/** The mark and the name of a state, also of one that this page does not know. */
export function stateWords(state) {
  return Object.hasOwn(STATES, state) ? STATES[state] : ["•", String(state).replace("TASK_STATE_", "").toLowerCase()];
}

/** What somebody with this role may do. */
export const ROLES = {
  observe: "watch",
  answer: "watch, and answer when the agent asks",
  control: "watch, write, and cancel",
};

const HINTS = {
  UNAUTHENTICATED: "Look for a missing or an extra character; the key may also have been replaced since.",
  FORBIDDEN: "What you hold does not go so far. Ask whoever gave it to you for more.",
  REVOKED: "Nothing more of this task comes here.",
  DISCONNECTED: "Try again when it can be reached.",
  OVERLOADED: "The server has too much to do. Try again in a moment.",
  QUOTA: "You use all that you may at once. End a task, or take back a share, and try again.",
  GAP: "The server no longer keeps the events that come next. Open the task again to see how it stands.",
  TASK_NOT_FOUND: "It may have been deleted, or belong to somebody else.",
  TASK_NOT_CANCELABLE: "It has ended already.",
  UNSUPPORTED_OPERATION: "The agent takes nothing now. Wait until it asks, or begin something new.",
  DEADLINE_EXCEEDED: "It took too long. Try again.",
};

/** What went wrong, and what to do about it. `own` are other hints, by reason. */
export function troubleWords(error, own = {}) {
  const reason = String(error?.reason ?? "INTERNAL");
  const hints = { ...HINTS, ...own };
  const hint = Object.hasOwn(hints, reason) ? hints[reason] : "Try again; if it stays so, the server's log says more.";
  const title = sentence(String(error?.message ?? error));
  return { reason, title, hint };
}

/** How many of something: `1 event`, `2 events`. */
export function counted(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

function sentence(text) {
  const short = text.length > 300 ? `${text.slice(0, 300)}…` : text;
  const begun = short.charAt(0).toUpperCase() + short.slice(1);
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}
