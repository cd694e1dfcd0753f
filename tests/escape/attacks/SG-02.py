# id: SG-02
# title: guess the numbers of others and kill them
# stopped-by: pidns
# control: also mount-proc mask-proc pivot-root verify-mounts
# note: In the control the host's processes answer EPERM: they are there.

import errno
import os

hits = []
for pid in range(1, 70000):
    if pid in (os.getpid(), os.getppid()):
        continue
    try:
        os.kill(pid, 9)
        print("BREACH killed", pid)
    except OSError as error:
        if error.errno != errno.ESRCH:
            hits.append(pid)
if hits:
    print("BREACH", len(hits), "others, the first", hits[:5])
print("HELD")
