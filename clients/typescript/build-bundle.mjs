// Makes dist/a2a-webcap.bundle.js: the package and capnweb in one file, for pages without a build of their own.

import { build } from "esbuild";

await build({
  entryPoints: ["dist/index.js"],
  outfile: "dist/a2a-webcap.bundle.js",
  bundle: true,
  format: "esm",
  platform: "browser",
  target: "es2022",
  minify: true,
  // The server half of capnweb is not called, but named: nothing of it may ask for Node.
  external: ["node:*"],
  legalComments: "eof",
});
