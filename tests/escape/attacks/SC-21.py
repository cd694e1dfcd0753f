# id: SC-21
# title: real-time scheduling, pinned memory
# stopped-by: seccomp

import ctypes
import errno
import mmap
import os

libc = ctypes.CDLL(None, use_errno=True)
page = mmap.mmap(-1, 4096)
buffer = ctypes.addressof(ctypes.c_char.from_buffer(page))
me = os.getpid()
priority = ctypes.c_int(1)
one = ctypes.addressof(priority)
CALLS = [
    ("FIFO", 144, (0, 1, one), "EPERM"),
    ("RR", 144, (0, 2, one), "EPERM"),
    ("DEADLINE", 144, (0, 6, one), "EPERM"),
    ("unknown policy", 144, (0, 9, one), "EPERM"),
    ("sched_setattr", 314, (0, 0, 0), "EPERM"),
    ("ioprio RT", 251, (1, 0, 0x2000), "EPERM"),
    ("mlockall", 151, (3,), "EPERM"),
    ("mlockall nonsense", 151, (0x100,), "EPERM"),
]
for name, number, arguments, expected in CALLS:
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    code = errno.errorcode.get(ctypes.get_errno())
    print(name, answer, code)
    if answer != -1 or ctypes.get_errno() != getattr(errno, expected):
        print("BREACH", name, answer, code)
print("HELD")
