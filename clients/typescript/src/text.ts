/** Making messages, and reading the text in what comes. */

import type { Artifact, Message, Part, Task } from "./model.js";

/** What can be sent: a text, parts, or a message whose id and role may be left out. */
export type MessageInput = string | Part[] | (Omit<Message, "messageId" | "role"> & Partial<Pick<Message, "messageId" | "role">>);

/** A message of the client with an id of its own. */
export function composed(input: MessageInput): Message {
  if (typeof input === "string") {
    return { messageId: freshId(), role: "ROLE_USER", parts: [{ text: input }] };
  }
  if (Array.isArray(input)) {
    return { messageId: freshId(), role: "ROLE_USER", parts: input };
  }
  return { ...input, messageId: input.messageId ?? freshId(), role: input.role ?? "ROLE_USER" };
}

/** A new id that nobody else has: a UUID. */
export function freshId(): string {
  if (typeof crypto.randomUUID === "function") {
    return crypto.randomUUID();
  }
  // Pages that did not come over https do not have it.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/**
 * The text in something: of a message its text parts, a line break between them; of an artifact its text parts with
 * nothing between them, since a streamed text comes in arbitrary pieces; of a task that of its artifacts.
 */
export function textOf(source: Message | Artifact | Task | undefined): string {
  if (!source) {
    return "";
  }
  if ("artifactId" in source) {
    return texts(source.parts).join("");
  }
  if ("parts" in source) {
    return texts(source.parts).join("\n");
  }
  return (source.artifacts ?? []).map(textOf).join("\n");
}

function texts(parts: Part[]): string[] {
  return parts.flatMap((part) => (part.text === undefined ? [] : [part.text]));
}
