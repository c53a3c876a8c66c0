// The reference server: npm capnweb with the test service, over WebSocket and HTTP batch, on a free port of the
// loopback. Prints the port and serves until its standard input ends, so that it cannot outlive who started it.

import { createServer } from "node:http";
import { newWebSocketRpcSession, nodeHttpBatchRpcResponse } from "capnweb";
import { WebSocket, WebSocketServer } from "ws";
import { Service } from "./service.mjs";

// capnweb compares the socket's state with constants of the global class, which Node 20 does not have.
globalThis.WebSocket ??= WebSocket;

// A service that drops a promise, or a batch that is garbage, must not end the process (which it would).
process.on("unhandledRejection", () => {});

const server = createServer((request, response) => {
  nodeHttpBatchRpcResponse(request, response, new Service()).catch(() => {});
});
new WebSocketServer({ server }).on("connection", (socket) => {
  newWebSocketRpcSession(socket, new Service());
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));

process.stdin.resume();
process.stdin.on("end", () => process.exit());
