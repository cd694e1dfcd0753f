"""Runs one Python program as `python3 FILE` would and sends its value or its error. Protocol: ../PROTOCOL.md.

Must not import anything on the way to the program (start-up is the product), must not be seen by it (frames, names, descriptors).
`build.py` compiles this file; the frames of the functions it names in HIDDEN do not exist for the program.
"""

import posix
import sys

RESULT, DISPLAY, ERROR = 1, 2, 3
MAX_PAYLOAD = 8 << 20
CHANNEL, HIGH_CHANNEL = 3, 63
DISPLAYS_MAX, DISPLAYS_BYTES_MAX = 64, 32 << 20
AST_ONLY, TOP_LEVEL_AWAIT, COROUTINE = 0x400, 0x2000, 0x80
FUTURES = 0x1FE0000
RENAMED_MAX = 1 << 14  # Bytes of a program; above, naming the file of every function costs more than it saves.
STATEMENTS = frozenset(
    b"assert async break class continue def del elif except finally for from global if import nonlocal pass print raise return "
    b"try while with @".split()
)
IN_EXPRESSIONS = (b"async", b"for", b"from", b"if")


# The channel.


class Channel:
    """The write end of the result pipe. Every failure is silent: the program never learns of the channel from an error."""

    def __init__(self):
        self.fd, self.pid, self.identity, self.spare = -1, posix.getpid(), None, -1
        self.allow(DISPLAYS_MAX, DISPLAYS_BYTES_MAX)

    def allow(self, displays, display_bytes):
        """Bounds what is displayed from here on."""
        self.displays, self.display_bytes = displays, display_bytes

    def open(self):
        """Moves the pipe out of the way, so that the program's first file is descriptor 3 as it would be without us."""
        try:
            try:
                self.fd = posix.dup2(CHANNEL, HIGH_CHANNEL, False)
                posix.close(CHANNEL)
            except OSError:
                posix.set_inheritable(CHANNEL, False)
                self.fd = CHANNEL
            self.identity = self._identify()
        except OSError:
            self.fd = -1

    def _identify(self):
        return posix.fstat(self.fd)[1:3]  # Inode and device.

    def keep_spare(self, target):
        """A second descriptor of the pipe, for a session whose program may close the first."""
        try:
            self.spare = posix.dup2(self.fd, target, False)
        except OSError:
            self.spare = -1

    def _is_ours(self):
        # A descriptor the program closed or reused is not ours.
        try:
            if self._identify() == self.identity:
                return True
        except OSError:
            pass
        self.fd, self.spare = self.spare, -1
        return self.fd >= 0 and self._is_ours()

    def send(self, kind, payload):
        # A forked child is not the program.
        if self.fd < 0 or posix.getpid() != self.pid or len(payload) > MAX_PAYLOAD:
            return
        if kind == DISPLAY:
            self.displays -= 1
            self.display_bytes -= len(payload)
            if self.displays < 0 or self.display_bytes < 0:
                return
        try:
            if not self._is_ours():
                return
            rest = memoryview(bytes((kind,)) + len(payload).to_bytes(4, "little") + payload)
            while rest:
                rest = rest[posix.write(self.fd, rest) :]
        except OSError:
            self.fd = -1


channel = Channel()


# Values.


def values():
    """The namespace of values.py, loaded on the first use."""
    if "bundle" not in VALUES_LOADED:
        import marshal

        exec(marshal.loads(VALUES), VALUES_LOADED)
        VALUES_LOADED["notebook"] = notebook
    return VALUES_LOADED


def notebook():
    """The namespace of notebook.py, beside this file, loaded on the first use."""
    if not NOTEBOOK:
        import marshal

        NOTEBOOK.update(__name__="fireclay", __builtins__=PRIVATE, send=channel.send, values=values(), display=display, options=OPTIONS)
        exec(marshal.loads(read(DIRECTORY + "/notebook.pyc")[16:]), NOTEBOOK)
    return NOTEBOOK


def send_value(kind, value):
    try:
        channel.send(kind, values()["bundle"](value))
    except BaseException:
        pass  # What a hostile value raises is not the program's end.


def display(*shown, **options):
    """Shows values as IPython's `display` does."""
    if options:
        return notebook()["display_with"](shown, **options)
    for value in shown:
        send_value(DISPLAY, value)


def has_figures():
    """Whether matplotlib's `pyplot` holds figures of this program, which need not have imported it."""
    helpers = sys.modules.get("matplotlib._pylab_helpers")
    return helpers is not None and helpers.Gcf.figs and posix.getpid() == channel.pid


