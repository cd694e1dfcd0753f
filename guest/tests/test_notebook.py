"""Runs a notebook's cells in `ipykernel` and in a session of the same Python, and compares what they give, by MIME type.

`python3 guest/tests/test_notebook.py [--python PATH]`. Without PATH it makes a virtual environment with the packages below, by pip from PyPI,
in `target/notebook` (about two minutes, once), and uses that.
"""

import argparse
import ast
import base64
import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import notebook_cells
import session_driver

PACKAGES = "numpy==1.26.4 pandas==2.2.3 matplotlib==3.9.4 pillow==11.0.0 scikit-learn==1.5.2 jinja2==3.1.4 ipykernel==6.29.5 jupyter_client==8.6.3".split()
# What a kernel does otherwise, on purpose: it reports a broken form as the cell's error.
KERNEL_FAILS = ("Broken()",)
# Runs in the environment: the cells from standard input through a kernel; what came of each as JSON.
KERNEL = """
import json, sys
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="python3", cwd=sys.argv[1])
answers = []
for cell in json.load(sys.stdin):
    said = {"stdout": "", "stderr": "", "result": None, "displays": [], "error": None}
    def hear(message):
        kind, content = message["msg_type"], message["content"]
        if kind == "stream": said[content["name"]] += content["text"]
        elif kind == "execute_result": said["result"] = content["data"]
        elif kind == "display_data": said["displays"].append(content["data"])
        elif kind == "error": said["error"] = [content["ename"], content["evalue"]]
    client.execute_interactive(cell, output_hook=hear, timeout=60)
    answers.append(said)
client.stop_channels()
manager.shutdown_kernel(now=True)
json.dump(answers, sys.stdout)
"""


def environment(target):
    """The interpreter of a virtual environment with the packages; made if it is not there."""
    python, mark = target / "bin/python3", target / "complete"
    if not mark.exists() or mark.read_text() != " ".join(PACKAGES):
        subprocess.run([sys.executable, "-m", "venv", "--clear", target], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES], check=True)
        mark.write_text(" ".join(PACKAGES))
    return python


def in_session(python, scratch):
    # Without `site`, which images do not need, an interpreter does not know of its virtual environment.
    packages = subprocess.check_output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True).strip()
    command = session_driver.compiled(python, scratch / "compiled")
    answers = []
    with session_driver.Session(command, scratch / "session", {"PYTHONPATH": packages}) as session:
        for cell in notebook_cells.CELLS:
            said = session.run(cell)
            error = said.error and [said.error["name"], said.error["message"]]
            answers.append({"stdout": said.stdout, "stderr": said.stderr, "result": said.result, "displays": said.displays, "error": error})
        assert session.close() == 0
    return answers


def picture(data):
    """Format and size of a picture: which bytes encode it differs with what was drawn before."""
    raw = base64.b64decode(data)
    return ("png", struct.unpack(">II", raw[16:24])) if raw[:4] == b"\x89PNG" else ("jpeg" if raw[:2] == b"\xff\xd8" else raw[:8])


def plainly(text):
    """Text without addresses; containers as values, since IPython breaks their lines elsewhere."""
    text = re.sub(r"( object)? at 0x[0-9A-Fa-f]+|<function .*>", "", text)
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        # Tuples of arrays and the like.
        return re.sub(r"\s+", " ", text)


def comparable(bundle):
    """A MIME bundle with what is ours alone left out, and names that a library draws by lot."""
    forms = {}
    for mime, data in (bundle or {}).items():
        if mime.startswith("image/") and mime != "image/svg+xml":
            forms[mime] = picture(data)
        elif mime == "text/plain":
            forms[mime] = plainly(data)
        elif isinstance(data, str):
            forms[mime] = re.sub(r"(?<=T_)[0-9a-f]{5}|sk-container-id-\d+|sk-estimator-id-\d+", "id", data).strip()
        else:
            forms[mime] = data
    return forms


def differences(cell, kernel, session):
    """What a cell gave in the two, where it differs. The session says `application/json` and `text/x-str` of plain values, too."""
    found = []
    if any(word in cell for word in KERNEL_FAILS):
        kernel = {**kernel, "error": None, "stderr": session["stderr"]}
    # Its commands have a terminal.
    kernel = {**kernel, "stdout": kernel["stdout"].replace("\r\n", "\n")}
    for name in ("stdout", "error"):
        if kernel[name] != session[name] and not (name == "error" and kernel[name] and kernel[name][0] == "SyntaxError" == session[name][0]):
            found.append("%s: %.300r, kernel %.300r" % (name, session[name], kernel[name]))
    if kernel["error"] is None and kernel["stderr"] != session["stderr"] and "Warning" not in kernel["stderr"]:
        found.append("stderr: %.300r, kernel %.300r" % (session["stderr"], kernel["stderr"]))
    pairs = [(kernel["result"], session["result"])]
    if len(kernel["displays"]) != len(session["displays"]):
        found.append("%d displays, kernel %d" % (len(session["displays"]), len(kernel["displays"])))
    pairs += zip(kernel["displays"], session["displays"])
    for theirs, ours in pairs:
        if (theirs is None) != (ours is None):
            found.append("value: %.300r, kernel %.300r" % (ours, theirs))
            continue
        theirs, ours = comparable(theirs), comparable(ours)
        for mime in sorted({*theirs, *ours}):
            if mime not in theirs and mime in ("application/json", "text/x-str"):
                continue
            if theirs.get(mime) != ours.get(mime):
                found.append("%s: %.300r, kernel %.300r" % (mime, ours.get(mime), theirs.get(mime)))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python")
    options = parser.parse_args()
    root = pathlib.Path(__file__).resolve().parents[2]
    python = options.python or environment(root / "target/notebook")
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch).resolve()
        (scratch / "kernel").mkdir()
        done = subprocess.run(
            [python, "-c", KERNEL, scratch / "kernel"], input=json.dumps(notebook_cells.CELLS), capture_output=True, text=True, check=True,
            env={**os.environ, "PYDEVD_DISABLE_FILE_VALIDATION": "1", "MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        )  # fmt: skip
        kernel, session = json.loads(done.stdout), in_session(str(python), scratch)
    failures = 0
    for number, (cell, theirs, ours) in enumerate(zip(notebook_cells.CELLS, kernel, session), 1):
        found = differences(cell, theirs, ours)
        if found:
            failures += 1
            print("FAILED cell %d: %r\n  %s" % (number, cell[:100], "\n  ".join(found)))
    print("%d of %d cells give the same in ipykernel and in a session" % (len(kernel) - failures, len(kernel)))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
