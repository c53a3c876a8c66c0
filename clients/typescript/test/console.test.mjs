// The console as a person uses it: Chromium, the page that `serve` gives out, and the store on a disk.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { textOf } from "../dist/index.js";
import { KEY, startServer, withoutBrowser, withoutServer } from "./binary.mjs";
import { browse, listed, logIn, reaches, sendText, stands } from "./page.mjs";
import { clientOf, counted, proxied } from "./world.mjs";

const skip = withoutServer || withoutBrowser;

/** A server, and somebody who is logged in on its page. */
async function loggedIn(t, options, settings) {
  const server = await startServer(t, options);
  const browser = await browse(t);
  const { page, troubles } = await browser.open(server.page, settings);
  await logIn(page);
  return { server, browser, page, troubles };
}

const chunks = (count) => counted(count).map((n) => `chunk ${n} of ${count}\n`).join("");

test("somebody logs in, chats, and sees the events of a task as they come", { skip }, async (t) => {
  const { page, troubles } = await loggedIn(t);
  await page.getByRole("heading", { name: "Demo" }).waitFor();
  const card = await sendText(page, "stream 20 50ms");
  await reaches(card, 5);
  await stands(card, "Working");
  const early = await card.locator(".artifact pre").textContent();
  assert.ok(early.startsWith("chunk 1 of 20\n") && early.length < chunks(20).length, "it grows while the agent works");
  await stands(card, "Completed");
  await reaches(card, 23);
  assert.equal(await card.locator(".artifact pre").textContent(), chunks(20));
  assert.deepEqual(await listed(card), counted(23));
  assert.equal(await card.locator(".events summary").textContent(), "23 events, none missing");
  assert.equal(await page.locator("#connection-text").textContent(), "Connected");

  const asks = await sendText(page, "ask");
  await asks.getByLabel("Your answer").fill("Dana");
  await page.keyboard.press("Enter");
  await stands(asks, "Completed");
  await asks.getByText("You said: Dana").waitFor();
  const says = await sendText(page, "message hello");
  await stands(says, "Answered");
  assert.deepEqual(troubles, []);
});

test("a task is canceled, and one that fails says why", { skip }, async (t) => {
  const { page, troubles } = await loggedIn(t);
  const long = await sendText(page, "long");
  await reaches(long, 2);
  await long.getByRole("button", { name: "Write to it" }).click();
  await long.getByLabel("Your message").fill("hurry");
  await page.keyboard.press("Enter");
  await long.getByText("I heard you: hurry").first().waitFor();
  await long.getByRole("button", { name: "Cancel" }).click();
  await stands(long, "Canceled");
  await long.getByRole("button", { name: "Cancel" }).waitFor({ state: "hidden" });
  const fails = await sendText(page, "fail no paper");
  await stands(fails, "Failed");
  await fails.getByText("no paper").first().waitFor();
  assert.deepEqual(troubles, []);
});

test("the network is cut in the middle of a stream, and the events go on without gap or repeat", { skip }, async (t) => {
  const server = await startServer(t);
  const proxy = await proxied(t, server);
  const { page, troubles } = await (await browse(t)).open(`${proxy.url.replace("ws:", "http:").replace("/capnweb", "")}/console/`);
  await logIn(page);
  const card = await sendText(page, "stream 120 50ms");
  await reaches(card, 10);
  proxy.cut();
  await page.getByText(/^Resumed after event \d+$/).waitFor();
  await reaches(card, 40);
  proxy.cut();
  await stands(card, "Completed");
  await reaches(card, 123);
  assert.deepEqual(await listed(card), counted(123));
  assert.equal(await card.locator(".artifact pre").textContent(), chunks(120));
  assert.equal(await card.locator(".events .note").count(), 2);
  assert.deepEqual(troubles, []);
});

test("the server is killed and started again in the middle of a stream, and the events go on without gap", { skip }, async (t) => {
  const { server, page, troubles } = await loggedIn(t);
  const card = await sendText(page, "stream 60 50ms");
  await reaches(card, 10);
  await server.kill();
  await page.getByText(/^Reconnecting/).waitFor();
  await server.restart();
  await page.getByText(/^Resumed after event \d+$/).waitFor();
  await stands(card, "Completed");
  await reaches(card, 63);
  assert.deepEqual(await listed(card), counted(63));
  assert.equal(await card.locator(".artifact pre").textContent(), chunks(60));
  assert.deepEqual(troubles, []);
});

/** Shares a card's task on its page; the link. */
async function share(page, card, role) {
  await card.getByRole("button", { name: "Share" }).click();
  await page.getByLabel(role, { exact: true }).check();
  await page.getByLabel("For whom").fill("Dana");
  await page.getByRole("button", { name: "Make the link" }).click();
  await page.locator("#share-made").waitFor();
  const link = await page.getByLabel("Send this link").inputValue();
  await page.getByRole("button", { name: "Done" }).click();
  return link;
}

