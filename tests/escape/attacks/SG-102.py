# id: SG-102
# title: guess the numbers of others without a signal and without /proc
# stopped-by: pidns
# control: also mount-proc mask-proc pivot-root verify-mounts

import os

ASK = {
    "getpgid": os.getpgid, "getsid": os.getsid, "getpriority": lambda pid: os.getpriority(os.PRIO_PROCESS, pid),
    "sched_getaffinity": os.sched_getaffinity, "sched_getscheduler": os.sched_getscheduler, "pidfd_open": lambda pid: os.close(os.pidfd_open(pid)),
    "process group": lambda pid: os.getpriority(os.PRIO_PGRP, pid), "stat": lambda pid: os.stat(f"/proc/{pid}"),
}
own = {os.getpid(), os.getppid()}
for name, ask in ASK.items():
    found = []
    for pid in range(1, 5000):
        try:
            ask(pid)
            found.append(pid)
        except OSError:
            pass
    others = set(found) - own
    print(name, found[:5])
    if others:
        print("BREACH", name, len(others))
print("HELD")
