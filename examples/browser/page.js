// Small things that every part of the page needs. What others wrote only ever becomes text, never markup.

import { troubleWords } from "./words.js";

/** The element with this id. */
export const part = (id) => document.getElementById(id);

/** A new element from one of the page's templates. */
export function made(template) {
  return part(`${template}-template`).content.firstElementChild.cloneNode(true);
}

/** A new element with a class and a text. */
export function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

/** Tells people who listen instead of looking. */
export function say(text) {
  part("said").textContent = text;
}

/** Shows what went wrong, and what to do about it, in place of what stood there. */
export function showTrouble(place, error, hints) {
  const { reason, title, hint } = troubleWords(error, hints);
  const shown = made("trouble");
  shown.dataset.reason = reason;
  shown.querySelector(".trouble-title").textContent = title;
  shown.querySelector(".trouble-hint").textContent = hint;
  place.replaceChildren(shown);
}

/** Runs what changes the page and keeps whoever reads its end (or that of a part which scrolls by itself) there. */
export function keepingTheEnd(change, scrolled = document.documentElement) {
  const atEnd = scrolled.scrollHeight - scrolled.scrollTop - scrolled.clientHeight < NEAR;
  change();
  if (atEnd) {
    scrolled.scrollTop = scrolled.scrollHeight;
  }
}

/** Whoever is so near the end, in pixels, reads it. */
const NEAR = 120;