test("a task is shared by a link, watched by another person, and taken back", { skip }, async (t) => {
  const { server, browser, page, troubles } = await loggedIn(t);
  const card = await sendText(page, "long");
  await reaches(card, 2);
  const link = await share(page, card, "watch");
  assert.ok(new URL(link).hash.includes("a2ashare_") && !new URL(link).search, "the secret stands behind the #");

  const guest = await browser.open(link);
  assert.equal(guest.page.url(), server.page, "the secret leaves the address at once");
  await guest.page.getByText("You may watch.").waitFor();
  await guest.page.getByRole("button", { name: "Open the task" }).click();
  const seen = guest.page.locator(".task");
  await reaches(seen, 3);
  assert.equal((await listed(seen))[0], 1, "from the first event on");
  assert.equal(await seen.getByRole("button").count(), 0, "there is nothing to steer it with");

  const late = await browser.open(link);
  await late.page.getByRole("button", { name: "Open the task" }).click();
  await late.page.getByText("Ask whoever sent it for a new one.").waitFor();

  await card.getByRole("button", { name: "Take back from Dana" }).click();
  await stands(seen, "Taken back");
  await seen.getByText("This capability (Dana) was revoked by developer").waitFor();
  await card.getByText("Taken back from Dana").waitFor();
  const last = (await listed(seen)).at(-1);
  await reaches(card, last + 2);
  assert.equal((await listed(seen)).at(-1), last, "nothing comes any more");
  assert.deepEqual([...troubles, ...guest.troubles, ...late.troubles], []);
});

test("a link's role is the server's to judge, whatever the page of its holder thinks", { skip }, async (t) => {
  const { browser, page, troubles } = await loggedIn(t);
  const card = await sendText(page, "long");
  await reaches(card, 2);
  const link = await share(page, card, "watch");
  const forged = await browser.open(link.replace("as=observe", "as=control"));
  await forged.page.getByRole("button", { name: "Open the task" }).click();
  const seen = forged.page.locator(".task");
  await seen.getByRole("button", { name: "Cancel" }).click();
  await seen.locator('[data-reason="FORBIDDEN"]').waitFor();
  await stands(seen, "Working");
  assert.deepEqual([...troubles, ...forged.troubles], []);
});

test("whoever was given a task to steer answers it, and its owner sees that", { skip }, async (t) => {
  const { browser, page, troubles } = await loggedIn(t);
  const card = await sendText(page, "ask");
  await stands(card, "Waits for you");
  const guest = await browser.open(await share(page, card, "watch, and answer when the agent asks"));
  await guest.page.getByRole("button", { name: "Open the task" }).click();
  await guest.page.getByLabel("Your answer").fill("Eve");
  await guest.page.keyboard.press("Enter");
  for (const place of [guest.page.locator(".task"), card]) {
    await stands(place, "Completed");
    await place.getByText("You said: Eve").waitFor();
  }
  assert.deepEqual([...troubles, ...guest.troubles], []);
});

test("a share ends with the connection that it was made on, and both sides are told", { skip }, async (t) => {
  const server = await startServer(t);
  const proxy = await proxied(t, server);
  const browser = await browse(t);
  const { page, troubles } = await browser.open(`http://127.0.0.1:${new URL(proxy.url).port}/console/`);
  await logIn(page);
  const card = await sendText(page, "long");
  await reaches(card, 2);
  const link = await share(page, card, "watch");
  // The guest comes by another way, which is not cut.
  const guest = await browser.open(link.replace(new URL(proxy.url).port, server.port));
  await guest.page.getByRole("button", { name: "Open the task" }).click();
  await reaches(guest.page.locator(".task"), 2);
  proxy.cut();
  await card.getByText("No longer shared with Dana").waitFor();
  await stands(guest.page.locator(".task"), "Taken back");
  assert.deepEqual([...troubles, ...guest.troubles], []);
});

test("what an agent says is text wherever it stands, whatever it looks like", { skip }, async (t) => {
  const { page, troubles } = await loggedIn(t);
  const evil = `<img src=x onerror="window.hacked = true"><script>window.hacked = true</script><a href="javascript:hacked=1">x</a>`;
  const shown = (place) => place.getByText(evil).first().waitFor();
  const nothingRan = async () => {
    assert.equal(await page.locator("img, main script, main a").count(), 0);
    assert.equal(await page.evaluate(() => window.hacked), undefined);
  };
  // An artifact, a message, the reason of a failure, and what is said of progress.
  await shown((await sendText(page, evil)).locator(".artifact"));
  await shown((await sendText(page, `message ${evil}`)).locator(".thread"));
  await shown((await sendText(page, `fail ${evil}`)).locator(".thread"));
  const long = await sendText(page, "long");
  await reaches(long, 2);
  await long.getByRole("button", { name: "Write to it" }).click();
  await long.getByLabel("Your message").fill(evil);
  await page.keyboard.press("Enter");
  await shown(long.locator(".thread"));
  await long.locator(".events summary").click();
  await long.getByText(`working: I heard you: ${evil.slice(0, 80)}`).waitFor();
  await nothingRan();
  await page.reload();
  await page.getByText("Earlier tasks").click();
  await shown(page.locator("#earlier-list"));
  await nothingRan();
  assert.deepEqual(troubles, []);
});

