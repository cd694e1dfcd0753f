# id: SG-112
# title: starve the supervisor past the deadline: every processor, half a thousand processes that wake all the time
# needs: cgroup
# expect: outcome timed_out
# expect: within 1600ms
# limits: timeout=1500ms processes=512 cpus=64
# control: naive counts-its-naps
# note: Without a group nothing keeps its share of the processors small, and an ordinary user has no priority over it.

import os
import signal
import time

signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
for _ in range(500):
    if os.fork() == 0:
        while True:
            time.sleep(0.001)
while True:
    time.sleep(1)
