// A client of the npm library on a socket of its own, that writes down every frame.

import { WebSocket } from "ws";

// The library asks the platform's class for its constants, and Node 20 has none.
globalThis.WebSocket ??= WebSocket;

/** The library in a version: `0.12` or `0.5`. */
export function library(version) {
  return import(version === "0.5" ? "capnweb-0.5" : "capnweb");
}

/**
 * Opens a session. `frames` has every frame so far as `["C", frame]` (ours) or `["S", frame]`; `stats()` is how much
 * stands in our tables; `api` is the server's main object.
 */
export async function open(rpc, url) {
  const socket = new WebSocket(url.replace(/^http/, "ws"), { perMessageDeflate: false });
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  const frames = [];
  const session = new rpc.RpcSession(new Recorded(socket, frames));
  const api = session.getRemoteMain();
  return {
    api,
    frames,
    socket,
    stats: () => session.getStats(),
    /** Ends it as a page does that goes away. */
    async close() {
      const closed = new Promise((resolve) => socket.once("close", resolve));
      socket.close(1000);
      await closed;
    },
  };
}

class Recorded {
  #socket;
  #frames;
  #queue = [];
  #waiting = [];
  #error = null;

  constructor(socket, frames) {
    this.#socket = socket;
    this.#frames = frames;
    socket.on("message", (data, isBinary) => {
      if (isBinary) return this.#fail(new Error("the server has sent a binary message"));
      const text = data.toString();
      frames.push(["S", JSON.parse(text)]);
      const waiting = this.#waiting.shift();
      if (waiting) waiting.resolve(text);
      else this.#queue.push(text);
    });
    socket.on("close", (code, reason) => this.#fail(new Error(`closed: ${code} ${reason}`)));
    socket.on("error", (error) => this.#fail(error));
  }

  #fail(error) {
    this.#error ??= error;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#error);
  }

  async send(text) {
    this.#frames.push(["C", JSON.parse(text)]);
    this.#socket.send(text);
  }

  receive() {
    if (this.#queue.length > 0) return Promise.resolve(this.#queue.shift());
    if (this.#error) return Promise.reject(this.#error);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  abort() {
    this.#socket.close(3000);
  }
}

/** Waits until something is so. */
export async function until(what, holds) {
  const deadline = Date.now() + 30_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
