# id: SC-105
# title: leave the filter behind: by exec, thread, fork, vfork, or a program of another make
# stopped-by: seccomp
# expect: held

import ctypes
import os
import subprocess
import threading

PROBE = "import ctypes,os; l=ctypes.CDLL(None,use_errno=True); a=l.socket(16,3,12); print('BREACH' if a>=0 else 'refused', a, flush=True)"
libc = ctypes.CDLL(None, use_errno=True)


def probe(how):
    if libc.socket(16, 3, 12) >= 0:
        print("BREACH", how, flush=True)


probe("here")
thread = threading.Thread(target=probe, args=("thread",))
thread.start()
thread.join()
if os.fork() == 0:
    probe("fork")
    os._exit(0)
os.wait()
subprocess.run(["python3", "-c", PROBE])
subprocess.run(["bash", "-c", f'exec python3 -c "{PROBE}"'])
subprocess.run(["setsid", "env", "-i", "/bin/sh", "-c", f'/usr/bin/env -i PATH="{os.environ["PATH"]}" python3 -c "{PROBE}"'])
print("HELD")
