// Lets Node run one program as `node FILE` would and sends its completion value or its error. Protocol: ../PROTOCOL.md.
//
// Preloaded with --require; Node's own loader then runs the program, so stacks and error texts are Node's. The value is caught by
// a few characters added to the source where they show in no stack: see `instrument`. Uses the standard library only; the
// program may change any global, so everything needed later is taken here.
'use strict';

const fs = require('fs');
const { Script } = require('vm');
const { inspect, types } = require('util');
const { fileURLToPath, pathToFileURL } = require('url');

const RESULT = 1;
const ERROR = 3;
const MAX_PAYLOAD = 8 << 20;
const MAX_SOURCE = 1 << 20;
const MAX_DEPTH = 64;
const MAX_NODES = 1e6;
const CHANNEL = 3;
// What is JSON already when it comes to `encode`: bundles' data, and the frames of errors.
const RAW = /^application\/(?:.*\+)?json$|^frames$|^code$/;
const BUNDLE = Symbol.for('Jupyter.display');
const FRAMES_MAX = 50;
const SOURCE_MAX = 1000;
const NAME = '__fireclay__';
// Node prints no source line for an error in a line that has these words (src/node_errors.cc); `restoreSourceLine` prints ours.
const NO_SOURCE_LINE = '/*node-do-not-add-exception-line*/';
const STATEMENT = new RegExp('^(?:if|for|while|do|switch|try|with|return|throw|break|continue|var|let|const|function|class|import|' +
  'export|debugger|else|catch|finally|case|default|async\\s+function|enum|type|interface|namespace|declare|abstract)(?![\\w$(.])|' +
  '^(?:if|for|while|switch|with|catch)\\s*\\(|^[{@#]');
const CONTINUES = /^(?:[\s)\]}.?:,*%&|^=<>]|\/[/*]|(?:in|instanceof|of|as|satisfies)\b)/;
const BLANK = /^(?:[\s;]|\/\/[^\n]*(?=\n|$)|\/\*(?:[^*]|\*(?!\/))*\*\/)*$/;
const VALUELESS = /^(?:console\.|process\.std|module\.exports\b|exports\.)/;

const { writeSync, fstatSync } = fs;
const { stringify } = JSON;
const { alloc, concat, from } = Buffer;
const { then } = Promise.prototype;
// What `worker_threads` says, without the 1.4 ms of loading it.
const isMainThread = process.chdir.disabled !== true;

// The channel.

function identify() {
  const { dev, ino } = fstatSync(CHANNEL);
  return `${dev}:${ino}`;
}

function openChannel() {
  try { return fstatSync(CHANNEL).isFIFO() ? identify() : null; } catch { return null; }
}

// Sends one frame; returns its bytes. Every failure is silent, and a descriptor that the program has reused is not ours.
function send(channel, kind, bundle) {
  try {
    if (channel === null || identify() !== channel) return 0;
    let payload = encode(bundle);
    if (payload.length > MAX_PAYLOAD) {
      const { 'application/json': json, 'text/x-str': string, ...rest } = bundle;
      payload = encode(rest);
      bundle = rest;
    }
    if (payload.length > MAX_PAYLOAD) {
      // A character is at most six bytes of JSON.
      const cut = Object.entries(bundle).map(([name, text]) => [name, `${String(text).slice(0, MAX_PAYLOAD / 24)}...`]);
      payload = encode(Object.fromEntries(cut));
    }
    const header = alloc(5);
    header[0] = kind;
    header.writeUInt32LE(payload.length, 1);
    const frame = concat([header, payload]);
    for (let sent = 0; sent < frame.length;) sent += writeSync(CHANNEL, frame, sent);
    return frame.length;
  } catch {
    return 0; // The parent is gone.
  }
}

// JSON of a bundle; a lone surrogate becomes U+FFFD, since the parent's parser refuses it.
function encode(bundle) {
  let parts = '';
  for (const mime in bundle) parts += `${parts && ','}${stringify(mime)}:${RAW.test(mime) ? bundle[mime] : stringify(`${bundle[mime]}`)}`;
  const text = `{${parts}}`;
  return from(text.replace(/\\(\\|u[dD][89a-fA-F][0-9a-fA-F]{2})/g, (match, code) => (code === '\\' ? match : '\ufffd')));
}

// Values as MIME bundles.

// Whether `JSON.stringify` tells the whole truth about a value.
function isJson(value) {
  let nodes = 0;
  const walk = (item, depth) => {
    if (depth > MAX_DEPTH || ++nodes > MAX_NODES) return false;
    if (item === null || typeof item === 'string' || typeof item === 'boolean') return true;
    if (typeof item === 'number') return Number.isFinite(item);
    if (typeof item !== 'object' || types.isProxy(item)) return false;
    const prototype = Object.getPrototypeOf(item);
    if (Array.isArray(item)) return typeof item.toJSON !== 'function' && item.every((element) => walk(element, depth + 1));
    if (prototype !== null && prototype !== Object.prototype) return false;
    return Object.values(Object.getOwnPropertyDescriptors(item)).every((property) =>
      !property.enumerable || ('value' in property && (property.value === undefined || walk(property.value, depth + 1))));
  };
  return walk(value, 0);
}

function describe(value) {
  const bundle = {};
  try {
    bundle['text/plain'] = inspect(value);
  } catch (error) {
    let name = 'exception';
    try { name = String(error); } catch { /* Hostile to the end. */ }
    bundle['text/plain'] = `<uninspectable ${typeof value} (${name})>`;
  }
  try {
    if (typeof value === 'string') bundle['text/x-str'] = value;
    if (isJson(value)) bundle['application/json'] = stringify(value);
    else if (typeof value === 'object' && value !== null && !types.isProxy(value) && typeof value.toJSON === 'function') {
      const told = value.toJSON();
      if (isJson(told)) bundle['application/json'] = stringify(told);
    }
  } catch { /* No JSON, then. */ }
  try {
    // What Deno's notebooks ask of a value: {mime: data}.
    if (typeof value?.[BUNDLE] === 'function') Object.assign(bundle, asBundle(value[BUNDLE]()));
  } catch { /* As if it had none. */ }
  return bundle;
}

