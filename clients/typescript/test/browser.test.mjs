// A page that has the bundle and nothing else, in Chromium, under a strict content security policy.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";
import { chromium } from "playwright-core";
import { KEY, chromiumPath as executablePath, startServer, withoutBrowser as skip, withoutServer } from "./binary.mjs";
import { startReferenceServer } from "../../../tests/peers/capnweb/reference-server.mjs";
import { counted, proxied, serve, until } from "./world.mjs";

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

/** A web server with these files beside the bundle, and a browser. */
async function host(t, files) {
  const bundle = await readFile(new URL("../dist/a2a-webcap.bundle.js", import.meta.url));
  const all = { ...files, "/bundle.js": ["text/javascript", bundle], "/a2a-webcap.bundle.js": ["text/javascript", bundle] };
  const host = createServer((request, response) => {
    const [type, body, policy] = all[new URL(request.url, "http://x").pathname] ?? ["text/plain", ""];
    response.writeHead(200, { "content-type": type, ...(policy && { "content-security-policy": policy }) }).end(body);
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
  return { page, troubles, all, origin: `http://127.0.0.1:${host.address().port}` };
}

/** A page of its own server, with what went wrong on it. */
async function open(t, address) {
  const policy = "default-src 'none'; script-src 'self'; connect-src ws://127.0.0.1:*";
  const { page, troubles, origin } = await host(t, { "/": ["text/html", PAGE, policy], "/page.js": ["text/javascript", SCRIPT] });
  await page.goto(`${origin}/?server=${encodeURIComponent(address)}`);
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

test("the page of ten lines in the README works as it stands there", { skip: skip || withoutServer }, async (t) => {
  const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
  const [, text] = /```html\n([^]*?)```/.exec(readme);
  assert.equal(text.trimEnd().split("\n").length, 10);
  const { page, all, origin, troubles } = await host(t, { "/favicon.ico": ["text/plain", ""] });
  const server = await startServer(t, { args: ["--allow-origin", origin] });
  const said = ["wss://agent.example/capnweb", "my-key"];
  for (const words of said) assert.ok(text.includes(words), words);
  all["/"] = ["text/html", text.replace(said[0], server.url).replace(said[1], KEY)];
  await page.goto(origin);
  await page.getByText("TASK_STATE_COMPLETED").waitFor();
  const chunks = counted(20).map((n) => `chunk ${n} of 20\n`).join("");
  assert.equal(await page.textContent("#out"), `${chunks}TASK_STATE_COMPLETED`);
  assert.deepEqual(troubles, []);
});
