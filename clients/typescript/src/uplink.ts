/** Keeps a line to the server: opens it, notices its loss, and gets it back. */

import type { RpcStub } from "capnweb";
import { A2AError, hasExpired, hasReason } from "./error.js";
import { Line, type LineSettings } from "./line.js";
import type { Credentials, Operations } from "./objects.js";
import { Pause, type SettledRetry, waitAfter } from "./retry.js";

/** What a client says about its connection. */
export type ConnectionState =
  /** A line is being opened. */
  | { status: "connecting" }
  /** The line is open, and the credentials are accepted. */
  | { status: "connected" }
  /** The line is lost; the next try is made after `waitMs` milliseconds. */
  | { status: "waiting"; failures: number; waitMs: number; why: A2AError }
  /** The client has given up. The next call tries again. */
  | { status: "failed"; why: A2AError }
  /** The client was closed. */
  | { status: "closed" };

/**
 * What gives the credentials: asked for each connection, when a session is about to end by itself, and, with the
 * error, once more when the server has refused what it gave.
 */
export type CredentialsSource = (refused?: A2AError) => Credentials | Promise<Credentials>;

/** How a client connects. */
export interface UplinkSettings extends Omit<LineSettings, "credentials" | "renewal"> {
  credentials: Credentials | undefined | CredentialsSource;
  retry: SettledRetry;
  onState: (state: ConnectionState) => void;
}

/** A line that has lived so long, in milliseconds, was a good one: its loss is the first of its kind. */
const GOOD_LIFE_MS = 60_000;

/** See the head of this file. */
export class Uplink {
  readonly #settings: UplinkSettings;
  /** See `RetryPolicy`. */
  readonly retry: SettledRetry;
  #line: Line | undefined;
  #opening: Promise<Line> | undefined;
  #pause: Pause | undefined;
  /** Tries in a row that brought nothing. */
  #failures = 0;
  #lastFailure: A2AError | undefined;
  #everAccepted = false;
  /** Set while the server has refused what the source of credentials gave last. */
  #refused: A2AError | undefined;
  #closed: A2AError | undefined;

  constructor(settings: UplinkSettings) {
    this.#settings = settings;
    this.retry = settings.retry;
  }

  /** The error of everything that comes after {@link close}, if that was called. */
  get closed(): A2AError | undefined {
    return this.#closed;
  }

  /** Whether the server knows a send that comes twice by its message id: not of those who show no credentials. */
  get maySendAgain(): boolean {
    return this.#settings.credentials !== undefined;
  }

  /** A line that is not lost: the present one, or a new one after as many tries as the policy has. */
  async live(): Promise<Line> {
    if (this.#closed) {
      throw this.#closed;
    }
    if (this.#line && !this.#line.loss) {
      return this.#line;
    }
    return this.#open();
  }

