"""Runs one Python program as `python3 FILE` would and sends its value or its error. Protocol: ../PROTOCOL.md.

Must not import anything on the way to the program (start-up is the product), must not be seen by it (frames, names, descriptors).
`build.py` compiles this file; frames of the functions it calls HIDDEN do not exist for the program.
"""

import posix
import sys

RESULT, DISPLAY, ERROR = 1, 2, 3
MAX_PAYLOAD = 8 << 20
MAX_DEPTH, MAX_NODES = 64, 1_000_000
CHANNEL, HIGH_CHANNEL = 3, 63
AST_ONLY, TOP_LEVEL_AWAIT, COROUTINE = 0x400, 0x2000, 0x80
FUTURES = 0x1FE0000
KEYWORDS = frozenset(
    b"assert async break class continue def del elif except finally for from global if import nonlocal pass raise return "
    b"try while with @".split()
)


# The channel.


class Channel:
    """The write end of the result pipe. Every failure is silent: the program never learns of the channel from an error."""

    def __init__(self):
        self.fd, self.pid, self.identity = -1, posix.getpid(), None

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
        status = posix.fstat(self.fd)
        return status.st_dev, status.st_ino

    def send(self, kind, payload):
        # A forked child is not the program, and a descriptor the program reused is not ours.
        if self.fd < 0 or posix.getpid() != self.pid or len(payload) > MAX_PAYLOAD:
            return
        try:
            if self._identify() != self.identity:
                return
            rest = memoryview(bytes((kind,)) + len(payload).to_bytes(4, "little") + payload)
            while rest:
                rest = rest[posix.write(self.fd, rest) :]
        except OSError:
            self.fd = -1


channel = Channel()


# Values as MIME bundles.


class TooMuch(Exception):
    """The value has no JSON form, or one larger than a frame."""


