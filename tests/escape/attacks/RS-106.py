# id: RS-106
# title: fork and end all the time while being killed
# expect: outcome timed_out
# expect: within 1100ms
# limits: timeout=1s
# control: only pidns mount-proc mask-proc pivot-root verify-mounts create-cgroup join-cgroup

import os
import time

for _ in range(10):
    if os.fork() == 0:
        while True:
            try:
                # The parent goes, the child goes on: its number is never the same.
                if os.fork():
                    os._exit(0)
                os.setsid()
            except OSError:
                pass
time.sleep(100)
