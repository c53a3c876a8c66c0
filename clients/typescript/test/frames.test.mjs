// What goes over the line, frame by frame, with a server that is written out by hand.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { WebSocketServer } from "ws";
import { hasReason } from "../dist/index.js";
import { clientOf, counted, drained, seqs, until } from "./world.mjs";

/** A server of which every connection, as soon as a frame has come, is given to a handler with all its frames. */
async function scripted(t, handler) {
  const sockets = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await once(sockets, "listening");
  const lines = [];
  sockets.on("connection", (socket) => {
    const line = { heard: [], say: (...frames) => frames.forEach((frame) => socket.send(JSON.stringify(frame))), socket };
    lines.push(line);
    socket.on("message", (text) => {
      line.heard.push(JSON.parse(text));
      handler(line, line.heard.at(-1), lines.length);
    });
  });
  t.after(() => {
    for (const socket of sockets.clients) socket.terminate();
    sockets.close();
  });
  return { url: `ws://127.0.0.1:${sockets.address().port}/capnweb`, lines };
}

const update = (seq, final = false) => ({
  taskId: "t",
  contextId: "c",
  artifact: { artifactId: "a", parts: [[{ text: "x" }]] },
  seq,
  final,
});

const streamed = (seq, final) => ["stream", ["pipeline", -1, ["onArtifactUpdate"], [update(seq, final)]]];


const isCall = (frame, name) => frame[0] === "push" && frame[1][2]?.[0] === name;

/** Answers the credentials with a session, and a streaming send with its two objects. */
function accept(line, frame) {
  if (isCall(frame, "authenticate")) line.say(["resolve", 1, ["export", -1]]);
  if (isCall(frame, "sendMessageStreaming") || isCall(frame, "subscribeToTask")) {
    line.say(["resolve", 2, { task: ["export", -2], subscription: ["export", -3] }]);
  }
}

test("a stream's call leaves with the credentials, before any answer", async (t) => {
  const server = await scripted(t, () => {});
  const client = clientOf(t, server);
  const stream = client.stream({ messageId: "m-1", parts: [{ text: "hi" }] });
  await until("four frames have come", () => server.lines[0]?.heard.length >= 4);
  const message = { messageId: "m-1", role: "ROLE_USER", parts: [[{ text: "hi" }]] };
  assert.deepEqual(server.lines[0].heard, [
    ["push", ["pipeline", 0, ["authenticate"], ["test-key"]]],
    ["pull", 1],
    ["push", ["pipeline", 1, ["sendMessageStreaming"], [message, ["undefined"], ["export", -1]]]],
    ["pull", 2],
  ]);
  stream.close();
});

test("events that come in stream frames are acknowledged as they are read, in any burst", async (t) => {
  const server = await scripted(t, (line, frame) => {
    accept(line, frame);
    if (isCall(frame, "sendMessageStreaming")) for (const seq of counted(60)) line.say(streamed(seq, seq === 60));
  });
  const client = clientOf(t, server);
  const stream = client.stream("hi", undefined, { buffer: 8 });
  const reader = stream[Symbol.asyncIterator]();
  const acknowledged = () => server.lines[0].heard.filter(([type]) => type === "resolve").length;
  assert.equal((await reader.next()).value.seq, 1);
  // The one that was read, and those that fit.
  await until("what fits is acknowledged", () => acknowledged() === 9);
  for (const seq of counted(20, 2)) assert.equal((await reader.next()).value.seq, seq);
  const rest = [];
  for (let next = await reader.next(); !next.done; next = await reader.next()) rest.push(next.value.seq);
  assert.deepEqual(rest, counted(60, 21));
  await until("all is acknowledged", () => acknowledged() === 60);
  await until("both objects are released", () => server.lines[0].heard.filter(([type, id]) => type === "release" && (id === -2 || id === -3)).length === 2);
});

test("a server that stops with an abort is gone on with at the next one", async (t) => {
  const server = await scripted(t, (line, frame, connection) => {
    accept(line, frame);
    if (connection === 1 && isCall(frame, "sendMessageStreaming")) {
      for (const seq of counted(5)) line.say(streamed(seq, false));
      line.say(["abort", ["error", "Error", "the server stops", null, { code: -31503, reason: "OVERLOADED" }]]);
    }
    if (connection === 2 && isCall(frame, "subscribeToTask")) {
      assert.deepEqual(frame[1][3], ["t", ["export", -1], 5]);
      for (const seq of counted(9, 6)) line.say(streamed(seq, seq === 9));
    }
  });
  const events = await drained(clientOf(t, server).stream("hi"));
  assert.deepEqual(seqs(events), counted(9));
});

test("a stream that the server detaches is gone on with over the same line", async (t) => {
  let call = 0;
  const server = await scripted(t, (line, frame) => {
    if (isCall(frame, "authenticate")) line.say(["resolve", 1, ["export", -1]]);
    const isSend = isCall(frame, "sendMessageStreaming");
    if (!isSend && !isCall(frame, "subscribeToTask")) return;
    call += 1;
    line.say(["resolve", 1 + call, { subscription: ["export", -1 - call] }]);
    const to = (method, args) => ["stream", ["pipeline", -call, [method], args]];
    if (isSend) {
      line.say(to("onArtifactUpdate", [update(1)]), to("onEnd", ["detached", 1]), ["release", -1, 1]);
    } else {
      line.say(to("onArtifactUpdate", [update(2, true)]));
    }
  });
  const events = await drained(clientOf(t, server).stream("hi"));
  assert.deepEqual(seqs(events), [1, 2]);
  assert.equal(server.lines.length, 1);
});

test("events that come twice are taken once", async (t) => {
  const server = await scripted(t, (line, frame) => {
    accept(line, frame);
    if (isCall(frame, "sendMessageStreaming")) {
      for (const seq of [1, 2, 1, 2, 3]) line.say(streamed(seq, false));
      line.say(streamed(4, true));
    }
  });
  assert.deepEqual(seqs(await drained(clientOf(t, server).stream("hi"))), counted(4));
});

test("a refusal that comes after the callback was let go of is told as it is", async (t) => {
  const server = await scripted(t, (line, frame) => {
    if (isCall(frame, "authenticate")) line.say(["resolve", 1, ["export", -1]]);
    if (isCall(frame, "sendMessageStreaming")) {
      const error = ["error", "Error", "too much", null, { code: -31429, reason: "QUOTA", details: [[]] }];
      line.say(["release", -1, 1], ["reject", 2, error]);
    }
  });
  await assert.rejects(drained(clientOf(t, server).stream("hi")), (error) => hasReason(error, "QUOTA") && error.code === -31429);
});

test("binary messages and broken frames end the line, not the program", async (t) => {
  const server = await scripted(t, (line, frame, connection) => {
    accept(line, frame);
    if (connection === 1 && isCall(frame, "sendMessageStreaming")) line.socket.send(new Uint8Array([1, 2, 3]));
    if (connection === 2 && isCall(frame, "sendMessageStreaming")) line.say(["nosuch"]);
    if (connection === 3 && isCall(frame, "sendMessageStreaming")) line.say(streamed(1, true));
  });
  const client = clientOf(t, server);
  await client.ready();
  assert.deepEqual(seqs(await drained(client.stream("hi"))), [1]);
  assert.equal(server.lines.length, 3);
});
