"""JavaScript and TypeScript programs: what people write, and what goes wrong in it. TypeScript has no plain interpreter to compare with here."""

from case import Case


def js(name, code, result=None, **others):
    return Case(name, code, result, main=others.pop("main", "main.js"), **others)


def js_module(name, code, result=None, **others):
    """A file that is a module by what is in it: Node finds out from 20.19 on."""
    return js(name, code, result, since=(20, 19), **others)


def ts(name, code, result=None, **others):
    others = {"stderr": "", "exit_code": 0, **others}
    return Case("ts " + name, code, result, main=others.pop("main", "main.ts"), same=False, **others)


def text(plain, **others):
    return {"text/plain": plain, **others}


def value(plain, data):
    return {"text/plain": plain, "application/json": data}


def only(plain):
    return lambda found: found == {"text/plain": plain}


def failed(name, message=None):
    return {"name": name, **({} if message is None else {"message": message})}


def shows(*parts):
    return lambda printed: all(part in printed for part in parts)


CASES = [
    # What is printed.
    js("hello", "console.log('hello')\n"),
    js("empty file", ""),
    js("only comments", "// a\n/* b */\n"),
    js("unicode", "console.log('héllo ☃ 🎉')\n"),
    js("shebang", "#!/usr/bin/env node\nconsole.log(1)\n"),
    js("byte order mark", "\ufeffconsole.log(1)\n"),
    js("strict", "'use strict'\nx = 5\n", error=failed("ReferenceError")),
    js("only a directive", "'use strict'", text("'use strict'")),
    js("both streams in order", "console.error('e1'); console.log('o1'); console.error('e2'); console.log('o2')\n"),
    js("many lines", "for (let i = 0; i < 5000; i++) console.log(i)\n"),
    js("objects", "console.log({a: [1, {b: new Map([[1, 2]])}]}, new Error('x').message, [undefined, null])\n"),
    js("standard input", "process.stdin.on('data', d => console.log(String(d).toUpperCase()))\n", stdin="abc", result=...),
    js("surroundings", "console.log(process.argv.slice(2), process.execArgv, __filename, __dirname, require.main === module, Object.keys(require.cache))\n"
       "console.log(process.argv[1], module.id, module.children, Object.keys(globalThis))\n", args=("a", "--b")),
    js("module scope", "console.log(this === module.exports, typeof exports, arguments.length)\n"),
    js("event listeners", "console.log(process.listenerCount('uncaughtException'), process.listenerCount('unhandledRejection'), process.listenerCount('warning'))\n"),
    js("environment", "console.log(process.env.X, process.env.NODE_OPTIONS)\n", env={"X": "ä"}),
    js("fs is untouched", "const fs = require('fs')\nconsole.log(fs.readFileSync.name, fs.promises.readFile.name, fs.readFileSync(__filename, 'utf8').length)\n"),
    js("source is untouched", "function f() { return 1 }\nconst s = require('fs').readFileSync(__filename, 'utf8')\nconsole.log(f.toString(), s)\ns.length\n", value("121", 121)),
    js("require file and json", "const a = require('./a')\nconst b = require('./b.json')\nconsole.log(a, b)\n", files={"a.js": "module.exports = {x: 1}", "b.json": '{"y": 2}'}),
    js("required module with a value", "require('./a')\n", files={"a.js": "5 + 5\n"}, result=value("{}", {})),
    js("frames", "console.log(new Error('x').stack)\nfunction f() { return new Error('y').stack }\nconsole.log(f())\n"),
    js("frames in the value", "const e = new Error('x');\n[e.stack, new Error('y').stack].forEach(s => console.log(s));\n"),
    js("frames in the value after a semicolon", "const e = 1; console.error(new Error('y').stack);\n"),
    js("caught in the value", "new Promise((_, no) => no(new Error('y'))).catch(e => console.log(e));"),
    js("timers", "setImmediate(() => console.log('soon')); process.nextTick(() => console.log('next'))\n", result=...),
    # Errors.
    js("thrown error", "function f() {\n  throw new Error('boom')\n}\nf()\n", error=failed("Error", "boom")),
    js("thrown by the last expression", "const a = null;\na.b.c;\n", error=failed("TypeError")),
    js("undefined name", "foo();\n", error=failed("ReferenceError", "foo is not defined")),
    js("undefined name in a sum", "const x = 1;\nx + foo();\n", error=failed("ReferenceError")),
    js("undefined name in an assignment", "let x = 1;\nx = foo();\n", error=failed("ReferenceError")),
    js("undefined name, one line", "let x = 1; x + foo() || 1;", error=failed("ReferenceError")),
    js("error in the line before the value", "const y = [1].map(x => x.y.z);\ny.map(String) + 1;\n", error=failed("TypeError")),
    js("error in the value's callback", "const y = 1;\n[1].map(x => x.y.z);\n", error=failed("TypeError")),
    js("error in a later callback", "const y = 1;\nsetTimeout(() => { y.a.b }, 1);\n", error=failed("TypeError")),
    js("range error from a builtin", "const y = 1\n;[].reduce((a, b) => a) + 1\n", error=failed("TypeError")),
    js("error of JSON.parse", "const x = '{bad'\nJSON.parse(x) || 1\n", error=failed("SyntaxError")),
    js("error of fs", "require('fs').readFileSync('/no/such');\n", error=failed("Error")),
    js("error with a cause and properties", "const e = new Error('x', {cause: new TypeError('y')}); e.code = 'E_X'; throw e\n", error=failed("Error", "x")),
    js("own error", "class MyError extends Error { constructor(m) { super(m); this.name = 'MyError' } }\nthrow new MyError('m')\n", error=failed("MyError", "m")),
    js("aggregate error", "throw new AggregateError([new Error('a')], 'many')\n", error=failed("AggregateError")),
    js("thrown primitive", "throw 5\n", error=failed("number", "5")),
    js("thrown string", "throw 'text'\n", error=failed("string", "text")),
    js("thrown null", "throw null\n", error=...),
    js("thrown object", "throw {a: 1}\n", error=failed("object")),
    js("thrown undefined", "throw undefined\n", error=...),
    js("stack overflow", "function f() { f() }\nf()\n", error=failed("RangeError")),
    js("error in a getter", "const o = { get x() { throw new Error('g') } }\no.x\n", error=failed("Error", "g")),
    js("syntax error", "const x = ;\n", error=failed("SyntaxError")),
    js("syntax error in the last line", "console.log(1)\nfoo(\n", error=failed("SyntaxError")),
    js("unterminated string", "const x = 'abc\n", error=failed("SyntaxError")),
    js("unterminated template", "const x = `abc\n", error=failed("SyntaxError")),
    js("return at the top", "console.log(1)\nreturn\n"),
    js("await in a function that is not async", "function f() { await 1 }\n", error=failed("SyntaxError")),
    js("syntax error in a required file", "require('./bad')\n", files={"bad.js": "let let = 1\n"}, error=failed("SyntaxError")),
    js("missing module", "require('no-such-module')\n", error=failed("Error")),
    js("rejection", "Promise.reject(new Error('r'));\n", error=failed("Error", "r")),
    js("rejection of a primitive", "Promise.reject(7)\n", error=failed("UnhandledPromiseRejection")),
    js("error in async main", "async function main() {\n  await null\n  throw new TypeError('late')\n}\n\nmain();\n", error=failed("TypeError", "late")),
    js("error handled", "async function main() { throw new Error('x') }\nconst p = main()\nsetTimeout(() => {}, 1)\np.catch(e => console.log('caught', e.message))\n"),
    js("value handled elsewhere", "const p = Promise.reject(new Error('x'))\nprocess.nextTick(() => p.catch(e => console.log('caught')))\np\n"),
    js("handler", "process.on('uncaughtException', (e, o) => console.log('handled', e.message, o, e.stack.split('\\n')[0]))\nsetTimeout(() => console.log('on'), 10)\nnull.x;\n"),
    js("rejection handler", "process.on('unhandledRejection', e => console.log('handled', e.message))\nPromise.reject(new Error('r'));\n"),
    js("warning", "process.emitWarning('careful')\n", result=...),
    js("deprecation", "new Buffer(5);\n1\n", value("1", 1)),
    js("prepareStackTrace", "Error.prepareStackTrace = (e, frames) => frames.length\nconsole.log(new Error('x').stack)\nfoo.bar()\n", error=failed("ReferenceError")),
    # Values.
    js("value", "const x = 41\nx + 1\n", value("42", 42)),
    js("value with semicolon", "const x = 41;\nx + 1;\n", value("42", 42)),
    js("value, one expression", "[1, 2, 3].map(x => x * 2)", value("[ 2, 4, 6 ]", [2, 4, 6])),
    js("value, one line", "let a = 1; a + Math.max(2, 3)", value("4", 4)),
    js("value over lines", "const f = (x) => x;\nf({\n  a: 1,\n  b: [\n    2,\n  ],\n});\n", value("{ a: 1, b: [ 2 ] }", {"a": 1, "b": [2]})),
    js("value, chained lines", "const a = [3, 1, 2];\na\n  .slice()\n  .sort()\n  .map((x) => x + 1);\n", value("[ 2, 3, 4 ]", [2, 3, 4])),
    js("value and comments", "const a = 5; // five\na * 2; // ten\n// the end\n", value("10", 10)),
    js("value behind a comment", "const a = 5;\n// now\nMath.min(a, 3) + 1\n/* end */\n", value("4", 4)),
    js("value of an object", "const a = 1;\n({ a, b: 'x' })\n", value("{ a: 1, b: 'x' }", {"a": 1, "b": "x"})),
    js("value after a function", "function f() { return 3 }\nf()\n", value("3", 3)),
    js("value of a called function", "const f = 2\n;(function () { return f + 1 })()\n", value("3", 3)),
    js("value without semicolons", "const a = [1]\nconst b = a\n[0]\n"),
    js("value that continues", "const a = 5\nconst b = a\n- 3\nconsole.log(b)\n"),
    js("value in a template", "const x = `\nfoo()\n`\nx.length\n", value("7", 7)),
    js("value that is a template", "const a = 1\nconst b = `\na\n${a}`\n", None),
    js("value of an arrow", "const x = 5\nx ? 'yes' : 'no'\n", text("'yes'", **{"text/x-str": "yes"})),
    js("value of an assignment", "let x\nx = [1, 2].length\n", value("2", 2)),
    js("value of a comma", "let x = 1\nx, 7\n", ...),
    js("statement is no value", "if (true) {\n  5\n}\n"),
    js("declaration is no value", "const x = 5\n"),
    js("class is no value", "class A {}\n"),
    js("string value", "'a\"b☃'\n", {"text/x-str": 'a"b☃', "application/json": 'a"b☃'}),
    js("long string", "'x'.repeat(20_000_000)\n", lambda f: "application/json" not in f and f["text/plain"].endswith("more characters")),
    js("lone surrogate", "['\\ud800', '\\\\ud800']\n", value(r"[ '\ud800', '\\ud800' ]", ["\ufffd", "\\ud800"])),
    js("undefined", "undefined\n"),
    js("null", "null\n", value("null", None)),
    js("big integer", "10n ** 20n\n", only("100000000000000000000n")),
    js("map", "new Map([[1, {a: 2}]])\n", only("Map(1) { 1 => { a: 2 } }")),
    js("date", "new Date(0)\n", value("1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00.000Z")),
    js("not a number", "0 / 0\n", only("NaN")),
    js("instance", "class A { x = 1 }\nnew A()\n", only("A { x: 1 }")),
    js("symbol", "Symbol('a')\n", only("Symbol(a)")),
    js("cycle", "const a = {}; a.a = a\na\n", lambda f: "Circular" in f["text/plain"] and len(f) == 1),
    js("getter is not run", "const a = { get x() { console.log('ran'); return 1 } }\na\n", only("{ x: [Getter] }")),
    js("hostile inspection", "({ [Symbol.for('nodejs.util.inspect.custom')]() { throw new Error('no') } })\n", text("<uninspectable object (Error: no)>")),
    js("proxy", "new Proxy({}, { get() { throw 1 }, ownKeys() { throw 1 } })\n", text("{}")),
    js("value filled in later", "const a = []\nsetTimeout(() => a.push(1), 5)\na\n", value("[ 1 ]", [1])),
    js("promise", "async function main() { return { a: 1 } }\nmain()\n", value("{ a: 1 }", {"a": 1})),
    js("promise in time", "new Promise(done => setTimeout(() => done('late'), 20));", text("'late'")),
    js("promise never settled", "new Promise(() => {})\n"),
    js("immediately invoked", "(async () => {\n  await null\n  return 7\n})();\n", value("7", 7)),
    js("exit before the end", "console.log(1); process.exit(0);\n5\n"),
    # Endings.
    js("exit 3", "process.exit(3)\n"),
    js("exit code", "process.exitCode = 4\n", result=...),
    js("exit in a timer", "setTimeout(() => process.exit(5), 5)\n", result=...),
    js("exit listener", "process.on('exit', c => console.log('bye', c))\nprocess.on('beforeExit', c => console.log('before', c))\n", result=...),
    js("abort", "process.abort()\n"),
    js("killed", "process.kill(process.pid, 'SIGTERM'); setTimeout(() => {}, 1000)\n"),
    js("interrupted", "process.kill(process.pid, 'SIGINT'); setTimeout(() => {}, 1000)\n"),
    # Modules.
    js("module by extension", "import fs from 'fs'\nconsole.log(import.meta.url, typeof require, this)\nfs.existsSync('/') && 1\n", value("1", 1), main="main.mjs"),
    js_module("module by syntax", "import { x } from './a.mjs'\nexport const y = x + 1;\nconsole.log(y);\ny * 2;\n", value("4", 4), files={"a.mjs": "export const x = 1\n"}),
    js("module by package", "import { x } from './a.js'\nx\n", value("1", 1), files={"a.js": "export const x = 1\n", "package.json": '{"type": "module"}'}),
    js("common by extension", "const x = require('fs')\ntypeof x\n", text("'object'"), main="main.cjs"),
    js_module("top-level await", "const x = await Promise.resolve(5)\nconsole.log(x)\nx * 2\n", value("10", 10)),
    js_module("top-level await as value", "await Promise.resolve([1])\n", value("[ 1 ]", [1])),
    js_module("top-level await, error", "const x = await Promise.resolve(5);\nx.y.z;\n", error=failed("TypeError")),
    js_module("top-level await, undefined name", "const x = await 5;\nx + foo();\n", error=failed("ReferenceError")),
    js_module("top-level await, rejection", "await Promise.reject(new Error('r'));\n", error=failed("Error", "r")),
    js_module("top-level await never settled", "await new Promise(() => {})\n"),
    js("dynamic import", "import('fs').then(m => typeof m.readFileSync)\n", text("'function'")),
    js_module("missing import", "import './no-such.mjs'\n", error=failed("Error")),
    js("missing export", "import { nope } from 'fs'\n", error=failed("SyntaxError")),
    js("syntax error in a module", "import fs from 'fs'\nconst = 5\n", error=failed("SyntaxError")),
    js_module("require in a module", "import fs from 'fs'\nrequire('fs')\n", error=failed("ReferenceError")),
    js_module("await and require", "const fs = require('fs')\nconst x = await Promise.resolve(2)\nconsole.log(typeof fs.readFileSync, __filename.slice(-7))\nmodule.exports = { x }\nx + 1\n",
       value("3", 3), same=False, stdout="function main.js\n", stderr="", exit_code=0),
    # Processes and threads.
    js("fork", "const { fork } = require('child_process')\nif (process.argv[2]) { process.send(process.execArgv) } else fork(__filename, ['x']).on('message', m => console.log('got', m))\n"),
    js("spawn", "const r = require('child_process').spawnSync('sh', ['-c', 'ls /proc/self/fd | wc -l; echo >&3'], { encoding: 'utf8' })\nconsole.log(r.stdout, r.status)\n"),
    js("worker", "const { Worker, isMainThread, parentPort } = require('worker_threads')\nif (isMainThread) new Worker(__filename).on('message', m => console.log('got', m))\nelse parentPort.postMessage([process.execArgv, 5])\n5\n", value("5", 5)),
    js("worker fails", "const { Worker, isMainThread } = require('worker_threads')\nif (isMainThread) new Worker(__filename)\nelse throw new Error('in worker')\n", error=failed("Error", "in worker")),
    js("vm", "console.log(require('vm').runInNewContext('a + 1', { a: 2 }))\n"),
    js("wasm", "new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])) instanceof WebAssembly.Module\n", value("true", True)),
    # The channel.
    js("channel closed", "console.log(1)\n5\n", channel="closed"),
    js("channel broken", "console.log(1)\n'x'.repeat(200_000)\n", channel="broken"),
    js("error with the channel closed", "null.x\n", channel="closed"),
    # TypeScript.
    ts("types", "interface A { x: number; y?: string }\ntype B<T> = T | null\nconst a: A = { x: 1 }\nfunction f<T extends object>(x: T, y?: B<T>): T { return x! }\n(f<A>(a) as any).x satisfies number\n", value("1", 1)),
    ts("enum", "enum Color { Red, Green = 5 }\nconst enum Size { Small = 1 }\nconsole.log(Color.Green, Color[5], Size.Small)\n", stdout="5 Green 1\n"),
    ts("class", "abstract class A<T> { constructor(private readonly x: T, public y = 2) {} protected abstract f(): void; get(): T { return this.x } }\nclass B extends A<number> { override f(): void {} declare z: string }\nconst b = new B(1)\nb.get() + b.y\n", value("3", 3)),
    ts("error place", "const x: number = 1\nconst y: string = (null as any as { z: string }).z\n", exit_code=1, error=failed("TypeError"), stderr=shows("main.ts:2:", ":50)")),
    ts("module", "import * as fs from 'node:fs'\nimport type { Stats } from 'fs'\nimport { twice, type Pair } from './util.ts'\nconst p: Pair = [1, 2]\nconst n: number = await Promise.resolve(twice(p[1]))\nn as number\n",
       value("4", 4), files={"util.ts": "export type Pair = [number, number]\nexport function twice(x: number): number { return x * 2 }\n"}),
    ts("module error place", "import * as fs from 'node:fs'\nfunction f(x: string): never { throw new Error(x + typeof fs) }\nf('a' as string)\n", exit_code=1, error=failed("Error", "aobject"), stderr=shows("main.ts:2:38", "main.ts:3:1")),
    ts("common", "const { a } = require('./util')\nconsole.log(a as number)\nmodule.exports = a\n", stdout="3\n", files={"util.ts": "const a: number = 3\nmodule.exports = { a }\n"}),
    ts("import equals", "import fs = require('fs')\nconsole.log(typeof fs.readFileSync)\n", stdout="function\n"),
    ts("extensions", "import { a } from './a.mts'\na\n", value("1", 1), main="main.mts", files={"a.mts": "export const a: number = 1\n"}),
    ts("common extension", "const x: number = require('./a.cts')\nx\n", value("1", 1), main="main.cts", files={"a.cts": "const x: number = 1\nmodule.exports = x\n"}),
    ts("async main", "async function main(): Promise<number> { return 5 }\n\nmain();\n", value("5", 5)),
    ts("top-level await", "const x: number = await Promise.resolve(1);\nx + 1;\n", value("2", 2)),
    ts("await and require", "const os = require('os')\nconst x: number = await Promise.resolve(1);\nx + os.EOL.length\n", value("2", 2)),
    ts("generic arrow", "const id = <T,>(x: T): T => x\nconst xs: Array<Array<number>> = [[1]]\nid(xs[0]!)[0]! < 3\n", value("true", True)),
    ts("syntax error", "const x: = 5\n", exit_code=1, error=failed("SyntaxError"), stderr=shows("main.ts:1\nconst x: = 5\n         ^\n\nSyntaxError: Unexpected token")),
    ts("namespace", "namespace N { export const x = 1 }\nN.x\n", exit_code=1, error=failed("SyntaxError", "TypeScript namespaces are not supported"), stderr=shows("main.ts:1\nnamespace N")),
    ts("text that looks like a namespace", "const s: string = `\nnamespace N {\n`\ns.length\n", value("15", 15)),
    ts("plain javascript error", "const a = 1;\na();\n", exit_code=1, error=failed("TypeError", "a is not a function"), stderr=shows("main.ts:2\na();\n^\n")),
    ts("worker", "import { Worker } from 'worker_threads'\nnew Worker('require(\"worker_threads\").parentPort.postMessage(process.execArgv)', { eval: true }).on('message', (m: string[]) => console.log(m))\n", stdout="[]\n", result=...),
]
