# id: RS-15
# title: more processors than allowed
# stopped-by: create-cgroup join-cgroup
# control: only create-cgroup join-cgroup
# limits: timeout=5s cpus=0.1 processes=8

import os
import resource
import time

started, children = time.monotonic(), []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        while time.monotonic() < started + 1:
            pass
        os._exit(0)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
rate = (usage.ru_utime + usage.ru_stime) / (time.monotonic() - started)
print(f"{rate:.2f}")
if rate > 0.15:
    print("BREACH", rate)
print("HELD")
