// Sends, and the calls beside them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { A2AError, hasReason, textOf } from "../dist/index.js";
import { clientOf, counted, drained, proxied, seqs, serve, until } from "./world.mjs";

test("a send answers with the task when it is finished", async (t) => {
  const client = clientOf(t, await serve(t));
  const { task } = await client.sendMessage("stream 3 0");
  assert.equal(task.status.state, "TASK_STATE_COMPLETED");
  assert.equal(textOf(task), "chunk 1 of 3\nchunk 2 of 3\nchunk 3 of 3\n");
});

test("a send answers with a message where the agent does", async (t) => {
  const client = clientOf(t, await serve(t));
  assert.equal(textOf((await client.sendMessage("message good morning")).message), "good morning");
  const stream = client.stream("message good evening");
  const events = await drained(stream);
  assert.deepEqual(events.map(({ message, final }) => [textOf(message), final]), [["good evening", true]]);
  assert.equal((await stream.ended).reason, "completed");
  await assert.rejects(stream.taskId, (error) => hasReason(error, "NO_TASK"));
});

test("a send whose answer was lost is sent again and makes one task", async (t) => {
  const server = await serve(t);
  const proxy = await proxied(t, server);
  const client = clientOf(t, proxy);
  await client.ready();
  proxy.mute();
  const answer = client.sendMessage("stream 2 0");
  await until("the send has arrived", () => server.world.begun === 1);
  proxy.cut();
  assert.equal((await answer).task.status.state, "TASK_STATE_COMPLETED");
  assert.equal(server.world.begun, 1);
  assert.equal(server.world.tasks.size, 1);
});

test("a streaming send whose events were lost is sent again and makes one task", async (t) => {
  const server = await serve(t);
  const proxy = await proxied(t, server);
  const client = clientOf(t, proxy);
  await client.ready();
  proxy.mute();
  const stream = client.stream("stream 5 1ms");
  await until("the send has arrived", () => server.world.begun === 1);
  proxy.cut();
  assert.deepEqual(seqs(await drained(stream)), counted(8, 0));
  assert.equal(server.world.begun, 1);
});

test("without credentials a send whose answer was lost is not sent again", async (t) => {
  const server = await serve(t, { anonymous: true });
  const proxy = await proxied(t, server);
  const client = clientOf(t, proxy, { credentials: null });
  await client.ready();
  proxy.mute();
  const answer = client.sendMessage("stream 2 0");
  const stream = drained(client.stream("stream 2 0"));
  const isLost = (error) => hasReason(error, "DISCONNECTED");
  const both = Promise.all([assert.rejects(answer, isLost), assert.rejects(stream, isLost)]);
  await until("the sends have arrived", () => server.world.begun === 2);
  proxy.cut();
  await both;
  await client.info();
  assert.equal(server.world.begun, 2);
});

test("a message continues the task that it names", async (t) => {
  const client = clientOf(t, await serve(t));
  const { task } = await client.sendMessage("ask");
  assert.equal(task.status.state, "TASK_STATE_INPUT_REQUIRED");
  const events = await drained(client.stream({ taskId: task.id, parts: [{ text: "Ada" }] }));
  assert.deepEqual(seqs(events), [3, 4, 5]);
  assert.equal(textOf(events[1].artifactUpdate.artifact), "You said: Ada");
});

test("a cancel whose answer was lost still answers with the canceled task", async (t) => {
  const server = await serve(t);
  const proxy = await proxied(t, server);
  const client = clientOf(t, proxy);
  const taskId = await client.stream("long").taskId;
  proxy.mute();
  const canceled = client.cancelTask(taskId);
  await until("the cancel has arrived", () => server.world.tasks.get(taskId).isFinished);
  proxy.cut();
  assert.equal((await canceled).status.state, "TASK_STATE_CANCELED");
  await assert.rejects(client.cancelTask(taskId), (error) => hasReason(error, "TASK_NOT_CANCELABLE"));
});

