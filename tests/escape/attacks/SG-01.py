# id: SG-01
# title: kill everyone
# stopped-by: pidns landlock
# control: also mount-proc mask-proc pivot-root verify-mounts
# note: In the control it kills its init, whose death ends the run: a fault.

import os
import signal

for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM):
    try:
        os.kill(-1, number)
    except OSError as error:
        print(error)
print("HELD")
