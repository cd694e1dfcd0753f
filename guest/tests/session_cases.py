"""What people do in sessions, and what goes wrong there: for each language scenes, each of some runs in one fresh interpreter."""

import dataclasses


@dataclasses.dataclass
class Run:
    """One run and what is expected of it: a value, or a function that judges; None for nothing, ... for anything."""

    code: str
    result: object = None
    stdout: object = ""
    stderr: object = ""
    error: object = None
    status: str = "ok"
    code_: object = ...
    displays: object = ()
    interrupt_at: str = ""  # Interrupt once this is printed.
    ended: bool = False
    order: dict = dataclasses.field(default_factory=dict)


def text(plain):
    return lambda found: found["text/plain"] == plain


def has(*parts):
    return lambda found: all(part in str(found) for part in parts)


def fails(code, *parts, error=..., stdout=""):
    return Run(code, ..., status="error", stderr=has(*parts), error=error, stdout=stdout)


def stops(code, status="interrupted", **others):
    return Run(code, interrupt_at="on", status=status, stdout=others.pop("stdout", "on\n"), stderr=others.pop("stderr", ...), error=..., **others)


TRACE = 'Traceback (most recent call last):\n  File "<run 2>", line 2, in <module>\n    f(0)\n'

# As much of matplotlib as shows whether figures are taken: real ones are in test_notebook.py.
FIGURES = """
import os
os.mkdir("matplotlib")
open("matplotlib/__init__.py", "w").close()
open("matplotlib/_pylab_helpers.py", "w").write("class Gcf: figs = {}")
open("matplotlib/pyplot.py", "w").write('''
from matplotlib._pylab_helpers import Gcf
class Figure:
    axes, dpi = [1], 100
    def __init__(self): Gcf.figs[len(Gcf.figs) + 1] = self
    def __repr__(self): return "figure %d" % [n for n in Gcf.figs if Gcf.figs[n] is self][0]
    def savefig(self, target, format, **others): target.write(format.upper().encode())
def get_fignums(): return list(Gcf.figs)
def figure(n): return Gcf.figs[n]
def close(which): Gcf.figs.clear()
''');
"""

