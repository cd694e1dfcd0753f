// Keeps one Node for many runs: reads orders, runs each program in the same context, says what became of it. Protocol: ../PROTOCOL.md.
//
// V8 itself evaluates as a REPL does (the inspector's `replMode`: declarations that may be repeated); a script around it lets SIGINT stop
// it (`breakOnSigint`). Top-level await is made as Node's REPL makes it, since V8's own way is fatal to Node: a promise that is never
// settled is collected, and the inspector tells of that in the middle of the collection. The program may change any global, so everything
// needed later is taken here.
'use strict';

const fs = require('fs');
const inspector = require('inspector');
const { Script } = require('vm');
const { createRequire, builtinModules } = require('module');
const { inspect } = require('util');
const { Socket } = require('net');
const path = require('path');
const { pathToFileURL } = require('url');
const { RESULT, ERROR, openChannel, send, describe, describeError, framesOf, readLines, erase, loadTypeScript, hasModuleSyntax,
  compiles } = require('./runner.cjs');

const ORDERS = 4;
const DISPLAY = 2;
const DONE = 4;
const READY = 5;
const DISPLAYS_MAX = 64;
const DISPLAYS_BYTES_MAX = 32 << 20;
const QUIET_MS = 100;
const SOURCES_BYTES_MAX = 16 << 20;
// As long as `import`, so that no column moves; nobody else's name.
const IMPORT = '\u0131mport';

const { chdir, cwd } = process;
const { openSync, closeSync, readFileSync, statSync } = fs;
const { defineProperty } = Object;
const now = performance.now.bind(performance);
const { stringify, parse } = JSON;
const { apply } = Reflect;
const later = setImmediate;
const { then } = Promise.prototype;
const channel = openChannel();

// Sources, for the lines of errors.

const sources = new Map();
let sourcesBytes = 0;

function remember(name, source) {
  sourcesBytes += source.length - (sources.get(name)?.length ?? 0);
  sources.delete(name);
  sources.set(name, source);
  for (const [oldest, text] of sources) {
    if (sourcesBytes <= SOURCES_BYTES_MAX || oldest === name) break;
    sources.delete(oldest);
    sourcesBytes -= text.length;
  }
}

const linesOf = (name) => sources.get(name)?.split('\n') ?? readLines(name);

// What programs find.

// `import` as of a file in the working directory. By Node's own loader, which its REPL asks, too.
function importer() {
  const load = () => {
    try {
      return require('internal/modules/esm/loader').getOrInitializeCascadedLoader();
    } catch {
      return require('internal/process/esm_loader').esmLoader; // Node 18.
    }
  };
  return async (specifier, more) => load().import(String(specifier), pathToFileURL(`${cwd()}/session`).href,
    more?.with ?? more?.assert ?? { __proto__: null });
}

function furnish() {
  const hidden = (name, value) => defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
  hidden(IMPORT, importer());
  const module = { exports: {}, id: '<session>', filename: null, loaded: false, children: [], paths: [] };
  hidden('module', module);
  hidden('exports', module.exports);
  let required;
  let directory;
  defineProperty(globalThis, 'require', {
    configurable: true,
    enumerable: false,
    get() {
      if (directory !== cwd()) {
        directory = cwd();
        required = createRequire(path.join(directory, 'session'));
      }
      return required;
    },
    set: (value) => hidden('require', value),
  });
  hidden('display', (...values) => values.forEach(show));
  for (const name of builtinModules) {
    if (/^_|\/|^process$|^console$|^module$/.test(name) || name in globalThis) continue;
    defineProperty(globalThis, name, {
      configurable: true,
      enumerable: false,
      get: () => globalThis.require(name),
      set: (value) => hidden(name, value),
    });
  }
  defineProperty(globalThis, '_', {
    configurable: true,
    enumerable: false,
    get: () => last,
    set: (value) => hidden('_', value),
  });
  process.exit = exit;
  defineProperty(process, 'stdin', { configurable: true, enumerable: true, get: stdin, set: (value) => { input = value; } });
  process.argv.length = 1;
  process.on('SIGINT', interrupt);
  process.on('uncaughtException', (error) => fail(error));
  process.on('unhandledRejection', (error) => fail(error));
}

