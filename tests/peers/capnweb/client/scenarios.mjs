// What a page does with the server, on the npm library.

import assert from "node:assert/strict";
import { open, until } from "./connection.mjs";
import { members, single, target, Told } from "./observers.mjs";

let counter = 0;
export const message = (text) => ({ messageId: `node-${process.pid}-${++counter}`, role: "ROLE_USER", parts: [{ text }] });

/** A session is open, and nothing else. */
async function begin({ rpc, url, key }) {
  const connection = await open(rpc, url);
  const session = await connection.api.authenticate(key);
  return { ...connection, session, before: connection.stats() };
}

/** All is let go on our side: what we hold is what we held. */
async function isAsBefore({ stats, before }) {
  await until("our tables are as before", () => {
    const now = stats();
    return now.imports === before.imports && now.exports === before.exports;
  });
}

export const scenarios = {
  /** Authenticate and a streaming send leave in three frames before any answer. */
  async trace({ rpc, url, key }) {
    const { api, frames, close, stats } = await open(rpc, url);
    const told = new Told();
    const session = api.authenticate(key);
    const promise = session.sendMessageStreaming(message("stream 3 0ms"), target(rpc, told));
    const { task, subscription } = await promise;
    await told.ended();
    await until("the callback is let go", () => told.disposed === 1);
    assert.deepEqual(told.seqs(), [1, 2, 3, 4, 5, 6]);
    assert.equal(told.finals(), 1);
    assert.deepEqual(told.end.slice(0, 2), ["completed", 6]);
    assert.equal((await task.get()).status.state, "TASK_STATE_COMPLETED");
    const recorded = structuredClone(frames);
    for (const held of [session, promise, task, subscription]) held[Symbol.dispose]();
    await until("the tables are empty", () => stats().imports <= 1 && stats().exports <= 1);
    await close();
    return { frames: recorded };
  },

  /** An object, an `RpcTarget` and a function are called each in its way. */
  async callbacks(world) {
    const { session, close } = await begin(world);
    const shapes = [(told) => target(world.rpc, told), (told) => members(told), (told) => single(told)];
    for (const shape of shapes) {
      const told = new Told();
      await session.sendMessageStreaming(message("stream 3 0ms"), { historyLength: 0 }, shape(told));
      await told.ended();
      assert.deepEqual(told.seqs(), [1, 2, 3, 4, 5, 6]);
      assert.deepEqual(told.calls[0][0], "onTask");
    }
    const told = new Told();
    const { task } = await session.sendMessage(message("stream 2 0ms"));
    await session.subscribeToTask(task.id, members(told, ["onStatusUpdate"]), 0);
    await told.ended();
    assert.deepEqual(told.calls.map(([method]) => method), ["onStatusUpdate", "onStatusUpdate", "onStatusUpdate"]);
    await close();
  },

  /** A task is cancelled, which its stream tells last. */
  async cancel(world) {
    const { session, close } = await begin(world);
    const told = new Told();
    const { task } = await session.sendMessageStreaming(message("stream 1000 50ms"), target(world.rpc, told));
    await until("it works", () => told.calls.length > 2);
    const canceled = await task.cancel();
    assert.equal(canceled.status.state, "TASK_STATE_CANCELED");
    await told.ended();
    assert.equal(told.calls.at(-1)[1].status.state, "TASK_STATE_CANCELED");
    assert.equal(told.calls.at(-1)[1].final, true);
    await close();
  },

  /** After a lost connection the stream goes on after the last event, on another. */
  async resume(world) {
    const first = await begin(world);
    const told = new Told();
    const { task } = await first.session.sendMessageStreaming(message("stream 30 10ms"), target(world.rpc, told));
    const { id } = await task.get();
    await until("some have come", () => told.seqs().length >= 5);
    first.socket.terminate();
    const after = told.seqs().at(-1);

    const second = await begin(world);
    const rest = new Told();
    await second.session.subscribeToTask(id, target(world.rpc, rest), after);
    await rest.ended();
    assert.equal(rest.seqs()[0], after + 1);
    assert.deepEqual([...told.seqs(), ...rest.seqs()], Array.from({ length: 33 }, (_, n) => n + 1));
    await second.close();
  },

  /** An error has what a program should know, on clients that read it. */
  async errors(world) {
    const { api, session, close } = await begin(world);
    const thrown = await session.getTask("nothing").then(assert.fail, (error) => error);
    assert.ok(thrown instanceof Error);
    assert.match(thrown.message, /^task not found/);
    const missing = await session.noSuchMethod().then(assert.fail, (error) => error);
    assert.ok(missing instanceof TypeError);
    const pipelined = await api.authenticate("no key of this server, and long enough").listTasks().then(assert.fail, (error) => error);
    const invalid = await session.sendMessage({ messageId: "m" }).then(assert.fail, (error) => error);
    await close();
    return {
      thrown: { code: thrown.code, reason: thrown.reason, domain: thrown.details?.[0].domain },
      pipelined: { code: pipelined.code, reason: pipelined.reason },
      invalid: { code: invalid.code, field: invalid.details?.[1].fieldViolations[0].field },
    };
  },

  /** What is disposed is gone on both sides; the connection and the session stay. */
  async disposal(world) {
    const connection = await begin(world);
    const { session } = connection;
    const told = new Told();
    const started = await session.sendMessageStreaming(message("stream 1000 50ms"), target(world.rpc, told));
    await until("it works", () => told.calls.length > 2);
    started.subscription[Symbol.dispose]();
    assert.deepEqual((await told.ended())[0], "detached");
    await until("the callback is disposed", () => told.disposed === 1);
    await started.task.cancel();
    started[Symbol.dispose]();
    await isAsBefore(connection);
    return { connection };
  },

  /** The results of a call are gone through at the server. */
  async map(world) {
    const { session, close } = await begin(world);
    await session.sendMessage(message("stream 1 0ms"));
    await session.sendMessage(message("stream 2 0ms"));
    const ids = await session.listTasks().tasks.map((task) => task.id);
    const states = await session.listTasks().tasks.map((task) => session.getTask(task.id).status.state);
    assert.deepEqual(states, ids.map(() => "TASK_STATE_COMPLETED"));
    assert.ok(ids.length >= 2);
    await close();
  },

  /** Without a callback the events come as a stream, in order and at the reader's pace. */
  async stream(world) {
    const connection = await begin(world);
    const { session, close } = connection;
    const started = await session.sendMessageStreaming(message("stream 300 0ms"));
    const elements = [];
    for await (const element of started.events) {
      // A reader that is slower than the task.
      if (elements.length % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      elements.push(element);
    }
    const { id } = await started.task.get();
    assert.equal(elements[0].task.id, id);
    assert.deepEqual(elements.map((element) => element.seq), Array.from({ length: 304 }, (_, n) => n));
    assert.deepEqual(elements.filter((element) => element.final), [elements.at(-1)]);
    assert.equal(elements.at(-1).statusUpdate.status.state, "TASK_STATE_COMPLETED");

    const again = await session.subscribeToTask(id, undefined, 300);
    const seqs = [];
    for await (const { seq } of again.events) seqs.push(seq);
    assert.deepEqual(seqs, [301, 302, 303]);
    const handle = await started.task.subscribe(null, 302);
    const last = [];
    for await (const { seq } of handle.events) last.push(seq);
    assert.deepEqual(last, [303]);
    // The stream alone, without waiting for the rest of the answer.
    const alone = [];
    const promise = session.sendMessageStreaming(message("stream 1 0ms"));
    for await (const { seq } of await promise.events) alone.push(seq);
    assert.deepEqual(alone, [0, 1, 2, 3, 4]);
    for (const result of [started, again, handle, promise]) result[Symbol.dispose]();
    await isAsBefore(connection);
    await close();
  },

  /** A reader that cancels is not sent to any more, and leaves nothing behind. */
  async streamCancel(world) {
    const connection = await begin(world);
    const { session } = connection;
    const started = await session.sendMessageStreaming(message("stream 1000 20ms"));
    const reader = started.events.getReader();
    for (let n = 0; n < 5; ++n) assert.equal((await reader.read()).value.seq, n);
    await reader.cancel();
    // The task goes on: it can be read of in another way, to its end.
    assert.equal((await started.task.get()).status.state, "TASK_STATE_WORKING");
    return { connection, started };
  },

  /** A stream whose authority is taken back breaks off with the reason. */
  async streamRevoke(world) {
    const connection = await begin(world);
    const { session: narrow, grant } = await connection.session.attenuate({});
    const started = await narrow.sendMessageStreaming(message("stream 1000 20ms"));
    const reader = started.events.getReader();
    const read = [];
    for (let n = 0; n < 4; ++n) read.push((await reader.read()).value.seq);
    await grant.revoke();
    const error = await (async () => {
      for (;;) assert.equal((await reader.read()).done, false, "not a normal end");
    })().catch((error) => error);
    const called = await started.task.get().then(assert.fail, (error) => error);
    await connection.close();
    return { message: error.message, code: error.code, reason: error.reason, end: error.end, called: called.code };
  },

  /** Calls that depend on each other in one POST; callbacks and streams are refused at once. */
  async batch({ rpc, url, key }) {
    const api = rpc.newHttpBatchRpcSession(url);
    const session = api.authenticate(key);
    const sent = session.sendMessage(message("stream 1 0ms"));
    const [who, state, missing, streamed] = await Promise.all([
      session.whoAmI(),
      session.getTask(sent.task.id).status.state,
      session.getTask("nothing").then(assert.fail, (error) => error.message),
      session.sendMessageStreaming(message("stream 1 0ms"), () => {}).then(assert.fail, (error) => error.message),
    ]);
    assert.equal(who.subject, "alice");
    assert.equal(state, "TASK_STATE_COMPLETED");
    assert.match(missing, /^task not found/);
    assert.match(streamed, /WebSocket/);
  },

  /** After a thousand events to a callback the tables are as they were. */
  async thousand(world) {
    const connection = await begin(world);
    const told = new Told();
    const started = await connection.session.sendMessageStreaming(message("stream 997 0ms"), target(world.rpc, told));
    await told.ended();
    assert.equal(told.seqs().length, 1000);
    const during = connection.stats();
    assert.ok(during.exports <= connection.before.exports + 1, JSON.stringify(during));
    started[Symbol.dispose]();
    await isAsBefore(connection);
    await connection.close();
    return { before: connection.before, after: connection.stats() };
  },

  /** A2A 0.3 on one session. */
  async old({ rpc, url, key }) {
    const { api, close } = await open(rpc, url);
    const session = await api.authenticate({ scheme: "ApiKey", credentials: key, version: "0.3" });
    const say = (text) => ({ kind: "message", messageId: `old-${process.pid}-${++counter}`, role: "user", parts: [{ kind: "text", text }] });
    const task = await session.sendMessage(say("stream 1 0ms"), { blocking: true });
    assert.deepEqual([task.kind, task.status.state], ["task", "completed"]);
    const told = new Told();
    await session.sendMessageStreaming(say("stream 2 0ms"), target(rpc, told));
    await told.ended();
    assert.deepEqual(told.calls.map(([, event]) => event.kind), ["task", "status-update", "status-update", "artifact-update", "artifact-update", "status-update"]);
    assert.deepEqual(told.calls.map(([, event]) => event.final), [false, false, false, false, false, true]);
    const { events } = await session.sendMessageStreaming(say("stream 1 0ms"));
    const kinds = [];
    for await (const element of events) kinds.push(element.kind);
    assert.deepEqual(kinds, ["task", "status-update", "status-update", "artifact-update", "status-update"]);
    await close();
  },
};
