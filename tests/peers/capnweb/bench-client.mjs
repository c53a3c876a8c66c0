// The npm client of the benchmark: streams a task's events into a callback. `node bench-client.mjs URL KEY`; each
// line on stdin says how many events; the answer: events, nanoseconds.

import { createInterface } from "node:readline";
import { newWebSocketRpcSession, RpcTarget } from "capnweb";
import { WebSocket } from "ws";

// The library asks the platform's class for its constants, and Node 20 has none.
globalThis.WebSocket ??= WebSocket;

class Observer extends RpcTarget {
  seq = 0;
  #ended;
  end = new Promise((resolve) => (this.#ended = resolve));

  #event({ seq }) {
    if (seq !== this.seq + 1) throw new Error(`event ${seq} came after ${this.seq}`);
    this.seq = seq;
  }

  onStatusUpdate(event) {
    this.#event(event);
  }

  onArtifactUpdate(event) {
    this.#event(event);
  }

  onEnd(end) {
    this.#ended(end);
  }
}

const [url, key] = process.argv.slice(2);
const service = newWebSocketRpcSession(new WebSocket(url, { perMessageDeflate: false }));
const session = service.authenticate(key);
await session.whoAmI();
console.log("ready");

for await (const line of createInterface({ input: process.stdin })) {
  const events = Number(line);
  const observer = new Observer();
  const begun = process.hrtime.bigint();
  // The task is opened, and completed: that makes two.
  const message = { messageId: crypto.randomUUID(), role: "ROLE_USER", parts: [{ text: `burst ${events - 2}` }] };
  const started = await session.sendMessageStreaming(message, {}, observer);
  await observer.end;
  if (observer.seq !== events) throw new Error(`${observer.seq} events came, not ${events}`);
  console.log(`${events} ${process.hrtime.bigint() - begun}`);
  started[Symbol.dispose]?.();
}
process.exit(0);
