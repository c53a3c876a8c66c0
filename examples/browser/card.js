// One task on the page: its state, what the agent says and makes, and every event by its number.

import { isInterrupted, isTerminal } from "./a2a-webcap.js";
import { element, keepingTheEnd, made, say, showTrouble } from "./page.js";
import { counted, stateWords } from "./words.js";

/** A page draws at most so often; a fast agent brings thousands of events a second. */
const DRAW_EVERY_MS = 40;
/** After a slow drawing the page has so many times as long for whoever uses it. */
const REST = 4;
/** Lines of the list of events that stay. */
const LINES = 200;
/** Characters of what the agent says in such a line. */
const LINE = 120;
/** Characters of one artifact that are shown. */
const SHOWN = 100_000;

/**
 * A task and what its reader may do with it.
 *
 * `rights` has what is allowed: `reply(card, text)`, and `mayWrite(state)`, which says when; `cancel(card)`;
 * `share(card)`; `hints`, what to do about an error where that is special; and `opened(card)`, which is told when the
 * task has its id.
 */
export class TaskCard {
  id = undefined;
  contextId = undefined;
  state = undefined;
  /** The last event. */
  seq = 0;
  /** Where the part of the list begins that is without a gap. */
  #first = undefined;
  #missing = 0;
  #failed = false;
  #rights;
  #artifacts = new Map();
  #undrawn = new Set();
  #lines = [];
  #drawing = undefined;
  #rest = 0;
  #said = undefined;
  #root = made("task");

