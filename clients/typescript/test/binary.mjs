// The server that this repository builds, started as people start it, and killed as power cuts do.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, statSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** What everybody here logs in with. */
export const KEY = "a-development-key-for-tests-and-nothing-else";

const target = process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL("../../../target", import.meta.url));
const built = ["debug", "release"].map((profile) => join(target, profile, "a2a-webcap")).filter(isProgram);
// The one that was built last is the one that is meant.
const program = process.env.A2A_WEBCAP_BIN ?? built.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0];

/** Why what needs the server is skipped, if it is. */
export const withoutServer = lacking(program, "the server is not built: cargo build --bin a2a-webcap, or name one in A2A_WEBCAP_BIN");

/** Debian's Chromium, or another. */
export const chromiumPath = process.env.CHROMIUM ?? inPath("chromium", "chromium-browser", "google-chrome");
/** Why what needs a browser is skipped, if it is. */
export const withoutBrowser = lacking(chromiumPath, "there is no Chromium: name one in CHROMIUM");

/**
 * Starts `a2a-webcap serve` with a store in a directory of its own. Options: the `agent`; further `args`; `config`, the
 * text of a file with settings. `kill` ends it without a word, `restart` starts it again on the same port and store;
 * `configure` gives it other settings for that.
 */
export async function startServer(t, { agent = "demo", args = [], config } = {}) {
  const dir = await mkdtemp(join(tmpdir(), "a2a-webcap-ts-"));
  if (config !== undefined) {
    await writeFile(join(dir, "config.toml"), config);
    args = [...args, "--config", join(dir, "config.toml")];
  }
  const server = { port: 0, child: undefined, printed: [] };
  const start = async () => {
    const all = ["serve", "--listen", `127.0.0.1:${server.port}`, "--store", join(dir, "store"), "--agent", agent, ...args];
    const env = { PATH: process.env.PATH, A2A_WEBCAP_STATE_DIR: dir, ...(config === undefined && { A2A_WEBCAP_DEV_KEY: KEY }) };
    const child = spawn(program, all, { env, stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    child.stderr.on("data", (bytes) => (said = `${said}${bytes}`.slice(-4_000)));
    server.child = child;
    const lines = createInterface({ input: child.stdout });
    for await (const line of lines) {
      server.printed.push(line);
      const address = /^Listening: http:\/\/127\.0\.0\.1:(\d+)$/.exec(line);
      if (address) server.port = Number(address[1]);
      if (line.startsWith("Try,")) break;
    }
    if (!server.port) throw new Error(`the server did not start: ${said}`);
  };
  server.kill = async () => {
    const { child } = server;
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  };
  server.configure = (config) => writeFile(join(dir, "config.toml"), config);
  server.restart = async () => {
    await server.kill();
    await start();
  };
  t.after(async () => {
    await server.kill();
    await rm(dir, { recursive: true, force: true });
  });
  await start();
  server.url = `ws://127.0.0.1:${server.port}/capnweb`;
  server.page = `http://127.0.0.1:${server.port}/console/`;
  return server;
}

/** A word for what is not there. Where everything has to be there, that is a failure. */
function lacking(found, word) {
  if (found === undefined && process.env.A2A_WEBCAP_NEED_NODE === "1") throw new Error(word);
  return found === undefined && word;
}

function inPath(...names) {
  const folders = (process.env.PATH ?? "").split(delimiter);
  return folders.flatMap((folder) => names.map((name) => join(folder, name))).find(isProgram);
}

function isProgram(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
