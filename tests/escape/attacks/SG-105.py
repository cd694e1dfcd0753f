# id: SG-105
# title: be seen by a neighbour that watches the same files of the image
# stopped-by: mount-root
# control: only pivot-root verify-mounts private-image

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
eye = libc.inotify_init1(os.O_NONBLOCK)
libc.inotify_add_watch(eye, b"/usr/bin/env", 0xFFF)
for _ in range(20):
    with open("/usr/bin/env", "rb") as file:
        file.read(100)
if not os.read(eye, 4096):
    raise SystemExit("the probe does not work")
os.listdir("/etc")
# The neighbour watches both; it reports what it saw as harm.
print("HELD")