PYTHON = {
    "values": [Run("x = 1\nx + 1", text("2")), Run("_ + 1", text("3")), Run("(_, __)", text("(3, 2)")), Run("x;"), Run("None"), Run("'a'", {"text/plain": "'a'", "text/x-str": "a", "application/json": "a"})],
    "own underscore": [Run("_ = 9"), Run("5", text("5")), Run("_", text("9"))],
    "imports and functions stay": [Run("import math\ndef f(a):\n    return math.sqrt(a)"), Run("f(16)", text("4.0"))],
    "future imports stay": [Run("from __future__ import annotations"), Run("def f(a: nope): pass\nf.__annotations__", text("{'a': 'nope'}"))],
    "traceback over runs": [Run("def f(a):\n    return 1 / a\n"), fails("print(1)\nf(0)", TRACE, '  File "<run 1>", line 2, in f\n    return 1 / a\n', "ZeroDivisionError: division by zero\n", stdout="1\n",
                            error=lambda e: [(f["file"], f["line"], f["function"], f["source"]) for f in e["frames"]] == [("<run 2>", 2, "<module>", "f(0)"), ("<run 1>", 2, "f", "return 1 / a")])],
    "syntax error": [fails("x = (\n", '  File "<run 1>", line 1\n', "SyntaxError", error=lambda e: e["frames"][0]["line"] in (1, 2)), Run("1", text("1"))],
    "error shown once": [fails("1/0", "ZeroDivisionError", error=has("ZeroDivisionError")), Run("import sys; type(sys.last_value).__name__", text("'ZeroDivisionError'"))],
    "input": [Run("[input('? '), input()]", text("['a', 'b']"), stdout="? ", order={"stdin": "a\nb\n"}), fails("input()", "EOFError"), Run("import sys; sys.stdin.read()", text("'rest'"), order={"stdin": "rest"})],
    "exit": [Run("import sys\nsys.exit(3)", status="exit", code_=3), Run("exit('bye')", status="exit", code_=1, stderr="bye\n"), Run("class E(SystemExit): pass\nraise E(300)", status="exit", code_=44), Run("1", text("1"))],
    "await": [Run("import asyncio\nasync def w():\n    for i in range(3):\n        await asyncio.sleep(0.01)\n    return 7\nt = asyncio.create_task(w())"), Run("await t", text("7")), Run("asyncio.run(w())", text("7")), Run("[i async for i in (x async for x in w2())] if 0 else await asyncio.gather(w(), w())", text("[7, 7]"))],
    "await fails": [Run("async def f():\n    1/0"), fails("await f()", 'Traceback (most recent call last):\n  File "<run 2>", line 1, in <module>\n', '  File "<run 1>", line 2, in f\n', error=lambda e: len(e["frames"]) == 2)],
    "commands": [Run("x = 5\n!echo $x {x + 1} $HOME_OF_NOBODY", stdout="5 6\n"), Run("y = !printf 'a\\nb\\n'\ny", text("['a', 'b']")), Run("if True:\n    !echo in", stdout="in\n"), Run('s = """\n!echo no\n"""\ns', text("'\\n!echo no\\n'")), Run("%matplotlib inline\n1", text("1"))],
    "environment and directory": [Run("import os\n(os.environ['A'], os.getcwd())", text("('b', '/')"), order={"env": {"A": "b"}, "cwd": "/"}), Run("(os.environ.get('A'), os.path.basename(os.getcwd()))", text("(None, 'workspace')"))],
    "interrupt sleep": [stops("import time\nprint('on')\ntime.sleep(60)", stderr=has("Traceback", "KeyboardInterrupt")), Run("1", text("1"))],
    "interrupt input": [stops("print('on')\ninput()", order={"stdin": None}), Run("1", text("1"))],
    "interrupt await": [stops("import asyncio\nprint('on')\nawait asyncio.sleep(60)", stderr=has("Traceback", "KeyboardInterrupt")), Run("await asyncio.sleep(0, 2)", text("2"))],
    "interrupt loop": [stops("print('on')\nwhile True: pass"), Run("1", text("1"))],
    "interrupt caught": [stops("import time\ntry:\n    print('on')\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('caught')\n", status="ok", stdout="on\ncaught\n", stderr=""), Run("1", text("1"))],
    "recursion": [fails("def r(): r()\nr()", "RecursionError", error=lambda e: len(e["frames"]) == 50), fails("import sys\nsys.setrecursionlimit(70)\nr()", "RecursionError"), Run("1", text("1"))],
    "exceptions of all kinds": [fails("raise BaseException('x')", "BaseException: x"), fails("class E(Exception):\n    def __str__(self): 1/0\nraise E", "<exception str() failed>"), fails("raise MemoryError", "MemoryError"), fails("raise GeneratorExit", "GeneratorExit"), Run("1", text("1"))],
    "descriptors closed": [Run("import os\nos.close(1)"), Run("print('again')", stdout="again\n"), Run("os.closerange(3, 256)"), Run("2", text("2")), Run("import sys\nsys.stdout.close()"), Run("print('on again')", stdout="on again\n")],
    "streams replaced": [Run("import io, sys\nold = sys.stdout\nsys.stdout = io.StringIO()\nprint('hidden')"), Run("sys.stdout = old\nprint('seen')", stdout="seen\n"), Run("del sys.stderr"), Run("1/0", status="error", stderr=..., error=...), Run("1", text("1"))],
    "fork": [Run("import os\npid = os.fork()\nif pid:\n    os.waitpid(pid, 0)\nprint(pid > 0)", stdout="False\nTrue\n"), Run("1", text("1"))],
    "fork fails": [Run("import os\npid = os.fork()\nif pid == 0:\n    raise ValueError('child')\nos.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])", text("1"), stderr=has("ValueError: child"))],
    "hard end": [Run("import os\nos._exit(5)", ended=True, status=None)],
    "builtins deleted": [Run("import builtins\nfor n in list(vars(builtins)):\n    if n not in ('__import__', '__build_class__', 'delattr'): delattr(builtins, n)", status=..., error=..., stderr=...), Run("len('ab')", text("2"))],
    "threads stay": [Run("import threading, queue\nq = queue.Queue()\nr = queue.Queue()\ndef work():\n    while True: r.put(q.get() * 2)\nthreading.Thread(target=work, daemon=True).start()"), Run("q.put(4); r.get(timeout=9)", text("8"))],
    "processes stay": [Run("import subprocess\np = subprocess.Popen(['sleep', '60'])"), Run("p.poll() is None", text("True")), Run("p.kill(); p.wait()", text("-9"))],
    "at exit": [Run("import atexit\natexit.register(print, 'bye')\n1;")],
    "stack": [Run("import inspect, sys\n[f.function for f in inspect.stack()] if sys.version_info >= (3, 11) else ['<module>']", text("['<module>']"))],
    "sources": [Run("def f():\n    return 1  # here"), Run("import inspect\ninspect.getsource(f)", text("'def f():\\n    return 1  # here\\n'"))],
    "warning": [Run("import warnings\nwarnings.warn('w')", stderr="<run 1>:2: UserWarning: w\n  warnings.warn('w')\n")],
    "name of main": [Run("__name__", text("'__main__'")), Run("import dataclasses, pickle\n@dataclasses.dataclass\nclass P:\n    x: int\npickle.loads(pickle.dumps(P(3)))", text("P(x=3)"))],
    "display": [Run("display('a', [1])\ndisplay({'text/html': '<b>', 'text/plain': 'b'}, raw=True, metadata={})\nh = display(1, display_id=True)\nh.update(2)", displays=lambda d: [x["text/plain"] for x in d] == ["'a'", "[1]", "b", "1", "2"] and d[2]["text/html"] == "<b>")],
    "displays bounded": [Run("for i in range(100): display(i)", displays=lambda d: len(d) == 64), Run("for i in range(3): display(i)", displays=lambda d: len(d) == 2, order={"options": {"displays": 2}})],
    "figures": [Run(FIGURES), Run("import matplotlib.pyplot as plt\nplt.Figure()\n5", text("5"), displays=lambda d: [x["text/plain"] for x in d] == ["figure 1"] and d[0]["image/png"] == "UE5H"), Run("plt.Figure(); plt.show(); plt.Figure();", displays=lambda d: len(d) == 2 and d[0]["image/svg+xml"] == "SVG", order={"options": {"svg": True}}), Run("None")],
    "IPython.display": [Run("from IPython.display import HTML, Markdown, display, clear_output\nclear_output()\ndisplay(Markdown('*a*'))\nHTML('<b>')", lambda r: r["text/html"] == "<b>", displays=lambda d: d[0]["text/markdown"] == "*a*")],
    "broken forms": [Run("class A:\n    def __repr__(self): 1/0\n    def _repr_html_(self): raise BaseException\n    def _repr_mimebundle_(self, **k): return 5\n    def _repr_json_(self): return {'a': 1}\nA()", lambda r: "unprintable" in r["text/plain"] and r["application/json"] == {"a": 1})],
    "hook": [Run("import sys\nsys.excepthook = lambda *a: print('hook', a[0].__name__)"), Run("1/0", status="error", stdout="hook ZeroDivisionError\n", error=...)],
    "last expression of an if": [Run("if True:\n    5"), Run("5 if True else 6", text("5"))],
}

