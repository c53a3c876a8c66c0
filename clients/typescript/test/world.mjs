// What every test needs: a server, a line that can be cut, and a client, all gone when the test is over.

import { once } from "node:events";
import { connect as dial, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { WebSocket } from "ws";
import { connect } from "../dist/index.js";
import { startReferenceServer } from "../../../tests/peers/capnweb/reference-server.mjs";

/** A server, as another of the same port and world can follow it. */
export async function serve(t, options) {
  const server = await startReferenceServer(options);
  let open = true;
  const { close } = server;
  server.close = async () => {
    if (open) {
      open = false;
      await close.call(server);
    }
  };
  t.after(() => {
    server.world.stop();
    return server.close();
  });
  return server;
}

/** A client of the server (or of whatever has its `url`), quick to come back. */
export function clientOf(t, server, { credentials = "test-key", ...options } = {}) {
  const retry = { firstWaitMs: 5, longestWaitMs: 50 };
  const client = connect(server.url, credentials, { WebSocket, retry, ...options });
  t.after(() => client.close());
  return client;
}

/** A proxy before a server: `cut` ends its lines, `mute` lets nothing more come back over them. */
export async function proxied(t, server) {
  const lines = new Set();
  const proxy = createServer((near) => {
    const far = dial(server.port, "127.0.0.1");
    const line = { near, far, muted: false };
    lines.add(line);
    proxy.accepted += 1;
    near.pipe(far);
    far.on("data", (bytes) => line.muted || near.write(bytes));
    const end = () => {
      lines.delete(line);
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) socket.on("error", end).on("close", end);
  });
  proxy.accepted = 0;
  proxy.cut = () => {
    for (const { near } of lines) near.resetAndDestroy();
  };
  proxy.mute = () => {
    for (const line of lines) line.muted = true;
  };
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  proxy.url = `ws://127.0.0.1:${proxy.address().port}/capnweb`;
  t.after(() => {
    proxy.cut();
    proxy.close();
  });
  return proxy;
}

/** Waits for something that is about to become true. */
export async function until(what, isSo, timeoutMs = 5_000) {
  const deadline = performance.now() + timeoutMs;
  while (!isSo()) {
    if (performance.now() > deadline) throw new Error(`still not so after ${timeoutMs} ms: ${what}`);
    await sleep(2);
  }
}

/** All events of a stream; `look` sees each of them first. */
export async function drained(stream, look = () => {}) {
  const events = [];
  for await (const event of stream) {
    events.push(event);
    await look(event, events);
  }
  return events;
}

export const seqs = (events) => events.map((event) => event.seq);

/** 1, 2, 3, … */
export const counted = (last, first = 1) => Array.from({ length: last - first + 1 }, (_, at) => at + first);

/** A source of numbers from 0 to 1 that can be played again: `SEED=…` in the environment. */
export function dice(t) {
  let state = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32)) >>> 0;
  t.diagnostic(`SEED=${state}`);
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
