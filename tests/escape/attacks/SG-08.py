# id: SG-08
# title: lock a file of the image that a neighbour has locked
# stopped-by: mount-root
# control: only pivot-root verify-mounts private-image

import fcntl

own = open("/workspace/own", "w"), open("/workspace/own", "w")
fcntl.flock(own[0], fcntl.LOCK_EX)
try:
    fcntl.flock(own[1], fcntl.LOCK_EX | fcntl.LOCK_NB)
    raise SystemExit("the probe does not work")
except BlockingIOError:
    pass
with open("/usr/bin/env", "rb") as image:
    for act in (lambda: fcntl.flock(image, fcntl.LOCK_EX | fcntl.LOCK_NB), lambda: fcntl.lockf(image, fcntl.LOCK_SH | fcntl.LOCK_NB)):
        try:
            act()
        except OSError as error:
            print("BREACH a neighbour's lock:", error)
print("HELD")
