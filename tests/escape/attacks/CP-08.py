# id: CP-08
# title: a daemon that outlives the run
# stopped-by: pidns
# control: also mount-proc mask-proc pivot-root verify-mounts create-cgroup join-cgroup
# note: In the control it does; the driver finds it as an orphan, and ends it. It holds no stream: the run itself would not end.

import os
import time

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 64)
        time.sleep(999)
    os._exit(0)
os.wait()
print("HELD")
