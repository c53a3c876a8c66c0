// Plays vector files against a server with a raw socket and prints what came back.
//
//   node run-vectors.mjs ws://127.0.0.1:1234/ crates/capnweb/tests/vectors/*.json
//
// Prints one JSON array: for every vector its file, its name, for every step the frames that came, and how the
// socket was closed (null if it was not). It judges nothing: the Rust tests compare.

import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { WebSocket } from "ws";

// How long a step may take, before what has come by then is all there is.
const STEP_MS = 5_000;
// How many pings are answered in turn before a step counts as over. An answer to a ping shows that the server has
// read what was sent before, and has been through its queue of microtasks since.
const BARRIER = 4;
// Connections at the same time.
const AT_ONCE = 16;

const [url, ...files] = process.argv.slice(2);
const vectors = [];
for (const file of files) {
  const { transport = "websocket", vectors: list } = JSON.parse(await readFile(file, "utf8"));
  if (transport !== "websocket" && transport !== "http") throw new Error(`${file}: transport ${transport}?`);
  for (const vector of list) vectors.push({ file: basename(file), transport, vector });
}

const results = new Array(vectors.length);
let next = 0;
await Promise.all(Array.from({ length: AT_ONCE }, async () => {
  for (let i = next++; i < vectors.length; i = next++) {
    const { file, transport, vector } = vectors[i];
    const played = transport === "http" ? await post(vector) : await play(vector);
    results[i] = { file, name: vector.name, ...played };
  }
}));
console.log(JSON.stringify(results));
process.exit();

// Plays one vector over a WebSocket of its own.
async function play(vector) {
  const socket = new WebSocket(url, { perMessageDeflate: false });
  let frames = [];
  let end = null;
  let pongs = 0;
  let changed = () => {};
  socket.on("pong", () => {
    ++pongs;
    changed();
  });
  socket.on("message", (data) => {
    frames.push(data.toString());
    changed();
  });
  socket.on("close", (code, reason) => {
    end = { code, reason: reason.toString() };
    changed();
  });
  socket.on("error", () => {});
  await new Promise((resolve) => socket.once("open", resolve).once("close", resolve));

  const steps = [];
  for (const [i, step] of vector.steps.entries()) {
    for (const frame of step.in) send(socket, frame);
    const closes = vector.end !== undefined && i === vector.steps.length - 1;
    await until(() => end !== null || (frames.length >= step.out.length && !closes));
    for (let turn = 0; turn < BARRIER && end === null; ++turn) await pong();
    steps.push(frames.map((frame) => JSON.parse(frame)));
    frames = [];
  }
  socket.terminate();
  return { steps, end };

  function pong() {
    const wanted = pongs + 1;
    if (socket.readyState === WebSocket.OPEN) socket.ping();
    return until(() => pongs >= wanted || end !== null);
  }

  async function until(holds) {
    const deadline = Date.now() + STEP_MS;
    while (!holds() && Date.now() < deadline) {
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, deadline - Date.now());
        changed = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}

// A frame in a file is JSON, or a string that is sent as it is, or `{"binary": base64}`.
function send(socket, frame) {
  if (socket.readyState !== WebSocket.OPEN) return;
  if (typeof frame === "string") socket.send(frame);
  else if (Array.isArray(frame)) socket.send(JSON.stringify(frame));
  else socket.send(Buffer.from(frame.binary, "base64"));
}

// Sends one HTTP request; an answer that does not come within `STEP_MS` is reported as a hanging one.
async function post(vector) {
  const { method = "POST", body } = vector.request;
  const target = url.replace(/^ws/, "http");
  try {
    const response = await fetch(target, { method, body, signal: AbortSignal.timeout(vector.patience_ms ?? STEP_MS) });
    const text = await response.text();
    const frames = response.ok && text !== "" ? text.split("\n").map((line) => JSON.parse(line)) : [];
    return { status: response.status, frames };
  } catch (error) {
    if (error.name !== "TimeoutError") throw error;
    return { hangs: true };
  }
}