JAVASCRIPT = {
    "values": [Run("const x = 1; x + 1", text("2")), Run("_ + 1", text("3")), Run("undefined"), Run("({a: [1]})", {"text/plain": "{ a: [ 1 ] }", "application/json": {"a": [1]}}), Run("{ a: 1 }", text("{ a: 1 }")), Run("'s'", text("'s'")), Run("-0", text("-0")), Run("10n ** 20n", text("100000000000000000000n")), Run("new Date(0)", lambda r: r["application/json"] == "1970-01-01T00:00:00.000Z")],
    "declared again": [Run("const x = 1; let y = 1; class A {}"), Run("const x = 2; let y = 3; class A { z = 1 }\n[x, y, new A().z]", text("[ 2, 3, 1 ]")), Run("function f() { return x }; f()", text("2"))],
    "declared again in another way": [Run("const x = 1; const {p, ...q} = {p: 1, r: 2}"), Run("const x = await 2; x", text("2")), Run("let x = 3; x", text("3")), Run("const x = await 4, [p] = [x]; [x, p]", text("[ 4, 4 ]")), Run("const x = 5; x", text("5"))],
    "constants": [fails("const k = 1;\nk = 2", "TypeError: Assignment to constant variable.", "<run_1>:2:3"), fails("const m = 1; m++", "Assignment to constant"), fails("const [n] = [1]; ({n} = {n: 2})", "Assignment to constant")],
    "await": [Run("const v = await new Promise((done) => setTimeout(done, 5, 7)); v", text("7")), Run("const {a, b: [c]} = await {a: 1, b: [2]}; for await (const q of [c]) console.log(q)", stdout="2\n"), Run("[v, a, c]", text("[ 7, 1, 2 ]"))],
    "modules": [Run("const path = require('path'); path.basename('/a/b')", text("'b'")), Run("fs.writeFileSync('m.mjs', 'export const q = 4; export default 5'); fs.writeFileSync('c.cjs', 'exports.z = 3');\n(await import('./m.mjs')).q + require('./c.cjs').z", text("7")), Run("import five, {q} from './m.mjs'; import * as all from './m.mjs';\n[five, q, all.q]", text("[ 5, 4, 4 ]")), Run("(() => import('node:os'))().then((os) => typeof os.cpus)", lambda r: r["text/plain"].startswith("Promise"))],
    "trace": [Run("function f() {\n  null.x\n}"), fails("1;\nf()", "<run_1>:2\n  null.x\n       ^\n\nTypeError: Cannot read properties of null", "at f (<run_1>:2:8)\n    at <run_2>:2:1\n", error=lambda e: [(f["line"], f["column"], f["source"]) for f in e["frames"]] == [(2, 1, "f()"), (2, 8, "null.x")])],
    "trace of an await": [fails("await 1\n  null.x", "<run_1>:2\n  null.x\n       ^", error=lambda e: e["frames"][-1]["line"] == 2)],
    "syntax error": [fails("let a = 1\n1 +", "SyntaxError", error=lambda e: e["name"] == "SyntaxError" and e["frames"][0]["line"] == 2), Run("1", text("1"))],
    "thrown things": [fails("throw 5", "Uncaught 5"), fails("throw null", "Uncaught null"), fails("const e = new Error('c', {cause: new Error('d')}); e.code = 'X'; throw e", "code: 'X'", "Error: d"), Run("1", text("1"))],
    "exit": [Run("process.exit(3)", status="exit", code_=3), Run("try { process.exit(4) } catch {} finally { console.log('no') }; console.log('no')", status="exit", code_=4), Run("await 1; process.exit(5)", status="exit", code_=5), Run("setTimeout(() => process.exit(6), 5); await new Promise(() => {})", status="exit", code_=6), Run("1", text("1"))],
    "rejection": [fails("Promise.reject(new Error('lost'));\nvar k = 8", "lost", error=lambda e: e["message"] == "lost"), Run("k", text("8"))],
    "late error": [fails("setTimeout(() => { throw new Error('late') }, 5); await new Promise((done) => setTimeout(done, 5000))", "late"), Run("1", text("1"))],
    "standard input": [Run("fs.readFileSync(0, 'utf8')", text("'abc'"), order={"stdin": "abc"}), Run("for await (const l of require('readline').createInterface({input: process.stdin})) console.log('L', l)", stdout="L a\nL b\n", order={"stdin": "a\nb\n"}), Run("fs.readFileSync(0, 'utf8')", text("''"))],
    "environment and directory": [Run("[process.env.A, process.cwd()]", text("[ 'b', '/' ]"), order={"env": {"A": "b"}, "cwd": "/"}), Run("[process.env.A, path.basename(process.cwd())]", text("[ undefined, 'workspace' ]"))],
    "interrupt loop": [stops("console.log('on'); while (true) {}"), Run("console.log('again')", stdout="again\n")],
    "interrupt await": [stops("console.log('on'); await new Promise(() => {})"), Run("1", text("1"))],
    "timers stay": [Run("globalThis.n = 0; globalThis.t = setInterval(() => n++, 1); 0", text("0")), Run("while (n < 3) await new Promise((done) => setTimeout(done, 1)); clearInterval(t); n >= 3", text("true"))],
    "display": [Run("display(1, {a: 1}); ({[Symbol.for('Jupyter.display')]: () => ({'text/html': '<b>', 'application/x+json': [1]})})", lambda r: r["text/html"] == "<b>" and r["application/x+json"] == [1], displays=lambda d: [x["text/plain"] for x in d] == ["1", "{ a: 1 }"])],
    "displays bounded": [Run("for (let i = 0; i < 100; i++) display(i)", displays=lambda d: len(d) == 64), Run("display(1); display(2)", displays=lambda d: len(d) == 1, order={"options": {"displays": 1}})],
    "broken forms": [Run("({[Symbol.for('nodejs.util.inspect.custom')]() { throw 1 }, toJSON() { throw 2 }})", has("uninspectable"))],
    "TypeScript": [Run("const z: number = 3; enum E { A, B }; E.B + z", text("4"), order={"name": "a.ts"}), Run("interface I { a: number }\nconst i = { a: z } as I; i.a", text("3"), order={"options": {"typescript": True}})],
    "globals changed": [Run("JSON.stringify = null; Array.prototype.map = null; globalThis.Buffer = undefined; globalThis.setImmediate = null; 0", ...), Run("1 + 1", text("2"))],
    "hard end": [Run("process.abort()", ended=True, status=None, stderr=...)],
}