// The data of {mime: data} that a frame can carry.
function asBundle(told) {
  const bundle = {};
  for (const [mime, data] of Object.entries(told)) {
    if (RAW.test(mime)) {
      if (isJson(data)) bundle[mime] = stringify(data);
    } else if (typeof data === 'string') bundle[mime] = data;
    else if (data instanceof Uint8Array) bundle[mime] = Buffer.from(data).toString('base64');
  }
  return bundle;
}

function describeError(error) {
  const text = (read) => { try { return String(read()); } catch { return '<unprintable>'; } };
  if (!types.isNativeError(error) && !(error instanceof Error)) {
    return { name: typeof error, message: text(() => error), traceback: text(() => `Uncaught ${inspect(error)}`) };
  }
  const traceback = text(() => error.stack);
  return { name: text(() => error.name), message: text(() => error.message), traceback, frames: stringify(framesOf(traceback)) };
}

// The frames of a stack, outermost first: of the program's files, not of Node's own.
function framesOf(stack, linesOf = readLines) {
  const frames = [];
  for (const [, name, file, line, column] of stack.matchAll(/^ {4}at (?:(.+) \()?([^()\n]+):(\d+):(\d+)\)?$/gm)) {
    if (frames.length === FRAMES_MAX) break;
    if (file.startsWith('node:')) continue;
    const path = file.startsWith('file://') ? fileURLToPath(file) : file;
    const source = linesOf(path)?.[line - 1]?.trim().slice(0, SOURCE_MAX);
    frames.unshift({ file: path, line: Number(line), column: Number(column), function: name ?? '<anonymous>', source });
  }
  return frames;
}

const LINES = new Map();