test("tasks are listed page by page, and read with as much history as asked for", async (t) => {
  const client = clientOf(t, await serve(t));
  for (const text of ["burst 1", "burst 2", "burst 3"]) await client.sendMessage(text);
  const page = await client.listTasks({ pageSize: 2 });
  assert.equal(page.tasks.length, 2);
  assert.equal(page.totalSize, 3);
  const rest = await client.listTasks({ pageSize: 2, pageToken: page.nextPageToken });
  assert.equal(rest.tasks.length, 1);
  assert.equal(rest.nextPageToken, "");
  const { id } = rest.tasks[0];
  assert.equal((await client.getTask(id)).history.length, 1);
  assert.equal((await client.getTask(id, 0)).history, undefined);
});

test("errors have A2A's code, reason and details", async (t) => {
  const client = clientOf(t, await serve(t));
  const failure = async (call) => {
    const error = await call.then(
      () => assert.fail("it was answered"),
      (error) => error,
    );
    assert.ok(error instanceof A2AError, `${error}`);
    return [error.reason, error.code];
  };
  const { task } = await client.sendMessage("burst 1");
  assert.deepEqual(await failure(client.getTask("nothing")), ["TASK_NOT_FOUND", -32001]);
  assert.deepEqual(await failure(client.cancelTask(task.id)), ["TASK_NOT_CANCELABLE", -32002]);
  assert.deepEqual(await failure(client.getExtendedAgentCard()), ["UNSUPPORTED_OPERATION", -32004]);
  assert.deepEqual(await failure(client.sendMessage([])), ["INVALID_PARAMS", -32602]);
  assert.deepEqual(await failure(drained(client.stream([]))), ["INVALID_PARAMS", -32602]);
  assert.deepEqual(await failure(drained(client.follow("nothing", 0))), ["TASK_NOT_FOUND", -32001]);
  const again = { messageId: "m-1", parts: [{ text: "burst 1" }] };
  await client.sendMessage(again);
  assert.deepEqual(await failure(client.sendMessage({ ...again, parts: [{ text: "burst 2" }] })), ["CONFLICT", -31409]);
  const error = await client.sendMessage([]).catch((error) => error);
  assert.equal(error.details[0].reason, "INVALID_PARAMS");
  assert.deepEqual(error.details[1].fieldViolations, [{ field: "message.parts", description: "must have at least one element" }]);
});

test("a wrong key fails the calls that travel with it, and is told as it is", async (t) => {
  const client = clientOf(t, await serve(t), { credentials: "wrong" });
  const isRefused = (error) => hasReason(error, "UNAUTHENTICATED") && error.code === -31401;
  await Promise.all([
    assert.rejects(client.ready(), isRefused),
    assert.rejects(client.getTask("x"), isRefused),
    assert.rejects(drained(client.stream("burst 1")), isRefused),
  ]);
});

test("a wrong address is told after a few tries", async (t) => {
  const server = await serve(t);
  await server.close();
  const states = [];
  const client = clientOf(t, server, { onState: ({ status }) => states.push(status) });
  await assert.rejects(client.getTask("x"), (error) => hasReason(error, "DISCONNECTED"));
  assert.equal(states.filter((status) => status === "connecting").length, 5);
  assert.equal(states.at(-1), "failed");
});

test("a server that starts a little later than its client is found", async (t) => {
  const late = await serve(t);
  await late.close();
  const states = [];
  const client = clientOf(t, late, { retry: { firstWaitMs: 20, firstTries: 50, longestWaitMs: 20 }, onState: ({ status }) => states.push(status) });
  const sent = client.sendMessage("burst 1");
  await until("it has tried in vain", () => states.filter((status) => status === "waiting").length >= 2);
  await serve(t, { port: late.port, world: late.world });
  assert.equal((await sent).task.status.state, "TASK_STATE_COMPLETED");
});

test("what is no address of a WebSocket is told at once", async (t) => {
  const server = await serve(t);
  const states = [];
  const client = clientOf(t, { url: `${server.url}#fragment` }, { onState: ({ status }) => states.push(status) });
  await assert.rejects(client.getTask("x"), (error) => hasReason(error, "INVALID_PARAMS"));
  assert.deepEqual(states, ["connecting", "failed"]);
});

test("without access for everybody the operations need credentials", async (t) => {
  const server = await serve(t);
  const client = clientOf(t, server, { credentials: null });
  assert.equal((await client.getAgentCard()).name, "Demo");
  await assert.rejects(client.listTasks(), (error) => hasReason(error, "UNAUTHENTICATED"));
  await assert.rejects(client.whoAmI(), (error) => hasReason(error, "UNAUTHENTICATED"));
});
