"""Runs a command at a terminal of its own and prints what was written to it, then whether the terminal's modes are what they were.

    python3 top_terminal.py STEPS.json COMMAND...

STEPS is a list of [WORDS, ACT]: each act is done when its words have appeared. An act types, resizes, sends the command a signal, ends another process, or
starts one, which is ended with this. The exit code is the command's.
"""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time

steps = json.loads(sys.argv[1])
ours, theirs = pty.openpty()
fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
before = termios.tcgetattr(theirs)
pid = os.fork()
if pid == 0:
    os.setsid()
    fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
    for number in range(3):
        os.dup2(theirs, number)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.execvp(sys.argv[2], sys.argv[2:])
seen, read_to, started, code, until = b"", 0, [], None, time.monotonic() + 60
while time.monotonic() < until:
    ready, _, _ = select.select([ours], [], [], 0.05)
    if ready:
        seen += os.read(ours, 65536)
    elif code is not None:
        break
    else:
        ended, status = os.waitpid(pid, os.WNOHANG)
        code = os.waitstatus_to_exitcode(status) if ended else None
    if steps and steps[0][0].encode() in seen[read_to:]:
        words, act = steps.pop(0)
        read_to = len(seen)
        if "type" in act:
            os.write(ours, act["type"].encode())
        if "size" in act:
            fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", *act["size"], 0, 0))
        if "signal" in act:
            os.kill(pid, act["signal"])
        if "kill" in act:
            os.kill(act["kill"], signal.SIGTERM)
        if "start" in act:
            # The one before may not be gone yet: its directory and its address are its own until then.
            while True:
                service = subprocess.Popen(act["start"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                if service.stdout.readline():
                    break
                service.wait()
                if time.monotonic() > until:
                    break
            started.append(service)
if code is None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    code = 99
sys.stdout.buffer.write(seen)
print("same modes:", termios.tcgetattr(theirs) == before, "left:", steps)
for service in started:
    service.terminate()
    service.wait()
sys.exit(code)
