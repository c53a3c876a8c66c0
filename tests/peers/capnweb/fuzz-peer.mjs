// The reference as one end of many sessions in memory: npm capnweb with the test service and no socket.
//
// Each line of standard input is a round, `{"play": [[session, [frame, …]], …], "forget": [session, …]}`: frames
// (text) for any number of sessions; a session that was not heard of before begins. When none of them has
// anything more to say, one line answers with `[[session, [frame, …], aborted, sizes of its tables], …]` in the
// same order.

import { createInterface } from "node:readline";
import { RpcSession } from "capnweb";
import { Service } from "./service.mjs";

// Turns of the event loop without any output after which a round is over. Nothing in the service waits for
// time, so one would do; streams take a few.
const QUIET_TURNS = 4;

// The service fails on purpose, and what nobody asked for must not end the process.
process.on("unhandledRejection", () => {});

// A transport of capnweb's whose other end is this program.
class Memory {
  out = [];
  aborted = false;
  #in = [];
  #waiting;

  send(frame) {
    this.out.push(frame);
    said = true;
  }

  receive() {
    if (this.#in.length > 0) return Promise.resolve(this.#in.shift());
    return new Promise((resolve) => (this.#waiting = resolve));
  }

  abort() {
    this.aborted = true;
  }

  deliver(frame) {
    if (this.#waiting === undefined) this.#in.push(frame);
    else this.#waiting(frame);
    this.#waiting = undefined;
  }
}

const sessions = new Map();
let said = false;

for await (const line of createInterface({ input: process.stdin })) {
  const { play, forget = [] } = JSON.parse(line);
  for (const [id, frames] of play) {
    if (!sessions.has(id)) sessions.set(id, begin());
    for (const frame of frames) sessions.get(id).transport.deliver(frame);
  }
  for (let quiet = 0; quiet < QUIET_TURNS; said ? (quiet = 0) : ++quiet) {
    said = false;
    await new Promise(setImmediate);
  }
  const answers = play.map(([id]) => {
    const { transport, session } = sessions.get(id);
    const frames = transport.out;
    transport.out = [];
    return [id, frames, transport.aborted, session.getStats()];
  });
  for (const id of forget) sessions.delete(id);
  process.stdout.write(JSON.stringify(answers) + "\n");
}

function begin() {
  const transport = new Memory();
  return { transport, session: new RpcSession(transport, new Service()) };
}
