// Runs a program, then tests that it could not read before, and says under a nonce that they passed. Guarantees: docs/batches.md.
//
//     stdin: "NONCE append TEST_BYTES STDIN_BYTES\n" TEST STDIN     argv: FILE ARGS…
//
// Two processes, as in ../python/grader.py: the child starts before the secrets are read, asks for the tests when the program has
// run, and gets the token that it must send back when nothing is left to do.
'use strict';

const { spawn } = require('node:child_process');
const { randomBytes } = require('node:crypto');
const fs = require('node:fs');

const TOKEN_BYTES = 16;

function child() {
  'use strict';
  const fs = require('fs');
  const vm = require('vm');
  const path = require('path');
  const Module = require('module');
  const assert = require('assert');
  const { readSync, writeSync } = fs;
  const { on } = process;
  const { alloc, from } = Buffer;
  const { ownKeys, apply } = Reflect;
  const { getOwnPropertyDescriptor, defineProperty } = Object;
  const { Script } = vm;

  const read = (size) => {
    const bytes = alloc(size);
    for (let got = 0; got < size;) {
      const part = readSync(3, bytes, got, size - got);
      if (part === 0) throw new Error('the grader is gone');
      got += part;
    }
    return bytes;
  };

  // What the program might change so that tests pass, as it is before the program.
  const kept = [];
  for (const thing of [Object, Object.prototype, Function.prototype, Array, Array.prototype, String.prototype, Number, Number.prototype,
    Boolean.prototype, JSON, Math, Reflect, Promise, Promise.prototype, Map.prototype, Set.prototype, RegExp.prototype, Error,
    Error.prototype, assert, assert.strict, assert.AssertionError.prototype, process, console, vm.Script.prototype]) {
    for (const key of ownKeys(thing)) {
      const descriptor = getOwnPropertyDescriptor(thing, key);
      if (descriptor.configurable && !(thing === process && key.startsWith?.('_'))) kept.push([thing, key, descriptor]);
    }
  }
  const restore = () => {
    for (let at = 0; at < kept.length; at++) {
      try { defineProperty(kept[at][0], kept[at][1], kept[at][2]); } catch { /* Frozen by the program: then as it was frozen. */ }
    }
  };

  read(1);
  const file = path.resolve(process.argv[1]);
  const isTyped = /\.[cm]?ts$/.test(file);
  const plain = (text) => {
    if (!isTyped) return text;
    return require('/opt/fireclay/javascript/vendor/sucrase.cjs').strip(text);
  };
  const main = new Module(file, null);
  main.filename = file;
  main.paths = Module._nodeModulePaths(path.dirname(file));
  const require_ = Module.createRequire(file);
  require_.main = main;
  Object.assign(globalThis, { require: require_, module: main, exports: main.exports, __filename: file, __dirname: path.dirname(file) });
  const importModuleDynamically = vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER;
  const script = (text, filename) => new Script(text, { filename, importModuleDynamically });
  const { runInThisContext } = Script.prototype;
  apply(runInThisContext, script(plain(fs.readFileSync(file, 'utf8')), file), []);

  writeSync(4, 'R');
  const text = plain(read(read(4).readUInt32LE(0)).toString('utf8'));
  restore();
  let tests;
  try {
    tests = script(text, '<tests>');
  } catch (error) {
    if (!/\bawait\b/.test(text)) throw error;
    tests = script(`(async () => {${text}\n})()`, '<tests>');
  }
  const report = () => {
    if (process.exitCode) return;
    writeSync(4, read(16));
    writeSync(4, 'P');
  };
  const value = apply(runInThisContext, tests, []);
  // When nothing is left to do: a promise nobody waited for may still be rejected, a timer may still throw.
  const finish = () => apply(on, process, ['beforeExit', report]);
  if (value !== null && typeof value === 'object' && typeof value.then === 'function') value.then(finish);
  else finish();
  from('');
}

const asked = spawn(process.execPath, ['-e', `(${child})()`, ...process.argv.slice(2)], {
  stdio: ['pipe', 'inherit', 'inherit', 'pipe', 'pipe'],
});
const data = fs.readFileSync(0);
const end = data.indexOf(10);
const [nonce, , testBytes] = data.subarray(0, end).toString().split(' ');
const test = data.subarray(end + 1, end + 1 + Number(testBytes));
const token = randomBytes(TOKEN_BYTES);
const [stdin, , , down, up] = asked.stdio;
let said = Buffer.alloc(0);
let told = false;
for (const pipe of [stdin, down, up]) pipe.on('error', () => { /* The child has ended: what it did not say, it did not do. */ });
stdin.end(data.subarray(end + 1 + Number(testBytes)));
down.write('a');
up.on('data', (part) => {
  said = Buffer.concat([said, part]);
  if (!told && said[0] === 0x52) {
    told = true;
    const size = Buffer.alloc(4);
    size.writeUInt32LE(test.length);
    down.write(Buffer.concat([size, test, token]));
  }
});
asked.on('close', (code, signal) => {
  const proven = said.length === TOKEN_BYTES + 2 && said.subarray(1, -1).equals(token) && said[said.length - 1] === 0x50;
  const word = proven && code === 0 ? 'passed' : told ? 'failed' : 'ended-early';
  fs.writeSync(2, `\n${nonce} ${word}\n`);
  if (signal) process.kill(process.pid, signal);
  process.exit(code ?? 1);
});
