// Sharing a task: the dialog that makes a link, and the list of what can be taken back.

import { A2AError } from "./a2a-webcap.js";
import { element, part, say, showTrouble } from "./page.js";
import { ROLES } from "./words.js";

/** What stands in the link, behind the `#`: no server, proxy or log ever sees that. */
export function linkOf(secret, role) {
  const link = new URL(location.href);
  link.search = "";
  link.hash = new URLSearchParams({ share: secret, as: role }).toString();
  return link.href;
}

/** What a link's fragment says, if it is one of ours. */
export function invitation(hash) {
  const said = new URLSearchParams(hash.replace(/^#/, ""));
  const secret = said.get("share");
  const role = said.get("as");
  return secret ? { secret, role: Object.hasOwn(ROLES, role) ? role : "observe" } : undefined;
}

let current;

/** Opens the dialog for a task; `session` gives the session that it is shared from. */
export function openShare(card, session) {
  current = { card, session };
  part("share-form").reset();
  part("share-form").hidden = false;
  part("share-made").hidden = true;
  part("share-trouble").replaceChildren();
  part("share").showModal();
}

/** Makes the dialog work; once for a page. */
export function prepareShare() {
  const dialog = part("share");
  for (const button of dialog.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => dialog.close());
  }
  // What is secret does not stay on the page.
  dialog.addEventListener("close", () => {
    part("share-link").value = "";
    part("share-copied").textContent = "";
  });
  part("share-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = event.target.querySelector("button");
    button.disabled = true;
    try {
      await share(new FormData(event.target));
    } catch (error) {
      showTrouble(part("share-trouble"), error);
    } finally {
      button.disabled = false;
    }
  });
  part("share-copy").addEventListener("click", copy);
}

async function share(form) {
  const { card, session } = current;
  const role = form.get("role");
  const label = form.get("label").trim();
  const until = new Date(Date.now() + form.get("minutes") * 60_000);
  const held = await session();
  try {
    const task = held.task(card.id);
    const policy = { expires: until.toISOString(), ...(label && { label }) };
    const made = await task.share(role, policy);
    list(card, { made, role, label, until });
    part("share-link").value = linkOf(made.secret, role);
    part("share-form").hidden = true;
    part("share-made").hidden = false;
    part("share-copy").focus();
  } finally {
    held[Symbol.dispose]();
  }
}

async function copy() {
  const link = part("share-link");
  link.select();
  try {
    await navigator.clipboard.writeText(link.value);
    part("share-copied").textContent = "Copied.";
  } catch {
    // Pages that did not come over https, and browsers that were told not to.
    part("share-copied").textContent = "Press Ctrl+C (on a Mac ⌘C) to copy it.";
  }
}

/** One line under the task: who may do what, until when, and the button that takes it back. */
function list(card, { made, role, label, until }) {
  const line = element("li", "share-line");
  const text = element("span", "");
  const whom = label || "a link";
  const time = until.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  text.textContent = `Shared with ${whom}: may ${ROLES[role]}, until ${time}`;
  const button = element("button", "take-back quiet", "Take back");
  button.type = "button";
  button.setAttribute("aria-label", `Take back from ${whom}`);
  const over = (words) => {
    line.dataset.over = "yes";
    text.textContent = words;
    button.remove();
    say(words);
  };
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await made.grant.revoke();
      over(`Taken back from ${whom}`);
      made[Symbol.dispose]();
    } catch (error) {
      button.disabled = false;
      text.textContent = `Not taken back from ${whom}: ${A2AError.from(error).message}`;
    }
  });
  made.grant.onRpcBroken(() => {
    if (!line.dataset.over) over(`No longer shared with ${whom}: the connection was lost, and that takes it back`);
  });
  line.append(text, button);
  card.shares.append(line);
}
