"""Starts a session's interpreter with pipes, as a sandbox does, gives it orders and reads what it says. Protocol: ../PROTOCOL.md."""

import contextlib
import ctypes
import dataclasses
import fcntl
import json
import os
import pathlib
import select
import shutil
import signal
import struct
import subprocess
import time

GUEST = pathlib.Path(__file__).resolve().parent.parent
KINDS = {1: "result", 2: "display", 3: "error", 4: "done", 5: "ready"}
TIMEOUT_S = 60
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


@dataclasses.dataclass
class Said:
    """What became of one run."""

    stdout: str = ""
    stderr: str = ""
    status: object = None
    code: object = None
    result: object = None
    error: object = None
    displays: list = dataclasses.field(default_factory=list)
    ended: bool = False  # The interpreter is gone.


class Session:
    """One interpreter. `files` is a directory for its workspace and its orders."""

    def __init__(self, command, files, env=None):
        self.files, self.count = pathlib.Path(files), 0
        self.workspace = self.files / "workspace"
        self.workspace.mkdir(parents=True, exist_ok=True)
        home = self.files / "home"
        home.mkdir(exist_ok=True)
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", **(env or {})}
        pipes = [os.pipe() for _ in range(4)]
        (out, out_in), (err, err_in), (frames, frames_in), (orders_out, self.orders) = pipes
        given = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in (frames_in, orders_out)]

        def prepare():
            os.setsid()
            # A program may spin for ever: it ends with the thread that tests it, however that ends.
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            os.dup2(given[0], 3)
            os.dup2(given[1], 4)
            os.closerange(5, 300)

        self.process = subprocess.Popen(
            command, cwd=self.workspace, env=environment, stdin=subprocess.DEVNULL, stdout=out_in, stderr=err_in,
            preexec_fn=prepare, close_fds=False,
        )  # fmt: skip
        for fd in (out_in, err_in, frames_in, orders_out, *given):
            os.close(fd)
        self.sources, self.streams = {out: bytearray(), err: bytearray(), frames: bytearray()}, (out, err, frames)
        try:
            first = self._frame()
            assert first and first[0] == "ready", "it did not start: %r" % bytes(self.sources[err])
        except BaseException:
            self.__exit__()
            raise

    def _read(self, timeout):
        """Reads what there is; False if every pipe is at its end."""
        ready, _, _ = select.select(list(self.sources), [], [], timeout)
        for fd in ready:
            part = os.read(fd, 1 << 16)
            if not part and fd == self.streams[2]:
                return False
            if not part:
                self.sources[fd] = self.sources.pop(fd)
            self.sources[fd] += part
        return True

    def _frame(self):
        """The next frame, or None if the interpreter is gone."""
        data, deadline = self.sources[self.streams[2]], time.monotonic() + TIMEOUT_S
        while len(data) < 5 or len(data) < 5 + struct.unpack_from("<BI", data)[1]:
            assert time.monotonic() < deadline, "no frame in time; stdout %r stderr %r" % tuple(bytes(self.sources[s])[-2000:] for s in self.streams[:2])
            if not self._read(0.5) or self.process.poll() is not None and not self._pending():
                return None
        kind, length = struct.unpack_from("<BI", data)
        payload = bytes(data[5 : 5 + length])
        assert length <= 8 << 20
        del data[: 5 + length]
        return KINDS[kind], json.loads(payload.decode("utf-8"))

    def _pending(self):
        return bool(select.select([self.streams[2]], [], [], 0)[0]) and self._read(0)

    def order(self, code, name=None, stdin="", cwd=None, env=None, options=None):
        """Gives an order; `stdin` None makes a FIFO of it, whose write end is returned."""
        self.count += 1
        place = self.files / "orders" / str(self.count)
        place.mkdir(parents=True)
        (place / "code").write_bytes(code if isinstance(code, bytes) else code.encode())
        (place / "name").write_text(name or "<run %d>" % self.count)
        writer = None
        if stdin is None:
            os.mkfifo(place / "stdin")
            writer = os.open(place / "stdin", os.O_RDWR)
        else:
            (place / "stdin").write_text(stdin)
        if cwd:
            (place / "cwd").write_text(str(cwd))
        if env:
            (place / "env").write_bytes(b"".join(("%s=%s\0" % pair).encode() for pair in env.items()))
            quoted = (name + "='" + value.replace("'", "'\\''") + "'\n" for name, value in env.items())
            (place / "env.sh").write_text("".join("export " + line for line in quoted))
        if options:
            (place / "options").write_text(json.dumps(options))
        os.write(self.orders, b"run %s\n" % os.fsencode(place))
        return writer

    def finish(self):
        """What became of the run that is on."""
        said = Said()
        while True:
            frame = self._frame()
            if frame is None:
                said.ended = True
                break
            kind, data = frame
            if kind == "done":
                said.status, said.code = data["status"], data["code"]
                break
            if kind == "display":
                said.displays.append(data)
            else:
                assert getattr(said, kind) is None, "second %s frame" % kind
                setattr(said, kind, data)
        while select.select(self.streams[:2], [], [], 0)[0] and self._read(0) and not said.ended:
            pass
        said.stdout, said.stderr = (bytes(self.sources[fd]).decode("utf-8", "replace") for fd in self.streams[:2])
        for fd in self.streams[:2]:
            self.sources[fd].clear()
        return said

    def run(self, code, **order):
        writer = self.order(code, **order)
        try:
            return self.finish()
        finally:
            if writer is not None:
                os.close(writer)

    def wait_for(self, text):
        """Until the run that is on has printed `text`."""
        deadline = time.monotonic() + TIMEOUT_S
        while text.encode() not in self.sources[self.streams[0]]:
            assert time.monotonic() < deadline, "never printed %r: %r" % (text, bytes(self.sources[self.streams[1]]))
            self._read(0.5)

    def interrupt(self):
        os.killpg(self.process.pid, signal.SIGINT)

    def interrupted(self):
        """Interrupts the run that is on, once more if need be, as the supervisor does; returns what became of it."""
        while True:
            self.interrupt()
            if self._wait(0.5):
                return self.finish()

    def _wait(self, seconds):
        """Whether a whole frame comes in this time."""
        data, deadline = self.sources[self.streams[2]], time.monotonic() + seconds
        while len(data) < 5 or len(data) < 5 + struct.unpack_from("<BI", data)[1]:
            if time.monotonic() > deadline:
                return False
            self._read(0.1)
        return True

    def close(self):
        """Ends the orders; returns the exit status."""
        os.close(self.orders)
        self.orders = -1
        return self.process.wait(TIMEOUT_S)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        """Ends all that is left of it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for fd in {*self.streams, self.orders} - {-1}:
            os.close(fd)


def compiled(python, target):
    """Compiles the runners for `python` into the directory `target`; returns the command of a session."""
    target.mkdir(parents=True, exist_ok=True)
    for name in ("runner", "notebook", "session"):
        subprocess.run([python, GUEST / "python/build.py", GUEST / "python" / (name + ".py"), target / (name + ".pyc")], check=True)
    return [python, "-S", str(target / "session.pyc")]


def command_of(language, interpreter, target):
    if language == "python":
        return compiled(interpreter, target)
    if language == "javascript":
        return [interpreter, "--expose-internals", str(GUEST / "javascript/session.cjs")]
    return [interpreter or shutil.which("bash"), str(GUEST / "shell/session.sh")]
