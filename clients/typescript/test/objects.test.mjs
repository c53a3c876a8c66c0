// The objects themselves, as a program that has only capnweb uses them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { RpcSession, RpcTarget } from "capnweb";
import { WebSocket } from "ws";
import { EventCollector, followTask, hasReason, newHttpBatchRpcSession, newWebSocketRpcSession, textOf } from "../dist/index.js";
import { clientOf, counted, drained, seqs, serve, until } from "./world.mjs";

globalThis.WebSocket ??= WebSocket;

const message = (text, messageId = crypto.randomUUID()) => ({ messageId, role: "ROLE_USER", parts: [{ text }] });

/** The object that everybody gets, over a line of its own. */
function bare(t, server) {
  const service = newWebSocketRpcSession(server.url);
  t.after(() => service[Symbol.dispose]());
  return service;
}

test("a collector takes the events of a pipelined send, and is let go of at the end", async (t) => {
  const server = await serve(t);
  const service = bare(t, server);
  const collector = new EventCollector();
  const started = service.authenticate("test-key").sendMessageStreaming(message("stream 3 0"), undefined, collector);
  assert.equal((await collector.waitForFinal(5_000)).seq, 6);
  assert.deepEqual(seqs(collector.events()), counted(6, 0));
  const { id } = await started.task.get();
  assert.equal(id, collector.events()[0].task.id);
  await until("the end is told", () => collector.end() !== undefined);
  assert.deepEqual(collector.end(), { reason: "completed", lastSeq: 6 });
});

test("a function and a plain object of functions are callbacks too", async (t) => {
  const service = bare(t, await serve(t));
  const session = await service.authenticate({ scheme: "Bearer", credentials: "test-key" });
  const heard = await new Promise((done) => {
    const events = [];
    session.sendMessageStreaming(message("stream 2 0"), undefined, (event) => {
      events.push(event);
      if (event.final) done(events);
    });
  });
  assert.deepEqual(seqs(heard), counted(5, 0));
  assert.equal(heard[1].statusUpdate.seq, 1);
  const states = await new Promise((done) => {
    const states = [];
    session.sendMessageStreaming(message("burst 2"), undefined, {
      onStatusUpdate: ({ status }) => void states.push(status.state),
      onEnd: (reason, lastSeq) => done([...states, reason, lastSeq]),
    });
  });
  assert.deepEqual(states, ["TASK_STATE_SUBMITTED", "TASK_STATE_COMPLETED", "completed", 4]);
});

test("a shared task can be claimed once, followed, and taken back", async (t) => {
  const server = await serve(t);
  const [alice, bob] = [clientOf(t, server), clientOf(t, server, { credentials: "other-key" })];
  const taskId = await alice.stream("long").taskId;
  await assert.rejects(bob.getTask(taskId), (error) => hasReason(error, "TASK_NOT_FOUND"));
  const session = await alice.session();
  const { secret, grant } = await session.task(taskId).share("observe", { label: "for Bob" });
  const service = await bob.service();
  const handle = await service.claim(secret);
  assert.equal((await handle.get()).id, taskId);
  await assert.rejects(Promise.resolve(handle.cancel()), { reason: "FORBIDDEN", code: -31403 });
  await assert.rejects(Promise.resolve(service.claim(secret)), { reason: "FORBIDDEN" });
  const seen = [];
  const following = drained(followTask(handle, 0), ({ seq }) => void seen.push(seq));
  const isRevoked = assert.rejects(following, (error) => hasReason(error, "REVOKED") && error.code === -31410);
  await until("events arrive", () => seen.length >= 2);
  assert.equal((await grant.info()).live, true);
  await grant.revoke();
  await isRevoked;
  await assert.rejects(Promise.resolve(handle.get()), { reason: "REVOKED" });
  assert.deepEqual(seen.slice(0, 2), [1, 2]);
  await alice.cancelTask(taskId);
});

test("a claimed task's stream ends with its connection", async (t) => {
  const server = await serve(t);
  const client = clientOf(t, server);
  const taskId = await client.stream("long").taskId;
  const session = await client.session();
  const handle = await session.task(taskId);
  const following = drained(followTask(handle, 0), ({ seq }) => seq === 2 && server.cut());
  await assert.rejects(following, (error) => hasReason(error, "DISCONNECTED"));
  assert.equal((await client.getTask(taskId)).id, taskId, "the client itself has come back");
});

