// A page that has the bundle and nothing else, in Chromium, under a strict content security policy.

import assert from "node:assert/strict";
import { accessSync, constants } from "node:fs";
import { readFile } from "node:fs/promises";
import { once } from "node:events";
import { createServer } from "node:http";
import { delimiter, join } from "node:path";
import { test } from "node:test";
import { chromium } from "playwright-core";
import { startReferenceServer } from "../../../tests/peers/capnweb/reference-server.mjs";
import { counted, proxied, serve, until } from "./world.mjs";

const executablePath = process.env.CHROMIUM ?? inPath("chromium", "chromium-browser", "google-chrome");
const skip = executablePath === undefined && "there is no Chromium: name one in CHROMIUM";

const PAGE = `<!doctype html><meta charset="utf-8"><title>A2A</title><pre id="out"></pre>
<script type="module" src="/page.js"></script>`;

/** What a page does that follows a task and shows its text. */
const SCRIPT = `
import { connect, textOf } from "/bundle.js";
const address = new URLSearchParams(location.search).get("server");
const client = connect(address, "test-key", { retry: { firstWaitMs: 20, longestWaitMs: 200 } });
window.client = client;
window.states = [];
window.follow = async (text) => {
  window.seen = [];
  for await (const event of client.stream(text)) {
    seen.push(event.seq);
    if (event.artifactUpdate) out.textContent += textOf(event.artifactUpdate.artifact);
  }
  return seen;
};
window.ready = client.ready();
`;

/** A page of its own server, with what went wrong on it. */
async function open(t, address) {
  const bundle = await readFile(new URL("../dist/a2a-webcap.bundle.js", import.meta.url));
  const files = { "/": ["text/html", PAGE], "/page.js": ["text/javascript", SCRIPT], "/bundle.js": ["text/javascript", bundle] };
  const host = createServer((request, response) => {
    const [type, body] = files[new URL(request.url, "http://x").pathname] ?? ["text/plain", ""];
    const policy = "default-src 'none'; script-src 'self'; connect-src ws://127.0.0.1:*";
    response.writeHead(200, { "content-type": type, "content-security-policy": policy }).end(body);
  });
  host.listen(0, "127.0.0.1");
  await once(host, "listening");
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  t.after(async () => {
    await browser.close();
    host.close();
    host.closeAllConnections();
  });
  const page = await browser.newPage();
  const troubles = [];
  page.on("pageerror", (error) => troubles.push(String(error)));
  page.on("console", (message) => {
    // What Chromium says itself of a lost line; no page can keep it from that.
    const isLine = message.text().startsWith("WebSocket connection to");
    if (message.type() === "error" && !isLine) troubles.push(message.text());
  });
  await page.goto(`http://127.0.0.1:${host.address().port}/?server=${encodeURIComponent(address)}`);
  await page.evaluate(() => window.ready);
  return { page, troubles };
}

test("a page streams a task while its line is cut and its server restarted", { skip }, async (t) => {
  const first = await serve(t);
  const proxy = await proxied(t, first);
  const { page, troubles } = await open(t, proxy.url);
  const following = page.evaluate(() => window.follow("stream 60 15ms"));
  await page.waitForFunction(() => window.seen?.at(-1) >= 10);
  proxy.cut();
  await page.waitForFunction(() => window.seen.at(-1) >= 25);
  await first.close();
  const second = await startReferenceServer({ port: first.port, world: first.world });
  t.after(() => second.close());
  assert.deepEqual(await following, counted(63, 0));
  assert.equal(await page.textContent("#out"), counted(60).map((n) => `chunk ${n} of 60\n`).join(""));
  assert.ok(proxy.accepted >= 3);
  assert.equal(first.world.tasks.size, 1);
  assert.deepEqual(troubles, []);
});

test("a page that leaves its loop and closes its client leaves nothing at the server", { skip }, async (t) => {
  const server = await serve(t);
  const { page, troubles } = await open(t, server.url);
  await page.evaluate(async () => {
    for await (const event of window.client.stream("long").toReadableStream()) if (event.seq === 2) break;
    await window.client.whoAmI();
  });
  await until("it is released", () => server.live.subscriptions === 0);
  const error = await page.evaluate(() => window.client.getTask("nothing").catch(({ code, reason }) => ({ code, reason })));
  assert.deepEqual(error, { code: -32001, reason: "TASK_NOT_FOUND" });
  await page.evaluate(() => window.client.close());
  await until("the line is closed", () => server.connections() === 0);
  assert.deepEqual(troubles, []);
});

function inPath(...names) {
  const places = (process.env.PATH ?? "").split(delimiter).flatMap((folder) => names.map((name) => join(folder, name)));
  return places.find((place) => {
    try {
      accessSync(place, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
