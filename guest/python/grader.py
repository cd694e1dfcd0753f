"""Runs a program, then tests that it could not read before, and says under a nonce that they passed. Guarantees: docs/batches.md.

    stdin: "NONCE KIND TEST_BYTES STDIN_BYTES\\n" TEST STDIN     KIND: append, pytest     argv: FILE ARGS…

Two processes. The child is forked before the secrets are read, so that they are not in its memory; it runs the program, asks for
the tests, runs them, and only then reads the token that it must send back. The parent alone knows the nonce. What the child says
is not proof against a program that speaks this protocol itself: it is proof against everything that does not know of it.
"""

import builtins
import math
import os
import sys

READY, PASSED, WRONG, FAILED, NO_TESTS, NO_PYTEST = b"RPWFNX"
WORDS = {PASSED: "passed", WRONG: "wrong", FAILED: "failed", NO_TESTS: "no-tests", NO_PYTEST: "no-pytest"}
TOKEN_BYTES = 16
# Modules that judge: a program's changes to them are undone by loading them anew.
JUDGES = ("unittest", "pytest", "_pytest", "pluggy", "doctest")


def read_exactly(fd, size, read=os.read):
    parts = []
    while size:
        part = read(fd, min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def write_all(fd, data, write=os.write):
    view = memoryview(data)
    while view:
        view = view[write(fd, view) :]


# The child.


class Before:
    """What the program might change so that tests pass, as it is before the program."""

    def __init__(self):
        self.modules = [(vars(module), dict(vars(module))) for module in (builtins, math)]
        self.path = sys.path[1:]
        self.finders = list(sys.meta_path), list(sys.path_hooks)
        self.sys = sys
        self.threading = sys.modules.get("threading")

    def restore(self):
        for namespace, values in self.modules:
            namespace.update(values)
        sys = self.sys
        sys.settrace(None)
        sys.setprofile(None)
        for tool in range(6) if hasattr(sys, "monitoring") else ():
            if sys.monitoring.get_tool(tool):
                sys.monitoring.set_events(tool, 0)
                sys.monitoring.free_tool_id(tool)
        for name in [name for name in sys.modules if name.split(".")[0] in JUDGES]:
            del sys.modules[name]

    def load(self, name):
        """Imports a module that judges, from where the program cannot have put one."""
        sys = self.sys
        theirs = sys.path[:], sys.meta_path[:], sys.path_hooks[:]
        sys.path[:], sys.meta_path[:], sys.path_hooks[:] = self.path, *self.finders
        sys.path_importer_cache.clear()
        try:
            return __import__(name)
        finally:
            sys.path[:], sys.meta_path[:], sys.path_hooks[:] = theirs
            sys.path_importer_cache.clear()


def load_program(path, name):
    """Runs the program as module `name`."""
    module = type(sys)(name)
    module.__file__ = path
    module.__builtins__ = builtins
    sys.modules[name] = module
    with open(path, "rb") as file:
        code = compile(file.read(), path, "exec", 0, True, 0)
    exec(code, vars(module))
    return module


def complain(error, frames):
    """Prints an exception without our own frames."""
    trace = error.__traceback__
    for _ in range(frames):
        trace = trace and trace.tb_next
    # The interpreter prints the exception's own trace, whatever it is given.
    error.__traceback__ = trace
    sys.__excepthook__(type(error), error, trace)


def code_of(exit):
    """What the interpreter would make of a SystemExit."""
    if exit.code is None or isinstance(exit.code, int):
        return (exit.code or 0) & 255
    print(exit.code, file=sys.stderr)
    return 1


def count_skips(unittest):
    """Has skipped tests counted: a program may raise SkipTest out of a test."""
    skipped = []
    add_skip = unittest.TestResult.addSkip

    def count(self, test, reason):
        skipped.append(test)
        add_skip(self, test, reason)

    unittest.TestResult.addSkip = count
    return skipped


def run_appended(text, module, before):
    unittest, skipped = None, []
    if b"unittest" in text:
        unittest = before.load("unittest")
        skipped = count_skips(unittest)
    try:
        exec(compile(text, "<tests>", "exec", 0, True, 0), vars(module))
    except SystemExit as exit:
        # `unittest.main()` ends so; any other end of the process is not a test that passed.
        trace = exit.__traceback__
        while trace.tb_next:
            trace = trace.tb_next
        if unittest is None or trace.tb_frame.f_globals is not unittest.TestProgram.__init__.__globals__:
            return FAILED
        return WRONG if exit.code or skipped else PASSED
    return WRONG if skipped else PASSED


def run_pytest(text, before):
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        del os.environ[name]
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        pytest = before.load("pytest")
    except ImportError:
        pytest = None
    if pytest is None:
        return run_plain(text, before)
    import tempfile

    directory = tempfile.mkdtemp()
    path = os.path.join(directory, "test_case.py")
    with open(path, "wb") as file:
        file.write(text)
    passed, bad = [], []

    class Count:
        def pytest_runtest_logreport(self, report):
            expected = hasattr(report, "wasxfail") and "xfail" in report.keywords
            if report.when == "call":
                # A skip from within a call may be the program's own doing.
                (passed if report.outcome == "passed" or expected else bad).append(report.nodeid)
            elif report.outcome == "failed":
                bad.append(report.nodeid)

    # No configuration, plugin or conftest.py that the program may have written.
    options = ["-q", "--noconftest", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", directory, "--import-mode=importlib"]
    code = pytest.main([*options, path], plugins=[Count()])
    if code == 5 or code == 0 and not passed:
        return NO_TESTS
    return PASSED if code == 0 and not bad else WRONG if code in (0, 1) else FAILED


def run_plain(text, before):
    """Plain `test_*` functions, `Test*` classes and `unittest.TestCase`s, for an image without pytest."""
    unittest = before.load("unittest")
    skipped = count_skips(unittest)
    module = type(sys)("test_case")
    module.__builtins__ = builtins
    sys.modules["test_case"] = module
    try:
        exec(compile(text, "test_case.py", "exec", 0, True, 0), vars(module))
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in ("pytest", "_pytest"):
            return NO_PYTEST
        raise
    tests = []
    for name, thing in list(vars(module).items()):
        if isinstance(thing, type) and issubclass(thing, unittest.TestCase):
            continue
        if isinstance(thing, type) and name.startswith("Test"):
            tests += [(f"{name}.{method}", thing, method) for method in vars(thing) if method.startswith("test")]
        elif callable(thing) and name.startswith("test"):
            tests.append((name, None, thing))
    bad = 0
    for name, owner, test in tests:
        try:
            instance = owner() if owner else None
            call = getattr(instance, test) if owner else test
            code = getattr(call, "__code__", None)
            wanted = code.co_argcount - bool(owner) - len(getattr(call, "__defaults__", None) or ()) if code else 0
            if wanted > 0 or code and code.co_flags & 0x80:
                return NO_PYTEST  # Fixtures, parameters and coroutines are pytest's.
            getattr(instance, "setup_method", lambda *_: None)(*[None] * bool(wants(instance, "setup_method")))
            try:
                call()
            finally:
                getattr(instance, "teardown_method", lambda *_: None)(*[None] * bool(wants(instance, "teardown_method")))
        except BaseException as error:
            bad += 1
            print(f"{name}:", file=sys.stderr)
            complain(error, 1)
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(stream=sys.stderr, verbosity=0).run(suite) if suite.countTestCases() else None
    if not tests and result is None:
        return NO_TESTS
    return PASSED if not bad and not skipped and (result is None or result.wasSuccessful()) else WRONG


def wants(instance, name):
    """Whether a `setup_method` takes the method, as old ones do."""
    code = getattr(getattr(instance, name, None), "__code__", None)
    return code is not None and code.co_argcount > 1


def child(inbox, outbox, read=read_exactly, write=write_all, leave=os._exit):
    status, code, frames, asked = FAILED, 1, 2, False
    try:
        header = read(inbox, 9)
        kind, stdin = header[:1], read(inbox, int.from_bytes(header[1:], "little"))
        give_input(stdin)
        path = sys.argv[1]
        del sys.argv[0]
        before = Before()
        name = "__main__" if kind == b"a" else os.path.splitext(os.path.basename(path))[0]
        try:
            module = load_program(path, name)
        except SystemExit as exit:
            # Ended before its tests: whatever code it chose, they did not pass.
            return flush_and(leave, code_of(exit))
        write(outbox, bytes((READY,)))
        asked = True
        text = read(inbox, int.from_bytes(read(inbox, 8), "little"))
        before.restore()
        status = run_appended(text, module, before) if kind == b"a" else run_pytest(text, before)
        code = 0 if status == PASSED else 1
    except AssertionError as error:
        status = WRONG
        complain(error, frames)
    except BaseException as error:
        complain(error, frames)
    flush(sys.stdout, sys.stderr)
    try:
        if asked:
            # The token is not in this process before the tests have ended.
            write(outbox, read(inbox, TOKEN_BYTES) + bytes((status,)))
    except (EOFError, OSError):
        pass
    leave(code)


def flush(*streams):
    for stream in streams:
        try:
            stream.flush()
        except BaseException:
            pass


def flush_and(leave, code):
    flush(sys.stdout, sys.stderr)
    leave(code)


def give_input(stdin):
    """Makes these bytes standard input."""
    if stdin:
        path = f"/tmp/.stdin-{os.getpid()}"
        write_fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        write_all(write_fd, stdin)
        os.close(write_fd)
        fd = os.open(path, os.O_RDONLY)
        os.unlink(path)
    else:
        fd = os.open("/dev/null", os.O_RDONLY)
    os.dup2(fd, 0)
    os.close(fd)


# The parent.


def parent(pid, inbox, outbox):
    data = read_all(0)
    header, _, rest = data.partition(b"\n")
    nonce, kind, test_bytes, _ = header.split(b" ")
    test, stdin = rest[: int(test_bytes)], rest[int(test_bytes) :]
    token = os.urandom(TOKEN_BYTES)
    word = "ended-early"
    try:
        write_all(outbox, kind[:1] + len(stdin).to_bytes(8, "little") + stdin)
        if read_exactly(inbox, 1)[0] == READY:
            write_all(outbox, len(test).to_bytes(8, "little") + test + token)
            said = read_exactly(inbox, TOKEN_BYTES + 1)
            if said[:-1] == token:
                word = WORDS.get(said[-1], word)
    except (EOFError, OSError):
        pass  # The child has ended: what it did not say, it did not do.
    os.close(outbox)
    os.close(inbox)
    _, status = os.waitpid(pid, 0)
    if word == "passed" and status != 0:
        word = "failed"
    write_all(2, b"\n" + nonce + b" " + word.encode() + b"\n")
    if os.WIFSIGNALED(status):
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1)


def read_all(fd):
    parts = []
    while part := os.read(fd, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def main():
    import signal

    # A child that is gone is seen at the end of its pipe.
    down, up = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(down[1])
        os.close(up[0])
        child(down[0], up[1])
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    os.close(down[0])
    os.close(up[1])
    parent(pid, up[0], down[1])


main()
