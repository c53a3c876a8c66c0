// The console in a real browser, before the real server.

import { after } from "node:test";
import { chromium } from "playwright-core";
import { KEY, chromiumPath } from "./binary.mjs";

/** One browser serves all tests; each has people of its own. */
let browser;
after(async () => (await browser)?.close());

/** A browser; `open` gives a page of a person of their own, with what went wrong on it. */
export async function browse(t) {
  browser ??= chromium.launch({ executablePath: chromiumPath, args: ["--no-sandbox"] });
  const launched = await browser;
  return {
    async open(address, settings = {}) {
      const context = await launched.newContext({ viewport: { width: 900, height: 800 }, ...settings });
      t.after(() => context.close());
      const page = await context.newPage();
      page.setDefaultTimeout(20_000);
      const troubles = [];
      page.on("pageerror", (error) => troubles.push(String(error)));
      page.on("console", (message) => {
        // What Chromium says itself of a lost line; no page can keep it from that.
        const isLine = message.text().startsWith("WebSocket connection to");
        if (["error", "warning"].includes(message.type()) && !isLine) troubles.push(message.text());
      });
      page.on("request", (request) => {
        if (new URL(request.url()).host !== new URL(address).host) troubles.push(`asks for ${request.url()}`);
      });
      await page.addInitScript(() => {
        document.addEventListener("securitypolicyviolation", (event) => console.error(`forbidden: ${event.violatedDirective}`));
      });
      await page.goto(address);
      return { page, troubles };
    },
  };
}

/** Logs in as people do. */
export async function logIn(page, key = KEY) {
  await page.getByLabel("API key or token").fill(key);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByLabel("Message to the agent").waitFor();
}

/** Sends a message as people do; the card of its task. */
export async function sendText(page, text) {
  const before = await page.locator(".task").count();
  await page.getByLabel("Message to the agent").fill(text);
  await page.keyboard.press("Enter");
  return page.locator(".task").nth(before);
}

/** Waits until a card says that its task stands so. */
export const stands = (card, state) => card.locator(".state-text", { hasText: new RegExp(`^${state}$`) }).waitFor();

/** Waits until a card has shown an event with this number or a later one. */
export async function reaches(card, seq) {
  const handle = await card.elementHandle();
  await card.page().waitForFunction(([card, seq]) => Number(card.dataset.seq) >= seq, [handle, seq]);
}

/** The numbers of the events that a card lists, in their order. */
export const listed = (card) =>
  card.locator(".events li[data-seq]").evaluateAll((lines) => lines.map((line) => Number(line.dataset.seq)));
