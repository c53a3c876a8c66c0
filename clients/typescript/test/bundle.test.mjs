// The one file that pages load.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { WebSocket } from "ws";
import { drained, seqs, counted, serve } from "./world.mjs";

const BUNDLE = new URL("../dist/a2a-webcap.bundle.js", import.meta.url);

test("the bundle is small and has no words that browsers only learn now", async () => {
  const text = await readFile(BUNDLE, "utf8");
  assert.equal(/\busing [a-zA-Z_$]+\s*=/.test(text), false);
  const small = text.length < 100_000;
  assert.ok(small, `${text.length} characters`);
});

test("what a browser lacks is made before it is used", async () => {
  const text = await readFile(BUNDLE, "utf8");
  const made = text.indexOf("Symbol.dispose=");
  assert.ok(made > 0 && made < text.indexOf("[Symbol.dispose]"), `made at ${made}`);
});

test("the bundle works by itself", async (t) => {
  const { connect, newWebSocketRpcSession } = await import(BUNDLE);
  const server = await serve(t);
  const client = connect(server.url, "test-key", { WebSocket });
  t.after(() => client.close());
  assert.deepEqual(seqs(await drained(client.stream("burst 3"))), counted(5, 0));
  assert.equal(typeof newWebSocketRpcSession, "function");
});

test("the console has the bundle as it is built now", async () => {
  const [built, kept] = await Promise.all([readFile(BUNDLE), readFile(new URL("../../../examples/browser/a2a-webcap.js", import.meta.url))]);
  assert.ok(built.equals(kept), "it is older: npm run build, then node build-bundle.mjs --console, in clients/typescript");
});

test("the bundle says whose work is in it and on which terms", async () => {
  const text = await readFile(BUNDLE, "utf8");
  assert.ok(text.startsWith("/*\na2a-webcap (Apache-2.0)") && text.includes("Copyright (c) 2025 Cloudflare, Inc."));
});
