// Bundle the page: program, style and page; what it loads is written by make_data.py.
import { copyFileSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { build } from "esbuild";

const here = dirname(new URL(import.meta.url).pathname);
const out = process.argv[2] ?? join(here, "..", "..", "build", "site");

await build({
  entryPoints: [join(here, "src", "main.js")],
  outfile: join(out, "live.js"),
  bundle: true,
  minify: true,
  format: "iife", // a browser loads no module from a disk
  define: { "import.meta.url": "document.baseURI" },
  legalComments: "linked",
  logLevel: "warning",
});
for (const name of ["index.html", "live.css"]) copyFileSync(join(here, "src", name), join(out, name));

const mathjax = join(here, "..", "node_modules", "mathjax", "es5", "tex-svg-full.js"); // one file, letters as paths: no fonts
mkdirSync(join(out, "_static"), { recursive: true });
copyFileSync(mathjax, join(out, "_static", "mathjax.js"));
