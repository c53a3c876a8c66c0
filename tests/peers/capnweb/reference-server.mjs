// The objects of A2A over Cap'n Web on the npm library, in memory: a peer for tests, and what others are compared
// with. Run it (`node reference-server.mjs [PORT]`), and it says on one line of JSON where it listens; or import it.

import { once } from "node:events";
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";
import { newWebSocketRpcSession, nodeHttpBatchRpcResponse } from "capnweb";
import { WebSocket, WebSocketServer } from "ws";
import { Context, ServiceTarget } from "./reference/objects.mjs";
import { World } from "./reference/world.mjs";

export { World };

// The library asks the platform's class for its constants, and Node 20 has none.
globalThis.WebSocket ??= WebSocket;

const PATH = "/capnweb";
const MAX_PAYLOAD = 32 * 1024 * 1024;

/**
 * Starts a server on the loopback interface. Options: `port`; `keys`, a subject for each API key; `anonymous`,
 * whether to let in without; `world`, to go on with the tasks of another server.
 */
export async function startReferenceServer({ port = 0, keys = { "test-key": "alice", "other-key": "bob" }, anonymous = false, world = new World() } = {}) {
  const http = createServer();
  const sockets = new WebSocketServer({ server: http, path: PATH, maxPayload: MAX_PAYLOAD, perMessageDeflate: false });
  http.listen(port, "127.0.0.1");
  await once(http, "listening");
  const address = `127.0.0.1:${http.address().port}`;
  const context = new Context({ world, keys, anonymous, card: card(`http://${address}${PATH}`) });

  sockets.on("connection", (socket) => {
    socket.on("error", () => {});
    newWebSocketRpcSession(socket, new ServiceTarget(context));
  });
  http.on("request", async (request, response) => {
    if (new URL(request.url, "http://x").pathname !== PATH) {
      response.writeHead(404).end();
      return;
    }
    try {
      await nodeHttpBatchRpcResponse(request, response, new ServiceTarget(context));
    } catch (error) {
      if (!response.headersSent) response.writeHead(400).end(error.message);
    }
  });

  return {
    url: `ws://${address}${PATH}`,
    port: http.address().port,
    world,
    /** How many objects of which kind clients hold. */
    live: context.live,
    /** The streams that go on, each with its `lastSeq`. */
    feeds: context.feeds,
    /** How many connections there are. */
    connections: () => sockets.clients.size,
    /** Cuts every connection off, without a word. */
    cut() {
      for (const socket of sockets.clients) socket.terminate();
    },
    /** Stops listening and cuts everything off. Tasks live on in the world. */
    async close() {
      this.cut();
      sockets.close();
      http.close();
      http.closeAllConnections();
      await once(http, "close");
    },
  };
}

function card(url) {
  return {
    name: "Demo",
    description: "Shows what a task can do. The first word of a message selects the skill.",
    supportedInterfaces: [{ url, protocolBinding: "https://a2a-webcap.dev/bindings/capnweb/v1", protocolVersion: "1.0" }],
    version: "0.1.0",
    capabilities: { streaming: true },
    defaultInputModes: ["text/plain"],
    defaultOutputModes: ["text/plain"],
    skills: [{ id: "stream", name: "stream", description: "Streams an artifact.", tags: ["stream"], examples: ["stream 20 50ms"] }],
  };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const server = await startReferenceServer({ port: Number(process.argv[2] ?? 0) });
  console.log(JSON.stringify({ url: server.url }));
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => server.close().then(() => process.exit(0)));
}
