// Makes dist/a2a-webcap.bundle.js: the package and capnweb in one file, for pages without a build of their own. With
// nothing left external, esbuild refuses what a browser does not have. `--console` puts it beside the example page too,
// which is the copy that the server carries.

import { copyFile, readFile } from "node:fs/promises";
import { build } from "esbuild";

const OUT = "dist/a2a-webcap.bundle.js";
const CONSOLE = "../../examples/browser/a2a-webcap.js";

// The licence of capnweb asks to go with every copy.
const licence = (await readFile("node_modules/capnweb/LICENSE.txt", "utf8")).trim();
const notice = `a2a-webcap (Apache-2.0), with capnweb, whose licence is:\n\n${licence}`;
if (notice.includes("*/")) throw new Error("the licence cannot stand in a comment");

await build({
  entryPoints: ["dist/index.js"],
  outfile: OUT,
  bundle: true,
  format: "esm",
  platform: "browser",
  target: "es2022",
  minify: true,
  legalComments: "eof",
  banner: { js: `/*\n${notice}\n*/` },
});
if (process.argv.includes("--console")) await copyFile(OUT, CONSOLE);
