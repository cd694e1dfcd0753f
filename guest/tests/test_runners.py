"""Compares each runner with its plain interpreter: standard output, standard error and exit code byte for byte, and the frames.

`python3 guest/tests/test_runners.py [--python PATH]... [--node PATH] [NAME_PART]`. Runs outside any sandbox; needs only python3 and node.
"""

import argparse
import concurrent.futures
import fcntl
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import javascript_cases
import python_cases

GUEST = pathlib.Path(__file__).resolve().parent.parent
KINDS = {1: "result", 2: "display", 3: "error"}
TIMEOUT_S = 60


def frames_of(data):
    """The frames of a result channel as [(kind, object)]; anything that is not whole frames is a failure."""
    frames = []
    while data:
        kind, length = struct.unpack_from("<BI", data)
        payload, data = data[5 : 5 + length], data[5 + length :]
        assert len(payload) == length <= 8 << 20, "frame of %d bytes, %d there" % (length, len(payload))
        frames.append((KINDS[kind], json.loads(payload.decode("utf-8"))))
    return frames


def run(command, case, directory, channel):
    """(stdout, stderr, exit code, frames) of one program in a directory of its own."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for name, text in {**case.files, case.main: case.code}.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    home = directory.parent / "home"
    home.mkdir(exist_ok=True)
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", **case.env}
    received, drain, write_end, prepare = [], None, None, None
    if channel:
        read_end, low = os.pipe()
        write_end = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 100)
        os.close(low)
        if case.channel == "open":
            drain = threading.Thread(target=lambda: received.extend(iter(lambda: os.read(read_end, 1 << 16), b"")))
            drain.start()
        else:
            os.close(read_end)

        def prepare():
            os.dup2(write_end, 3)
            os.closerange(3 if case.channel == "closed" else 4, 300)

    try:
        done = subprocess.run(
            [*command, *case.args], cwd=directory, env=environment, input=case.stdin.encode(), capture_output=True,
            timeout=TIMEOUT_S, preexec_fn=prepare, close_fds=not channel,
        )  # fmt: skip
    finally:
        if channel:
            os.close(write_end)
            if drain:
                drain.join()
                os.close(read_end)
    return done.stdout, done.stderr, done.returncode, frames_of(b"".join(received))


def plainly(output):
    """Without what differs between two runs of the same program: addresses and process numbers."""
    if isinstance(output, int):
        return output
    return re.sub(rb"0x[0-9a-f]{6,}|(?<=\(node:)\d+", b"0x", output)


def matches(wanted, found):
    """Whether `found` has everything `wanted` has; a callable in `wanted` judges for itself."""
    if callable(wanted):
        return bool(wanted(found))
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(key in found and matches(value, found[key]) for key, value in wanted.items())
    return type(wanted) is type(found) and wanted == found


def check(case, plain, runner, directory):
    """The list of what is wrong."""
    problems = []
    one = run(plain, case, directory, False) if plain else None
    two = run(runner, case, directory, True)
    if one and case.same:
        for index, name in enumerate(("stdout", "stderr", "exit code")):
            if plainly(one[index]) != plainly(two[index]):
                problems.append("%s\n  plain:  %r\n  runner: %r" % (name, one[index], two[index]))
    for kind, frame in two[3]:
        if kind == "error" and case.main.endswith(".py") and b"Traceback (" in two[1] and "\ufffd" not in frame["traceback"] and frame["traceback"].encode() not in two[1]:
            problems.append("the traceback is not what was printed: %r" % frame["traceback"])
    for name, index in (("stdout", 0), ("stderr", 1), ("exit_code", 2)):
        wanted = getattr(case, name)
        found = two[index].decode("utf-8", "replace") if index < 2 else two[index]
        if wanted is not None and not matches(wanted, found):
            problems.append("%s is %r" % (name, found))
    for kind in ("result", "display", "error"):
        wanted = getattr(case, kind)
        found = [frame for name, frame in two[3] if name == kind]
        if wanted is not ... and (wanted is None and found or wanted is not None and (not found or not matches(wanted, found[-1]))):
            problems.append("%s frames are %.600r" % (kind, found))
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", action="append", default=[])
    parser.add_argument("--node", default=shutil.which("node"))
    parser.add_argument("only", nargs="?", default="")
    options = parser.parse_args()
    failures = count = 0
    with tempfile.TemporaryDirectory() as scratch, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        scratch = pathlib.Path(scratch).resolve()
        jobs = []
        for number, python in enumerate(options.python or [sys.executable]):
            version = tuple(json.loads(subprocess.check_output([python, "-c", "import sys; print(list(sys.version_info[:2]))"])))
            python = subprocess.check_output([python, "-c", "import sys; print(sys.executable)"], text=True).strip()
            compiled = scratch / ("runner-%d.pyc" % number)
            subprocess.run([python, GUEST / "python/build.py", GUEST / "python/runner.py", compiled], check=True)
            for case in python_cases.CASES:
                if version >= case.since and options.only in case.name:
                    label = "python %d.%d: %s" % (*version, case.name)
                    jobs.append((label, case, [python, case.main], [python, "-S", str(compiled), case.main]))
        if options.node:
            version = subprocess.check_output([options.node, "-p", "process.versions.node"], text=True)
            version = tuple(int(part) for part in version.split(".")[:2])
            runner = ["--require", str(GUEST / "javascript/runner.cjs")]
            for case in javascript_cases.CASES:
                if version >= case.since and options.only in case.name:
                    plain = None if case.main.endswith("ts") else [options.node, case.main]
                    flags = ["--expose-internals"] if case.main.endswith("ts") else []
                    jobs.append(("node %d.%d: %s" % (*version, case.name), case, plain, [options.node, *flags, *runner, case.main]))
        results = [
            (label, pool.submit(check, case, plain, runner, scratch / str(index) / "workspace"))
            for index, (label, case, plain, runner) in enumerate(jobs)
        ]
        for label, result in results:
            count += 1
            try:
                problems = result.result()
            except Exception as error:
                problems = [repr(error)]
            if problems:
                failures += 1
                print("FAILED %s\n  %s" % (label, "\n  ".join(problems)))
    print("%d of %d passed" % (count - failures, count))
    return 1 if failures or not count else 0


if __name__ == "__main__":
    sys.exit(main())
