// Bundle the page: program, style, page and the WebAssembly runtime, packed as the other data are (make_data.py).
import { copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = dirname(new URL(import.meta.url).pathname);
const out = process.argv[2] ?? join(here, "..", "..", "build", "site");
mkdirSync(join(out, "data"), { recursive: true });

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

const packages = join(here, "..", "node_modules");
const runtime = readFileSync(join(packages, "onnxruntime-web", "dist", "ort-wasm-simd-threaded.wasm"));
const packed = gzipSync(runtime, { level: 9 }).toString("base64");
writeFileSync(join(out, "data", "runtime.js"), `liveData("runtime", "${packed}");\n`);
console.log(`runtime: ${(runtime.length / 1e6).toFixed(2)} MB, packed ${(packed.length / 1e6).toFixed(2)} MB`);

const mathjax = join(packages, "mathjax", "es5", "tex-svg-full.js"); // one file, letters as paths: no fonts
mkdirSync(join(out, "_static"), { recursive: true });
cpSync(mathjax, join(out, "_static", "mathjax.js"));
