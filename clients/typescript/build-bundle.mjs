// Makes dist/a2a-webcap.bundle.js: the package and capnweb in one file, for pages without a build of their own. With
// nothing left external, esbuild refuses what a browser does not have.

import { build } from "esbuild";

await build({
  entryPoints: ["dist/index.js"],
  outfile: "dist/a2a-webcap.bundle.js",
  bundle: true,
  format: "esm",
  platform: "browser",
  target: "es2022",
  minify: true,
  legalComments: "eof",
});
