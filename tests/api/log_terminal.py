"""Starts a service at a terminal, asks it once, ends it, and prints what the terminal showed.

python3 log_terminal.py COMMAND...
"""

import os
import pty
import re
import select
import signal
import sys
import time
import urllib.error
import urllib.request

pid, terminal = pty.fork()
if pid == 0:
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execvp(sys.argv[1], sys.argv[1:])
seen, asked, until = b"", False, time.monotonic() + 60
while time.monotonic() < until:
    if select.select([terminal], [], [], 1)[0]:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # Its other end is closed.
            break
        if not piece:
            break
        seen += piece
    address = re.search(rb"serves (http://[0-9.:]+)", seen)
    if address and not asked:
        asked = True
        request = urllib.request.Request(address[1].decode() + "/a%0Ab", headers={"x-request-id": "r-1"})
        try:
            urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            assert error.code == 404, error
        os.kill(pid, signal.SIGTERM)
else:
    os.kill(pid, signal.SIGKILL)
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
