// The page of somebody who was given a link: one task, seen and steered as far as the link goes.

import { composed, connect, followTask, isInterrupted, isTerminal } from "./a2a-webcap.js";
import { TaskCard } from "./card.js";
import { part, showTrouble } from "./page.js";
import { ROLES } from "./words.js";

/** A handle lasts as long as its connection, so there is nothing to reconnect for. */
const ONCE = { tries: 0 };
/** What to do about errors, where it differs from what a logged-in person does. */
const HINTS = {
  UNAUTHENTICATED: "A link works once and for a time. Ask whoever sent it for a new one.",
  DISCONNECTED: "What the link gave is gone with the connection. Ask whoever sent it for a new one.",
};

/** Asks before it opens: what follows links by itself (previews, scanners) must not use them up. */
export function beGuest(endpoint, { secret, role }, showConnection) {
  part("invited").hidden = false;
  part("invited-role").textContent = `You may ${ROLES[role]}.`;
  const button = part("claim");
  button.focus();
  button.addEventListener("click", async () => {
    button.disabled = true;
    showConnection("waiting", "Connecting…");
    const onState = ({ status }) => {
      if (status === "connected") showConnection("connected", "Connected");
      if (status === "failed") showConnection("failed", "Not connected");
      if (status === "closed") showConnection("none", "Ended");
    };
    const client = connect(endpoint, undefined, { retry: ONCE, onState });
    try {
      const service = await client.service();
      // Awaited, so that a link that opens nothing is told as that.
      const handle = await service.claim(secret);
      part("invited").hidden = true;
      part("title").textContent = "A shared task";
      part("chat").hidden = false;
      const card = await watch(handle, role);
      if (card.hasFailed) client.close();
    } catch (error) {
      client.close();
      const unreachable = error?.reason === "DISCONNECTED" && { DISCONNECTED: "Check the network, then try again." };
      showTrouble(part("invited-trouble"), error, { ...HINTS, ...unreachable });
      button.disabled = false;
    }
  });
}

async function watch(handle, role) {
  part("about").textContent = `Shared with you: you may ${ROLES[role]}.`;
  const mayWrite = {
    observe: () => false,
    answer: isInterrupted,
    control: (state) => !isTerminal(state),
  }[role];
  const card = new TaskCard(part("log"), {
    mayWrite,
    reply: role !== "observe" && (async (_, text) => {
      const answer = await handle.send(composed(text), { returnImmediately: true });
      answer?.[Symbol.dispose]?.();
    }),
    cancel: role === "control" && (() => handle.cancel()),
    hints: HINTS,
  });
  await card.watch(followTask(handle, 0));
  return card;
}
