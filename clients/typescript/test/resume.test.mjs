// What a lost line costs: nothing but time.

import assert from "node:assert/strict";
import { test } from "node:test";
import { hasReason } from "../dist/index.js";
import { clientOf, counted, dice, drained, proxied, seqs, serve, until } from "./world.mjs";
import { startReferenceServer } from "../../../tests/peers/capnweb/reference-server.mjs";

test("a stream that is cut in its middle goes on without gap or repeat", async (t) => {
  const server = await serve(t);
  const proxy = await proxied(t, server);
  const client = clientOf(t, proxy);
  const events = await drained(client.stream("stream 40 10ms"), ({ seq }) => {
    if (seq === 7 || seq === 20) proxy.cut();
  });
  assert.deepEqual(seqs(events), counted(43, 0));
  assert.equal(proxy.accepted, 3);
  assert.equal(server.world.tasks.size, 1);
  assert.deepEqual(events.filter(({ final }) => final).map(({ seq }) => seq), [43]);
});

test("cuts at random places of a fast stream lose and repeat nothing", async (t) => {
  const roll = dice(t);
  const server = await serve(t);
  const proxy = await proxied(t, server);
  const client = clientOf(t, proxy);
  let next = 1 + Math.floor(roll() * 100);
  let cuts = 0;
  const events = await drained(client.stream("burst 3000"), ({ seq }) => {
    if (seq >= next && seq < 3_000) {
      proxy.cut();
      cuts += 1;
      next = seq + 1 + Math.floor(roll() * 400);
    }
  });
  assert.deepEqual(seqs(events), counted(3_002, 0));
  assert.ok(cuts >= 5, `${cuts} cuts`);
});

test("a stream goes on after the server was restarted", async (t) => {
  const first = await serve(t);
  const client = clientOf(t, first);
  let second;
  const events = await drained(client.stream("stream 30 3ms"), async ({ seq }) => {
    if (seq === 5) {
      await first.close();
      second = await startReferenceServer({ port: first.port, world: first.world });
      t.after(() => second.close());
    }
  });
  assert.deepEqual(seqs(events), counted(33, 0));
  assert.equal(second.live.sessions, 1);
});

test("a subscription resumes after the number it was given", async (t) => {
  const server = await serve(t);
  const proxy = await proxied(t, server);
  const client = clientOf(t, proxy);
  const { task } = await client.sendMessage("burst 50");
  const events = await drained(client.follow(task.id, 10), ({ seq }) => seq === 20 && proxy.cut());
  assert.deepEqual(seqs(events), counted(52, 11));
});

test("a subscription without a number begins with a snapshot and then follows", async (t) => {
  const client = clientOf(t, await serve(t));
  const stream = client.stream("long");
  const taskId = await stream.taskId;
  const follower = client.follow(taskId);
  const events = await drained(follower, async ({ seq, task }) => {
    if (task) {
      assert.equal(task.id, taskId);
      assert.ok(seq >= 1);
      await client.cancelTask(taskId);
    }
  });
  const first = events[0].seq;
  assert.deepEqual(seqs(events), counted(events.at(-1).seq, first));
  assert.equal(events.at(-1).statusUpdate.status.state, "TASK_STATE_CANCELED");
});

test("a send's stream that is resumed still ends where the task waits for somebody", async (t) => {
  const server = await serve(t);
  const proxy = await proxied(t, server);
  const client = clientOf(t, proxy);
  // The task is known, but none of the events that tell how it goes on has arrived.
  await client.ready();
  const stream = client.stream("ask");
  const task = await new Promise((found) => {
    const look = setInterval(() => {
      const [task] = server.world.tasks.values();
      if (task) {
        clearInterval(look);
        found(task);
      }
    }, 0);
  });
  proxy.cut();
  const events = await drained(stream);
  assert.equal(events.at(-1).statusUpdate.status.state, "TASK_STATE_INPUT_REQUIRED");
  assert.equal(events.at(-1).final, true);
  assert.deepEqual(await stream.ended, { reason: "interrupted", lastSeq: 2 });
  assert.equal(task.state, "TASK_STATE_INPUT_REQUIRED");
});

test("a line on which nothing comes any more is given up and replaced", async (t) => {
  const server = await serve(t);
  const proxy = await proxied(t, server);
  const client = clientOf(t, proxy, { heartbeatMs: 150 });
  const events = await drained(client.stream("stream 20 5ms"), ({ seq }) => seq === 4 && proxy.mute());
  assert.deepEqual(seqs(events), counted(23, 0));
  assert.ok(proxy.accepted >= 2, `${proxy.accepted} connections`);
});

test("the credentials are asked for anew with each connection", async (t) => {
  const server = await serve(t);
  const proxy = await proxied(t, server);
  let asked = 0;
  const credentials = async () => {
    asked += 1;
    return { scheme: "Bearer", credentials: "test-key" };
  };
  const client = clientOf(t, proxy, { credentials });
  await client.ready();
  proxy.cut();
  await until("asked again", () => asked === 2);
  assert.equal((await client.whoAmI()).subject, "alice");
});

test("streams end with UNAUTHENTICATED if the server no longer takes the credentials", async (t) => {
  const first = await serve(t);
  const client = clientOf(t, first);
  const stream = client.stream("long");
  await assert.rejects(
    drained(stream, async ({ seq }) => {
      if (seq === 2) {
        await first.close();
        await serve(t, { port: first.port, world: first.world, keys: { "new-key": "alice" } });
      }
    }),
    (error) => hasReason(error, "UNAUTHENTICATED"),
  );
});

test("a client gives up after the tries it was allowed", async (t) => {
  const server = await serve(t);
  const states = [];
  const client = clientOf(t, server, { retry: { firstWaitMs: 1, tries: 3 }, onState: (state) => states.push(state.status) });
  const stream = client.stream("long");
  await assert.rejects(
    drained(stream, ({ seq }) => (seq === 2 ? server.close() : undefined)),
    (error) => hasReason(error, "DISCONNECTED"),
  );
  assert.deepEqual(states.filter((status) => status !== "connecting"), ["connected", "waiting", "waiting", "waiting", "failed"]);
});

test("events that the server no longer has end a subscription with GAP", async (t) => {
  const server = await serve(t);
  const client = clientOf(t, server);
  const { task } = await client.sendMessage("burst 20");
  server.world.tasks.get(task.id).firstKept = 10;
  await assert.rejects(drained(client.follow(task.id, 3)), (error) => hasReason(error, "GAP") && error.code === -31416);
  assert.deepEqual(seqs(await drained(client.follow(task.id, 9))), counted(22, 10));
});