def show_figures():
    """Displays and closes those figures."""
    try:
        if has_figures():
            notebook()["show_figures"]()
    except BaseException:
        pass  # What cannot be drawn is not the program's end.


# Errors.


class Capture:
    """A text stream that keeps what is written to it."""

    def __init__(self):
        self.parts = []

    def write(self, text):
        self.parts.append(str(text))
        return len(text)

    def flush(self):
        pass


def render(error, trace):
    """What the interpreter prints for an uncaught exception."""
    capture, real = Capture(), sys.stderr
    sys.stderr = capture
    try:
        sys.__excepthook__(type(error), error, trace)
    finally:
        sys.stderr = real
    return "".join(capture.parts)


def send_error(error, text, trace=None):
    try:
        channel.send(ERROR, values()["error_bundle"](error, text, trace, read))
    except Exception:
        pass


def listen(own, namespace):
    """Lets the interpreter itself report the exception that is about to leave the program, and overhears what it prints."""
    user_hook = sys.excepthook

    def hook(kind, error, trace):
        sys.excepthook = user_hook
        first = trace
        while first is not None and first.tb_frame.f_code not in own:
            first = first.tb_next
        if first is not trace and first is not None:
            # Frames of ours, or of asyncio below a top-level await.
            trace = error.__traceback__ = first
        try:
            text = render(error, trace)
        except BaseException:
            return user_hook(kind, error, trace)
        send_error(error, text, trace)
        if user_hook is not sys.__excepthook__:
            return user_hook(kind, error, trace)
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except BaseException:
            pass
        forget_file(namespace)

    sys.excepthook = hook


# The program.


def read(path):
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        # One more than there is: a full read is not the end.
        size = posix.fstat(fd).st_size + 1
        chunks = [posix.read(fd, size)]
        while len(chunks[-1]) == size:
            chunks.append(posix.read(fd, size))
        return b"".join(chunks)
    finally:
        posix.close(fd)


def code_of(text, path):
    """What `compile(text, path, "exec")` returns, or None. The first use of `compile` costs 0.8 ms: it makes all types of `ast`.
    `exec` makes none; so this takes the code that `exec` is about to run, before its first instruction, and names its file."""
    found, scope = [], {"__builtins__": {}}

    def stop(frame, event, argument):
        # What compiling warns of is Python code, too.
        if frame.f_globals is scope:
            found.append(frame.f_code)
            raise InterruptedError

    sys.settrace(stop)
    try:
        exec(text, scope)
    except BaseException:
        pass  # What does not compile, `compile` says by the right name.
    finally:
        sys.settrace(None)
    return renamed(found[0], path) if found else None


def renamed(code, path):
    """The code and all code in it, as compiled from the file at `path`."""
    constants = tuple(renamed(constant, path) if type(constant) is type(code) else constant for constant in code.co_consts)
    return code.replace(co_filename=path, co_consts=constants)


class Source:
    """A program, compiled as plain Python would, and its last expression on its own."""

    def __init__(self, text, path):
        self.text, self.path, self.flags, self.warnings, self.line = text, path, 0, "", 1

    def compile(self, source, mode="exec", flags=0):
        """Code, or a tree. Keeps the warnings: if any part fails, the plain interpreter will print them."""
        capture, real = Capture(), sys.stderr
        sys.stderr = capture
        try:
            if source is self.text and not self.flags | flags and len(source) <= RENAMED_MAX:
                code = code_of(source, self.path)
                if code and not capture.parts:
                    return code
                capture.parts.clear()
            code = compile(source, self.path, mode, self.flags | flags, True)
        finally:
            sys.stderr = real
        self.warnings += "".join(capture.parts)
        return code

    def halves(self):
        """(code, None), or (code of all but the last expression, code of it)."""
        try:
            return self._halves()
        except SyntaxError:
            if b"await" not in self.text and b"async" not in self.text:
                raise
            self.flags, self.warnings = TOP_LEVEL_AWAIT, ""
            return self._halves()

    def _halves(self):
        if self._ends_in_statement():
            return self.compile(self.text), None
        try:
            tree = self.compile(self.text, flags=AST_ONLY)
            if not tree.body or type(tree.body[-1]).__name__ != "Expr":
                return self.compile(tree), None
            import _ast

            statement = tree.body[-1]
            self.line = statement.lineno
            if len(tree.body) > 1 or type(statement.value).__name__ != "Constant":
                del tree.body[-1]  # A lone constant may be the docstring: it stays, and does nothing more.
            body = self.compile(tree)
            self.flags |= body.co_flags & FUTURES
            return body, self.compile(_ast.Expression(statement.value), "eval")
        except RecursionError:
            # Trees as objects nest less deeply than the compiler's own.
            self.warnings = ""
            return self.compile(self.text), None

    def _ends_in_statement(self):
        """Whether the last statement surely is no expression, or one without a value: a look at the line spares the tree."""
        text, end = self.text, len(self.text)
        while end > 0:
            start = text.rfind(b"\n", 0, end) + 1
            line = text[start:end]
            if line[:1] not in (b"", b" ", b"\t", b"\r", b"\f", b"#", b")", b"]", b"}"):
                word = (line.replace(b"(", b" ").replace(b":", b" ").split(None, 1) or [b""])[0]
                known = word in STATEMENTS and (b":" in line or word not in IN_EXPRESSIONS)
                return known and b'"""' not in text[start:] and b"'''" not in text[start:] and b";" not in text[start:]
            end = start - 1
        return False


