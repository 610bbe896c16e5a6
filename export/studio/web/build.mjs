// Bundles the page into ../static (or the folder given as argument): twice built, same bytes.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, "..", "static");
mkdirSync(out, { recursive: true });

const common = { bundle: true, minify: true, legalComments: "none", logLevel: "warning" };
await build({
  ...common,
  entryPoints: [join(here, "src", "main.jsx")],
  outfile: join(out, "main.js"),
  format: "esm",
  target: ["chrome123", "firefox121", "safari17.5"],
  jsx: "transform", // shorter than calls of jsx()
  jsxFactory: "h",
  jsxFragment: "Fragment",
  inject: [join(here, "src", "jsx.js")],
  charset: "utf8",
});
await build({
  ...common,
  entryPoints: [join(here, "src", "studio.css")],
  outfile: join(out, "studio.css"),
  target: ["chrome123", "firefox121", "safari17.5"],
});
copyFileSync(join(here, "src", "index.html"), join(out, "index.html"));

// Preact's files carry no licence comment, so its licence is written out here.
const preact = join(here, "node_modules", "preact");
const { version } = JSON.parse(readFileSync(join(preact, "package.json"), "utf8"));
writeFileSync(
  join(out, "THIRD_PARTY.txt"),
  `main.js contains preact ${version} (https://preactjs.com), under this licence:\n\n` +
    readFileSync(join(preact, "LICENSE"), "utf8"),
);
