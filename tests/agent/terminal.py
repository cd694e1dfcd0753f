"""Runs a command at a terminal of its own and prints what a person would have seen.

    python3 terminal.py ANSWERS.json COMMAND...

ANSWERS is a list of [WORDS, ANSWER]: each answer is typed when its words have appeared. The exit code is the command's.
"""

import fcntl
import json
import os
import pty
import select
import struct
import sys
import termios
import time

PATIENCE = 60


def main() -> int:
    answers = json.loads(sys.argv[1])
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(sys.argv[2], sys.argv[2:])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    seen, read_to, until = b"", 0, time.monotonic() + PATIENCE
    while time.monotonic() < until:
        ready, _, _ = select.select([terminal], [], [], 1)
        if ready:
            try:
                piece = os.read(terminal, 65536)
            except OSError:  # Its other end is closed: that is how a terminal says so.
                break
            if not piece:
                break
            seen += piece
        if answers and answers[0][0].encode() in seen[read_to:]:
            words, answer = answers.pop(0)
            read_to = seen.index(words.encode(), read_to) + len(words.encode())
            os.write(terminal, answer.encode())
    sys.stdout.buffer.write(seen)
    sys.stdout.flush()
    if time.monotonic() >= until:
        os.kill(pid, 9)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


sys.exit(main())
