/** A WebSocket as a transport for Cap'n Web: one text message is one RPC message. */

import type { RpcTransport } from "capnweb";
import { A2AError } from "./error.js";

/** What this package needs of a WebSocket; the browser's, Node's (since 22), and that of npm `ws` have it. */
export interface WebSocketLike {
  readonly readyState: number;
  send(text: string): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: "open", listener: () => void): void;
  addEventListener(type: "message", listener: (event: { data: unknown }) => void): void;
  addEventListener(type: "close", listener: (event: { code: number; reason: string }) => void): void;
  addEventListener(type: "error", listener: () => void): void;
}

/** The class of such a WebSocket. */
export type WebSocketConstructor = new (url: string) => WebSocketLike;

/** `WebSocket.CONNECTING`; the class that says so need not be a global. */
const CONNECTING = 0;
/** The longest reason of a close frame, in bytes of UTF-8. */
const LONGEST_REASON = 123;

/**
 * The library's own transport needs a global `WebSocket`, which Node 20 does not have, and keeps to itself why and
 * since when nothing has come.
 */
export class SocketTransport implements RpcTransport {
  /** When something has come last, on the clock of `performance.now()`. */
  lastHeard = performance.now();
  readonly #socket: WebSocketLike;
  readonly #onLoss: (why: A2AError) => void;
  #unsent: string[] | undefined;
  #unread: string[] = [];
  #reader: { resolve: (text: string) => void; reject: (why: unknown) => void } | undefined;
  #loss: A2AError | undefined;

  /** `onLoss` is called once, before anything that waits for an answer fails. */
  constructor(socket: WebSocketLike, onLoss: (why: A2AError) => void) {
    this.#socket = socket;
    this.#onLoss = onLoss;
    if (socket.readyState === CONNECTING) {
      this.#unsent = [];
      socket.addEventListener("open", () => this.#opened());
    }
    socket.addEventListener("message", (event) => this.#heard(event.data));
    socket.addEventListener("close", (event) => {
      const said = event.reason ? `${event.code} ${event.reason}` : `${event.code}`;
      this.fail(new A2AError("DISCONNECTED", `the connection was closed (${said})`));
    });
    socket.addEventListener("error", () => {
      this.fail(new A2AError("DISCONNECTED", "the connection failed: check the address, and that the server runs"));
    });
  }

  send(message: string): void {
    if (this.#unsent) {
      this.#unsent.push(message);
    } else {
      this.#socket.send(message);
    }
  }

  receive(): Promise<string> {
    const next = this.#unread.shift();
    if (next !== undefined) {
      return Promise.resolve(next);
    }
    if (this.#loss) {
      return Promise.reject(this.#loss);
    }
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  /** The session is over, by an abort of the server, a broken message, or since its main stub was disposed of. */
  abort(reason: unknown): void {
    const cause = A2AError.from(reason);
    this.fail(new A2AError("DISCONNECTED", `the session was ended: ${cause.message}`, { cause }));
  }

  /** Ends the line; the first reason counts. */
  fail(why: A2AError): void {
    if (this.#loss) {
      return;
    }
    this.#loss = why;
    this.#unsent = [];
    this.#onLoss(why);
    this.#reader?.reject(why);
    this.#reader = undefined;
    try {
      this.#socket.close(3000, shortened(why.message));
    } catch {
      // A socket that cannot even be closed is gone all the same.
    }
  }

  #opened(): void {
    this.lastHeard = performance.now();
    const unsent = this.#unsent ?? [];
    this.#unsent = undefined;
    for (const message of unsent) {
      this.#socket.send(message);
    }
  }

  #heard(data: unknown): void {
    if (this.#loss) {
      return;
    }
    this.lastHeard = performance.now();
    if (typeof data !== "string") {
      this.fail(new A2AError("PARSE_ERROR", "the server sent a binary message; is this its Cap'n Web address?"));
    } else if (this.#reader) {
      this.#reader.resolve(data);
      this.#reader = undefined;
    } else {
      this.#unread.push(data);
    }
  }
}

/** As much of a text as a close frame can carry. */
function shortened(text: string): string {
  const bytes = new TextEncoder().encode(text);
  return bytes.length <= LONGEST_REASON
    ? text
    : new TextDecoder().decode(bytes.subarray(0, LONGEST_REASON), { stream: true });
}
