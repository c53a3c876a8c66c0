// Calls a server in a trace of its own and keeps a record of each call, as an instrumented program would.
//
//   node traced-caller.mjs http://127.0.0.1:8420/capnweb KEY
//
// Prints the records as one line of JSON: the trace, the span of the call, how it ended.

import { randomBytes, randomUUID } from "node:crypto";
import { library, open } from "./client/connection.mjs";

const [url, key] = process.argv.slice(2);
const { api, close } = await open(await library("0.12"), url);
const session = await api.authenticate(key);

const trace = randomBytes(16).toString("hex");
const records = [];

/** Makes a call within a span. */
async function traced(name, call) {
  const span = randomBytes(8).toString("hex");
  const record = { name, trace, span, status: "OK", exception: null };
  records.push(record);
  try {
    await call(session.withParameters({ parameters: { traceparent: `00-${trace}-${span}-01` } }));
  } catch (error) {
    record.status = "ERROR";
    record.exception = error.reason;
  }
}

const message = { messageId: randomUUID(), role: "ROLE_USER", parts: [{ text: "hello" }] };
await traced("SendMessage", (session) => session.sendMessage(message));
await traced("GetTask", (session) => session.getTask("no-such-task"));
console.log(JSON.stringify(records));
await close();
process.exit();