BASH = {
    "state": [Run("x=1; f() { echo \"f $1 $x\"; }; alias ll='echo LL'; shopt -s nullglob; cd /; a=(1 '2 3')"), Run("f q; ll z; pwd; shopt -q nullglob && echo \"${a[1]}\"", stdout="f q 1\nLL z\n/\n2 3\n")],
    "status": [Run("false", status="error", code_=1), Run("(exit 9)", status="error", code_=9), Run("nosuch", status="error", code_=127, stderr=has("line 1: nosuch: command not found")), Run("true")],
    "syntax error": [Run("if then", status="error", code_=2, stderr=has("syntax error")), Run("echo 1", stdout="1\n")],
    "exit": [Run("exit 3", status="exit", code_=3), Run("g() { while true; do exit 4; done; }; g; echo no", status="exit", code_=4), Run("for i in 1 2 3; do echo $i; if [ $i = 2 ]; then exit 7; fi; done", status="exit", code_=7, stdout="1\n2\n"), Run("echo $i", stdout="2\n")],
    "errexit": [Run("x=5; set -e; f() { false; }; f; echo no", status="error", code_=1), Run("echo $x $-", stdout=lambda s: s.startswith("5 e")), Run("set +e; false; echo on", stdout="on\n")],
    "nounset": [Run("x=5; set -u; echo $nope; echo no", status="error", code_=1, stderr=has("unbound variable")), Run("echo $x $-", stdout=lambda s: s.startswith("5 ") and "u" in s)],
    "unset with a message": [Run("x=5; echo ${nope:?bad}", status="error", stderr=has("nope: bad")), Run("echo $x", stdout="5\n")],
    "input": [Run("read a; echo \"[$a]\"; cat", stdout="[one]\ntwo\n", order={"stdin": "one\ntwo\n"}), Run("cat", stdout="")],
    "environment and directory": [Run("echo \"$A\"; pwd", stdout="b\nc\n/\n", order={"env": {"A": "b\nc"}, "cwd": "/"}), Run("echo ${A-unset} ${PWD##*/}", stdout="unset workspace\n")],
    "jobs": [Run("sleep 60 & echo ok", stdout="ok\n"), Run("jobs -r | wc -l; kill %1; wait %1; echo $?", stdout="1\n143\n")],
    "redirections": [Run("exec >out; echo hidden"), Run("exec >&-"), Run("cat out; echo back", stdout="hidden\nback\n")],
    "heredoc": [Run("x=1; cat <<X\nhi $x\nX", stdout="hi 1\n")],
    "trap of exit": [Run("trap 'echo bye' EXIT; trap -p", stdout=has("bye", "EXIT")), Run("echo on", stdout="on\n"), Run("exit 0", status="exit", code_=0, stdout="bye\n"), Run("echo 1", stdout="1\n")],
    "trap under errexit": [Run("trap 'echo bye' EXIT; set -e; false", status="error", stdout="bye\n"), Run("set +e; echo on", stdout="on\n")],
    "descriptors": [Run("ls /proc/self/fd | wc -l", stdout="4\n")],
    "interrupt command": [stops("echo on; sleep 60; echo no", code_=130), Run("echo 1", stdout="1\n")],
    "interrupt loop": [stops("x=4; echo on; while true; do :; done; echo no"), Run("echo $x", stdout="4\n")],
    "interrupt read": [stops("echo on; read z; echo no", order={"stdin": None}), Run("echo 1", stdout="1\n")],
    "interrupt keeps jobs": [stops("sleep 60 & until [ $(cat /proc/$!/comm) = sleep ]; do :; done; echo on; wait; echo no"), Run("jobs -r | wc -l; kill %1", stdout="1\n")],
    "hard end": [Run("kill -9 $$", ended=True, status=None)],
}
