// What of the page can be said without a browser: how output with colours is read, and what two texts differ in.
import assert from "node:assert/strict";
import { build } from "../../ui/node_modules/esbuild/lib/main.js";

/** A module of the page, as node takes it. */
async function module(path) {
  const made = await build({ entryPoints: [new URL(`../../ui/src/${path}`, import.meta.url).pathname], bundle: true, write: false, format: "esm", platform: "neutral", logLevel: "error" });
  return import(`data:text/javascript;base64,${Buffer.from(made.outputFiles[0].text).toString("base64")}`);
}

const { Ansi } = await module("ansi.ts");
const read = (...texts) => { const ansi = new Ansi(); return texts.flatMap((text) => ansi.read(text)).map(({ text, classes }) => [text, classes]); };
assert.deepEqual(read("\x1b[31mred\x1b[0m plain"), [["red", "f1"], [" plain", ""]]);
assert.deepEqual(read("\x1b[1;4", ";32mboth"), [["both", "a1 a4 f2"]], "a sequence may come in two pieces");
// Everything else of a terminal is dropped: the clipboard, links, titles, the cursor, C1 controls.
assert.deepEqual(read("a\x1b]52;c;ZXZpbA==\x07b\x1b[2Jc\x1b]8;;http://evil.test\x07d\x1b]8;;\x07e\x1bPq\x1b\\f\x9b31mg\x07").map(([text]) => text).join(""), "abcdef31mg");
assert.deepEqual(read("10%\r20%\r100%\ndone"), [["100%\ndone", ""]]);
assert.deepEqual(read("\x1b[38;5;196mx\x1b[38;2;0;200;0my\x1b[48;5;12mz").map(([, classes]) => classes), ["f1", "f2", "f2"]);
for (let round = 0; round < 2000; round += 1) {
  const text = Array.from({ length: 40 }, () => "\x1b[]m;0123489?\x07\\ab\n\x9d"[Math.floor(Math.random() * 19)]).join("");
  const said = read(text).map(([one]) => one).join("");
  assert.ok(!/[\x00-\x08\x0b-\x1f\x7f-\x9f]/.test(said), JSON.stringify(text));
}
console.log("ok: output with colours");
