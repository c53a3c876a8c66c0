// The parts that need no line.

import assert from "node:assert/strict";
import { test } from "node:test";
import { A2AError, composed, connect, ERROR_CODES, freshId, textOf } from "../dist/index.js";
import { Position } from "../dist/position.js";
import { EventQueue } from "../dist/queue.js";
import { settled, waitAfter } from "../dist/retry.js";

test("events are taken in order and once", () => {
  const position = new Position(0);
  const taken = [1, 2, 1, 2, 3].map((seq) => position.takesEvent(seq, false));
  assert.deepEqual(taken, [true, true, false, false, true]);
  assert.equal(position.last, 3);
});

test("a gap and a number that is none are errors and move nothing", () => {
  const position = new Position(4);
  for (const seq of [6, 0, -1, 1.5, undefined, "5", Number.NaN, 2 ** 53]) {
    assert.throws(() => position.takesEvent(seq, false), { reason: "INVALID_AGENT_RESPONSE" }, String(seq));
  }
  assert.equal(position.last, 4);
});

test("a stream without a snapshot begins wherever its first event is", () => {
  const position = new Position();
  assert.deepEqual([17, 18].map((seq) => position.takesEvent(seq, false)), [true, true]);
});

test("the final event of a finished task comes after the snapshot that contains it, once", () => {
  const position = new Position();
  assert.equal(position.takesSnapshot(8), true);
  assert.equal(position.takesSnapshot(8), false);
  assert.equal(position.takesEvent(8, true), true);
  assert.equal(position.takesEvent(8, true), false);
  assert.equal(new Position(8).takesEvent(8, true), false);
});

test("a queue holds back whoever brings more than its bound, and lets on as it is read", async () => {
  const queue = new EventQueue(2);
  const rooms = [1, 2, 3, 4].map((item) => queue.push(item));
  assert.deepEqual(rooms.map((room) => room === undefined), [true, true, false, false]);
  let let_on = 0;
  for (const room of rooms) room?.then(() => (let_on += 1));
  assert.equal((await queue.next()).value, 1);
  await Promise.resolve();
  assert.equal(let_on, 1);
  assert.deepEqual([(await queue.next()).value, (await queue.next()).value], [2, 3]);
  await Promise.resolve();
  assert.equal(let_on, 2);
});

test("what came before a failure is read before it", async () => {
  const queue = new EventQueue(2);
  queue.push(1);
  queue.fail(new A2AError("REVOKED", "taken back"));
  assert.equal((await queue.next()).value, 1);
  await assert.rejects(queue.next(), { reason: "REVOKED" });
  assert.deepEqual(await queue.next(), { done: true, value: undefined });
});

test("a server that does not wait is cut off before it fills the memory", async () => {
  const queue = new EventQueue(1);
  for (let item = 0; item < 20_000; item++) queue.push(item);
  let read = 0;
  await assert.rejects(
    async () => {
      while (!(await queue.next()).done) read += 1;
    },
    { reason: "QUOTA" },
  );
  assert.equal(read, 1 + 16_384 + 1);
});

test("an abandoned queue lets everybody go", async () => {
  const queue = new EventQueue(1);
  queue.push(1);
  const room = queue.push(2);
  queue.abandon();
  await room;
  assert.deepEqual(await queue.next(), { done: true, value: undefined });
});

test("waits double up to the longest, less what chance leaves out", () => {
  const policy = settled({ firstWaitMs: 100, longestWaitMs: 1_000, jitter: 0.5 });
  assert.deepEqual([1, 2, 3, 4, 5, 9_999].map((failures) => waitAfter(failures, policy, 0)), [100, 200, 400, 800, 1_000, 1_000]);
  assert.equal(waitAfter(2, policy, 1), 100);
});

test("whatever is thrown becomes an error with a code", () => {
  const sent = Object.assign(new Error("gone"), { code: -32001, reason: "TASK_NOT_FOUND", details: [{ "@type": "x" }] });
  const error = A2AError.from(sent);
  assert.deepEqual([error.code, error.reason, error.message, error.details], [-32001, "TASK_NOT_FOUND", "gone", [{ "@type": "x" }]]);
  assert.equal(A2AError.from(error), error);
  assert.equal(A2AError.from(Object.assign(new Error("x"), { code: -31410 })).reason, "REVOKED");
  assert.equal(A2AError.from(new TypeError("'x' is not a function.")).code, ERROR_CODES.METHOD_NOT_FOUND);
  assert.equal(A2AError.from("odd").reason, "INTERNAL");
  assert.equal(A2AError.from(null).reason, "INTERNAL");
});

test("a message gets an id and a role unless it has them", () => {
  const { messageId, ...rest } = composed("hi");
  assert.match(messageId, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.deepEqual(rest, { role: "ROLE_USER", parts: [{ text: "hi" }] });
  assert.equal(composed({ messageId: "m", parts: [] }).messageId, "m");
});

test("ids are made where the platform makes none", (t) => {
  t.mock.getter(globalThis, "crypto", () => ({ getRandomValues: (bytes) => bytes.fill(0xff) }));
  assert.equal(freshId(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
});

test("the text of messages, artifacts and tasks", () => {
  const parts = [{ text: "a" }, { data: 1 }, { text: "b" }];
  assert.equal(textOf({ messageId: "m", role: "ROLE_AGENT", parts }), "a\nb");
  assert.equal(textOf({ artifactId: "a", parts }), "ab");
  assert.equal(textOf({ id: "t", status: {}, artifacts: [{ artifactId: "a", parts }] }), "ab");
  assert.equal(textOf(undefined), "");
});

test("addresses are read as people write them", (t) => {
  const asked = [];
  class Refusing {
    constructor(url) {
      asked.push(url);
      throw new SyntaxError("not today");
    }
  }
  for (const url of ["https://a.example", "http://a.example:8420/", "wss://a.example/x", new URL("ws://a.example/capnweb")]) {
    t.after(() => connect(url, "key", { WebSocket: Refusing }).close());
    connect(url, "key", { WebSocket: Refusing });
  }
  assert.deepEqual(asked, ["wss://a.example/capnweb", "ws://a.example:8420/capnweb", "wss://a.example/x", "ws://a.example/capnweb"]);
  assert.throws(() => connect("no address"), TypeError);
});

test("a platform without a WebSocket is told what to do", { skip: "WebSocket" in globalThis && "this platform has one" }, () => {
  assert.throws(() => connect("ws://127.0.0.1:1", "key"), /npm `ws`/);
});
