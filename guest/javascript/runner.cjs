// Lets Node run one program as `node FILE` would and sends its completion value or its error. Protocol: ../PROTOCOL.md.
//
// Preloaded with --require; Node's own loader then runs the program, so stacks and error texts are Node's. The value is caught by
// a few characters added to the source where they show in no stack: see `instrument`. Uses the standard library only; the
// program may change any global, so everything needed later is taken here.
'use strict';

const fs = require('fs');
const { Script } = require('vm');
const { inspect, types } = require('util');

const RESULT = 1;
const ERROR = 3;
const MAX_PAYLOAD = 8 << 20;
const MAX_DEPTH = 64;
const MAX_NODES = 1e6;
const CHANNEL = 3;
const NAME = '__fireclay__';
// Node prints no source line for an error in a line that has these words (src/node_errors.cc); `restoreSourceLine` prints ours.
const NO_SOURCE_LINE = '/*node-do-not-add-exception-line*/';
const STATEMENT = new RegExp('^(?:if|for|while|do|switch|try|with|return|throw|break|continue|var|let|const|function|class|import|' +
  'export|debugger|else|catch|finally|case|default|async\\s+function|enum|type|interface|namespace|declare|abstract)(?![\\w$(.])|' +
  '^(?:if|for|while|switch|with|catch)\\s*\\(|^[{@#]');
const CONTINUES = /^(?:[\s)\]}.?:,*%&|^=<>]|\/[/*]|(?:in|instanceof|of|as|satisfies)\b)/;
const VALUELESS = /^(?:console\.|process\.std|module\.exports\b|exports\.)/;

const { writeSync, fstatSync } = fs;
const { stringify } = JSON;
const { isMainThread } = require('worker_threads');

// The channel.

function identify() {
  const { dev, ino } = fstatSync(CHANNEL);
  return `${dev}:${ino}`;
}

function openChannel() {
  try { return fstatSync(CHANNEL).isFIFO() ? identify() : null; } catch { return null; }
}

// Sends one frame. Every failure is silent, and a descriptor that the program has reused is not ours.
function send(channel, kind, bundle) {
  try {
    if (channel === null || identify() !== channel) return;
    let payload = encode(bundle);
    if (payload.length > MAX_PAYLOAD) {
      const largest = kind === ERROR ? 'traceback' : 'text/plain';
      const text = bundle[largest].slice(0, MAX_PAYLOAD / 8) + '...';
      payload = encode(kind === ERROR ? { ...bundle, [largest]: text } : { [largest]: text });
      if (payload.length > MAX_PAYLOAD) return;
    }
    const header = Buffer.alloc(5);
    header[0] = kind;
    header.writeUInt32LE(payload.length, 1);
    const frame = Buffer.concat([header, payload]);
    for (let sent = 0; sent < frame.length;) sent += writeSync(CHANNEL, frame, sent);
  } catch { /* The parent is gone. */ }
}

// JSON of a bundle; a lone surrogate becomes U+FFFD, since the parent's parser refuses it.
function encode(bundle) {
  const parts = Object.entries(bundle).map(([mime, data]) =>
    `${stringify(mime)}:${mime === 'application/json' ? data : stringify(String(data))}`);
  const text = `{${parts.join(',')}}`;
  return Buffer.from(text.replace(/\\(\\|u[dD][89a-fA-F][0-9a-fA-F]{2})/g, (match, code) => (code === '\\' ? match : '\ufffd')));
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
  } catch { /* No JSON, then. */ }
  return bundle;
}