def run_coroutines(body, tail):
    """Runs halves of which at least one awaits."""
    import asyncio

    async def drive():
        if body.__code__.co_flags & COROUTINE:
            await body()
        else:
            body()
        if tail is None:
            return None
        return await tail() if tail.__code__.co_flags & COROUTINE else tail()

    return asyncio.run(drive())


def send_result(value, namespace):
    if value is None:
        value = namespace.get("result")
    if value is not None:
        send_value(RESULT, value)


def drop(value, line, path, namespace):
    """Lets go of a coroutine nobody awaited on the line that made it, where plain Python warns about it."""
    code = compile("\n" * (line - 1) + "f()", path, "eval", 0, True)
    eval(code, namespace, {"f": value.clear})


def forget_file(namespace):
    """The interpreter removes these when the main file is done (Python/pythonrun.c), before threads and `atexit`."""
    namespace.pop("__file__", None)
    namespace.pop("__cached__", None)


def run(namespace, path, line, body, tail):
    """Runs the program. This frame and its caller are hidden where the interpreter allows it."""
    value, codes = None, (body, tail)
    body = FUNCTION(body, namespace)
    tail = tail and FUNCTION(tail, namespace)
    try:
        if (body.__code__.co_flags | (tail.__code__.co_flags if tail else 0)) & COROUTINE:
            value = run_coroutines(body, tail)
        else:
            body()
            if tail is not None:
                value = tail()
    except SystemExit:
        send_result(None, namespace)
        show_figures()
        raise
    except BaseException:
        show_figures()
        listen(codes, namespace)
        raise
    send_result(value, namespace)
    show_figures()
    if type(value).__name__ == "coroutine":
        value = [value]
        drop(value, line, path, namespace)
    value = None
    forget_file(namespace)


# What the program finds.


class Lazy:
    """`exit`, `help` and their like, put in place by the real `site` when first used."""

    def __init__(self, name):
        self.name = name

    def _real(self):
        import builtins
        import site

        site.setquit()
        site.setcopyright()
        site.sethelper()
        return getattr(builtins, self.name)

    def __call__(self, *arguments, **named):
        return self._real()(*arguments, **named)

    def __repr__(self):
        return repr(self._real())


class LatePaths:
    """The last finder of `sys.meta_path`: runs the `import` lines of `.pth` files once an import would fail without them."""

    def __init__(self):
        self.lines = []

    def find_spec(self, name, path=None, target=None):
        if not self.lines:
            return None
        lines, self.lines = self.lines, []
        for line in lines:
            try:
                exec(line, {})
            except Exception:
                pass
        for finder in sys.meta_path:
            if finder is not self:
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    return spec
        return None


def places_of_packages():
    """Where packages are looked for, the first first; some may not be there."""
    version = "python%d.%d" % sys.version_info[:2]
    directories = [sys.prefix + "/lib/" + version + "/site-packages"]
    if sys.prefix == "/usr":
        directories = ["/usr/local/lib/" + version + "/dist-packages", "/usr/lib/python3/dist-packages"] + directories
    home = posix.environ.get(b"HOME")
    if home and not sys.flags.no_user_site:
        directories.insert(0, home.decode("utf-8", "surrogateescape") + "/.local/lib/" + version + "/site-packages")
    return directories


