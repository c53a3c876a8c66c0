// The page: who is there, the connection, and a conversation. `guest.js` is the page of whoever opens a shared link.

import { composed, connect, isTerminal, textOf } from "./a2a-webcap.js";
import { TaskCard } from "./card.js";
import { beGuest } from "./guest.js";
import { element, keepingTheEnd, made, part, say, showTrouble } from "./page.js";
import { invitation, openShare, prepareShare } from "./share.js";
import { counted, stateWords } from "./words.js";

/** Where the key is kept, for this tab alone. */
const KEY = "a2a-webcap.key";
/** The server whose page this is. */
const ENDPOINT = new URL("../capnweb", location.href);
/** How many things to try are shown. */
const SUGGESTIONS = 8;

let client;
/** Whether a key was shown: without a session nothing can be shared, and nobody has tasks of their own. */
let hasSession = false;
/** What the next message belongs to; its `contextId` is the server's, from the first answer on. */
let conversation = {};
/** The tasks on the page. */
const cards = new Set();

/** Logs in; says on the page what went wrong, if anything. */
async function enter(key) {
  const opened = connect(ENDPOINT, key || undefined, { retry: { longestWaitMs: 5_000 }, onState: showState() });
  client = opened;
  try {
    await opened.ready();
  } catch (error) {
    opened.close();
    showConnection("none", "Not connected");
    return showLogin(error);
  }
  part("login").hidden = true;
  part("login-trouble").replaceChildren();
  part("chat").hidden = false;
  part("composer").hidden = false;
  part("leave").hidden = false;
  part("text").focus();
  hasSession = key !== "";
  const shown = [showCard(opened), hasSession && showEarlier(opened)].filter(Boolean);
  await Promise.all(shown.map((showing) => showing.catch((error) => showTrouble(part("login-trouble"), error))));
}

function leave() {
  sessionStorage.removeItem(KEY);
  client?.close();
  // Nothing of what was seen stays.
  location.reload();
}

function showLogin(error) {
  part("login").hidden = false;
  part("chat").hidden = true;
  part("leave").hidden = true;
  part("key").focus();
  if (error) {
    sessionStorage.removeItem(KEY);
    showTrouble(part("login-trouble"), error);
  }
}

/** What the client says about its connection, in words. */
function showState() {
  let [wasConnected, isLost] = [false, false];
  return ({ status, failures, why }) => {
    if (status === "connected") {
      showConnection("connected", isLost ? resumedWords() : "Connected");
      [wasConnected, isLost] = [true, false];
    } else if (status === "waiting") {
      isLost = wasConnected;
      showConnection("waiting", `${isLost ? "Reconnecting" : "Connecting"}${failures > 1 ? `, try ${failures}` : ""}…`);
    } else if (status === "connecting" && !isLost) {
      showConnection("waiting", "Connecting…");
    } else if (status === "failed") {
      showConnection("failed", "Not connected");
      // The key that was good is so no longer.
      if (wasConnected) showLogin(why);
    }
  };
}

function resumedWords() {
  const going = [...cards].filter((card) => !card.isOver && card.id !== undefined);
  for (const card of going) card.resumed();
  if (going.length === 0) return "Connected again";
  return going.length === 1 ? `Resumed after event ${going[0].seq}` : `Resumed ${counted(going.length, "task")}`;
}

function showConnection(status, text) {
  part("connection").dataset.status = status;
  part("connection-text").textContent = text;
}

async function showCard(client) {
  const card = await client.getAgentCard();
  part("title").textContent = card.name;
  part("title").dir = "auto";
  document.title = `${card.name} · a2a-webcap`;
  part("about").textContent = card.description;
  part("about").dir = "auto";
  const examples = (card.skills ?? []).flatMap((skill) => skill.examples?.slice(0, 1) ?? []);
  for (const chip of part("suggestions").querySelectorAll("button")) chip.remove();
  part("suggestions").append(...examples.slice(0, SUGGESTIONS).map((example) => {
    const chip = element("button", "chip", example.slice(0, 80));
    chip.type = "button";
    chip.addEventListener("click", () => send(example));
    return chip;
  }));
  part("suggestions").hidden = examples.length === 0 || part("log").childElementCount > 0;
}

/** The latest tasks of before, each of which can be opened again. */
async function showEarlier(client) {
  const { tasks } = await client.listTasks({ pageSize: 20, historyLength: 50 });
  part("earlier").hidden = tasks.length === 0;
  part("earlier-list").replaceChildren(...tasks.map((task) => {
    const line = element("li", "");
    const [mark, name] = stateWords(task.status.state);
    const asked = task.history?.find(({ role }) => role === "ROLE_USER");
    const said = textOf(asked).slice(0, 120) || `Task ${task.id}`;
    const button = element("button", "link", `${mark} ${said}`);
    button.dir = "auto";
    button.type = "button";
    button.append(element("span", "unseen", `, ${name.toLowerCase()}`));
    button.addEventListener("click", () => {
      line.remove();
      part("earlier").hidden = part("earlier-list").childElementCount === 0;
      open(task.id, said);
    });
    line.append(button);
    return line;
  }));
}

function newCard(opened) {
  const card = new TaskCard(part("log"), {
    opened,
    mayWrite: (state) => !isTerminal(state),
    reply: (card, text) => client.sendMessage({ parts: [{ text }], taskId: card.id }, { returnImmediately: true }),
    cancel: (card) => client.cancelTask(card.id),
    share: hasSession && ((card) => openShare(card, () => client.session())),
  });
  cards.add(card);
  return card;
}

function showMine(text) {
  const mine = made("mine");
  mine.querySelector(".words").textContent = text;
  keepingTheEnd(() => part("log").append(mine));
}

/** Opens a task of before: all its events from the first on. */
function open(id, said) {
  part("suggestions").hidden = true;
  showMine(said);
  return newCard().watch(client.follow(id, 0));
}

async function send(text) {
  part("suggestions").hidden = true;
  showMine(text);
  const here = conversation;
  const card = newCard((card) => (here.contextId ??= card.contextId));
  const stream = client.stream(composed({ parts: [{ text }], contextId: here.contextId }));
  window.scrollTo(0, document.documentElement.scrollHeight);
  // A send's own stream ends where the task waits; what happens then is to be seen too.
  await card.watch(stream, (id, seq) => client.follow(id, seq));
}

function prepare() {
  part("login-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const key = part("key").value.trim();
    part("key").value = "";
    if (part("keep").checked) sessionStorage.setItem(KEY, key);
    enter(key);
  });
  part("leave").addEventListener("click", leave);
  part("anew").addEventListener("click", () => {
    conversation = {};
    // What was shared stays in reach: it can still be taken back.
    part("log").append(element("li", "anew", "New conversation"));
    part("text").focus();
    say("A new conversation.");
  });
  const text = part("text");
  part("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    const words = text.value.trim();
    text.value = "";
    if (words) send(words);
  });
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      part("composer").requestSubmit();
    }
  });
  prepareShare();
}

function start() {
  prepare();
  // A link that is opened where this page is open already.
  window.addEventListener("hashchange", () => location.reload());
  const invited = invitation(location.hash);
  if (invited) {
    // Neither the history nor whoever looks over a shoulder is to have it.
    history.replaceState(null, "", location.pathname);
    return beGuest(ENDPOINT, invited, showConnection);
  }
  const key = sessionStorage.getItem(KEY);
  if (key === null) showLogin();
  else enter(key);
}

start();