let last;
// What the run may still display.
let displays = 0;
let displayBytes = 0;

function show(value) {
  if (displays <= 0 || displayBytes <= 0) return;
  displays--;
  displayBytes -= send(channel, DISPLAY, describe(value));
}

// Standard input: descriptor 0 for those who read it at once, a stream for the others; both end with the run.

let input;
let inputPath = '/dev/null';

function openInput(file) {
  inputPath = file;
  // The lowest free descriptor.
  try { closeSync(0); } catch { /* The program did. */ }
  openSync(file);
}

function stdin() {
  if (input === undefined) {
    const isPipe = statSync(inputPath).isFIFO();
    input = isPipe ? new Socket({ fd: openSync(inputPath, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK), readable: true, writable: false }) :
      new fs.ReadStream(inputPath);
    input.fd = 0;
    input.on('error', () => { /* Then it has ended. */ });
    if (isPipe) input.pause();
  }
  return input;
}

function closeInput() {
  try { input?.destroy(); } catch { /* Of the program's own making. */ }
  input = undefined;
  openInput('/dev/null');
}

// Programs.

// The source as the inspector takes it: `import(…)` by another name, `import … from` as what it means, `const` as `let`, an object literal
// in brackets.
function prepare(source) {
  let text = source;
  if (/\b(?:import|const)\b/.test(text)) text = rewritten(text);
  if (hasModuleSyntax(text)) text = text.replace(/^([ \t]*)export\s+(?:default\s+)?(?=const|let|var|function|class|async)/gm, (match) => ' '.repeat(match.length));
  if (/\bawait\b/.test(text)) {
    try {
      const awaiting = require('internal/repl/await').processTopLevelAwait(text);
      if (awaiting !== null) return { text: awaiting, awaits: true };
    } catch { /* V8 says what is wrong. */ }
  }
  if (/^\s*\{/.test(text) && !/;\s*$/.test(text) && compiles(`(async()=>{(${text}\n)})`)) text = `(${text}\n)`;
  return { text, awaits: false };
}

function rewritten(source) {
  let tree;
  const edits = [];
  const assigned = new Set();
  try {
    const { parse } = require('internal/deps/acorn/acorn/dist/acorn');
    const { simple } = require('internal/deps/acorn/acorn-walk/dist/walk');
    const options = { ecmaVersion: 'latest', allowAwaitOutsideFunction: true, allowHashBang: true };
    tree = parse(source, { ...options, sourceType: hasModuleSyntax(source) ? 'module' : 'script' });
    simple(tree, {
      ImportExpression: ({ start }) => edits.push([start, start + 6, IMPORT]),
      ImportDeclaration: (node) => edits.push([node.start, node.end, imported(node, source)]),
      AssignmentExpression: ({ left }) => namesOf(left, assigned),
      UpdateExpression: ({ argument }) => namesOf(argument, assigned),
    });
  } catch {
    return source; // V8 says what is wrong.
  }
  // V8 lets a run declare `const` again what was `const`, and nothing else; so it is `let` to V8. Not where this program assigns to it:
  // that fails as it should.
  for (const statement of tree.body) {
    const { type, kind, start, declarations } = statement.declaration ?? statement;
    if (type !== 'VariableDeclaration' || kind !== 'const') continue;
    const names = new Set();
    for (const { id } of declarations) namesOf(id, names);
    if (![...names].some((name) => assigned.has(name))) edits.push([start, start + 5, 'let  ']);
  }
  edits.sort(([left], [right]) => right - left);
  for (const [start, end, text] of edits) source = source.slice(0, start) + text + source.slice(end);
  return source;
}

// Adds the names that a pattern gives a value.
function namesOf(pattern, names) {
  switch (pattern?.type) {
    case 'Identifier': names.add(pattern.name); break;
    case 'ObjectPattern': for (const { value, argument } of pattern.properties) namesOf(value ?? argument, names); break;
    case 'ArrayPattern': for (const element of pattern.elements) namesOf(element, names); break;
    case 'AssignmentPattern': namesOf(pattern.left, names); break;
    case 'RestElement': namesOf(pattern.argument, names); break;
    default:
  }
}

// What an import declaration means, on as many lines.
function imported({ specifiers, source: { raw }, start, end }, source) {
  const lines = '\n'.repeat(source.slice(start, end).split('\n').length - 1);
  const module = `await ${IMPORT}(${raw})`;
  if (specifiers.length === 0) return `${module};${lines}`;
  const all = specifiers.find(({ type }) => type === 'ImportNamespaceSpecifier')?.local.name;
  const names = specifiers.filter(({ type }) => type !== 'ImportNamespaceSpecifier').map(({ type, imported: from, local }) =>
    `${type === 'ImportDefaultSpecifier' ? 'default' : from.name ?? stringify(from.value)}: ${local.name}`);
  if (all === undefined) return `let {${names}} = ${module};${lines}`;
  return names.length === 0 ? `let ${all} = ${module};${lines}` : `let ${all} = ${module}, {${names}} = ${all};${lines}`;
}

const isTyped = (name, options) => options.typescript === true || /\.[cm]?ts$/.test(name);

// The run that is on: {name, url, finish, isOn, isSynchronous, failed}.
let run = null;

const session = new inspector.Session();
session.connect();
const breaker = new inspector.Session();
breaker.connect();
let receiver;

// Calls `take` with the object that the inspector speaks of.
function receive({ objectId, value, unserializableValue, type }, take) {
  if (objectId === undefined) {
    if (unserializableValue !== undefined) return take(new Script(unserializableValue).runInThisContext());
    return take(type === 'undefined' ? undefined : value);
  }
  taken = take;
  session.post('Runtime.callFunctionOn', { objectId: receiver, functionDeclaration: 'function(value) { this.take(value) }', arguments: [{ objectId }], silent: true });
  session.post('Runtime.releaseObject', { objectId });
}

let taken;

function openReceiver() {
  const name = '__fireclay__';
  globalThis[name] = { take: (value) => taken(value) };
  session.post('Runtime.evaluate', { expression: name }, (error, { result }) => { receiver = result.objectId; });
  delete globalThis[name];
}

const post = session.post.bind(session);
const drainer = new Script('(() => { const end = performance.now() + 2; while (performance.now() < end); })()', { filename: 'node:session' });
const guarded = new Script('__fireclay_go__()', { filename: 'node:session' });

// Evaluates so that SIGINT ends it; what is evaluated finds its way back by `answer`.
function evaluate(expression, answer) {
  let started = false;
  const start = () => {
    started = true;
    post('Runtime.evaluate', { expression, replMode: true, silent: true }, answer);
  };
  for (;;) {
    defineProperty(globalThis, '__fireclay_go__', { configurable: true, get: () => { delete globalThis.__fireclay_go__; return start; } });
    try {
      guarded.runInThisContext({ breakOnSigint: true });
      return;
    } catch (error) {
      if (started) throw error;
    }
  }
}

// A signal that comes as Node stops listening for one run is taken for one of the next (src/node_watchdog.cc: a semaphore keeps it):
// listens for long enough to find it.
function drain() {
  try {
    drainer.runInThisContext({ breakOnSigint: true });
  } catch { /* Found. */ }
}

function perform(directory) {
  const take = (name) => { try { return readFileSync(`${directory}/${name}`, 'utf8'); } catch { return undefined; } };
  const here = cwd();
  const undo = [closeInput, () => chdir(here)];
  const name = take('name') ?? '<run>';
  // V8 takes no blanks and quotes in the names of sources.
  const current = { name, url: name.replace(/[\s'"]/g, '_'), isSynchronous: true, isOn: true };
  run = current;
  current.finish = (status, code) => {
    if (!current.isOn) return;
    current.isOn = false;
    // A rejection that nobody handles is known, and timers that are due have their say, a turn later.
    later(() => {
      if (current.said) drain();
      if (current.failed !== undefined) [status, code] = current.failed;
      run = null;
      for (const step of undo.reverse()) { try { step(); } catch { /* The directory is gone. */ } }
      send(channel, DONE, { status, code });
      next();
    });
  };
  try {
    const options = parse(take('options') ?? '{}');
    displays = Math.min(options.displays ?? DISPLAYS_MAX, DISPLAYS_MAX);
    displayBytes = Math.min(options.display_bytes ?? DISPLAYS_BYTES_MAX, DISPLAYS_BYTES_MAX);
    openInput(`${directory}/stdin`);
    const place = take('cwd');
    if (place !== undefined) chdir(place);
    else undo.splice(1, 1);
    for (const variable of (take('env') ?? '').split('\0').slice(0, -1)) {
      const at = variable.indexOf('=');
      const name = variable.slice(0, at);
      const before = process.env[name];
      undo.push(() => { if (before === undefined) delete process.env[name]; else process.env[name] = before; });
      process.env[name] = variable.slice(at + 1);
    }
    let source = take('code') ?? '';
    remember(current.url, source);
    if (isTyped(current.name, options)) {
      loadTypes();
      source = erase(source, current.url);
    }
    const { text, awaits } = prepare(source);
    current.awaits = awaits;
    current.text = text;
    evaluate(`${text}\n//# sourceURL=${current.url}`, (error, answer) => settle(current, error, answer));
  } catch (error) {
    if (error?.code === 'ERR_SCRIPT_EXECUTION_INTERRUPTED') interrupted(current);
    else fail(error);
  }
  current.isSynchronous = false;
}

let typesLoaded = false;

function loadTypes() {
  if (!typesLoaded) loadTypeScript();
  typesLoaded = true;
}

function settle(current, error, answer) {
  if (!current.isOn) return;
  if (error) {
    // What the program did to Node's process (`process.kill` of itself) takes the context from the inspector.
    if (/Cannot find/.test(error.message)) process.reallyExit(70);
    interrupted(current);
    return;
  }
  if (answer.exceptionDetails) {
    const { exception, lineNumber, columnNumber } = answer.exceptionDetails;
    receive(exception, (thrown) => fail(thrown, { line: lineNumber + 1, column: columnNumber + 1 }));
    return;
  }
  receive(answer.result, (value) => {
    if (current.awaits) apply(then, value, [(returned) => complete(current, returned?.value), (thrown) => current.isOn && fail(thrown)]);
    else complete(current, value);
  });
}

function complete(current, value) {
  if (!current.isOn) return;
  if (value !== undefined) {
    last = value;
    try {
      send(channel, RESULT, describe(value));
    } catch { /* A value that cannot be told. */ }
  }
  current.finish('ok', 0);
}

// The evaluation was cut off by SIGINT.
function interrupted(current) {
  if (!current.isOn) return;
  current.said = true;
  quietUntil = now() + QUIET_MS;
  mendOutput();
  write(2, 'Interrupted\n');
  send(channel, ERROR, { name: 'Interrupted', message: 'the run was interrupted', traceback: 'Interrupted', frames: '[]' });
  current.finish('interrupted', 130);
}

// Output that was cut off in the middle of a write would wait for its end for ever.
function mendOutput() {
  for (const stream of [process.stdout, process.stderr]) {
    try {
      const state = stream._writableState;
      if (state.bufferProcessing) state.bufferProcessing = false;
      if (state.writing) state.onwrite();
      while (state.corked > 0) stream.uncork();
    } catch { /* Of the program's own making. */ }
  }
}

// One signal may reach the guard of one run and then, by way of the event loop, the next run. The supervisor repeats what is lost.
let quietUntil = 0;

function interrupt() {
  if (run?.isOn && now() > quietUntil) interrupted(run);
}

class Exit extends Error {}

// Ends the run, not the process: at once while the program runs from its beginning, by an exception that nobody reports in what it left
// to later.
function exit(code = process.exitCode) {
  const current = run;
  process.exitCode = undefined;
  if (!current?.isOn) throw new Exit('process.exit() of what an earlier run left behind');
  current.finish('exit', Number(code ?? 0) & 255);
  if (!current.isSynchronous) throw new Exit('process.exit()');
  current.isSynchronous = false;
  // Nothing catches this. Node survives it only where it evaluates, not in a timer.
  breaker.post('Runtime.terminateExecution');
  for (;;);
}

function write(descriptor, text) {
  try {
    (descriptor === 1 ? process.stdout : process.stderr).write(text);
  } catch { /* Closed by the program. */ }
}

// Ends the run that is on with an error; reports one that comes between runs.
function fail(error, place) {
  if (error instanceof Exit) return;
  const current = run;
  const told = describeError(error);
  let text = told.traceback;
  try {
    const own = error?.stack;
    if (typeof own === 'string') {
      const stack = mended(ownFrames(own), current);
      told.traceback = stack;
      const frames = framesOf(stack, linesOf);
      if (frames.length === 0 && error instanceof SyntaxError && place && !stack.includes('\n    at ')) {
        const lines = linesOf(current.url) ?? [];
        const line = Math.min(place.line, lines.length);
        const column = line === place.line ? place.column : lines[line - 1].length + 1;
        frames.push({ file: current.url, line, column, source: lines[line - 1].trim() });
      }
      told.frames = stringify(frames);
      text = sourceLine(frames.at(-1)) + withProperties(error, stack);
    }
  } catch { /* Then as it was. */ }
  write(2, `${text}\n`);
  if (!current || current.failed !== undefined) return;
  if (current.said) return; // Interrupted already.
  send(channel, ERROR, told);
  current.failed = ['error', 1];
  current.finish('error', 1);
}

// A stack without the frames of this file, which are below the program's.
function ownFrames(stack) {
  const lines = stack.split('\n');
  const end = lines.findIndex((line) => /^ {4}at .*(?:\bnode:inspector:|\/javascript\/session\.cjs:)/.test(line));
  return (end < 0 ? lines : lines.slice(0, end)).join('\n');
}

// The columns of a program that awaits as they are in its own source.
function mended(stack, current) {
  if (!current?.awaits) return stack;
  const [lines, changed] = [linesOf(current.url), current.text.split('\n')];
  const place = new RegExp(`(${current.url.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}):(\\d+):(\\d+)`, 'g');
  return stack.replaceAll(place, (match, file, line, column) => {
    const rest = changed[line - 1]?.slice(column - 1) ?? '';
    for (let length = Math.min(rest.length, 40); length > 0; length--) {
      const at = lines?.[line - 1]?.lastIndexOf(rest.slice(0, length)) ?? -1;
      if (at >= 0) return `${file}:${line}:${at + 1}`;
    }
    return match;
  });
}

function sourceLine(frame) {
  const line = frame && linesOf(frame.file)?.[frame.line - 1];
  return line === undefined ? '' : `${frame.file}:${frame.line}\n${line}\n${' '.repeat(Math.max(frame.column - 1, 0))}^\n\n`;
}

// As Node prints an error: the stack, then properties of its own and its cause.
function withProperties(error, stack) {
  const own = error.stack;
  error.stack = stack;
  try {
    return inspect(error);
  } finally {
    error.stack = own;
  }
}

// Orders.

let pending = '';

function next() {
  if (run !== null) return;
  const end = pending.indexOf('\n');
  if (end < 0) return;
  const order = pending.slice(0, end);
  pending = pending.slice(end + 1);
  perform(order.slice(order.indexOf(' ') + 1));
}

process.execArgv.length = 0;
delete require.cache[__filename];
openReceiver();
furnish();
const orders = new Socket({ fd: ORDERS, readable: true, writable: false });
orders.setEncoding('utf8');
orders.on('data', (text) => {
  pending += text;
  next();
});
const end = process.reallyExit.bind(process, 0);
orders.on('close', () => {
  process.emit('exit', 0);
  end();
});
send(channel, READY, {});
