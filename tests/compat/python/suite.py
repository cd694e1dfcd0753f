"""Runs modules of CPython's regression suite and prints one JSON object for each test: id, outcome, detail.

    suite.py MODULE[:PATTERN,...]...    each module in its own process and directory, a few at a time
    suite.py --one MODULE REPORT    one module, here

The same file runs inside the sandbox and outside of it, with the standard library only. It does what `python -m test` does to
prepare a process, but tells the outcome of every single test, so that two runs can be compared.
"""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

TIMEOUT_S = 240
WORKERS = 6
# What regrtest calls resources: neither the network, nor minutes of processor time, nor gigabytes of disk.
RESOURCES = {"subprocess": None, "decimal": None}


class Outcomes(unittest.TestResult):
    """Remembers the outcome of every test; of a test with subtests, the first that did not pass."""

    def __init__(self, report):
        super().__init__()
        self.report = report
        self.told = {}

    def tell(self, test, outcome, detail=""):
        self.told.setdefault(name_of(test), (outcome, str(detail)))

    def stopTest(self, test):
        super().stopTest(test)
        self.write(name_of(test), self.told.pop(name_of(test), ("ok", "")))

    def write(self, name, told):
        outcome, detail = told
        self.report.write(json.dumps({"id": name, "outcome": outcome, "detail": detail[-300:]}) + "\n")

    def addError(self, test, err):
        self.tell(test, "error", reason_of(err))
        # Fixtures of a class or module fail outside of any test.
        if not isinstance(test, unittest.TestCase):
            self.write(name_of(test), self.told.pop(name_of(test)))

    def addFailure(self, test, err):
        self.tell(test, "failure", reason_of(err))

    def addSkip(self, test, reason):
        self.tell(test, "skip", reason)
        if not isinstance(test, unittest.TestCase):
            self.write(name_of(test), self.told.pop(name_of(test)))

    def addExpectedFailure(self, test, err):
        self.tell(test, "expected failure")

    def addUnexpectedSuccess(self, test):
        self.tell(test, "unexpected success")

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.tell(test, "failure", reason_of(err))


def name_of(test):
    name = test.id().removeprefix("test.")
    # Doctests are named by the example's place and share their module's name; objects print addresses.
    return name.split(" at 0x")[0]


def reason_of(err):
    kind, value, _ = err
    return f"{kind.__name__}: {value}"


def run_one(name, report_path):
    from test import support

    module, _, pattern = name.partition(":")
    loader = unittest.TestLoader()
    loader.testNamePatterns = pattern.split(",") if pattern else None

    support.use_resources = RESOURCES
    support.verbose = 0
    report = open(report_path, "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    outcomes = Outcomes(report)
    started = time.monotonic()
    # Older modules load their tests themselves and hand them to this function.
    support._run_suite = lambda suite: suite.run(outcomes)
    try:
        imported = importlib.import_module(f"test.{module}")
        if hasattr(imported, "test_main") and not hasattr(imported, "load_tests"):
            imported.test_main()
        else:
            loader.loadTestsFromModule(imported).run(outcomes)
    except unittest.SkipTest as skip:
        outcomes.write(name, ("skip", str(skip)))
        return
    took = (time.monotonic() - started, sum(os.times()[:4]))
    outcomes.write(name, ("done", f"{outcomes.testsRun} tests in {took[0]:.1f} s, {took[1]:.1f} s of processor"))


def run_apart(name, home):
    """Runs one module in a process of its own; tells what it reported, and how it ended when it did not end well."""
    # Short names: the path of a Unix socket has 108 bytes.
    place = tempfile.mkdtemp(prefix="", dir=home)
    report, log = place + ".jsonl", place + ".log"
    command = [sys.executable, os.path.abspath(__file__), "--one", name, report]
    environment = dict(os.environ, TMPDIR=place)
    with open(log, "wb") as output:
        child = subprocess.Popen(
            command, cwd=place, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )
        try:
            ended = f"exit {child.wait(TIMEOUT_S)}"
        except subprocess.TimeoutExpired:
            ended = f"more than {TIMEOUT_S} s"
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()
    lines = []
    if os.path.exists(report):
        with open(report, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
    finished = lines and lines[-1]["id"] == name and ended == "exit 0"
    if not finished:
        with open(log, encoding="utf-8", errors="backslashreplace") as file:
            lines.append({"id": name, "outcome": ended, "detail": file.read()[-300:]})
    shutil.rmtree(place, ignore_errors=True)
    return lines


def main():
    # Whoever started us in the background may have had it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.argv[1] == "--one":
        run_one(*sys.argv[2:4])
        # Threads that a failed test left must not keep the process.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    lock = threading.Lock()
    home = tempfile.gettempdir()

    def one(module):
        lines = run_apart(module, home)
        with lock:
            for line in lines:
                print(json.dumps(line))
            sys.stdout.flush()

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(one, sys.argv[1:]))


if __name__ == "__main__":
    main()
