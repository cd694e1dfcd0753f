"""Keeps one Python interpreter for many runs: reads orders, runs each program in the same `__main__`, says what became of it.
Protocol: ../PROTOCOL.md.

Stands on `runner.pyc` beside it (channel, values, what programs find). The programs are hostile or careless: they may close
descriptors, delete builtins, fork and come back, so what is needed later is held here and checked before use.
"""

import _signal
import posix
import sys
from os import environ, environb

__builtins__ = dict(vars(sys.modules["builtins"]))  # Of the functions below: a program may delete its own.

READY, DONE, ERROR, RESULT = 5, 4, 3, 1
ORDERS, HIGH_ORDERS, SPARES = 4, 62, 1000
AST_ONLY, TOP_LEVEL_AWAIT, COROUTINE, FUTURES = 0x400, 0x2000, 0x80, 0x1FE0000
SOURCES_BYTES_MAX = 16 << 20  # Of programs whose lines tracebacks can show.
DEPTH_MIN = 500  # Frames that this file and the formatting of tracebacks need, whatever limit a program left behind.
DISPLAYS_MAX, DISPLAYS_BYTES_MAX = 64, 32 << 20
PACKAGES = "/tmp/.packages"  # Where the service puts what runs of a session ask for.
SIGINT = 2
SIGURG = 23
# Names that only make sense while an event loop runs, and names that refuse to work while one does.
WANTS_LOOP = frozenset(("create_task", "ensure_future", "get_running_loop", "current_task", "all_tasks"))
BRINGS_LOOP = frozenset(("run", "run_until_complete", "run_forever", "Runner"))


class Orders:
    """The pipe of orders, out of the program's way, with a spare for programs that close every descriptor they can count to."""

    def __init__(self, descriptor):
        posix.set_inheritable(descriptor, False)
        self.descriptors, self.rest = [], b""
        for target in (HIGH_ORDERS, SPARES):
            self.descriptors += hold(descriptor, target)
        if self.descriptors:
            posix.close(descriptor)
        else:
            self.descriptors = [descriptor]
        self.identity = identify(self.descriptors[0])

    def descriptor(self):
        """One that is still the pipe of orders; -1 if the program closed them all."""
        return next((fd for fd in self.descriptors if identify(fd) == self.identity), -1)

    def read(self):
        """The next order's directory, or None at the end."""
        while b"\n" not in self.rest:
            part = posix.read(self.descriptor(), 4096)
            if not part:
                return None
            self.rest += part
        line, _, self.rest = self.rest.partition(b"\n")
        return line.partition(b" ")[2].decode("utf-8", "surrogateescape")


def identify(descriptor):
    try:
        return posix.fstat(descriptor)[1:3]
    except OSError:
        return None


def hold(descriptor, target):
    """A copy of a descriptor at `target`, as a list; empty if the limit of open files is below."""
    try:
        return [posix.dup2(descriptor, target, False)]
    except OSError:
        return []


class Streams:
    """Standard input of each run; standard output and error as long as the session lives."""

    def __init__(self):
        self.kept = [(low, identify(low), hold(low, SPARES + low)) for low in (1, 2)]
        self.null = posix.open("/dev/null", posix.O_RDWR | posix.O_CLOEXEC)
        self.null_identity = identify(self.null)
        self.input = sys.stdin

    def begin(self, path):
        """Makes the file at `path` standard input."""
        try:
            source = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
        except FileNotFoundError:
            source = self._null()
        posix.dup2(source, 0)
        if source > 2:
            posix.close(source)
        if getattr(sys, "stdin", None) is None or sys.stdin is self.input or sys.stdin is sys.__stdin__ or sys.stdin.closed:
            self.input = sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)
        for low, name in ((1, "stdout"), (2, "stderr")):
            stream = getattr(sys, name, None)
            if stream is None or getattr(stream, "closed", False):
                errors = "backslashreplace" if low == 2 else "surrogateescape"
                stream = open(low, "w", encoding="utf-8", errors=errors, closefd=False, buffering=1)
                setattr(sys, name, stream)
                setattr(sys, "__%s__" % name, stream)

    def _null(self):
        if identify(self.null) != self.null_identity:
            self.null = posix.open("/dev/null", posix.O_RDWR | posix.O_CLOEXEC)
        return posix.dup(self.null)

    def end(self):
        """Takes the run's input away, and gives back the output that it closed."""
        self.flush()
        for low, was, spare in self.kept:
            if identify(low) is None and spare and identify(spare[0]) == was:
                posix.dup2(spare[0], low)
        null = self._null()
        posix.dup2(null, 0)
        posix.close(null)

    def flush(self):
        for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
            try:
                getattr(sys, name).flush()
            except BaseException:
                pass  # Closed, of the program's own making, or nobody reads.