def add_packages():
    """What `site` does for `sys.path`, without its 2 ms. Also again, when others lie there."""
    late = LatePaths()
    for directory in places_of_packages():
        try:
            names = posix.listdir(directory)
        except OSError:
            continue
        if directory not in sys.path:
            sys.path.append(directory)
        for name in sorted(name for name in names if name[-4:] == ".pth" and name[:1] != "."):
            try:
                lines = read(directory + "/" + name).decode().splitlines()
            except (OSError, ValueError):
                continue
            for line in lines:
                line = line.rstrip()
                if line.startswith(("import ", "import\t")):
                    late.lines.append(line)
                elif line and line[0] != "#":
                    path = line if line[0] == "/" else directory + "/" + line
                    if path not in sys.path and posix.access(path, posix.F_OK):
                        sys.path.append(path)
    if late.lines:
        sys.meta_path.append(late)


def is_real(path):
    """Whether an absolute path has no symbolic links, dots or empty parts to resolve."""
    parts = path[1:].split("/")
    if "" in parts or "." in parts or ".." in parts:
        return False
    for end in range(1, len(parts) + 1):
        try:
            posix.readlink("/" + "/".join(parts[:end]))
            return False
        except OSError:
            pass
    return True


def set_arguments():
    """`sys.argv` and `sys.path[0]` as the program's own; returns the absolute path, spelt as the interpreter spells it."""
    del sys.argv[0]
    name = sys.argv[0]
    if hasattr(sys, "orig_argv"):
        sys.orig_argv[1:] = sys.argv
    path = name if name[:1] == "/" else posix.getcwd() + "/" + name
    if not getattr(sys.flags, "safe_path", False) and not sys.flags.isolated:
        directory = path.rpartition("/")[0] or "/"
        if not is_real(path):
            import os

            directory = os.path.dirname(os.path.realpath(path))
        sys.path[0] = directory
    return path


def new_main(path):
    """A fresh `__main__`, with the names in the order the interpreter makes them; ours stays alive, unnamed."""
    module = type(sys)("__main__")
    namespace = module.__dict__
    for name in MAIN_NAMES:
        namespace[name] = None
    if "__annotations__" in namespace:
        namespace["__annotations__"] = {}
    loader = sys.modules["_frozen_importlib_external"].SourceFileLoader
    namespace.update(__name__="__main__", __builtins__=BUILTINS, __file__=path, __loader__=loader("__main__", path))
    sys.modules["__main__"] = module
    return namespace


def hide_depth():
    """Two frames below the program are ours: its recursion ends where it would without them, and the limit reads the same."""
    real, plain = sys.getrecursionlimit, sys.getrecursionlimit()
    sys.setrecursionlimit(plain + FRAMES_BELOW)

    def getrecursionlimit():
        return plain if (limit := real()) == plain + FRAMES_BELOW else limit

    sys.getrecursionlimit = getrecursionlimit


def furnish():
    """What every program finds, whatever it is."""
    FURNISHED.append(True)
    if sys.stdout is not None:
        sys.stdout.reconfigure(line_buffering=True)
    add_packages()
    for name in ("exit", "quit", "copyright", "credits", "license", "help"):
        setattr(BUILTINS, name, Lazy(name))
    BUILTINS.display = display


def prepare():
    """Everything before the program's first instruction; returns the arguments of `run`."""
    channel.open()
    path = set_arguments()
    source = None
    try:
        source = Source(read(path), path)
        body, tail = source.halves()
    except BaseException as error:
        if source is not None:
            error.__traceback__ = error.__context__ = None
            send_error(error, render(error, None))
        try:
            # Nothing of the program has run yet: the plain interpreter words this best, from its file tokenizer.
            posix.execve(sys.executable, [sys.executable, *sys.argv], posix.environ)
        except OSError:
            pass
        raise
    if source.warnings:
        try:
            sys.stderr.write(source.warnings)
        except Exception:
            pass
    if not FURNISHED:
        furnish()
    namespace = new_main(path)
    hide_depth()
    return namespace, path, source.line, body, tail


FURNISHED, OPTIONS = [], {}
BUILTINS = sys.modules["builtins"]
PRIVATE = dict(vars(BUILTINS))  # A program may delete its own.
VALUES, VALUES_LOADED, NOTEBOOK = b"", {"__name__": "fireclay", "__builtins__": PRIVATE}, {}  # build.py fills VALUES.
FUNCTION, FRAMES_BELOW, DIRECTORY = type(run), 2, sys.argv[0].rpartition("/")[0]
MAIN_NAMES = [name for name in sys.modules["__main__"].__dict__ if name[:2] == "__"]

if __name__ == "__main__":
    run(*prepare())
