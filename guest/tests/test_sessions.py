"""Runs scenes in the interpreters that stay: what they say, and that state, streams and interrupts are what a user expects.

`python3 guest/tests/test_sessions.py [--python PATH]... [--node PATH]... [NAME_PART]`. Runs outside any sandbox.
"""

import argparse
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import session_cases
import session_driver


def judge(wanted, found):
    """Whether what was found is what was wanted: a value, or a function that says so."""
    if wanted is ...:
        return True
    if callable(wanted):
        try:
            return bool(wanted(found))
        except Exception:
            return False
    return list(found) == list(wanted) if isinstance(wanted, tuple) else found == wanted


def play(command, scene, files):
    """What is wrong, as lines."""
    with session_driver.Session(command, files) as session:
        problems = []
        for number, run in enumerate(scene, 1):
            writer = session.order(run.code, **{"stdin": "", **run.order})
            if run.interrupt_at:
                session.wait_for(run.interrupt_at)
                said = session.interrupted()
            else:
                said = session.finish()
            if writer is not None:
                os.close(writer)
            wanted = {
                "result": run.result, "stdout": run.stdout, "stderr": run.stderr, "error": run.error, "status": run.status,
                "code": run.code_, "displays": run.displays, "ended": run.ended,
            }  # fmt: skip
            for name, value in wanted.items():
                if not judge(value, getattr(said, name)):
                    problems.append("run %d: %s is %.900r" % (number, name, getattr(said, name)))
            if said.ended:
                return problems
        status = session.close()
        return problems + ["the interpreter ended with %d" % status] * (status != 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", action="append", default=[])
    parser.add_argument("--node", action="append", default=[])
    parser.add_argument("only", nargs="?", default="")
    options = parser.parse_args()
    failures = count = 0
    with tempfile.TemporaryDirectory() as scratch, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        scratch = pathlib.Path(scratch).resolve()
        interpreters = []
        for number, python in enumerate(options.python or [sys.executable]):
            python = subprocess.check_output([python, "-c", "import sys; print(sys.executable)"], text=True).strip()
            interpreters.append((python, session_driver.command_of("python", python, scratch / ("compiled-%d" % number)), session_cases.PYTHON))
        for node in options.node or [shutil.which("node")]:
            interpreters.append((node, session_driver.command_of("javascript", node, None), session_cases.JAVASCRIPT))
        interpreters.append(("bash", session_driver.command_of("bash", None, None), session_cases.BASH))
        results = []
        for place, (label, command, scenes) in enumerate(interpreters):
            for name, scene in scenes.items():
                if options.only in name:
                    results.append(("%s: %s" % (label, name), pool.submit(play, command, scene, scratch / str(place) / str(len(results)))))
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
