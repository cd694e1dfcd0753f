// Starts Node before its program is known: waits until it comes, then goes on as the runner does. Protocol: ../PROTOCOL.md.
'use strict';

const { readSync, writeSync, closeSync } = require('fs');

const ERRAND = 4;
const BYTES_MAX = 256 << 10;

// Arguments after the program's file, and the environment. Two counts, then words with their NUL (crates/sandbox/src/command.rs).
function readErrand() {
  const bytes = Buffer.allocUnsafe(BYTES_MAX);
  const length = readSync(ERRAND, bytes);
  // Nobody needs this interpreter any more.
  if (length === 0) process.reallyExit(0);
  const [args, variables] = [bytes.readUInt32LE(0), bytes.readUInt32LE(4)];
  const words = bytes.toString('utf8', 8, length).split('\0');
  const file = words.indexOf(process.argv[1]);
  const env = words.slice(args, args + variables).map((word) => {
    const at = word.indexOf('=');
    return [word.slice(0, at), word.slice(at + 1)];
  });
  return { args: words.slice(file + 1, args), env: Object.fromEntries(env), directory: words[args + variables] };
}

function wait() {
  // What most programs and their output need. Output itself is not touched: its first use sets the pipe's mode for all who share it.
  for (const name of ['vm', 'util', 'url', 'path', 'module', 'net', 'tty']) require(name);
  writeSync(ERRAND, 'ready');
  const { args, env, directory } = readErrand();
  for (const name of Object.keys(process.env)) {
    if (!(name in env)) delete process.env[name];
  }
  for (const [name, value] of Object.entries(env)) {
    if (process.env[name] !== value) process.env[name] = value;
  }
  process.argv.push(...args);
  // The second message: what belongs into the workspace is there.
  if (readSync(ERRAND, Buffer.allocUnsafe(1)) === 0) process.reallyExit(0);
  closeSync(ERRAND);
  if (process.cwd() !== directory) process.chdir(directory);
}

delete require.cache[__filename];
// In a worker, which is started like its process, nothing waits.
if (process.chdir.disabled !== true) wait();
require('./runner.cjs');
