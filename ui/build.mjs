// Makes the files of the console that the binary serves, from src/. They are committed, so building fireclay needs no Node.
//     node build.mjs           writes them
//     node build.mjs --check   fails, and says which, if what is committed is not what it would write
import { build } from "esbuild";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";

const here = dirname(fileURLToPath(import.meta.url));
const assets = join(here, "../crates/server/assets/console");
const licences = join(here, "THIRD-PARTY.txt");

// xterm.js writes colours that are not of its theme as an attribute, which the page's policy forbids; as a property it is let in.
const AS_ATTRIBUTE = 't.setAttribute("style",`${t.getAttribute("style")||""}${e};`)';
const AS_PROPERTY = "t.style.cssText+=e";
const styles = {
  name: "styles",
  setup({ onLoad }) {
    onLoad({ filter: /@xterm\/xterm\/lib\/xterm\.mjs$/ }, ({ path }) => {
      const text = readFileSync(path, "utf8");
      if (text.split(AS_ATTRIBUTE).length !== 2) throw new Error("xterm.js writes styles in another way than it did");
      return { contents: text.replace(AS_ATTRIBUTE, () => AS_PROPERTY), loader: "js" };
    });
  },
};

/** Every file by its name, as bytes; not compressed. */
export async function make({ minify = true } = {}) {
  const shared = {
    absWorkingDir: here, bundle: true, write: false, minify, metafile: true, outdir: "out", entryNames: "[name]-[hash]",
    legalComments: "none", logLevel: "warning", charset: "utf8",
  };
  const frame = await build({ ...shared, entryPoints: ["src/frame.css"] });
  const named = (result, end) => result.outputFiles.map((file) => relative(join(here, "out"), file.path)).find((name) => end.test(name));
  const app = await build({
    ...shared, entryPoints: ["src/main.tsx"], format: "esm", splitting: true, chunkNames: "[name]-[hash]", target: "es2022", plugins: [styles],
    jsx: "automatic", jsxImportSource: "preact", define: { FRAME_CSS: JSON.stringify(`/console/assets/${named(frame, /\.css$/)}`) },
  });
  const files = new Map();
  for (const file of [...frame.outputFiles, ...app.outputFiles]) files.set(relative(join(here, "out"), file.path), Buffer.from(file.contents));
  const page = readFileSync(join(here, "src/index.html"), "utf8")
    .replace("MAIN_JS", named(app, /^main-.*\.js$/)).replace("MAIN_CSS", named(app, /^main-.*\.css$/));
  files.set("index.html", Buffer.from(page));
  return { files, licences: collect([app, frame]) };
}

/** The licences of every package that is in the files. */
function collect(results) {
  const packages = new Set();
  for (const { metafile } of results) {
    for (const input of Object.keys(metafile.inputs)) {
      const found = /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
      if (found) packages.add(found[1]);
    }
  }
  const parts = [...packages].sort().map((name) => {
    const at = join(here, "node_modules", name);
    const { version, license } = JSON.parse(readFileSync(join(at, "package.json"), "utf8"));
    if (!/^(MIT|Apache-2\.0|BSD-[23]-Clause|ISC|MPL-2\.0)$/.test(license)) throw new Error(`${name}: the licence ${license}`);
    const file = readdirSync(at).find((one) => /^licen[cs]e/i.test(one));
    if (!file) throw new Error(`${name}: no licence file`);
    return `${name} ${version} (${license})\n${"-".repeat(60)}\n${readFileSync(join(at, file), "utf8").trim()}\n`;
  });
  return `The console of fireclay has these packages in it. ui/build.mjs writes this file.\n\n${parts.join("\n\n")}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { files, licences: text } = await make();
  if (process.argv.includes("--check")) {
    const stale = [];
    const there = new Set(readdirSync(assets));
    for (const [name, bytes] of files) {
      // Compressors differ between machines; what comes out of them does not.
      const same = there.delete(`${name}.gz`) && gunzipSync(readFileSync(join(assets, `${name}.gz`))).equals(bytes);
      if (!same) stale.push(name);
    }
    stale.push(...there);
    if (readFileSync(licences, "utf8") !== text) stale.push("THIRD-PARTY.txt");
    if (stale.length > 0) {
      console.error(`not what ui/src makes: ${stale.join(", ")}; run \`npm ci --ignore-scripts && npm run build\` in ui/`);
      process.exit(1);
    }
    console.log(`fresh: ${files.size} files`);
  } else {
    rmSync(assets, { recursive: true, force: true });
    mkdirSync(assets, { recursive: true });
    for (const [name, bytes] of files) {
      const gzip = gzipSync(bytes, { level: 9 });
      gzip[9] = 255; // RFC 1952, 2.3.1: the system it was made on is unknown.
      writeFileSync(join(assets, `${name}.gz`), gzip);
      console.log(`${String(bytes.length).padStart(8)} ${String(gzip.length).padStart(8)}  ${name}`);
    }
    writeFileSync(licences, text);
  }
}
