/** One connection, from its opening to its loss. */

import { RpcSession, type RpcStub } from "capnweb";
import { A2AError, hasReason } from "./error.js";
import type { A2aService, Credentials, Operations, Session } from "./objects.js";
import { Pause } from "./retry.js";
import { SocketTransport, type WebSocketConstructor, type WebSocketLike } from "./transport.js";

/** After which part of its remaining life a session is renewed. */
const RENEW_AT = 0.75;
/** A clock that goes ahead of the server's must not make a loop without waits. */
const SHORTEST_WAIT_MS = 1_000;
/** What a timer can hold. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** How lines are opened. */
export interface LineSettings {
  url: string;
  credentials: Credentials | undefined;
  /** Gives fresh credentials, before the session ends by itself; none if there are no others. */
  renewal: (() => Credentials | Promise<Credentials>) | undefined;
  tenant: string | undefined;
  WebSocket: WebSocketConstructor;
  /** How long opening and authenticating may take, in milliseconds. */
  connectTimeoutMs: number;
  /** After how many silent milliseconds the server is asked whether it is there; 0 for never. */
  heartbeatMs: number;
}

/** A connection and what was got over it. Usable at once: what is called early travels behind the credentials. */
export class Line {
  /** The object that everybody gets. */
  readonly service: RpcStub<A2aService>;
  /** What the A2A operations are called on: the session, or, without credentials, the service. */
  operations: RpcStub<Operations>;
  /** The session, once asked for with credentials. */
  session: RpcStub<Session> | undefined;
  /** Why the line is gone, if it is. */
  loss: A2AError | undefined;
  /** Set if the server refuses these credentials: another line would fare no better. */
  refusal: A2AError | undefined;
  /** What everybody who used this line is to be told, if there will be no other. Set by whoever opens lines. */
  verdict: A2AError | undefined;
  /** Since when the credentials are accepted, on the clock of `performance.now()`. */
  acceptedAt: number | undefined;
  /** Resolves when the credentials are accepted; rejected if the line is lost before. */
  readonly accepted: Promise<void>;
  #accept: () => void = () => {};
  #reject: (why: A2AError) => void = () => {};
  readonly #transport: SocketTransport;
  readonly #settings: LineSettings;
  readonly #onLoss: (line: Line) => void;
  readonly #onAccepted: (line: Line) => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #renewing: Pause | undefined;

  /**
   * Opens a line. `onLoss` is called once, before anything that waits for an answer fails.
   *
   * @throws if the address is none that a WebSocket takes
   */
  constructor(settings: LineSettings, onAccepted: (line: Line) => void, onLoss: (line: Line) => void) {
    this.#settings = settings;
    this.accepted = new Promise((resolve, reject) => {
      this.#accept = resolve;
      this.#reject = reject;
    });
    this.accepted.catch(() => {});
    this.#onAccepted = onAccepted;
    this.#onLoss = onLoss;
    const socket = opened(settings);
    this.#transport = new SocketTransport(socket, (why) => this.#lost(why));
    const rpc = new RpcSession<A2aService>(this.#transport);
    this.service = rpc.getRemoteMain();
    this.operations = this.service as unknown as RpcStub<Operations>;
    this.#timer = setTimeout(() => {
      const waited = `${settings.connectTimeoutMs} ms`;
      this.fail(new A2AError("DISCONNECTED", `the server has not answered within ${waited}`));
    }, settings.connectTimeoutMs);
    if (settings.credentials === undefined) {
      // Nothing to wait for but the open socket, and any answer shows that.
      const accepted = () => this.#isAccepted();
      this.service.info().then(accepted, accepted);
    } else {
      this.#authenticate(settings.credentials);
    }
  }

  /** Ends the line for a reason. */
  fail(why: A2AError): void {
    this.#transport.fail(why);
  }

  #authenticate(credentials: Credentials): void {
    const { tenant } = this.#settings;
    const session =
      tenant === undefined ? this.service.authenticate(credentials) : this.service.authenticate(credentials, tenant);
    this.#use(session as unknown as RpcStub<Session>);
    session.then(
      (stub) => {
        this.#use(stub as unknown as RpcStub<Session>);
        this.#isAccepted();
      },
      (thrown: unknown) => {
        if (this.loss) {
          return;
        }
        const error = A2AError.from(thrown);
        // A server that has just come back may be too busy for a moment.
        if (!hasReason(error, "OVERLOADED")) {
          this.refusal = error;
        }
        this.fail(error);
      },
    );
  }

  #use(session: RpcStub<Session>): void {
    this.session = session;
    this.operations = session as unknown as RpcStub<Operations>;
  }

  #isAccepted(): void {
    if (this.loss) {
      return;
    }
    this.acceptedAt = performance.now();
    clearTimeout(this.#timer);
    this.#watch();
    this.#accept();
    this.#onAccepted(this);
    if (this.#settings.renewal) {
      // Who cannot renew finds the session expired some day, and the client then opens another line.
      this.#keepAlive(this.#settings.renewal).catch(() => {});
    }
  }

  /** Puts the session's end off, again and again, while there is a line. */
  async #keepAlive(renewal: () => Credentials | Promise<Credentials>): Promise<void> {
    const { session } = this;
    let expires = (await session?.whoAmI())?.expires;
    while (session && expires !== undefined) {
      const leftMs = Date.parse(expires) - Date.now();
      await this.#sleep(Math.max(leftMs * RENEW_AT, SHORTEST_WAIT_MS));
      if (this.loss) {
        return;
      }
      const renewed = (await session.renew(await renewal())).expires;
      if (renewed === expires) {
        return;
      }
      expires = renewed;
    }
  }

  /** A wait that a lost line ends. */
  async #sleep(ms: number): Promise<void> {
    this.#renewing = new Pause(Math.min(ms, LONGEST_TIMER_MS));
    await this.#renewing.done;
    this.#renewing = undefined;
  }

  /** Asks a silent server whether it is there: no page can see the pings of its WebSocket. */
  #watch(): void {
    const { heartbeatMs } = this.#settings;
    if (heartbeatMs <= 0) {
      return;
    }
    const silence = performance.now() - this.#transport.lastHeard;
    if (silence < heartbeatMs) {
      this.#after(heartbeatMs - silence, () => this.#watch());
      return;
    }
    const asked = performance.now();
    const ignored = () => {};
    this.service.info().then(ignored, ignored);
    this.#after(heartbeatMs, () => {
      if (this.#transport.lastHeard < asked) {
        this.fail(new A2AError("DISCONNECTED", `the server has been silent for ${2 * heartbeatMs} ms`));
      } else {
        this.#watch();
      }
    });
  }

  #after(ms: number, what: () => void): void {
    this.#timer = setTimeout(what, ms);
  }

  #lost(why: A2AError): void {
    this.loss = why;
    clearTimeout(this.#timer);
    this.#renewing?.end();
    this.#reject(why);
    this.#onLoss(this);
  }
}

/** A socket to the address; what is no address will not become one. */
function opened({ WebSocket, url }: LineSettings): WebSocketLike {
  try {
    return new WebSocket(url);
  } catch (cause) {
    throw new A2AError("INVALID_PARAMS", `${url} is no address of a WebSocket`, { cause });
  }
}
