// Who holds back whom, and who lets go of what.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { EventCollector, hasReason } from "../dist/index.js";
import { clientOf, counted, drained, seqs, serve, until } from "./world.mjs";

/** The reference server's window, and what a stream holds for its reader here. */
const [WINDOW, BUFFER] = [32, 8];

test("a slow reader holds the server back and loses nothing", async (t) => {
  const server = await serve(t);
  const client = clientOf(t, server);
  const stream = client.stream("burst 2000", undefined, { buffer: BUFFER });
  let furthest = 0;
  const events = await drained(stream, async ({ seq }) => {
    if (seq % 400 !== 10) return;
    const [feed] = server.feeds;
    const before = feed.lastSeq;
    // Long enough for a server that nobody holds back to send everything.
    await sleep(60);
    furthest = Math.max(furthest, feed.lastSeq - seq);
    assert.ok(feed.lastSeq >= before);
  });
  assert.deepEqual(seqs(events), counted(2_002, 0));
  assert.ok(furthest > 0 && furthest <= WINDOW + BUFFER, `${furthest} events ahead of the reader`);
});

test("leaving the loop lets go of the subscription, and the task goes on", async (t) => {
  const server = await serve(t);
  const client = clientOf(t, server);
  const stream = client.stream("long");
  for await (const { seq } of stream) if (seq === 2) break;
  await until("the server has stopped calling", () => server.feeds.size === 0 && server.live.subscriptions === 0);
  assert.equal((await stream.ended).reason, "detached");
  const task = await client.getTask(await stream.taskId);
  assert.equal(task.status.state, "TASK_STATE_WORKING");
  await client.cancelTask(task.id);
});

test("a stream that was read to its end leaves nothing at the server", async (t) => {
  const server = await serve(t);
  const client = clientOf(t, server);
  for (let round = 0; round < 20; round++) await drained(client.stream("burst 5"));
  await until("all are released", () => server.feeds.size === 0 && server.live.subscriptions === 0);
  assert.equal(server.live.sessions, 1);
});

test("a signal closes a stream, also one that nobody has read", async (t) => {
  const server = await serve(t);
  const client = clientOf(t, server);
  const controller = new AbortController();
  const stream = client.stream("long", undefined, { signal: controller.signal });
  await stream.taskId;
  controller.abort();
  assert.equal((await stream.ended).reason, "detached");
  await until("it is released", () => server.live.subscriptions === 0);
  const late = client.stream("long", undefined, { signal: controller.signal });
  assert.deepEqual(await drained(late), []);
});

test("a stream that is closed while there is no line ends at once", async (t) => {
  const server = await serve(t);
  const states = [];
  const client = clientOf(t, server, { retry: { firstWaitMs: 60_000 }, onState: ({ status }) => states.push(status) });
  const stream = client.stream("long");
  await stream.taskId;
  await server.close();
  await until("the client waits for its next try", () => states.at(-1) === "waiting");
  stream.close();
  assert.equal((await stream.ended).reason, "detached");
});

test("a ReadableStream has the same events, and its cancel closes the stream", async (t) => {
  const server = await serve(t);
  const client = clientOf(t, server);
  const events = [];
  for await (const event of client.stream("burst 100").toReadableStream()) events.push(event);
  assert.deepEqual(seqs(events), counted(102, 0));
  const reader = client.stream("long").toReadableStream().getReader();
  assert.equal((await reader.read()).value.task.status.state, "TASK_STATE_SUBMITTED");
  await reader.cancel();
  await until("it is released", () => server.live.subscriptions === 0);
});

test("a task that is tied to its stream is canceled when its reader leaves", async (t) => {
  const server = await serve(t);
  const client = clientOf(t, server);
  const stream = client.stream("long", { cancelOnDrop: true });
  for await (const { seq } of stream) if (seq === 2) break;
  const task = server.world.tasks.get(await stream.taskId);
  await until("the task is canceled", () => task.state === "TASK_STATE_CANCELED");
});

test("a callback is called with one event at a time, in order, and then told the end", async (t) => {
  const client = clientOf(t, await serve(t));
  const calls = [];
  let running = 0;
  const note = async (call) => {
    running += 1;
    assert.equal(running, 1);
    await sleep(1);
    calls.push(call);
    running -= 1;
  };
  const subscription = client.sendMessageStreaming("stream 3 0", undefined, {
    onStatusUpdate: ({ seq }) => note(seq),
    onArtifactUpdate: ({ seq }) => note(seq),
    onEnd: (reason, lastSeq, error) => note([reason, lastSeq, error]),
  });
  assert.deepEqual(await subscription.ended, { reason: "completed", lastSeq: 6 });
  assert.deepEqual(calls, [1, 2, 3, 4, 5, 6, ["completed", 6, undefined]]);
});

test("a callback that throws gets no more calls, and the task goes on", async (t) => {
  const server = await serve(t);
  const client = clientOf(t, server);
  let calls = 0;
  const subscription = client.sendMessageStreaming("long", undefined, () => {
    calls += 1;
    throw new RangeError("I do not like it");
  });
  await assert.rejects(subscription.ended, RangeError);
  await until("it is released", () => server.live.subscriptions === 0 && server.feeds.size === 0);
  assert.equal(calls, 1);
  const [task] = server.world.tasks.values();
  assert.equal(task.isFinished, false);
});

test("a collector waits for the final event, and says in time that there is none", async (t) => {
  const client = clientOf(t, await serve(t));
  const collector = new EventCollector();
  client.sendMessageStreaming("stream 5 1ms", undefined, collector);
  const final = await collector.waitForFinal(5_000);
  assert.equal(final.statusUpdate.status.state, "TASK_STATE_COMPLETED");
  assert.deepEqual(seqs(collector.events()), counted(8, 0));
  assert.equal(collector.artifacts()[0].parts.length, 5);
  assert.equal(await collector.waitForFinal(), final);
  const endless = new EventCollector();
  const subscription = client.sendMessageStreaming("long", undefined, endless);
  await assert.rejects(endless.waitForFinal(50), (error) => hasReason(error, "DEADLINE_EXCEEDED"));
  subscription.close();
  await assert.rejects(endless.waitForFinal(5_000), (error) => hasReason(error, "NO_TASK"));
});

test("a closed client ends its streams and calls, and leaves nothing at the server", async (t) => {
  const server = await serve(t);
  const client = clientOf(t, server);
  const stream = client.stream("long");
  await stream.taskId;
  const reading = drained(stream);
  const sending = client.sendMessage("long");
  const isClosed = (error) => hasReason(error, "DISCONNECTED") && error.message.includes("closed");
  const both = Promise.all([assert.rejects(reading, isClosed), assert.rejects(sending, isClosed)]);
  await until("the send has arrived", () => server.world.begun === 2);
  client.close();
  client.close();
  await both;
  await assert.rejects(client.getTask("x"), isClosed);
  await until("all is released", () => server.connections() === 0 && server.feeds.size === 0);
  assert.deepEqual(server.live, { sessions: 0, subscriptions: 0 });
});
