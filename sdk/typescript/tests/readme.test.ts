/** Runs every example of README.md, as one program as a reader would, and compares what it prints. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";

test("examples print what they say", () => {
  const readme = readFileSync("README.md", "utf8");
  const pairs = [...readme.matchAll(/^```ts\n(.*?)^```\n\n^```text\n(.*?)^```$/gms)];
  assert.equal(pairs.length, 6);
  assert.equal(readme.match(/^```ts$/gm)?.length, pairs.length, "every example shows what it prints");
  const mark = "--- next";
  writeFileSync("build/readme.mts", pairs.map(([, code]) => `${code}console.log("${mark}");\n`).join(""));
  const lib = ["--lib", "es2022,dom,dom.iterable,dom.asynciterable,esnext.disposable"];
  const how = ["--strict", "--skipLibCheck", "--module", "nodenext", "--target", "es2022", ...lib, "--types", "node"];
  execFileSync("node_modules/.bin/tsc", [...how, "build/readme.mts"], { stdio: "inherit" });
  const env = { ...process.env, FIRECLAY_URL: process.env["FIRECLAY_TEST_URL"] };
  const printed = execFileSync("node", ["build/readme.mjs"], { encoding: "utf8", env }).split(`${mark}\n`);
  assert.deepEqual(printed.slice(0, -1), pairs.map(([, , text]) => text));
});