  /** Makes a call that may be made again, and makes it again if the line was lost under it. */
  async call<T>(call: (operations: RpcStub<Operations>, line: Line, attempt: number) => PromiseLike<T>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      const line = await this.live();
      try {
        const answer = await call(line.operations, line, attempt);
        this.progressed();
        return answer;
      } catch (thrown) {
        this.refuseUnlessLost(line, thrown);
      }
    }
  }

  /** Makes a call that may not be made again. */
  async callOnce<T>(call: (operations: RpcStub<Operations>, line: Line) => PromiseLike<T>): Promise<T> {
    const line = await this.live();
    try {
      return await call(line.operations, line);
    } catch (thrown) {
      this.refuseUnlessLost(line, thrown);
      throw line.loss;
    }
  }

  /** Throws what somebody is to be told whose call on this line has failed; returns if another line may serve. */
  refuseUnlessLost(line: Line, thrown: unknown): void {
    // What the server says to somebody who is leaving is no news.
    const final = this.#closed ?? line.verdict;
    if (final) {
      throw final;
    }
    if (!line.loss && !this.expired(line, thrown)) {
      throw A2AError.from(thrown);
    }
  }

  /**
   * Whether this error says that the session's time is over, and there may be fresh credentials. Then the line is
   * given up for one with a new session.
   */
  expired(line: Line, thrown: unknown): boolean {
    if (typeof this.#settings.credentials !== "function" || !hasExpired(A2AError.from(thrown))) {
      return false;
    }
    line.fail(new A2AError("DISCONNECTED", "the session has expired", { cause: thrown }));
    return true;
  }

  /** Something has come over the line: it is worth having. */
  progressed(): void {
    this.#failures = 0;
  }

  /** A line on which the credentials are accepted. */
  async accepted(): Promise<Line> {
    for (;;) {
      const line = await this.live();
      try {
        await line.accepted;
        return line;
      } catch (thrown) {
        this.refuseUnlessLost(line, thrown);
      }
    }
  }

  /** Ends the line; what is called afterwards fails. */
  close(): void {
    if (this.#closed) {
      return;
    }
    this.#closed = new A2AError("DISCONNECTED", "this client was closed");
    this.#pause?.end();
    this.#line?.fail(this.#closed);
    this.#settings.onState({ status: "closed" });
  }

  /** All who find the line lost share one way back. */
  #open(): Promise<Line> {
    this.#opening ??= this.#openSoon().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #openSoon(): Promise<Line> {
    for (;;) {
      if (this.#failures > 0) {
        await this.#wait();
      }
      if (this.#closed) {
        throw this.#closed;
      }
      this.#settings.onState({ status: "connecting" });
      try {
        this.#line = await this.#begin();
        return this.#line;
      } catch (thrown) {
        const isHopeless = hasReason(thrown, "INVALID_PARAMS");
        const verdict = this.#closed ?? this.#failed(A2AError.from(thrown), isHopeless);
        if (verdict) {
          throw verdict;
        }
      }
    }
  }

  async #begin(): Promise<Line> {
    const { credentials, ...settings } = this.#settings;
    // Asked for each line anew, since a token may have expired meanwhile. Without a question no turn is lost.
    const isAsked = typeof credentials === "function";
    const shown = isAsked ? await credentials(this.#refused) : credentials;
    if (this.#closed) {
      throw this.#closed;
    }
    return new Line(
      { ...settings, credentials: shown, renewal: isAsked ? () => credentials() : undefined },
      () => {
        this.#everAccepted = true;
        this.#refused = undefined;
        this.#settings.onState({ status: "connected" });
      },
      (line) => this.#lost(line),
    );
  }

  async #wait(): Promise<void> {
    const waitMs = waitAfter(this.#failures, this.retry, Math.random());
    const why = this.#lastFailure ?? new A2AError("DISCONNECTED", "the line is lost");
    this.#settings.onState({ status: "waiting", failures: this.#failures, waitMs, why });
    this.#pause = new Pause(waitMs);
    await this.#pause.done;
    this.#pause = undefined;
  }

  #lost(line: Line): void {
    const why = line.loss;
    if (this.#closed || !why) {
      line.verdict = this.#closed;
      return;
    }
    if (line.acceptedAt !== undefined && performance.now() - line.acceptedAt > GOOD_LIFE_MS) {
      this.#failures = 0;
    }
    line.verdict = this.#failed(line.refusal ?? why, line.refusal !== undefined && !this.#mayAskAgain(line.refusal));
    if (!line.verdict) {
      // At once and not with the next call, so that what the client says about its connection stays true.
      this.#open().catch(() => {});
    }
  }

  /** Whether whoever gave the refused credentials may have others: once, or a wrong key would be shown for ever. */
  #mayAskAgain(refusal: A2AError): boolean {
    const isFirst = this.#refused === undefined;
    this.#refused = refusal;
    return isFirst && typeof this.#settings.credentials === "function" && hasReason(refusal, "UNAUTHENTICATED");
  }

  /** Counts a failure; the error with which the client gives up, if it does. */
  #failed(why: A2AError, isRefusal = false): A2AError | undefined {
    this.#failures += 1;
    this.#lastFailure = why;
    const { tries, firstTries } = this.retry;
    const allowed = this.#everAccepted ? tries : Math.min(tries, firstTries);
    if (!isRefusal && this.#failures <= allowed) {
      return undefined;
    }
    this.#failures = 0;
    this.#refused = undefined;
    this.#settings.onState({ status: "failed", why });
    return why;
  }
}