test("a wrong key is refused with what to do, and is not kept", { skip }, async (t) => {
  const server = await startServer(t);
  const { page, troubles } = await (await browse(t)).open(server.page);
  await page.getByLabel("API key or token").fill(`${KEY}-not`);
  await page.keyboard.press("Enter");
  await page.getByRole("alert").getByText("Look for a missing or an extra character").waitFor();
  const kept = () => page.evaluate(() => [JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie]);
  assert.deepEqual(await kept(), ["{}", "{}", ""]);
  await logIn(page);
  const [local, session, cookies] = await kept();
  assert.deepEqual([local, cookies], ["{}", ""]);
  assert.ok(session.includes(KEY), "until the tab is closed");
  assert.ok(!page.url().includes(KEY));
  assert.deepEqual(troubles, []);
});

test("after a reload the key is known, earlier tasks are there, and one that goes on is seen from its first event", { skip }, async (t) => {
  const { page, troubles } = await loggedIn(t);
  const card = await sendText(page, "long");
  await reaches(card, 3);
  await page.reload();
  await page.getByText("Earlier tasks").click();
  await page.getByRole("button", { name: "long" }).first().click();
  const again = page.locator(".task");
  await reaches(again, 4);
  assert.deepEqual((await listed(again)).slice(0, 4), counted(4));
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByLabel("API key or token").waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  assert.deepEqual(troubles, []);
});

test("the page fits a telephone, works by keyboard alone, and says its changes to who cannot see them", { skip }, async (t) => {
  const server = await startServer(t);
  const { page, troubles } = await (await browse(t)).open(server.page, { viewport: { width: 360, height: 640 } });
  await page.keyboard.type(KEY);
  await page.keyboard.press("Enter");
  await page.getByLabel("Message to the agent").waitFor();
  await page.waitForFunction(() => document.activeElement.id === "text");
  await page.keyboard.type("ask");
  await page.keyboard.press("Enter");
  await page.getByLabel("Your answer").waitFor();
  assert.equal(await page.locator("#said").textContent(), "Task waits for you: What is your name?");
  await page.waitForFunction(() => document.activeElement.classList.contains("reply-text"));
  await page.keyboard.type("a-name-that-is-so-long-that-it-does-not-fit-into-any-line-of-a-telephone-".repeat(4));
  await page.keyboard.press("Enter");
  const card = page.locator(".task");
  await stands(card, "Completed");
  await card.locator(".events summary").focus();
  await page.keyboard.press("Enter");
  await card.getByRole("button", { name: "Share" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "Share this task" }).waitFor();
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 360, `${wide} pixels`);
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  const nameless = await page.locator("button, input, textarea, select, a").evaluateAll((all) =>
    all.filter((one) => !(one.textContent.trim() || one.labels?.length || one.ariaLabel)).map((one) => one.outerHTML));
  assert.deepEqual(nameless, []);
  assert.deepEqual(troubles, []);
});

test("whose key is taken away is asked for another, and finds the conversation where it was", { skip }, async (t) => {
  const config = (...keys) => keys.map((key) => `[[keys]]\nsubject = "dana"\nsha256 = "${createHash("sha256").update(key).digest("hex")}"\n`).join("");
  const server = await startServer(t, { config: config(KEY) });
  const { page, troubles } = await (await browse(t)).open(server.page);
  await logIn(page);
  const card = await sendText(page, "stream 3 0");
  await stands(card, "Completed");
  const other = `${KEY}-other`;
  await server.kill();
  await server.configure(config(other));
  await server.restart();
  await page.getByRole("alert").getByText("the key may also have been replaced").waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  await logIn(page, other);
  await stands(card, "Completed");
  assert.deepEqual(troubles, []);
});

test("messages of one conversation have one context, and a new one begins where that is asked for", { skip }, async (t) => {
  const { server, page, troubles } = await loggedIn(t);
  const first = await sendText(page, "long");
  await reaches(first, 2);
  await stands(await sendText(page, "stream 1"), "Completed");
  await page.getByRole("button", { name: "New conversation" }).click();
  await stands(await sendText(page, "stream 2"), "Completed");
  const { tasks } = await clientOf(t, server, { credentials: KEY }).listTasks();
  const contexts = Object.fromEntries(tasks.map((task) => [textOf(task.history[0]), task.contextId]));
  assert.equal(contexts["stream 1"], contexts.long);
  assert.notEqual(contexts["stream 2"], contexts.long);
  await first.getByRole("button", { name: "Cancel" }).click();
  await stands(first, "Canceled");
  assert.deepEqual(troubles, []);
});

test("where everybody is let in, no key is needed, and nothing is offered that needs one", { skip }, async (t) => {
  const server = await startServer(t, { config: "anonymous = true\n" });
  const { page, troubles } = await (await browse(t)).open(server.page);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByLabel("Message to the agent").waitFor();
  const card = await sendText(page, "long");
  await reaches(card, 2);
  assert.equal(await card.getByRole("button", { name: "Share" }).count(), 0);
  await card.getByRole("button", { name: "Cancel" }).click();
  await stands(card, "Canceled");
  assert.deepEqual(troubles, []);
});
