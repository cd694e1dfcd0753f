"""Runs each command of a file with bash, in a fresh directory of its own, and prints one JSON object for it: id, outcome, detail.

    lines.py ROOT FILE

The same file runs inside the sandbox and outside of it. An outcome is the exit code and all of standard output and error.
"""

import json
import os
import subprocess
import sys

TIMEOUT_S = 30


def commands(text):
    """One command on a line; a block from `{{{` to `}}}` is one command; `#` begins a comment in the first column."""
    block = None
    for line in text.splitlines():
        if line == "{{{":
            block = []
        elif line == "}}}":
            yield "\n".join(block)
            block = None
        elif block is not None:
            block.append(line)
        elif line.strip() and not line.startswith("#"):
            yield line


def run(command, place, environment):
    os.makedirs(place)
    try:
        ended = subprocess.run(
            ["/bin/bash", "-c", command], cwd=place, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=TIMEOUT_S, start_new_session=True, umask=0o022,
        )
    except subprocess.TimeoutExpired:
        return f"more than {TIMEOUT_S} s"
    streams = [stream.decode(errors="backslashreplace") for stream in (ended.stdout, ended.stderr)]
    return f"exit {ended.returncode}\nstdout:\n{streams[0]}stderr:\n{streams[1]}"


def main():
    root, file = sys.argv[1:]
    home, temporary = os.path.join(root, "home"), os.path.join(root, "tmp")
    os.makedirs(home)
    os.makedirs(temporary)
    environment = {
        # Where the file lies, and other files with it.
        "INPUT": os.path.dirname(os.path.abspath(file)),
        "HOME": home, "LANG": "C.UTF-8", "LOGNAME": "nobody", "PATH": "/usr/bin:/bin", "SHELL": "/bin/bash",
        "TMPDIR": temporary, "USER": "nobody",
    }
    with open(file, encoding="utf-8") as lines:
        text = lines.read()
    for number, command in enumerate(commands(text)):
        outcome = run(command, os.path.join(root, str(number)), environment)
        print(json.dumps({"id": command.splitlines()[0], "outcome": outcome, "detail": ""}), flush=True)


if __name__ == "__main__":
    main()