class Interrupts:
    """SIGINT: the program's while its code runs, remembered between the order and the code, nothing otherwise."""

    def __init__(self):
        self.on, self.missed = False, False
        self.theirs = _signal.default_int_handler
        _signal.signal(SIGINT, self.note)
        # An interruption that comes between the interpreter's last look and a call that waits is not seen until that ends. The keeper
        # sends this one after it, which does nothing but end the call (signal(7), EINTR): then the interruption is looked for.
        _signal.signal(SIGURG, self.nothing)

    def nothing(self, number, frame):
        pass

    def note(self, number, frame):
        self.missed = self.on

    def arm(self):
        _signal.signal(SIGINT, self.theirs)
        if self.missed:
            self.missed = False
            raise KeyboardInterrupt

    def disarm(self):
        while True:
            try:
                theirs = _signal.getsignal(SIGINT)
                _signal.signal(SIGINT, self.note)
                break
            except KeyboardInterrupt:
                pass
        if theirs is not None and theirs != self.note:
            self.theirs = theirs


def complain(text):
    """Writes to standard error, whatever the program made of it."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except BaseException:
        try:
            posix.write(2, text.encode("utf-8", "backslashreplace"))
        except OSError:
            pass


def restore_builtins():
    """Gives back what a program deleted: the standard library, too, needs it."""
    builtins = vars(sys.modules["builtins"])
    for name in [name for name in __builtins__ if name not in builtins]:
        builtins[name] = __builtins__[name]


# Programs.


def separate(tree):
    """The tree without its last expression, and that expression, if the last statement is one; else None."""
    statement = tree.body[-1] if tree.body else None
    if type(statement).__name__ != "Expr":
        return tree, None
    del tree.body[-1]
    import _ast

    expression = _ast.Expression(statement.value)
    return tree, expression


def is_silenced(source, statement):
    """Whether a semicolon follows the last expression: as in notebooks, its value is then not wanted."""
    rest = source.split(b"\n")[statement.end_lineno - 1 :]
    return b";" in rest[0][statement.end_col_offset :].partition(b"#")[0]


def remember(name, source):
    """Lets tracebacks, warnings and `inspect` find the lines of a program."""
    import linecache

    text = source.decode("utf-8", "replace")
    lines = [line + "\n" for line in text.split("\n")]
    linecache.cache[name] = (len(text), None, lines, name)
    SOURCES.pop(name, None)
    SOURCES[name] = len(text)
    total = sum(SOURCES.values()) if len(text) + SOURCES_TOTAL[0] > SOURCES_BYTES_MAX else 0
    SOURCES_TOTAL[0] = total or SOURCES_TOTAL[0] + len(text)
    while total > SOURCES_BYTES_MAX and len(SOURCES) > 1:
        oldest = next(iter(SOURCES))
        total -= SOURCES.pop(oldest)
        linecache.cache.pop(oldest, None)
        SOURCES_TOTAL[0] = total


SOURCES, SOURCES_TOTAL = {}, [0]


class Session:
    """The state that survives."""

    def __init__(self, runner, orders):
        self.runner, self.orders, self.pid = runner, Orders(orders), posix.getpid()
        self.channel, self.streams = runner["channel"], Streams()
        self.channel.keep_spare(SPARES + 3)
        self.interrupts = Interrupts()
        self.main = runner["new_main"]("")
        for name in ("__file__", "__cached__"):
            self.main.pop(name, None)
        self.flags, self.loop, self.own, self.cancelled = TOP_LEVEL_AWAIT, None, (), None
        self.silent = False  # Whether the last value is not wanted.
        self.packages_changed = None
        self.values = []  # What `_`, `__` and `___` are.

    def say(self, kind, text):
        self.channel.send(kind, text.encode())

    # One run.

    def perform(self, directory):
        """Runs what an order names; returns how it ended."""
        self.channel.allow(DISPLAYS_MAX, DISPLAYS_BYTES_MAX)
        back = []
        try:
            with_name = self.take(directory + "/name") or b"<run>"
            source = self.take(directory + "/code") or b""
            self.surround(directory, back)
            self.look_for_packages()
            name = with_name.decode("utf-8", "replace")
            remember(name, source)
            body, tail = self.compile(source, name)
            status = self.run(body, tail)
        except BaseException as error:
            status = self.fail(error)
        for undo in reversed(back):
            try:
                undo()
            except OSError:
                pass
        return status

    def look_for_packages(self):
        """Has what was put beside the session's own packages found, where something was since the run before."""
        try:
            changed = posix.stat(PACKAGES).st_mtime_ns
        except OSError:
            return
        if changed != self.packages_changed:
            self.packages_changed = changed
            import importlib
            import site

            site.addsitedir(PACKAGES)
            importlib.invalidate_caches()

    def take(self, path):
        """What is in a file of the order; None if it has none."""
        try:
            return self.runner["read"](path)
        except FileNotFoundError:
            return None

    def surround(self, directory, back):
        """Gives the run its standard input, directory and variables; appends to `back` what undoes that."""
        self.streams.begin(directory + "/stdin")
        if self.loop is not None and not self.loop.is_closed():
            sys.modules["asyncio"].set_event_loop(self.loop)
        place = self.take(directory + "/cwd")
        if place:
            here = posix.open(".", posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
            back += [lambda: posix.close(here), lambda: posix.fchdir(here)]
            posix.chdir(place)
        for variable in (self.take(directory + "/env") or b"").split(b"\0")[:-1]:
            name, _, value = variable.partition(b"=")
            before = environb.get(name)
            if before is None:
                back.append(lambda name=name: environb.pop(name, None))
            else:
                back.append(lambda name=name, before=before: environb.__setitem__(name, before))
            environb[name] = value
        options = self.take(directory + "/options")
        if options:
            import json

            options = json.loads(options)
            self.runner["OPTIONS"].update(options)
            back.append(self.runner["OPTIONS"].clear)
            displays, size = options.get("displays", DISPLAYS_MAX), options.get("display_bytes", DISPLAYS_BYTES_MAX)
            self.channel.allow(min(displays, DISPLAYS_MAX), min(size, DISPLAYS_BYTES_MAX))

    def compile(self, source, name):
        """The program as two halves: all but its last expression, and that; each None if there is none."""
        try:
            tree = compile(source, name, "exec", self.flags | AST_ONLY, True)
        except SyntaxError:
            if b"!" not in source and b"%" not in source:
                raise
            tree = self.runner["notebook"]()["parse"](source, name, self.flags | AST_ONLY)
        last = tree.body[-1] if tree.body else None
        tree, expression = separate(tree)
        body = None
        if tree.body:
            body = compile(tree, name, "exec", self.flags, True)
            self.flags |= body.co_flags & FUTURES
        if expression is None:
            return body, None
        self.silent = is_silenced(source, last)
        return body, compile(expression, name, "eval", self.flags, True)

    def run(self, body, tail):
        """Runs the halves. This frame and those below are hidden where the interpreter allows it."""
        self.own = tuple(code for code in (body, tail) if code)
        functions = [FUNCTION(code, self.main) for code in self.own]
        names = {name for code in self.own for name in code.co_names}
        awaits = any(code.co_flags & COROUTINE for code in self.own)
        value = None
        try:
            self.interrupts.arm()
            if awaits or names & WANTS_LOOP and not names & BRINGS_LOOP:
                value = self.run_in_loop(functions)
            else:
                for function in functions:
                    value = function()
        finally:
            self.interrupts.disarm()
        self.interrupts.arm()
        try:
            if tail is not None and value is not None and not self.silent and not self.is_child():
                self.show(value)
            if self.runner["has_figures"]():
                self.runner["notebook"]()["show_figures"]()
        finally:
            self.interrupts.disarm()
        return "ok", 0

    def run_in_loop(self, functions):
        """Runs the halves as a task of the loop that all runs share: tasks of earlier runs go on meanwhile."""
        import asyncio

        if self.loop is None or self.loop.is_closed():
            self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        task = self.loop.create_task(self.drive(functions))
        try:
            return self.loop.run_until_complete(task)
        except KeyboardInterrupt:
            if task.done():
                raise
            # It came while the loop waited: the program is told as a cancelled task is, and its trace is the interrupt's.
            task.cancel()
            try:
                return self.loop.run_until_complete(task)
            except asyncio.CancelledError:
                trace, self.cancelled = self.cancelled, None
                raise KeyboardInterrupt().with_traceback(trace) from None
        finally:
            if task.done() and not task.cancelled():
                task.exception()  # Counts as seen.

    async def drive(self, functions):
        value = None
        try:
            for function in functions:
                value = function()
                if function.__code__.co_flags & COROUTINE:
                    value = await value
        except BaseException as error:
            if type(error).__name__ == "CancelledError":
                self.cancelled = error.__traceback__
            raise
        return value

    def show(self, value):
        """Sends a value, and keeps it as `_` unless the program uses that name itself."""
        self.runner["send_value"](RESULT, value)
        kept = dict(zip(("_", "__", "___"), self.values))
        if all(name not in self.main or name in kept and self.main[name] is kept[name] for name in ("_", "__", "___")):
            self.values = [value, *self.values[:2]]
            self.main.update(zip(("_", "__", "___"), self.values))

    # Ends.

    def fail(self, error):
        """Prints and sends what ended the run; returns how it ended."""
        if isinstance(error, SystemExit):
            return "exit", self.exit_code(error)
        restore_builtins()
        try:
            trace = error.__traceback__
            while trace is not None and trace.tb_frame.f_code not in self.own:
                trace = trace.tb_next
            error.__traceback__ = trace
            self.report(error, trace)
        except BaseException as second:
            complain("%s (no traceback: %s)\n" % (type(error).__name__, type(second).__name__))
        if self.is_child():
            return "error", 1
        self.runner["show_figures"]()
        return ("interrupted", 130) if isinstance(error, KeyboardInterrupt) else ("error", 1)

    def report(self, error, trace):
        sys.last_type, sys.last_value, sys.last_traceback = type(error), error, trace
        if sys.version_info >= (3, 12):
            sys.last_exc = error
        text = self.render(error, trace)
        if not self.is_child():
            self.runner["send_error"](error, text, trace)
        hook = sys.excepthook
        if hook is not sys.__excepthook__:
            try:
                return hook(type(error), error, trace)
            except BaseException as second:
                second.__traceback__ = second.__traceback__ and second.__traceback__.tb_next
                text = "Error in sys.excepthook:\n%s\nOriginal exception was:\n%s" % (self.render(second, second.__traceback__), text)
        complain(text)

    def render(self, error, trace):
        """As the plain interpreter prints it, with lines that only this process knows."""
        import traceback

        text = "".join(traceback.format_exception(type(error), error, trace))
        if sys.version_info < (3, 11):
            text = text.replace(": <unprintable %s object>\n" % type(error).__name__, ": <exception str() failed>\n")
        if (3, 10) <= sys.version_info < (3, 12) and isinstance(error, (NameError, AttributeError)):
            # There, only the interpreter's own printing suggests names.
            hint = self.runner["render"](error, trace).rstrip("\n").rpartition(". Did you mean: ")
            if hint[1] and "\n" not in hint[2] and hint[0].endswith(text.rstrip("\n").rpartition("\n")[2]):
                text = text.rstrip("\n") + hint[1] + hint[2] + "\n"
        return text

    def exit_code(self, error):
        code = error.code
        if code is None:
            return 0
        if isinstance(code, int):
            return int(code) & 0xFF
        try:
            text = str(code)
        except BaseException:
            text = "<exit code that has no text>"
        complain(text + "\n")
        return 1

    def is_child(self):
        return posix.getpid() != self.pid

    def settle(self):
        """Leaves the interpreter as the next run, and this file, need it. The program's own fork ends here."""
        sys.settrace(None)
        sys.setprofile(None)
        restore_builtins()
        if sys.getrecursionlimit() < DEPTH_MIN:
            sys.setrecursionlimit(DEPTH_MIN)
        self.streams.end()


class Changes:
    """A finder that finds nothing itself: modules that show things on screens get notebook.py's changes when they are imported."""

    NAMES = frozenset(("matplotlib.pyplot", "plotly.io._renderers", "IPython.core.display_functions", "IPython.display", "IPython"))

    def __init__(self, runner):
        self.runner = runner
        for name in self.NAMES.intersection(sys.modules):
            if name == "matplotlib.pyplot":
                # In the zygote of a template; what this needs is loaded when it is called.
                sys.modules[name].show = lambda *args, **kwargs: runner["notebook"]()["show_figures"]()
            else:
                runner["notebook"]()["change"](sys.modules[name])

    def find_spec(self, name, path=None, target=None):
        return self.runner["notebook"]()["find_changed"](self, name, path) if name in self.NAMES else None


def serve(session):
    """Runs orders until there are no more."""
    interrupts, orders = session.interrupts, session.orders
    session.say(READY, "{}")
    while orders.descriptor() >= 0:
        interrupts.on = interrupts.missed = False
        directory = orders.read()
        interrupts.on = True
        if directory is None:
            return
        try:
            status, code = session.perform(directory)
        except BaseException:
            status, code = "error", 1
        if session.is_child():
            session.streams.flush()
            posix._exit(code)
        session.settle()
        session.say(DONE, '{"status":"%s","code":%d}' % (status, code))


def load(name):
    """The namespace of a file of ours, which the builtins of programs do not reach."""
    import marshal

    namespace = {"__name__": "fireclay", "__builtins__": dict(vars(sys.modules["builtins"]))}
    with open("%s/%s" % (DIRECTORY, name), "rb") as file:
        exec(marshal.loads(file.read()[16:]), namespace)
    return namespace


def begin(runner, descriptor):
    """Makes this process a session: of a new interpreter, or of a fork of the zygote."""
    runner["channel"].open()
    runner["channel"].pid = posix.getpid()
    runner["FURNISHED"] or runner["furnish"]()
    sys.argv[:] = [""]
    sys.path[:1] = [""]
    environ.setdefault("MPLBACKEND", "Agg")
    sys.meta_path.insert(0, Changes(runner))
    return Session(runner, descriptor)


FUNCTION = type(begin)
DIRECTORY = sys.argv[0].rpartition("/")[0]
if __name__ == "__main__":
    # Before 3.10 functions have the builtins of their caller, here those of all.
    if sys.version_info < (3, 10):
        own = load("session.pyc")
        own["serve"](own["begin"](own["load"]("runner.pyc"), ORDERS))
    else:
        serve(begin(load("runner.pyc"), ORDERS))