function describeError(error) {
  const text = (read) => { try { return String(read()); } catch { return '<unprintable>'; } };
  if (!types.isNativeError(error) && !(error instanceof Error)) {
    return { name: typeof error, message: text(() => error), traceback: text(() => `Uncaught ${inspect(error)}`) };
  }
  return { name: text(() => error.name), message: text(() => error.message), traceback: text(() => error.stack) };
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

// The source as V8's script parser can check it: import and export declarations blanked, `import.meta` a name.
function withoutModuleSyntax(source) {
  if (!/^\s*(?:import|export)\b|\bimport\.meta\b/m.test(source)) return source;
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
    const start = source.lastIndexOf('\n', end - 1) + 1;
    const line = source.slice(start, end);
    end = start - 1;
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
  let text = rest.replace(/[\s;]+$/, '');
  if (!isExpression(text)) {
    // Perhaps a comment behind the semicolon.
    const cut = text.search(/;\s*\/[/*][^\n]*$/);
    if (cut < 0) return null;
    text = text.slice(0, cut);
    if (!isExpression(text)) return null;
  }
  const body = source.slice(0, start);
  if (!compiles(asBody(body))) return null;
  // Does the expression continue the statement before it?
  if (/^[(['"`+\-/]/.test(text) && compiles(asBody(`${body}\n.x`))) return null;
  return { start, end: start + text.length };
}

// The source with its last expression assigned to NAME, and how to undo what a reader of errors could see of it; or null.
function instrument(original) {
  if (original.includes(NAME)) return null;
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
  if (!types.isNativeError(error) || typeof error.stack !== 'string') return;
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
  const found = thrower && new RegExp(place.source).exec(error.stack.split('\n')[stack.split('\n').indexOf(thrower)]);
  if (found && Number(found[2]) === line && !stack.includes('\n    at JSON.parse (<anonymous>)')) {
    const [at, position] = mend(line, Number(found[3]));
    stack = `${found[1]}:${at}\n${at === line ? text : next}\n${' '.repeat(position - 1)}^\n\n${stack}`;
  }
  error.stack = stack;
}

// The run.

// Node reads the main file through these (Module._extensions and defaultLoad); each is itself again after that.
function serve(file, source) {
  const { readFileSync } = fs;
  const { readFile } = fs.promises;
  const isMain = (path) => path === file || (path instanceof URL && path.protocol === 'file:' && decodeURIComponent(path.pathname) === file);
  const restore = () => {
    if (fs.readFileSync === sync) fs.readFileSync = readFileSync;
    if (fs.promises.readFile === later) fs.promises.readFile = readFile;
  };
  function sync(path, options) {
    if (!isMain(path)) return readFileSync.apply(this, arguments);
    fs.readFileSync = readFileSync;
    if (/\.[cm]?js$/.test(file)) setImmediate(restore);
    return options === undefined ? Buffer.from(source) : source;
  }
  function later(path) {
    if (!isMain(path)) return readFile.apply(this, arguments);
    restore();
    return Promise.resolve(Buffer.from(source));
  }
  fs.readFileSync = sync;
  fs.promises.readFile = later;
}

function main() {
  const channel = openChannel();
  const file = process.argv[1];
  process.execArgv.length = 0;
  delete require.cache[__filename];
  let error;
  let value;
  let repair;

  process.on('uncaughtExceptionMonitor', (thrown) => {
    if (process.listenerCount('uncaughtException') > 0 || process.hasUncaughtExceptionCaptureCallback()) return;
    error = { thrown };
    if (repair) try { restoreSourceLine(thrown, repair, file); } catch { /* Then without. */ }
  });
  process.on('exit', () => {
    if (error) send(channel, ERROR, describeError(error.thrown));
    else if (value !== undefined) send(channel, RESULT, describe(value));
  });

  const keep = (completion) => {
    delete globalThis[NAME];
    value = completion;
    if (!types.isPromise(completion)) return;
    value = undefined;
    // When nothing is left to do; asking earlier would count as handling a rejection.
    process.once('beforeExit', () => {
      if (!/^Promise \{\s*<(?:pending|rejected)>/.test(inspect(completion, { depth: 0 }))) {
        Promise.prototype.then.call(completion, (settled) => { value = settled; });
      }
    });
  };

  let source;
  try { source = fs.readFileSync(file, 'utf8'); } catch { return; }
  if (fs.realpathSync(file) !== file) return;
  provideRequire(source, file);
  const instrumented = instrument(source);
  if (!instrumented) return;
  ({ repair } = instrumented);
  Object.defineProperty(globalThis, NAME, {
    configurable: true,
    get: () => ({ [Symbol.hasInstance]: keep }),
    set: keep,
  });
  serve(file, instrumented.source);
}

// Top-level await makes a file a module, to Node; one that also uses `require` gets it, where plain Node would refuse.
function provideRequire(source, file) {
  if (!/\bawait\b/.test(source) || !/\b(?:require\s*\(|module\.exports|exports\.|__dirname|__filename)/.test(source)) return;
  if (!/\.[jt]s$/.test(file) || /^\s*(?:import\s*[\w${*'"]|export\b)/m.test(source)) return;
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

if (isMainThread) main();