ESCAPES = {code: "\\u%04x" % code for code in range(32)}
ESCAPES.update({8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"})


def quote(text):
    """The JSON string of `text`; a lone surrogate becomes U+FFFD, since the parent's parser refuses it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        text = "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)
    return '"' + text.translate(ESCAPES) + '"'


def to_json(value):
    """The JSON text of a value made of exact built-in types. Raises `TooMuch` for anything else, too deep or too large."""
    parts, budget = [], [MAX_NODES, MAX_PAYLOAD]

    def walk(item, depth):
        budget[0] -= 1
        kind = type(item)
        if depth > MAX_DEPTH or budget[0] < 0 or budget[1] < 0:
            raise TooMuch
        if item is None or kind is bool:
            text = "null" if item is None else "true" if item else "false"
        elif kind is int and -(2**63) <= item < 2**64 or kind is float and item - item == 0:
            text = repr(item)
        elif kind is str and len(item) <= budget[1]:
            text = quote(item)
        elif kind is list or kind is tuple:
            parts.append("[")
            for index, element in enumerate(item):
                if index:
                    parts.append(",")
                walk(element, depth + 1)
            text = "]"
        elif kind is dict:
            parts.append("{")
            for index, (key, element) in enumerate(item.items()):
                if type(key) is not str:
                    raise TooMuch
                parts.append((',"' if index else '"') + quote(key)[1:] + ":")
                walk(element, depth + 1)
            text = "}"
        else:
            raise TooMuch
        budget[1] -= len(text)
        parts.append(text)

    walk(value, 0)
    return "".join(parts)


def describe(value):
    """`repr`, or what became of it."""
    try:
        return repr(value)
    except BaseException as error:
        name = type(error).__name__
        try:
            return "<unprintable %s object (%s: %s)>" % (type(value).__name__, name, str(error)[:1000])
        except BaseException:
            return "<unprintable object (%s)>" % name


REPRESENTATIONS = {
    "_repr_html_": "text/html",
    "_repr_markdown_": "text/markdown",
    "_repr_latex_": "text/latex",
    "_repr_svg_": "image/svg+xml",
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
}


def rich(value):
    """What IPython's `_repr_*_` methods say, as {mime: JSON text}. A method that fails says nothing."""
    found, kind = {}, type(value)
    if kind is type or not hasattr(kind, "__dict__"):
        return found
    try:
        if hasattr(kind, "_repr_mimebundle_"):
            bundle = value._repr_mimebundle_(include=None, exclude=None)
            if type(bundle) is tuple:
                bundle = bundle[0]
            for mime, data in dict(bundle).items():
                found[str(mime)] = encode(data)
    except BaseException:
        pass
    for method, mime in REPRESENTATIONS.items():
        try:
            if mime not in found and hasattr(kind, method):
                data = getattr(value, method)()
                if type(data) is tuple:
                    data = data[0]
                if data is not None:
                    found[mime] = encode(data)
        except BaseException:
            pass
    return found


def encode(data):
    """JSON text of the data of one MIME type: bytes as base64."""
    if type(data) is bytes:
        import binascii

        return '"' + binascii.b2a_base64(data, newline=False).decode() + '"'
    return quote(str(data)) if isinstance(data, str) else to_json(data)


BUILT_IN = frozenset((bool, int, float, str, list, tuple, dict, bytes, set, frozenset, complex, range, type, type(len), type(quote)))


def bundle(value):
    """The payload of a result or display frame: always `text/plain`; whatever does not fit is left out, the text cut."""
    entries = {}
    if type(value) is str and len(value) > MAX_PAYLOAD:
        text = repr(value[:MAX_PAYLOAD])
    else:
        try:
            entries["application/json"] = to_json(value)
        except (TooMuch, RuntimeError):
            pass
        text = describe(value)
    if type(value) is str:
        entries["text/x-str"] = quote(value[:MAX_PAYLOAD])
    elif type(value) not in BUILT_IN:
        entries.update(rich(value))
    return fit("text/plain", text, entries)


def fit(name, text, entries):
    """A JSON object of `entries` (already JSON) and `name: text`, within one frame: entries go first, then the text is cut."""
    for mime in list(entries):
        if mime == name or len(entries[mime]) * 4 > MAX_PAYLOAD and len(entries[mime].encode()) > MAX_PAYLOAD // 3:
            del entries[mime]
    rest = "".join(",%s:%s" % (quote(mime), data) for mime, data in entries.items()).encode()
    room = MAX_PAYLOAD - len(rest) - 64
    if room < MAX_PAYLOAD // 4:
        rest, room = b"", MAX_PAYLOAD - 64
    data = quote(text).encode()
    if len(data) > room:
        # A character is at most six bytes of JSON.
        data = quote(text[: room // 6] + "...").encode()
    return b'{"' + name.encode() + b'":' + data + rest + b"}"


def display(*values, **_ignored):
    """Shows values as Jupyter's `display` does."""
    for value in values:
        channel.send(DISPLAY, bundle(value))


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

    def text(self):
        return "".join(self.parts)


def render(error, trace):
    """What the interpreter prints for an uncaught exception."""
    capture, real = Capture(), sys.stderr
    sys.stderr = capture
    try:
        sys.__excepthook__(type(error), error, trace)
    finally:
        sys.stderr = real
    return capture.text()


def send_error(error, text):
    try:
        message = str(error)
    except BaseException:
        message = "<exception str() failed>"
    try:
        entries = {"name": quote(type(error).__name__), "message": quote(message[:65536])}
        channel.send(ERROR, fit("traceback", text, entries))
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
        send_error(error, text)
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
        chunks = []
        while True:
            chunk = posix.read(fd, 1 << 20)
            if not chunk:
                return b"".join(chunks)
            chunks.append(chunk)
    finally:
        posix.close(fd)


class Source:
    """Compiles a program as plain Python would, and its last expression on its own. Collects the warnings of what will run."""

    def __init__(self, text, path):
        self.text, self.path, self.flags, self.warnings = text, path, 0, ""

    def compile(self, source, mode="exec", flags=0):
        capture, real = Capture(), sys.stderr
        sys.stderr = capture
        try:
            code = compile(source, self.path, mode, self.flags | flags, True)
        finally:
            sys.stderr = real
        return code, capture.text()

    def halves(self):
        """(code, None), or (code of all but the last expression, code of it)."""
        try:
            return self._halves()
        except SyntaxError:
            if b"await" not in self.text and b"async" not in self.text:
                raise
            self.flags = TOP_LEVEL_AWAIT
            return self._halves()

    def _halves(self):
        start, sure = self._last_statement()
        if not sure:
            return self._halves_by_tree()
        if start is not None:
            line = self.text.count(b"\n", 0, start)
            try:
                tail, later = self.compile(b"\n" * line + self.text[start:], "eval")
                if not self.text[:start].strip() and type(tail.co_consts[0]) is str:
                    start = len(self.text)  # Perhaps the docstring: it must stay in the body.
                body, self.warnings = self.compile(self.text[:start])
                self.warnings += later
                return body, tail
            except SyntaxError:
                return self._halves_by_tree()
        body, self.warnings = self.compile(self.text)
        return body, None

    def _last_statement(self):
        """(offset, sure): where the last statement starts if it is an expression; by looking, since importing `_ast` costs 1 ms."""
        text, end = self.text, len(self.text)
        if b"coding" in text[:400] or text.count(b"\r") != text.count(b"\r\n") or b"\f" in text:
            return None, False
        for _ in range(200):
            start = text.rfind(b"\n", 0, end) + 1
            line = text[start:end]
            if line and line[:1] not in b" \t\r#)]}":
                break
            if start == 0:
                return None, not line.strip() or line[:1] == b"#"
            end = start - 1
        else:
            return None, False
        tail = text[start:]
        word = line.split(None, 1)[0].split(b"(", 1)[0].split(b":", 1)[0]
        if word in KEYWORDS and b'"""' not in tail and b"'''" not in tail and (b":" in line or line[-1:] not in b",([{"):
            return None, True
        try:
            self.compile(b"\n" + tail, "eval", TOP_LEVEL_AWAIT)
            return start, True
        except SyntaxError:
            pass
        try:
            self.compile(tail, "exec", TOP_LEVEL_AWAIT)
        except SyntaxError:
            return None, False
        return None, b";" not in tail

    def _halves_by_tree(self):
        whole, self.warnings = self.compile(self.text)
        tree, _ = self.compile(self.text, flags=AST_ONLY)
        if not tree.body or type(tree.body[-1]).__name__ != "Expr":
            return whole, None
        import _ast

        last = _ast.Expression(tree.body[-1].value)
        if len(tree.body) > 1 or type(last.body).__name__ != "Constant":
            del tree.body[-1]
            self.flags |= whole.co_flags & FUTURES
            whole, _ = self.compile(tree)
        return whole, self.compile(last, "eval")[0]


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
    try:
        if value is None:
            value = namespace.get("result")
        if value is not None:
            channel.send(RESULT, bundle(value))
    except Exception:
        pass


def drop(value, line, path, namespace):
    """Lets go of a coroutine nobody awaited on the line that made it, where plain Python warns about it."""
    code = compile("\n" * (line - 1) + "f()", path, "eval", 0, True)
    eval(code, namespace, {"f": value.clear})


def forget_file(namespace):
    """The interpreter removes these when the main file is done (Python/pythonrun.c), before threads and `atexit`."""
    namespace.pop("__file__", None)
    namespace.pop("__cached__", None)


def run(namespace, path, body, tail):
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
        raise
    except BaseException:
        listen(codes, namespace)
        raise
    send_result(value, namespace)
    if type(value).__name__ == "coroutine":
        value = [value]
        drop(value, codes[1].co_firstlineno, path, namespace)
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


def add_packages():
    """What `site` does for `sys.path`, without its 2 ms."""
    version = "python%d.%d" % sys.version_info[:2]
    directories = [sys.prefix + "/lib/" + version + "/site-packages"]
    if sys.prefix == "/usr":
        directories = ["/usr/local/lib/" + version + "/dist-packages", "/usr/lib/python3/dist-packages"] + directories
    home = posix.environ.get(b"HOME")
    if home and not sys.flags.no_user_site:
        directories.insert(0, home.decode("utf-8", "surrogateescape") + "/.local/lib/" + version + "/site-packages")
    late = LatePaths()
    for directory in directories:
        try:
            names = posix.listdir(directory)
        except OSError:
            continue
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
                    if path not in sys.path and exists(path):
                        sys.path.append(path)
    if late.lines:
        sys.meta_path.append(late)


def exists(path):
    try:
        posix.stat(path)
        return True
    except OSError:
        return False


def set_arguments():
    """`sys.argv` and `sys.path[0]` as the program's own; returns the absolute path, spelt as the interpreter spells it."""
    del sys.argv[0]
    name = sys.argv[0]
    if hasattr(sys, "orig_argv"):
        sys.orig_argv[1:] = sys.argv
    path = name if name[:1] == "/" else posix.getcwd() + "/" + name
    if not getattr(sys.flags, "safe_path", False) and not sys.flags.isolated:
        directory = path.rpartition("/")[0] or "/"
        if "/" in name:
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
    namespace.update(__name__="__main__", __builtins__=__builtins__, __file__=path, __loader__=loader("__main__", path))
    sys.modules["__main__"] = module
    return namespace


def hide_depth():
    """Two frames below the program are ours: its recursion ends where it would without them, and the limit reads the same."""
    real, plain = sys.getrecursionlimit, sys.getrecursionlimit()
    sys.setrecursionlimit(plain + FRAMES_BELOW)

    def getrecursionlimit():
        limit = real()
        return plain if limit == plain + FRAMES_BELOW else limit

    sys.getrecursionlimit = getrecursionlimit


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
            send_error(error, render(error, None))
        if sys.executable:
            # Nothing of the program has run yet: the plain interpreter words this best, from its file tokenizer.
            posix.execve(sys.executable, [sys.executable, *sys.argv], posix.environ)
        raise
    if source.warnings and sys.stderr is not None:
        sys.stderr.write(source.warnings)
    if sys.stdout is not None:
        sys.stdout.reconfigure(line_buffering=True)
    add_packages()
    for name in ("exit", "quit", "copyright", "credits", "license", "help"):
        setattr(BUILTINS, name, Lazy(name))
    BUILTINS.display = display
    namespace = new_main(path)
    hide_depth()
    return namespace, path, body, tail


FUNCTION, BUILTINS, FRAMES_BELOW = type(run), __builtins__, 2
MAIN_NAMES = [name for name in sys.modules["__main__"].__dict__ if name[:2] == "__"]

if __name__ == "__main__":
    run(*prepare())
