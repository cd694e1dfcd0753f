# id: SG-06
# title: refuse to die
# expect: outcome timed_out
# expect: within 1100ms
# limits: timeout=1s
# control: only pidns mount-proc mask-proc pivot-root verify-mounts create-cgroup join-cgroup

import os
import signal

signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
for _ in range(50):
    try:
        if os.fork() == 0:
            os.setsid()
    except OSError:
        break
while True:
    pass
