// The same promises against the server that this repository builds, with its store on a disk.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { EventCollector, followTask, hasReason, textOf } from "../dist/index.js";
import { KEY, startServer, withoutServer as skip } from "./binary.mjs";
import { clientOf, counted, dice, drained, proxied, seqs, until } from "./world.mjs";

const mine = { credentials: KEY };

test("a streamed task has every event once, and its text is whole", { skip }, async (t) => {
  const client = clientOf(t, await startServer(t), mine);
  const events = await drained(client.stream("stream 20 0"));
  assert.deepEqual(seqs(events), counted(23, 0));
  assert.equal(events.at(-1).statusUpdate.status.state, "TASK_STATE_COMPLETED");
  const collector = new EventCollector();
  await client.sendMessageStreaming("stream 20 0", undefined, collector).ended;
  assert.equal(textOf(collector.artifacts()[0]), counted(20).map((n) => `chunk ${n} of 20\n`).join(""));
  assert.deepEqual(seqs(collector.events()), counted(23, 0));
});

test("cuts at random places of a fast stream lose and repeat nothing, with a server that is real", { skip }, async (t) => {
  const roll = dice(t);
  const server = await startServer(t);
  const proxy = await proxied(t, server);
  const client = clientOf(t, proxy, mine);
  let next = 1 + Math.floor(roll() * 100);
  let cuts = 0;
  const events = await drained(client.stream("burst 3000"), ({ seq }) => {
    if (seq >= next && seq < 2_900) {
      proxy.cut();
      cuts += 1;
      next = seq + 1 + Math.floor(roll() * 400);
    }
  });
  assert.deepEqual(seqs(events), counted(3_002, 0));
  assert.ok(cuts >= 5, `${cuts} cuts`);
});

test("a server that was killed goes on with the stream where it was", { skip }, async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server, mine);
  let kills = 0;
  const events = await drained(client.stream("stream 60 20ms"), async ({ seq }) => {
    if (seq === 15 || seq === 35) {
      kills += 1;
      await server.restart();
    }
  });
  assert.equal(kills, 2);
  assert.deepEqual(seqs(events), counted(63, 0));
  const text = textOf(await client.getTask(events[0].task.id));
  assert.equal(text, counted(60).map((n) => `chunk ${n} of 60\n`).join(""));
});

test("a task that asks is answered, and one that goes on for ever is canceled", { skip }, async (t) => {
  const client = clientOf(t, await startServer(t), mine);
  const asked = await drained(client.stream("ask"));
  const taskId = asked[0].task.id;
  assert.equal(asked.at(-1).statusUpdate.status.state, "TASK_STATE_INPUT_REQUIRED");
  const { task } = await client.sendMessage({ parts: [{ text: "Dana" }], taskId });
  assert.equal(textOf(task), "You said: Dana");
  const stream = client.stream("long");
  const events = await drained(stream, async ({ seq }) => seq === 2 && client.cancelTask(await stream.taskId));
  assert.equal(events.at(-1).statusUpdate.status.state, "TASK_STATE_CANCELED");
});

test("a message comes instead of a task, and an error has its code", { skip }, async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server, mine);
  const [only] = await drained(client.stream("message hello"));
  assert.equal(textOf(only.message), "hello");
  await assert.rejects(client.getTask("nothing"), (error) => hasReason(error, "TASK_NOT_FOUND") && error.code === -32001);
  const wrong = clientOf(t, server, { credentials: `${KEY}-not` });
  await assert.rejects(wrong.ready(), (error) => hasReason(error, "UNAUTHENTICATED"));
});

test("a shared task is watched by its link's holder, no further than its role goes, until it is taken back", { skip }, async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server, mine);
  const stream = client.stream("long");
  const taskId = await stream.taskId;
  const session = await client.session();
  const { secret, grant } = await session.task(taskId).share("observe", { label: "Dana" });
  const guest = clientOf(t, server, { credentials: null });
  const handle = await (await guest.service()).claim(secret);
  await assert.rejects(async () => await handle.cancel(), { reason: "FORBIDDEN" });
  await assert.rejects(async () => await (await guest.service()).claim(secret).get(), { reason: "UNAUTHENTICATED" });
  const seen = [];
  await assert.rejects(
    drained(followTask(handle, 0), async ({ seq }) => {
      seen.push(seq);
      if (seq === 2) await grant.revoke();
    }),
    (error) => hasReason(error, "REVOKED") && error.message.includes("Dana"),
  );
  assert.deepEqual(seen.slice(0, 2), [1, 2]);
  await client.cancelTask(taskId);
});

/** A key's entry in a configuration, which ends so many milliseconds from now; or never. */
const entry = (key, lastsMs) => `[[keys]]
subject = "alice"
sha256 = "${createHash("sha256").update(key).digest("hex")}"
${lastsMs === undefined ? "" : `expires = "${new Date(Date.now() + lastsMs).toISOString()}"`}
`;

test("a session is renewed before it ends, and what was got from it goes on", { skip }, async (t) => {
  const [short, long] = [`${KEY}-short`, `${KEY}-long`];
  const server = await startServer(t, { config: entry(short, 6_000) + entry(long) });
  const proxy = await proxied(t, server);
  const asked = [];
  const client = clientOf(t, proxy, {
    credentials: (refused) => {
      asked.push(refused);
      return asked.length === 1 ? short : long;
    },
  });
  const session = await client.session();
  const { expires } = await client.whoAmI();
  await until("it is renewed", () => asked.length === 2, 10_000);
  await sleep(Math.max(0, Date.parse(expires) - Date.now()) + 100);
  assert.equal((await session.whoAmI()).expires, undefined);
  assert.equal(proxy.accepted, 1);
  assert.deepEqual(asked, [undefined, undefined]);
});

test("a session that has expired is followed by another, and a stream goes on over it", { skip }, async (t) => {
  const [short, long] = [`${KEY}-short`, `${KEY}-long`];
  const server = await startServer(t, { config: entry(short, 4_000) + entry(long) });
  let asked = 0;
  let isLate = false;
  const client = clientOf(t, server, {
    credentials: () => {
      asked += 1;
      // The source has nothing fresh in time, and only then.
      if (asked === 2) throw new Error("not yet");
      isLate = asked > 2;
      return asked === 1 ? short : long;
    },
  });
  const events = await drained(client.stream("stream 60 100ms"));
  assert.deepEqual(seqs(events), counted(63, 0));
  assert.ok(isLate, `asked ${asked} times`);
});

test("an expired session is the answer where there are no other credentials", { skip }, async (t) => {
  const server = await startServer(t, { config: entry(KEY, 3_000) });
  const client = clientOf(t, server, mine);
  await assert.rejects(drained(client.stream("long")), (error) => hasReason(error, "REVOKED"));
});

test("whoever gives credentials is told once that they were refused, and may give others", { skip }, async (t) => {
  const server = await startServer(t);
  const told = [];
  const credentials = (refused) => {
    told.push(refused?.reason);
    return refused ? KEY : `${KEY}-old`;
  };
  const client = clientOf(t, server, { credentials });
  assert.equal((await client.sendMessage("message hello")).message.role, "ROLE_AGENT");
  assert.deepEqual(told, [undefined, "UNAUTHENTICATED"]);
  let asked = 0;
  const stubborn = clientOf(t, server, { credentials: () => (asked++, `${KEY}-old`) });
  await assert.rejects(stubborn.ready(), (error) => hasReason(error, "UNAUTHENTICATED"));
  assert.equal(asked, 2);
});
