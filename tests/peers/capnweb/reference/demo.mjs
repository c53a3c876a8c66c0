// The demo agent: does what the first word of a message says, as src/agents/demo.rs does.

import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";

const MAX_COUNT = 10_000_000;
const LONG_PACE_MS = 1_000;
/** How many events `burst` makes before others get a turn. */
const BATCH = 256;

/** Starts a turn. Returns the text of a plain message, if that is the answer; else it has called `open`. */
export function runDemo(task, message, { open, isFollowUp }) {
  const text = message.parts.map((part) => part.text).filter((part) => part !== undefined).join("\n").trim();
  const [, word = "", rest = ""] = /^(\S*)\s*(.*)$/s.exec(text);
  if (word === "message" && !isFollowUp && !task.status) return rest || "Hello!";
  open();
  const work = isFollowUp ? answer(task, text) : act(task, word, rest.trim(), text);
  work.catch((error) => task.setState("TASK_STATE_FAILED", error.message));
  return undefined;
}

async function act(task, word, rest, text) {
  const numbers = rest.split(/\s+/);
  switch (word) {
    case "stream":
      return stream(task, count(numbers[0], 10), pace(numbers[1]));
    case "burst":
      return burst(task, count(numbers[0], 1_000));
    case "ask":
      return task.setState("TASK_STATE_INPUT_REQUIRED", "What is your name?");
    case "fail":
      throw new Error(rest || "it was asked to fail");
    case "reject":
      return task.setState("TASK_STATE_REJECTED", "I would rather not.");
    case "message":
      return task.setState("TASK_STATE_COMPLETED", rest || "Hello!");
    case "long":
      return long(task);
    default:
      return talk(task, text);
  }
}

async function stream(task, count, paceMs) {
  task.setState("TASK_STATE_WORKING");
  for (let n = 1; n <= count && !task.isFinished; n++) {
    if (n > 1 && paceMs > 0) await rest(paceMs, task);
    task.addText("stream", `chunk ${n} of ${count}\n`, n > 1, n === count);
    if (n % BATCH === 0) await turn();
  }
  task.setState("TASK_STATE_COMPLETED");
}

async function burst(task, count) {
  for (let n = 1; n <= count && !task.isFinished; n++) {
    task.addText("burst", "0123456789abcdef", n > 1, n === count);
    if (n % BATCH === 0) await turn();
  }
  task.setState("TASK_STATE_COMPLETED");
}

async function long(task) {
  task.setState("TASK_STATE_WORKING", "working until you cancel me");
  for (let seconds = 1; !task.isFinished; ) {
    const beat = rest(LONG_PACE_MS, task).then(() => "beat");
    while (!task.isFinished) {
      const heard = task.inbox.shift();
      if (heard) task.setState("TASK_STATE_WORKING", `I heard you: ${heard.parts[0].text}`);
      else if ((await Promise.race([beat, task.bell()])) === "beat") break;
    }
    task.setState("TASK_STATE_WORKING", `still working, ${seconds++} s so far`);
  }
}

async function answer(task, text) {
  task.addText("answer", `You said: ${text}`, false, false);
  task.setState("TASK_STATE_COMPLETED");
}

async function talk(task, text) {
  task.setState("TASK_STATE_WORKING");
  const said = text === "" ? "" : `You said: ${text}. `;
  const words = `Hello! ${said}Try: stream 20 50ms, ask, fail, message hello, long, burst 1000.`.split(/(?<= )/);
  words.forEach((word, at) => task.addText("answer", word, at > 0, at === words.length - 1));
  task.setState("TASK_STATE_COMPLETED");
}

function rest(ms, task) {
  return sleep(ms, undefined, { signal: task.cancellation.signal }).catch(() => {});
}

function count(word, otherwise) {
  if (!word) return otherwise;
  const number = Number(word);
  if (!/^\d+$/.test(word) || number < 1 || number > MAX_COUNT) throw new Error(`expected a count from 1 to ${MAX_COUNT}`);
  return number;
}

function pace(word) {
  if (!word) return 100;
  const [, number, unit] = /^(\d+)(ms|s)?$/.exec(word) ?? [];
  const ms = Number(number) * (unit === "s" ? 1_000 : 1);
  if (number === undefined || ms > 60_000) throw new Error("expected a pace of at most 60s, such as 50ms or 2s");
  return ms;
}