function readLines(path) {
  if (!LINES.has(path)) {
    let lines;
    try {
      if (fs.statSync(path).size <= MAX_SOURCE) lines = fs.readFileSync(path, 'utf8').split('\n');
    } catch { /* Then without. */ }
    LINES.set(path, lines);
  }
  return LINES.get(path);
}

// Where the value is.

function compiles(code) {
  try {
    new Script(code);
    return true;
  } catch {
    return false;
  }
}

const asBody = (code) => `(async function(){${code}\n})`;
const isExpression = (code) => compiles(`(async()=>{(${code}\n)})`);

const hasModuleSyntax = (source) => /^[ \t]*(?:import\s*[\w${*'"]|export\b)/m.test(source);

// The source as V8's script parser can check it: import and export declarations blanked, `import.meta` a name.
function withoutModuleSyntax(source) {
  if (!hasModuleSyntax(source) && !source.includes('import.meta')) return source;
  return source
    .replace(/^[ \t]*import\s*(?:[\w$*{}\s,]+\s*from\s*)?(['"])[^'"\n]*\1[^\n;]*;?/gm, ';')
    .replace(/^[ \t]*export\s*(?:\*|\{)[^;\n]*?(?:\}|from)[^\n;]*;?/gm, ';')
    .replace(/^([ \t]*)export\s+default\b/gm, '$1;0,')
    .replace(/^([ \t]*)export\s+(?=const|let|var|function|class|async)/gm, '$1')
    .replace(/\bimport\.meta\b/g, 'import_meta');
}

// The last statement if it is an expression: {start, end}, by looking and asking V8; a parser would cost more than Node's own start.
function lastExpression(source) {
  let end = source.length;
  for (let tries = 0; tries < 20 && end > 0;) {
    const lineStart = source.lastIndexOf('\n', end - 1) + 1;
    const start = source[lineStart] === ';' ? lineStart + 1 : lineStart;
    const line = source.slice(start, end);
    end = lineStart - 1;
    if (line.trim() === '' || CONTINUES.test(line)) continue;
    tries++;
    if (VALUELESS.test(line)) return null;
    const found = STATEMENT.test(line) ? null : expressionAt(source, start);
    if (found) return found;
    if (source.indexOf('\n', start) === -1 || source.slice(source.indexOf('\n', start)).trim() === '') {
      for (let cut = line.lastIndexOf(';'); cut > 0; cut = line.lastIndexOf(';', cut - 1)) {
        const rest = line.slice(cut + 1);
        const first = start + cut + 1 + rest.search(/\S|$/);
        if (rest.trim() === '') continue;
        if (VALUELESS.test(rest.trim())) return null;
        const split = STATEMENT.test(rest.trim()) ? null : expressionAt(source, first);
        if (split) return split;
      }
    }
    if (STATEMENT.test(line)) return null;
  }
  return null;
}

function expressionAt(source, start) {
  const rest = source.slice(start);
  let text = rest.trimEnd();
  // What follows the statement's semicolon may be comments.
  for (let cut = rest.length; (cut = rest.lastIndexOf(';', cut - 1)) > 0;) {
    if (!BLANK.test(rest.slice(cut + 1))) break;
    text = rest.slice(0, cut).trimEnd();
  }
  if (!isExpression(text)) return null;
  const body = source.slice(0, start);
  if (!compiles(asBody(body))) return null;
  // Does the expression continue the statement before it?
  if (/^[(['"`+\-/]/.test(text) && compiles(asBody(`${body}\n.x`))) return null;
  return { start, end: start + text.length };
}

// The source with its last expression assigned to NAME, and how to undo what a reader of errors could see of it; or null.
function instrument(original) {
  if (original.length > MAX_SOURCE || original.includes(NAME)) return null;
  const source = withoutModuleSyntax(original);
  const found = lastExpression(source);
  if (!found) return null;
  const shift = original.length - source.length;
  const start = found.start + shift;
  const end = found.end + shift;
  const text = original.slice(start, end);
  if (text !== source.slice(found.start, found.end)) return null;
  const lineStart = original.lastIndexOf('\n', start - 1) + 1;
  const line = original.slice(0, start).split('\n').length;

  // 1. Evaluating names and literals twice changes nothing: do so behind the end.
  if (/^[\w$.\s,[\]{}:'"]+$|^\(\{[\w$.\s,[\]{}:'"]*\}\)$/.test(text) && !/^(?:await|new|delete|void|typeof)\b/.test(text)) {
    return { source: `${original}\n;${NAME}=(${text})` };
  }
  // 2. Behind the expression, where that cannot change what it means: `class extends` takes just such expressions.
  const lastLine = original.slice(original.lastIndexOf('\n', end - 1) + 1).split('\n', 1)[0];
  const last = { line: original.slice(0, end).split('\n').length, text: lastLine };
  if (compiles(`(async()=>{(class extends ${text.replace(/^await\s+/, '')}\n{})})`)) {
    const semicolon = original.slice(end).trim() !== '';
    return {
      source: `${original.slice(0, end)}${semicolon ? NO_SOURCE_LINE : ''}\ninstanceof ${NAME}`,
      repair: semicolon ? last : undefined,
    };
  }
  const lineEnd = original.indexOf('\n', start);
  const firstLine = original.slice(lineStart, lineEnd < 0 ? undefined : lineEnd);
  // 3. Behind the line before, if there is one: the statement then starts there, to V8.
  if (start === lineStart && line > 1) {
    const before = original.slice(original.lastIndexOf('\n', lineStart - 2) + 1, lineStart - 1).replace(/\r$/, '');
    const at = lineStart - 1 - (original[lineStart - 2] === '\r' ? 1 : 0);
    const body = source.slice(0, found.start);
    if (!compiles(asBody(`${body.trimEnd()} @`))) {
      const inserted = `;${NO_SOURCE_LINE}${NAME}=`;
      return {
        source: original.slice(0, at) + inserted + original.slice(at),
        repair: { line: line - 1, text: before, next: firstLine },
      };
    }
    // A comment ends that line.
    for (let cut = before.lastIndexOf('//'); cut >= 0; cut = before.lastIndexOf('//', cut - 1)) {
      const offset = at - before.length + cut;
      const kept = source.slice(0, offset - shift);
      if (compiles(asBody(kept)) && !compiles(asBody(`${kept} @`))) {
        return {
          source: `${original.slice(0, offset)};${NO_SOURCE_LINE}${NAME}=${original.slice(at)}`,
          repair: { line: line - 1, text: before, next: firstLine },
        };
      }
      if (cut === 0) break;
    }
    return null;
  }
  // 4. Before it; the columns that follow are mended in what Node prints.
  const inserted = `${NAME}=`;
  if (lineEnd >= 0 && lineEnd < end) return null;
  return {
    source: `${original.slice(0, start)}${inserted}${original.slice(start, end)}${NO_SOURCE_LINE}${original.slice(end)}`,
    repair: { line, text: firstLine, column: start - lineStart, shift: inserted.length },
  };
}

// Gives an uncaught error from an instrumented line the place and the source line that Node would have printed for it.
function restoreSourceLine(error, repair, file) {
  if (!types.isNativeError(error) || typeof error.stack !== 'string') return undefined;
  const { line, text, next, column = 0, shift = 0 } = repair;
  const escaped = file.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const place = new RegExp(`((?:file://)?${escaped}):(\\d+):(\\d+)`, 'g');
  const mend = (at, position) => {
    if (at !== line) return [at, position];
    if (next !== undefined && position > text.length) return [line + 1, 1];
    return [at, position > column + shift ? position - shift : position];
  };
  let stack = error.stack.replace(place, (match, name, at, position) => `${name}:${mend(Number(at), Number(position)).join(':')}`);
  const thrower = stack.split('\n').find((frame) => /^ {4}at /.test(frame) && !frame.endsWith('(<anonymous>)'));
  const mended = stack;
  const found = thrower && new RegExp(place.source).exec(error.stack.split('\n')[stack.split('\n').indexOf(thrower)]);
  if (found && Number(found[2]) === line && !stack.includes('\n    at JSON.parse (<anonymous>)')) {
    const [at, position] = mend(line, Number(found[3]));
    stack = `${found[1]}:${at}\n${at === line ? text : next}\n${' '.repeat(position - 1)}^\n\n${stack}`;
  }
  error.stack = stack;
  return mended;
}

// The run.

// Node reads the main file through these: as text for CommonJS or to find out, by URL as a module. Then they are themselves again.
function serve(file, source, asModule) {
  const { readFileSync } = fs;
  const { readFile } = fs.promises;
  const restore = () => {
    fs.readFileSync = readFileSync;
    fs.promises.readFile = readFile;
  };
  fs.readFileSync = function(path, options) {
    if (!isFile(path, file)) return readFileSync.apply(this, arguments);
    if (options === undefined || !asModule) restore();
    return options === undefined ? Buffer.from(source) : source;
  };
  fs.promises.readFile = function(path) {
    if (!isFile(path, file)) return readFile.apply(this, arguments);
    restore();
    return Promise.resolve(Buffer.from(source));
  };
}

const isFile = (path, file) => path === file || (path instanceof URL && path.protocol === 'file:' && fileURLToPath(path) === file);

// Remembers what becomes of the program.
class Observer {
  constructor(file) {
    this.file = file;
    this.channel = openChannel();
    process.on('uncaughtExceptionMonitor', (thrown) => this.fail(thrown));
    process.on('exit', () => this.report());
  }

  // Catches the value when the instrumented line hands it over.
  expect(repair) {
    this.repair = repair;
    const keep = (value) => {
      delete globalThis[NAME];
      this.complete(value);
    };
    Object.defineProperty(globalThis, NAME, { configurable: true, get: () => ({ [Symbol.hasInstance]: keep }), set: keep });
  }

  complete(value) {
    if (!types.isPromise(value)) {
      this.value = value;
      return;
    }
    // When nothing is left to do; asking earlier would count as handling a rejection.
    process.once('beforeExit', () => {
      if (/^Promise \{\s*<(?:pending|rejected)>/.test(inspect(value, { depth: 0 }))) return;
      then.call(value, (settled) => { this.value = settled; });
    });
  }

  fail(thrown) {
    if (process.listenerCount('uncaughtException') > 0 || process.hasUncaughtExceptionCaptureCallback()) return;
    this.error = describeError(thrown);
    try {
      if (this.repair) this.error.traceback = restoreSourceLine(thrown, this.repair, this.file) ?? this.error.traceback;
    } catch { /* Then as it is. */ }
  }

  report() {
    if (this.error) send(this.channel, ERROR, this.error);
    else if (this.value !== undefined) send(this.channel, RESULT, describe(this.value));
  }
}

function main() {
  const file = process.argv[1];
  const observer = new Observer(file);
  let source;
  try {
    source = fs.readFileSync(file, 'utf8');
    if (fs.realpathSync(file) !== file) return;
  } catch {
    return;
  }
  const typed = isTyped(file);
  let plain = source;
  try {
    if (typed) plain = erase(source, file);
  } catch (error) {
    loadTypeScript(() => { throw error; /*node-do-not-add-exception-line*/ });
    return;
  }
  provideRequire(plain, file);
  const instrumented = instrument(plain);
  if (instrumented) observer.expect(instrumented.repair);
  if (typed) loadTypeScript((path) => (path === file ? instrumented?.source ?? plain : undefined));
  else if (instrumented) serve(file, instrumented.source, isModule(plain, file));
}

// TypeScript, the same for every Node (22.18 and later would erase types, but no enums). Needs --expose-internals for ES modules.

// The source with blanks for types; enums and parameter properties become code on their line.
function erase(source, file) {
  const path = require.resolve('./vendor/sucrase.cjs');
  const { strip } = require(path);
  delete require.cache[path];
  const lines = source.split('\n');
  const fail = (message, line, column) => {
    const error = new SyntaxError(message);
    error.stack = `${file}:${line}\n${lines[line - 1] ?? ''}\n${' '.repeat(Math.max(column - 1, 0))}^\n\nSyntaxError: ${message}\n    at ${file}:${line}:${column}`;
    return error;
  };
  let code;
  try {
    code = strip(source);
  } catch (error) {
    const { line, column } = error.loc ?? { line: 1, column: 1 };
    throw fail(String(error.message).replace(/ \(\d+:\d+\)$/, ''), line, column);
  }
  const erased = code.split('\n');
  lines.forEach((line, index) => {
    const match = /^\s*(?:export\s+)?(?:namespace|module)\s+[\w$.]+\s*\{/.exec(line);
    if (match && (erased[index] ?? '').trim() === '') throw fail('TypeScript namespaces are not supported', index + 1, 1);
  });
  return code;
}

const isTyped = (file) => /\.[cm]?ts$/.test(file);

const isModule = (code, file) => !file.endsWith('.cts') && (file.endsWith('.mts') ||
  (!compiles(`(function(){${code}\n})`) && (hasModuleSyntax(code) || compiles(asBody(code)))));

// Makes Node load TypeScript; `known` has the sources that are already erased.
function loadTypeScript(known = () => undefined) {
  const Module = require('module');
  const { readFileSync } = fs;
  const { readFile } = fs.promises;
  const formats = { '.ts': 'module', '.mts': 'module', '.cts': 'commonjs' };
  const sourceOf = (file) => known(file) ?? erase(readFileSync(file, 'utf8'), file);
  const wanted = (path, options) => path instanceof URL && options === undefined && isTyped(path.pathname);
  function loadTS(module, file) {
    const code = sourceOf(file);
    const format = isModule(code, file) ? 'module' : 'commonjs';
    // Node 18 cannot compile a module here.
    if (format === 'module' && module.id === '.' && module._compile.length < 3) import(pathToFileURL(file));
    else module._compile(code, file, format);
  }
  for (const extension of Object.keys(formats)) Module._extensions[extension] = loadTS;
  try {
    Object.assign(require('internal/modules/esm/formats').extensionFormatMap, formats);
  } catch { /* No --expose-internals: CommonJS only. */ }
  // Modules are read through the first of these from Node 22 on, through the second before.
  fs.readFileSync = function(path, options) {
    return wanted(path, options) ? Buffer.from(sourceOf(fileURLToPath(path))) : readFileSync.apply(this, arguments);
  };
  fs.promises.readFile = async function(path, options) {
    return wanted(path, options) ? Buffer.from(sourceOf(fileURLToPath(path))) : readFile.apply(this, arguments);
  };
}

// Top-level await makes a file a module, to Node; one that also uses `require` gets it, where plain Node would refuse.
function provideRequire(source, file) {
  if (!/\bawait\b/.test(source) || !/\b(?:require\s*\(|module\.exports|exports\.|__dirname|__filename)/.test(source)) return;
  if (!/\.[jt]s$/.test(file) || hasModuleSyntax(source)) return;
  if (compiles(`(function(){${source}\n})`) || !compiles(asBody(source))) return;
  const module = { exports: {}, filename: file, id: '.', loaded: false, children: [], paths: [] };
  const globals = {
    require: require('module').createRequire(file),
    module,
    exports: module.exports,
    __filename: file,
    __dirname: require('path').dirname(file),
  };
  for (const [name, value] of Object.entries(globals)) {
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
  }
}

process.execArgv.length = 0;
if (process.env.https_proxy) require('./proxied.cjs').prepare();
delete require.cache[__filename];
if (module.parent?.filename?.endsWith('/session.cjs')) {
  module.exports = { RESULT, ERROR, openChannel, send, describe, asBundle, describeError, framesOf, readLines, erase, loadTypeScript, hasModuleSyntax, compiles };
} else if (isMainThread) main();
else if (isTyped(process.argv[1] ?? '')) loadTypeScript();
