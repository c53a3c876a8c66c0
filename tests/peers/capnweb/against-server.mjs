// Does with a server what a page would do, on the npm library, and judges what comes.
//
//   node against-server.mjs 0.12 trace http://127.0.0.1:8420/capnweb KEY
//
// Prints a line of JSON when the scenario has gone well. Where a connection is to be looked at from the other side, it
// stays open until standard input says something.

import { once } from "node:events";
import { library } from "./client/connection.mjs";
import { scenarios } from "./client/scenarios.mjs";

const [version, name, url, key] = process.argv.slice(2);
const scenario = scenarios[name];
if (!scenario) throw new Error(`no scenario is called ${name}`);

Symbol.dispose ??= Symbol.for("dispose");
const rpc = await library(version);
const { connection, ...result } = (await scenario({ rpc, url, key })) ?? {};
if (connection) {
  const shown = { stats: connection.stats(), before: connection.before };
  console.log(JSON.stringify(shown));
  await once(process.stdin, "data");
  await connection.close();
} else {
  console.log(JSON.stringify(result));
}
process.exit();
