# id: SG-100
# title: five hundred processes that ignore everything, gone with the deadline
# expect: outcome timed_out
# expect: within 1600ms
# limits: timeout=1500ms processes=512 memory=512MiB
# control: only pidns mount-proc mask-proc pivot-root verify-mounts create-cgroup join-cgroup

import os
import signal
import time

signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
for _ in range(500):
    try:
        if os.fork() == 0:
            os.setsid()
            while True:
                time.sleep(0.001)
    except OSError as error:
        print(error)
        break
print("all are there", flush=True)
while True:
    time.sleep(1)