test("a narrower session does less, and disposing of its grant takes it back", async (t) => {
  const client = clientOf(t, await serve(t));
  const session = await client.session();
  const { session: reader, grant } = await session.attenuate({ readOnly: true });
  assert.deepEqual((await reader.whoAmI()).permissions, ["read", "extended-card"]);
  await assert.rejects(Promise.resolve(reader.sendMessage(message("burst 1"))), { reason: "FORBIDDEN" });
  assert.deepEqual((await reader.listTasks()).tasks, []);
  grant[Symbol.dispose]();
  await assert.rejects(Promise.resolve(reader.listTasks()), { reason: "REVOKED" });
  assert.equal((await session.whoAmI()).subject, "alice");
});

test("disposing of a session that the client gave leaves the client its own", async (t) => {
  const client = clientOf(t, await serve(t));
  (await client.session())[Symbol.dispose]();
  (await client.service())[Symbol.dispose]();
  assert.equal((await client.whoAmI()).subject, "alice");
});

test("pipelined calls fit into one HTTP batch", async (t) => {
  const server = await serve(t);
  const batch = newHttpBatchRpcSession(server.url.replace("ws:", "http:"));
  const session = batch.authenticate("test-key");
  const [identity, answer] = await Promise.all([session.whoAmI(), session.sendMessage(message("burst 2"))]);
  assert.equal(identity.subject, "alice");
  assert.equal(textOf(answer.task.artifacts[0]), "0123456789abcdef".repeat(2));
});

test("a stream leaves no object behind on either side", async (t) => {
  const server = await serve(t);
  const lines = [];
  class Counted extends WebSocket {
    constructor(url) {
      super(url);
      lines.push(this);
    }
  }
  const client = clientOf(t, server, { WebSocket: Counted });
  await client.ready();
  const tables = { imports: new Map(), exports: new Map() };
  watch(lines[0], tables);
  for (let round = 0; round < 10; round++) await drained(client.stream("burst 100"));
  await until("all is released", () => server.live.subscriptions === 0 && server.feeds.size === 0);
  await client.whoAmI();
  await until("the frames agree", () => tables.exports.size === 0 && tables.imports.size === 0, 2_000);
});

/** Follows what the frames of a line introduce and release, from the client's side: its callbacks, the server's objects. */
function watch(socket, { imports, exports }) {
  const walk = (value, see) => {
    if (Array.isArray(value) && value[0] === "export") see(value[1]);
    if (typeof value === "object" && value !== null) for (const inner of Object.values(value)) walk(inner, see);
  };
  const frame = (text, introduced, released) => {
    const [type, id, count] = JSON.parse(text);
    if (type === "release" && id < 0) {
      const left = (released.get(id) ?? 0) - count;
      if (left === 0) released.delete(id);
      else released.set(id, left);
    } else {
      walk(JSON.parse(text), (export_) => introduced.set(export_, (introduced.get(export_) ?? 0) + 1));
    }
  };
  const send = socket.send;
  socket.send = (text, ...rest) => {
    frame(text, exports, imports);
    return send.call(socket, text, ...rest);
  };
  socket.on("message", (data) => frame(data.toString(), imports, exports));
}

test("a server that leaves an event out is found out", async (t) => {
  class Careless extends RpcTarget {
    authenticate() {
      return new Careless();
    }
    async subscribeToTask(id, callback) {
      const update = (seq) => ({ taskId: id, contextId: "c", status: { state: "TASK_STATE_WORKING" }, seq, final: false });
      await callback.onStatusUpdate(update(1));
      await callback.onStatusUpdate(update(3)).catch(() => {});
      return {};
    }
  }
  const client = clientOf(t, { url: "ws://nowhere.invalid" }, { WebSocket: looped(() => new Careless()) });
  const events = [];
  await assert.rejects(
    drained(client.follow("t", 0), (event) => void events.push(event)),
    (error) => hasReason(error, "INVALID_AGENT_RESPONSE") && error.message.includes("event 3 follows event 1"),
  );
  assert.deepEqual(seqs(events), [1]);
});

/** A WebSocket class whose server is in the same process. */
function looped(makeMain) {
  return class {
    readyState = 1;
    #listeners = [];
    #inbox = [];
    #reader;

    constructor() {
      const transport = {
        send: (text) => queueMicrotask(() => this.#listeners.forEach((listener) => listener({ data: text }))),
        receive: () => new Promise((resolve) => {
          this.#reader = resolve;
          this.#turn();
        }),
      };
      new RpcSession(transport, makeMain());
    }

    send(text) {
      this.#inbox.push(text);
      this.#turn();
    }

    close() {}

    addEventListener(type, listener) {
      if (type === "message") this.#listeners.push(listener);
    }

    #turn() {
      if (!this.#reader || this.#inbox.length === 0) return;
      const reader = this.#reader;
      this.#reader = undefined;
      reader(this.#inbox.shift());
    }
  };
}