  constructor(log, rights) {
    this.#rights = rights;
    this.#button("cancel", rights.cancel && (() => rights.cancel(this)));
    this.#button("share", rights.share && (() => rights.share(this)));
    this.#button("write", rights.reply && (() => this.#openReply("Your message", "Send")));
    this.#part("reply").addEventListener("submit", (event) => {
      event.preventDefault();
      const input = this.#part("reply-text");
      const text = input.value.trim();
      if (text) {
        this.#doing("reply", async () => {
          await rights.reply(this, text);
          input.value = "";
          this.#thread(element("p", "mine words", text)).dir = "auto";
          this.#part("reply").hidden = true;
        });
      }
    });
    keepingTheEnd(() => log.append(this.#root));
  }

  /** Whether nothing more will come. */
  get isOver() {
    return this.#failed || (this.state !== undefined && isTerminal(this.state));
  }

  /** Whether it cannot be seen any further. */
  get hasFailed() {
    return this.#failed;
  }

  /** Where the shares of this task are listed. */
  get shares() {
    return this.#part("shares");
  }

  /** Shows a stream to its end; `goOn(id, seq)` gives what follows where a send's own stream stops before that. */
  async watch(stream, goOn) {
    try {
      for (;;) {
        for await (const event of stream) this.#take(event);
        const { reason } = await stream.ended;
        if (reason !== "interrupted" || !goOn) return;
        stream = goOn(this.id, this.seq);
      }
    } catch (error) {
      this.fail(error);
    } finally {
      this.#drawSoon();
    }
  }

  /** The task cannot be seen any further. */
  fail(error) {
    this.#failed = true;
    this.#trouble(error);
    if (error?.reason === "REVOKED") this.#show("⊘", "Taken back", "revoked");
    else if (this.state === undefined) this.#show("✕", "Not sent", "failed");
    for (const name of ["cancel", "share", "write"]) this.#part(name).hidden = true;
    this.#part("reply").hidden = true;
  }

  /** A lost line is back, and the task's events go on. */
  resumed() {
    this.#line(`connection lost and found again; went on after event ${this.seq}`, "note");
    this.#drawSoon();
  }

  #take(event) {
    const isOpened = this.id !== undefined;
    this.#showEvent(event);
    if (!isOpened && this.id !== undefined) this.#rights.opened?.(this);
  }

  #showEvent(event) {
    if (event.message) {
      this.#thread(element("p", "words", textIn(event.message.parts))).dir = "auto";
      this.#show("✓", "Answered", "completed");
      say("The agent has answered.");
      return;
    }
    this.#count(event);
    const { task, statusUpdate, artifactUpdate } = event;
    if (task) {
      this.id = task.id;
      this.contextId = task.contextId;
      for (const artifact of task.artifacts ?? []) this.#artifact(artifact, false);
      this.#status(task.status);
      this.#line(`the task as it stands: ${stateWords(task.status.state)[1].toLowerCase()}`, "");
    } else if (statusUpdate) {
      this.id = statusUpdate.taskId;
      this.contextId = statusUpdate.contextId;
      this.#status(statusUpdate.status);
      const { state, message } = statusUpdate.status;
      const text = textIn(message?.parts).slice(0, LINE);
      this.#line(`${stateWords(state)[1].toLowerCase()}${text && `: ${text}`}`, "", event.seq);
    } else {
      this.id = artifactUpdate.taskId;
      this.contextId = artifactUpdate.contextId;
      this.#artifact(artifactUpdate.artifact, artifactUpdate.append === true);
      this.#line(`${artifactUpdate.append ? "more of" : "artifact"} ${artifactUpdate.artifact.artifactId}`, "", event.seq);
    }
    this.#drawSoon();
  }

  #count({ seq, task }) {
    if (!task) {
      this.#first ??= seq;
      if (this.#first !== seq && seq !== this.seq && seq !== this.seq + 1) this.#missing += 1;
    } else if (seq > 0) {
      this.#first ??= seq + 1;
    }
    this.seq = seq;
  }

  #status({ state, message }) {
    const isNew = state !== this.state;
    this.state = state;
    const [mark, name] = stateWords(state);
    this.#show(mark, name, state);
    const text = textIn(message?.parts);
    if (text) this.#words(text, state === "TASK_STATE_WORKING" ? "words progress" : "words");
    const over = isTerminal(state);
    const mayWrite = !over && this.#rights.mayWrite?.(state);
    this.#part("cancel").hidden = over || !this.#rights.cancel;
    this.#part("share").hidden = !this.#rights.share;
    this.#part("write").hidden = !mayWrite || isInterrupted(state);
    if (over || !mayWrite) this.#part("reply").hidden = true;
    else if (isInterrupted(state)) this.#openReply("Your answer", "Answer");
    if (isNew && name !== this.#said) {
      this.#said = name;
      say(text ? `Task ${name.toLowerCase()}: ${text}` : `Task ${name.toLowerCase()}.`);
    }
  }

  #artifact(artifact, append) {
    let shown = this.#artifacts.get(artifact.artifactId);
    if (!shown) {
      const body = element("div", "artifact");
      const title = element("p", "artifact-name", artifact.name ?? artifact.artifactId);
      title.dir = "auto";
      const text = element("pre", "words");
      text.dir = "auto";
      body.append(title, text);
      this.#thread(body);
      shown = { text, node: text.appendChild(new Text()), pending: "", length: 0, anew: false };
      this.#artifacts.set(artifact.artifactId, shown);
    } else if (!append) {
      Object.assign(shown, { pending: "", length: 0, anew: true });
    }
    const more = textIn(artifact.parts);
    shown.pending += more.slice(0, Math.max(0, SHOWN - shown.length));
    shown.length += more.length;
    this.#undrawn.add(shown);
  }

  #drawSoon() {
    this.#drawing ??= setTimeout(() => {
      const begun = performance.now();
      this.#drawing = undefined;
      keepingTheEnd(() => this.#draw());
      this.#rest = REST * (performance.now() - begun);
    }, Math.max(DRAW_EVERY_MS, this.#rest));
  }

  #draw() {
    for (const shown of this.#undrawn) {
      keepingTheEnd(() => {
        if (shown.anew) shown.node.data = "";
        shown.node.appendData(shown.pending);
      }, shown.text);
      Object.assign(shown, { pending: "", anew: false });
      const left = shown.length - SHOWN;
      if (left > 0) shown.text.dataset.left = `… and ${counted(left, "character")} more`;
    }
    this.#undrawn.clear();
    this.#root.dataset.seq = this.seq;
    this.#part("seq").textContent = this.seq ? `event ${this.seq}` : "";
    this.#drawEvents();
  }

  #drawEvents() {
    const events = this.#part("events");
    const list = events.querySelector("ol");
    keepingTheEnd(() => {
      list.append(...this.#lines.splice(0));
      while (list.childElementCount > LINES) list.firstElementChild.remove();
    }, list);
    events.hidden = list.childElementCount === 0;
    const total = this.#first === undefined ? 0 : this.seq - this.#first + 1;
    const gaps = this.#missing === 0 ? "none missing" : `${this.#missing} gaps`;
    events.querySelector("summary").textContent = `${counted(Math.max(total, 0), "event")}, ${gaps}`;
  }

  #line(text, className, seq) {
    const line = element("li", className, seq === undefined ? text : `${seq} ${text}`);
    if (seq !== undefined) line.dataset.seq = seq;
    this.#lines.push(line);
    if (this.#lines.length > LINES) this.#lines.shift();
  }

  #show(mark, name, state) {
    this.#part("mark").textContent = mark;
    this.#part("state-text").textContent = name;
    this.#part("state").dataset.state = state;
  }

  #openReply(label, button) {
    const form = this.#part("reply");
    form.querySelector(".reply-label").textContent = label;
    form.querySelector("button").textContent = button;
    form.hidden = false;
    const input = this.#part("reply-text");
    // Whoever is writing something else is left alone.
    const busy = document.activeElement?.value;
    if (!busy) input.focus();
  }

  #button(name, act) {
    this.#part(name).addEventListener("click", () => this.#doing(name, async () => act?.()));
  }

  async #doing(name, act) {
    const pressed = name === "reply" ? this.#part("reply").querySelector("button") : this.#part(name);
    pressed.disabled = true;
    this.#part("troubles").replaceChildren();
    try {
      await act();
    } catch (error) {
      this.#trouble(error);
    } finally {
      pressed.disabled = false;
    }
  }

  #trouble(error) {
    keepingTheEnd(() => showTrouble(this.#part("troubles"), error, this.#rights.hints));
  }

  /** What the agent says. Of its words about how far it is only the last stay; all are in the list of events. */
  #words(text, className) {
    const last = this.#part("thread").lastElementChild;
    if (className.includes("progress") && last?.className === className) last.textContent = text;
    else this.#thread(element("p", className, text)).dir = "auto";
  }

  #thread(node) {
    keepingTheEnd(() => this.#part("thread").append(node));
    return node;
  }

  #part(name) {
    return this.#root.querySelector(`.${name}`);
  }
}

/** What parts say, as text: of what is no text only what it is. Nothing is loaded, nothing becomes a link. */
export function textIn(parts = []) {
  return parts.map((part) => {
    if (part.text !== undefined) return part.text;
    if (part.data !== undefined) return `${JSON.stringify(part.data, null, 2)}\n`;
    if (part.url !== undefined) return `[at ${part.url}]\n`;
    return `[${part.filename ?? part.mediaType ?? "a file"}, ${counted(Math.floor(((part.raw ?? "").length * 3) / 4), "byte")}]\n`;
  }).join("");
}
